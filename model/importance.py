"""What weights and neurons are worth to a network: the scores by which a pruning goes.

Some are of the weights alone, others of what the layers see and do while samples run (`observe`).

Scores of a weight w of neuron i on its input j:

``magnitude``
    ``|w_ij|``.
``relief``
    ``mean over samples of |w_ij x_j|``, summed over the pixels where it meets a map: the importance
    of "Neural network relief", read in its authors' code (adekhovich/NNrelief). Of a spiking layer
    ``mean x_j`` is j's rate, the synaptic operations that a ternary weight on it costs in a step.
    With scope `NEURON` and a mass the choice is theirs too: the smallest set of a neuron's inputs
    whose importance makes up that share of all. They count the bias as an input; here batch norm
    has one, and it is left out.

Scores of a neuron:

``magnitude``
    The sum of ``|w|`` of its own weights: the norm by which "hybrid pruning and quantisation" ranks
    filters, in the closest published formulation; its text was not available.
``relief``
    The relief of all weights that others have on it. Ours.
``activity``
    Its largest count on a map, a mean over samples and steps. With a mass of 0.85 what is kept is
    what the channel mask of SpQuant-SNN is trained to keep (code: Ahmedhasssan/IM_SNN-SpQuant_SNN):
    the channels that make up 85 % of it. There a gate decides anew for every sample; a mask that
    stays, as the core needs it, is ours.
``membrane``
    How near it comes to its threshold: the largest mean of a block of 2 x 2 membranes before the
    reset, in thresholds, 0 if it is below; a mean over samples and steps. Means of such blocks are
    what SpQuant-SNN's spatial mask looks at (the same code), its prior; the score is ours.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from model.architecture import ConvSpec, DenseSpec, LayerSpec
from model.layers import (
    INPUT_BITS,
    INPUT_MAX,
    SpikingLayer,
    SpikingNetwork,
    Synapses,
    as_inputs,
)
from model.network import Reset
from model.neuron import leak_factor

__all__ = ["Observed", "Score", "neuron_scores", "observe", "operations", "positions", "reads",
           "weight_scores"]

BATCH = 250
BLOCK = 2                  # of membranes, either way


class Score(enum.Enum):
    """By what; the module says how."""

    MAGNITUDE = "magnitude"
    RELIEF = "relief"
    ACTIVITY = "activity"      #: neurons only
    MEMBRANE = "membrane"      #: neurons only


class Observed(NamedTuple):
    """What the layers of a network see and do, means over samples and steps."""

    #: (channels, height, width) that each layer's weights meet, after sum pooling; signs left out
    met: tuple[torch.Tensor, ...]
    #: (channels, height, width) the events a sample that they meet, set bits of counts or pixels
    events: tuple[torch.Tensor, ...]
    #: (channels,) the largest count on the map of each layer that fires
    largest: tuple[torch.Tensor, ...]
    #: (channels,) the largest mean membrane of a block, in thresholds; of a merge 0
    membrane: tuple[torch.Tensor, ...]


@torch.no_grad()
def observe(model: SpikingNetwork, inputs: np.ndarray) -> Observed:
    """Run a network in inference mode and watch it.

    Parameters
    ----------
    inputs : uint8
        Samples, encoded by `model.data.encode`; at least one.
    """
    model.eval()
    sources: dict[Synapses, torch.Tensor] = {}

    def watch(layer: Synapses, arguments: tuple[torch.Tensor, int]) -> None:
        sources[layer] = arguments[0]

    watched = [layer.register_forward_pre_hook(watch) for layer in model.weighted_layers()]
    total: list[list[torch.Tensor]] = []
    try:
        for start in range(0, len(inputs), BATCH):
            batch = inputs[start:start + BATCH]
            spikes = model(as_inputs(batch)).spikes
            found = [_met(layer, sources[layer]) for layer in model.weighted_layers()]
            found += [_events(layer, sources[layer]) for layer in model.weighted_layers()]
            found += [fired.abs().flatten(3).amax(3).mean((0, 1)) for fired in spikes]
            found += [_block_means(layer, sources[layer], fired)
                      if isinstance(layer, SpikingLayer) else torch.zeros(fired.shape[2])
                      for layer, fired in zip(model.firing_layers(), spikes, strict=True)]
            total.append([each * (len(batch) / len(inputs)) for each in found])
    finally:
        for each in watched:
            each.remove()
    means = [torch.stack(each).sum(0) for each in zip(*total, strict=True)]
    weighted, firing = len(model.weighted_layers()), len(model.firing_layers())
    parts = iter(means)
    return Observed(*(tuple(itertools.islice(parts, number))
                      for number in (weighted, weighted, firing, firing)))


@torch.no_grad()
def weight_scores(model: SpikingNetwork, observed: Observed, score: Score) -> list[torch.Tensor]:
    """Return the score of each weight, shaped as the weights of each layer that has some."""
    sizes = [layer.unpruned(layer.weight).abs() for layer in model.weighted_layers()]
    if score is Score.MAGNITUDE:
        return sizes
    return [size * _exposure(layer.spec, met)
            for layer, size, met in zip(model.weighted_layers(), sizes, observed.met, strict=True)]


@torch.no_grad()
def neuron_scores(model: SpikingNetwork, observed: Observed, score: Score) -> list[torch.Tensor]:
    """Return the score of each channel, (channels,) of each layer that fires; of a merge its own.

    A merge has no weights, so that its magnitude is 0.
    """
    match score:
        case Score.ACTIVITY:
            return list(observed.largest)
        case Score.MEMBRANE:
            return list(observed.membrane)
        case Score.MAGNITUDE:
            return [_row_sums(layer) if isinstance(layer, SpikingLayer)
                    else torch.zeros(layer.spec.outputs[0]) for layer in model.firing_layers()]
        case Score.RELIEF:
            return _relief_of_neurons(model, observed)


def operations(model: SpikingNetwork, observed: Observed) -> list[float]:
    """Return the synaptic operations a sample of a weight of each layer, a mean over all places."""
    return [float(_exposure(layer.spec, events).mean())
            for layer, events in zip(model.weighted_layers(), observed.events, strict=True)]


def reads(model: SpikingNetwork, spec: LayerSpec) -> Iterator[tuple[int, slice]]:
    """Yield the layers that a layer reads, and which of the channels that it sees are theirs."""
    begin = 0
    for source in spec.sources:
        if source >= 0:
            end = begin + model.architecture.layers[source].outputs[0]
            yield source, slice(begin, end)
            begin = end


def positions(spec: LayerSpec) -> int:
    """Return how many consecutive channels a kernel makes."""
    return spec.positions if isinstance(spec, ConvSpec) else 1


def _met(layer: Synapses, source: torch.Tensor) -> torch.Tensor:
    """Return the mean size (channels, height, width) of what a layer's weights meet."""
    maps = source.flatten(0, -4).abs()
    if layer.spec.sum_pool != (1, 1):
        maps = F.avg_pool2d(maps, layer.spec.sum_pool)
    return maps.mean(0)


