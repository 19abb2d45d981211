"""The losses beside the calibration, on numbers small enough to work out, and their sum."""

import math

import pytest
import torch
import torch.nn.functional as F

from model.calibrate import (
    CalibrationSettings,
    calibration_loss,
    distillation,
    stepwise_distillation,
)
from model.layers import Activity
from model.losses import LossSettings, Task, excess_activity, task_loss, training_loss

#: Two steps, one sample, two classes: odds of 3 to 1, then of 1 to 3.
OUTPUTS = torch.tensor([[[math.log(3.0), 0.0]], [[0.0, math.log(3.0)]]])
FIRST = torch.tensor([0])


def activity(outputs: torch.Tensor = OUTPUTS, *spikes: torch.Tensor) -> Activity:
    """Return an activity whose logits are the mean of its outputs."""
    return Activity(outputs.mean(0), outputs, spikes)


def test_cross_entropy_of_the_mean():
    """Both classes are as likely: ln 2."""
    assert task_loss(activity(), FIRST, LossSettings()).item() == pytest.approx(math.log(2))


def test_cross_entropy_of_the_steps():
    """Probabilities 3/4 and 1/4; outputs ln 3 and 0 twice, away from a target of 0.5."""
    settings = LossSettings(task=Task.STEPS, regression=0.2, target=0.5)
    entropy = -(math.log(0.75) + math.log(0.25)) / 2
    distance = ((math.log(3) - 0.5) ** 2 + 0.25) / 2
    found = task_loss(activity(), FIRST, settings).item()
    assert found == pytest.approx(0.8 * entropy + 0.2 * distance)


def test_steps_and_mean_are_one_where_all_steps_are_equal():
    torch.manual_seed(1)
    outputs, labels = torch.randn(5, 3).expand(4, 5, 3), torch.tensor([0, 2, 1, 1, 0])
    losses = [task_loss(activity(outputs), labels,
                        LossSettings(task=task, regression=0, label_smoothing=0.1))
              for task in Task]
    torch.testing.assert_close(*losses)
    expected = F.cross_entropy(outputs[0], labels, label_smoothing=0.1)
    torch.testing.assert_close(losses[0], expected)


def test_labels_belong_to_their_samples():
    """The class of sample n is n; a loss that mixes samples and steps is not near 0."""
    outputs = 20 * torch.eye(3).expand(4, 3, 3)
    settings = LossSettings(task=Task.STEPS, regression=0)
    assert task_loss(activity(outputs), torch.arange(3), settings).item() < 1e-6


def test_excess_over_the_budget():
    """4 spikes of 16 neurons and steps, 2 of them in a count, and 3 of 4: r = 0.35."""
    counts = torch.zeros(2, 2, 4, 1, 1)
    counts[0, 0, 0] = 2
    counts[1, 1, :2] = -1
    others = torch.tensor([1.0, 1, 1, 0]).view(2, 2, 1, 1, 1)
    busy = activity(OUTPUTS, counts, others)
    assert excess_activity(busy, 0.25).item() == pytest.approx((0.35 / 0.25 - 1) ** 2)
    assert excess_activity(busy, 0.35).item() == pytest.approx(0, abs=1e-6)
    assert excess_activity(busy, 0.5).item() == 0
    assert excess_activity(activity(), 0.5).item() == 0


def test_gradient_of_the_excess():
    """2 (r / budget - 1) / (budget n) for each of n spikes, with the sign of the spike."""
    spikes = torch.tensor([2.0, -1, 0, 1]).view(1, 1, 4, 1, 1).requires_grad_()
    excess_activity(activity(OUTPUTS, spikes), 0.5).backward()
    assert spikes.grad is not None
    torch.testing.assert_close(spikes.grad.flatten(), 2 * 1 / (0.5 * 4) * torch.tensor(
        [1.0, -1, 0, 1]))
    spikes.grad = None
    excess_activity(activity(OUTPUTS, spikes), 1.5).backward()
    assert spikes.grad is not None and not spikes.grad.any()


def test_parts_add_up_with_their_weights():
    torch.manual_seed(2)
    student, teacher = (activity(torch.randn(2, 3, 4), torch.rand(2, 3, 5, 1, 1).round())
                        for _ in range(2))
    labels = torch.tensor([0, 1, 3])
    loss = LossSettings(activity=0.5, budget=0.01)
    for stepwise, distil in ((False, distillation), (True, stepwise_distillation)):
        calibration = CalibrationSettings(beta=0.3, warmup=0.5, distillation=0.7, temperature=3,
                                          stepwise=stepwise)
        expected = (task_loss(student, labels, loss)
                    + 0.3 * 0.4 * calibration_loss(student, teacher, calibration)
                    + 0.7 * distil(student, teacher, 3) + 0.5 * excess_activity(student, 0.01))
        found = training_loss(student, labels, loss, calibration, teacher, 0.2)
        torch.testing.assert_close(found, expected)
    alone = training_loss(student, labels, LossSettings(), CalibrationSettings(), None, 0.2)
    torch.testing.assert_close(alone, task_loss(student, labels, loss))


@pytest.mark.parametrize(("changes", "message"), [
    ({"label_smoothing": 1.0}, "Label smoothing must be within 0..1, not 1.0"),
    ({"label_smoothing": -0.1}, "Label smoothing must be within 0..1, not -0.1"),
    ({"regression": 1.1}, "regression must be within 0..1, not 1.1"),
    ({"target": float("inf")}, "target must be finite, not inf"),
    ({"activity": -1.0}, "activity must not be negative, not -1.0"),
    ({"activity": float("nan")}, "activity must not be negative, not nan"),
    ({"budget": 0.0}, "budget must be positive, not 0.0"),
])
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        LossSettings(**changes)
