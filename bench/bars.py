"""Bars on a logarithmic scale, as an SVG file that stands for itself."""
import math
from dataclasses import dataclass
from html import escape

from bench.svg import GRID, PALE, WIDTH, page

__all__ = ["Bar", "Panel", "bar_chart"]

_LABEL, _RIGHT = 205, 85
_BAR, _PITCH, _HEAD, _FOOT = 16, 25, 46, 34
_OURS, _PEER = "#c8451b", "#8fa3b5"


@dataclass(frozen=True)
class Bar:
    """One bar: a label, a value above 0, how the value is written, and if it is ours."""

    label: str
    value: float
    text: str
    ours: bool = False


@dataclass(frozen=True)
class Panel:
    """Bars that share an axis; the title says what they are and which way is better."""

    title: str
    bars: tuple[Bar, ...]


def bar_chart(title: str, panels: list[Panel]) -> str:
    """Return an SVG picture, panels one below the other.

    Raises
    ------
    ValueError
        If there is nothing to draw, or a value is not above 0: it has no logarithm.
    """
    if not panels or any(not panel.bars for panel in panels):
        raise ValueError("There must be at least one panel, and a bar in each")
    top, parts = 44, []
    for panel in panels:
        parts.append(_panel(panel, top))
        top += _HEAD + len(panel.bars) * _PITCH + _FOOT
    return page(title, top, "".join(parts))


def _panel(panel: Panel, top: int) -> str:
    values = [bar.value for bar in panel.bars]
    if min(values) <= 0:
        raise ValueError(f"Bars of {panel.title!r} must be above 0, not {min(values)}")
    # The shortest bar, too, is to be seen: the axis begins a power of ten below it.
    low = math.ceil(math.log10(min(values)) - 1)
    high = max(low + 1, math.ceil(math.log10(max(values))))

    def x(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return round(_LABEL + share * (WIDTH - _LABEL - _RIGHT), 1)

    first = top + _HEAD
    bottom = first + len(panel.bars) * _PITCH
    parts = [f'<text x="20" y="{top + 26}" font-weight="600">{escape(panel.title)}</text>\n']
    for power in range(low, high + 1):
        at = x(10.0 ** power)
        parts.append(f'<line x1="{at}" x2="{at}" y1="{first - 6}" y2="{bottom}" '
                     f'stroke="{GRID}"/><text x="{at}" y="{bottom + 16}" font-size="11" '
                     f'fill="{PALE}" text-anchor="middle">{10.0 ** power:,.10g}</text>\n')
    for number, bar in enumerate(panel.bars):
        y = first + number * _PITCH
        middle = y + _BAR / 2 + 4.5
        weight = "600" if bar.ours else "400"
        parts.append(
            f'<text x="{_LABEL - 10}" y="{middle}" text-anchor="end" font-weight="{weight}">'
            f'{escape(bar.label)}</text>'
            f'<rect x="{_LABEL}" y="{y}" width="{max(1.0, round(x(bar.value) - _LABEL, 1))}" '
            f'height="{_BAR}" rx="2" fill="{_OURS if bar.ours else _PEER}"/>'
            f'<text x="{x(bar.value) + 7}" y="{middle}" font-weight="{weight}">'
            f'{escape(bar.text)}</text>\n')
    return "".join(parts)
