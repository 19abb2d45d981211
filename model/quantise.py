"""Asymmetric ternary quantiser: weights become ``-a_n``, ``0`` or ``+a_p``.

The two sides have their own thresholds ``d_n, d_p`` and their own scales ``a_n, a_p``, for the
whole layer or for each output channel::

    Q(w) = +a_p  where w > d_p ;  -a_n  where w < -d_n ;  0 otherwise

Forward, weights are ternary; backward, a straight-through estimator moves the latent
full-precision weights. The rules follow published ones: ``mean`` is that of Ternary Weight Networks
made two-sided, ``max`` that of TTQ, ``learned`` the slopes of FATNN, learned scales those of TTQ.
They are not claimed to be those of ATW-SNN, whose text was not available.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

__all__ = ["Gradient", "Granularity", "QuantiserSettings", "Rule", "Scale", "TernaryCodes",
           "TernaryQuantiser", "closed_form_scales", "thresholds"]

SMALLEST = 1e-6        # thresholds, slopes and learned scales stay above it


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


class Granularity(enum.Enum):
    """What shares thresholds and scales."""

    LAYER = "layer"
    CHANNEL = "channel"        #: each output channel (row of the weight matrix)


class Gradient(enum.Enum):
    """Straight-through variants: dQ/dw."""

    IDENTITY = "identity"      #: 1
    CLIPPED = "clipped"        #: 1 where abs(w) < 1, else 0
    SCALED = "scaled"          #: a_p on the plus set, a_n on the minus set, 1 elsewhere (TTQ)


@dataclass(frozen=True)
class QuantiserSettings:
    """Choices of a `TernaryQuantiser`.

    Parameters
    ----------
    factor : float, optional
        The rule's factor; its customary value if not given. Positive; below 1 for `Rule.MAX` and
        `Rule.QUANTILE`.

    Raises
    ------
    ValueError
        If `factor` is out of range.
    """

    rule: Rule = Rule.MEAN
    factor: float | None = None
    scale: Scale = Scale.CLOSED
    granularity: Granularity = Granularity.CHANNEL
    gradient: Gradient = Gradient.IDENTITY

    def __post_init__(self):
        if self.factor is None:
            object.__setattr__(self, "factor", DEFAULT_FACTORS[self.rule])
        limit = 1.0 if self.rule in (Rule.MAX, Rule.QUANTILE) else float("inf")
        if not 0 < self.threshold_factor < limit:
            raise ValueError(f"Factor of rule {self.rule.value!r} must be above 0 and below "
                             f"{limit}, not {self.factor!r}")

    @property
    def threshold_factor(self) -> float:
        """The factor in force."""
        return DEFAULT_FACTORS[self.rule] if self.factor is None else self.factor


class TernaryCodes(NamedTuple):
    """What an export needs: signs and non-negative scales, one a channel."""

    signs: torch.Tensor            #: int8 (outputs, inputs) in {-1, 0, 1}
    scale_minus: torch.Tensor      #: (outputs,), >= 0
    scale_plus: torch.Tensor       #: (outputs,), >= 0


def thresholds(weight: torch.Tensor, settings: QuantiserSettings) -> tuple[torch.Tensor,
                                                                          torch.Tensor]:
    """Return ``d_n, d_p`` by rule, shaped (outputs, 1) or (1, 1); `Rule.LEARNED`: its start."""
    rows = _rows(weight, settings.granularity)
    factor = settings.threshold_factor
    match settings.rule:
        case Rule.MEAN | Rule.LEARNED:
            minus = -factor * _mean(rows, rows < 0)
            plus = factor * _mean(rows, rows > 0)
        case Rule.MAX:
            minus = plus = factor * rows.abs().amax(1, keepdim=True)
        case Rule.QUANTILE:
            minus = -torch.quantile(rows, (1 - factor) / 2, dim=1, keepdim=True)
            plus = torch.quantile(rows, (1 + factor) / 2, dim=1, keepdim=True)
    return minus.clamp(min=0), plus.clamp(min=0)


def closed_form_scales(weight: torch.Tensor, minus: torch.Tensor, plus: torch.Tensor,
                       granularity: Granularity) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least-squares scales ``a_n, a_p`` of the sets; 0 for an empty set.

    Parameters
    ----------
    minus, plus : bool (outputs, inputs)
        Weights that become ``-a_n`` and ``+a_p``.
    """
    rows = _rows(weight, granularity)
    return -_mean(rows, minus.reshape(rows.shape)), _mean(rows, plus.reshape(rows.shape))


