"""Pictures for the report: pixel images as PNG, small charts as SVG.

Colours that a chart or table has by a CSS class follow the reader's light or dark theme. Pixels
can't, so theirs are chosen to be seen on both, and to be told apart by the colour blind.
"""

import base64
import math
import struct
import zlib

import numpy as np

__all__ = [
    "bar_chart", "data_uri", "digit_image", "histogram", "line_chart", "map_tiles",
    "membrane_image", "png", "spike_image", "trit_image", "trit_tiles",
]

#: Red, green, blue of +1 (and of a spike, and of a membrane above 0) and of -1.
PLUS = (44, 127, 201)
MINUS = (226, 118, 46)
#: Grey and opacity of a weight that is 0.
ZERO = (128, 128, 128, 44)
#: About, in a chart.
WIDTH_OF_A_LETTER = 7.5


def png(pixels: np.ndarray) -> bytes:
    """Return a PNG file of ``pixels``, uint8 (height, width, 4): red, green, blue, opacity."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 4 * width), np.uint8)     # each row after a 0: it is unfiltered
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))


def data_uri(pixels: np.ndarray) -> str:
    """Return pixels, uint8 (height, width, 4), as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def digit_image(image: np.ndarray) -> str:
    """Return an 8-bit image: (height, width), bright on dark, or (3, height, width) in colour."""
    pixels = np.full((*image.shape[-2:], 4), 255, np.uint8)
    if image.ndim == 3:
        pixels[..., :3] = np.moveaxis(image, 0, -1)
        return data_uri(pixels)
    dark, bright = np.array([19, 23, 29]), np.array([247, 244, 236])
    share = image[..., None].astype(np.float64) / 255
    pixels[..., :3] = np.rint(dark + share * (bright - dark))
    return data_uri(pixels)


def spike_image(spikes: np.ndarray, z_max: int = 1) -> str:
    """Return spikes (rows, columns) of -z_max..z_max: coloured, the more opaque the larger."""
    return data_uri(_signed(np.asarray(spikes, np.float64) / z_max))


def membrane_image(membranes: np.ndarray, scale: np.ndarray) -> str:
    """Return membranes (steps, neurons), opaque where they reach plus or minus ``scale``."""
    return data_uri(_signed(np.clip(membranes / np.maximum(scale, 1), -1, 1)))


def trit_image(trits: np.ndarray) -> str:
    """Return ternary values (rows, columns)."""
    return data_uri(_trits(trits))


def trit_tiles(weights: np.ndarray, shape: tuple[int, int], columns: int) -> str:
    """Return rows of ``weights`` (neurons, height * width) as tiles of ``shape``, in a grid."""
    return data_uri(_grid(_trits(weights).reshape(-1, *shape, 4), columns))


def map_tiles(maps: np.ndarray, scale: np.ndarray | float, columns: int) -> str:
    """Return maps (channels, height, width) as tiles in a grid, on a faint ground.

    Values are opaque where they reach plus or minus ``scale``, which may be one for each channel.
    """
    limits = np.broadcast_to(np.maximum(scale, 1), len(maps))[:, np.newaxis, np.newaxis]
    values = np.clip(maps / limits, -1, 1)
    pixels = _signed(values)
    pixels[values == 0] = ZERO
    return data_uri(_grid(pixels, columns))


