"""The integer network: the only thing that crosses from training to hardware.

It is pure integers, immutable and valid by construction. With ``s_i[t]`` the input counts of a
layer at step ``t`` (the ``z`` of the layers that it reads, or values of the network's input) and
``w_oi`` its ternary weights, output neuron ``o`` computes::

    P = sum(s_i[t] where w_oi = +1)        N = sum(s_i[t] where w_oi = -1)
    I = gain_plus_o * P - gain_minus_o * N + bias_o
    v = leak(v) + I                        # leak(v) = v - (v >> k1) [- (v >> k2)], floor shifts
    v = saturate(v, membrane_bits)         # two's complement, both ends
    # A readout layer stops here: it neither fires nor resets.
    z = 0 if v < threshold_o else min(v // threshold_o, z_max)     # z_max = 1: a binary spike
    z = -min(~v // threshold_o, z_max) if v < 0                    # signed layers only, ~v = -v - 1
    v = v - z * threshold_o                # soft reset;   hard reset:  v = 0 where z is not 0

Layers form a graph without cycles, each after those that it reads. Activity is maps of channels,
rows and columns; a vector is a map of one row and one column. ``docs/numerics.md`` is the same with
test vectors.
"""

import enum
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as short
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from model.checks import NetworkError, boolean, choice, integer
from model.integer_layers import (
    INT32_MAX,
    INT32_MIN,
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_LEVELS,
    MAX_SHIFT,
    MAX_WIDTH,
    ConvLayer,
    DenseLayer,
    Layer,
    Merge,
    MergeLayer,
    NeuronLayer,
    Readout,
    Reset,
)
from model.spikes import input_planes, input_weights, leak, level_planes, level_weights

if TYPE_CHECKING:
    from model.bounds import LayerBounds

__all__ = [
    "INT32_MAX", "INT32_MIN", "MAX_FAN_IN", "MAX_INPUT_BITS", "MAX_KERNEL", "MAX_LAYERS",
    "MAX_LEVELS", "MAX_SHIFT", "MAX_TIMESTEPS", "MAX_WEIGHTS", "MAX_WIDTH", "ConvLayer",
    "DenseLayer", "InputCoding", "IntegerNetwork", "Layer", "Merge", "MergeLayer", "NetworkError",
    "NeuronLayer", "Readout", "Reset", "Shape", "leak", "level_planes", "level_weights",
    "windows",
]

# A neuron sums at most MAX_FAN_IN values of at most 8 bits and multiplies by gains below 2^31:
# every current is below 2^60, so that 64-bit arithmetic is exact everywhere.
MAX_FAN_IN = 1 << 20
MAX_WEIGHTS = 1 << 28
MAX_TIMESTEPS = 4096
MAX_INPUT_BITS = 8
MAX_METADATA = 1 << 16

#: Channels, rows and columns of a map.
Shape = tuple[int, int, int]


class InputCoding(enum.Enum):
    """How a sample reaches the layers that read the input."""

    #: One integer vector; its current is used in every step.
    STATIC = "static"
    #: A new binary vector in every step.
    SPIKES = "spikes"
    #: A new integer vector in every step.
    SAMPLES = "samples"


