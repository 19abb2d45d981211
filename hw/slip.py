"""Frames on a line of bytes, as RFC 1055 (SLIP) has them."""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.protocol import END, ESC, ESC_END, ESC_ESC

__all__ = ["FrameByte", "Received", "SlipDecoder", "SlipEncoder"]

#: A byte of a frame that is to be sent.
FrameByte = data.StructLayout({
    "data": 8,
    "last": 1,      # of the frame
})

#: What comes of a line: a byte of a frame, or that the frame has ended.
Received = data.StructLayout({
    "data":  8,
    "end":   1,     # no byte: the frame has ended
    "error": 1,     # ... and an escape in it stood for nothing
})


def _escape(byte):
    """Return a byte that is END or ESC as what stands for it, or the other way round.

    The lowest bit tells the two apart, either way.
    """
    return byte ^ Mux(byte[0], ESC ^ ESC_ESC, END ^ ESC_END)


class SlipDecoder(wiring.Component):
    """Take the framing off a line.

    Bytes before the first END are a frame like any other. The byte after a broken escape is given
    out as it is, and the mark at the end of its frame has ``error``.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes of the line.
    o : :py:`Out(stream.Signature(Received))`
        Bytes of frames, and a mark wherever END was.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(Received)),
        })

    def elaborate(self, platform):
        m = Module()

        byte    = self.i.payload
        escaped = Signal()                          # the byte before was ESC
        broken  = Signal()                          # an escape of this frame was
        escapes = Signal()
        ends    = Signal()
        m.d.comb += [
            ends.eq(byte == END),
            escapes.eq((byte == ESC) & ~escaped),
            self.o.valid.eq(self.i.valid & ~escapes),
            self.i.ready.eq(self.o.ready | escapes),
            self.o.payload.data.eq(Mux(escaped, _escape(byte), byte)),
            self.o.payload.end.eq(ends),
            self.o.payload.error.eq(broken | escaped),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += escaped.eq(escapes)
            with m.If(ends):
                m.d.sync += broken.eq(0)
            with m.Elif(escaped & (byte != ESC_END) & (byte != ESC_ESC)):
                m.d.sync += broken.eq(1)
        return m


class SlipEncoder(wiring.Component):
    """Put frames on a line, with END in front of and behind each.

    Members
    -------
    i : :py:`In(stream.Signature(FrameByte))`
        Bytes of frames.
    o : :py:`Out(stream.Signature(8))`
        Bytes of the line.
    busy : :py:`Out(1)`
        A frame has begun, and its last byte has not been taken.
    """

    i: stream.Interface
    o: stream.Interface
    busy: Signal

    def __init__(self):
        super().__init__({
            "i":    In(stream.Signature(FrameByte)),
            "o":    Out(stream.Signature(8)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        byte    = self.i.payload.data
        inside  = Signal()                          # END in front has been given out
        ending  = Signal()                          # ... and all bytes: END behind is next
        escaped = Signal()                          # ESC has been given out
        special = Signal()
        m.d.comb += [
            special.eq((byte == END) | (byte == ESC)),
            self.busy.eq(inside | self.o.valid),
        ]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += self.o.valid.eq(self.i.valid | ending)
            with m.If(ending):
                m.d.sync += [self.o.payload.eq(END), ending.eq(0), inside.eq(0)]
            with m.Elif(~inside):
                m.d.sync += [self.o.payload.eq(END), inside.eq(self.i.valid)]
            with m.Elif(special & ~escaped):
                m.d.sync += [self.o.payload.eq(ESC), escaped.eq(self.i.valid)]
            with m.Else():
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    self.o.payload.eq(Mux(escaped, _escape(byte), byte)),
                    escaped.eq(0),
                    ending.eq(self.i.valid & self.i.payload.last),
                ]
        return m
