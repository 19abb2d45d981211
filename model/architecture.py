"""Architectures as text: what layers a network has, and what each of them sees.

``784-256-10`` is a dense network, ``1x28x28-16C5S2-64C3P2-R64(or)-AG-10`` a residual one of
convolutions. The first item is the input, the last the classes; between them stand

========================  ==========================================================================
``256``                   a dense layer of so many neurons
``64C3``                  a convolution: channels, kernel. What may follow, in this order:
``.. D7/3``               a 3-D kernel that covers 7 of the channels below it (a depth of bands) and
                          moves by 3 of them (by 1 if not given): 64 channels for each position
``.. S2``                 stride
``.. G8``                 groups
``.. P2``                 max pooling of the layer's own spikes
``A2``, ``AG``            average pooling of what the next layer sees; global
``R64(or)``               a residual block: two 3x3 convolutions of so many channels, and a merge of
                          their spikes with the block's input
``R128S2(or)``            the same, its first convolution with a stride
========================  ==========================================================================

Kernels, strides and pools are squares, or ``height x width`` as in ``16C1x9S1x2``. Convolutions are
padded by ``(kernel - 1) // 2``. Where a block changes the shape, a 1x1 convolution takes its input
to the new one. Merges, a the block's last convolution and b its input:

=============  =====================================================================================
``add``        a + b, at most as many as the neurons' largest count, or as the number says: ``add3``
``barrier``    the same, but what can't be counted waits for the next step; ``barrier3``
``or``         a or b, of binary spikes
``iand``       b and not a, of binary spikes
``cat``        both, side by side: the next layer has the channels of either
=============  =====================================================================================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from model.network import (
    MAX_KERNEL,
    MAX_LAYERS,
    ConvLayer,
    DenseLayer,
    Merge,
    MergeLayer,
    Reset,
    Shape,
)

__all__ = ["Architecture", "ArchitectureError", "ConvSpec", "DenseSpec", "LayerSpec", "MergeSpec",
           "parse"]

MERGES = {"add": (Merge.ADD, Reset.HARD), "barrier": (Merge.ADD, Reset.SOFT),
          "or": (Merge.OR, Reset.HARD), "iand": (Merge.AND_NOT, Reset.HARD)}

_PAIR = r"[1-9]\d*(?:x[1-9]\d*)?"
_NUMBER = r"[1-9]\d*"
_INPUT = re.compile(rf"({_NUMBER})(?:x({_NUMBER})x({_NUMBER}))?", re.ASCII)
_DENSE = re.compile(rf"({_NUMBER})", re.ASCII)
_AVERAGE = re.compile(rf"A(G|{_PAIR})", re.ASCII)
_CONV = re.compile(rf"({_NUMBER})C({_PAIR})(?:D({_NUMBER})(?:/({_NUMBER}))?)?(?:S({_PAIR}))?"
                   rf"(?:G({_NUMBER}))?(?:P({_PAIR}))?", re.ASCII)
_BLOCK = re.compile(rf"R({_NUMBER})(?:S({_PAIR}))?"
                    rf"\((?:(add|barrier)({_NUMBER})?|(or|iand|cat))\)", re.ASCII)

Pair = tuple[int, int]


class ArchitectureError(ValueError):
    """Text that is no architecture, or one whose layers do not fit one another."""


@dataclass(frozen=True)
class DenseSpec:
    """A fully connected layer.

    Parameters
    ----------
    source : (channels, height, width)
        Of the sources, joined along the channels.
    neurons : int
    sources : tuple of int
        Numbers of the layers it sees, -1 for the input.
    sum_pool : (height, width)
        Windows of the source that are averaged first.
    """

    source: Shape
    neurons: int
    sources: tuple[int, ...]
    sum_pool: Pair = (1, 1)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: (neurons, inputs)."""
        return self.neurons, math.prod(_pooled(self.source, self.sum_pool))

    @property
    def outputs(self) -> Shape:
        """Shape of the neurons."""
        return self.neurons, 1, 1

    @property
    def seen(self) -> Shape:
        """Shape of what later layers see."""
        return self.outputs

    def integer_layer(self, **neurons) -> DenseLayer:
        """Return the integer layer of this geometry with these weights and neurons."""
        return DenseLayer(**neurons, sources=self.sources, sum_pool=self.sum_pool)


