"""The layers of an integer network: what their neurons sum, and how they fire.

A `DenseLayer` takes all of its source, a `ConvLayer` slides a kernel over it, a `MergeLayer` joins
two sources spike by spike and is a `ConvLayer` in short. What one neuron does is in
`model.network`.
"""

import enum
from dataclasses import dataclass, fields
from reprlib import repr as short
from typing import Any

import numpy as np

from model.checks import NetworkError, boolean, choice, frozen, integer, integers, pair

__all__ = ["ConvLayer", "DenseLayer", "Layer", "Merge", "MergeLayer", "NeuronLayer", "Readout",
           "Reset"]

MAX_WIDTH = 1 << 20
MAX_LAYERS = 64
MAX_WINDOW = 4096
MAX_KERNEL = 7
MAX_SHIFT = 15
MAX_LEVELS = 15

INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)

# A unit of a signed sum that must not be lost: see `MergeLayer.as_conv`.
SIGNED_UNIT_BITS = 5


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


class Merge(enum.Enum):
    """How two sources become one."""

    #: The sum of both, within what a spike can count.
    ADD = "add"
    #: Whether one or the other spikes.
    OR = "or"
    #: Whether the second spikes and the first does not.
    AND_NOT = "and-not"


@dataclass(frozen=True, eq=False)
class NeuronLayer:
    """What layers of integer neurons have in common; see `model.network` for the equations.

    Arrays may be given in any integer type; they are copied to the types named here and can't be
    written. Gains, biases and thresholds are those of the outputs: of neurons, or of the channels
    of a map, whose neurons share them.

    Parameters
    ----------
    weights
        int8 (outputs, ...) of -1, 0, +1.
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
    signed
        Whether spikes count -z_max..z_max instead of 0..z_max; not for a readout layer.
    sources
        What the layer reads: numbers of earlier layers, joined along the channels in this order,
        or (-1,) for the network's input. None: the layer before, or the input for the first.
    window
        1..4096 steps of the sources that one step of the layer sums.
    sum_pool
        Height and width of the windows of the source, side by side, that are summed to one input
        each; what is left at the lower and right border is not taken. Average pooling is this
        with gains divided by the area of the window.

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
    signed: bool = False
    sources: tuple[int, ...] | None = None
    window: int = 1
    sum_pool: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        """Validate all fields and freeze the arrays."""
        choice(self.reset, Reset, "reset")
        if self.readout is not None:
            choice(self.readout, Readout, "readout")
        weights = integers(self.weights, "weights", -1, 1)
        self._check_shape(weights.shape)
        _set(self, "weights", frozen(weights, np.int8))
        self._freeze_arrays()

        if not isinstance(self.leak, tuple | list) or len(self.leak) > 2:
            raise NetworkError(f"is {short(self.leak)}", "leak", "a tuple of at most 2 shifts")
        _set(self, "leak", tuple(integer(k, "leak", 1, MAX_SHIFT) for k in self.leak))
        _set(self, "membrane_bits", integer(self.membrane_bits, "membrane_bits", 2, 32))
        _set(self, "v_init", integer(self.v_init, "v_init", self.membrane_min, self.membrane_max))
        _set(self, "z_max", integer(self.z_max, "z_max", 1, MAX_LEVELS))
        _set(self, "signed", boolean(self.signed, "signed"))
        for name, silent in (("z_max", 1), ("signed", False)):
            if self.readout is not None and getattr(self, name) != silent:
                raise NetworkError(f"is {getattr(self, name)} for a readout layer", name, silent)
        _set(self, "sources", _sources(self.sources))
        _set(self, "window", integer(self.window, "window", 1, MAX_WINDOW))
        _set(self, "sum_pool", pair(self.sum_pool, "sum_pool", 1, MAX_WIDTH))

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise unless weights may have this shape."""
        raise NotImplementedError

    def _freeze_arrays(self) -> None:
        """Validate and freeze what each output has one of."""
        threshold_low, threshold_high = (1, INT32_MAX) if self.readout is None else (0, 0)
        for name, low, high in (
            ("gain_plus", 0, INT32_MAX),
            ("gain_minus", 0, INT32_MAX),
            ("bias", INT32_MIN, INT32_MAX),
            ("threshold", threshold_low, threshold_high),
        ):
            array = integers(getattr(self, name), name, low, high)
            if array.shape != (self.outputs,):
                raise NetworkError(f"has shape {array.shape}", name,
                                   f"({self.outputs},), the outputs")
            _set(self, name, frozen(array, np.int32))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the constructor, so that a copy is validated and frozen too."""
        return type(self), tuple(getattr(self, each.name) for each in fields(self))

    @property
    def inputs(self) -> int:
        """The number of inputs, or of input channels, after sum pooling."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """The number of neurons, or of channels of neurons."""
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
class DenseLayer(NeuronLayer):
    """A fully connected layer; `NeuronLayer` has the other parameters.

    It takes its sources flattened, in the order channel, row, column.

    Parameters
    ----------
    weights
        int8 (outputs, inputs) of -1, 0, +1.
    """

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise unless weights may have this shape."""
        if len(shape) != 2 or 0 in shape:
            raise NetworkError(f"has shape {shape}", "weights",
                               "(outputs, inputs), each at least 1")
        if max(shape) > MAX_WIDTH:
            raise NetworkError(f"has shape {shape}", "weights", f"{MAX_WIDTH} inputs and outputs")

    @property
    def inputs(self) -> int:
        """The number of inputs, after sum pooling."""
        return self.weights.shape[1]


