"""Walks the program a second time: which passes the neuron units make, in order."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.parameters import CoreParameters
from hw.shapes import LEVEL_WIDTH, PLANE_WIDTH, FireLayer, Pass

__all__ = ["PassWalker"]


class PassWalker(wiring.Component):
    """Give out the passes of every layer, one ahead of the fire sequencer.

    A pass a plane adds up the current of a step; the last of them is the step. The steps of a
    static input after the first one take passes without counts. Neurons whose spikes count take
    further passes in a step, one for each further output plane: its threshold is compared with
    the membrane that the pass before has left; where they are signed, the latter half of the planes
    compares below zero.

    The order of tiles, pixels, groups and planes is the fetcher's. The pixels of a window that is
    pooled follow one another, and only the last of them has its spikes written.

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
        The next pass, and that it is taken. The one after it comes in the next cycle, if this one
        waited long enough for ``period``.
    """

    #: Cycles from a pass to the one after it, and from the taking of a layer to the cycle in which
    #: its first pass is worked out.
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

        tile_bits = exact_log2(p.row_tiles)

        # Where the walk is. The counters change with `advance`.
        layer  = Signal(FireLayer(p), reset_less=True)
        loaded = Signal()
        index  = Signal(range(p.program_depth))      # of the layer
        tile   = Signal.like(layer.last_tile)
        y      = Signal.like(layer.last_y)           # place in the output map
        x      = Signal.like(layer.last_x)
        pool_y = Signal.like(layer.last_pool_y)      # pixel of the window that is pooled
        pool_x = Signal.like(layer.last_pool_x)
        step   = Signal(p.step_width)
        plane  = Signal(PLANE_WIDTH)                 # of the source in the step
        level  = Signal(LEVEL_WIDTH)                 # of the output in the step
        slot   = Signal(range(p.planes))             # which of the planes counted at once
        store_slot = Signal(range(p.planes))         # place of the plane in its output row
        place      = Signal(range(p.spike_depth * p.row_tiles))   # of the tile in its output map
        pool_plane = Signal(range(p.pool_depth))     # which output plane of all steps
        offset     = Signal(range(p.neuron_depth))   # rows of the tiles before this one
        gains      = Signal(range(p.gain_depth))     # first row of this pass
        tile_gains = Signal(range(p.gain_depth))     # ... of this tile's first pass
        thresholds = Signal(range(p.neuron_depth))
        tile_thresholds = Signal(range(p.neuron_depth))
        row        = Signal(range(p.spike_depth))    # of the output map for a group of planes

        # What the counters mean, a cycle later.
        known      = Signal()
        first_step = Signal()
        last_step  = Signal()
        last_plane = Signal()
        last_level = Signal()
        last_tile  = Signal()
        last_y     = Signal()
        last_x     = Signal()
        last_pool_y = Signal()
        last_pool_x = Signal()
        first_pool = Signal()
        m.d.sync += [
            known.eq(loaded),
            first_step.eq(step == 0),
            last_step.eq(step == layer.last_step),
            last_plane.eq(plane == layer.last_plane),
            last_level.eq(level == layer.last_level),
            last_tile.eq(tile == layer.last_tile),
            last_y.eq(y == layer.last_y),
            last_x.eq(x == layer.last_x),
            last_pool_y.eq(pool_y == layer.last_pool_y),
            last_pool_x.eq(pool_x == layer.last_pool_x),
            first_pool.eq((pool_x == 0) & (pool_y == 0)),
        ]

        advance     = Signal()
        hold        = Signal()                       # a further output plane of the step
        counts      = Signal()                       # the pass takes counts
        fires       = Signal()                       # the pass gives spikes
        ends_counts = Signal()                       # no pass after this one takes these counts
        ends_pixel  = Signal()
        ends_pool   = Signal()                       # the last pixel of its window
        ends_tile   = Signal()
        ends_layer  = Signal()
        next_gains  = Signal.like(gains)
        next_thresholds = Signal.like(thresholds)
        m.d.comb += [
            advance.eq(known & (~self.valid | self.take)),
            hold.eq(level != 0),
            counts.eq(~hold & (~layer.static | first_step)),
            fires.eq(~counts | last_plane),
            ends_counts.eq((slot == p.planes - 1) | (last_plane & (layer.static | last_step))),
            ends_pixel.eq(fires & last_level & last_step),
            ends_pool.eq(last_pool_x & last_pool_y),
            ends_tile.eq(ends_pixel & ends_pool & last_x & last_y),
            ends_layer.eq(ends_tile & last_tile),
            next_gains.eq(gains + Mux(counts, p.tile_groups, 0)),
            next_thresholds.eq(thresholds + p.tile_groups),
            self.layer_take.eq(~loaded & self.layer_valid),
        ]

        with m.If(self.take):
            m.d.sync += self.valid.eq(0)
        with m.If(advance):
            m.d.sync += [known.eq(0), self.valid.eq(1), gains.eq(next_gains)]
            with m.If(counts):
                m.d.sync += [plane.eq(plane + 1), slot.eq(slot + 1)]
                with m.If(last_plane):
                    m.d.sync += plane.eq(0)
                    with m.If(~layer.static & ~last_step):
                        m.d.sync += gains.eq(tile_gains)
                with m.If(ends_counts):
                    m.d.sync += slot.eq(0)
            with m.If(fires):
                m.d.sync += [level.eq(level + 1), thresholds.eq(next_thresholds),
                             store_slot.eq(store_slot + 1), pool_plane.eq(pool_plane + 1)]
                with m.If(store_slot == p.planes - 1):
                    m.d.sync += [store_slot.eq(0), row.eq(row + layer.rows)]
                with m.If(last_level):
                    m.d.sync += [level.eq(0), step.eq(step + 1), thresholds.eq(tile_thresholds)]
            with m.If(ends_pixel):
                m.d.sync += [step.eq(0), store_slot.eq(0), pool_plane.eq(0),
                             gains.eq(tile_gains), row.eq(layer.destination),
                             pool_x.eq(pool_x + 1)]
                with m.If(last_pool_x):
                    m.d.sync += [pool_x.eq(0), pool_y.eq(pool_y + 1)]
                with m.If(ends_pool):
                    m.d.sync += [pool_y.eq(0), x.eq(x + 1), place.eq(place + layer.slots)]
                    with m.If(last_x):
                        m.d.sync += [x.eq(0), y.eq(y + 1)]
            with m.If(ends_tile):
                m.d.sync += [
                    y.eq(0), tile.eq(tile + 1), place.eq(tile + 1),
                    offset.eq(offset + p.tile_groups),
                    gains.eq(next_gains), tile_gains.eq(next_gains),
                    thresholds.eq(next_thresholds), tile_thresholds.eq(next_thresholds),
                ]
            with m.If(ends_layer):
                m.d.sync += [loaded.eq(0), index.eq(Mux(layer.last, 0, index + 1))]
            m.d.sync += [
                self.o.last_visit.eq(Mux(last_tile, layer.last_visit, p.tile_groups - 1)),
                self.o.slot.eq(slot),
                self.o.gains.eq(gains),
                self.o.biases.eq(Mux(first_step, layer.first_biases, layer.biases) + offset),
                self.o.thresholds.eq(thresholds),
                self.o.counts.eq(counts),
                self.o.keep.eq(~counts | (plane != 0)),
                self.o.ends_counts.eq(ends_counts),
                self.o.fire.eq(fires),
                self.o.first_step.eq(first_step & ~hold),
                self.o.hold.eq(hold),
                self.o.negative.eq(layer.signed & (level > (layer.last_level >> 1))),
                self.o.leak.eq(Mux(hold, 0, layer.leak.as_value())),
                self.o.sign_bit.eq(layer.sign_bit),
                self.o.hard.eq(layer.hard & last_level),
                self.o.store.eq(fires & ~layer.readout),
                self.o.pool.eq(pool_plane),
                self.o.pool_first.eq(first_pool),
                self.o.pool_last.eq(ends_pool),
                self.o.pool_begin.eq(~hold),
                self.o.row.eq(row + (place >> tile_bits)),
                self.o.store_slot.eq(store_slot),
                self.o.store_tile.eq(place[:tile_bits]),
                self.o.retire.eq(Mux(
                    layer.coarse, ends_layer,
                    fires & ((store_slot == p.planes - 1) | last_step & last_level))),
                self.o.readout.eq(layer.readout & fires & (layer.sum | last_step)),
                self.o.readout_first.eq(~layer.sum | first_step),
                self.o.readout_emit.eq(last_step),
                self.o.readout_base.eq(offset * p.neurons),
                self.o.last_lanes.eq(Mux(last_tile, layer.last_lanes, p.neurons)),
                self.o.last_tile.eq(last_tile),
                self.o.ends_sample.eq(ends_layer & layer.last),
                self.o.frees.eq(ends_tile & layer.streamed),
                self.o.layer.eq(index),
                self.o.tile.eq(tile),
                self.o.step.eq(step),
                self.o.level.eq(level),
            ]
        with m.If(self.layer_take):
            m.d.sync += [
                layer.eq(self.layer), loaded.eq(1),
                gains.eq(self.layer.gains), tile_gains.eq(self.layer.gains),
                thresholds.eq(self.layer.thresholds), tile_thresholds.eq(self.layer.thresholds),
                row.eq(self.layer.destination), tile.eq(0), offset.eq(0), place.eq(0),
            ]
        with m.If(self.restart):
            m.d.sync += [
                loaded.eq(0), known.eq(0), self.valid.eq(0), index.eq(0),
                step.eq(0), plane.eq(0), level.eq(0), slot.eq(0), store_slot.eq(0),
                pool_plane.eq(0), pool_x.eq(0), pool_y.eq(0), x.eq(0), y.eq(0),
            ]
        return m
