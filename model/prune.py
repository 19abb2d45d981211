"""Pruning: latent weights, or whole neurons, are masked, round by round, with training in between.

A mask lies on the full-precision weights that training moves, and holds through the ternariser: a
pruned weight is 0 in the integer network. A pruned neuron loses its weights and those that others
have on it, so that it is unread and vanishes (`model.shrink`), whatever its bias would make it do.
On a map a neuron stands for a channel.

What is kept has the highest scores. Scores of a weight w of neuron i on its input j:

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

With scope `OPERATIONS` weights compete by what they are to their layer and by what they cost. Those
with the highest ``s^2 / (k n)`` are kept, s being a weight's score, k the sum of the s^2 of its
layer that are no smaller, n the synaptic operations that a weight of the layer takes a sample. If
scores are magnitudes and inputs alike, k is the square of the current that is left when the smaller
ones are gone: so the product over the layers of what is left of their currents is the largest for
the operations that are left. Ours.

Of static inputs the lower bits can go as well: they are events like others, all of the first layer.

Rounds approach the amount by a cubic: much is pruned at first, where it costs little.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from model.architecture import ConvSpec, DenseSpec, LayerSpec, MergeSpec
from model.layers import (
    INPUT_BITS,
    INPUT_MAX,
    MergeNeurons,
    SpikingLayer,
    SpikingNetwork,
    Synapses,
    as_inputs,
)
from model.network import Reset
from model.neuron import leak_factor
from model.shrink import tied

__all__ = ["Observed", "PruningError", "PruningSettings", "Scope", "Score", "Unit", "neuron_groups",
           "neuron_scores", "observe", "prune", "weight_scores"]

BATCH = 250
BLOCK = 2                  # of membranes, either way


class PruningError(ValueError):
    """Settings of a pruning that are not possible."""


class Unit(enum.Enum):
    """What is pruned."""

    WEIGHTS = "weights"
    NEURONS = "neurons"        #: of a map: channels


class Score(enum.Enum):
    """By what; the module says how."""

    MAGNITUDE = "magnitude"
    RELIEF = "relief"
    ACTIVITY = "activity"      #: neurons only
    MEMBRANE = "membrane"      #: neurons only


class Scope(enum.Enum):
    """What competes with one another."""

    LAYER = "layer"            #: the weights, or neurons, of a layer
    GLOBAL = "global"          #: those of all layers, their scores divided by the layer's mean
    OPERATIONS = "operations"  #: the weights of all layers, those of costly layers less worth
    NEURON = "neuron"          #: the weights of a neuron


@dataclass(frozen=True)
class PruningSettings:
    """Choices of a pruning.

    Parameters
    ----------
    amount : float or None
        Share of the weights, or neurons, that is pruned in the end, above 0 and below 1.
    mass : float or None
        Instead of it, the share of the scores that is kept: in each round the fewest of those that
        are left whose scores make up so much of the sum. Above 0 and below 1.
    unit, score, scope
        What is pruned, by what, and among which.
    rounds : int
        How often some are pruned; 1: all at once.
    align : int
        A layer's neurons that are kept are a multiple of it, rounded up: the lanes of a core for
        whole tiles, its banks for whole columns of what the next layer reads.
    epochs : int
        Of training after each round.
    rate : float
        Its peak learning rate, as a share of that of the training before.
    samples : int
        Training samples on which activity is observed.
    spikes : float
        Share of its spikes that the network is trained to keep after each round, counts by their
        size, by `model.losses.excess_activity`. Above 0; 1: all, and no such loss.
    input_bits : int
        The highest bits, 1..8, of static input values that the network still reads. 8: all.

    Raises
    ------
    PruningError
        If a number is out of its range, or two choices do not go together.
    """

    amount: float | None = None
    mass: float | None = None
    unit: Unit = Unit.WEIGHTS
    score: Score = Score.MAGNITUDE
    scope: Scope = Scope.LAYER
    rounds: int = 1
    align: int = 1
    epochs: int = 5
    rate: float = 0.3
    samples: int = 1000
    spikes: float = 1.0
    input_bits: int = INPUT_BITS

    def __post_init__(self):
        if (self.amount is None) == (self.mass is None):
            raise PruningError("Pruning needs either an amount or a mass")
        for name in ("amount", "mass"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise PruningError(f"Pruning's {name} must be above 0 and below 1, not {value!r}")
        for name in ("rounds", "align", "epochs", "samples"):
            if getattr(self, name) < 1:
                raise PruningError(f"Pruning's {name} must be at least 1, not "
                                   f"{getattr(self, name)!r}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise PruningError(f"Pruning's rate must be positive, not {self.rate!r}")
        if not 0 < self.spikes <= 1:
            raise PruningError(f"Pruning's spikes must be above 0 and at most 1, not "
                               f"{self.spikes!r}")
        if not 1 <= self.input_bits <= INPUT_BITS:
            raise PruningError(f"Pruning's input_bits must be 1 to {INPUT_BITS}, not "
                               f"{self.input_bits!r}")
        if self.unit is Unit.WEIGHTS and self.score in (Score.ACTIVITY, Score.MEMBRANE):
            raise PruningError(f"Score {self.score.value!r} is one of neurons, not of weights")
        if self.unit is Unit.WEIGHTS and self.align > 1:
            raise PruningError("Pruning's align is for neurons, not for weights")
        if self.unit is Unit.NEURONS and self.scope in (Scope.NEURON, Scope.OPERATIONS):
            raise PruningError(f"Scope {self.scope.value!r} is for weights, not for neurons")

    def __str__(self) -> str:
        """Return what `parse` understands: the unit, and all that is not as by default."""
        items = [self.unit.value]
        for name, default in _OPTIONS.items():
            value = getattr(self, name)
            if value != default:
                items.append(f"{name}={value.value if isinstance(value, enum.Enum) else value}")
        return ",".join(items)

    @staticmethod
    def parse(text: str) -> PruningSettings:
        """Return the settings of ``weights,amount=0.8`` or ``neurons,mass=0.85,score=activity``.

        Raises
        ------
        PruningError
            If the text is not a unit and options, or a value is not possible.
        """
        unit, *options = text.split(",")
        units = {each.value: each for each in Unit}
        if unit not in units:
            raise PruningError(f"Pruning {text!r}: {unit!r} is none of {', '.join(units)}")
        values = {}
        for option in options:
            name, equals, value = option.partition("=")
            if not equals or name not in _OPTIONS:
                raise PruningError(f"Pruning {text!r}: {option!r} is not OPTION=VALUE; options: "
                                   f"{', '.join(_OPTIONS)}")
            kind = float if _OPTIONS[name] is None else type(_OPTIONS[name])
            try:
                values[name] = kind(value)
            except ValueError:
                raise PruningError(f"Pruning {text!r}: {name} can't be {value!r}") from None
        return PruningSettings(unit=units[unit], **values)

    @property
    def amounts(self) -> list[float | None]:
        """The amount after each round: amount (1 - (1 - n / rounds)^3); None: by mass."""
        if self.amount is None:
            return [None] * self.rounds
        return [self.amount * (1 - (1 - n / self.rounds) ** 3) for n in range(1, self.rounds + 1)]


#: What can be chosen besides the unit, and what it is if nothing is said.
_OPTIONS = {each.name: each.default for each in fields(PruningSettings) if each.name != "unit"}


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
def prune(model: SpikingNetwork, inputs: np.ndarray, settings: PruningSettings,
          amount: float | None) -> None:
    """Mask the weights, or neurons, with the lowest scores, in place; what is masked stays so.

    Input bits go before, so that scores are those without them.

    Parameters
    ----------
    inputs : uint8
        Training samples, encoded by `model.data.encode`.
    amount : float or None
        Share that is masked afterwards, one of `PruningSettings.amounts`; None: by mass.
    """
    model.input_bits = min(model.input_bits, settings.input_bits)
    observed = observe(model, inputs)
    if settings.unit is Unit.WEIGHTS:
        scores = weight_scores(model, observed, settings.score)
        # What is masked comes after all others, and adds nothing to the mass.
        scores = [score if layer.mask is None else torch.where(layer.mask > 0, score, -1)
                  for layer, score in zip(_weighted(model), scores, strict=True)]
        rows = [score if settings.scope is Scope.NEURON else score.reshape(1, -1)
                for score in (each.flatten(1) for each in scores)]
        kept = _kept(rows, settings, amount, costs=_operations(model, observed))
        for layer, each in zip(_weighted(model), kept, strict=True):
            layer.mask = each.view_as(layer.weight).to(layer.weight.dtype)
        return
    groups = neuron_groups(model.architecture.layers)
    scores = neuron_scores(model, observed, settings.score)
    alive = _alive(model)
    rows = []
    for group, size in groups:
        score = torch.stack([scores[number] for number in group]).sum(0)
        masked = ~torch.stack([alive[number] for number in group]).all(0)
        score = torch.where(masked, 0, score).view(-1, size).sum(1)
        rows.append(torch.where(masked.view(-1, size).all(1), -1, score).view(1, -1))
    # What is a multiple in channels is one in kernels that make several of them.
    multiples = [settings.align // math.gcd(settings.align, size) for _, size in groups]
    kept = _kept(rows, settings, amount, multiples)
    for (group, size), each in zip(groups, kept, strict=True):
        _mask_neurons(model, group, ~each[0].repeat_interleave(size))


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

    watched = [layer.register_forward_pre_hook(watch) for layer in _weighted(model)]
    total: list[list[torch.Tensor]] = []
    try:
        for start in range(0, len(inputs), BATCH):
            batch = inputs[start:start + BATCH]
            spikes = model(as_inputs(batch)).spikes
            found = [_met(layer, sources[layer]) for layer in _weighted(model)]
            found += [_events(layer, sources[layer]) for layer in _weighted(model)]
            found += [fired.abs().flatten(3).amax(3).mean((0, 1)) for fired in spikes]
            found += [_block_means(layer, sources[layer], fired)
                      if isinstance(layer, SpikingLayer) else torch.zeros(fired.shape[2])
                      for layer, fired in zip(model.firing_layers(), spikes, strict=True)]
            total.append([each * (len(batch) / len(inputs)) for each in found])
    finally:
        for each in watched:
            each.remove()
    means = [torch.stack(each).sum(0) for each in zip(*total, strict=True)]
    weighted, firing = len(_weighted(model)), len(model.firing_layers())
    parts = iter(means)
    return Observed(*(tuple(itertools.islice(parts, number))
                      for number in (weighted, weighted, firing, firing)))


@torch.no_grad()
def weight_scores(model: SpikingNetwork, observed: Observed, score: Score) -> list[torch.Tensor]:
    """Return the score of each weight, shaped as the weights of each layer that has some."""
    sizes = [layer.unpruned(layer.weight).abs() for layer in _weighted(model)]
    if score is Score.MAGNITUDE:
        return sizes
    return [size * _exposure(layer.spec, met)
            for layer, size, met in zip(_weighted(model), sizes, observed.met, strict=True)]


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


def neuron_groups(layers: Sequence[LayerSpec]) -> list[tuple[tuple[int, ...], int]]:
    """Return the layers whose neurons can be pruned, those that lose the same ones together.

    Layers around a convolution in groups, unless it is depthwise, and those below a 3-D kernel,
    which moves over their channels, keep all neurons.

    Returns
    -------
    list of pairs
        Numbers of layers; consecutive channels that go together, because one 3-D kernel makes them.
    """
    own, fixed = set(), {-1, len(layers) - 1}
    for number, spec in enumerate(layers):
        if isinstance(spec, MergeSpec):
            own.add(number)
        elif isinstance(spec, ConvSpec) and spec.depth is not None:
            fixed |= set(spec.sources)
        elif isinstance(spec, ConvSpec) and spec.groups > 1:
            if spec.groups == spec.kernels == spec.source[0] and len(spec.sources) == 1:
                own.add(number)
            else:
                fixed |= {number, *spec.sources}
    groups = tied([spec.sources for spec in layers], own, fixed)
    return [(group, max(_positions(layers[number]) for number in group)) for group in groups]


def _kept(scores: list[torch.Tensor], settings: PruningSettings, amount: float | None,
          multiples: Sequence[int] = (), costs: Sequence[float] = ()) -> list[torch.Tensor]:
    """Return which of the scores (rows, columns) of each layer are kept, bool of the same shapes.

    Each row chooses for itself, or all rows of all layers together. Scores below 0 are masked
    already, and not kept. With multiples, each layer keeps one of its own that is not 0. Scope
    `OPERATIONS` asks what a weight of each layer costs.
    """
    if settings.scope in (Scope.GLOBAL, Scope.OPERATIONS):
        worth = ([_by_operations(score, cost) for score, cost in zip(scores, costs, strict=True)]
                 if settings.scope is Scope.OPERATIONS else [_by_mean(score) for score in scores])
        joined = torch.cat([each.flatten() for each in worth])[None]
        chosen = _highest(joined, _numbers(joined, settings, amount))[0]
        numbers = [part.sum().view(1)
                   for part in chosen.split([score.numel() for score in scores])]
    else:
        numbers = [_numbers(score, settings, amount) for score in scores]
    if multiples:
        numbers = [(number.clamp(min=1) + multiple - 1) // multiple * multiple
                   for number, multiple in zip(numbers, multiples, strict=True)]
    return [_highest(score, number) & (score >= 0)
            for score, number in zip(scores, numbers, strict=True)]


def _by_mean(scores: torch.Tensor) -> torch.Tensor:
    """Return scores divided by the mean of those that are not masked."""
    mean = scores.clamp(min=0).sum() / (scores >= 0).sum().clamp(min=1)
    return scores / mean.clamp(min=1e-12)


def _by_operations(scores: torch.Tensor, cost: float) -> torch.Tensor:
    """Return ``s^2 / (k n)`` of a row of scores, n being the cost; what is masked stays below 0."""
    ordered = scores.double().sort(dim=1, descending=True, stable=True)
    squares = ordered.values.clamp(min=0).square()
    worth = squares / (squares.cumsum(1) * cost).clamp(min=1e-30)
    worth = worth.where(ordered.values >= 0, -1)
    return torch.empty_like(worth).scatter_(1, ordered.indices, worth)


def _numbers(scores: torch.Tensor, settings: PruningSettings, amount: float | None,
             ) -> torch.Tensor:
    """Return how many of each row are kept, int64 (rows,)."""
    columns = scores.shape[1]
    if amount is not None:
        return torch.full((len(scores),), columns - round(amount * columns))
    assert settings.mass is not None
    shares = scores.double().clamp(min=0).sort(1, descending=True).values.cumsum(1)
    # The fewest that reach it; of a row of zeros none.
    short = (shares < settings.mass * shares[:, -1:]).sum(1)
    return torch.where(shares[:, -1] > 0, short + 1, 0)


def _highest(scores: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Return which of each row are its so many highest, the first ones of equal ones; bool."""
    order = scores.sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(scores.shape[1]).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places) < numbers[:, None]


