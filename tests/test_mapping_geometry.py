"""Walks over maps against the definition of a convolution, as the hardware reads and counts."""

import math
import random
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from hw.parameters import CoreParameters
from mapping.geometry import phases
from mapping.kernel import kernel_of
from mapping.plan import LayerPlan, make_plan
from mapping.spans import reaches
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Layer,
    Merge,
    MergeLayer,
    Readout,
)

SEED = 5
#: Networks of each kind on each core.
COUNT = 12

DEEP: dict[str, Any] = dict(
    weight_depth=1 << 16, spike_depth=1 << 12, neuron_depth=1 << 13, gain_depth=1 << 13,
    program_depth=8, readout_depth=256, count_width=16, gain_width=12, current_width=28)
CORES = {
    "2x8":  CoreParameters(banks=2, lanes=8, neurons=2, scan=8, **DEEP),
    "3x6":  CoreParameters(banks=3, lanes=6, planes=2, neurons=2, scan=4, **DEEP),
    "4x4":  CoreParameters(banks=4, lanes=4, planes=4, neurons=1, scan=2, **DEEP),
    "4x16": CoreParameters(banks=4, lanes=16, neurons=4, scan=4, **DEEP),
    "8x8":  CoreParameters(banks=8, lanes=8, neurons=2, scan=2, **DEEP),
    "1x4":  CoreParameters(banks=1, lanes=4, neurons=4, scan=8, **DEEP),
}


# The definition.

def counted(network: IntegerNetwork, number: int, joined: np.ndarray) -> np.ndarray:
    """Return the plus and minus counts of a layer's neurons for one plane of its sources.

    Takes 0 or 1 ``(channels, lines, pixels)`` and gives ``(2, channels, lines, pixels)``.
    """
    layer = network.layers[number]
    if isinstance(layer, MergeLayer):
        a, b = np.split(joined, 2)
        return np.stack([b, a] if layer.operation is Merge.AND_NOT else [a + b, 0 * a])
    down, across = layer.sum_pool
    channels, height, width = joined.shape
    height, width = height // down, width // across
    summed = np.array([[[joined[c, y * down:(y + 1) * down, x * across:(x + 1) * across].sum()
                         for x in range(width)] for y in range(height)] for c in range(channels)])
    if isinstance(layer, DenseLayer):
        return np.stack([(layer.weights == sign) @ summed.ravel() for sign in (1, -1)]
                        ).reshape(2, -1, 1, 1)
    padded = np.pad(summed, [(0, 0), *((pad, pad) for pad in layer.padding)])
    each, outputs = layer.weights.shape[1], layer.outputs // layer.groups
    counts = np.zeros((2, *network.fired_shape(number)), int)
    for o, y, x in np.ndindex(counts.shape[1:]):
        group, top, left = o // outputs, y * layer.stride[0], x * layer.stride[1]
        seen = padded[group * each:(group + 1) * each, top:top + layer.kernel[0],
                      left:left + layer.kernel[1]]
        for n, sign in enumerate((1, -1)):
            counts[n, o, y, x] = seen[layer.weights[o] == sign].sum()
    return counts


# The hardware.