class TernaryQuantiser(nn.Module):
    """Maps latent weights to ternary ones, with the parameters that its settings ask for.

    Parameters
    ----------
    weight : float (outputs, inputs)
        Initial latent weights: learned slopes and scales start from their rule's values.

    Members
    -------
    slopes : parameter (2, outputs or 1, 1) or None
        ``1 / (2 d_n), 1 / (2 d_p)`` of `Rule.LEARNED`.
    scales : parameter (2, outputs or 1, 1) or None
        ``a_n, a_p`` of `Scale.LEARNED`.
    """

    def __init__(self, settings: QuantiserSettings, weight: torch.Tensor):
        super().__init__()
        self.settings = settings
        weight = weight.detach()
        start = torch.stack(thresholds(weight, settings)).clamp(min=SMALLEST)
        learned_slopes = settings.rule is Rule.LEARNED
        self.slopes = nn.Parameter(1 / (2 * start)) if learned_slopes else None
        self.scales = None
        if settings.scale is Scale.LEARNED:
            minus, plus = weight < -start[0], weight > start[1]
            scales = closed_form_scales(weight, minus, plus, settings.granularity)
            self.scales = nn.Parameter(torch.stack(scales).clamp(min=SMALLEST))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ternary weights (outputs, inputs), differentiable by the chosen estimator.

        Gradients of the parameters: ``dL/da_p`` is the sum of ``dL/dQ`` over the plus set,
        ``dL/da_n`` minus that over the minus set (TTQ); a slope ``s_p`` gets ``a_p w`` where
        ``0 < s_p w < 1`` and ``s_n`` likewise (FATNN's clamp).
        """
        latent = weight.detach()
        minus, plus = self._sets(latent)
        scale_minus, scale_plus = self._scales(latent, minus, plus)
        value = plus * scale_plus - minus * scale_minus
        passed = [self._weight_path(weight, minus, plus, scale_minus, scale_plus)]
        if self.slopes is not None:
            ramps = (torch.clamp(latent * self.slopes[0], -1, 0) * scale_minus.detach()
                     + torch.clamp(latent * self.slopes[1], 0, 1) * scale_plus.detach())
            passed.append(ramps)
        # Adding x - x.detach() adds x's gradient and nothing to the value.
        return value + sum(path - path.detach() for path in passed)

    @torch.no_grad()
    def codes(self, weight: torch.Tensor) -> TernaryCodes:
        """Return the signs and the scales of each output channel."""
        minus, plus = self._sets(weight)
        scales = self._scales(weight, minus, plus)
        signs = plus.to(torch.int8) - minus.to(torch.int8)
        scale_minus, scale_plus = (s.expand(len(weight), 1)[:, 0].clone() for s in scales)
        return TernaryCodes(signs, scale_minus, scale_plus)

    def _sets(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the minus and the plus set."""
        if self.slopes is None:
            d_minus, d_plus = thresholds(weight, self.settings)
        else:
            d_minus, d_plus = 0.5 / self.slopes.detach().clamp(min=SMALLEST)
        return weight < -d_minus, weight > d_plus

    def _scales(self, weight: torch.Tensor, minus: torch.Tensor,
                plus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``a_n, a_p``, shaped (outputs, 1) or (1, 1)."""
        if self.scales is None:
            return closed_form_scales(weight, minus, plus, self.settings.granularity)
        scale_minus, scale_plus = self.scales.clamp(min=SMALLEST)
        return scale_minus, scale_plus

    def _weight_path(self, weight: torch.Tensor, minus: torch.Tensor, plus: torch.Tensor,
                     scale_minus: torch.Tensor, scale_plus: torch.Tensor) -> torch.Tensor:
        """Return what carries the gradient to the latent weights."""
        match self.settings.gradient:
            case Gradient.IDENTITY:
                return weight
            case Gradient.CLIPPED:
                return torch.where(weight.detach().abs() < 1, weight, weight.detach())
            case Gradient.SCALED:
                slope = torch.where(plus, scale_plus, torch.where(minus, scale_minus, 1.0))
                return weight * slope.detach()


def _rows(weight: torch.Tensor, granularity: Granularity) -> torch.Tensor:
    """Return the weights with all that shares a threshold in one row."""
    return weight if granularity is Granularity.CHANNEL else weight.reshape(1, -1)


def _mean(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return each row's mean over the chosen elements, 0 where there are none."""
    weights = chosen.to(values.dtype)          # products and sums of floats are the fast path
    return (values * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)