def _weighted(model: SpikingNetwork) -> list[Synapses]:
    """Return the layers that have weights, the readout last."""
    return [*model.spiking_layers(), model.readout]


def _positions(spec: LayerSpec) -> int:
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


def _operations(model: SpikingNetwork, observed: Observed) -> list[float]:
    """Return the synaptic operations a sample of a weight of each layer, a mean over all places."""
    return [float(_exposure(layer.spec, events).mean())
            for layer, events in zip(_weighted(model), observed.events, strict=True)]


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
    return sums.repeat_interleave(_positions(layer.spec))


def _relief_of_neurons(model: SpikingNetwork, observed: Observed) -> list[torch.Tensor]:
    """Return the sum of the relief of all weights on each channel."""
    scores = [torch.zeros(layer.spec.outputs[0]) for layer in model.firing_layers()]
    for layer, relief in zip(_weighted(model), weight_scores(model, observed, Score.RELIEF),
                             strict=True):
        if isinstance(layer.spec, ConvSpec) and layer.spec.depth is not None:
            continue                                              # what it reads stays
        for source, channels in _reads(model, layer.spec):
            scores[source] += _by_channel(layer.spec, relief)[:, channels].sum((0, 2))
    return scores


def _reads(model: SpikingNetwork, spec: LayerSpec) -> Iterator[tuple[int, slice]]:
    """Yield the layers that a layer reads, and which of the channels that it sees are theirs."""
    begin = 0
    for source in spec.sources:
        if source >= 0:
            end = begin + model.architecture.layers[source].outputs[0]
            yield source, slice(begin, end)
            begin = end