@dataclass(frozen=True)
class ConvSpec:
    """A convolution.

    Parameters
    ----------
    source, sources, sum_pool
        As of a `DenseSpec`.
    kernels : int
        Channels of the output, for each position of the kernel along the depth.
    kernel, stride, pool : (height, width)
    groups : int
    depth, step : int, optional
        Of a 3-D kernel: channels that it covers, and by how many it moves.
    """

    source: Shape
    kernels: int
    kernel: Pair
    sources: tuple[int, ...]
    sum_pool: Pair = (1, 1)
    stride: Pair = (1, 1)
    groups: int = 1
    pool: Pair = (1, 1)
    depth: int | None = None
    step: int = 1

    @property
    def positions(self) -> int:
        """Positions of the kernel along the depth."""
        return 1 if self.depth is None else (self.source[0] - self.depth) // self.step + 1

    @property
    def padding(self) -> Pair:
        """Rows and columns of zeros around the source."""
        return (self.kernel[0] - 1) // 2, (self.kernel[1] - 1) // 2

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: (kernels, channels that one sees, height, width)."""
        channels = self.source[0] // self.groups if self.depth is None else self.depth
        return self.kernels, channels, *self.kernel

    @property
    def outputs(self) -> Shape:
        """Shape of the neurons; what would fill no window of the pool is none."""
        _, *size = _pooled(self.source, self.sum_pool)
        height, width = (((n + 2 * pad - kernel) // stride + 1) // pool * pool
                         for n, pad, kernel, stride, pool in zip(
                             size, self.padding, self.kernel, self.stride, self.pool, strict=True))
        return self.kernels * self.positions, height, width

    @property
    def seen(self) -> Shape:
        """Shape of what later layers see."""
        return _pooled(self.outputs, self.pool)

    def integer_layer(self, **neurons) -> ConvLayer:
        """Return the integer layer of this geometry with these weights and neurons."""
        return ConvLayer(**neurons, sources=self.sources, sum_pool=self.sum_pool,
                         stride=self.stride, padding=self.padding, groups=self.groups,
                         pool=self.pool)


@dataclass(frozen=True)
class MergeSpec:
    """Two sources of one shape, joined spike by spike.

    Parameters
    ----------
    source : (channels, height, width)
        Of either.
    levels : int, optional
        Largest count of a spike; that of the neurons if not given.
    """

    source: Shape
    merge: Merge
    reset: Reset
    sources: tuple[int, int]
    levels: int | None = None

    @property
    def outputs(self) -> Shape:
        """Shape of the neurons."""
        return self.source

    @property
    def seen(self) -> Shape:
        """Shape of what later layers see."""
        return self.source

    def integer_layer(self, **neurons) -> MergeLayer:
        """Return the integer layer of these neurons."""
        return MergeLayer(self.merge, self.sources, reset=self.reset, **neurons)


LayerSpec = DenseSpec | ConvSpec | MergeSpec


@dataclass(frozen=True)
class Architecture:
    """What `parse` returns: the shape of the input, the layers that fire, and the one to read."""

    shape: Shape
    hidden: tuple[LayerSpec, ...]
    readout: DenseSpec

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """All layers."""
        return *self.hidden, self.readout

    @property
    def inputs(self) -> int:
        """The number of input values."""
        return math.prod(self.shape)

    @property
    def classes(self) -> int:
        """The number of neurons that are read."""
        return self.readout.neurons

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether samples of a shape are the maps that the first layer sees, or any are fine."""
        flat = self.shape[1:] == (1, 1)
        return flat or (1,) * (3 - len(shape)) + shape == self.shape

    @property
    def merges(self) -> list[MergeSpec]:
        """The merges among the layers."""
        return [layer for layer in self.hidden if isinstance(layer, MergeSpec)]


def parse(text: str) -> Architecture:
    """Return the architecture that a text such as ``784-256-10`` describes.

    Raises
    ------
    ArchitectureError
        Naming the item that is not understood, or does not fit.
    """
    first, *items = text.split("-")
    shape = _INPUT.fullmatch(first)
    if shape is None or not items:
        raise ArchitectureError(
            f"Architecture must be items from input to classes, such as 784-256-10 or "
            f"1x28x28-16C5S2-10, not {text!r}")
    channels, height, width = (int(size or 1) for size in shape.groups())
    builder = _Builder((channels, height, width))
    for item in items:
        try:
            builder.add(item)
        except ArchitectureError as error:
            raise ArchitectureError(f"Architecture {text}: {item!r} {error}") from None
    match builder.layers:
        case [*hidden, DenseSpec() as readout] if _DENSE.fullmatch(items[-1]):
            return Architecture(builder.shape, tuple(hidden), readout)
    raise ArchitectureError(f"Architecture {text} must end in the number of classes, not in "
                            f"{items[-1]!r}")


