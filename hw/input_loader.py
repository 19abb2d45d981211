"""Places the beats of input samples in the spike memory, in two buffers."""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.shapes import InputFrame
from hw.spike_memory import TileWrite

__all__ = ["InputLoader"]


class InputLoader(wiring.Component):
    """Write an input sample while the sample before it is computed.

    A sample is ``frame.last_plane + 1`` planes (the steps of a spike train; the bits of a static
    input, in any order that the weights of the planes are given in) of ``frame.last_beat + 1``
    beats; a beat is ``lanes`` channels of one plane, the first in the lowest bit. The buffers lie
    at row 0 and at row ``frame.stride``.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    i : :py:`In(stream.Signature(lanes))`
        Beats. Taken when a buffer is free, ``write_ready`` is set and ``frame`` is valid.
    frame : :py:`In(InputFrame)`
        Geometry; unchanged while a sample loads, and in the cycle before one begins.
    write, write_en, write_ready : :py:`Out(TileWrite)`, :py:`Out(1)`, :py:`In(1)`
        Towards the spike memory.
    full : :py:`Out(2)`
        Which buffers hold a whole sample.
    release : :py:`In(1)`
        Pulse: the older full buffer has been read.
    partial : :py:`Out(1)`
        A sample has begun and is not complete.
    """

    i: stream.Interface
    frame: data.View
    write: data.View
    write_en: Signal
    write_ready: Signal
    full: Signal
    release: Signal
    partial: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "i":           In(stream.Signature(p.lanes)),
            "frame":       In(InputFrame(p)),
            "write":       Out(TileWrite(p)),
            "write_en":    Out(1),
            "write_ready": In(1),
            "full":        Out(2),
            "release":     In(1),
            "partial":     Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        filling   = Signal()                        # the buffer that is being filled
        releasing = Signal()                        # the buffer that is released next
        plane     = Signal(p.step_width)
        beat      = Signal.like(self.frame.last_beat)
        slot      = Signal(range(p.planes))
        tile      = Signal(range(p.row_tiles))
        first_row = Signal(range(p.spike_depth))    # of the group of planes
        row       = Signal(range(p.spike_depth))    # of the beat
        next_row  = Signal(range(p.spike_depth))    # first one of the next group

        last_beat  = Signal()
        last_slot  = Signal()
        last_plane = Signal()
        transfer   = Signal()
        m.d.comb += [
            last_beat.eq(beat == self.frame.last_beat),
            last_slot.eq(slot == p.planes - 1),
            last_plane.eq(plane == self.frame.last_plane),
            self.i.ready.eq(self.write_ready & ~self.full.bit_select(filling, 1) &
                            self.frame.valid),
            transfer.eq(self.i.valid & self.i.ready),
            self.write_en.eq(transfer),
            self.write.row.eq(row),
            self.write.slot.eq(slot),
            self.write.tile.eq(tile),
            self.write.spikes.eq(self.i.payload),
            self.partial.eq((beat != 0) | (plane != 0)),
            next_row.eq(first_row + self.frame.rows),
        ]

        # Between samples the buffer's place follows the frame, which may be another by then.
        with m.If(~self.partial):
            m.d.sync += [first_row.eq(Mux(filling, self.frame.stride, 0)),
                         row.eq(Mux(filling, self.frame.stride, 0))]
        with m.If(transfer):
            m.d.sync += beat.eq(beat + 1)
            with m.If(tile == p.row_tiles - 1):
                m.d.sync += [tile.eq(0), row.eq(row + 1)]
            with m.Else():
                m.d.sync += tile.eq(tile + 1)
            with m.If(last_beat):
                m.d.sync += [beat.eq(0), tile.eq(0), row.eq(first_row), plane.eq(plane + 1),
                             slot.eq(slot + 1)]
                with m.If(last_slot):
                    m.d.sync += [slot.eq(0), first_row.eq(next_row), row.eq(next_row)]
                with m.If(last_plane):
                    other = Mux(filling, 0, self.frame.stride)
                    m.d.sync += [plane.eq(0), slot.eq(0), first_row.eq(other), row.eq(other),
                                 filling.eq(~filling), self.full.bit_select(filling, 1).eq(1)]
        with m.If(self.release):
            m.d.sync += [releasing.eq(~releasing), self.full.bit_select(releasing, 1).eq(0)]
        return m
