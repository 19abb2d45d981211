"""Quantisers of weights: asymmetric ternary, ``-a_n``, ``0`` or ``+a_p``, and b-bit ones beside it.

The two sides have their own thresholds ``d_n, d_p`` and their own scales ``a_n, a_p``, for the
whole layer or for each output channel; or they share them (`Symmetry`)::

    Q(w) = +a_p  where w > d_p ;  -a_n  where w < -d_n ;  0 otherwise

Forward, weights are ternary; backward, a straight-through estimator moves the latent
full-precision weights. The rules follow published ones: ``mean`` is that of Ternary Weight Networks
made two-sided, ``max`` that of TTQ, TW-SNN and SpQuant-SNN, ``quantile`` that of "Revisiting TNN",
``learned`` the slopes of FATNN, learned scales those of TTQ, powers of two those of Q-SNN made
two-sided. They are not claimed to be those of ATW-SNN, whose text was not available.

Weights of b bits with a learned step (`StepSettings`) are there to be compared with. They train and
are evaluated in floating point; the machine is ternary, and `model.fold` refuses them.
`make_quantiser` turns either settings into what quantises.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

__all__ = ["Gradient", "Granularity", "QuantiserSettings", "Rule", "Scale", "StepQuantiser",
           "StepSettings", "Symmetry", "TernaryCodes", "TernaryQuantiser", "WeightQuantiser",
           "WeightSettings", "closed_form_scales", "describe", "make_quantiser", "thresholds"]

SMALLEST = 1e-6        # thresholds, slopes, learned scales and deviations stay above it
MAX_BITS = 8
TANH_HEIGHT = 10.0     # k and t of `Gradient.TANH`
TANH_SLOPE = 0.2


class Rule(enum.Enum):
    """How the thresholds follow from the weights; `factor` is the number in brackets."""

    MEAN = "mean"              #: factor (0.7) x the mean of the positive / of the negative weights
    MAX = "max"                #: factor (0.05) x the largest absolute weight, on both sides
    QUANTILE = "quantile"      #: factor (1/3) of all weights is zero, the rest split evenly
    LEARNED = "learned"        #: slopes 1 / 2d are parameters, starting from `MEAN` with factor


DEFAULT_FACTORS = {Rule.MEAN: 0.7, Rule.MAX: 0.05, Rule.QUANTILE: 1 / 3, Rule.LEARNED: 0.7}


class Scale(enum.Enum):
    """Where the two scales come from."""

    CLOSED = "closed"          #: least squares: the mean of the weights that are kept
    LEARNED = "learned"        #: parameters, starting from the closed form (TTQ)
    POWER = "power"            #: the closed form, rounded to a power of two (Q-SNN)


class Symmetry(enum.Enum):
    """What the plus and the minus side have in common."""

    NONE = "none"              #: each side has a threshold and a scale of its own
    SCALE = "scale"            #: one scale (SpQuant-SNN, "Revisiting TNN")
    ALL = "all"                #: one threshold, too, by the rule for absolute weights (TWN)


class Granularity(enum.Enum):
    """What shares thresholds and scales."""

    LAYER = "layer"
    CHANNEL = "channel"        #: each output channel (row of the weight matrix)


class Gradient(enum.Enum):
    """Straight-through variants: dQ/dw."""

    IDENTITY = "identity"      #: 1 (SpQuant-SNN)
    CLIPPED = "clipped"        #: 1 where abs(w) < 1, else 0 (TW-SNN)
    SCALED = "scaled"          #: a_p on the plus set, a_n on the minus set, 1 elsewhere (TTQ)
    RAMP = "ramp"              #: a_p / 2d_p where 0 <= w < 2d_p, likewise below 0, else 0 (FATNN)
    TANH = "tanh"              #: k t (1 - tanh(t w)^2), k = 10, t = 0.2 (Q-SNN, which anneals it)


@dataclass(frozen=True)
class QuantiserSettings:
    """Choices of a `TernaryQuantiser`.

    Parameters
    ----------
    rule, scale, symmetry, granularity, gradient
        See the classes.
    factor : float, optional
        The rule's factor; its customary value if not given. Positive; below 1 for `Rule.MAX` and
        `Rule.QUANTILE`.
    normalise : bool
        Whether weights are first brought to mean 0 and deviation 1, over all that share a
        threshold (Q-SNN, TaWQ). The gradient passes through that, too.

    Raises
    ------
    ValueError
        If `factor` is out of range.
    """

    rule: Rule = Rule.MEAN
    factor: float | None = None
    scale: Scale = Scale.CLOSED
    symmetry: Symmetry = Symmetry.NONE
    granularity: Granularity = Granularity.CHANNEL
    gradient: Gradient = Gradient.IDENTITY
    normalise: bool = False

    def __post_init__(self):
        limit = 1.0 if self.rule in (Rule.MAX, Rule.QUANTILE) else float("inf")
        if not 0 < self.threshold_factor < limit:
            raise ValueError(f"Factor of rule {self.rule.value!r} must be above 0 and below "
                             f"{limit}, not {self.factor!r}")

    @property
    def threshold_factor(self) -> float:
        """The factor in force."""
        return DEFAULT_FACTORS[self.rule] if self.factor is None else self.factor


@dataclass(frozen=True)
class StepSettings:
    """Choices of a `StepQuantiser`.

    Parameters
    ----------
    bits : int
        Of a weight, 2..8.
    granularity : Granularity
        What shares a step.

    Raises
    ------
    ValueError
        If `bits` is out of range.
    """

    bits: int
    granularity: Granularity = Granularity.LAYER

    def __post_init__(self):
        if not 2 <= self.bits <= MAX_BITS:
            raise ValueError(f"Weights must have 2 to {MAX_BITS} bits, not {self.bits!r}")


#: Ternary weights, or b-bit ones.
WeightSettings = QuantiserSettings | StepSettings


class TernaryCodes(NamedTuple):
    """What an export needs: signs and non-negative scales, one a channel."""

    signs: torch.Tensor            #: int8 (outputs, inputs) in {-1, 0, 1}
    scale_minus: torch.Tensor      #: (outputs,), >= 0
    scale_plus: torch.Tensor       #: (outputs,), >= 0


def thresholds(weight: torch.Tensor, settings: QuantiserSettings) -> tuple[torch.Tensor,
                                                                          torch.Tensor]:
    """Return ``d_n, d_p`` by rule, shaped (outputs, 1) or (1, 1); `Rule.LEARNED`: its start.

    Parameters
    ----------
    weight : float (outputs, inputs)
        Normalised already, if the settings say so.
    """
    rows = _rows(weight, settings.granularity)
    factor = settings.threshold_factor
    if settings.symmetry is Symmetry.ALL:
        size = rows.abs()
        match settings.rule:
            case Rule.MEAN | Rule.LEARNED:
                both = factor * size.mean(1, keepdim=True)
            case Rule.MAX:
                both = factor * size.amax(1, keepdim=True)
            case Rule.QUANTILE:
                both = torch.quantile(size, factor, dim=1, keepdim=True)
        return both, both
    match settings.rule:
        case Rule.MEAN | Rule.LEARNED:
            minus = -factor * _mean(rows, _set(torch.lt, rows, 0))
            plus = factor * _mean(rows, _set(torch.gt, rows, 0))
        case Rule.MAX:
            minus = plus = factor * rows.abs().amax(1, keepdim=True)
        case Rule.QUANTILE:
            minus = -torch.quantile(rows, (1 - factor) / 2, dim=1, keepdim=True)
            plus = torch.quantile(rows, (1 + factor) / 2, dim=1, keepdim=True)
    return minus.clamp(min=0), plus.clamp(min=0)


def closed_form_scales(weight: torch.Tensor, minus: torch.Tensor, plus: torch.Tensor,
                       granularity: Granularity, *,
                       shared: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least-squares scales ``a_n, a_p`` of the sets; 0 for an empty set.

    Parameters
    ----------
    minus, plus : float or bool (outputs, inputs)
        1 where weights become ``-a_n``, and where ``+a_p``.
    shared : bool
        Whether both scales are the same, the best for both sets together.
    """
    rows = _rows(weight, granularity)
    minus, plus = minus.reshape(rows.shape), plus.reshape(rows.shape)
    if shared:
        both = _mean(rows.abs(), minus + plus)
        return both, both
    return -_mean(rows, minus), _mean(rows, plus)


