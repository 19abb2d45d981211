"""How a layer walks over its source: tiles of neurons, spans of columns, and their weights.

A tile is what the lanes of a core hold at once: channels of one output pixel, or, where a pixel has
fewer channels than there are lanes, several neighbouring pixels of the output. A core reads whole
columns of ``banks`` bits. Where a column holds several pixels of the source, output pixels that
begin in the middle of one need weights of their own; they are further tiles, the *phases*.

A dense layer is a convolution whose kernel is its whole source. Sums over windows of the source
(average pooling) are a larger kernel with equal weights, or, where nothing else is summed, the same
weights for every pixel.
"""
from dataclasses import dataclass
from math import gcd

import numpy as np

from hw.parameters import CoreParameters
from mapping.maps import SpikeMap, ceil_div
from model.network import ConvLayer, DenseLayer, Layer, MergeLayer

__all__ = ["Kernel", "Walk", "kernel_of", "phases", "walk"]


@dataclass(frozen=True, eq=False)
class Kernel:
    """A layer as a convolution over its sources as they are stored.

    Attributes
    ----------
    weights : :class:`numpy.ndarray`
        int8 ``(outputs, channels of all sources, height, width)``.
    stride, padding, pool : pairs of :class:`int`
        Vertical and horizontal; ``pool`` is the window of max pooling.
    local : :class:`int`
        An output channel reads as many channels of each source, beginning with the multiple of
        that number below its own place among the outputs; 0: all of them.
    shared : :class:`bool`
        All pixels of the kernel have the same weights.
    lines : :class:`int`
        Lines of the sources that are read: those that fill no window of a sum are not.
    """

    weights: np.ndarray
    stride: tuple[int, int]
    padding: tuple[int, int]
    pool: tuple[int, int]
    local: int
    shared: bool
    lines: int


