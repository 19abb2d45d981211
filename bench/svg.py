"""What the pictures share: the page, its colours, and the ticks of an axis."""
import math
from html import escape

__all__ = ["GRID", "INK", "PALE", "WIDTH", "mark", "page", "ticks"]

WIDTH = 780
INK, PALE, GRID = "#1d2733", "#5d6b78", "#e3e8ec"


def page(title: str, height: int, body: str) -> str:
    """Return an SVG file that stands for itself: a white page with a title, and what is on it.

    Parameters
    ----------
    height
        Pixels; the title takes the first 40.
    body
        SVG elements.
    """
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
            f'<text x="20" y="30" font-size="17" font-weight="600">{escape(title)}</text>\n'
            f'{body}</svg>\n')


def ticks(low: float, high: float) -> list[float]:
    """Return the ticks of a linear axis that holds low to high: two at least, about six.

    They are multiples of 1, 2 or 5 times a power of ten, of a thousandth at least.
    """
    rough = max((high - low) / 5, 1e-3)
    step = next(factor * 10 ** math.floor(math.log10(rough)) for factor in (1, 2, 5, 10)
                if factor * 10 ** math.floor(math.log10(rough)) >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    # A single value on a tick: below it, since what we draw so, shares, ends at 1.
    first = min(first, last - 1)
    return [number * step for number in range(first, last + 1)]


def mark(kind: str, colour: str, x: float, y: float) -> str:
    """Return the mark of a point: a circle, square, diamond or triangle."""
    if kind == "circle":
        return f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>'
    corners = {"square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
               "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
               "triangle": ((0, -5), (5, 4), (-5, 4))}[kind]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'
