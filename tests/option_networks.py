"""Tiny networks, each of which shows one option of the convolutional family, and inputs for them.

Everything but that option is as plain as it can be, so that a failure has a name. Small cores of
two or three banks take all of them.
"""

import math
from collections.abc import Callable
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
    Readout,
    Reset,
    Shape,
)

__all__ = ["OPTIONS", "average", "conv", "dense", "network", "option_samples"]


def _neurons(kind: Callable[..., Any], shape: tuple[int, ...], seed: int, fixed: dict[str, Any],
             ) -> Any:
    """Return a layer of seeded weights, gains, biases and thresholds, unless they are given."""
    rng, outputs = np.random.default_rng([seed, *shape]), shape[0]
    weights = rng.choice([-1, 0, 1, 1], shape)
    # About as much as a step of random spikes gives.
    size = math.ceil(2 * math.sqrt(weights[0].size))
    arrays: dict[str, Any] = dict(
        weights=weights, gain_plus=rng.integers(2, 6, outputs),
        gain_minus=rng.integers(2, 6, outputs), bias=rng.integers(-1, 3, outputs),
        threshold=rng.integers(size // 2, 2 * size, outputs), membrane_bits=9)
    if fixed.get("readout") is not None:
        arrays["threshold"] = np.zeros(outputs, int)
    return kind(**arrays | fixed)


def dense(inputs: int, outputs: int, *, seed: int = 1, **fixed) -> DenseLayer:
    """Return a dense layer."""
    return _neurons(DenseLayer, (outputs, inputs), seed, fixed)


def conv(channels: int, outputs: int, kernel: tuple[int, int], *, seed: int = 1, groups: int = 1,
         **fixed) -> ConvLayer:
    """Return a convolution."""
    return _neurons(ConvLayer, (outputs, channels // groups, *kernel), seed,
                    {"groups": groups} | fixed)


def average(channels: int, size: tuple[int, int], outputs: int, **fixed) -> ConvLayer:
    """Return a readout of the average of a map."""
    return conv(channels, outputs, (1, 1), sum_pool=size, readout=Readout.LAST, **fixed)


def network(shape: Shape, *layers: Layer, **frame) -> IntegerNetwork:
    """Return a network of these layers; without a readout among them, with a dense one.

    Unless the frame says otherwise, it takes spikes in two steps.
    """
    whole: dict[str, Any] = dict(input=InputCoding.SPIKES, input_bits=1, timesteps=2,
                                 input_shape=shape) | frame
    if layers[-1].readout is None:
        channels = [layer.outputs for layer in layers if not isinstance(layer, MergeLayer)][-1]
        probe = conv(channels, 1, (1, 1), readout=Readout.LAST)
        last = IntegerNetwork(**whole, layers=(*layers, probe)).shape(len(layers) - 1)
        layers = *layers, dense(math.prod(last), 3, readout=Readout.LAST)
    return IntegerNetwork(**whole, layers=layers)


def _kernels() -> dict[str, IntegerNetwork]:
    """Return a kernel of every size, on maps about as large."""
    return {f"kernel of {size}": network(
        (2, 4, 3), conv(2, 3, (size, size), padding=(size // 2, (size - 1) // 2)), timesteps=1)
        for size in range(1, 8)}


def _depth_as_channels() -> IntegerNetwork:
    """Lower a convolution over depth, lines and pixels: each output depth is channels of its own.

    Two kernels of 2 x 2 x 2 over a depth of 3 have weights of an output depth for all input
    depths, zero where its kernel does not reach.
    """
    kernels = np.random.default_rng(3).choice([-1, 0, 1, 1], (2, 2, 2, 2))
    weights = np.zeros((2, 2, 3, 2, 2), int)           # kernel, output depth, input depth
    for depth in range(2):
        weights[:, depth, depth:depth + 2] = kernels
    return network((3, 3, 4), conv(3, 4, (2, 2), weights=weights.reshape(4, 3, 2, 2),
                                   threshold=np.array([3, 3, 9, 9])))


def _merged(operation: Merge, *, source: dict[str, Any] | None = None, order=(0, 1), **merge,
            ) -> IntegerNetwork:
    """Join two convolutions, one of which reads the other."""
    more: dict[str, Any] = dict(bias=np.zeros(2, int), threshold=np.full(2, 3), reset=Reset.HARD,
                                leak=(1,)) | (source or {})
    return network(
        (2, 1, 3), conv(2, 2, (1, 3), padding=(0, 1), seed=5, **more),
        conv(2, 2, (1, 3), padding=(0, 1), seed=6, **more),
        MergeLayer(operation, order, **merge), timesteps=3)


def _joined(*channels: int) -> IntegerNetwork:
    """Join layers of so many channels, each of which reads the input, along the channels."""
    parts = [conv(2, each, (2, 2), seed=seed, sources=(-1,)) for seed, each in enumerate(channels)]
    return network((2, 2, 4), *parts, conv(
        sum(channels), 3, (1, 2), sources=tuple(range(len(parts)))))


def _counted(z_max: int, **more) -> IntegerNetwork:
    """Let layers of two kinds send counts."""
    more = dict(z_max=z_max, membrane_bits=12) | more
    gains = {name: np.full(3, 3 * z_max) for name in ("gain_plus", "gain_minus")}
    return network((2, 3, 3), conv(2, 3, (2, 2), **gains, **more), dense(12, 4, **more))


def _coded(coding: InputCoding, bits: int, *, signed: bool = False, **frame) -> IntegerNetwork:
    """Take values instead of spikes."""
    wide: dict[str, Any] = dict(membrane_bits=14, gain_plus=np.full(3, 2), gain_minus=np.full(3, 1),
                                threshold=np.array([9, 20, 40]))
    return network((2, 3, 3), conv(2, 3, (2, 2), **wide), input=coding, input_bits=bits,
                   input_signed=signed, **frame)


#: Networks by the option that they show.
OPTIONS: dict[str, IntegerNetwork] = {
    **_kernels(),
    "kernel that is not square": network((2, 4, 3), conv(2, 3, (3, 2), padding=(1, 0))),
    "stride": network((2, 5, 6), conv(2, 3, (3, 3), stride=(2, 3), padding=(1, 1))),
    "stride beyond the kernel": network((2, 5, 5), conv(2, 3, (1, 2), stride=(2, 3), seed=2)),
    "padding": network((2, 2, 3), conv(2, 3, (3, 3), padding=(2, 1))),
    "grouped": network((4, 3, 3), conv(4, 6, (2, 2), groups=2)),
    "depthwise": network((2, 2, 3), conv(2, 6, (1, 1)), conv(6, 6, (2, 2), groups=6)),
    "one-dimensional": network((3, 1, 9), conv(3, 4, (1, 3), padding=(0, 1), stride=(1, 2))),
    "three-dimensional, depth as channels": _depth_as_channels(),
    "many channels": network((7, 2, 2), conv(7, 9, (2, 2), padding=(0, 1))),
    "whole map": network((3, 3, 3), conv(3, 5, (3, 3))),
    "max pool": network((2, 3, 5), conv(2, 3, (2, 2), pool=(2, 2))),
    "max pool that leaves a rest": network((2, 4, 5), conv(2, 3, (2, 2), pool=(2, 3))),
    "max pool of counts": network((2, 2, 4), conv(2, 3, (1, 1), pool=(2, 2), z_max=3)),
    "max pool of signed counts": network(
        (2, 2, 4), conv(2, 3, (1, 1), pool=(2, 2), z_max=2, signed=True)),
    "average pool": network((2, 4, 4), conv(2, 3, (2, 2), sum_pool=(2, 2))),
    "average pool and one pixel": network((2, 2, 3), conv(2, 6, (1, 1)), conv(
        6, 3, (1, 1), sum_pool=(2, 3))),
    "average pool that leaves a rest": network((2, 5, 5), conv(2, 3, (2, 1), sum_pool=(2, 2))),
    "average pool of a dense layer": network((3, 4, 4), dense(12, 4, seed=2, sum_pool=(2, 2))),
    "global average pool": network((2, 3, 3), conv(2, 5, (2, 2)), average(5, (2, 2), 3)),
    "readout by convolution": network(
        (2, 3, 3), conv(2, 3, (2, 2)), conv(3, 4, (2, 2), readout=Readout.SUM)),
    "addition that saturates": _merged(Merge.ADD),
    "addition of counts": _merged(Merge.ADD, source=dict(z_max=2), z_max=3),
    "addition with a barrier": _merged(Merge.ADD, reset=Reset.SOFT),
    "addition of counts with a barrier": _merged(
        Merge.ADD, source=dict(z_max=2), z_max=2, reset=Reset.SOFT),
    "addition of signed counts": _merged(
        Merge.ADD, source=dict(signed=True), z_max=2, signed=True),
    "or": _merged(Merge.OR),
    "and-not": _merged(Merge.AND_NOT),
    "and-not, the other way round": _merged(Merge.AND_NOT, order=(1, 0)),
    "two sources": _joined(2, 5),
    "three sources": _joined(2, 2, 2),
    "sources of one dense layer": network(
        (5, 1, 1), dense(5, 4, seed=2, sources=(-1,)), dense(5, 6, seed=3, sources=(-1,)),
        dense(10, 3, sources=(1, 0))),
    "two layers read the input": network(
        (3, 2, 2), conv(3, 4, (2, 2), sources=(-1,)), dense(12, 4, sources=(-1,)),
        MergeLayer(Merge.OR, (0, 1))),
    **{f"counts to {z_max}": _counted(z_max) for z_max in (2, 3, 7, 15)},
    "signed, soft": _counted(1, signed=True, seed=3),
    "signed, hard": _counted(1, signed=True, seed=3, reset=Reset.HARD),
    "signed counts": _counted(5, signed=True),
    "signed and others side by side": network(
        (2, 1, 3), conv(2, 2, (1, 1), z_max=2, sources=(-1,)),
        conv(2, 3, (1, 1), seed=2, z_max=2, signed=True, sources=(-1,)),
        conv(5, 3, (1, 2), sources=(1, 0))),
    "static": _coded(InputCoding.STATIC, 8),
    "static, signed": _coded(InputCoding.STATIC, 8, signed=True),
    "static, one step": _coded(InputCoding.STATIC, 4, timesteps=1),
    "samples": _coded(InputCoding.SAMPLES, 4),
    "samples, signed": _coded(InputCoding.SAMPLES, 4, signed=True),
    "window": network((2, 3, 3), conv(2, 3, (2, 2), window=2), timesteps=6),
    "window of a hidden layer": network(
        (2, 3, 3), conv(2, 3, (2, 2)), dense(12, 4, window=3), timesteps=6),
    "window of counts": network(
        (2, 3, 3), conv(2, 3, (2, 2), z_max=3, threshold=np.full(3, 2)),
        dense(12, 4, window=2), timesteps=4),
    "window of a static input": network(
        (2, 3, 3), conv(2, 3, (2, 2), window=2), timesteps=4, input=InputCoding.STATIC,
        input_bits=2),
    "one step": network((2, 3, 3), conv(2, 3, (2, 2), padding=(1, 1)), timesteps=1),
    # Found by random networks.
    "pool across a width of five": network((2, 2, 5), conv(2, 3, (1, 1), pool=(1, 2))),
    "kernel beyond a map of one pixel": network((3, 1, 1), conv(
        3, 4, (3, 1), padding=(1, 0), threshold=np.array([2, 3, 5, 7]))),
    "places over a dense layer": network(
        (4, 1, 1), dense(4, 5), conv(5, 3, (3, 3), padding=(2, 2), stride=(3, 1))),
    "signed spikes and lanes without a neuron": network(
        (3, 2, 1), conv(3, 5, (1, 1), signed=True, threshold=np.ones(5, int)),
        conv(5, 7, (2, 1), signed=True, threshold=np.ones(7, int))),
}


def option_samples(whole: IntegerNetwork, count: int = 2, *, seed: int = 1) -> np.ndarray:
    """Return a random input, and then others at an end: all largest, or smallest if signed."""
    rng = np.random.default_rng(seed)
    shape = ((count, whole.inputs) if whole.input is InputCoding.STATIC
             else (count, whole.timesteps, whole.inputs))
    values = rng.integers(whole.input_min, whole.input_max, shape, endpoint=True)
    values[1:] = whole.input_min or whole.input_max
    return values.astype(np.int16)
