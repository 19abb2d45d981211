"""The integer network: the only thing that crosses from training to hardware.

It is pure integers, immutable and valid by construction. With ``s_i[t]`` the input counts of a
layer at step ``t`` (the ``z`` of the layer before, or pixels of 0..2^bits-1 for a static input) and
``w_oi`` its ternary weights, output neuron ``o`` computes::

    P = sum(s_i[t] where w_oi = +1)        N = sum(s_i[t] where w_oi = -1)
    I = gain_plus_o * P - gain_minus_o * N + bias_o
    v = leak(v) + I                        # leak(v) = v - (v >> k1) [- (v >> k2)], floor shifts
    v = saturate(v, membrane_bits)         # two's complement, both ends
    # A readout layer stops here: it neither fires nor resets.
    z = 0 if v < threshold_o else min(v // threshold_o, z_max)     # z_max = 1: a binary spike
    v = v - z * threshold_o                # soft reset;   hard reset:  v = 0 where z > 0

``docs/numerics.md`` is the same with test vectors.
"""

import enum
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from reprlib import repr as short
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from model.bounds import LayerBounds

__all__ = [
    "DenseLayer", "InputCoding", "IntegerNetwork", "NetworkError", "Readout", "Reset", "leak",
    "level_planes", "level_weights",
]

# Together these keep every current below 2^60, so that 64-bit arithmetic is exact everywhere.
MAX_WIDTH = 1 << 20
MAX_WEIGHTS = 1 << 28
MAX_LAYERS = 64
MAX_TIMESTEPS = 4096
MAX_INPUT_BITS = 8
MAX_SHIFT = 15
MAX_LEVELS = 15
MAX_METADATA = 1 << 16

INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)


class NetworkError(ValueError):
    """A network, or the file of one, that is not valid.

    Parameters
    ----------
    what
        What is wrong, with the value found.
    where
        The place: a file, a layer, an array.
    limit
        What would have been right, if a limit was crossed.
    """

    def __init__(self, what: str, where: str = "", limit: object = None):
        super().__init__(what, where, limit)
        self.what = what
        self.where = where
        self.limit = limit

    def __str__(self) -> str:
        """Return one line: place, fault, limit."""
        place = f"{self.where}: " if self.where else ""
        limit = "" if self.limit is None else f" (limit: {self.limit})"
        return f"{place}{self.what}{limit}"


class InputCoding(enum.Enum):
    """How a sample reaches the first layer."""

    #: Integers 0..2^input_bits-1; the current of step 0 is used in every step.
    STATIC = "static"
    #: A new binary vector in every step.
    SPIKES = "spikes"


class Reset(enum.Enum):
    """What a spike does to the membrane."""

    #: The threshold is subtracted once for each count of the spike.
    SOFT = "soft"
    #: The membrane becomes 0.
    HARD = "hard"


class Readout(enum.Enum):
    """What a layer that does not fire gives as its result."""

    #: The membrane after the last step.
    LAST = "last"
    #: The sum over all steps of the (saturated) membrane.
    SUM = "sum"


class Shiftable(Protocol):
    """What `leak` needs: integers, NumPy integer arrays and integer tensors have it."""

    def __rshift__(self, other: int, /) -> Any:
        """Shift right arithmetically, rounding down."""
        ...

    def __sub__(self, other: Any, /) -> Any:
        """Subtract."""
        ...


V = TypeVar("V", bound=Shiftable)


def leak(membrane: V, shifts: tuple[int, ...]) -> V:
    """Return ``membrane - (membrane >> k1) - (membrane >> k2)``, shifts rounding down.

    All shifts are of the value before the leak. No shift: no leak.
    """
    leaked = membrane
    for shift in shifts:
        leaked = leaked - (membrane >> shift)
    return leaked


def level_weights(z_max: int) -> tuple[int, ...]:
    """Return what each bit plane of counts 0..z_max is worth, the largest first.

    There are as few planes as can tell the counts apart, and all of them together are worth z_max:
    1, 2, 4, ..., and one for what is left. Then every count is the sum of the planes that taking
    the largest weight that fits, again and again, sets.

    Parameters
    ----------
    z_max
        At least 1.
    """
    weights = [1 << plane for plane in range(z_max.bit_length() - 1)]
    return tuple(sorted([*weights, z_max - sum(weights)], reverse=True))


