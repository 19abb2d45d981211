"""Every layer as a convolution over its sources as they are stored.

A dense layer is a convolution whose kernel is its whole source, a merge one of single pixels and
unit gains. Sums over windows of the source (average pooling) are a larger kernel with equal
weights, or, where nothing else is summed, the same weights for every pixel.
"""
from dataclasses import dataclass

import numpy as np

from mapping.maps import SpikeMap
from model.network import ConvLayer, DenseLayer, Layer, MergeLayer

__all__ = ["Kernel", "kernel_of"]


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
