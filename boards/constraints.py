"""Pins that a platform of amaranth-boards lacks, from ``constraints/BOARD.toml``.

A table is a resource, by its name::

    [led]
    pins = "F3"
    dir = "o"
    attrs = { IO_TYPE = "LVCMOS33" }

or, with a table for each of its subsignals, several pins that belong together. ``invert`` is true
of a pin that is active low, and ``clock`` is the frequency of an oscillator in Hz.
"""
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amaranth.build import Attrs, Clock, Pins, Resource, Subsignal

from boards.errors import BoardError

__all__ = ["FOLDER", "read_resources"]

#: Where the files are.
FOLDER = Path(__file__).resolve().parents[1] / "constraints"


def read_resources(path: Path) -> list[Resource]:
    """Return the resources of a file.

    Raises
    ------
    BoardError
        Naming the file and what in it can't be understood.
    """
    try:
        return [Resource(name, 0, *_ios(table))
                for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items()]
    except (tomllib.TOMLDecodeError, AssertionError, AttributeError, KeyError, TypeError,
            ValueError) as error:
        raise BoardError(f"{path}: {type(error).__name__}: {error}") from error


def _ios(table: Mapping[str, Any]) -> list[Any]:
    """Return what stands between the brackets of a resource or a subsignal."""
    attrs = [Attrs(**table["attrs"])] if "attrs" in table else []
    clock = [Clock(table["clock"])] if "clock" in table else []
    if "pins" in table:
        pins = Pins(table["pins"], dir=table["dir"], invert=table.get("invert", False))
        return [pins, *clock, *attrs]
    return [*(Subsignal(name, *_ios(part)) for name, part in table.items() if name != "attrs"),
            *attrs]