def level_planes(counts: np.ndarray, z_max: int) -> np.ndarray:
    """Split counts into bit planes of the weights `level_weights`.

    Parameters
    ----------
    counts
        Integers or bool (...), 0..z_max.

    Returns
    -------
    np.ndarray
        bool (..., planes).
    """
    planes = []
    for weight in level_weights(z_max):
        planes.append(counts >= weight)
        counts = np.where(planes[-1], counts - weight, counts)
    return np.stack(planes, axis=-1)


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A fully connected layer of integer neurons; see the module for the equations.

    Arrays may be given in any integer type; they are copied to the types named here and can't be
    written.

    Parameters
    ----------
    weights
        int8 (outputs, inputs) of -1, 0, +1.
    gain_plus, gain_minus
        int32 (outputs,), 0..2^31-1: what one count on a +1 or -1 weight is worth.
    bias
        int32 (outputs,): added in every step.
    threshold
        int32 (outputs,), at least 1; for a readout layer all 0, because it does not fire.
    leak
        () for none, or one or two shifts of 1..15.
    reset
        What a spike does to the membrane.
    v_init
        The membrane before step 0, within the membrane width.
    membrane_bits
        2..32: the two's complement width that membranes saturate to.
    z_max
        1..15: the largest count of a spike; 1 for a readout layer, because it does not fire.
    readout
        None for a spiking layer, otherwise how the result is read.

    Raises
    ------
    NetworkError
        Naming the field, what was found and what would be right.
    """

    weights: np.ndarray
    gain_plus: np.ndarray
    gain_minus: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    leak: tuple[int, ...] = ()
    reset: Reset = Reset.SOFT
    v_init: int = 0
    membrane_bits: int = 32
    z_max: int = 1
    readout: Readout | None = None

    def __post_init__(self) -> None:
        """Validate all fields and freeze the arrays."""
        _choice(self.reset, Reset, "reset")
        if self.readout is not None:
            _choice(self.readout, Readout, "readout")
        weights = _integers(self.weights, "weights", -1, 1)
        if weights.ndim != 2 or 0 in weights.shape:
            raise NetworkError(f"has shape {weights.shape}", "weights",
                               "(outputs, inputs), each at least 1")
        outputs = weights.shape[0]
        if max(weights.shape) > MAX_WIDTH:
            raise NetworkError(f"has shape {weights.shape}", "weights",
                               f"{MAX_WIDTH} inputs and outputs")
        self._set("weights", _frozen(weights, np.int8))

        threshold_low, threshold_high = (1, INT32_MAX) if self.readout is None else (0, 0)
        for name, low, high in (
            ("gain_plus", 0, INT32_MAX),
            ("gain_minus", 0, INT32_MAX),
            ("bias", INT32_MIN, INT32_MAX),
            ("threshold", threshold_low, threshold_high),
        ):
            array = _integers(getattr(self, name), name, low, high)
            if array.shape != (outputs,):
                raise NetworkError(f"has shape {array.shape}", name, f"({outputs},), the outputs")
            self._set(name, _frozen(array, np.int32))

        if not isinstance(self.leak, tuple | list) or len(self.leak) > 2:
            raise NetworkError(f"is {short(self.leak)}", "leak", "a tuple of at most 2 shifts")
        self._set("leak", tuple(_integer(k, "leak", 1, MAX_SHIFT) for k in self.leak))
        self._set("membrane_bits", _integer(self.membrane_bits, "membrane_bits", 2, 32))
        self._set("v_init", _integer(self.v_init, "v_init", self.membrane_min, self.membrane_max))
        self._set("z_max", _integer(self.z_max, "z_max", 1, MAX_LEVELS))
        if self.readout is not None and self.z_max != 1:
            raise NetworkError(f"is {self.z_max} for a readout layer", "z_max", 1)

    def _set(self, name: str, value: object) -> None:
        """Store a normalised field in spite of the class being frozen."""
        object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the constructor, so that a copy is validated and frozen too."""
        return DenseLayer, tuple(getattr(self, each.name) for each in fields(self))

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return self.weights.shape[1]

    @property
    def outputs(self) -> int:
        """The number of neurons."""
        return self.weights.shape[0]

    @property
    def membrane_min(self) -> int:
        """The lowest membrane, where it saturates."""
        return -(1 << (self.membrane_bits - 1))

    @property
    def membrane_max(self) -> int:
        """The highest membrane, where it saturates."""
        return (1 << (self.membrane_bits - 1)) - 1


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A chain of layers, the last of which is read out; see the module for the equations.

    Parameters
    ----------
    input
        How a sample reaches the first layer.
    input_bits
        1..8 bits of an input value; 1 for spikes.
    timesteps
        1..4096 steps of every sample.
    layers
        1..64 layers; each takes the spikes of the one before; exactly the last has a readout.
    metadata
        Where the network comes from, as text (recipe, seed, accuracy, ...); it changes nothing.

    Raises
    ------
    NetworkError
        Naming the layer or field, what was found and what would be right.
    """

    input: InputCoding
    input_bits: int
    timesteps: int
    layers: tuple[DenseLayer, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the whole and freeze the containers."""
        _choice(self.input, InputCoding, "input")
        bits = _integer(self.input_bits, "input_bits", 1, MAX_INPUT_BITS)
        if self.input is InputCoding.SPIKES and bits != 1:
            raise NetworkError(f"is {bits} for spikes", "input_bits", 1)
        object.__setattr__(self, "input_bits", bits)
        steps = _integer(self.timesteps, "timesteps", 1, MAX_TIMESTEPS)
        object.__setattr__(self, "timesteps", steps)
        object.__setattr__(self, "layers", _chain(self.layers))
        object.__setattr__(self, "metadata", _text_map(self.metadata))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the constructor, so that a copy is validated and frozen too."""
        arguments = (self.input, self.input_bits, self.timesteps, self.layers)
        return IntegerNetwork, (*arguments, dict(self.metadata))

    @property
    def inputs(self) -> int:
        """The number of inputs of the first layer."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """The number of readout neurons (classes)."""
        return self.layers[-1].outputs

    @property
    def input_max(self) -> int:
        """The largest input value."""
        return (1 << self.input_bits) - 1

    def bounds(self, layer: int) -> "LayerBounds":
        """Return the ranges of one layer that no input can leave; see `model.bounds`."""
        from model.bounds import layer_bounds
        first = layer in (0, -len(self.layers))
        source_max = self.input_max if first else self.layers[layer - 1].z_max
        return layer_bounds(self.layers[layer], source_max, self.timesteps)

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


def _choice(value: object, kind: type[enum.Enum], where: str) -> None:
    """Raise unless ``value`` is a member of the enumeration."""
    if not isinstance(value, kind):
        raise NetworkError(f"is {short(value)}", where, f"a member of {kind.__name__}")


def _integer(value: object, where: str, low: int, high: int) -> int:
    """Return ``value`` as a Python integer of low..high."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise NetworkError(f"is {short(value)}", where, f"an integer of {low}..{high}")
    if not low <= value <= high:
        raise NetworkError(f"is {short(value)}", where, f"{low}..{high}")
    return int(value)


