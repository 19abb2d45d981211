"""A line of bytes in both directions as an SPI peripheral."""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hw.protocol import END

__all__ = ["SpiPeripheral"]


class SpiPeripheral(wiring.Component):
    """Exchange bytes with an SPI controller: mode 0, most significant bit first.

    The controller's clock is sampled, and must not be faster than an eighth of ours; between ``cs``
    and the first clock are at least four of our cycles. Where there is nothing to send, END goes
    out. A rising ``cs`` ends a byte: what has come of it is dropped, and what was going out is sent
    again.

    A received byte stays until it is taken; the next one is lost if it is complete earlier.

    Members
    -------
    sclk, cs, copi : :py:`In(1)`
        From the controller, of any clock domain; ``cs`` selects when it is low.
    cipo : :py:`Out(1)`
        To the controller.
    selected : :py:`Out(1)`
        ``cipo`` is to be driven.
    i : :py:`In(stream.Signature(8))`
        Bytes to send. One is taken when it has been sent.
    o : :py:`Out(stream.Signature(8))`
        Bytes received.
    overrun : :py:`Out(1)`
        Pulse: a byte was lost.
    """

    sclk: Signal
    cs: Signal
    copi: Signal
    cipo: Signal
    selected: Signal
    i: stream.Interface
    o: stream.Interface
    overrun: Signal

    def __init__(self):
        super().__init__({
            "sclk":     In(1),
            "cs":       In(1),
            "copi":     In(1),
            "cipo":     Out(1),
            "selected": Out(1),
            "i":        In(stream.Signature(8)),
            "o":        Out(stream.Signature(8)),
            "overrun":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        sclk = Signal()
        cs   = Signal(init=1)
        copi = Signal()
        m.submodules.sclk_synchronizer = FFSynchronizer(self.sclk, sclk)
        m.submodules.cs_synchronizer   = FFSynchronizer(self.cs, cs, init=1)
        m.submodules.copi_synchronizer = FFSynchronizer(self.copi, copi)

        before  = Signal()                          # the clock, a cycle ago
        rises   = Signal()
        falls   = Signal()
        bit     = Signal(3)                         # that rises next
        ends    = Signal()                          # ... and did: a byte is complete
        sending = Signal()                          # the byte that goes out is of the stream
        out     = Signal(8, init=END)
        shift   = Signal(7, reset_less=True)
        m.d.sync += before.eq(sclk)
        m.d.comb += [
            rises.eq(~cs & sclk & ~before),
            falls.eq(~cs & ~sclk & before),
            ends.eq(rises & bit.all()),
            self.selected.eq(~cs),
            self.cipo.eq(out[-1]),
            # Ready is also who has nothing to do.
            self.i.ready.eq(Mux(self.i.valid, sending & ends, 1)),
            self.overrun.eq(ends & self.o.valid & ~self.o.ready),
        ]

        # What goes out is decided when a byte has ended, until whose first bit it stays.
        with m.If(cs | (falls & (bit == 0))):
            m.d.sync += [
                sending.eq(self.i.valid),
                out.eq(Mux(self.i.valid, self.i.payload, END)),
            ]
        with m.Elif(falls):
            m.d.sync += out.eq(Cat(0, out))

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(cs):
            m.d.sync += bit.eq(0)
        with m.If(rises):
            m.d.sync += [bit.eq(bit + 1), shift.eq(Cat(copi, shift))]
        with m.If(ends & ~self.overrun):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(Cat(copi, shift))]
        return m
