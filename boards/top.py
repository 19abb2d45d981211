"""What is on every board: a core on a serial line, and an LED."""
from amaranth import *
from amaranth.lib import io

from boards.board import Board
from boards.pll import PllSetting
from boards.reset import StartReset
from hw.core import Core
from hw.parameters import CoreParameters
from hw.serial_core import SerialCore

__all__ = ["Top", "BAUD", "CLOCK_NET"]

#: Speed of the serial line at first, in bits a second.
BAUD = 115_200

#: The clock of all of it, as tools know it.
CLOCK_NET = "clk"


class Top(Elaboratable):
    """A core between the serial line's pins.

    ::

        pin clk -> PLL -> StartReset
        pin rx  -> SerialCore -> pin tx
                       idle   -> pin led

    Parameters
    ----------
    board : :class:`~boards.board.Board`
        Whose pins and PLL they are.
    setting : :class:`~boards.pll.PllSetting`
        Of the PLL.
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    image : dict
        First contents of the core's memories.
    """

    #: Seconds of a reset at least: block RAMs of the iCE40 read as 0 for about 3 us at the start.
    RESET_SECONDS = 15e-6

    def __init__(self, board: Board, setting: PllSetting, parameters: CoreParameters, *,
                 image=None):
        self._board = board
        self._setting = setting
        self._parameters = parameters
        self._image = image

    def elaborate(self, platform):
        """Join them."""
        m = Module()
        clock = round(self._setting.output)

        m.domains.sync = ClockDomain()
        clk, locked = self._board.family.add_pll(m, platform, self._board, self._setting)
        m.submodules.start = start = StartReset(
            cycles=max(Core.reset_cycles, int(self.RESET_SECONDS * clock)))
        m.d.comb += [
            ClockSignal("sync").eq(clk),
            ResetSignal("sync").eq(start.rst),
            start.clk.eq(clk),
            start.locked.eq(locked),
        ]

        uart = platform.request("uart", 0, dir="-")
        led  = self._board.led_port(platform)
        m.submodules.rx_pin  = rx_pin  = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx_pin  = tx_pin  = io.Buffer(io.Direction.Output, uart.tx)
        m.submodules.led_pin = led_pin = io.Buffer(io.Direction.Output, led)

        m.submodules.core = core = SerialCore(
            self._parameters, clock=clock, divisor=round(clock / BAUD), image=self._image)
        m.d.comb += [
            core.rx.eq(rx_pin.i),
            tx_pin.o.eq(core.tx),
            led_pin.o.eq(core.idle),
        ]
        return m
