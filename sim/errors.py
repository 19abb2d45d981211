"""What goes wrong in a simulation."""

from pathlib import Path

__all__ = ["SimulationError", "tail"]


class SimulationError(RuntimeError):
    """A simulator that can't be built, fails or hangs, or a core that breaks its protocol."""


def tail(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log, indented, for an error message."""
    text = log.read_text(errors="replace") if log.exists() else "(no log)"
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-lines:])