@dataclass(frozen=True, eq=False)
class ConvLayer(NeuronLayer):
    """A two-dimensional convolutional layer; `NeuronLayer` has the other parameters.

    As `torch.nn.functional.conv2d` it is a cross-correlation: the kernel is not mirrored. A
    one-dimensional map has the height 1.

    Parameters
    ----------
    weights
        int8 (outputs, inputs / groups, height, width) of -1, 0, +1; height and width 1..7.
    stride
        1..7: by how much the kernel moves down and right.
    padding
        Rows above and below, columns left and right of zeros around the source, after sum
        pooling; less than the kernel's height and width.
    groups
        Into how many parts channels are divided, each output seeing the inputs of its part only.
    pool
        Height and width of the windows, side by side, of which later layers see the largest spike
        each; what is left at the lower and right border is not seen. (1, 1) for a readout layer.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    pool: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        """Validate all fields and freeze the arrays."""
        super().__post_init__()
        _set(self, "stride", pair(self.stride, "stride", 1, MAX_KERNEL))
        _set(self, "padding", pair(self.padding, "padding", 0, MAX_KERNEL - 1))
        if any(pad >= size for pad, size in zip(self.padding, self.kernel, strict=True)):
            raise NetworkError(f"is {self.padding}", "padding",
                               f"less than the kernel's {self.kernel}")
        _set(self, "groups", integer(self.groups, "groups", 1, MAX_WIDTH))
        if self.outputs % self.groups:
            raise NetworkError(f"is {self.groups}", "groups",
                               f"a divisor of the {self.outputs} outputs")
        _set(self, "pool", pair(self.pool, "pool", 1, MAX_WIDTH))
        if self.readout is not None and self.pool != (1, 1):
            raise NetworkError(f"is {self.pool} for a readout layer", "pool", (1, 1))

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise unless weights may have this shape."""
        if len(shape) != 4 or 0 in shape:
            raise NetworkError(f"has shape {shape}", "weights",
                               "(outputs, inputs / groups, height, width), each at least 1")
        if max(shape[2:]) > MAX_KERNEL:
            raise NetworkError(f"has shape {shape}", "weights",
                               f"height and width of {MAX_KERNEL}")
        if max(shape[:2]) > MAX_WIDTH:
            raise NetworkError(f"has shape {shape}", "weights", f"{MAX_WIDTH} inputs and outputs")

    @property
    def inputs(self) -> int:
        """The number of input channels."""
        return self.weights.shape[1] * self.groups

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.weights.shape[2], self.weights.shape[3]


