"""Values with their spread on a linear axis, as an SVG file that stands for itself."""
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean

from bench.svg import GRID, PALE, WIDTH, mark, page, ticks

__all__ = ["Panel", "Row", "range_chart"]

_LABEL, _RIGHT, _TOP = 205, 40, 74
_PITCH, _HEAD, _FOOT, _APART = 30, 46, 34, 10
#: Of the series: colour and mark.
_LOOKS = (("#0072b2", "circle"), ("#c8451b", "square"), ("#009e73", "diamond"))


@dataclass(frozen=True)
class Row:
    """A label, and the values of each series; a series without values is left out."""

    label: str
    values: tuple[Sequence[float], ...]


@dataclass(frozen=True)
class Panel:
    """Rows that share an axis; the title says what they are."""

    title: str
    rows: tuple[Row, ...]


def range_chart(title: str, series: Sequence[str], panels: Sequence[Panel],
                form: str = ".1%") -> str:
    """Return an SVG picture, panels one below the other, above them the names of the series.

    A mark is the mean of a row's values, the line through it reaches from the lowest to the
    highest.

    Parameters
    ----------
    series
        Up to three names.
    form
        How values are written at the axis.

    Raises
    ------
    ValueError
        If there is nothing to draw, or a row has not so many series.
    """
    if not panels or not all(any(map(any, (row.values for row in panel.rows)))
                             for panel in panels):
        raise ValueError("There must be at least one panel, and a value in each")
    for row in (row for panel in panels for row in panel.rows):
        if not len(row.values) == len(series) <= len(_LOOKS):
            raise ValueError(f"{row.label!r} must have values of {len(series)} series, at most "
                             f"{len(_LOOKS)}")
    parts = [f'{mark(kind, colour, 30 + 150 * number, 52)}<text x="{44 + 150 * number}" '
             f'y="56.5">{escape(name)}</text>\n'
             for number, (name, (colour, kind)) in enumerate(zip(series, _LOOKS, strict=False))]
    top = _TOP
    for panel in panels:
        parts.append(_drawn(panel, top, form))
        top += _HEAD + len(panel.rows) * _PITCH + _FOOT
    return page(title, top, "".join(parts))


def _drawn(panel: Panel, top: int, form: str) -> str:
    """Return one panel."""
    values = [value for row in panel.rows for each in row.values for value in each]
    lines = ticks(min(values), max(values))
    low, high = lines[0], lines[-1]

    def at(value: float) -> float:
        share = (value - low) / (high - low)
        return round(_LABEL + share * (WIDTH - _LABEL - _RIGHT), 1)

    first = top + _HEAD
    bottom = first + len(panel.rows) * _PITCH
    parts = [f'<text x="20" y="{top + 26}" font-weight="600">{escape(panel.title)}</text>\n']
    for value in lines:
        parts.append(f'<line x1="{at(value)}" x2="{at(value)}" y1="{first - 6}" y2="{bottom}" '
                     f'stroke="{GRID}"/><text x="{at(value)}" y="{bottom + 16}" font-size="11" '
                     f'fill="{PALE}" text-anchor="middle">{value:{form}}</text>\n')
    for number, row in enumerate(panel.rows):
        middle = first + number * _PITCH + _PITCH / 2 - 3
        parts.append(f'<text x="{_LABEL - 10}" y="{middle + 4.5}" text-anchor="end">'
                     f'{escape(row.label)}</text>')
        for place, (each, (colour, kind)) in enumerate(zip(row.values, _LOOKS, strict=False)):
            if each:
                y = middle + _APART * (place - (len(row.values) - 1) / 2)
                parts.append(f'<line x1="{at(min(each))}" x2="{at(max(each))}" y1="{y}" y2="{y}" '
                             f'stroke="{colour}" stroke-width="2"/>'
                             f'{mark(kind, colour, at(mean(each)), y)}')
        parts.append("\n")
    return "".join(parts)
