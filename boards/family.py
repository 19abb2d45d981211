"""What boards with chips of one family have in common."""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from amaranth import *

from boards.pll import PllKind, PllSetting

if TYPE_CHECKING:
    from boards.board import Board

__all__ = ["Family", "NAME", "read_design"]

#: Base name of all files of a build.
NAME = "top"


def read_design(name: str) -> str:
    """Return the Yosys commands that read ``name.il``.

    Amaranth gives the elements of an array names of their own, ``x[0]`` beside ``x``, and ABC9's
    reader names bit 0 of ``x`` so: where they meet, Yosys fails. So those names are hidden.
    """
    return f"read_rtlil {name}.il\nrename -hide w:*\\[*\n"


class Family(ABC):
    """A family of FPGAs: its PLL and its tools.

    A command is a list of words, the first of them the name of the tool; its files are in the
    current folder. Files of a seed have the seed in their names, so that several seeds are placed
    side by side.

    Attributes
    ----------
    name : :class:`str`
        As its vendor writes it.
    pll : :class:`~boards.pll.PllKind`
        Its PLL.
    constraints : :class:`str`
        Suffix of the file of constraints that Amaranth writes.
    bitstream : :class:`str`
        Suffix of the bitstream.
    sites : dict
        For each figure of a report the names of nextpnr's that add up to it. So many as there are
        of the first are all that there are.
    block_rams : tuple of :class:`str`
        Types of block RAMs in a netlist.
    flipflops : tuple of :class:`str`
        How types of flip-flops begin in a netlist, where nextpnr does not count them.
    packages : tuple of :class:`str`
        Python packages whose versions say which tools were used.
    """

    name:        str
    pll:         PllKind
    constraints: str
    bitstream:   str
    sites:       Mapping[str, tuple[str, ...]]
    block_rams:  tuple[str, ...]
    flipflops:   tuple[str, ...] = ()
    packages:    tuple[str, ...]

    @abstractmethod
    def add_pll(self, m: Module, platform, board: "Board",
                setting: PllSetting) -> tuple[Signal, Signal]:
        """Add a PLL behind the clock's pin to ``m``; return its clock and whether it has locked."""

    @abstractmethod
    def synthesis(self, board: "Board") -> str:
        """Return the Yosys commands from the design to the netlist ``top.json``."""

    @abstractmethod
    def place(self, board: "Board", seed: int) -> list[str]:
        """Return the command that places and routes.

        It writes ``top-SEED.report`` and the placed design ``top-SEED.json``.
        """

    @abstractmethod
    def pack(self, board: "Board", seed: int) -> list[str]:
        """Return the command that makes the bitstream of a placed design, ``top.SUFFIX``."""

    @abstractmethod
    def constrain(self, clock: str, frequency: float) -> tuple[str, str]:
        """Return what demands ``frequency`` MHz of the net ``clock``, and the file that it is for.

        nextpnr would know the frequency from the PLL; but where it does not, it demands 12 MHz
        without a word.
        """
