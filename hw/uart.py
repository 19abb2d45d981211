"""A serial line: 8 data bits, no parity, 1 stop bit, least significant bit first."""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["BREAK_BITS", "DIVISOR_WIDTH", "MIN_DIVISOR", "UartReceiver", "UartTransmitter",
           "check_divisor"]

#: Bits of the number of cycles a bit.
DIVISOR_WIDTH = 16

#: Cycles a bit at least.
MIN_DIVISOR = 4

#: Bits of the first speed for which a line may be low; more is a break.
BREAK_BITS = 32

#: Bits of a byte on the line: start bit, data, stop bit.
_BYTE_BITS = 10


def check_divisor(divisor: int) -> None:
    """Refuse a number of cycles a bit that a line can't have.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If it is no integer, or out of range.
    """
    if not isinstance(divisor, int) or isinstance(divisor, bool):
        raise TypeError(f"Cycles a bit must be an integer, not {divisor!r}")
    if not MIN_DIVISOR <= divisor < 1 << DIVISOR_WIDTH:
        raise ValueError(f"Cycles a bit must be in {MIN_DIVISOR}..{(1 << DIVISOR_WIDTH) - 1}, "
                         f"not {divisor!r}")


class UartReceiver(wiring.Component):
    """Take bytes from a serial line.

    Bits are sampled in their middle. A byte without a stop bit is dropped, and the next one is not
    looked for before the line is high. A byte stays until it is taken; the next one is lost if it
    is complete earlier.

    Parameters
    ----------
    divisor : :class:`int`
        Cycles a bit of the first speed, by which a break is told.

    Members
    -------
    rx : :py:`In(1)`
        The line, of any clock domain.
    divisor : :py:`In(16)`
        Cycles a bit, at least :data:`MIN_DIVISOR`.
    o : :py:`Out(stream.Signature(8))`
        Bytes.
    error : :py:`Out(1)`
        Pulse: a byte had no stop bit.
    overrun : :py:`Out(1)`
        Pulse: a byte was lost.
    line_break : :py:`Out(1)`
        The line is low, and has been for more than :data:`BREAK_BITS` bits of the first speed.
    """

    rx: Signal
    divisor: Signal
    o: stream.Interface
    error: Signal
    overrun: Signal
    line_break: Signal

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self._break_cycles = BREAK_BITS * divisor + 1
        super().__init__({
            "rx":         In(1),
            "divisor":    In(DIVISOR_WIDTH),
            "o":          Out(stream.Signature(8)),
            "error":      Out(1),
            "overrun":    Out(1),
            "line_break": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)

        # The timer starts with the start bit and counts the cycles of each bit from 1.
        timer  = Signal(DIVISOR_WIDTH, init=1)
        left   = Signal(range(_BYTE_BITS + 1))      # bits of a byte that are to be sampled
        shift  = Signal(8, reset_less=True)
        before = Signal(init=1)                     # the line, a cycle ago
        sample = Signal()
        m.d.comb += sample.eq((timer == self.divisor >> 1) & (left != 0))
        m.d.sync += [timer.eq(timer + 1), before.eq(line)]
        with m.If((timer >= self.divisor) | (left == 0)):
            m.d.sync += timer.eq(1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.If((left == 0) & before & ~line):
            m.d.sync += left.eq(_BYTE_BITS)
        with m.If(sample):
            m.d.sync += [left.eq(left - 1), shift.eq(Cat(shift[1:], line))]
            with m.If((left == _BYTE_BITS) & line):
                m.d.sync += left.eq(0)              # it was a spike
            with m.If(left == 1):
                m.d.comb += [
                    self.error.eq(~line),
                    self.overrun.eq(line & self.o.valid & ~self.o.ready),
                ]
                with m.If(line & ~self.overrun):
                    m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(shift)]
        with m.If(self.line_break):
            m.d.sync += left.eq(0)

        # Counts up to where its highest bit is set, so that no comparison is needed.
        limit = 1 << self._break_cycles.bit_length()
        low = Signal(range(limit + 1), init=limit - self._break_cycles)
        m.d.comb += self.line_break.eq(low[-1])
        with m.If(line):
            m.d.sync += low.eq(low.init)
        with m.Elif(~low[-1]):
            m.d.sync += low.eq(low + 1)
        return m


class UartTransmitter(wiring.Component):
    """Put bytes on a serial line.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes. One is taken when the one before has been sent, its stop bit included.
    divisor : :py:`In(16)`
        Cycles a bit, at least :data:`MIN_DIVISOR`. It may change while ``i.ready`` is set; if it
        does at another time, the byte is spoilt.
    tx : :py:`Out(1)`
        The line.
    """

    i: stream.Interface
    divisor: Signal
    tx: Signal

    def __init__(self):
        super().__init__({
            "i":       In(stream.Signature(8)),
            "divisor": In(DIVISOR_WIDTH),
            "tx":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # The bits that have not been sent, the one on the line first. Behind the stop bit there are
        # zeros: when nothing else is left, it is on the line.
        shift = Signal(10, init=1)
        timer = Signal(DIVISOR_WIDTH, init=1)
        busy  = Signal()
        m.d.comb += [
            self.tx.eq(shift[0]),
            self.i.ready.eq(~busy),
        ]
        with m.If(busy):
            m.d.sync += timer.eq(timer + 1)
            with m.If(timer >= self.divisor):
                m.d.sync += timer.eq(1)
                with m.If(shift[1:].any()):
                    m.d.sync += shift.eq(shift[1:])
                with m.Else():
                    m.d.sync += busy.eq(0)
        with m.Elif(self.i.valid):
            m.d.sync += [busy.eq(1), shift.eq(Cat(0, self.i.payload, 1))]
        return m
