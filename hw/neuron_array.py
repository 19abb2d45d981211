"""The neuron units with their parameters, and the way of their spikes back to the memory."""
from itertools import pairwise

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
        valid = [self.valid] + [Signal(name=f"s{n}_valid") for n in range(1, stages)]
        group = [self.visit.group] + [Signal.like(self.visit.group, name=f"s{n}_group",
                                                  reset_less=True) for n in range(1, stages)]
        begin = [self.visit.group == 0] + [Signal(name=f"s{n}_begin") for n in range(1, stages)]
        last  = [self.visit.last] + [Signal(name=f"s{n}_last") for n in range(1, stages)]
        for way in (valid, group, begin, last):
            m.d.sync += [after.eq(before) for before, after in pairwise(way)]
        m.d.comb += self.busy.eq(Cat(valid[1:]).any())

        # What all visits of a pass share changes with its first one only, and passes begin at
        # least a turnaround apart. So it needs no register at each stage, but one at its stage
        # and, on the way there, one every so many stages.
        held = {}

        def shared(name, stage):
            if stage == 0:
                return self.visit[name]
            if (name, stage) not in held:
                held[name, stage] = register = Signal.like(
                    self.visit[name], name=f"s{stage}_{name}", reset_less=True)
                source = shared(name, min(stage - 1, max(1, stage - NeuronUnit.turnaround(p))))
                with m.If(valid[stage - 1] & begin[stage - 1]):
                    m.d.sync += register.eq(source)
            return held[name, stage]

        # A parameter is read two cycles before its stage: one for the memory, one for the
        # register behind it.
        def parameter(name, stage):
            region = regions(p)[name]
            first = shared(name, stage)
            m.submodules[name] = memory = ConfigurableMemory(
                region, init=self._image.get(name, ()),
                shared_port=p.single_port and name == "gains")
            word = Signal(data.ArrayLayout(region.chunk_width, region.chunks), name=f"{name}_word",
                          reset_less=True)
            # A pass's first row is a multiple of its number of rows.
            aligned = p.tile_groups & p.tile_groups - 1 == 0
            m.d.comb += [
                memory.address.eq(first | group[stage] if aligned else first + group[stage]),
                memory.write.eq(self.write),
                memory.write_en.eq(self.write_en),
            ]
            m.d.sync += word.eq(memory.data)
            return word

        gains      = parameter("gains", 0)
        biases     = parameter("biases", 3)
        thresholds = parameter("thresholds", 6)

        s7_limit = Signal(p.membrane_width, reset_less=True)
        m.d.sync += s7_limit.eq((1 << shared("sign_bit", 6)) - 1)

        s9_spikes = Signal(p.neurons)
        for n in range(p.neurons):
            m.submodules[f"unit{n}"] = unit = NeuronUnit(p)
            # This unit's lanes are n, n + neurons, ...
            lanes = [self.counts[lane] for lane in range(n, p.lanes, p.neurons)]
            for sign in ("plus", "minus"):
                count = _select(shared("slot", 1), [
                    _select(group[1], [getattr(lane, sign)[slot] for lane in lanes])
                    for slot in range(p.planes)])
                s2_count = Signal(p.count_width, name=f"s2_{sign}{n}", reset_less=True)
                m.d.sync += s2_count.eq(count)
                m.d.comb += getattr(unit, f"s2_{sign}").eq(s2_count)
            m.d.comb += [
                unit.s2_gain_plus.eq(gains[2 * n]),
                unit.s2_gain_minus.eq(gains[2 * n + 1]),
                unit.s3_counts.eq(shared("counts", 3)),
                unit.s3_keep.eq(shared("keep", 3)),
                unit.s2_group.eq(group[2]),
                unit.s4_group.eq(group[4]),
                unit.s4_valid.eq(valid[4]),
                unit.s5_group.eq(group[5]),
                unit.s5_bias.eq(biases[n]),
                unit.s5_first_step.eq(shared("first_step", 5)),
                unit.s5_hold.eq(shared("hold", 5)),
                unit.s5_leak.eq(shared("leak", 5)),
                unit.s7_limit.eq(s7_limit),
                unit.s8_group.eq(group[8]),
                unit.s8_threshold.eq(thresholds[n].as_signed()),
                unit.s8_negative.eq(shared("negative", 8)),
                unit.s8_hard.eq(shared("hard", 8)),
                unit.s8_fire.eq(valid[8] & shared("fire", 8)),
                s9_spikes[n].eq(unit.s9_spike),
                self.readout.membranes[n].eq(unit.s9_membrane),
                self.trace.membranes[n].eq(unit.s9_membrane),
            ]

        # Visits of a pass follow one another, the lanes that have none stay silent.
        s10_tile = Signal(data.ArrayLayout(p.neurons, p.tile_groups), reset_less=True)
        with m.If(valid[9]):
            for n in range(p.tile_groups):
                with m.If(group[9] == n):
                    m.d.sync += s10_tile[n].eq(s9_spikes)
                with m.Elif(group[9] == 0):
                    m.d.sync += s10_tile[n].eq(0)
        m.submodules.pool = pool = MaxPool(p)
        m.d.comb += [
            pool.step.plane.eq(shared("pool", 9)),
            pool.step.first.eq(shared("pool_first", 9)),
            pool.step.last.eq(shared("pool_last", 9)),
            pool.step.begin.eq(shared("pool_begin", 9)),
            pool.step.negative.eq(shared("negative", 9)),
            pool.step_en.eq(valid[9] & last[9]),
            pool.i.row.eq(shared("row", 10)),
            pool.i.slot.eq(shared("store_slot", 10)),
            pool.i.tile.eq(shared("store_tile", 10)),
            pool.i.spikes.eq(s10_tile),
            pool.i_en.eq(valid[10] & last[10] & shared("store", 10)),
            self.spikes.eq(pool.o),
            self.spikes_en.eq(pool.o_en),
            self.retire.eq(valid[11] & last[11] & shared("retire", 11)),
            self.readout.lanes.eq(Mux(last[9], shared("last_lanes", 9), p.neurons)),
            self.readout.base.eq(shared("readout_base", 9) + group[9] * p.neurons),
            self.readout.first.eq(shared("readout_first", 9)),
            self.readout.emit.eq(shared("readout_emit", 9)),
            self.readout.end.eq(last[9] & shared("last_tile", 9)),
            self.readout_en.eq(valid[9] & shared("readout", 9)),
            self.trace.layer.eq(shared("layer", 9)),
            self.trace.tile.eq(shared("tile", 9)),
            self.trace.step.eq(shared("step", 9)),
            self.trace.level.eq(shared("level", 9)),
            self.trace.group.eq(group[9]),
            self.trace.spikes.eq(s9_spikes),
            self.trace_en.eq(valid[9] & shared("fire", 9)),
        ]
        return m
