"""What a training minimises: the task, what a teacher teaches, and spikes beyond a budget.

::

    task + beta * spike calibration + distillation * KL(teacher, student) + activity * excess

The second and the third part come from a teacher and are `model.calibrate`'s. Each part has a
weight in the recipe, and none is computed whose weight is 0.

The task's loss is the cross entropy of the logits, or that of every step's output:
temporal efficient training, TET, with the regularisation of its outputs ::

    (1 - k) mean over t of CE(o[t], y) + k mean over all of (o[t] - phi)^2

The excess is ours. With r, the spikes a neuron and step over the whole network, counts by their
size, it is ``max(0, r / budget - 1)^2``: nothing within the budget, and a pull towards it that
grows with the distance. Layers may share the budget as the task wants it.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model.calibrate import (
    CalibrationSettings,
    calibration_loss,
    distillation,
    stepwise_distillation,
)
from model.layers import Activity

__all__ = ["LossSettings", "Task", "excess_activity", "task_loss", "training_loss"]


class Task(enum.Enum):
    """What is compared with the labels."""

    MEAN = "mean"              #: the logits, one decision a sample
    STEPS = "steps"            #: the readout's current of each step (TET)


@dataclass(frozen=True)
class LossSettings:
    """Choices of the loss beside those of `CalibrationSettings`.

    Parameters
    ----------
    task : Task
    label_smoothing : float
        Of the cross entropy, 0..1.
    regression : float
        k of `Task.STEPS`, 0..1: how much of the loss keeps outputs near `target`.
    target : float
        phi of `Task.STEPS`.
    activity : float
        Weight of the excess over the budget, >= 0.
    budget : float
        Spikes a neuron and step, > 0.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    task: Task = Task.MEAN
    label_smoothing: float = 0.0
    regression: float = 0.05
    target: float = 1.0
    activity: float = 0.0
    budget: float = 0.1

    def __post_init__(self):
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"Label smoothing must be within 0..1, not {self.label_smoothing!r}")
        if not 0 <= self.regression <= 1:
            raise ValueError(f"Loss's regression must be within 0..1, not {self.regression!r}")
        if not math.isfinite(self.target):
            raise ValueError(f"Loss's target must be finite, not {self.target!r}")
        if not self.activity >= 0:
            raise ValueError(f"Loss's activity must not be negative, not {self.activity!r}")
        if not (self.budget > 0 and math.isfinite(self.budget)):
            raise ValueError(f"Loss's budget must be positive, not {self.budget!r}")


def task_loss(activity: Activity, labels: torch.Tensor, settings: LossSettings) -> torch.Tensor:
    """Return the loss of the task.

    Parameters
    ----------
    labels : int (samples,)
    """
    smoothing = settings.label_smoothing
    if settings.task is Task.MEAN:
        return F.cross_entropy(activity.logits.float(), labels, label_smoothing=smoothing)
    outputs = activity.outputs.float()
    # All steps have as many samples, so that the mean over both is the mean of the steps' means.
    entropy = F.cross_entropy(outputs.flatten(0, 1), labels.repeat(len(outputs)),
                              label_smoothing=smoothing)
    distance = (outputs - settings.target).square().mean()
    return (1 - settings.regression) * entropy + settings.regression * distance


def excess_activity(activity: Activity, budget: float) -> torch.Tensor:
    """Return ``max(0, r / budget - 1)^2``, r the spikes a neuron and step; 0 without neurons."""
    neurons = sum(spikes.numel() for spikes in activity.spikes)
    total = torch.zeros(())
    for spikes in activity.spikes:
        total = total + spikes.abs().sum(dtype=torch.float32)
    return F.relu(total / (max(neurons, 1) * budget) - 1).square()


def training_loss(activity: Activity, labels: torch.Tensor, settings: LossSettings,
                  calibration: CalibrationSettings, teacher: Activity | None,
                  done: float) -> torch.Tensor:
    """Return the loss of a batch.

    Parameters
    ----------
    labels : int (samples,)
    teacher : Activity or None
        What the teacher did with the same samples; None: there is none, or nothing is asked of it.
    done : float
        Share of the training that is behind, 0..1.
    """
    loss = task_loss(activity, labels, settings)
    if teacher is not None:
        if calibration.beta:
            loss = loss + calibration.beta_at(done) * calibration_loss(activity, teacher,
                                                                       calibration)
        if calibration.distillation:
            distil = stepwise_distillation if calibration.stepwise else distillation
            loss = loss + calibration.distillation * distil(activity, teacher,
                                                            calibration.temperature)
    if settings.activity:
        loss = loss + settings.activity * excess_activity(activity, settings.budget)
    return loss
