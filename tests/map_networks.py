"""Random networks of maps: convolutions, merges, joined sources, signed counts, windows."""

from dataclasses import replace
from typing import Any

import numpy as np

from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Layer,
    Merge,
    MergeLayer,
    NetworkError,
    Readout,
    Reset,
)

__all__ = ["map_network", "map_samples"]


def map_network(seed: int, *, most: int = 6) -> IntegerNetwork:
    """Return a random small network of at most so many hidden layers, with all there is."""
    return _Growth(np.random.default_rng(seed)).network(most)


def map_samples(network: IntegerNetwork, count: int, seed: int) -> np.ndarray:
    """Return random inputs of a network, the extremes among them."""
    rng = np.random.default_rng(seed)
    shape = ((count, network.inputs) if network.input is InputCoding.STATIC
             else (count, network.timesteps, network.inputs))
    values = rng.integers(network.input_min, network.input_max, shape, endpoint=True)
    return np.where(rng.random(shape) < rng.choice([0.2, 0.7, 1.0]), values, 0).astype(np.int16)


class _Growth:
    """A network that grows layer by layer; -1 is its input."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        coding = InputCoding(rng.choice([each.value for each in InputCoding]))
        spikes = coding is InputCoding.SPIKES
        self.frame: dict[str, Any] = dict(
            input=coding, input_bits=1 if spikes else int(rng.integers(1, 5)),
            timesteps=int(rng.choice([1, 2, 4, 6])),
            input_signed=not spikes and bool(rng.integers(2)),
            input_shape=tuple(int(size) for size in rng.integers(1, [4, 8, 8])))
        self.layers: list[Layer] = []
        self.shapes = {-1: self.frame["input_shape"]}
        self.steps = {-1: self.frame["timesteps"]}

    def network(self, most: int) -> IntegerNetwork:
        """Grow by up to so many hidden layers and read out."""
        for _ in range(self.rng.integers(most + 1)):
            self._grow()
        while True:
            try:
                return self._read(self._layer(last=True))
            except NetworkError:
                continue

    def _grow(self) -> None:
        """Add a layer; one that can't stand there is drawn again."""
        while True:
            layer = self._layer(last=False)
            try:
                self.layers.append(layer)
                channels = (self.shapes[layer.sources[0]][0] if isinstance(layer, MergeLayer)
                            else layer.outputs)
                number = len(self.layers) - 1
                probe = self._read(self._neurons(ConvLayer, (1, channels, 1, 1), (number,),
                                                 readout=Readout.LAST))
            except NetworkError:
                self.layers.pop()
                continue
            self.shapes[number] = probe.shape(len(probe.layers) - 2)
            self.steps[number] = probe.steps(len(probe.layers) - 2)
            return

    def _read(self, readout: Layer) -> IntegerNetwork:
        """Return the network of a readout and all that it depends on."""
        layers = [*self.layers, readout]
        used = {len(layers) - 1}
        for number in reversed(range(len(layers))):
            if number in used:
                used.update(source for source in layers[number].sources or () if source >= 0)
        numbers = {-1: -1} | {number: new for new, number in enumerate(sorted(used))}
        return IntegerNetwork(**self.frame, layers=tuple(
            replace(layers[number],
                    sources=tuple(numbers[each] for each in layers[number].sources or ()))
            for number in sorted(used)))

    def _layer(self, *, last: bool) -> Layer:
        """Draw a layer that may fit."""
        rng, count = self.rng, len(self.layers)
        alike = [(a, b) for a in range(count) for b in range(count)
                 if a != b and (self.shapes[a], self.steps[a]) == (self.shapes[b], self.steps[b])]
        if alike and not last and rng.random() < 0.5:
            a, b = alike[rng.integers(len(alike))]
            operation = list(Merge)[rng.integers(3)]
            if operation is not Merge.ADD and all(
                    (self.layers[each].z_max, self.layers[each].signed) == (1, False)
                    for each in (a, b)):
                return MergeLayer(operation, (a, b))
            operation = Merge.ADD
            reset, signed = list(Reset)[rng.integers(2)], bool(rng.integers(2))
            threshold = 1 if signed and reset is Reset.HARD else int(rng.integers(1, 3))
            return MergeLayer(operation, (a, b), int(rng.integers(1, 16)), threshold, reset,
                              int(rng.integers(5, 9)), signed)
        first = int(rng.integers(max(-1, count - 2), count))
        if first >= 0 and not last and rng.random() < 0.5:
            return self._like(first)
        sources = (first,)
        if first >= 0 and rng.random() < 0.5:
            sources = tuple(dict.fromkeys((first, int(rng.integers(count)))))
        channels = sum(self.shapes[each][0] for each in sources)
        _, height, width = self.shapes[first]
        readout = list(Readout)[rng.integers(2)] if last else None
        sum_pool = tuple(int(x) for x in rng.integers(1, [min(height, 2) + 1, min(width, 3) + 1]))
        more = dict(readout=readout, sum_pool=sum_pool, window=int(rng.choice([1, 1, 2])))
        if rng.random() < (0.7 if last else 0.1):
            inputs = channels * (height // sum_pool[0]) * (width // sum_pool[1])
            return self._neurons(DenseLayer, (int(rng.integers(1, 5)), inputs), sources, **more)
        kernel = tuple(int(size) for size in rng.integers(1, 4, 2))
        groups = int(rng.choice([each for each in range(1, channels + 1) if channels % each == 0]))
        pool = tuple(int(size) for size in rng.choice([1, 1, 2, 3], 2))
        return self._neurons(
            ConvLayer, (groups * int(rng.integers(1, 3)), channels // groups, *kernel), sources,
            groups=groups, stride=tuple(int(size) for size in rng.integers(1, 3, 2)),
            padding=tuple(int(size) for size in rng.integers(0, kernel)),
            pool=(1, 1) if last else pool, **more)

    def _like(self, source: int) -> Layer:
        """Draw a layer whose map is that of its source, which a merge can join with it."""
        channels = self.shapes[source][0]
        return self._neurons(ConvLayer, (channels, channels, 3, 3), (source,), padding=(1, 1))

    def _neurons(self, kind, shape, sources, *, readout=None, **more):
        """Draw a layer's arrays and neurons."""
        rng, outputs = self.rng, shape[0]
        bits = int(rng.integers(3, 14))
        weights = rng.choice([-1, 0, 1], shape)
        return kind(
            weights=weights, gain_plus=rng.integers(0, 6, outputs),
            gain_minus=rng.integers(0, 6, outputs), bias=rng.integers(-4, 6, outputs),
            threshold=np.zeros(outputs, int) if readout else rng.integers(1, 12, outputs),
            leak=tuple(int(k) for k in rng.integers(1, 5, rng.integers(0, 3))),
            reset=list(Reset)[rng.integers(2)], v_init=int(rng.integers(-3, 4)),
            membrane_bits=bits, z_max=1 if readout else int(rng.choice([1, 1, 1, 2, 5, 15])),
            signed=not readout and rng.random() < 0.3, sources=sources, readout=readout, **more)
