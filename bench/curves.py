"""Curves over a logarithmic axis, as an SVG file that stands for itself."""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.svg import GRID, PALE, WIDTH, mark, page, ticks

__all__ = ["Chart", "Curve", "curve_chart"]

_LEFT, _RIGHT = 70, 30
_PLOT, _HEAD, _FOOT, _LEGEND = 250, 46, 52, 22
_SHORT = 44                # letters of a name in the legend, if another one stands beside it
#: Told apart by the colour blind (Okabe and Ito), and by their marks.
_COLOURS = ("#c8451b", "#0072b2", "#009e73", "#b07aa1", "#a07800", "#5d6b78")
_MARKS = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Curve:
    """Points (x, y) that belong together; each x is above 0."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Curves that share axes.

    Parameters
    ----------
    title, x_label : str
        What y is, and what x is.
    curves : tuple of Curve
        A label has the same colour in all charts of a picture.
    reference : (str, float), optional
        A value of y with its name, drawn as a line.
    """

    title: str
    x_label: str
    curves: tuple[Curve, ...]
    reference: tuple[str, float] | None = None


def curve_chart(title: str, charts: Sequence[Chart], y_format: str = ".1%") -> str:
    """Return an SVG picture, charts one below the other, above them the names of the curves.

    Parameters
    ----------
    y_format
        How values of y are written.

    Raises
    ------
    ValueError
        If there is nothing to draw, or an x is not above 0: it has no logarithm.
    """
    curves = [curve for chart in charts for curve in chart.curves]
    if not charts or not all(chart.curves for chart in charts) or not all(
            curve.points for curve in curves):
        raise ValueError("There must be at least one chart, a curve in each, and a point on each")
    for curve in curves:
        if min(x for x, _ in curve.points) <= 0:
            raise ValueError(f"Points of {curve.label!r} must lie above 0")
    labels = list(dict.fromkeys(curve.label for curve in curves))
    looks = {label: (_COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)])
             for number, label in enumerate(labels)}
    columns = 2 if max(map(len, labels)) <= _SHORT else 1
    parts = [_legend(labels, looks, columns)]
    top = 50 + _LEGEND * math.ceil(len(labels) / columns)
    for chart in charts:
        parts.append(_drawn(chart, looks, top, y_format))
        top += _HEAD + _PLOT + _FOOT
    return page(title, top, "".join(parts))


def _legend(labels: list[str], looks: dict[str, tuple[str, str]], columns: int) -> str:
    """Return the names of the curves, so many in a line."""
    parts = []
    for number, label in enumerate(labels):
        x, y = 30 + number % columns * 370, 56 + number // columns * _LEGEND
        colour, kind = looks[label]
        parts.append(f'<line x1="{x - 10}" x2="{x + 10}" y1="{y}" y2="{y}" stroke="{colour}" '
                     f'stroke-width="2"/>{mark(kind, colour, x, y)}'
                     f'<text x="{x + 20}" y="{y + 4.5}">{escape(label)}</text>\n')
    return "".join(parts)


def _drawn(chart: Chart, looks: dict[str, tuple[str, str]], top: int, y_format: str) -> str:
    """Return one chart."""
    points = [point for curve in chart.curves for point in curve.points]
    values = [y for _, y in points] + ([] if chart.reference is None else [chart.reference[1]])
    left, right = (math.log10(edge(x for x, _ in points)) for edge in (min, max))
    margin = max(0.04 * (right - left), 0.02)
    left, right = left - margin, right + margin
    lines = ticks(min(values), max(values))
    low, high = lines[0], lines[-1]
    first = top + _HEAD

    def at(x: float, y: float) -> tuple[float, float]:
        return (round(_LEFT + (math.log10(x) - left) / (right - left) * (WIDTH - _LEFT - _RIGHT),
                      1), round(first + (high - y) / (high - low) * _PLOT, 1))

    parts = [f'<text x="20" y="{top + 26}" font-weight="600">{escape(chart.title)}</text>\n']
    for value in lines:
        _, y = at(1, value)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}" '
                     f'stroke="{GRID}"/><text x="{_LEFT - 8}" y="{y + 4}" font-size="11" '
                     f'fill="{PALE}" text-anchor="end">{value:{y_format}}</text>\n')
    for tick in _ticks(left, right):
        x, _ = at(tick, low)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{first}" y2="{first + _PLOT}" '
                     f'stroke="{GRID}"/><text x="{x}" y="{first + _PLOT + 16}" font-size="11" '
                     f'fill="{PALE}" text-anchor="middle">{tick:,.10g}</text>\n')
    parts.append(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{first + _PLOT + 34}" '
                 f'font-size="12" fill="{PALE}" text-anchor="middle">{escape(chart.x_label)}'
                 f'</text>\n')
    if chart.reference is not None:
        name, value = chart.reference
        _, y = at(1, value)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}" '
                     f'stroke="{PALE}" stroke-dasharray="5 4"/><text x="{_LEFT + 4}" '
                     f'y="{y - 5}" font-size="11" fill="{PALE}">{escape(name)}</text>\n')
    for curve in chart.curves:
        colour, kind = looks[curve.label]
        places = [at(*point) for point in curve.points]
        line = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" '
                     f'stroke-width="2"/>' + "".join(mark(kind, colour, *place)
                                                     for place in places) + "\n")
    return "".join(parts)


def _ticks(left: float, right: float) -> list[float]:
    """Return 1, 2, 5, 10, ... between powers of ten; only powers where they are many.

    Where there is but one, or none, those of a linear axis.
    """
    powers = range(math.floor(left), math.ceil(right) + 1)
    factors = (1, 2, 5) if right - left < 3 else (1,)
    found = [factor * 10.0 ** power for power in powers for factor in factors]
    found = [tick for tick in found if left <= math.log10(tick) <= right]
    if len(found) < 2:
        low, high = 10 ** left, 10 ** right
        found = [tick for tick in ticks(low, high) if low <= tick <= high]
    return found