def _events(layer: Synapses, source: torch.Tensor) -> torch.Tensor:
    """Return the mean set bits (channels, height, width) that a layer's weights meet a sample."""
    # Bits of the input that the network does not see are 0 here.
    static = source.dim() == 4
    values = (source.abs() * (INPUT_MAX if static else 1)).round().int()
    bits = torch.stack([values >> plane & 1 for plane in range(INPUT_BITS)]).sum(0)
    maps = bits.float().mean(0) if static else bits.float().mean(1).sum(0)
    pool = layer.spec.sum_pool
    return maps if pool == (1, 1) else F.avg_pool2d(maps[None], pool)[0] * math.prod(pool)


def _block_means(layer: SpikingLayer, source: torch.Tensor, spikes: torch.Tensor) -> torch.Tensor:
    """Return the largest mean membrane of a block (channels,), in thresholds, 0 or above."""
    current, threshold = layer.current(source), layer.firing_threshold()
    soft, leak = layer.neuron.reset is Reset.SOFT, leak_factor(layer.leak_shifts())
    v = layer.neuron.v_init * threshold
    total = torch.zeros(current.shape[-3])
    for t, fired in enumerate(spikes):
        v = leak * v + (current if current.dim() == 4 else current[t])
        block = [min(BLOCK, size) for size in v.shape[-2:]]
        total += F.avg_pool2d(v, block).flatten(2).amax(2).clamp(min=0).mean(0)
        v = v - fired * threshold if soft else v * (fired == 0)
    return total / (len(spikes) * threshold)


def _exposure(spec: DenseSpec | ConvSpec, met: torch.Tensor) -> torch.Tensor:
    """Return what each weight of a layer meets in a step, shaped to go with its weights."""
    if isinstance(spec, DenseSpec):
        return met.flatten()[None]
    _, height, width = spec.outputs
    columns = F.unfold(met[None], spec.kernel, padding=spec.padding, stride=spec.stride)
    across = (met.shape[-1] + 2 * spec.padding[1] - spec.kernel[1]) // spec.stride[1] + 1
    pixels = columns.unflatten(-1, (-1, across))[..., :height, :width].flatten(-2).sum(-1)
    exposure = pixels.view(spec.groups, -1, *spec.kernel)
    if spec.depth is not None:
        moved = exposure[0].unfold(0, spec.depth, spec.step)      # positions, ..., depth
        return moved.sum(0).movedim(-1, 0)[None]
    return exposure.repeat_interleave(spec.kernels // spec.groups, 0)


def _row_sums(layer: Synapses) -> torch.Tensor:
    """Return the sum of the sizes of the weights of each channel."""
    sums = layer.unpruned(layer.weight).abs().flatten(1).sum(1)
    return sums.repeat_interleave(positions(layer.spec))


def _relief_of_neurons(model: SpikingNetwork, observed: Observed) -> list[torch.Tensor]:
    """Return the sum of the relief of all weights on each channel."""
    scores = [torch.zeros(layer.spec.outputs[0]) for layer in model.firing_layers()]
    for layer, relief in zip(model.weighted_layers(), weight_scores(model, observed, Score.RELIEF),
                             strict=True):
        if isinstance(layer.spec, ConvSpec) and layer.spec.depth is not None:
            continue                                              # what it reads stays
        for source, channels in reads(model, layer.spec):
            scores[source] += _by_channel(layer.spec, relief)[:, channels].sum((0, 2))
    return scores


def _by_channel(spec: DenseSpec | ConvSpec, weights: torch.Tensor) -> torch.Tensor:
    """Return values shaped as weights as (outputs, channels, places); of other groups 0."""
    channels, outputs = spec.source[0], len(weights)
    groups = spec.groups if isinstance(spec, ConvSpec) else 1
    parts = weights.reshape(groups, outputs // groups, channels // groups, -1)
    whole = parts.new_zeros((groups, outputs // groups, groups, *parts.shape[2:]))
    whole[torch.arange(groups), :, torch.arange(groups)] = parts
    return whole.reshape(outputs, channels, -1)
