"""What a board is: its platform, its pins' names, and the core that it is meant for."""
from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build import Platform

from boards.constraints import FOLDER, read_resources
from boards.family import Family

__all__ = ["Board"]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Attributes
    ----------
    name : :class:`str`
        On the command line, and of its file of constraints, if it has one.
    title : :class:`str`
        As its maker writes it.
    chip : :class:`str`
        For tables.
    platform : function
        Makes a platform of Amaranth.
    family : :class:`~boards.family.Family`
        Of the chip.
    core : :class:`str`
        Core that it is meant for, as on the command line.
    clock : :class:`int`
        The core's clock in Hz.
    device : tuple of :class:`str`
        Options that tell nextpnr the chip.
    block_rams : :class:`int`
        How many the chip has.
    led : tuple
        Name of the resource and the subsignal of the LED that shines while the core is idle; the
        subsignal is empty where there is none.
    loader : tuple of :class:`str`
        Options that tell openFPGALoader the board.
    pack_options : tuple of :class:`str`
        Of the tool that makes the bitstream.
    pll_pad : :class:`bool`
        The clock's pin is the PLL's own (iCE40).
    initial_weights : :class:`bool`
        The memories of the weights take contents from the bitstream.
    notes : :class:`str`
        What to know before one connects it.
    """

    name:            str
    title:           str
    chip:            str
    platform:        Callable[[], Platform]
    family:          Family
    core:            str
    clock:           int
    device:          tuple[str, ...]
    block_rams:      int
    led:             tuple[str, str]
    loader:          tuple[str, ...]
    pack_options:    tuple[str, ...] = ()
    pll_pad:         bool = False
    initial_weights: bool = True
    notes:           str = ""

    def make_platform(self) -> Platform:
        """Return a platform with all pins that a build takes."""
        platform = self.platform()
        path = FOLDER / f"{self.name}.toml"
        if path.exists():
            platform.add_resources(read_resources(path))
        return platform

    def led_port(self, platform):
        """Request the LED; return its port."""
        name, part = self.led
        port = platform.request(name, 0, dir="-")
        return getattr(port, part) if part else port
