"""Spike calibration: a frozen full-precision network teaches its ternary twin how to spike.

The ternary network's loss is::

    task + beta * mean over layers of (1 - cos(r, r_teacher)) + distillation * KL(teacher, student)

``r`` is a layer's firing-rate map of one sample (its spikes averaged over time), or its full spike
map, counts as they are. The cosine ignores scale, so it does not fight the quantiser's scales. This
is the closest formulation to what the abstract of ATW-SNN describes; its text was not available.

Distillation compares the logits, or the outputs of each step (step-wise distillation, HSD).

A teacher may have a multiple of its student's steps. Where steps are compared, each of the student
sees the mean of as many of the teacher's. That is ours.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model.layers import Activity

__all__ = ["CalibrationSettings", "Layers", "calibration_loss", "cosine_distance", "distillation",
           "stepwise_distillation"]


class Layers(enum.Enum):
    """Which spiking layers are compared."""

    ALL = "all"
    LAST = "last"


@dataclass(frozen=True)
class CalibrationSettings:
    """Choices of the calibration; `beta` = 0 and `distillation` = 0 switch the parts off.

    Parameters
    ----------
    beta : float
        Weight of the spike calibration loss, >= 0.
    warmup : float
        Share of the training, 0..1, over which `beta` rises linearly from 0.
    layers : Layers
    per_step : bool
        Compare the spikes of each step instead of rates.
    distillation : float
        Weight of the distillation, >= 0.
    stepwise : bool
        Distil the outputs of each step instead of the logits.
    temperature : float
        Of the distillation, > 0.
    warm_start : bool
        Whether the ternary network starts from the teacher's parameters.
    """

    beta: float = 1.0
    warmup: float = 0.1
    layers: Layers = Layers.ALL
    per_step: bool = False
    distillation: float = 1.0
    stepwise: bool = False
    temperature: float = 2.0
    warm_start: bool = True

    def __post_init__(self):
        for name in ("beta", "distillation"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Calibration's {name} must not be negative, "
                                 f"not {getattr(self, name)!r}")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"Calibration's warmup must be within 0..1, not {self.warmup!r}")
        if not self.temperature > 0:
            raise ValueError(f"Calibration's temperature must be positive, "
                             f"not {self.temperature!r}")

    def beta_at(self, progress: float) -> float:
        """Return beta after a share of the training, 0..1."""
        return self.beta if progress >= self.warmup else self.beta * progress / self.warmup

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher's activity is used during training."""
        return self.beta > 0 or self.distillation > 0


def cosine_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return 1 - cos of the angle between the rows of maps.

    Defined everywhere: 0 where both rows are silent, 1 where only one is (no gradient flows then).

    Parameters
    ----------
    a, b : float (samples, features)

    Returns
    -------
    float (samples,), 0..1, or 0..2 if there are negative features
    """
    norms = a.norm(dim=1) * b.norm(dim=1)
    silent = norms == 0
    distance = 1 - (a * b).sum(1) / torch.where(silent, 1.0, norms)
    both = ~(a.detach().any(1) | b.detach().any(1))
    return torch.where(silent, torch.where(both, 0.0, 1.0), distance)


def calibration_loss(student: Activity, teacher: Activity,
                     settings: CalibrationSettings) -> torch.Tensor:
    """Return the mean cosine distance of the spike distributions over samples and layers."""
    pairs = list(zip(student.spikes, teacher.spikes, strict=True))
    if settings.layers is Layers.LAST:
        pairs = pairs[-1:]
    total = torch.zeros(())
    for ours, theirs in pairs:
        if settings.per_step:
            theirs = _matched(theirs, len(ours))
        total = total + cosine_distance(_distribution(ours, settings.per_step),
                                        _distribution(theirs, settings.per_step)).mean()
    return total / max(len(pairs), 1)


def distillation(student: Activity, teacher: Activity, temperature: float) -> torch.Tensor:
    """Return ``T^2 KL(softmax(teacher / T), softmax(student / T))``, averaged over samples."""
    return _divergence(student.logits, teacher.logits, temperature)


def stepwise_distillation(student: Activity, teacher: Activity, temperature: float) -> torch.Tensor:
    """Return the same of the outputs of each step, averaged over samples and steps (HSD)."""
    targets = _matched(teacher.outputs, len(student.outputs))
    return _divergence(student.outputs.flatten(0, 1), targets.flatten(0, 1), temperature)


def _divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the divergence of logits (rows, classes) at a temperature, averaged over the rows."""
    return temperature**2 * F.kl_div(F.log_softmax(student / temperature, 1),
                                     F.log_softmax(teacher / temperature, 1),
                                     reduction="batchmean", log_target=True)


def _matched(teacher: torch.Tensor, steps: int) -> torch.Tensor:
    """Return what a teacher did, averaged over windows of as many steps as a student has."""
    return teacher if len(teacher) == steps else teacher.unflatten(0, (steps, -1)).mean(1)


def _distribution(spikes: torch.Tensor, per_step: bool) -> torch.Tensor:
    """Return the map of each sample (samples, features)."""
    return (spikes.transpose(0, 1) if per_step else spikes.mean(0)).flatten(1)
