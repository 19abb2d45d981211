"""The speed of the serial line, and the way back to the first one."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.uart import DIVISOR_WIDTH, check_divisor

__all__ = ["LineSpeed"]


class LineSpeed(wiring.Component):
    """Change the speed of the line on trial.

    Parameters
    ----------
    divisor : :class:`int`
        Cycles a bit at first.
    fallback : :class:`int`
        Cycles in which a good frame must come at another speed.

    Members
    -------
    change, to : :py:`In(1)`, :py:`In(16)`
        Take this speed.
    good : :py:`In(1)`
        Pulse: a good frame has come.
    line_break : :py:`In(1)`
        Take the first speed again.
    divisor : :py:`Out(16)`
        Cycles a bit.
    """

    change: Signal
    to: Signal
    good: Signal
    line_break: Signal
    divisor: Signal

    def __init__(self, divisor: int, fallback: int):
        check_divisor(divisor)
        self._first = divisor
        if not isinstance(fallback, int) or isinstance(fallback, bool):
            raise TypeError(f"Cycles of a trial must be an integer, not {fallback!r}")
        if fallback < 1:
            raise ValueError(f"Cycles of a trial must be at least 1, not {fallback!r}")
        self._fallback = fallback
        super().__init__({
            "change":     In(1),
            "to":         In(DIVISOR_WIDTH),
            "good":       In(1),
            "line_break": In(1),
            "divisor":    Out(DIVISOR_WIDTH),
        })

    def elaborate(self, platform):
        m = Module()

        divisor = Signal(DIVISOR_WIDTH, init=self._first)
        m.d.comb += self.divisor.eq(divisor)

        # Counts up to where its highest bit is set, so that no comparison is needed.
        limit = 1 << self._fallback.bit_length()
        timer = Signal(range(limit + 1), init=limit - self._fallback)
        trial = Signal()
        with m.If(trial):
            m.d.sync += timer.eq(timer + 1)
        with m.Else():
            m.d.sync += timer.eq(timer.init)
        with m.If(self.good):
            m.d.sync += trial.eq(0)
        with m.If(self.line_break | timer[-1]):
            m.d.sync += [divisor.eq(self._first), trial.eq(0)]
        with m.If(self.change):
            m.d.sync += [divisor.eq(self.to), trial.eq(1), timer.eq(timer.init)]
        return m
