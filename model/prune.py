"""Pruning: latent weights, or whole neurons, are masked, round by round, with training in between.

A mask lies on the full-precision weights that training moves, and holds through the ternariser: a
pruned weight is 0 in the integer network. A pruned neuron loses its weights and those that others
have on it, so that it is unread and vanishes (`model.shrink`), whatever its bias would make it do.
On a map a neuron stands for a channel. What is kept has the highest scores (`model.importance`).

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
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from model.architecture import ConvSpec, LayerSpec, MergeSpec
from model.importance import (
    Score,
    neuron_scores,
    observe,
    operations,
    positions,
    reads,
    weight_scores,
)
from model.layers import INPUT_BITS, MergeNeurons, SpikingNetwork
from model.shrink import tied

__all__ = ["PruningError", "PruningSettings", "Scope", "Unit", "neuron_groups", "prune"]


class PruningError(ValueError):
    """Settings of a pruning that are not possible."""


class Unit(enum.Enum):
    """What is pruned."""

    WEIGHTS = "weights"
    NEURONS = "neurons"        #: of a map: channels


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
                  for layer, score in zip(model.weighted_layers(), scores, strict=True)]
        rows = [score if settings.scope is Scope.NEURON else score.reshape(1, -1)
                for score in (each.flatten(1) for each in scores)]
        kept = _kept(rows, settings, amount, costs=operations(model, observed))
        for layer, each in zip(model.weighted_layers(), kept, strict=True):
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
    return [(group, max(positions(layers[number]) for number in group)) for group in groups]


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


def _alive(model: SpikingNetwork) -> list[torch.Tensor]:
    """Return which channels of each layer that fires have weights that are not masked; bool."""
    return [torch.ones(layer.spec.outputs[0], dtype=torch.bool)
            if isinstance(layer, MergeNeurons) or layer.mask is None
            else layer.mask.flatten(1).any(1).repeat_interleave(positions(layer.spec))
            for layer in model.firing_layers()]


def _mask_neurons(model: SpikingNetwork, group: tuple[int, ...], gone: torch.Tensor) -> None:
    """Mask all weights of the channels (channels,) of a group of layers, and all on them."""
    for number, layer in enumerate([*model.firing_layers(), model.readout]):
        if isinstance(layer, MergeNeurons):
            continue
        mask = torch.ones_like(layer.weight) if layer.mask is None else layer.mask.clone()
        if number in group:
            mask[gone.view(-1, positions(layer.spec))[:, 0]] = 0
        if isinstance(layer.spec, ConvSpec) and layer.spec.groups > 1:
            # Depthwise: its own channels are gone.
            layer.mask = mask
            continue
        for source, channels in reads(model, layer.spec):
            if source in group:
                places = mask.view(len(mask), layer.spec.source[0], -1)
                places[:, channels][:, gone] = 0
        layer.mask = mask
