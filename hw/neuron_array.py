"""The neuron units with their parameters, and the way of their spikes back to the memory."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import ConfigurableMemory
from hw.max_pool import MaxPool
from hw.memory_map import regions
from hw.neuron import NeuronUnit
from hw.parameters import CoreParameters
from hw.shapes import ConfigWrite, Visit, trace_layout
from hw.spike_memory import TileWrite
from hw.synapses import Counts

__all__ = ["NeuronArray", "ReadoutRow"]


class ReadoutRow(data.StructLayout):
    """The membranes of one visit, for the readout."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "membranes": data.ArrayLayout(signed(p.membrane_width), p.neurons),
            "lanes": range(p.neurons + 1),       # membranes in use
            "base":  range(p.readout_depth),     # neuron of the first
            "first": 1,                          # first step: nothing to add to
            "emit":  1,                          # last step: give the results out
            "end":   1,                          # ... with the last neuron
        })


def _select(index, choices):
    """Choose by an index that may have no bits."""
    return Array(choices)[index] if len(choices) > 1 else choices[0]


class NeuronArray(wiring.Component):
    """Carry out visits: ``neurons`` lanes a cycle through as many neuron units.

    ::

        cycle 0      1        2 .. 8        9               10       11
              visit  counts   NeuronUnit    spikes, gather  MaxPool  tile to the spike memory

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    image : dict of sequences of :class:`int`
        First contents of ``gains``, ``biases`` and ``thresholds``.

    Members
    -------
    visit, valid : :py:`In(Visit)`, :py:`In(1)`
        What to do.
    counts : :py:`In(ArrayLayout(Counts, lanes))`
        Shadow registers of the synapses; read one cycle after the visit.
    spikes, spikes_en : :py:`Out(TileWrite)`, :py:`Out(1)`
        A tile's spikes in one step.
    retire : :py:`Out(1)`
        Pulse: a group of planes of the output is complete.
    readout, readout_en : :py:`Out(ReadoutRow)`, :py:`Out(1)`
        Membranes for the readout.
    trace, trace_en : :py:`Out(trace_layout)`, :py:`Out(1)`
        What each step gave.
    write, write_en : :py:`In(ConfigWrite)`, :py:`In(1)`
        Configuration.
    busy : :py:`Out(1)`
        A visit of an earlier cycle is under way.
    """

    visit: data.View
    valid: Signal
    counts: data.View
    spikes: data.View
    spikes_en: Signal
    retire: Signal
    readout: data.View
    readout_en: Signal
    trace: data.View
    trace_en: Signal
    write: data.View
    write_en: Signal
    busy: Signal

    def __init__(self, parameters: CoreParameters, *, image=None):
        self._p = p = parameters
        self._image = image or {}
        super().__init__({
            "visit":      In(Visit(p)),
            "valid":      In(1),
            "counts":     In(data.ArrayLayout(Counts(p), p.lanes)),
            "spikes":     Out(TileWrite(p)),
            "spikes_en":  Out(1),
            "retire":     Out(1),
            "readout":    Out(ReadoutRow(p)),
            "readout_en": Out(1),
            "trace":      Out(trace_layout(p)),
            "trace_en":   Out(1),
            "write":      In(ConfigWrite),
            "write_en":   In(1),
            "busy":       Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        # The visit on its way, by stage.
        stages = 12
        visit = [self.visit] + [Signal(Visit(p), name=f"s{n}_visit", reset_less=True)
                                for n in range(1, stages)]
        valid = [self.valid] + [Signal(name=f"s{n}_valid") for n in range(1, stages)]
        for n in range(1, stages):
            m.d.sync += [visit[n].eq(visit[n - 1]), valid[n].eq(valid[n - 1])]
        m.d.comb += self.busy.eq(Cat(valid[1:]).any())

        # A parameter is read two cycles before its stage: one for the memory, one for the
        # register behind it.
        def parameter(name, stage):
            region = regions(p)[name]
            first, group = visit[stage][name], visit[stage].group
            m.submodules[name] = memory = ConfigurableMemory(
                region, init=self._image.get(name, ()))
            word = Signal(data.ArrayLayout(region.chunk_width, region.chunks), name=f"{name}_word",
                          reset_less=True)
            # A pass's first row is a multiple of its number of rows.
            m.d.comb += [
                memory.address.eq(first | group if p.tile_groups & p.tile_groups - 1 == 0 else
                                  first + group),
                memory.write.eq(self.write),
                memory.write_en.eq(self.write_en),
            ]
            m.d.sync += word.eq(memory.data)
            return word

        gains      = parameter("gains", 0)
        biases     = parameter("biases", 3)
        thresholds = parameter("thresholds", 6)

        s7_limit = Signal(p.membrane_width, reset_less=True)
        m.d.sync += s7_limit.eq((1 << visit[6].sign_bit) - 1)

        s9_spikes = Signal(p.neurons)
        for n in range(p.neurons):
            m.submodules[f"unit{n}"] = unit = NeuronUnit(p)
            # This unit's lanes are n, n + neurons, ...
            lanes = [self.counts[group * p.neurons + n] for group in range(p.tile_groups)]
            for sign in ("plus", "minus"):
                count = _select(visit[1].slot, [
                    _select(visit[1].group, [getattr(lane, sign)[slot] for lane in lanes])
                    for slot in range(p.planes)])
                s2_count = Signal(p.count_width, name=f"s2_{sign}{n}", reset_less=True)
                m.d.sync += s2_count.eq(count)
                m.d.comb += getattr(unit, f"s2_{sign}").eq(s2_count)
            m.d.comb += [
                unit.s2_gain_plus.eq(gains[2 * n]),
                unit.s2_gain_minus.eq(gains[2 * n + 1]),
                unit.s3_counts.eq(visit[3].counts),
                unit.s3_keep.eq(visit[3].keep),
                unit.s2_group.eq(visit[2].group),
                unit.s4_group.eq(visit[4].group),
                unit.s4_valid.eq(valid[4]),
                unit.s5_group.eq(visit[5].group),
                unit.s5_bias.eq(biases[n]),
                unit.s5_first_step.eq(visit[5].first_step),
                unit.s5_hold.eq(visit[5].hold),
                unit.s5_leak.eq(visit[5].leak),
                unit.s7_limit.eq(s7_limit),
                unit.s8_group.eq(visit[8].group),
                unit.s8_threshold.eq(thresholds[n].as_signed()),
                unit.s8_negative.eq(visit[8].negative),
                unit.s8_hard.eq(visit[8].hard),
                unit.s8_fire.eq(valid[8] & visit[8].fire),
                s9_spikes[n].eq(unit.s9_spike),
                self.readout.membranes[n].eq(unit.s9_membrane),
                self.trace.membranes[n].eq(unit.s9_membrane),
            ]

        # Visits of a pass follow one another, the lanes that have none stay silent.
        s10_tile = Signal(data.ArrayLayout(p.neurons, p.tile_groups), reset_less=True)
        with m.If(valid[9]):
            for group in range(p.tile_groups):
                with m.If(visit[9].group == group):
                    m.d.sync += s10_tile[group].eq(s9_spikes)
                with m.Elif(visit[9].group == 0):
                    m.d.sync += s10_tile[group].eq(0)
        m.submodules.pool = pool = MaxPool(p)
        m.d.comb += [
            pool.step.plane.eq(visit[9].pool),
            pool.step.first.eq(visit[9].pool_first),
            pool.step.last.eq(visit[9].pool_last),
            pool.step.begin.eq(visit[9].pool_begin),
            pool.step.negative.eq(visit[9].negative),
            pool.step_en.eq(valid[9] & visit[9].last),
            pool.i.row.eq(visit[10].row),
            pool.i.slot.eq(visit[10].store_slot),
            pool.i.tile.eq(visit[10].store_tile),
            pool.i.spikes.eq(s10_tile),
            pool.i_en.eq(valid[10] & visit[10].last & visit[10].store),
            self.spikes.eq(pool.o),
            self.spikes_en.eq(pool.o_en),
            self.retire.eq(valid[11] & visit[11].last & visit[11].retire),
            self.readout.lanes.eq(Mux(visit[9].last, visit[9].last_lanes, p.neurons)),
            self.readout.base.eq(visit[9].readout_base + visit[9].group * p.neurons),
            self.readout.first.eq(visit[9].readout_first),
            self.readout.emit.eq(visit[9].readout_emit),
            self.readout.end.eq(visit[9].last & visit[9].last_tile),
            self.readout_en.eq(valid[9] & visit[9].readout),
            self.trace.layer.eq(visit[9].layer),
            self.trace.tile.eq(visit[9].tile),
            self.trace.step.eq(visit[9].step),
            self.trace.level.eq(visit[9].level),
            self.trace.group.eq(visit[9].group),
            self.trace.spikes.eq(s9_spikes),
            self.trace_en.eq(valid[9] & visit[9].fire),
        ]
        return m