def _by_channel(spec: DenseSpec | ConvSpec, weights: torch.Tensor) -> torch.Tensor:
    """Return values shaped as weights as (outputs, channels, places); of other groups 0."""
    channels, outputs = spec.source[0], len(weights)
    groups = spec.groups if isinstance(spec, ConvSpec) else 1
    parts = weights.reshape(groups, outputs // groups, channels // groups, -1)
    whole = parts.new_zeros((groups, outputs // groups, groups, *parts.shape[2:]))
    whole[torch.arange(groups), :, torch.arange(groups)] = parts
    return whole.reshape(outputs, channels, -1)


def _alive(model: SpikingNetwork) -> list[torch.Tensor]:
    """Return which channels of each layer that fires have weights that are not masked; bool."""
    return [torch.ones(layer.spec.outputs[0], dtype=torch.bool)
            if isinstance(layer, MergeNeurons) or layer.mask is None
            else layer.mask.flatten(1).any(1).repeat_interleave(_positions(layer.spec))
            for layer in model.firing_layers()]


def _mask_neurons(model: SpikingNetwork, group: tuple[int, ...], gone: torch.Tensor) -> None:
    """Mask all weights of the channels (channels,) of a group of layers, and all on them."""
    for number, layer in enumerate([*model.firing_layers(), model.readout]):
        if isinstance(layer, MergeNeurons):
            continue
        mask = torch.ones_like(layer.weight) if layer.mask is None else layer.mask.clone()
        if number in group:
            mask[gone.view(-1, _positions(layer.spec))[:, 0]] = 0
        if isinstance(layer.spec, ConvSpec) and layer.spec.groups > 1:
            # Depthwise: its own channels are gone.
            layer.mask = mask
            continue
        for source, channels in _reads(model, layer.spec):
            if source in group:
                places = mask.view(len(mask), layer.spec.source[0], -1)
                places[:, channels][:, gone] = 0
        layer.mask = mask
