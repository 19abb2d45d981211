"""Walks the program a second time: which passes the neuron units make, in order."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.shapes import STEP_WIDTH, FireLayer, Pass

__all__ = ["PassWalker"]


class PassWalker(wiring.Component):
    """Give out the passes of every layer, one ahead of the fire sequencer.

    A spike train takes a pass a step, with the step's counts. A static input takes a pass a plane,
    which adds up its current; the last one is the first step as well, and the steps after it take
    passes without counts.

    The order of tiles, groups and planes is the fetcher's.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    layer, layer_valid, layer_take : :py:`In(FireLayer)`, :py:`In(1)`, :py:`Out(1)`
        The next layer of the program, and that it is taken.
    restart : :py:`In(1)`
        The program changes: begin again. No pass of a sample may be under way.
    o, valid, take : :py:`Out(Pass)`, :py:`Out(1)`, :py:`In(1)`
        The next pass, and that it is taken. Another comes ``latency`` cycles later, or in the next
        cycle if this one waited so long.
    """

    #: Cycles from a layer to its first pass.
    latency = 3

    #: Cycles from a pass to the one after it.
    period = 2

    layer: data.View
    layer_valid: Signal
    layer_take: Signal
    restart: Signal
    o: data.View
    valid: Signal
    take: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "layer":       In(FireLayer(p)),
            "layer_valid": In(1),
            "layer_take":  Out(1),
            "restart":     In(1),
            "o":           Out(Pass(p)),
            "valid":       Out(1),
            "take":        In(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        # Where the walk is. The counters change with `advance`.
        layer  = Signal(FireLayer(p), reset_less=True)
        loaded = Signal()
        index  = Signal(range(p.program_depth))      # of the layer
        tile   = Signal.like(layer.last_tile)
        step   = Signal(STEP_WIDTH)
        plane  = Signal(STEP_WIDTH)                  # of a static input
        summed = Signal()                            # the planes of a static input are done
        slot   = Signal(range(p.planes))             # which of the planes counted at once
        store_slot = Signal(range(p.planes))         # place of the step in its output row
        store_tile = Signal(range(p.row_tiles))      # place of the tile in its output row
        gains    = Signal(range(p.gain_depth))       # first row of this pass
        offset   = Signal(range(p.neuron_depth))     # rows of the tiles before this one
        tile_row = Signal(range(p.spike_depth))      # output row of this tile's first step
        row      = Signal(range(p.spike_depth))      # ... of this step

        # What the counters mean, a cycle later.
        known      = Signal()
        first_step = Signal()
        last_step  = Signal()
        last_plane = Signal()
        last_tile  = Signal()
        m.d.sync += [
            known.eq(loaded),
            first_step.eq(step == 0),
            last_step.eq(step == layer.last_step),
            last_plane.eq(plane == layer.last_plane),
            last_tile.eq(tile == layer.last_tile),
        ]

        advance     = Signal()
        counts      = Signal()                       # the pass takes counts
        fires       = Signal()                       # the pass is a step
        ends_counts = Signal()                       # no pass after this one takes these counts
        ends_tile   = Signal()
        m.d.comb += [
            advance.eq(known & (~self.valid | self.take)),
            counts.eq(~layer.static | ~summed),
            fires.eq(~layer.static | summed | last_plane),
            ends_counts.eq((slot == p.planes - 1) | Mux(layer.static, last_plane, last_step)),
            ends_tile.eq(fires & last_step),
            self.layer_take.eq(~loaded & self.layer_valid),
        ]

        with m.If(self.take):
            m.d.sync += self.valid.eq(0)
        with m.If(advance):
            m.d.sync += [known.eq(0), self.valid.eq(1)]
            with m.If(counts):
                m.d.sync += [plane.eq(plane + 1), slot.eq(slot + 1)]
                with m.If(last_plane):
                    m.d.sync += summed.eq(1)
                with m.If(ends_counts):
                    m.d.sync += slot.eq(0)
            with m.If(fires):
                m.d.sync += [step.eq(step + 1), store_slot.eq(store_slot + 1)]
                with m.If(store_slot == p.planes - 1):
                    m.d.sync += [store_slot.eq(0), row.eq(row + layer.rows)]
            # Gains have rows for each pass with its own weight of the plane.
            with m.If(Mux(layer.static, counts, last_step)):
                m.d.sync += gains.eq(gains + p.tile_groups)
            with m.If(ends_tile):
                m.d.sync += [
                    step.eq(0), plane.eq(0), summed.eq(0), store_slot.eq(0),
                    tile.eq(tile + 1), offset.eq(offset + p.tile_groups),
                    store_tile.eq(store_tile + 1), row.eq(tile_row),
                ]
                with m.If(store_tile == p.row_tiles - 1):
                    m.d.sync += [store_tile.eq(0), row.eq(tile_row + 1), tile_row.eq(tile_row + 1)]
                with m.If(last_tile):
                    m.d.sync += [loaded.eq(0), index.eq(Mux(layer.last, 0, index + 1))]
            m.d.sync += [
                self.o.last_visit.eq(Mux(last_tile, layer.last_visit, p.tile_groups - 1)),
                self.o.slot.eq(slot),
                self.o.gains.eq(gains),
                self.o.biases.eq(Mux(first_step, layer.first_biases, layer.biases) + offset),
                self.o.thresholds.eq(layer.thresholds + offset),
                self.o.counts.eq(counts),
                self.o.keep.eq(layer.static & (plane != 0)),
                self.o.ends_counts.eq(ends_counts),
                self.o.fire.eq(fires),
                self.o.first_step.eq(first_step),
                self.o.leak.eq(layer.leak),
                self.o.sign_bit.eq(layer.sign_bit),
                self.o.hard.eq(layer.hard),
                self.o.store.eq(fires & ~layer.readout),
                self.o.row.eq(row),
                self.o.store_slot.eq(store_slot),
                self.o.store_tile.eq(store_tile),
                self.o.retire.eq(fires & ((store_slot == p.planes - 1) | last_step)),
                self.o.readout.eq(layer.readout & fires & (layer.sum | last_step)),
                self.o.readout_first.eq(~layer.sum | first_step),
                self.o.readout_emit.eq(last_step),
                self.o.readout_base.eq(offset * p.neurons),
                self.o.last_lanes.eq(Mux(last_tile, layer.last_lanes, p.neurons)),
                self.o.last_tile.eq(last_tile),
                self.o.ends_sample.eq(ends_tile & last_tile & layer.last),
                self.o.layer.eq(index),
                self.o.tile.eq(tile),
                self.o.step.eq(step),
            ]
        with m.If(self.layer_take):
            m.d.sync += [
                layer.eq(self.layer), loaded.eq(1),
                gains.eq(self.layer.gains),
                tile_row.eq(self.layer.destination), row.eq(self.layer.destination),
                tile.eq(0), offset.eq(0), store_tile.eq(0),
            ]
        with m.If(self.restart):
            m.d.sync += [
                loaded.eq(0), known.eq(0), self.valid.eq(0), index.eq(0),
                step.eq(0), plane.eq(0), summed.eq(0), slot.eq(0), store_slot.eq(0),
            ]
        return m
