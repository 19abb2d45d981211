"""The spike calibration loss: its defined cases, its gradient and its switches."""

import math

import pytest
import torch

from model.calibrate import (
    CalibrationSettings,
    Layers,
    calibration_loss,
    cosine_distance,
    distillation,
    stepwise_distillation,
)
from model.layers import Activity

SPIKES = (torch.arange(24).reshape(3, 2, 4) % 3 == 0).float()


def activity(*spikes: torch.Tensor, logits: torch.Tensor | None = None) -> Activity:
    """Return an activity with these spikes."""
    logits = torch.zeros(2, 3) if logits is None else logits
    return Activity(logits, logits[None], spikes)


def test_cosine_distance_by_hand():
    a = torch.tensor([[1.0, 0], [3.0, 4], [1.0, 0], [0.0, 0], [0.0, 0], [2.0, 1]])
    b = torch.tensor([[0.5, 0], [4.0, 3], [0.0, 9], [0.0, 0], [1.0, 0], [0.0, 0]])
    # Same direction 0; 24/25; orthogonal 1; both silent 0; one silent 1, either way.
    torch.testing.assert_close(cosine_distance(a, b), torch.tensor([0, 1 / 25, 1, 0, 1, 1]))


def test_cosine_distance_has_finite_gradients():
    a = torch.tensor([[0.0, 0], [0.0, 0], [1.0, 2]], requires_grad=True)
    b = torch.tensor([[0.0, 0], [1.0, 0], [2.0, 1]])
    cosine_distance(a, b).sum().backward()
    assert a.grad is not None and torch.isfinite(a.grad).all()
    assert (a.grad[:2] == 0).all() and (a.grad[2] != 0).all()


def test_cosine_distance_ignores_scale():
    a, b = torch.rand(2, 5, 6)
    torch.testing.assert_close(cosine_distance(a, b), cosine_distance(3 * a, b / 7))


def test_counts_are_compared_by_direction_too():
    settings = CalibrationSettings()
    counts = SPIKES * torch.arange(1, 5)        # neuron n counts n + 1
    assert calibration_loss(activity(3 * counts), activity(counts), settings).item() == (
        pytest.approx(0, abs=1e-6))
    assert calibration_loss(activity(counts), activity(SPIKES), settings).item() > 0.05


def test_spikes_of_either_sign_and_maps_are_compared():
    settings = CalibrationSettings()
    maps = (SPIKES - 0.5).view(3, 2, 1, 2, 2)
    assert calibration_loss(activity(maps), activity(maps), settings).item() == (
        pytest.approx(0, abs=1e-6))
    assert calibration_loss(activity(maps), activity(-maps), settings).item() == pytest.approx(2)


def test_equal_spikes_cost_nothing():
    settings = CalibrationSettings()
    loss = calibration_loss(activity(SPIKES, SPIKES), activity(SPIKES, SPIKES), settings)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_layers_are_averaged_or_only_the_last_counts():
    silent = torch.zeros_like(SPIKES)
    teacher = activity(SPIKES, SPIKES)
    student = activity(silent, SPIKES)
    mean = calibration_loss(student, teacher, CalibrationSettings())
    last = calibration_loss(student, teacher, CalibrationSettings(layers=Layers.LAST))
    assert mean.item() == pytest.approx(0.5, abs=1e-6) and last.item() == pytest.approx(0, abs=1e-6)


def test_rates_forget_when_and_steps_do_not():
    student, teacher = activity(SPIKES), activity(SPIKES.flip(0))
    rates = calibration_loss(student, teacher, CalibrationSettings())
    steps = calibration_loss(student, teacher, CalibrationSettings(per_step=True))
    assert rates.item() == pytest.approx(0, abs=1e-6) and steps.item() > 0.1


def test_without_spiking_layers_there_is_no_loss():
    assert calibration_loss(activity(), activity(), CalibrationSettings()).item() == 0


def test_beta_warms_up():
    settings = CalibrationSettings(beta=2.0, warmup=0.5)
    assert [settings.beta_at(x) for x in (0, 0.25, 0.5, 1)] == [0, 1, 2, 2]
    assert CalibrationSettings(beta=2.0, warmup=0).beta_at(0) == 2


def test_distillation_by_hand():
    teacher = activity(logits=torch.tensor([[math.log(3.0), 0.0]]) * 2)
    student = activity(logits=torch.tensor([[0.0, 0.0]]))
    # At temperature 2: teacher (3/4, 1/4), student (1/2, 1/2).
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert distillation(student, teacher, 2.0).item() == pytest.approx(expected, rel=1e-5)
    assert distillation(teacher, teacher, 2.0).item() == pytest.approx(0, abs=1e-6)


def outputs(*odds: float) -> Activity:
    """Return an activity of one sample whose two classes have these odds in each step."""
    steps = torch.tensor([[[math.log(each), 0.0]] for each in odds])
    return Activity(steps.mean(0), steps, ())


def test_stepwise_distillation_by_hand():
    """Odds 3 and 1/3 against 1, where the mean of the steps would have nothing to teach."""
    found = stepwise_distillation(outputs(1, 1), outputs(3, 1 / 3), 1.0).item()
    assert found == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)
    assert distillation(outputs(1, 1), outputs(3, 1 / 3), 1.0).item() == pytest.approx(0, abs=1e-6)
    warmer = stepwise_distillation(outputs(1, 1), outputs(9, 1 / 9), 2.0).item()
    assert warmer == pytest.approx(4 * found, rel=1e-5)


def test_steps_of_a_teacher_with_more():
    """Each of the student's sees two of the teacher's: odds of 27 and 3, then of 1/3 and 1/3."""
    teacher = outputs(27, 3, 1 / 3, 1 / 3)
    found = stepwise_distillation(outputs(1, 1), teacher, 1.0)
    torch.testing.assert_close(found, stepwise_distillation(outputs(1, 1), outputs(9, 1 / 3), 1.0))
    assert stepwise_distillation(outputs(9, 1 / 3), teacher, 1.0).item() == (
        pytest.approx(0, abs=1e-6))


def test_spikes_of_a_teacher_with_more_steps():
    settings = CalibrationSettings(per_step=True)
    twice = SPIKES.repeat_interleave(2, dim=0)
    assert calibration_loss(activity(SPIKES), activity(twice), settings).item() == (
        pytest.approx(0, abs=1e-6))
    assert calibration_loss(activity(SPIKES), activity(twice.flip(0)), settings).item() > 0.1
    rates = calibration_loss(activity(SPIKES), activity(twice.flip(0)), CalibrationSettings())
    assert rates.item() == pytest.approx(0, abs=1e-6)


def test_switches():
    assert CalibrationSettings().needs_teacher
    assert not CalibrationSettings(beta=0, distillation=0).needs_teacher


@pytest.mark.parametrize(("changes", "message"), [
    ({"beta": -1.0}, "beta must not be negative, not -1.0"),
    ({"distillation": float("nan")}, "distillation must not be negative"),
    ({"warmup": 1.5}, "warmup must be within 0..1, not 1.5"),
    ({"temperature": 0.0}, "temperature must be positive, not 0.0"),
])
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        CalibrationSettings(**changes)