def _integers(value: object, where: str, low: int, high: int) -> np.ndarray:
    """Return ``value`` as an array whose elements are integers of low..high."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise NetworkError(f"has type {array.dtype}", where, "integers")
    if array.size:
        for extreme in (int(array.min()), int(array.max())):
            if not low <= extreme <= high:
                raise NetworkError(f"holds {extreme}", where, f"{low}..{high}")
    return array


def _frozen(array: np.ndarray, dtype: type[np.integer]) -> np.ndarray:
    """Return a private copy of the array that can't be written."""
    copy = np.array(array, dtype=dtype, order="C", copy=True)
    copy.setflags(write=False)
    return copy


def _chain(layers: object) -> tuple[DenseLayer, ...]:
    """Return the layers as a tuple, checked one against the next."""
    if not isinstance(layers, tuple | list) or not 1 <= len(layers) <= MAX_LAYERS:
        found = f"{len(layers)} layers" if isinstance(layers, tuple | list) else short(layers)
        raise NetworkError(found, "layers", f"1..{MAX_LAYERS} layers")
    for number, layer in enumerate(layers):
        where = f"layer {number}"
        if not isinstance(layer, DenseLayer):
            raise NetworkError(f"is {short(layer)}", where, "a DenseLayer")
        if number and layer.inputs != layers[number - 1].outputs:
            raise NetworkError(f"takes {layer.inputs} inputs", where,
                               f"{layers[number - 1].outputs}, the outputs of the layer before")
        if (layer.readout is None) == (number == len(layers) - 1):
            raise NetworkError(f"has readout {layer.readout}", where,
                               "exactly the last layer is read out")
    weights = sum(math.prod(layer.weights.shape) for layer in layers)
    if weights > MAX_WEIGHTS:
        raise NetworkError(f"{weights} weights", "layers", f"{MAX_WEIGHTS} weights")
    return tuple(layers)


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