class TernaryQuantiser(nn.Module):
    """Maps latent weights to ternary ones, with the parameters that its settings ask for.

    Parameters
    ----------
    weight : float (outputs, inputs)
        Initial latent weights: learned slopes and scales start from their rule's values.

    Members
    -------
    slopes : parameter (2, outputs or 1, 1) or None
        ``1 / (2 d_n), 1 / (2 d_p)`` of `Rule.LEARNED`; (1, ...) where both sides share them.
    scales : parameter (2, outputs or 1, 1) or None
        ``a_n, a_p`` of `Scale.LEARNED`; (1, ...) where both sides share them.
    """

    def __init__(self, settings: QuantiserSettings, weight: torch.Tensor):
        super().__init__()
        self.settings = settings
        weight = self._prepared(weight.detach())
        start = torch.stack(thresholds(weight, settings)).clamp(min=SMALLEST)
        self.slopes = self.scales = None
        if settings.rule is Rule.LEARNED:
            sides = 1 if settings.symmetry is Symmetry.ALL else 2
            self.slopes = nn.Parameter(1 / (2 * start[:sides]))
        if settings.scale is Scale.LEARNED:
            minus, plus = weight < -start[0], weight > start[1]
            scales = torch.stack(self._closed_scales(weight, minus, plus)).clamp(min=SMALLEST)
            self.scales = nn.Parameter(scales[:1 if self._one_scale else 2])

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        return f"{self.settings}"

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ternary weights (outputs, inputs), differentiable by the chosen estimator.

        Gradients of the parameters: ``dL/da_p`` is the sum of ``dL/dQ`` over the plus set,
        ``dL/da_n`` minus that over the minus set (TTQ); a slope ``s_p`` gets ``a_p w`` where
        ``0 < s_p w < 1`` and ``s_n`` likewise (FATNN's clamp). What both sides share gets both.
        """
        weight = self._prepared(weight)
        latent = weight.detach()
        minus, plus = self._sets(latent)
        scale_minus, scale_plus = self._scales(latent, minus, plus)
        value = plus * scale_plus - minus * scale_minus
        passed = [self._weight_path(weight, minus, plus, scale_minus, scale_plus)]
        if self.slopes is not None:
            slopes = self.slopes.expand(2, -1, -1)
            ramps = (torch.clamp(latent * slopes[0], -1, 0) * scale_minus.detach()
                     + torch.clamp(latent * slopes[1], 0, 1) * scale_plus.detach())
            passed.append(ramps)
        for path in passed:
            value = _WithGradient.apply(value, path)
        return value

    @torch.no_grad()
    def codes(self, weight: torch.Tensor) -> TernaryCodes:
        """Return the signs and the scales of each output channel."""
        weight = self._prepared(weight)
        minus, plus = self._sets(weight)
        scales = self._scales(weight, minus, plus)
        signs = plus.to(torch.int8) - minus.to(torch.int8)
        scale_minus, scale_plus = (s.expand(len(weight), 1)[:, 0].clone() for s in scales)
        return TernaryCodes(signs, scale_minus, scale_plus)

    @property
    def _one_scale(self) -> bool:
        """Whether both sides have the same scale."""
        return self.settings.symmetry is not Symmetry.NONE

    def _prepared(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights as they are compared with the thresholds."""
        if not self.settings.normalise:
            return weight
        rows = _rows(weight, self.settings.granularity)
        variance = rows.var(1, correction=0, keepdim=True).clamp(min=SMALLEST**2)
        return ((rows - rows.mean(1, keepdim=True)) / variance.sqrt()).view_as(weight)

    def _thresholds(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``d_n, d_p`` in force, without gradients."""
        if self.slopes is None:
            return thresholds(weight, self.settings)
        d_minus, d_plus = 0.5 / self.slopes.detach().clamp(min=SMALLEST).expand(2, -1, -1)
        return d_minus, d_plus

    def _sets(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the minus and the plus set, 1 where a weight is in it."""
        d_minus, d_plus = self._thresholds(weight)
        return _set(torch.lt, weight, -d_minus), _set(torch.gt, weight, d_plus)

    def _closed_scales(self, weight: torch.Tensor, minus: torch.Tensor,
                       plus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the least-squares scales, for each side or for both."""
        return closed_form_scales(weight, minus, plus, self.settings.granularity,
                                  shared=self._one_scale)

    def _scales(self, weight: torch.Tensor, minus: torch.Tensor,
                plus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``a_n, a_p``, shaped (outputs, 1) or (1, 1)."""
        if self.scales is None:
            scale_minus, scale_plus = self._closed_scales(weight, minus, plus)
            if self.settings.scale is Scale.POWER:
                return _power_of_two(scale_minus), _power_of_two(scale_plus)
            return scale_minus, scale_plus
        scale_minus, scale_plus = self.scales.clamp(min=SMALLEST).expand(2, -1, -1)
        return scale_minus, scale_plus

    def _weight_path(self, weight: torch.Tensor, minus: torch.Tensor, plus: torch.Tensor,
                     scale_minus: torch.Tensor, scale_plus: torch.Tensor) -> torch.Tensor:
        """Return what carries the gradient to the latent weights."""
        latent = weight.detach()
        match self.settings.gradient:
            case Gradient.IDENTITY:
                return weight
            case Gradient.CLIPPED:
                return torch.where(latent.abs() < 1, weight, latent)
            case Gradient.SCALED:
                slope = torch.where(plus > 0, scale_plus,
                                    torch.where(minus > 0, scale_minus, 1.0))
            case Gradient.RAMP:
                d_minus, d_plus = (2 * d.clamp(min=SMALLEST) for d in self._thresholds(latent))
                slope = torch.where(latent < 0, (latent > -d_minus) * scale_minus / d_minus,
                                    (latent < d_plus) * scale_plus / d_plus)
            case Gradient.TANH:
                slope = TANH_HEIGHT * TANH_SLOPE * (1 - torch.tanh(TANH_SLOPE * latent) ** 2)
        return weight * slope.detach()


class _WithGradient(torch.autograd.Function):
    """A value that hands its gradient on to another tensor of its shape, too."""

    @staticmethod
    def forward(ctx, value, other):
        return value.view_as(value)

    @staticmethod
    def backward(ctx, *grad_outputs):
        return grad_outputs[0], grad_outputs[0]


class StepQuantiser(nn.Module):
    """Maps latent weights to b-bit multiples of a learned step.

    ``Q(w) = s round(clamp(w / s, -Q_n, Q_p))``, ``Q_n = 2^(b-1)``, ``Q_p = Q_n - 1``, with the
    gradients of Learned Step Size Quantisation (LSQ): dQ/dw is 1 inside the range and 0 outside;
    dQ/ds is ``round(w / s) - w / s`` inside and the range's end outside, times ``1 / sqrt(n Q_p)``
    for n weights that share the step. A step starts from ``2 mean(abs(w)) / sqrt(Q_p)``.

    Parameters
    ----------
    weight : float (outputs, inputs)
        Initial latent weights.

    Members
    -------
    relative_step : parameter (outputs or 1, 1)
        The step as a multiple of its start, so that an optimiser whose moves have a size of their
        own, as Adam's do, moves small and large steps alike. That is ours.
    """

    start: torch.Tensor

    def __init__(self, settings: StepSettings, weight: torch.Tensor):
        super().__init__()
        self.settings = settings
        self.lowest, self.highest = -(1 << settings.bits - 1), (1 << settings.bits - 1) - 1
        size = _rows(weight.detach(), settings.granularity).abs().mean(1, keepdim=True)
        self.register_buffer("start", (2 * size / self.highest**0.5).clamp(min=SMALLEST))
        self.relative_step = nn.Parameter(torch.ones_like(self.start))

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        return f"{self.settings}"

    def step(self) -> torch.Tensor:
        """Return the step in force, > 0, (outputs, 1) or (1, 1)."""
        return self.start * self.relative_step.clamp(min=SMALLEST)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return b-bit weights (outputs, inputs), differentiable as LSQ says."""
        step = self.step()
        sharing = weight.numel() / step.numel()
        step = _scaled_gradient(step, (sharing * self.highest) ** -0.5)
        inside = torch.clamp(weight / step, self.lowest, self.highest)
        return (inside + (inside.round() - inside).detach()) * step


#: What quantises the weights of a layer.
WeightQuantiser = TernaryQuantiser | StepQuantiser


def make_quantiser(settings: WeightSettings, weight: torch.Tensor) -> WeightQuantiser:
    """Return the quantiser of these settings for initial latent weights (outputs, inputs)."""
    if isinstance(settings, StepSettings):
        return StepQuantiser(settings, weight)
    return TernaryQuantiser(settings, weight)


def describe(settings: WeightSettings | None) -> str:
    """Return what weights of these settings are, as in "weights are ternary"."""
    match settings:
        case None:
            return "full precision"
        case StepSettings():
            return f"{settings.bits} bits wide"
        case QuantiserSettings():
            return "ternary"


def _scaled_gradient(value: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the value as it is, with so many times its gradient."""
    return value.detach() + (value - value.detach()) * factor


def _power_of_two(scale: torch.Tensor) -> torch.Tensor:
    """Return the nearest power of two by its logarithm; 0 stays 0."""
    return torch.where(scale > 0, scale.clamp(min=SMALLEST).log2().round().exp2(), 0.0)


def _rows(weight: torch.Tensor, granularity: Granularity) -> torch.Tensor:
    """Return the weights with all that shares a threshold in one row."""
    return weight if granularity is Granularity.CHANNEL else weight.reshape(1, -1)


def _set(compare: Callable[..., torch.Tensor], values: torch.Tensor,
         limit: torch.Tensor | float) -> torch.Tensor:
    """Return 1 where a comparison with the limit holds, else 0, as the values' own type.

    Comparing, multiplying and adding up floats is several times as fast as with bools between.
    """
    return compare(values, limit, out=torch.empty_like(values))


def _mean(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return each row's mean over the chosen elements, 0 where there are none."""
    weights = chosen.to(values.dtype)
    return (values * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)
