"""How a layer walks over its source: tiles of neurons, spans of columns, and their weights.

A tile is what the lanes of a core hold at once: channels of one output pixel, or, where a pixel has
fewer channels than there are lanes, several neighbouring pixels of the output. A core reads whole
columns of ``banks`` bits. Where a column holds several pixels of the source, output pixels that
begin in the middle of one need weights of their own; they are further tiles, the *phases*.
"""
from dataclasses import dataclass
from math import gcd

import numpy as np

from hw.parameters import CoreParameters
from mapping.kernel import Kernel
from mapping.maps import SpikeMap, ceil_div

__all__ = ["Walk", "phases", "walk"]


def phases(p: CoreParameters, pixel: int, advance: int, pixels: int, width: int) -> int:
    """Return the phases of a layer: after so many tiles, the next begins with a column again.

    Parameters
    ----------
    pixel
        Bits of a pixel of the source.
    advance
        Pixels of the source from one output pixel (after pooling) to the next.
    pixels
        Output pixels of a tile.
    width
        Output pixels of a line.
    """
    step = pixels * advance * pixel
    return min(p.banks // gcd(p.banks, step), ceil_div(width, pixels))


@dataclass(frozen=True, eq=False)
class Walk:
    """A layer's walk over its sources.

    Attributes
    ----------
    tiles, lines, places, pool : :class:`int`, :class:`int`, :class:`int`, pair
        Turns of the loops over tiles, over the lines of the (pooled) output, over places in a line,
        and over the pixels of the window that is pooled.
    channel : :class:`numpy.ndarray`
        int64 ``(tiles, lanes)``: the output channel of each lane; -1 for none.
    pixel : :class:`numpy.ndarray`
        int64 ``(tiles, lanes)``: its output pixel (after pooling), from the first of the place.
    pixels : :class:`int`
        Output pixels of a place; those of the last place may lie behind the end of the line.
    loops : dict of :class:`int`
        The fields of :class:`~hw.shapes.FetchLayer` that say what the loops add, and how often they
        turn.
    words : :class:`int`
        Words of all weights.
    weights : :class:`numpy.ndarray`
        int8 ``(words, banks, lanes)``.
    """

    tiles: int
    lines: int
    places: int
    pool: tuple[int, int]
    channel: np.ndarray
    pixel: np.ndarray
    pixels: int
    loops: dict[str, int]
    words: int
    weights: np.ndarray


def walk(kernel: Kernel, sources: list[SpikeMap], output: SpikeMap, p: CoreParameters) -> Walk:
    """Lay the walk of a layer out.

    Parameters
    ----------
    kernel
        The layer.
    sources
        Its sources, all of one size and at equal distances.
    output
        Its output map.
    """
    source = sources[0]
    down, across = kernel.stride
    pool_y, pool_x = kernel.pool
    place = _place_of(kernel, source, output, p)
    spans = _spans_of(kernel, sources, output, place, p)
    weights = _weights_of(kernel, sources, place, spans, p)
    loops = {
        "last_tile": place.tiles - 1, "last_y": output.height - 1,
        "last_x": ceil_div(output.width, place.pixels) - 1,
        "last_pool_y": pool_y - 1, "last_pool_x": pool_x - 1,
        "last_line": spans.lines - 1, "last_part": spans.parts - 1,
        "x": spans.begin, "line": -kernel.padding[0] * source.pitch, "width": spans.columns,
        "columns": spans.line_columns, "pitch": spans.pitch, "size": spans.size,
        "tile_x": spans.tile_x,
        "x_x": place.pixels * pool_x * across * source.pixel // p.banks,
        "pool_x": across * source.pixel // p.banks if spans.sets == 1 else 0,
        "part_x": spans.part_x,
        "y_line": pool_y * down * source.pitch, "pool_line": down * source.pitch,
        "part_far": spans.part_far, "tile_weights": spans.sets * spans.set_words,
        "pool_weights": spans.set_words if spans.sets > 1 else 0,
        "line_weights": 0 if spans.shared else spans.parts * spans.columns,
        "part_weights": 0 if spans.shared else spans.columns,
    }
    return Walk(place.tiles, output.height, ceil_div(output.width, place.pixels), kernel.pool,
                place.channel, place.pixel, place.pixels, loops,
                place.tiles * spans.sets * spans.set_words,
                weights.reshape(-1, p.banks, p.lanes))


@dataclass(frozen=True, eq=False)
class _Place:
    """What the neurons of a place of the output are: so many pixels in so many tiles.

    Attributes
    ----------
    channel, pixel : int64 ``(tiles, lanes)``
        As those of a walk.
    whole : :class:`bool`
        A tile holds channels of one pixel, and every pixel begins with a column of the source.
    """

    pixels: int
    tiles: int
    channel: np.ndarray
    pixel: np.ndarray
    whole: bool


def _place_of(kernel: Kernel, source: SpikeMap, output: SpikeMap, p: CoreParameters) -> _Place:
    pixels = max(1, p.lanes // output.pixel)
    channel_tiles = ceil_div(output.pixel, p.lanes)
    number = phases(p, source.pixel, kernel.stride[1] * kernel.pool[1], pixels, output.width)
    shape = number * channel_tiles, p.lanes
    tile, lane = np.ogrid[:shape[0], :p.lanes]
    phase, part_of_pixel = np.divmod(tile, channel_tiles)
    channel = part_of_pixel * p.lanes + lane % min(output.pixel, p.lanes)
    pixel = np.broadcast_to(phase * pixels + lane // output.pixel, shape)
    there = (channel < len(kernel.weights)) & (pixel < output.width)
    return _Place(number * pixels, shape[0], np.where(there, channel, -1), pixel,
                  number == pixels == 1 and source.pixel >= p.banks)


@dataclass(frozen=True)
class _Spans:
    """What a place reads of its sources for one group of planes.

    Attributes
    ----------
    begin, columns : :class:`int`
        First column of a span in its line, for the first place; columns of a span.
    lines, parts : :class:`int`
        Spans from top to bottom, and in a line.
    part_x, part_far, tile_x : :class:`int`
        Columns from a part to the next, in the line or to another source; from a tile to the next.
    line_columns, pitch, size : :class:`int`
        Columns of a line that hold pixels, from a line to the next, and of all lines.
    sets : :class:`int`
        Sets of weights that the pixels of a pooled line take in turn; 1 where each pixel sees the
        same columns, moved.
    shared : :class:`bool`
        All spans have the same weights.
    """

    begin: int
    columns: int
    lines: int
    parts: int
    part_x: int
    part_far: int
    tile_x: int
    line_columns: int
    pitch: int
    size: int
    sets: int
    shared: bool

    @property
    def set_words(self) -> int:
        """Words of the weights of a tile and set."""
        return self.columns * (1 if self.shared else self.lines * self.parts)


def _spans_of(kernel: Kernel, sources: list[SpikeMap], output: SpikeMap, place: _Place,
              p: CoreParameters) -> _Spans:
    source, count = sources[0], len(sources)
    _, _, height, width = kernel.weights.shape
    pitch, size = source.pitch, kernel.lines * source.pitch
    line_columns = source.line_columns(p.banks)
    moves = kernel.stride[1] * source.pixel % p.banks == 0
    begin, end, sets = _columns_of(kernel, sources, place, p, 1 if moves else kernel.pool[1])
    part_x = tile_x = part_far = 0
    parts, columns, lines = count, end - begin, height
    shared = kernel.shared and count == 1 and place.pixels == 1 and source.pixel >= p.banks
    # Channels that see only their own: a tile reads its columns of each pixel.
    local = (kernel.local and place.whole and p.lanes % kernel.local == 0 and
             source.pixel % p.lanes == 0 and 1 in (count, width))
    if local:
        columns = tile_x = p.tile_columns
    elif shared:
        columns = source.pixel // p.banks
    if count > 1:
        part_far = (sources[1].base - source.base) * p.scan
    elif local or shared:
        parts, part_x = width, source.pixel // p.banks
    if height > 1 and not shared and kernel.padding[0] == 0 and (
            output.height == output.width == 1 and (parts, begin) == (1, 0) and
            columns == line_columns == pitch):
        # Lines that are read whole are one span.
        lines, columns = 1, height * columns
        line_columns = pitch = size
    return _Spans(begin, columns, lines, parts, part_x, part_far, tile_x, line_columns, pitch,
                  size, sets, shared)


def _columns_of(kernel: Kernel, sources: list[SpikeMap], place: _Place, p: CoreParameters,
                sets: int) -> tuple[int, int, int]:
    """Return the columns that hold what the first place sees, and how many sets of weights."""
    source = sources[0]
    _, _, height, width = kernel.weights.shape
    first = -kernel.padding[1]
    last  = ((place.pixels - 1) * kernel.pool[1] + sets - 1) * kernel.stride[1] + first + width
    begin, end = first * source.pixel // p.banks, ceil_div(last * source.pixel, p.banks)
    if height == 1:
        # Nothing is read of the padding of the last pixel.
        most = max(each.channels for each in sources)
        end  = min(end, ceil_div((last - 1) * source.pixel + most, p.banks))
    return begin, end, sets


def _weights_of(kernel: Kernel, sources: list[SpikeMap], place: _Place, spans: _Spans,
                p: CoreParameters) -> np.ndarray:
    """Return what the words weigh: int8 ``(tiles, sets, words of a set, banks, lanes)``."""
    source = sources[0]
    _, _, height, width = kernel.weights.shape
    # Words of whole lines in one span are those of so many lines.
    merged  = height // spans.lines
    columns = spans.columns // merged
    lines, parts = (1, 1) if spans.shared else (height, spans.parts)
    if len(sources) > 1:
        channels = np.array([each.channels for each in sources])[:, None, None]
        before   = np.cumsum(channels, axis=0) - channels
    else:
        channels, before = source.channels, 0

    weights = np.zeros((place.tiles, spans.sets, spans.set_words, p.banks, p.lanes), np.int8)
    for tile in range(place.tiles):
        # Of each bit of a line: part, column, bank.
        bit = ((spans.begin + tile * spans.tile_x) * p.banks
               + spans.part_x * p.banks * np.arange(parts)[:, None, None]
               + np.arange(columns * p.banks).reshape(1, columns, p.banks))
        at, inner = np.divmod(bit, source.pixel)       # pixel of the source, and channel there
        inside = inner < channels
        inner  = np.where(inside, inner + before, 0)
        for pool in range(spans.sets):
            for lane in np.flatnonzero(place.channel[tile] >= 0):
                pixel = place.pixel[tile, lane] * kernel.pool[1] + pool
                x = at - (pixel * kernel.stride[1] - kernel.padding[1])
                valid = inside & (x >= 0) & (x < width)
                mine  = kernel.weights[place.channel[tile, lane]][inner, :, np.where(valid, x, 0)]
                mine  = np.where(valid[..., None], mine, 0)           # (part, column, bank, line)
                weights[tile, pool, ..., lane] = (
                    mine[..., :lines].transpose(3, 0, 1, 2).reshape(-1, p.banks))
    return weights