def _grid(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Return tiles of pixels (tiles, height, width, 4) side by side, nothing between them."""
    count, height, width, _ = tiles.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    grid = np.zeros((rows, height + 1, columns, width + 1, 4), np.uint8)
    for number, tile in enumerate(tiles):
        grid[number // columns, :height, number % columns, :width] = tile
    return grid.reshape(rows * (height + 1), columns * (width + 1), 4)[:-1, :-1]


def _trits(trits: np.ndarray) -> np.ndarray:
    """Return the pixels of -1, 0 and +1."""
    palette = np.array([ZERO, (*PLUS, 255), (*MINUS, 255)], np.uint8)     # index -1 is the last
    return palette[np.asarray(trits, np.int64)]


def _signed(values: np.ndarray) -> np.ndarray:
    """Return pixels of -1..1: the colour is the sign, the opacity the size."""
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where(values[..., None] >= 0, PLUS, MINUS)
    pixels[..., 3] = np.rint(np.abs(values) * 255)
    return pixels


class _Plot:
    """The frame of a chart: maps values to places and draws the axes."""

    WIDTH = 860
    LEFT, RIGHT, TOP, BOTTOM = 58, 46, 12, 36

    def __init__(self, x: tuple[float, float], y: tuple[float, float], height: int = 280):
        self.x_range, self.y_range, self.height = x, y, height

    def x(self, value: float) -> float:
        """Return the place of a value on the horizontal axis."""
        low, high = self.x_range
        inner = self.WIDTH - self.LEFT - self.RIGHT
        return round(self.LEFT + (value - low) / (high - low) * inner, 2)

    def y(self, value: float) -> float:
        """Return the place of a value on the vertical axis."""
        low, high = self.y_range
        inner = self.height - self.TOP - self.BOTTOM
        return round(self.TOP + (high - value) / (high - low) * inner, 2)

    def frame(self, x_ticks: list[float], y_ticks: list[float], x_label: str) -> str:
        """Return grid lines, tick labels and the name of the horizontal axis."""
        right, bottom = self.WIDTH - self.RIGHT, self.height - self.BOTTOM
        parts = [f'<line class="grid" x1="{self.LEFT}" x2="{right}" y1="{self.y(tick)}" '
                 f'y2="{self.y(tick)}"/><text class="tick end" x="{self.LEFT - 8}" '
                 f'y="{self.y(tick) + 4}">{_label(tick)}</text>' for tick in y_ticks]
        parts += [f'<text class="tick middle" x="{self.x(tick)}" y="{bottom + 16}">'
                  f'{_label(tick)}</text>' for tick in x_ticks]
        middle = (self.LEFT + right) / 2
        parts.append(f'<text class="tick middle" x="{middle}" y="{bottom + 32}">{x_label}</text>')
        return "".join(parts)

    def svg(self, content: str, title: str) -> str:
        """Return the whole chart; the title is for screen readers."""
        return (f'<svg class="chart" viewBox="0 0 {self.WIDTH} {self.height}" role="img" '
                f'aria-label="{title}">{content}</svg>')


def line_chart(values: np.ndarray, chosen: int, x_label: str, title: str) -> str:
    """Return lines over steps 0..T, one for each column of ``values`` (T + 1, columns).

    The ``chosen`` column is drawn above the others; each line ends with its column's number.
    """
    steps = len(values) - 1
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    ticks = _ticks(low, high)
    plot = _Plot((0, max(steps, 1)), (min(low, ticks[0]), max(high, ticks[-1])))
    order = [column for column in range(values.shape[1]) if column != chosen] + [chosen]
    places = dict(zip(order, _apart([plot.y(values[-1, column]) for column in order], 12),
                      strict=True))
    content = plot.frame([*range(steps + 1)] if steps <= 16 else _ticks(0, steps), ticks, x_label)
    for column in order:
        points = " ".join(f"{plot.x(step)},{plot.y(float(value))}"
                          for step, value in enumerate(values[:, column]))
        kind = "chosen" if column == chosen else "other"
        content += (f'<polyline class="line {kind}" points="{points}"/>'
                    f'<text class="label {kind}" x="{plot.x(steps) + 8}" '
                    f'y="{places[column] + 4}">{column}</text>')
    return plot.svg(content, title)


def histogram(values: np.ndarray, marks: dict[str, float], x_label: str, title: str) -> str:
    """Return how often each value occurs, with named vertical marks."""
    low = min(float(values.min()), *marks.values())
    high = max(float(values.max()), *marks.values())
    margin = max(0.05 * (high - low), 2.0)
    edges = np.histogram_bin_edges(values, bins=min(40, int(np.ptp(values)) + 1))
    counts, edges = np.histogram(values, edges)
    plot = _Plot((low - margin, high + margin), (0, float(counts.max()) * 1.15))
    content = plot.frame(_ticks(low - margin, high + margin), _ticks(0, float(counts.max())),
                         x_label)
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        if count:
            content += (f'<rect class="bar" x="{plot.x(left)}" y="{plot.y(count)}" '
                        f'width="{max(plot.x(right) - plot.x(left) - 1, 1):.2f}" '
                        f'height="{plot.y(0) - plot.y(count):.2f}"/>')
    # Names stand outside of the marks, so that no mark runs through one, if there is room.
    lowest = min(marks.values())
    for row, (name, value) in enumerate(marks.items()):
        place, text = plot.x(value), f"{name} {_grouped(value, 1)}"
        room = WIDTH_OF_A_LETTER * len(text)
        left = (place - room > plot.LEFT if value == lowest
                else place + room > plot.WIDTH - plot.RIGHT)
        side, shift = ("end", -6) if left else ("start", 6)
        content += (f'<line class="mark" x1="{place}" x2="{place}" y1="{plot.TOP}" '
                    f'y2="{plot.y(0)}"/><text class="label mark {side}" x="{place + shift}" '
                    f'y="{plot.TOP + 10 + 15 * row}">{text}</text>')
    return plot.svg(content, title)


def bar_chart(
    values: list[float], names: list[str], marked: list[bool], x_label: str, title: str,
) -> str:
    """Return a bar for each value, from 0, with its number from 1 below it.

    Parameters
    ----------
    names
        Of the bars, in the place of ``x_label`` if all of them are short enough to fit.
    marked
        Which bars have the other colour.
    """
    high = max(*values, 1e-9)
    plot = _Plot((0, len(values)), (0, high * 1.08), height=200)
    slot = (plot.x(1) - plot.x(0)) / WIDTH_OF_A_LETTER
    named = max(map(len, names)) < slot
    every = 1 if slot > 3 else 5
    # Ticks of counts below 1 are fractions.
    content = plot.frame([], _ticks(0, high, least=0), "" if named else x_label)
    for number, (value, name, other) in enumerate(zip(values, names, marked, strict=True), 1):
        left, middle, right = (plot.x(number + part) for part in (-0.86, -0.5, -0.14))
        top, bottom = plot.y(value), plot.y(0)
        content += (f'<rect class="bar{" other" * other}" x="{left}" y="{top}" '
                    f'width="{right - left:.2f}" height="{bottom - top:.2f}"/>')
        if number % every == 0:
            content += f'<text class="tick middle" x="{middle}" y="{bottom + 16}">{number}</text>'
        if named:
            content += f'<text class="tick middle" x="{middle}" y="{bottom + 32}">{name}</text>'
    return plot.svg(content, title)


def _label(value: float) -> str:
    """Write a round number with a true minus and narrow spaces between thousands."""
    text = _grouped(value) if value == round(value) else f"{value:.3g}"
    return text.replace("-", "−")


def _grouped(value: float, digits: int = 0) -> str:
    """Write a number with narrow spaces between thousands."""
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def _ticks(low: float, high: float, least: float = 1) -> list[float]:
    """Return up to seven round numbers that lie within low..high, ``least`` apart or more."""
    rough = max((high - low) / 6, 1e-9)
    power = 10 ** math.floor(math.log10(rough))
    step = max(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough), least)
    first = math.ceil(low / step)
    return [step * number for number in range(first, math.floor(high / step) + 1)] or [low]


def _apart(places: list[float], least: float) -> list[float]:
    """Return the places, moved as little as needed so that no two are nearer than ``least``.

    Neighbours that are too near become a block around their mean, and blocks merge in turn.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    blocks: list[list[int]] = []
    for number in order:
        blocks.append([number])
        while len(blocks) > 1 and (_start(blocks[-1], places, least)
                                   < _start(blocks[-2], places, least) + least * len(blocks[-2])):
            last = blocks.pop()
            blocks[-1] += last
    result = list(places)
    for block in blocks:
        start = _start(block, places, least)
        for row, number in enumerate(block):
            result[number] = start + least * row
    return result


def _start(block: list[int], places: list[float], least: float) -> float:
    """Return the first place of a block whose members are ``least`` apart, around their mean."""
    mean = sum(places[number] for number in block) / len(block)
    return mean - least * (len(block) - 1) / 2