class _Builder:
    """Adds layers, and keeps what the next one will see."""

    def __init__(self, shape: Shape):
        self.shape = shape
        self.layers: list[LayerSpec] = []
        self.sources: tuple[int, ...] = (-1,)
        self.pool: Pair = (1, 1)                  # average pooling that waits for the next layer

    def add(self, item: str) -> None:
        """Add what an item stands for."""
        if match := _DENSE.fullmatch(item):
            self.dense(int(item))
        elif match := _CONV.fullmatch(item):
            kernels, kernel, depth, step, stride, groups, pool = match.groups()
            self.conv(int(kernels), _pair(kernel), stride=_pair(stride), groups=int(groups or 1),
                      pool=_pair(pool), depth=_number(depth), step=int(step or 1))
        elif match := _AVERAGE.fullmatch(item):
            _, *size = self.source(self.sources)
            self.average((size[0], size[1]) if match[1] == "G" else _pair(match[1]))
        elif match := _BLOCK.fullmatch(item):
            channels, stride, counting, levels, binary = match.groups()
            self.block(int(channels), _pair(stride), counting or binary, _number(levels))
        else:
            raise ArchitectureError("is not understood: it must be like 256, 64C3S2, A2 or R64(or)")

    def source(self, sources: tuple[int, ...]) -> Shape:
        """Return the shape of sources, joined along the channels."""
        shapes = [self.shape if number < 0 else self.layers[number].seen for number in sources]
        _, height, width = shapes[0]
        return sum(channels for channels, _, _ in shapes), height, width

    def dense(self, neurons: int) -> None:
        """Add a dense layer."""
        self._append(DenseSpec(self.source(self.sources), neurons, self.sources, self.pool))

    def conv(self, kernels: int, kernel: Pair, **changes) -> None:
        """Add a convolution."""
        spec = ConvSpec(self.source(self.sources), kernels, kernel, self.sources, self.pool,
                        **changes)
        for name, (height, width) in (("kernel", spec.kernel), ("stride", spec.stride)):
            if max(height, width) > MAX_KERNEL:
                raise ArchitectureError(f"has a {name} of {height} by {width}, more than "
                                        f"{MAX_KERNEL}")
        channels = spec.source[0]
        if channels % spec.groups or kernels % spec.groups:
            raise ArchitectureError(f"has {spec.groups} groups, which divide not both of "
                                    f"{channels} and {kernels} channels")
        if spec.depth is not None and (spec.depth > channels or spec.groups > 1):
            raise ArchitectureError(f"has a depth of {spec.depth}; it must be at most the "
                                    f"{channels} channels below, without groups")
        self._append(spec)

    def average(self, pool: Pair) -> None:
        """Average what the next layer sees."""
        shape = self.source(self.sources)
        if min(_pooled(shape, pool)) < 1 or self.pool != (1, 1):
            raise ArchitectureError(f"can't pool a map of {shape[1]} by {shape[2]}, once")
        self.pool = pool

    def block(self, channels: int, stride: Pair, merge: str, levels: int | None) -> None:
        """Add a residual block."""
        if self.sources == (-1,) or self.pool != (1, 1):
            raise ArchitectureError("must follow a layer of spikes")
        below = self.sources
        self.conv(channels, (3, 3), stride=stride)
        self.conv(channels, (3, 3))
        inner = self.sources
        if stride != (1, 1) or (merge != "cat" and self._changes(below, channels)):
            self.sources = below
            self.conv(channels, (1, 1), stride=stride)
            below = self.sources
        if merge == "cat":
            self.sources = (*inner, *below)
        else:
            operation, reset = MERGES[merge]
            self._append(MergeSpec(self.source(inner), operation, reset, (inner[0], below[0]),
                                   levels))

    def _changes(self, sources: tuple[int, ...], channels: int) -> bool:
        """Whether a block of so many channels can't be merged with these sources as they are."""
        return len(sources) > 1 or self.source(sources)[0] != channels

    def _append(self, spec: LayerSpec) -> None:
        """Append a layer, which the next one will see."""
        if min(spec.seen) < 1:
            raise ArchitectureError(f"leaves nothing of a map of {spec.source[1]} by "
                                    f"{spec.source[2]}")
        if len(self.layers) == MAX_LAYERS:
            raise ArchitectureError(f"is more than {MAX_LAYERS} layers")
        self.layers.append(spec)
        self.sources, self.pool = (len(self.layers) - 1,), (1, 1)


def _pair(text: str | None) -> Pair:
    """Return the height and width that ``3`` or ``1x9`` stands for; 1 by 1 if not given."""
    height, _, width = (text or "1").partition("x")
    return int(height), int(width or height)


def _number(text: str | None) -> int | None:
    """Return the number that is given, if one is."""
    return int(text) if text else None


def _pooled(shape: Shape, pool: Pair) -> Shape:
    """Return the shape after pooling; what is left at the border is dropped."""
    channels, height, width = shape
    return channels, height // pool[0], width // pool[1]