@dataclass(frozen=True)
class _Place:
    """Where a layer stands in its network.

    Members
    -------
    layer
        Its neurons; of a merge, those of the convolution that it is.
    sources
        The numbers of the layers that it reads, or (-1,) for the input.
    source_shape, summed_shape
        The map that it reads, joined along the channels; after sum pooling.
    fired_shape, shape
        The map of its neurons; after max pooling, as later layers see it.
    steps
        Its steps in a sample.
    """

    layer: NeuronLayer
    sources: tuple[int, ...]
    source_shape: Shape
    summed_shape: Shape
    fired_shape: Shape
    shape: Shape
    steps: int


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers, the last of which is read out; see the module for the equations.

    Arrays of samples are flat, in the order channel, row, column. The methods that take the
    ``number`` of a layer take -1 for the network's input where that has an answer.

    Parameters
    ----------
    input
        How a sample reaches the layers that read the input.
    input_bits
        1..8 bits of an input value; 1 for spikes.
    timesteps
        1..4096 steps of the input.
    layers
        1..64 layers, each after those that it reads; exactly the last has a readout, and each of
        the others is read. Who reads the input reads nothing else.
    metadata
        Where the network comes from, as text (recipe, seed, accuracy, ...); it changes nothing.
    input_shape
        Channels, rows and columns of the input; None: the inputs of a dense first layer, as
        channels of one pixel.
    input_signed
        Whether input values are -2^(input_bits-1)..2^(input_bits-1)-1 instead of
        0..2^input_bits-1; not for spikes.

    Raises
    ------
    NetworkError
        Naming the layer or field, what was found and what would be right.
    """

    input: InputCoding
    input_bits: int
    timesteps: int
    layers: tuple[Layer, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    input_shape: Shape | None = None
    input_signed: bool = False
    _places: tuple[_Place, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Validate the whole and freeze the containers."""
        choice(self.input, InputCoding, "input")
        bits = integer(self.input_bits, "input_bits", 1, MAX_INPUT_BITS)
        signed = boolean(self.input_signed, "input_signed")
        for name, value, only in (("input_bits", bits, 1), ("input_signed", signed, False)):
            if self.input is InputCoding.SPIKES and value != only:
                raise NetworkError(f"is {value} for spikes", name, only)
        object.__setattr__(self, "input_bits", bits)
        object.__setattr__(self, "input_signed", signed)
        steps = integer(self.timesteps, "timesteps", 1, MAX_TIMESTEPS)
        object.__setattr__(self, "timesteps", steps)
        object.__setattr__(self, "layers", _layers(self.layers))
        object.__setattr__(self, "input_shape", _input_shape(self.input_shape, self.layers[0]))
        object.__setattr__(self, "_places", _place_all(self))
        object.__setattr__(self, "metadata", _text_map(self.metadata))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the constructor, so that a copy is validated and frozen too."""
        return IntegerNetwork, (
            self.input, self.input_bits, self.timesteps, self.layers, dict(self.metadata),
            self.input_shape, self.input_signed)

    @property
    def inputs(self) -> int:
        """The number of values of the input in one step."""
        return math.prod(self.shape(-1))

    @property
    def outputs(self) -> int:
        """The number of readout neurons (classes)."""
        return math.prod(self.shape(len(self.layers) - 1))

    @property
    def input_min(self) -> int:
        """The smallest input value."""
        return -(1 << (self.input_bits - 1)) if self.input_signed else 0

    @property
    def input_max(self) -> int:
        """The largest input value."""
        return (1 << (self.input_bits - self.input_signed)) - 1

    def layer(self, number: int) -> NeuronLayer:
        """Return a layer's neurons: the layer itself, or the convolution that a merge is."""
        return self._places[number].layer

    def sources(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the layers that a layer reads, or (-1,) for the input."""
        return self._places[number].sources

    def source_shape(self, number: int) -> Shape:
        """Return the shape of what a layer reads, its sources joined along the channels."""
        return self._places[number].source_shape

    def summed_shape(self, number: int) -> Shape:
        """Return the shape of what a layer's weights meet: its sources after sum pooling."""
        return self._places[number].summed_shape

    def fired_shape(self, number: int) -> Shape:
        """Return the shape of a layer's neurons, so of its spikes before max pooling.

        Rows and columns of a convolution that fill no window of its pool are left out.
        """
        return self._places[number].fired_shape

    def shape(self, number: int) -> Shape:
        """Return the shape of a layer's spikes as others see them, or of the input."""
        if number < 0:
            assert self.input_shape is not None
            return self.input_shape
        return self._places[number].shape

    def steps(self, number: int) -> int:
        """Return how many steps of a layer, or of the input, a sample has."""
        return self.timesteps if number < 0 else self._places[number].steps

    def takes_static(self, number: int) -> bool:
        """Return whether a layer reads a static input, so that its current is always the same."""
        return self.input is InputCoding.STATIC and self.sources(number) == (-1,)

    def source_range(self, number: int) -> tuple[int, int]:
        """Return the smallest and the largest value of one element of what a layer reads."""
        sources = self.sources(number)
        if sources == (-1,):
            return self.input_min, self.input_max
        layers = [self.layers[source] for source in sources]
        high = max(layer.z_max for layer in layers)
        return min(-layer.z_max if layer.signed else 0 for layer in layers), high

    def plane_weights(self, number: int) -> tuple[int, ...]:
        """Return what the bit planes of a layer's spikes, or of the input, are worth.

        Of spikes the largest first, of signed ones followed by their negatives
        (`model.spikes.level_weights`); of the input the lowest bit first.
        """
        if number < 0:
            return input_weights(self.input_bits, self.input_signed)
        return level_weights(self.layers[number].z_max, self.layers[number].signed)

    def planes(self, number: int, counts: np.ndarray) -> np.ndarray:
        """Split a layer's spikes, or input values, into their bit planes.

        Parameters
        ----------
        counts
            Integers or bool (...), in the range of the layer or of the input.

        Returns
        -------
        np.ndarray
            bool (..., planes), worth `plane_weights`.
        """
        if number < 0:
            return input_planes(counts, self.input_bits)
        return level_planes(counts, self.layers[number].z_max, self.layers[number].signed)

    def pooled(self, number: int, spikes: np.ndarray) -> np.ndarray:
        """Return a layer's spikes as later layers see them: the largest of each pool.

        Parameters
        ----------
        spikes
            Integers (..., neurons).

        Returns
        -------
        np.ndarray
            The same type, (..., outputs).
        """
        layer = self.layer(number)
        if not isinstance(layer, ConvLayer) or layer.pool == (1, 1):
            return spikes
        maps = spikes.reshape(*spikes.shape[:-1], *self.fired_shape(number))
        return windows(maps, layer.pool).max(axis=(-3, -1)).reshape(*spikes.shape[:-1], -1)

    def summed(self, number: int, sources: Sequence[np.ndarray]) -> np.ndarray:
        """Return what a layer's weights meet: its sources joined and summed.

        Parameters
        ----------
        sources
            Integers or bool (samples, steps, outputs) of each of `sources`, pooled; of a static
            input, one step.

        Returns
        -------
        np.ndarray
            Integers (samples, steps of the layer, channels, rows, columns), `summed_shape`; of a
            static input, one step.
        """
        layer = self.layer(number)
        samples, steps = sources[0].shape[:2]
        maps = np.concatenate([
            each.reshape(samples, steps, *self.shape(source))
            for source, each in zip(self.sources(number), sources, strict=True)], axis=2)
        if layer.window > 1 and not self.takes_static(number):
            grouped = maps.reshape(samples, -1, layer.window, *maps.shape[2:])
            maps = grouped.sum(axis=2, dtype=np.int32)
        if layer.sum_pool == (1, 1):
            return maps
        return windows(maps, layer.sum_pool).sum(axis=(-3, -1), dtype=np.int32)

    def bounds(self, layer: int) -> "LayerBounds":
        """Return the ranges of one layer that no input can leave; see `model.bounds`.

        Here -1 is the last layer.
        """
        from model.bounds import layer_bounds
        number = layer % len(self.layers)
        low, high = self.source_range(number)
        return layer_bounds(self.layer(number), high, self.steps(number), source_min=low,
                            static=self.takes_static(number))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as one safetensors file, atomically; see `model.network_format`.

        Raises
        ------
        OSError
            If ``path`` can't be written.
        """
        from model.files import atomic_write
        from model.network_format import encode
        content = encode(self)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "IntegerNetwork":
        """Read a network that `save` wrote.

        Raises
        ------
        NetworkError
            If the file is not a valid network; the message names the file and the fault.
        OSError
            If the file can't be read.
        """
        from model.network_format import read
        return read(Path(path))


def _layers(layers: object) -> tuple[Layer, ...]:
    """Return the layers as a tuple, each of a known kind, the last one read out."""
    if not isinstance(layers, tuple | list) or not 1 <= len(layers) <= MAX_LAYERS:
        found = f"{len(layers)} layers" if isinstance(layers, tuple | list) else short(layers)
        raise NetworkError(found, "layers", f"1..{MAX_LAYERS} layers")
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise NetworkError(f"is {short(layer)}", f"layer {number}",
                               "a DenseLayer, a ConvLayer or a MergeLayer")
        if (layer.readout is None) == (number == len(layers) - 1):
            raise NetworkError(f"has readout {layer.readout}", f"layer {number}",
                               "exactly the last layer is read out")
    return tuple(layers)


def _input_shape(shape: object, first: Layer) -> Shape:
    """Return the shape of the input, by default that of a dense first layer."""
    if shape is None and isinstance(first, DenseLayer):
        return first.inputs, 1, 1
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise NetworkError(f"is {short(shape)}", "input_shape", "channels, rows and columns")
    channels, height, width = (integer(each, "input_shape", 1, MAX_WIDTH) for each in shape)
    return _checked_shape((channels, height, width), "input_shape")


def _place_all(network: IntegerNetwork) -> tuple[_Place, ...]:
    """Find the place of every layer, checked against those before."""
    places: list[_Place] = []
    weights = 0
    for number, layer in enumerate(network.layers):
        where = f"layer {number}"
        sources = _sources(layer, number)
        shapes = [network.shape(-1) if each < 0 else places[each].shape for each in sources]
        source_shape = _joined(shapes, where)
        steps = {network.timesteps if each < 0 else places[each].steps for each in sources}
        if len(steps) > 1:
            raise NetworkError(f"has sources of {' and '.join(map(str, sorted(steps)))} steps",
                               where, "the same steps of all")
        if isinstance(layer, MergeLayer):
            _check_merge(layer, shapes, [network.layers[each] for each in sources], where)
            weights += 2 * shapes[0][0] ** 2
        else:
            weights += layer.weights.size
        # Before a merge is written out, because that takes the memory.
        if weights > MAX_WEIGHTS:
            raise NetworkError(f"has {weights} weights, with those of the layers before", where,
                               f"{MAX_WEIGHTS} weights")
        neurons = layer.as_conv(shapes[0][0]) if isinstance(layer, MergeLayer) else layer
        static = network.input is InputCoding.STATIC and sources == (-1,)
        places.append(_place(neurons, sources, source_shape, steps.pop(), static, where))
    read = {source for place in places for source in place.sources}
    for number in range(len(places) - 1):
        if number not in read:
            raise NetworkError("is read by no layer", f"layer {number}",
                               "all but the last layer are read")
    return tuple(places)


def _sources(layer: Layer, number: int) -> tuple[int, ...]:
    """Return the numbers of what a layer reads."""
    if layer.sources is None:
        return (number - 1,)
    if max(layer.sources) >= number:
        raise NetworkError(f"reads layer {max(layer.sources)}", f"layer {number}",
                           "layers before it")
    if -1 in layer.sources and len(layer.sources) > 1:
        raise NetworkError("reads the input and a layer", f"layer {number}",
                           "the input only, or layers only")
    return layer.sources


def _joined(shapes: list[Shape], where: str) -> Shape:
    """Return the shape of maps that are joined along the channels."""
    for shape in shapes:
        if shape[1:] != shapes[0][1:]:
            raise NetworkError(f"has sources of shapes {shapes[0]} and {shape}", where,
                               "the same rows and columns of all")
    return (sum(channels for channels, _, _ in shapes), *shapes[0][1:])


def _check_merge(
    layer: MergeLayer, shapes: list[Shape], sources: list[Layer], where: str,
) -> None:
    """Raise unless a merge can take its sources."""
    if shapes[0] != shapes[1]:
        raise NetworkError(f"has sources of shapes {shapes[0]} and {shapes[1]}", where,
                           "one shape")
    for source in sources:
        if layer.operation is not Merge.ADD and (source.z_max, source.signed) != (1, False):
            raise NetworkError(f"has a source of {'signed ' * source.signed}counts to "
                               f"{source.z_max}", where,
                               f"binary spikes, for {layer.operation.value}")


def _place(
    layer: NeuronLayer, sources: tuple[int, ...], source_shape: Shape, source_steps: int,
    static: bool, where: str,
) -> _Place:
    """Find the place of a layer, given what it reads."""
    if source_steps % layer.window:
        raise NetworkError(f"has a window of {layer.window} steps", where,
                           f"a divisor of the {source_steps} steps of its sources")
    summed_shape = _divided(source_shape, layer.sum_pool, "sum_pool", where)
    values = math.prod(summed_shape) if isinstance(layer, DenseLayer) else summed_shape[0]
    if layer.inputs != values:
        raise NetworkError(f"takes {layer.inputs} inputs", where,
                           f"{values}, the outputs of its sources")
    fan_in = layer.weights[0].size * math.prod(layer.sum_pool) * (1 if static else layer.window)
    if fan_in > MAX_FAN_IN:
        raise NetworkError(f"sums {fan_in} values in a neuron", where, f"{MAX_FAN_IN} values")
    channels, height, width = _checked_shape(_conv_shape(layer, summed_shape, where), where)
    pool = layer.pool if isinstance(layer, ConvLayer) else (1, 1)
    shape = _divided((channels, height, width), pool, "pool", where)
    fired_shape = channels, shape[1] * pool[0], shape[2] * pool[1]
    return _Place(layer, sources, source_shape, summed_shape, fired_shape, shape,
                  source_steps // layer.window)


def _conv_shape(layer: NeuronLayer, summed_shape: Shape, where: str) -> Shape:
    """Return how often a layer's weights fit the map that they meet."""
    if not isinstance(layer, ConvLayer):
        return layer.outputs, 1, 1
    height, width = (
        (size + 2 * padding - kernel) // stride + 1
        for size, padding, kernel, stride in zip(
            summed_shape[1:], layer.padding, layer.kernel, layer.stride, strict=True))
    if min(height, width) < 1:
        raise NetworkError(f"has a kernel of {layer.kernel}", where,
                           f"the map of {summed_shape[1:]} with its padding")
    return layer.outputs, height, width


def _divided(shape: Shape, window: tuple[int, int], name: str, where: str) -> Shape:
    """Return the shape of a map of which each window, side by side, becomes one value."""
    height, width = shape[1] // window[0], shape[2] // window[1]
    if min(height, width) < 1:
        raise NetworkError(f"has {name} {window}", where, f"the map of {shape[1:]}")
    return shape[0], height, width


def _checked_shape(shape: Shape, where: str) -> Shape:
    """Return the shape, or raise if the map has too many values."""
    if math.prod(shape) > MAX_WIDTH:
        raise NetworkError(f"has the shape {shape}, {math.prod(shape)} values", where,
                           f"{MAX_WIDTH} values")
    return shape


def windows(maps: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """View maps (..., rows, columns) as (..., rows, in window, columns, in window)."""
    height, width = maps.shape[-2] // window[0], maps.shape[-1] // window[1]
    whole = maps[..., :height * window[0], :width * window[1]]
    return whole.reshape(*maps.shape[:-2], height, window[0], width, window[1])


def _text_map(metadata: object) -> Mapping[str, str]:
    """Return the metadata as a sorted mapping that can't be written."""
    if not isinstance(metadata, Mapping):
        raise NetworkError(f"is {short(metadata)}", "metadata", "a mapping of text to text")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise NetworkError(f"holds {short(key)}: {short(value)}", "metadata", "text to text")
    try:
        size = sum(len(text.encode()) for pair in metadata.items() for text in pair)
    except UnicodeEncodeError as error:
        raise NetworkError(f"is not text: {error}", "metadata", "Unicode text") from error
    if size > MAX_METADATA:
        raise NetworkError(f"{size} bytes", "metadata", f"{MAX_METADATA} bytes")
    return MappingProxyType(dict(sorted(metadata.items())))
