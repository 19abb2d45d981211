"""Walks the program a second time and sends the neuron units from visit to visit."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.neuron import NeuronUnit
from hw.parameters import CoreParameters
from hw.shapes import STEP_WIDTH, FireLayer, Visit

__all__ = ["FireSequencer"]


class FireSequencer(wiring.Component):
    """Fire the neurons of each group of planes that the synapses have counted.

    A *pass* visits the lanes of a tile, ``neurons`` at a time, for one plane or step. A spike
    train takes a pass a step, with the step's counts. A static input takes a pass a plane, which
    adds up its current; the last one is the first step as well, and the steps after it take
    passes without counts.

    The order of tiles, groups and planes is the fetcher's, so nothing but the pulse ``closed``
    has to travel with the counts.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    layer, layer_valid, layer_take : :py:`In(FireLayer)`, :py:`In(1)`, :py:`Out(1)`
        The next layer of the program, and that it is taken.
    closed : :py:`In(1)`
        Pulse: the shadow registers hold the next group's counts.
    credit : :py:`Out(1)`
        Pulse: the synapses may close another group.
    readout_free : :py:`In(1)`
        Pulse: the readout has given out what it took.
    visit, valid : :py:`Out(Visit)`, :py:`Out(1)`
        A visit for the neuron units.
    busy : :py:`Out(1)`
        There are counts that have not been fired, or a sample's program is being walked.
    """

    #: Cycles from ``credit`` to the earliest change of the shadow registers, less those from a
    #: visit to its reading of them.
    lead = 4

    layer: data.View
    layer_valid: Signal
    layer_take: Signal
    closed: Signal
    credit: Signal
    readout_free: Signal
    visit: data.View
    valid: Signal
    busy: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "layer":        In(FireLayer(p)),
            "layer_valid":  In(1),
            "layer_take":   Out(1),
            "closed":       In(1),
            "credit":       Out(1),
            "readout_free": In(1),
            "visit":        Out(Visit(p)),
            "valid":        Out(1),
            "busy":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        layer = Signal(FireLayer(p))
        index = Signal(range(p.program_depth))       # of the layer
        tile  = Signal.like(layer.last_tile)
        step  = Signal(STEP_WIDTH)
        plane = Signal(STEP_WIDTH)                   # of a static input
        slot  = Signal(range(p.planes))              # which of the planes counted at once
        group = Signal(range(p.tile_groups))         # which lanes of the tile
        store_slot = Signal(range(p.planes))         # place of the step in its output row
        store_tile = Signal(range(p.row_tiles))      # place of the tile in its output row

        gains    = Signal(range(p.gain_depth))       # first row of this pass
        offset   = Signal(range(p.neuron_depth))     # rows of the tiles before this one
        tile_row = Signal(range(p.spike_depth))      # output row of this tile's first step
        row      = Signal(range(p.spike_depth))      # ... of this step

        # What kind of pass this is.
        summed      = Signal()                       # the planes of a static input are done
        last_plane  = Signal()
        last_step   = Signal()
        last_tile   = Signal()
        counts      = Signal()                       # the pass takes counts
        fires       = Signal()                       # the pass is a step
        emits       = Signal()                       # the pass feeds the readout
        last_counts = Signal()                       # no pass after this one takes these counts
        m.d.comb += [
            last_plane.eq(plane == layer.last_plane),
            last_step.eq(step == layer.last_step),
            last_tile.eq(tile == layer.last_tile),
            counts.eq(~layer.static | ~summed),
            fires.eq(~layer.static | summed | last_plane),
            emits.eq(layer.readout & fires & (layer.sum | last_step)),
            last_counts.eq((slot == p.planes - 1) | Mux(layer.static, last_plane, last_step)),
        ]

        last_visit = Signal(range(p.tile_groups))
        last     = Signal()                          # the pass ends with this visit
        counted  = Signal()                          # the shadow registers wait for us
        rest     = Signal(range(NeuronUnit.turnaround))     # cycles until a pass may begin
        readout  = Signal(init=1)                    # the readout can take a visit
        returned = Signal()                          # credit for these counts has been given
        may      = Signal()
        running  = Signal()
        m.d.comb += [
            last_visit.eq(Mux(last_tile, layer.last_visit, p.tile_groups - 1)),
            last.eq(group == last_visit),
            may.eq(running & (~emits | readout) &
                   ((group != 0) | ((rest == 0) & (~counts | counted | self.closed)))),
            self.valid.eq(may),
            # Visits that feed the readout may wait in mid-pass, others never do.
            self.credit.eq(may & counts & last_counts & ~returned &
                           (last | (~emits & (group + self.lead >= last_visit)))),
        ]
        with m.If(self.closed):
            m.d.sync += counted.eq(1)
        with m.If(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(self.readout_free):
            m.d.sync += readout.eq(1)

        with m.FSM(name="fire"):
            with m.State("LOAD"):                    # until there is something to fire
                m.d.comb += [
                    self.busy.eq((index != 0) | counted | self.closed),
                    self.layer_take.eq(self.layer_valid & (counted | self.closed)),
                ]
                m.d.sync += [
                    layer.eq(self.layer),
                    gains.eq(self.layer.gains),
                    tile_row.eq(self.layer.destination),
                    row.eq(self.layer.destination),
                    tile.eq(0), offset.eq(0), store_tile.eq(0),
                ]
                with m.If(self.layer_take):
                    m.next = "FIRE"
            with m.State("FIRE"):
                m.d.comb += [self.busy.eq(1), running.eq(1)]
                with m.If(may & last & last_step & fires & last_tile):
                    m.d.sync += index.eq(Mux(layer.last, 0, index + 1))
                    m.next = "LOAD"

        with m.If(may):
            m.d.sync += group.eq(group + 1)
            with m.If(group == 0):
                m.d.sync += rest.eq(NeuronUnit.turnaround - 1)
            with m.If(emits):
                m.d.sync += readout.eq(0)
            with m.If(self.credit):
                m.d.sync += returned.eq(1)
            with m.If(last):
                m.d.sync += group.eq(0)
                with m.If(counts):
                    m.d.sync += [plane.eq(plane + 1), slot.eq(slot + 1)]
                    with m.If(last_plane):
                        m.d.sync += summed.eq(1)
                    with m.If(last_counts):
                        m.d.sync += [slot.eq(0), counted.eq(0), returned.eq(0)]
                with m.If(fires):
                    m.d.sync += [step.eq(step + 1), store_slot.eq(store_slot + 1)]
                    with m.If(store_slot == p.planes - 1):
                        m.d.sync += [store_slot.eq(0), row.eq(row + layer.rows)]
                # Gains have a row for each pass with its own weight of the plane.
                with m.If(Mux(layer.static, counts, last_step)):
                    m.d.sync += gains.eq(gains + p.tile_groups)
                with m.If(fires & last_step):
                    m.d.sync += [
                        step.eq(0), plane.eq(0), summed.eq(0), store_slot.eq(0),
                        tile.eq(tile + 1), offset.eq(offset + p.tile_groups),
                        store_tile.eq(store_tile + 1), row.eq(tile_row),
                    ]
                    with m.If(store_tile == p.row_tiles - 1):
                        m.d.sync += [store_tile.eq(0), row.eq(tile_row + 1),
                                     tile_row.eq(tile_row + 1)]

        m.d.comb += [
            self.visit.group.eq(group),
            self.visit.slot.eq(slot),
            self.visit.gains.eq(gains + group),
            self.visit.bias.eq(
                Mux(step == 0, layer.first_biases, layer.biases) + offset + group),
            self.visit.threshold.eq(layer.thresholds + offset + group),
            self.visit.counts.eq(counts),
            self.visit.keep.eq(layer.static & (plane != 0)),
            self.visit.fire.eq(fires),
            self.visit.first_step.eq(step == 0),
            self.visit.leak.eq(layer.leak),
            self.visit.sign_bit.eq(layer.sign_bit),
            self.visit.hard.eq(layer.hard),
            self.visit.store.eq(last & fires & ~layer.readout),
            self.visit.row.eq(row),
            self.visit.store_slot.eq(store_slot),
            self.visit.store_tile.eq(store_tile),
            self.visit.retire.eq(last & fires & ((store_slot == p.planes - 1) | last_step)),
            self.visit.readout.eq(emits),
            self.visit.readout_first.eq(~layer.sum | (step == 0)),
            self.visit.readout_emit.eq(last_step),
            self.visit.readout_lanes.eq(Mux(last & last_tile, layer.last_lanes, p.neurons)),
            self.visit.readout_base.eq((offset + group) * p.neurons),
            self.visit.readout_end.eq(last & last_tile),
            self.visit.layer.eq(index),
            self.visit.tile.eq(tile),
            self.visit.step.eq(step),
        ]
        return m
