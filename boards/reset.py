"""The reset at the start: held until the clock is good, and then for a while."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["StartReset"]


class StartReset(wiring.Component):
    """Makes a reset of a PLL's lock.

    Parameters
    ----------
    cycles : :class:`int`
        How long the reset lasts at least when the PLL has locked.

    Members
    -------
    clk : :py:`In(1)`
        The clock that is reset.
    locked : :py:`In(1)`
        The PLL has locked; of no clock.
    rst : :py:`Out(1)`
        A register of ``clk``.
    """

    clk: Signal
    locked: Signal
    rst: Signal

    def __init__(self, *, cycles: int):
        self._cycles = cycles
        super().__init__({"clk": In(1), "locked": In(1), "rst": Out(1)})

    @property
    def cycles(self) -> int:
        """How long the reset lasts at least."""
        return self._cycles

    def elaborate(self, platform):
        """Count from the lock on."""
        m = Module()
        m.domains.start = ClockDomain(local=True)
        m.d.comb += ClockSignal("start").eq(self.clk)
        m.submodules.unlocked = ResetSynchronizer(~self.locked, domain="start")
        left = Signal(range(self._cycles + 1), init=self._cycles)
        held = Signal(init=1)
        with m.If(left != 0):
            m.d.start += left.eq(left - 1)
        m.d.start += held.eq(left != 0)
        m.d.comb += self.rst.eq(held)
        return m