def memory_of(layer: LayerPlan, maps: list[np.ndarray], p: CoreParameters,
              arrays: np.random.Generator) -> np.ndarray:
    """Return columns of the spike memory, ``(columns, banks)``, with the maps of a layer.

    Whatever belongs to no map, or lies behind the pixels of a line, may be anything. A pixel that
    fills no column leaves zeros, and so do channels that there are not.
    """
    memory = arrays.integers(0, 2, (p.spike_depth * p.scan, p.banks))
    for source, values in zip(layer.sources, maps, strict=True):
        for y in range(source.height):
            first = source.base * p.scan + y * source.pitch
            memory[first:first - (-source.width * source.pixel // p.banks)] = 0
            for c, x in np.ndindex(source.channels, source.width):
                column, bank = divmod(x * source.pixel + c, p.banks)
                memory[first + column, bank] = values.reshape(
                    source.channels, source.height, source.width)[c, y, x]
    return memory


def walked(layer: LayerPlan, fired: tuple[int, int, int], memory: np.ndarray, p: CoreParameters,
           ) -> np.ndarray:
    """Return the counts of a layer's neurons, walked tile by tile and span by span.

    A span's first weight is that of its first column; what a border clips has weights, too.
    """
    walk, loops = layer.walk, layer.walk.loops
    turns = {loop: range(loops[f"last_{loop}"] + 1)
             for loop in ("tile", "y", "x", "pool_y", "pool_x", "line", "part")}
    counts = np.full((2, *fired), -1)
    lanes = np.arange(p.lanes)
    places = product(*(turns[loop] for loop in ("tile", "y", "x", "pool_y", "pool_x")))
    for reach, (tile, y, x, pool_y, pool_x) in zip(reaches(layer, p), places, strict=True):
        assert reach.tile == tile
        assert reach.stores == ((pool_y, pool_x) == (walk.pool[0] - 1, walk.pool[1] - 1))
        sums = np.zeros((2, p.lanes), int)
        spans = product(turns["line"], turns["part"])
        for rows, (line, part) in zip(reach.spans, spans, strict=True):
            # Sources follow one another in a reach; in the memory they lie where they lie.
            source = part if loops["part_far"] else 0
            rows = [tuple(column - source * layer.sources[0].columns for column in row)
                    for row in rows]
            check_rows(rows, p)
            first, behind = (column + source * loops["part_far"]
                             for column in (rows[0][0], rows[-1][1]))
            begin = (loops["x"] + tile * loops["tile_x"] + x * loops["x_x"]
                     + pool_x * loops["pool_x"] + part * loops["part_x"])
            word = max(0, -begin) + (
                tile * loops["tile_weights"] + pool_x * loops["pool_weights"]
                + line * loops["line_weights"] + part * loops["part_weights"])
            base = layer.sources[0].base * p.scan
            spikes = memory[base + first:base + behind].ravel()
            weights = walk.weights[word:word + behind - first].reshape(-1, p.lanes)
            sums += [spikes @ (weights == sign) for sign in (1, -1)]
        visited = lanes < (layer.last_visits * p.neurons if tile == layer.tiles - 1 else p.lanes)
        neuron_y = y * walk.pool[0] + pool_y
        neuron_x = (x * walk.pixels + walk.pixel[tile]) * walk.pool[1] + pool_x
        mine = (walk.channel[tile] >= 0) & (neuron_x < fired[2])
        assert (visited | ~mine).all()
        for lane in np.flatnonzero(mine):
            at = walk.channel[tile, lane], neuron_y, neuron_x[lane]
            assert (counts[:, *at] == -1).all(), f"neuron {at} twice"
            counts[:, *at] = sums[:, lane]
    return counts


def check_rows(rows, p):
    """Rows of a span follow one another, whole but for the ends."""
    for (_, end), (begin, _) in pairwise(rows):
        assert end == begin
        assert end % p.scan == 0
    assert all(begin // p.scan == max(begin, end - 1) // p.scan for begin, end in rows)


def check(network: IntegerNetwork, p: CoreParameters, arrays: np.random.Generator) -> None:
    """Compare the counts of each layer of a network."""
    plan = make_plan(network, p)
    for number, layer in enumerate(plan.layers):
        shapes = [network.shape(source) for source in network.sources(number)]
        maps = [arrays.integers(0, 2, shape) for shape in shapes]
        found = walked(layer, network.fired_shape(number), memory_of(layer, maps, p, arrays), p)
        assert (found == counted(network, number, np.concatenate(maps))).all(), layer.name


# Layers to look at. What they compute does not matter here, only what they read.

class Draw:
    """Random layers for a core."""

    def __init__(self, rng: random.Random, p: CoreParameters):
        self.rng, self.p = rng, p
        self.arrays = np.random.default_rng(rng.getrandbits(64))

    def size(self, low: int, high: int) -> int:
        return self.rng.randint(low, max(low, high))

    def channels(self) -> int:
        """Draw a number of channels: a few, or around the lanes."""
        return self.rng.choice([self.size(1, 4), self.size(1, 2 * self.p.lanes + 1)])

    def map(self, channels: int | None = None) -> tuple[int, int, int]:
        """Draw the shape of a map, or of a line of pixels."""
        return (channels or self.channels(), self.rng.choice([1, self.size(2, 6), self.size(2, 6)]),
                self.size(1, 9))

    def windows(self, shape: tuple[int, int, int], most: int = 3) -> tuple[int, int]:
        """Draw windows of a map; its pixels may leave a rest."""
        return self.size(1, min(most, shape[1])), self.size(1, min(most, shape[2]))

    def neurons(self, kind, shape: tuple[int, ...], *, last: bool = False, **more) -> Any:
        """Return a layer of random weights."""
        outputs = shape[0]
        return kind(
            weights=self.arrays.integers(-1, 2, shape), gain_plus=np.ones(outputs, int),
            gain_minus=np.ones(outputs, int), bias=np.zeros(outputs, int), membrane_bits=8,
            threshold=np.zeros(outputs, int) if last else np.ones(outputs, int),
            readout=Readout.LAST if last else None, **more)

    def conv(self, shape: tuple[int, int, int], outputs: int, *, groups: int = 1,
             sum_pool: tuple[int, int] = (1, 1), pool: tuple[int, int] = (1, 1), **more,
             ) -> ConvLayer:
        """Return a convolution that fits a map; kernel, padding and stride are drawn."""
        channels, *size = shape
        ways = [self.way(each // summed, window, most=3 if summed > 1 else 7,
                         # A padded line of which windows leave a rest is refused.
                         padded=number == 0 or each % summed == 0)
                for number, (each, summed, window) in enumerate(
                    zip(size, sum_pool, pool, strict=True))]
        kernel, padding, stride = (tuple(each) for each in zip(*ways, strict=True))
        fixed: dict[str, Any] = dict(
            kernel=kernel, padding=padding, stride=stride, groups=groups, sum_pool=sum_pool,
            pool=pool) | more
        return self.neurons(ConvLayer, (outputs, channels // groups, *fixed.pop("kernel")), **fixed)

    def way(self, size: int, window: int, *, most: int, padded: bool) -> tuple[int, int, int]:
        """Draw kernel, padding and stride of one direction that leave so many places."""
        while True:
            kernel, stride = self.size(1, most), self.rng.choice([1, 1, 2, 3])
            padding = self.size(0, kernel - 1) if padded else 0
            if (size + 2 * padding - kernel) // stride + 1 >= window:
                return kernel, padding, stride

    def hidden(self, shape: tuple[int, int, int], outputs: int) -> ConvLayer:
        """Return a layer that makes a map of so many channels out of the input."""
        return self.conv(shape, outputs, kernel=(1, 1), padding=(0, 0), stride=(1, 1),
                         sources=(-1,))

    def dense(self, shape: tuple[int, int, int], outputs: int, **more) -> DenseLayer:
        return self.neurons(DenseLayer, (outputs, math.prod(shape)), **more)

    def network(self, shape: tuple[int, int, int], *layers: Layer) -> IntegerNetwork:
        """Return a network of the layers, and a readout of the map of the last one."""
        frame: dict[str, Any] = dict(input=InputCoding.SPIKES, input_bits=1, timesteps=1,
                                     input_shape=shape)
        if layers[-1].readout is not None:
            return IntegerNetwork(**frame, layers=layers)
        outputs = [layer.outputs for layer in layers if not isinstance(layer, MergeLayer)]
        probe = self.neurons(ConvLayer, (1, outputs[-1], 1, 1), last=True)
        last = IntegerNetwork(**frame, layers=(*layers, probe)).shape(len(layers) - 1)
        return IntegerNetwork(**frame, layers=(*layers, self.dense(last, 3, last=True)))

    def source(self, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], list[Layer]]:
        """Draw what a layer of such a source reads: the input, or a map of a layer before."""
        if self.rng.random() < 0.5:
            return shape, []
        before = self.channels(), *shape[1:]
        return before, [self.hidden(before, shape[0])]


def dense(draw: Draw) -> IntegerNetwork:
    shape = draw.map()
    summed = draw.rng.choice([(1, 1), draw.windows(shape)])
    before, layers = draw.source(shape)
    seen = shape[0], shape[1] // summed[0], shape[2] // summed[1]
    return draw.network(before, *layers, draw.dense(seen, draw.channels(), sum_pool=summed))


def convolution(draw: Draw) -> IntegerNetwork:
    shape = draw.map()
    before, layers = draw.source(shape)
    return draw.network(before, *layers, draw.conv(shape, draw.channels()))


def few_channels(draw: Draw) -> IntegerNetwork:
    """A column holds several pixels of the input, a tile several of the output."""
    shape = draw.map(draw.size(1, max(1, draw.p.banks // 2)))
    outputs = draw.rng.choice([draw.size(1, 3), draw.channels()])
    return draw.network(shape, draw.conv(shape, outputs, pool=draw.rng.choice(
        [(1, 1), draw.windows(shape)])))


def groups(draw: Draw) -> IntegerNetwork:
    number = draw.size(2, 5)
    shape = draw.map(number * draw.size(1, 4))
    before, layers = draw.source(shape)
    return draw.network(before, *layers,
                        draw.conv(shape, number * draw.size(1, 4), groups=number))


def depthwise(draw: Draw) -> IntegerNetwork:
    """As many outputs as inputs, each of one channel or of a few."""
    number, each = draw.size(1, 2 * draw.p.lanes + 1), draw.rng.choice([1, 1, 2, 3, 4])
    shape = draw.map(number * each)
    before, layers = draw.source(shape)
    return draw.network(before, *layers, draw.conv(shape, number * each, groups=number))


def sum_pool(draw: Draw) -> IntegerNetwork:
    shape = draw.map()
    before, layers = draw.source(shape)
    groups = draw.rng.choice([1, shape[0]])
    outputs = shape[0] if groups > 1 else draw.channels()
    kernel = draw.rng.choice([dict(kernel=(1, 1), padding=(0, 0)), {}])
    return draw.network(before, *layers, draw.conv(
        shape, outputs, sum_pool=draw.windows(shape), groups=groups, **kernel))


def global_pool(draw: Draw) -> IntegerNetwork:
    """The average of a map, or of maps side by side, as the readout."""
    shape = draw.map()
    parts = [draw.channels() for _ in range(draw.rng.choice([1, 2]))]
    layers = [draw.hidden(shape, part) for part in parts]
    return draw.network(shape, *layers, draw.conv(
        (sum(parts), *shape[1:]), draw.size(1, 5), kernel=(1, 1), padding=(0, 0), stride=(1, 1),
        sum_pool=shape[1:], last=True, sources=tuple(range(len(parts)))))


def max_pool(draw: Draw) -> IntegerNetwork:
    shape = draw.map()
    before, layers = draw.source(shape)
    return draw.network(before, *layers,
                        draw.conv(shape, draw.channels(), pool=draw.windows(shape)))


def whole_lines(draw: Draw) -> IntegerNetwork:
    """A kernel as wide as the map, so that its lines are one span."""
    shape = draw.channels(), draw.size(1, 7), draw.size(1, 7)
    before, layers = draw.source(shape)
    lines = draw.size(1, shape[1])
    stride = shape[1] - lines + 1
    return draw.network(before, *layers, draw.conv(
        shape, draw.size(1, 5), kernel=(lines, shape[2]), padding=(0, 0), stride=(stride, 1)))


def sources(draw: Draw) -> IntegerNetwork:
    """Two or three layers of different widths side by side, in any order."""
    shape, number = draw.map(), draw.rng.choice([2, 2, 3])
    # Three that lie at equal distances take as many rows each.
    parts = [draw.channels()] * 3 if number == 3 else [draw.channels(), draw.channels()]
    layers = [draw.hidden(shape, part) for part in parts]
    order = tuple(reversed(range(number))) if draw.rng.random() < 0.5 else tuple(range(number))
    seen = sum(parts), *shape[1:]
    channels = draw.channels()
    layer = draw.rng.choice([
        lambda: draw.conv(seen, channels, sources=order),
        lambda: draw.conv(seen, channels, sources=order, pool=draw.windows(shape)),
        lambda: draw.conv(seen, channels, sources=order, sum_pool=draw.windows(shape)),
        lambda: draw.dense(seen, channels, sources=order)])()
    return draw.network(shape, *layers, layer)


def groups_of_sources(draw: Draw) -> IntegerNetwork:
    """Groups that know nothing of where one source ends and the next begins."""
    shape = draw.map()
    parts = [draw.channels(), draw.channels()]
    layers = [draw.hidden(shape, part) for part in parts]
    channels = sum(parts)
    groups = draw.rng.choice([each for each in range(1, channels + 1) if channels % each == 0])
    kernel = draw.rng.choice([dict(kernel=(1, 1), padding=(0, 0)), {}])
    return draw.network(shape, *layers, draw.conv(
        (channels, *shape[1:]), channels, groups=groups, sources=(0, 1), **kernel))


def merges(draw: Draw) -> IntegerNetwork:
    shape, channels = draw.map(), draw.channels()
    layers = [draw.hidden(shape, channels), draw.hidden(shape, channels)]
    order = draw.rng.choice([(0, 1), (1, 0)])
    return draw.network(shape, *layers, MergeLayer(draw.rng.choice(list(Merge)), order))


KINDS: list[Callable[[Draw], IntegerNetwork]] = [
    dense, convolution, few_channels, groups, depthwise, sum_pool, global_pool, max_pool,
    whole_lines, sources, groups_of_sources, merges]


def networks(kind: Callable[[Draw], IntegerNetwork], core: str,
             ) -> Iterator[tuple[IntegerNetwork, np.random.Generator]]:
    """Yield the networks of a kind for a core."""
    draw = Draw(random.Random(f"{SEED} {kind.__name__} {core}"), CORES[core])
    for _ in range(COUNT):
        yield kind(draw), draw.arrays


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_counts(kind, core):
    """Each neuron once, with the counts that its weights and its place say."""
    print(f"seed {SEED}")
    for network, arrays in networks(kind, core):
        check(network, CORES[core], arrays)


def test_draws_show_every_walk():
    """What a walk can be, some of the networks make it."""
    seen = set()
    for kind, core in product(KINDS, CORES):
        p = CORES[core]
        for network, _ in networks(kind, core):
            for layer in make_plan(network, p).layers:
                walk, loops, source = layer.walk, layer.walk.loops, layer.sources[0]
                pixels = max(1, p.lanes // layer.output.pixel)
                seen |= {name for name, shows in {
                    "several pixels a tile": pixels > 1,
                    "several pixels a column": source.pixel < p.banks,
                    "several phases": walk.pixels > pixels,
                    "weights for each pooled pixel": loops["pool_weights"] > 0,
                    "a place beyond the line": walk.places * walk.pixels > layer.output.width,
                    "channels of a group": loops["tile_x"] > 0,
                    "one weight for all pixels": loops["last_part"] and not loops["part_weights"],
                    "lines as one span": loops["size"] == loops["pitch"] and source.height > 1,
                    "a source behind": loops["part_far"] > 0,
                    "a source before": loops["part_far"] < 0,
                }.items() if shows}
    assert len(seen) == 10, seen


def layer_of_ones(kind: type, shape: tuple[int, ...], *, last: bool = False, **more) -> Any:
    """Return a layer whose weights are all one."""
    outputs = shape[0]
    return kind(
        weights=np.ones(shape, int), gain_plus=np.ones(outputs, int),
        gain_minus=np.ones(outputs, int), bias=np.zeros(outputs, int), membrane_bits=8,
        threshold=np.zeros(outputs, int) if last else np.ones(outputs, int),
        readout=Readout.LAST if last else None, **more)


def of_ones(shape: tuple[int, int, int], *layers: Layer) -> IntegerNetwork:
    return IntegerNetwork(input=InputCoding.SPIKES, input_bits=1, timesteps=1, input_shape=shape,
                          layers=layers)


#: The smallest networks of faults that the draws have found: the core, and the network.
FOUND = {
    "groups over two sources": ("1x4", of_ones(
        (1, 1, 1), layer_of_ones(ConvLayer, (4, 1, 1, 1), sources=(-1,)),
        layer_of_ones(ConvLayer, (4, 1, 1, 1), sources=(-1,)),
        layer_of_ones(ConvLayer, (8, 1, 1, 1), groups=8, sources=(0, 1), last=True))),
    "groups of three on four lanes": ("4x4", of_ones(
        (6, 1, 1), layer_of_ones(ConvLayer, (6, 3, 1, 1), groups=2, last=True))),
    "padding below lines that no window takes": ("1x4", of_ones(
        (1, 3, 1), layer_of_ones(ConvLayer, (1, 1, 3, 1), sum_pool=(2, 1), padding=(1, 0),
                                 last=True))),
    "groups of pixels narrower than a tile": ("2x8", of_ones(
        (4, 1, 2), layer_of_ones(ConvLayer, (4, 1, 1, 2), groups=4, last=True))),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name):
    core, network = FOUND[name]
    for seed in range(8):
        check(network, CORES[core], np.random.default_rng(seed))


# The parts of a walk.

def test_phases():
    """As few tiles as bring the next one to the beginning of a column, or to the line's end."""
    for banks, pixel, advance, pixels, width in product(
            (1, 2, 3, 4, 8, 12), (1, 2, 3, 4, 8, 24), (1, 2, 3, 6), (1, 2, 4), (1, 2, 5, 9)):
        p = CoreParameters(banks=banks, lanes=banks, neurons=1, scan=1)
        found = phases(p, pixel, advance, pixels, width)
        whole = [number for number in range(1, banks + 1)
                 if number * pixels * advance * pixel % banks == 0 or number * pixels >= width]
        assert found == whole[0]


def test_kernel_of_sums_and_groups():
    """Sums repeat weights; groups are zeros between; single channels of a group are local."""
    p = CORES["4x4"]
    source = make_plan(of_ones((4, 2, 4), layer_of_ones(
        ConvLayer, (2, 4, 2, 4), last=True)), p).layers[0].sources
    weights = np.arange(8).reshape(4, 2, 1, 1) % 3 - 1
    grouped = ConvLayer(
        weights=weights, gain_plus=np.ones(4, int), gain_minus=np.ones(4, int),
        bias=np.zeros(4, int), threshold=np.ones(4, int), groups=2, sum_pool=(1, 2),
        stride=(2, 1))
    kernel = kernel_of(grouped, list(source))
    assert kernel.weights.shape == (4, 4, 1, 2)
    assert (kernel.weights[..., 0] == kernel.weights[..., 1]).all()
    assert kernel.weights[..., 0, 0].tolist() == [
        [-1, 0, 0, 0], [1, -1, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]]
    assert (kernel.stride, kernel.padding, kernel.pool) == ((2, 2), (0, 0), (1, 1))
    assert (kernel.local, kernel.shared) == (2, True)
    whole = layer_of_ones(DenseLayer, (3, 32))
    kernel = kernel_of(whole, list(source))
    assert kernel.weights.shape == (3, 4, 2, 4)
    assert (kernel.local, kernel.shared) == (0, False)
