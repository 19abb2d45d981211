"""Random networks that fit small cores, for hypothesis, and the cores they run on."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from hw.parameters import CoreParameters
from mapping.errors import MappingError
from mapping.program import compile_network
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Layer,
    Merge,
    MergeLayer,
    Readout,
    Reset,
    level_weights,
)

__all__ = ["CORES", "PAIRS", "SMALL", "any_network", "any_samples", "candidate", "drawn", "fits",
           "networks", "random_network", "random_samples"]

#: Small cores, odd in different ways: several planes at once, an odd number of banks, as many lanes
#: as banks, one unit for all lanes, visits that are no power of two, one port for the weights,
#: membranes in block RAM, and so few weights that many networks are streamed.
CORES = {
    "planes1": CoreParameters(
        banks=2, lanes=8, planes=1, neurons=2, scan=8, weight_depth=4096, spike_depth=1024,
        neuron_depth=1024, gain_depth=4096, program_depth=12, readout_depth=32, count_width=8,
        current_width=28, membrane_width=20, leak_terms=2, leak_shift_max=6),
    "planes2": CoreParameters(
        banks=3, lanes=6, planes=2, neurons=2, scan=4, weight_depth=4096, spike_depth=1024,
        neuron_depth=1024, gain_depth=4096, program_depth=12, readout_depth=32, count_width=8,
        current_width=28, membrane_width=18, leak_terms=1, single_port=True,
        block_membranes=True),
    "planes4": CoreParameters(
        banks=4, lanes=4, planes=4, neurons=1, scan=2, queue_depth=8, weight_depth=64,
        spike_depth=1024, neuron_depth=2048, gain_depth=4096, program_depth=12, readout_depth=20,
        count_width=7, current_width=26, membrane_width=16, leak_terms=2),
}

#: The command line's name of the first of them.
SMALL = "tiny," + ",".join(
    f"{name}={str(value).lower()}" for name, value in CORES["planes1"].to_dict().items())

#: Each network runs on two of them.
PAIRS = [("planes1", "planes2"), ("planes2", "planes4"), ("planes4", "planes1")]

_Kind = TypeVar("_Kind", ConvLayer, DenseLayer)

_DENSITIES = [0.1, 0.5, 1.0, 0.0]

#: Neurons of a layer, in all pixels, at most.
_MOST_NEURONS = 200


@dataclass(frozen=True)
class _Core:
    """What all cores of a draw can do."""

    count_width: int
    gain_width: int
    current_width: int
    membrane_width: int
    leak_terms: int
    leak_shift_max: int
    lanes: int
    readout_depth: int
    pool_depth: int
    program_depth: int

    @classmethod
    def of(cls, cores: Sequence[CoreParameters]) -> "_Core":
        return cls(**{name: min(getattr(core, name) for core in cores)
                      for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class _Map:
    """What later layers see of a layer, or of the input."""

    shape: tuple[int, int, int]
    steps: int
    low: int
    high: int
    weights: tuple[int, ...]
    static: bool = False

    @property
    def largest(self) -> int:
        """Largest magnitude of a value."""
        return max(self.high, -self.low)


def fits(network: IntegerNetwork, cores: Sequence[CoreParameters]) -> bool:
    """Tell whether all cores take the network."""
    try:
        for core in cores:
            compile_network(network, core)
    except MappingError:
        return False
    return True


@st.composite
def networks(draw, *cores: CoreParameters, most: int = 5) -> IntegerNetwork:
    """Draw a network that all the cores take.

    hypothesis draws a seed only: its own draws are alike, and small, for hundreds of examples.
    """
    rng = random.Random(draw(st.integers(0, 2**64 - 1), label="seed of the network"))
    return random_network(rng, cores, most=most)


def random_network(rng: random.Random, cores: Sequence[CoreParameters], *, most: int = 5,
                   ) -> IntegerNetwork:
    """Return a network of up to ``most`` hidden layers and a readout that all the cores take."""
    while True:
        network = candidate(rng, cores, most=most)
        if fits(network, cores):
            return network


def candidate(rng: random.Random, cores: Sequence[CoreParameters], *, most: int = 5,
              ) -> IntegerNetwork:
    """Return a network with everything that a core can do; rarely it does not fit.

    Sizes lie around the cores' own, weights, gains, thresholds and membranes at their extremes are
    as likely as ordinary ones.
    """
    return _Growth(rng, _Core.of(cores)).network(most)


class _Growth:
    """A network that grows layer by layer; -1 is its input."""

    def __init__(self, rng: random.Random, core: _Core):
        self.rng, self.core = rng, core
        coding = self.one_of(*InputCoding)
        bits = 1 if coding is InputCoding.SPIKES else self.one_of(2, 1, 3, 4, 8)
        signed = coding is not InputCoding.SPIKES and self.chance(0.4)
        shape = self.one_of("map", "map", "line", "vector")
        shape = {
            "vector": lambda: (self.integer(1, 24), 1, 1),
            "line": lambda: (self.integer(1, 4), 1, self.integer(2, 14)),
            "map": lambda: (self.integer(1, 4), self.integer(2, 6), self.integer(2, 6)),
        }[shape]()
        self.frame: dict[str, Any] = dict(
            input=coding, input_bits=bits, timesteps=self.one_of(2, 1, 3, 4, 6),
            input_signed=signed, input_shape=shape)
        half = 1 << bits - 1
        self.layers: list[Layer] = []
        self.maps = {-1: _Map(shape, self.frame["timesteps"], -half if signed else 0,
                              half - 1 if signed else 2 * half - 1, tuple(range(bits)),
                              coding is InputCoding.STATIC)}

    # Draws.

    def integer(self, low: int, high: int) -> int:
        return self.rng.randint(low, max(low, high))

    def one_of(self, *choices) -> Any:
        return self.rng.choice(choices)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # Growth.

    def network(self, most: int) -> IntegerNetwork:
        """Grow by up to so many hidden layers, and read out; what nobody reads is left out."""
        room = min(most, self.core.program_depth - 1)
        wanted = self.integer(0, room)
        while len(self.layers) < wanted:
            self.grow(wanted - len(self.layers))
        layers = [*self.layers, self.readout()]
        used = {len(layers) - 1}
        for number in reversed(range(len(layers))):
            if number in used:
                used.update(source for source in layers[number].sources or () if source >= 0)
        numbers = {-1: -1} | {number: new for new, number in enumerate(sorted(used))}
        return IntegerNetwork(**self.frame, layers=tuple(
            replace(layers[number],
                    sources=tuple(numbers[each] for each in layers[number].sources or ()))
            for number in sorted(used)))

    def grow(self, room: int) -> None:
        """Add a layer, or a few that belong together."""
        last = len(self.layers) - 1
        flat = last >= 0 and math.prod(self.maps[last].shape[1:]) == 1
        kinds = ["dense"] * (5 if flat else 1) + ["conv"] * (1 if flat else 6) + ["joined"]
        if last >= 0 and room >= 2:
            kinds += ["residual", "residual", "residual", "joined block"]
        if len(self.layers) >= 2:
            kinds += ["merge", "merge"]
        kind = self.one_of(*kinds)
        alike = self.alike()
        if kind == "merge" and alike:
            self.add(self.merge(*self.one_of(*alike)))
        elif kind == "residual":
            self.add(self.conv((last,), like=last))
            self.add(self.merge(*self.one_of((last, last + 1), (last + 1, last))))
        elif kind == "joined block":
            self.add(self.conv((last,), same=True))
            self.add(self.conv(self.joined(last + 1)))
        else:
            sources = self.joined(last) if kind == "joined" else (self.source(),)
            self.add(self.dense(sources) if kind == "dense" else self.conv(sources))

    def source(self) -> int:
        """Draw what a layer reads: most often the one before."""
        last = len(self.layers) - 1
        return self.integer(-1, last) if self.chance(0.2) else last

    def alike(self) -> list[tuple[int, int]]:
        """Return the pairs of layers that a merge can take."""
        count = range(len(self.layers))
        return [(a, b) for a in count for b in count if a != b and self.go_together(a, b)
                and self.maps[a].shape == self.maps[b].shape]

    def go_together(self, a: int, b: int) -> bool:
        """Tell whether one layer can read both side by side."""
        first, other = self.maps[a], self.maps[b]
        if first.shape[1:] != other.shape[1:] or first.steps != other.steps:
            return False
        short, long = sorted((first.weights, other.weights), key=len)
        rest = iter(reversed(long))
        return all(weight in rest for weight in reversed(short))

    def joined(self, last: int) -> tuple[int, ...]:
        """Draw one to three sources that can be joined, the last layer among them."""
        if last < 0:
            return (-1,)
        sources, most = [last], 3 if self.chance(0.1) else 2
        for other in self.rng.sample(range(last), last):
            if len(sources) < most and all(self.go_together(other, each) for each in sources):
                sources.append(other)
        return tuple(self.rng.sample(sources, len(sources)))

    def add(self, layer: Layer) -> None:
        """Append a layer, with the map that others see of it."""
        sources = [self.maps[each] for each in layer.sources or ()]
        self.maps[len(self.layers)] = _Map(
            _shape(layer, sources), sources[0].steps // layer.window,
            -layer.z_max if layer.signed else 0, layer.z_max,
            level_weights(layer.z_max, layer.signed))
        self.layers.append(layer)

    # Layers.

    def merge(self, a: int, b: int) -> MergeLayer:
        """Join two layers."""
        operation = self.one_of(*Merge)
        if operation is not Merge.ADD and all(
                (self.layers[each].z_max, self.layers[each].signed) == (1, False)
                for each in (a, b)):
            return MergeLayer(operation, (a, b))
        z_max, signed = self.spikes()
        reset = self.one_of(*Reset)
        exact = signed and reset is Reset.HARD
        return MergeLayer(
            Merge.ADD, (a, b), z_max, 1 if exact else self.one_of(1, 1, 2, 3), reset,
            self.integer(4, self.core.membrane_width - 5), signed)

    def conv(self, numbers: tuple[int, ...], *, like: int | None = None, same: bool = False,
             ) -> ConvLayer:
        """Draw a convolution; one whose map is ``like`` that of a layer, or of the same size."""
        same = same or like is not None
        sources = [self.maps[each] for each in numbers]
        channels = sum(each.shape[0] for each in sources)
        _, height, width = sources[0].shape
        sum_pool = (1, 1) if same else self.sum_pool(height, width)
        downs, acrosses = (height // sum_pool[0], width // sum_pool[1])
        if same:
            kernel = self.one_of((3, 3), (1, 1), (1, 3), (5, 5))
            padding = kernel[0] // 2, kernel[1] // 2
            stride = pool = (1, 1)
        else:
            ways = [self.way(size) for size in (downs, acrosses)]
            # Windows that leave out a part of the padded line are refused.
            if sum_pool[1] > 1 and width % sum_pool[1]:
                ways[1] = min(ways[1][0], acrosses), 0, ways[1][2]
            kernel, padding, stride = (tuple(each) for each in zip(*ways, strict=True))
            sizes = [(size + 2 * pad - k) // step + 1 for size, k, pad, step in zip(
                (downs, acrosses), kernel, padding, stride, strict=True)]
            window = self.one_of((2, 2), (2, 1), (1, 2), (3, 3)) if self.chance(0.3) else (1, 1)
            pool = tuple(min(size, each) for size, each in zip(sizes, window, strict=True))
            height, width = sizes
        most = max(1, min(12, _MOST_NEURONS // (height * width)))
        if like is not None:
            outputs = self.maps[like].shape[0]
            divisors = [each for each in range(1, channels + 1)
                        if channels % each == outputs % each == 0]
            groups = self.one_of(1, *divisors)
        else:
            # All inputs of an output, one of each, or something between.
            divisors = [each for each in range(1, channels + 1) if channels % each == 0]
            groups = self.one_of(1, 1, channels, self.one_of(*divisors))
            groups = groups if groups <= most else 1
            outputs = groups * self.integer(1, most // groups)
        layer = self.neurons(
            ConvLayer, (outputs, channels // groups, *kernel), numbers, sum_pool=sum_pool,
            groups=groups, stride=stride, padding=padding, pool=pool)
        if like is None:
            return layer
        # Others read both: the same steps, and counts that go together.
        other = self.layers[like]
        return replace(layer, window=1, z_max=other.z_max, signed=other.signed)

    def way(self, size: int) -> tuple[int, int, int]:
        """Draw kernel, padding and stride of one direction."""
        kernel = self.one_of(3, 3, 1, 2, 3, 4, 5, 7) if size > 1 else self.one_of(1, 1, 1, 1, 3)
        low = max(0, -(-(kernel - size) // 2))
        padding = self.integer(low, kernel - 1) if self.chance(0.4) else max(low, kernel // 2)
        return kernel, padding, self.one_of(1, 1, 1, 1, 1, 2, 3)

    def sum_pool(self, height: int, width: int) -> tuple[int, int]:
        """Draw windows that are summed: none, small ones or the whole map."""
        if self.chance(0.05):
            return height, width
        if self.chance(0.15):
            return min(height, self.one_of(2, 1, 3)), min(width, self.one_of(2, 1, 3))
        return 1, 1

    def dense(self, numbers: tuple[int, ...], *, readout: bool = False) -> DenseLayer:
        """Draw a dense layer of any size around the number of lanes."""
        sources = [self.maps[each] for each in numbers]
        channels = sum(each.shape[0] for each in sources)
        _, height, width = sources[0].shape
        sum_pool = self.sum_pool(height, width)
        inputs = channels * (height // sum_pool[0]) * (width // sum_pool[1])
        outputs = self.integer(1, 2 * self.core.lanes + 3)
        if readout:
            outputs = min(outputs, self.core.readout_depth)
        return self.neurons(DenseLayer, (outputs, inputs), numbers, sum_pool=sum_pool,
                            readout=readout)

    def readout(self) -> Layer:
        """Draw the last layer: dense, or a convolution over all that is left of the map."""
        last = len(self.layers) - 1
        numbers = self.joined(last)
        sources = [self.maps[each] for each in numbers]
        channels, (_, height, width) = sum(each.shape[0] for each in sources), sources[0].shape
        if self.chance(0.7) or max(height, width) > 7:
            return self.dense(numbers, readout=True)
        outputs = self.integer(1, min(12, self.core.readout_depth))
        if self.chance(0.5):
            return self.neurons(ConvLayer, (outputs, channels, 1, 1), numbers,
                                sum_pool=(height, width), readout=True)
        return self.neurons(ConvLayer, (outputs, channels, height, width), numbers, readout=True)

    def spikes(self) -> tuple[int, bool]:
        """Draw the largest count and whether there are negative ones; others have them, too."""
        if self.layers and self.chance(0.5):
            other = self.one_of(*self.layers)
            return other.z_max, other.signed
        return self.one_of(1, 1, 1, 2, 3, 5, 7, 12, 15), self.chance(0.3)

    def neurons(self, kind: type[_Kind], shape: tuple[int, ...], numbers: tuple[int, ...], *,
                sum_pool: tuple[int, int] = (1, 1), readout: bool = False, **more) -> _Kind:
        """Draw the arrays and neurons of a layer with weights of this shape."""
        core, rng = self.core, np.random.default_rng(self.rng.getrandbits(64))
        sources = [self.maps[each] for each in numbers]
        steps, richest = sources[0].steps, max((each.weights for each in sources), key=len)
        windows = [each for each in range(1, steps + 1)
                   if steps % each == 0 and (sources[0].static or each * len(richest) <= 16)]
        window = self.one_of(1, 1, 1, *windows)
        steps //= window
        outputs, area = shape[0], math.prod(sum_pool)
        largest = max(each.largest for each in sources)
        weights = self.weights(rng, shape, ((1 << core.count_width) - 1) // area)

        bits = self.integer(3, core.membrane_width)
        limit = 1 << bits - 1
        leak = [self.integer(1, core.leak_shift_max)
                for _ in range(self.integer(0, core.leak_terms))]
        fan = area * int(np.abs(weights).reshape(outputs, -1).sum(axis=1).max()) * (
            1 if sources[0].static else window)
        heaviest = max(1 << len(richest) - 1, 8) if -1 in numbers else 8
        most = min((1 << core.gain_width - 1) // heaviest - 1,
                   ((1 << core.current_width - 1) - 3 * limit) // (fan * largest + 1))
        gain = min(most, self.one_of(9, 1, 16, 500, 0, most))
        threshold = self.one_of(12, max(1, fan * gain // 4), 1, limit - 1, 2 * limit)
        bias = self.one_of(4, 0, limit, 2 * limit)
        z_max, signed = (1, False) if readout else self.spikes()
        if "pool" in more and more["pool"] != (1, 1):
            while steps * len(level_weights(z_max, signed)) > core.pool_depth:
                z_max //= 2
        return kind(
            weights=weights,
            gain_plus=rng.integers(0, gain, outputs, endpoint=True),
            gain_minus=rng.integers(0, gain, outputs, endpoint=True),
            bias=rng.integers(-bias, bias, outputs, endpoint=True),
            threshold=(np.zeros(outputs, int) if readout else
                       rng.integers(1, max(1, threshold), outputs, endpoint=True)),
            leak=tuple(leak), reset=self.one_of(*Reset),
            v_init=self.one_of(0, -limit, limit - 1), membrane_bits=bits, z_max=z_max,
            signed=signed, readout=self.one_of(*Readout) if readout else None, sources=numbers,
            window=window, sum_pool=sum_pool, **more)

    def weights(self, rng: np.random.Generator, shape: tuple[int, ...], most: int) -> np.ndarray:
        """Draw weights, of each sign as many for an output as a counter holds."""
        density = self.one_of(*_DENSITIES)
        signs = self.one_of((-1, 1), (-1, 1), (1,), (-1,))
        weights = np.where(rng.random(shape) < density, rng.choice(signs, shape), 0)
        flat = weights.reshape(shape[0], -1)
        for row in flat:
            for sign in signs:
                places = rng.permutation(np.flatnonzero(row == sign))
                row[places[most:]] = 0
        return flat.reshape(shape).astype(np.int8)


def _shape(layer: Layer, sources: list[_Map]) -> tuple[int, int, int]:
    """Return the shape of a layer's map, after max pooling."""
    channels, *size = sources[0].shape
    if isinstance(layer, MergeLayer):
        return sources[0].shape
    if isinstance(layer, DenseLayer):
        return layer.outputs, 1, 1
    height, width = (
        ((each // window + 2 * pad - kernel) // stride + 1) // pool
        for each, window, pad, kernel, stride, pool in zip(
            size, layer.sum_pool, layer.padding, layer.kernel, layer.stride, layer.pool,
            strict=True))
    return layer.outputs, height, width


def random_samples(rng: random.Random, network: IntegerNetwork, count: int | None = None,
                   ) -> np.ndarray:
    """Return some samples: random ones of some density, all zero or all at one end."""
    count = count or rng.randint(1, 3)
    shape = ((count, network.inputs) if network.input is InputCoding.STATIC
             else (count, network.timesteps, network.inputs))
    arrays = np.random.default_rng(rng.getrandbits(64))
    density = rng.choice(_DENSITIES)
    values = arrays.integers(network.input_min, network.input_max, shape, endpoint=True)
    if density == 1.0:
        values[:] = rng.choice([network.input_max, network.input_min])
    return np.where(arrays.random(shape) < density, values, 0).astype(np.int16)


def any_network(seed: int) -> IntegerNetwork:
    """Return a network that need not fit a core; the same for the same seed."""
    return candidate(random.Random(seed), list(CORES.values()))


def any_samples(network: IntegerNetwork, count: int, seed: int) -> np.ndarray:
    """Return samples; the same for the same seed."""
    return random_samples(random.Random(seed), network, count)


def drawn(cores: Sequence[str], count: int, seed: int, *, most: int = 5,
          ) -> list[tuple[IntegerNetwork, np.ndarray]]:
    """Return so many networks that fit cores, and samples; the same for the same seed."""
    rng = random.Random(f"{seed} {cores}")
    shapes = [CORES[core] for core in cores]
    networks = [random_network(rng, shapes, most=most) for _ in range(count)]
    return [(network, random_samples(rng, network)) for network in networks]
