# amaranth: UnusedElaboratable=no
"""Small components with streams, to try the simulation and the proofs on."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Difference", "LeakyDifference", "Lossy", "OPERANDS", "RESULT"]

OPERANDS = data.StructLayout({"a": signed(6), "b": signed(5), "tag": 3})
RESULT   = data.StructLayout({"value": signed(7), "tag": 3})


class Difference(wiring.Component):
    """Registered stage: ``a - b``, with the tag that came with them."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(OPERANDS)),
            "o": Out(stream.Signature(RESULT)),
        })

    def elaborate(self, platform):
        m = Module()
        with m.If(~self.o.valid | self.o.ready):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.p.value.eq(self.i.p.a - self.i.p.b),
                self.o.p.tag.eq(self.i.p.tag),
            ]
        return m


class Lossy(Difference):
    """The same, but its input overwrites a result that waits."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(1)
        with m.If(~self.o.valid | self.o.ready | self.i.valid):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.p.value.eq(self.i.p.a - self.i.p.b),
                self.o.p.tag.eq(self.i.p.tag),
            ]
        return m


class LeakyDifference(Difference):
    """The same without a register; it offers only what is wanted."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.i.ready.eq(self.o.ready),
            self.o.valid.eq(self.i.valid & self.o.ready),
            self.o.p.value.eq(self.i.p.a - self.i.p.b),
            self.o.p.tag.eq(self.i.p.tag),
        ]
        return m