@dataclass(frozen=True, eq=False)
class MergeLayer:
    """Two sources of one shape, joined spike by spike by neurons with a synapse on each.

    Parameters
    ----------
    operation
        ADD: the current is a + b. With a hard reset and threshold 1 the spike is the sum, as far
        as it can count. With a soft reset, what it can't count waits in the membrane for the next
        step. With other thresholds it is a neuron like any other.
        OR: a or b, and AND_NOT: b and not a, of binary spikes; z_max 1, threshold 1, hard reset,
        not signed.
    sources
        The numbers of two earlier layers, a and b.
    z_max, reset, membrane_bits, signed
        As a `NeuronLayer` has them.
    threshold
        1..2^31-1, of all neurons; 1 if signed with a hard reset.

    Raises
    ------
    NetworkError
        Naming the field, what was found and what would be right.
    """

    operation: Merge
    sources: tuple[int, ...]
    z_max: int = 1
    threshold: int = 1
    reset: Reset = Reset.HARD
    membrane_bits: int = 8
    signed: bool = False

    #: Merges are hidden layers, step for step.
    readout = None
    window = 1

    def __post_init__(self) -> None:
        """Validate all fields."""
        choice(self.operation, Merge, "operation")
        choice(self.reset, Reset, "reset")
        sources = _sources(self.sources)
        if sources is None or len(sources) != 2:
            raise NetworkError(f"is {short(self.sources)}", "sources", "the numbers of two layers")
        _set(self, "sources", sources)
        _set(self, "z_max", integer(self.z_max, "z_max", 1, MAX_LEVELS))
        _set(self, "threshold", integer(self.threshold, "threshold", 1, INT32_MAX))
        _set(self, "signed", boolean(self.signed, "signed"))
        exact = self.signed and self.reset is Reset.HARD
        most = 32 - SIGNED_UNIT_BITS if exact else 32
        _set(self, "membrane_bits", integer(self.membrane_bits, "membrane_bits", 2, most))
        if exact and self.threshold != 1:
            raise NetworkError(f"is {self.threshold} for signed spikes and a hard reset",
                               "threshold", 1)
        if self.operation is not Merge.ADD:
            for name, only in (("z_max", 1), ("threshold", 1), ("reset", Reset.HARD),
                               ("signed", False)):
                if getattr(self, name) != only:
                    raise NetworkError(f"is {getattr(self, name)} for {self.operation.value}",
                                       name, only)

    def as_conv(self, channels: int) -> ConvLayer:
        """Return the convolution that a merge of maps of so many channels is.

        Its kernel has one weight for each source. For AND_NOT a leak by one half, rounded down,
        takes the -1 that a alone leaves back to 0. A signed hard ADD fires from -1 downwards, but
        a signed neuron of threshold t from -t - 1; so it counts in units of 33 against a threshold
        of 32: then 33 s holds as many thresholds as s units, for any sum s of two spikes, at most
        30, and -33 s - 1 does, too.
        """
        identity = np.eye(channels, dtype=np.int8)
        first = -identity if self.operation is Merge.AND_NOT else identity
        shift = SIGNED_UNIT_BITS if self.signed and self.reset is Reset.HARD else 0
        gain = np.full(channels, (1 << shift) + 1 if shift else 1)
        return ConvLayer(
            weights=np.concatenate([first, identity], axis=1)[..., np.newaxis, np.newaxis],
            gain_plus=gain, gain_minus=gain, bias=np.zeros(channels, np.int32),
            threshold=np.full(channels, self.threshold << shift),
            leak=(1,) if self.operation is Merge.AND_NOT else (), reset=self.reset,
            membrane_bits=self.membrane_bits + shift, z_max=self.z_max, signed=self.signed,
            sources=self.sources)


Layer = DenseLayer | ConvLayer | MergeLayer


def _set(layer: NeuronLayer | MergeLayer, name: str, value: object) -> None:
    """Store a normalised field in spite of the class being frozen."""
    object.__setattr__(layer, name, value)


def _sources(value: object) -> tuple[int, ...] | None:
    """Return numbers of layers as a tuple of different Python integers."""
    if value is None:
        return None
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= MAX_LAYERS:
        raise NetworkError(f"is {short(value)}", "sources", f"1..{MAX_LAYERS} numbers of layers")
    numbers = tuple(integer(each, "sources", -1, MAX_LAYERS - 1) for each in value)
    if len(set(numbers)) != len(numbers):
        raise NetworkError(f"is {numbers}", "sources", "each layer once")
    return numbers
