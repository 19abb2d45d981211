"""A waveform as a picture, from the VCD of Amaranth's simulator."""
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

__all__ = ["Row", "draw", "read"]

_LEFT, _CYCLE, _HEIGHT, _GAP = 190, 46, 20, 8


@dataclass(frozen=True)
class Row:
    """A signal in the picture.

    Parameters
    ----------
    label
        What it is called there.
    signal
        Its name in the VCD, with all scopes: ``bench.top.fetcher.row``.
    valid
        The signal that says when its value matters; always, if there is none.
    base
        How values are written: 2 or 10; 1: as a line that is high or low.
    digits
        Of values in base 2.
    """

    label:  str
    signal: str
    valid:  str | None = None
    base:   int = 10
    digits: int = 1


def read(path: Path, names: Sequence[str], clock: str = "bench.top.clk") -> dict[str, list[int]]:
    """Return the value that each signal has at the end of each cycle.

    Raises
    ------
    KeyError
        If there is no such signal.
    """
    wanted: dict[str, list[str]] = {}
    scopes: list[str] = []
    values: dict[str, int] = {}
    found: dict[str, list[int]] = {name: [] for name in (*names, clock)}
    for line in path.read_text(encoding="utf-8").splitlines():
        match line.split():
            case ["$scope", _, scope, _]:
                scopes.append(scope)
            case ["$upscope", _]:
                scopes.pop()
            case ["$var", _, _, code, name, *_]:
                name = ".".join([*scopes, name])
                if name in found:
                    wanted.setdefault(code, []).append(name)
            case [value, code] if value[0] == "b" and code in wanted:
                values |= dict.fromkeys(wanted[code], int(value[1:], 2))
            case [change] if change[0] in "01" and change[1:] in wanted:
                if clock in wanted[change[1:]] and change[0] == "1":
                    for name, series in found.items():   # the others are about to change
                        series.append(values.get(name, 0))
                values |= dict.fromkeys(wanted[change[1:]], int(change[0]))
    missing = set(found) - {name for several in wanted.values() for name in several}
    if missing:
        raise KeyError(f"No signal {', '.join(sorted(missing))} in {path}")
    return found


def draw(rows: Sequence[Row], series: dict[str, list[int]], cycles: range) -> str:
    """Return the rows as an SVG, of which each cycle is a column."""
    width = _LEFT + _CYCLE * len(cycles) + _GAP
    height = (_HEIGHT + _GAP) * (len(rows) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for n in range(len(cycles)):
        x = _LEFT + n * _CYCLE
        parts.append(f'<path d="M{x} {_HEIGHT}V{height}" stroke="#e3e7eb"/>'
                     f'<text x="{x + _CYCLE / 2:g}" y="14" text-anchor="middle" fill="#68737d">'
                     f"{n}</text>")
    for number, row in enumerate(rows):
        y = (_HEIGHT + _GAP) * (number + 1)
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 14}" text-anchor="end">'
                     f"{escape(row.label)}</text>")
        values = [series[row.signal][cycle] for cycle in cycles]
        if row.base == 1:
            parts.append(_line(values, y))
        else:
            valid = [1] * len(cycles) if row.valid is None else [
                series[row.valid][cycle] for cycle in cycles]
            parts += _boxes(row, values, valid, y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(values: Sequence[int], y: int) -> str:
    """Return a bit as a line that is high or low."""
    points = []
    for n, value in enumerate(values):
        level = y + (2 if value else _HEIGHT - 2)
        points += [f"{_LEFT + n * _CYCLE},{level}", f"{_LEFT + (n + 1) * _CYCLE},{level}"]
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="#2c7fc9" stroke-width="2"/>'


def _boxes(row: Row, values: Sequence[int], valid: Sequence[int], y: int) -> list[str]:
    """Return values in boxes, as wide as they stay the same, where they matter."""
    parts, n = [], 0
    while n < len(values):
        end = n + 1
        while end < len(values) and valid[end] == valid[n] and (
                not valid[n] or values[end] == values[n]) and row.valid is None:
            end += 1
        if valid[n]:
            text = f"{values[n]:0{row.digits}b}" if row.base == 2 else str(values[n])
            parts.append(
                f'<rect x="{_LEFT + n * _CYCLE + 1}" y="{y + 1}" width="{(end - n) * _CYCLE - 2}" '
                f'height="{_HEIGHT - 2}" rx="3" fill="#e8f1fa" stroke="#2c7fc9"/>'
                f'<text x="{_LEFT + (n + end) * _CYCLE / 2:g}" y="{y + 14}" text-anchor="middle">'
                f"{text}</text>")
        n = end
    return parts