def kernel_of(layer: Layer, sources: list[SpikeMap]) -> Kernel:
    """Return a layer as a convolution over its sources."""
    channels = sum(source.channels for source in sources)
    if isinstance(layer, MergeLayer):
        conv = layer.as_conv(sources[0].channels)
        return Kernel(conv.weights, (1, 1), (0, 0), (1, 1), local=1, shared=False,
                      lines=sources[0].height)
    down, across = layer.sum_pool
    if isinstance(layer, DenseLayer):
        height, width = sources[0].height // down, sources[0].width // across
        weights = layer.weights.reshape(layer.outputs, channels, height, width)
        stride, padding, pool, local = (1, 1), (0, 0), (1, 1), 0
    else:
        weights, local = _ungrouped(layer), 0
        # Groups of one output each, and of as many inputs: the depthwise case and its kin.
        if len(sources) == 1 and layer.groups > 1 and (
                layer.outputs == layer.groups * layer.weights.shape[1]):
            local = layer.weights.shape[1]
        stride = layer.stride[0] * down, layer.stride[1] * across
        padding = layer.padding[0] * down, layer.padding[1] * across
        pool = layer.pool
    shared = (down, across) != (1, 1) and weights.shape[2:] == (1, 1)
    return Kernel(weights.repeat(down, axis=2).repeat(across, axis=3), stride, padding, pool,
                  local, shared, sources[0].height // down * down)


def _ungrouped(layer: ConvLayer) -> np.ndarray:
    """Return the weights of all groups side by side, zeros between them."""
    outputs, each, *window = layer.weights.shape
    whole = np.zeros((layer.groups, outputs // layer.groups, layer.groups, each, *window), np.int8)
    for group, part in enumerate(np.split(layer.weights, layer.groups)):
        whole[group, :, group] = part
    return whole.reshape(outputs, -1, *window)


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
    outputs, _, height, width = kernel.weights.shape
    # What a place of the output is: so many tiles of so many pixels.
    pixels = max(1, p.lanes // output.pixel)
    channel_tiles = ceil_div(output.pixel, p.lanes)
    down, across = kernel.stride
    pool_y, pool_x = kernel.pool
    number = phases(p, source.pixel, across * pool_x, pixels, output.width)
    place = number * pixels
    places = ceil_div(output.width, place)
    tiles = number * channel_tiles

    lane = np.arange(p.lanes)
    tile = np.arange(tiles)[:, None]
    phase, part_of_pixel = np.divmod(tile, channel_tiles)
    channel = np.broadcast_to(part_of_pixel * p.lanes + lane % min(output.pixel, p.lanes),
                              (tiles, p.lanes))
    pixel = np.broadcast_to(phase * pixels + lane // output.pixel, (tiles, p.lanes))
    channel = np.where((channel < outputs) & (pixel < output.width), channel, -1)

    # Pixels of the source that the first place sees, and in which columns they lie. If pixels
    # begin with columns, those of a pooled window see the same columns, moved.
    per_pixel = source.pixel / p.banks
    moves     = across * source.pixel % p.banks == 0
    sets      = 1 if moves else pool_x
    first     = -kernel.padding[1]
    last      = ((place - 1) * pool_x + sets - 1) * across + first + width
    begin, end = int(np.floor(first * per_pixel)), int(np.ceil(last * per_pixel))
    if height == 1:
        # Nothing is read of the padding of the last pixel.
        most = max(each.channels for each in sources)
        end  = min(end, ceil_div((last - 1) * source.pixel + most, p.banks))
    pixel_columns = source.pixel // p.banks            # 0 if a column holds several
    parts, part, tile_x = len(sources), dict.fromkeys(("x", "far", "weights"), 0), 0
    shared = kernel.shared and len(sources) == 1 and place == 1 and pixel_columns > 0
    local  = (kernel.local and pixels == 1 and number == 1 and pixel_columns > 0 and
              p.lanes % kernel.local == 0 and source.pixel % p.lanes == 0 and
              1 in (len(sources), width))
    if local:
        columns, tile_x = p.tile_columns, p.tile_columns
    elif shared:
        columns = pixel_columns
    else:
        columns = end - begin
    if (local and len(sources) == 1) or shared:
        parts, part["x"] = width, pixel_columns
    elif len(sources) > 1:
        part["far"] = (sources[1].base - source.base) * p.scan
    part["weights"] = 0 if shared else columns
    line_weights = 0 if shared else parts * columns
    lines = height
    pitch, size = source.pitch, kernel.lines * source.pitch
    line_columns = source.line_columns(p.banks)
    if lines > 1 and not shared and (parts, columns, begin) == (1, pitch, 0) and (
            kernel.padding[0] == 0 and output.height == output.width == 1 and
            source.line_columns(p.banks) == pitch):
        # Lines that are read whole are one span.
        columns, pitch, lines, line_columns = lines * columns, size, 1, size
        part["weights"] = line_weights = columns
    set_words = 1 if shared else lines * parts
    set_words *= columns

    # What the words weigh: (line, part, column, bank) of each lane, tile by tile, set by set.
    weights = np.zeros((tiles, sets, set_words, p.banks, p.lanes), np.int8)
    if lines == 1 and height > 1:
        seen_lines, seen_columns = height, columns // height
    else:
        seen_lines, seen_columns = (1, columns) if shared else (lines, columns)
    seen_parts = 1 if shared else parts
    for tile in range(tiles):
        bit = ((begin + tile * tile_x) * p.banks
               + np.arange(seen_columns * p.banks).reshape(1, seen_columns, p.banks)
               + part["x"] * p.banks * np.arange(seen_parts)[:, None, None])
        at, inner = np.divmod(bit, source.pixel)       # pixel of the source, and channel there
        counted = 0
        offsets = np.zeros((seen_parts, 1, 1), np.int64)
        if part["far"] or len(sources) > 1:
            offsets = np.cumsum([0] + [each.channels for each in sources[:-1]])[:, None, None]
            counted = np.array([each.channels for each in sources])[:, None, None]
        else:
            counted = source.channels
        inside = inner < counted
        inner  = np.where(inside, inner + offsets, 0)
        for pool in range(sets):
            for n in np.flatnonzero(channel[tile] >= 0):
                x = at - ((pixel[tile, n] * pool_x + pool) * across + first)
                valid = inside & (x >= 0) & (x < width)
                mine = kernel.weights[channel[tile, n]][inner, :, np.where(valid, x, 0)]
                mine = np.where(valid[..., None], mine, 0)            # (part, column, bank, line)
                weights[tile, pool, :, :, n] = (
                    mine[..., :seen_lines].transpose(3, 0, 1, 2).reshape(-1, p.banks))

    line = source.pitch
    loops = {
        "last_tile": tiles - 1, "last_y": output.height - 1, "last_x": places - 1,
        "last_pool_y": pool_y - 1, "last_pool_x": pool_x - 1,
        "last_line": lines - 1, "last_part": parts - 1,
        "x": begin, "line": -kernel.padding[0] * line, "width": columns,
        "columns": line_columns, "pitch": pitch, "size": size, "tile_x": tile_x,
        "x_x": place * pool_x * across * source.pixel // p.banks,
        "pool_x": across * source.pixel // p.banks if moves else 0,
        "part_x": part["x"], "y_line": pool_y * down * line, "pool_line": down * line,
        "part_far": part["far"], "tile_weights": sets * set_words,
        "pool_weights": 0 if moves else set_words, "line_weights": line_weights,
        "part_weights": part["weights"],
    }
    return Walk(tiles, output.height, places, kernel.pool, channel, pixel, place,
                loops, tiles * sets * set_words, weights.reshape(-1, p.banks, p.lanes))
