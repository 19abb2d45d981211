"""Where each layer of a network lies in the memories of a core.

The plan is geometry only: maps, walks, addresses. :mod:`mapping.program` turns it into memory
contents, :mod:`mapping.cycles` into cycles.
"""
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hw.event_queue import EventQueue
from hw.fetch import Fetcher
from hw.parameters import CoreParameters
from hw.shapes import LEVEL_WIDTH, PLANE_WIDTH, POOL_WIDTH
from hw.weight_loader import ROW_WIDTH
from mapping.errors import MappingError
from mapping.geometry import Walk, phases, walk
from mapping.kernel import Kernel, kernel_of
from mapping.maps import SpikeMap, ceil_div
from model.network import ConvLayer, DenseLayer, InputCoding, IntegerNetwork, Readout

__all__ = ["LayerPlan", "Plan", "make_plan"]


@dataclass(frozen=True)
class LayerPlan:
    """One layer on one core.

    Attributes
    ----------
    name : :class:`str`
        The layer in messages.
    sources : tuple of :class:`~mapping.maps.SpikeMap`
        What it reads; several are of one size, at equal distances.
    source_numbers : tuple of :class:`int`
        The layers that they are of; -1 is the input.
    output : :class:`~mapping.maps.SpikeMap`
        What it writes; a readout layer counts the groups of a map that it does not write.
    walk : :class:`~mapping.geometry.Walk`
        How it reads.
    steps : :class:`int`
        Its steps.
    static : :class:`bool`
        The source is a static input: its planes are those of the first step alone.
    planes : :class:`int`
        Planes of the source in a step: bits of a static input, or of the spikes of a step's window.
    levels : tuple of :class:`int`
        What the planes of the output in a step are worth, 0 for those that this layer never sets.
    whole : :class:`bool`
        It waits once, for all layers before it; otherwise for each group of planes of the dense
        layer before it.
    coarse : :class:`bool`
        Its output is complete at its end, not group by group.
    last_visits, last_lanes : :class:`int`
        Visits of the last tile; neurons of its last visit.
    weights : :class:`int`
        First word in the weight banks; of a streamed layer, of its first tile.
    streamed : :class:`bool`
        Its weights come tile by tile, in turn to the two halves of the weight banks.
    gains, biases, first_biases, thresholds : :class:`int`
        First rows in the parameter memories.
    readout : :class:`~model.network.Readout` or None
        How the layer's membranes are given out; None for a layer that fires.
    """

    name: str
    sources: tuple[SpikeMap, ...]
    source_numbers: tuple[int, ...]
    output: SpikeMap
    walk: Walk
    steps: int
    static: bool
    planes: int
    levels: tuple[int, ...]
    whole: bool
    coarse: bool
    last_visits: int
    last_lanes: int
    weights: int
    streamed: bool
    gains: int
    biases: int
    first_biases: int
    thresholds: int
    readout: Readout | None

    @property
    def tiles(self) -> int:
        """Tiles of ``lanes`` neurons."""
        return self.walk.tiles

    @property
    def tile_words(self) -> int:
        """Words of a weight bank that a tile takes."""
        return self.walk.words // self.walk.tiles

    def half(self, tile: int, p: CoreParameters) -> int:
        """Return the half of the weight banks, 0 or 1, that a streamed tile comes to."""
        return (self.weights * 2 // p.weight_depth + tile) % 2

    @property
    def groups(self) -> int:
        """Groups of planes of the source in all steps."""
        return self.sources[0].groups

    @property
    def output_groups(self) -> int:
        """Groups of planes that it gives for each tile; one where it is coarse."""
        return 1 if self.coarse else self.output.groups

    @property
    def late(self) -> bool:
        """Groups read and groups given do not correspond: all are given at the end of a tile."""
        return self.coarse or self.static or self.planes > 1 or len(self.levels) > 1


@dataclass(frozen=True)
class Plan:
    """A network on a core.

    Attributes
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        The core.
    layers : tuple of :class:`LayerPlan`
        The layers in order.
    input : :class:`~mapping.maps.SpikeMap`
        The input, in the first of its two buffers.
    frame_stride, frame_beats : :class:`int`
        Rows from a buffer to the next; beats of a plane.
    used : dict of :class:`int`
        Rows in use of each memory, by its region's name (``spikes`` for the spike memory).
    """

    parameters: CoreParameters
    layers: tuple[LayerPlan, ...]
    input: SpikeMap
    frame_stride: int
    frame_beats: int
    used: dict[str, int]

    @property
    def frame_planes(self) -> int:
        """Planes of an input sample."""
        return self.input.steps * len(self.input.coding)


def make_plan(network: IntegerNetwork, p: CoreParameters) -> Plan:
    """Lay a network out on a core.

    Raises
    ------
    :exc:`~mapping.errors.MappingError`
        If a memory or a counter of the core is too small, or the core can't do what a layer asks
        for; names layer, quantity, need and limit.
    """
    _need("network", "layers (program_depth)", len(network.layers), p.program_depth)
    for number in range(len(network.layers)):
        _check_shape(network, number)
    maps = _place_maps(network, p, _size_maps(network, p))
    source, last = maps[-1], len(network.layers) - 1
    used = {
        "spikes": max(each.base + each.rows * each.groups for each in maps.values()),
        "weights": 0, "gains": 0, "biases": 0, "thresholds": 0,
        "fetch": len(network.layers), "fire": len(network.layers),
    }
    used["spikes"] = max(used["spikes"], 2 * source.rows * source.groups)
    _need("network", f"rows of spikes (spike_depth; 2 x {source.rows * source.groups} for the "
          f"input, the rest for the spikes of hidden layers)", used["spikes"], p.spike_depth)

    planes = source.steps * len(source.coding)
    _need("network", "planes of an input sample (step_width)", planes, 1 << p.step_width)
    _need("network", "time steps (step_width)", network.timesteps, 1 << p.step_width)
    beats = ceil_div(source.columns * p.banks, p.lanes)
    _need("network", "beats of a plane of the input (tile_width)", beats, 1 << p.tile_width)

    layers: list[LayerPlan] = []
    for number in range(len(network.layers)):
        layers.append(_plan_layer(network, number, p, maps, layers, used))
    assert layers[last].readout is not None
    layers = _place_weights(layers, p, used)
    return Plan(p, tuple(layers), source, source.rows * source.groups, beats, used)


def layer_name(network: IntegerNetwork, number: int) -> str:
    """Return a layer's name for messages, with its shape."""
    def shape(of: int) -> str:
        channels, height, width = network.shape(of)
        return f"{channels}" if height == width == 1 else f"{channels}x{height}x{width}"

    sources = "+".join(shape(of) for of in network.sources(number))
    return f"layer {number} ({sources}-{shape(number)})"


def _plan_layer(network: IntegerNetwork, number: int, p: CoreParameters,
                maps: dict[int, SpikeMap], before: list[LayerPlan], used: dict[str, int],
                ) -> LayerPlan:
    """Plan one layer; add what it takes to ``used``."""
    layer, name = network.layers[number], layer_name(network, number)
    numbers = network.sources(number)
    sources = tuple(maps[of] for of in numbers)
    distances = {after.base - first.base for first, after in zip(sources, sources[1:],
                                                                 strict=False)}
    if len(distances) > 1:
        raise MappingError(name, "distances between the maps of its sources", len(distances), 1)
    kernel = _kernel(network, number, maps)
    path = walk(kernel, list(sources), maps[number], p)
    dense = isinstance(layer, DenseLayer)
    static = network.takes_static(number)
    # Only a layer with one place keeps step with the groups of the layer before.
    single = path.lines * path.places * max(path.pool) == 1
    whole = not (numbers == (number - 1,) and (number == 0 or (single and not before[-1].coarse)))
    planes = len(sources[0].coding) * (1 if static else layer.window)
    levels = _levels(network, number, maps[number])
    outputs = network.shape(number)[0]
    # A layer that lies as a wider one does may have no neuron in its last tile.
    flat = dense or layer.readout is not None
    last_neurons = max(1, outputs - (path.tiles - 1) * p.lanes) if flat else p.lanes
    last_visits = ceil_div(last_neurons, p.neurons)
    neuron_rows = path.tiles * p.tile_groups
    v_init = network.layer(number).v_init
    plan = LayerPlan(
        name=name, sources=sources, source_numbers=numbers,
        output=maps[number], walk=path,
        steps=network.steps(number), static=static, planes=planes, levels=levels, whole=whole,
        coarse=not dense, last_visits=last_visits,
        last_lanes=last_neurons - (last_visits - 1) * p.neurons,
        weights=0, streamed=False, gains=used["gains"], biases=used["biases"],
        # A first step that starts from v_init has biases of its own.
        first_biases=used["biases"] + (neuron_rows if v_init else 0),
        thresholds=used["thresholds"], readout=layer.readout)
    used["gains"] += neuron_rows * planes
    used["biases"] += neuron_rows * (2 if v_init else 1)
    used["thresholds"] += neuron_rows * len(levels)
    for loop, need in (("tile", path.tiles), ("y", path.lines), ("x", path.places),
                       ("line", path.loops["last_line"] + 1),
                       ("part", path.loops["last_part"] + 1)):
        _need(name, {"tile": "tiles of neurons (tile_width)", "y": "lines of the output map",
                     "x": "places in a line of the output map", "line": "lines of the kernel",
                     "part": "pixels of a line of the kernel"}[loop],
              need, 1 << (p.tile_width if loop == "tile" else p.map_width))
    _need(name, "planes of the source in a step", planes, 1 << PLANE_WIDTH)
    _need(name, "planes of the output in a step", len(levels), 1 << LEVEL_WIDTH)
    if not p.map_width:
        _need(name, "columns from a tile to the next, or beside the map (map_width)",
              max(abs(path.loops[place]) for place in ("x", "line", "tile_x")), 0)
    if max(kernel.pool) > 1:
        _need(name, "pixels of a pooled window either way", max(kernel.pool),
              1 << POOL_WIDTH if p.map_width else 1)
        _need(name, "planes of a pooled output in all steps (pool_depth)",
              plan.steps * len(levels), p.pool_depth)
    if plan.late:
        # The fetcher counts them for each tile that it is ahead, a row of the queues at least.
        _need(name, "groups of output planes in all steps", plan.output_groups,
              Fetcher.most_pending(p) // (p.queue_depth + EventQueue.in_flight))
    _need(name, "rows of gains up to here (gain_depth)", used["gains"], p.gain_depth)
    for memory in ("biases", "thresholds"):
        _need(name, f"rows of {memory} up to here (neuron_depth)", used[memory], p.neuron_depth)
    if layer.readout is not None:
        _need(name, "readout neurons (readout_depth)", outputs, p.readout_depth)
    return plan


def _place_weights(layers: list[LayerPlan], p: CoreParameters, used: dict[str, int],
                   ) -> list[LayerPlan]:
    """Give each layer its place in the weight banks, and stream the largest ones if need be.

    Where all weights do not fit, the end of each half of the banks becomes a buffer for a tile;
    the layers that stay share what is left before the buffers.
    """
    if sum(layer.walk.words for layer in layers) <= p.weight_depth:
        placed = []
        for layer in layers:
            placed.append(replace(layer, weights=used["weights"]))
            used["weights"] += layer.walk.words
        return placed
    if p.single_port or p.weight_depth & p.weight_depth - 1 or (
            p.weight_depth > 1 << ROW_WIDTH):
        words = 0
        for layer in layers:
            words += layer.walk.words
            _need(layer.name, "words of a weight bank up to here (weight_depth; a core with "
                  "single_port, or whose weight_depth is no power of two, can't stream "
                  "weights)", words, p.weight_depth)
    half = p.weight_depth // 2
    order = sorted(range(len(layers)), key=lambda number: -layers[number].walk.words)
    for count in range(1, len(order) + 1):
        streamed = set(order[:count])
        buffer = max(layers[number].tile_words for number in streamed)
        ends = _first_fit([0 if number in streamed else layer.walk.words
                           for number, layer in enumerate(layers)], half - buffer)
        if ends is not None:
            break
    else:
        widest = max(layers, key=lambda layer: layer.tile_words)
        raise MappingError(widest.name, "words of a weight bank for a tile of streamed weights "
                           "(half of weight_depth)", widest.tile_words, half)
    placed, tiles = [], 0
    for number, layer in enumerate(layers):
        if number in streamed:
            placed.append(replace(layer, streamed=True,
                                  weights=half - buffer + tiles % 2 * half))
            tiles += layer.tiles
        else:
            part, first = ends[number]
            placed.append(replace(layer, weights=part * half + first))
    used["weights"] = p.weight_depth
    return placed


def _first_fit(sizes: list[int], room: int) -> list[tuple[int, int]] | None:
    """Place sizes in two rooms: (room, place) of each; None if they do not fit."""
    ends, places = [0, 0], []
    for size in sizes:
        part = next((n for n in (0, 1) if ends[n] + size <= room), None)
        if part is None:
            return None
        places.append((part, ends[part]))
        ends[part] += size
    return places


def _kernel(network: IntegerNetwork, number: int, maps: dict[int, SpikeMap]) -> Kernel:
    return kernel_of(network.layers[number], [maps[of] for of in network.sources(number)])


def _check_shape(network: IntegerNetwork, number: int) -> None:
    """Refuse what no core can do."""
    layer, name = network.layer(number), layer_name(network, number)
    _, height, width = network.shape(number)
    if layer.readout is not None and height * width > 1:
        raise MappingError(name, "pixels of a readout layer", height * width, 1)
    across = layer.sum_pool[1]
    if isinstance(layer, ConvLayer) and across > 1:
        wide = network.source_shape(number)[2]
        if wide % across and layer.padding[1]:
            raise MappingError(name, f"pixels of a line beyond windows of {across} that are summed "
                               f"and padded", wide % across, 0)


def _size_maps(network: IntegerNetwork, p: CoreParameters) -> dict[int, SpikeMap]:
    """Return the maps of all layers, and of the input as -1, all at row 0."""
    last = len(network.layers) - 1
    pixels = {number: _pixel(network.shape(number), p) for number in range(last + 1)}
    codings = {number: network.plane_weights(number) for number in range(-1, last + 1)}
    # Sources of one layer lie alike: as the widest of them, with the planes of the richest.
    for _ in network.layers:
        for number in range(last + 1):
            together = network.sources(number)
            if len(together) == 1:
                continue
            widest = max(pixels[of] for of in together)
            richest = max((codings[of] for of in together), key=len)
            for of in together:
                pixels[of], codings[of] = widest, richest
    source = _InputMap(network, p)
    for candidate in source.candidates():
        maps = {-1: candidate}
        for number in range(last + 1):
            channels, height, width = network.shape(number)
            sources = [maps[of] for of in network.sources(number)]
            place = _place(network, number, sources, pixels[number], p)
            maps[number] = _sized(channels, height, width, pixels[number],
                                  ceil_div(width, place) * place * pixels[number] // p.banks,
                                  network.steps(number), codings[number], p)
        if source.suits(maps):
            return maps
    raise AssertionError("an input of whole columns a pixel suits every network")


def _place(network: IntegerNetwork, number: int, sources: list[SpikeMap], pixel: int,
           p: CoreParameters) -> int:
    """Return the output pixels of a layer from one place of its walk to the next."""
    kernel = kernel_of(network.layers[number], sources)
    pixels = max(1, p.lanes // pixel)
    return pixels * phases(p, sources[0].pixel, kernel.stride[1] * kernel.pool[1], pixels,
                           network.shape(number)[2])


def _sized(channels: int, height: int, width: int, pixel: int, pitch: int, steps: int,
           coding: tuple[int, ...], p: CoreParameters) -> SpikeMap:
    planes = steps * len(coding)
    groups = ceil_div(planes, p.planes)
    return SpikeMap(channels, height, width, pixel, pitch, steps, coding, groups,
                    planes - (groups - 1) * p.planes, ceil_div(height * pitch, p.scan))


def _pixel(shape: tuple[int, int, int], p: CoreParameters) -> int:
    """Return the bits of a pixel of a layer's map.

    A tile is written at once, so either a pixel takes whole tiles, or whole pixels take a tile.
    """
    channels, _, width = shape
    for pixel in range(max(channels, p.banks), p.lanes if width > 1 else 0):
        if p.lanes % pixel == 0 and pixel % p.banks == 0:
            return pixel
    return ceil_div(channels, p.lanes) * p.lanes


class _InputMap:
    """How the input may lie: the denser, the better its spikes spread over the banks."""

    def __init__(self, network: IntegerNetwork, p: CoreParameters):
        self.network, self.p = network, p
        self.readers = [number for number in range(len(network.layers))
                        if -1 in network.sources(number)]

    def candidates(self) -> Iterator[SpikeMap]:
        """Yield the densest map first, the one whose pixels are whole columns last."""
        network, p = self.network, self.p
        channels, height, width = network.shape(-1)
        steps = 1 if network.input is InputCoding.STATIC else network.timesteps
        if all(isinstance(network.layers[number], DenseLayer) and
               network.layer(number).sum_pool == (1, 1) for number in self.readers):
            channels, height, width = channels * height * width, 1, 1
        sizes = [size for size in range(channels, p.banks) if p.banks % size == 0]
        for pixel in [*sizes, ceil_div(channels, p.banks) * p.banks]:
            yield _sized(channels, height, width, pixel, ceil_div(width * pixel, p.banks), steps,
                         network.plane_weights(-1), p)

    def suits(self, maps: dict[int, SpikeMap]) -> bool:
        """Tell whether joined maps have equal lines, and pixels that share columns cost little.

        The phases of an output have weights of their own; they may take a quarter of the memory.
        """
        network, p = self.network, self.p
        pitches = [{maps[of].pitch for of in network.sources(number)}
                   for number in range(len(network.layers))]
        if maps[-1].pixel % p.banks == 0:
            return True
        words = sum(walk(kernel_of(network.layers[number], [maps[-1]]), [maps[-1]], maps[number],
                         p).words for number in self.readers)
        return words <= p.weight_depth // 4 and all(len(each) == 1 for each in pitches)


def _place_maps(network: IntegerNetwork, p: CoreParameters, maps: dict[int, SpikeMap],
                ) -> dict[int, SpikeMap]:
    """Give each map its rows: the lowest that no map in use at that time takes."""
    last = len(network.layers) - 1
    ends = {of: number for number in range(last + 1) for of in network.sources(number)}
    placed = {-1: maps[-1]}
    live: list[tuple[int, int, int]] = []              # first row, row behind, last reader
    first = 2 * maps[-1].rows * maps[-1].groups
    for number in range(last):
        live = [each for each in live if each[2] >= number]
        size, base = maps[number].rows * maps[number].groups, first
        for start, stop, _ in sorted(live):
            if base + size <= start:
                break
            base = max(base, stop)
        placed[number] = replace(maps[number], base=base)
        live.append((base, base + size, ends[number]))
    placed[last] = maps[last]
    return placed


def _levels(network: IntegerNetwork, number: int, output: SpikeMap) -> tuple[int, ...]:
    """Return what each plane of a layer's map is worth to it, 0 for those that it never sets."""
    own = list(network.plane_weights(number))
    levels = []
    # From the last plane: of two equal ones, the one behind is the finer.
    for worth in reversed(output.coding):
        levels.append(own.pop() if own and own[-1] == worth else 0)
    if own:
        raise MappingError(layer_name(network, number),
                           f"planes of its spikes, worth {network.plane_weights(number)}, that "
                           f"are none of those of the layers that it is read with, worth "
                           f"{output.coding}", len(own), 0)
    return tuple(reversed(levels))


def _need(where: str, quantity: str, need: int, limit: int) -> None:
    if need > limit:
        raise MappingError(where, quantity, need, limit)
