"""Neurons by hand, the fused time loop against single steps, and the surrogates."""

import itertools

import pytest
import torch

from model.network import Reset
from model.neuron import NeuronSettings, leak_factor, nearest_leak, run, step
from model.surrogate import Surrogate, derivative, spike

LEAKS = ((), (1,), (2, 4))


def by_steps(current: torch.Tensor, threshold: torch.Tensor, steps: int, settings: NeuronSettings,
             leak: torch.Tensor | None = None) -> torch.Tensor:
    """Run neurons by a loop over `step`, differentiated by autograd."""
    v = settings.v_init * threshold * torch.ones_like(current[0] if current.dim() == 3 else current)
    spikes = []
    for t in range(steps):
        drive = current[t] if current.dim() == 3 else current
        fired, v = step(v, drive, threshold, settings, leak)
        spikes.append(fired)
    return torch.stack(spikes)


def test_soft_reset_by_hand():
    settings = NeuronSettings(leak=(1,), reset=Reset.SOFT)
    v, threshold, trace = torch.zeros(1), torch.tensor(1.0), []
    for current in (0.6, 0.6, 0.6, 1.2):
        spikes, v = step(v, torch.tensor([current]), threshold, settings)
        trace.append((spikes.item(), round(v.item(), 6)))
    assert trace == [(0, 0.6), (0, 0.9), (1, 0.05), (1, 0.225)]


def test_hard_reset_by_hand():
    settings = NeuronSettings(reset=Reset.HARD)
    v, threshold, trace = torch.zeros(1), torch.tensor(1.0), []
    for current in (0.75, 0.75, 0.25, 0.75):
        spikes, v = step(v, torch.tensor([current]), threshold, settings)
        trace.append((spikes.item(), v.item()))
    assert trace == [(0, 0.75), (1, 0.0), (0, 0.25), (1, 0.0)]


@pytest.mark.parametrize(("reset", "expected"), [
    (Reset.SOFT, [(2, 0.5), (2, 0.0), (0, -0.5), (2, 2.0), (2, 0.5)]),
    (Reset.HARD, [(2, 0.0), (1, 0.0), (0, -0.5), (2, 0.0), (0, 0.5)]),
])
def test_counts_by_hand(reset, expected):
    """At most two thresholds are counted; the rest stays, or is lost."""
    settings = NeuronSettings(reset=reset, z_max=2)
    v, threshold, trace = torch.zeros(1), torch.tensor(1.0), []
    for current in (2.5, 1.5, -0.5, 4.5, 0.5):
        spikes, v = step(v, torch.tensor([current]), threshold, settings)
        trace.append((spikes.item(), v.item()))
    assert trace == expected


@pytest.mark.parametrize(("reset", "expected"), [
    (Reset.SOFT, [(-2, -0.5), (0, -1.0), (1, 0.5), (-2, -1.0), (0, -0.5)]),
    (Reset.HARD, [(-2, 0.0), (0, -0.5), (2, 0.0), (-2, 0.0), (0, 0.5)]),
])
def test_signed_counts_by_hand(reset, expected):
    """Below 0 a threshold must be passed, above it is enough to reach it."""
    settings = NeuronSettings(reset=reset, z_max=2, signed=True)
    v, threshold, trace = torch.zeros(1), torch.tensor(1.0), []
    for current in (-2.5, -0.5, 2.5, -3.5, 0.5):
        spikes, v = step(v, torch.tensor([current]), threshold, settings)
        trace.append((spikes.item(), v.item()))
    assert trace == expected


def test_gradient_of_counts_is_the_sum_over_the_levels():
    """Triangles at 1, 2 and 3 add up; what level k gives the threshold is k times that."""
    current = torch.tensor([[0.25, 1.0, 1.5, 2.75, 3.5, 4.25]], requires_grad=True)
    threshold = torch.ones(6, requires_grad=True)
    spikes = run(current, threshold, 1, NeuronSettings(z_max=3))
    assert spikes.tolist() == [[[0, 1, 1, 2, 3, 3]]]
    spikes.sum().backward()
    torch.testing.assert_close(current.grad, torch.tensor([[0.25, 1, 1, 1, 0.5, 0]]))
    torch.testing.assert_close(threshold.grad, -torch.tensor([0.25, 1, 1.5, 2.75, 1.5, 0]))


def test_threshold_is_inclusive():
    spikes = run(torch.full((1, 1), 0.5), torch.tensor(1.0), 4, NeuronSettings())
    assert spikes.flatten().tolist() == [0, 1, 0, 1]


def test_initial_membrane():
    spikes = run(torch.full((1, 1), 0.5), torch.tensor(1.0), 4, NeuronSettings(v_init=0.5))
    assert spikes.flatten().tolist() == [1, 0, 1, 0]


def test_leak_factor():
    assert [leak_factor(leak) for leak in LEAKS] == [1, 0.5, 1 - 1 / 4 - 1 / 16]


@pytest.mark.parametrize(("leak", "reset", "static"),
                         list(itertools.product(LEAKS, Reset, (True, False))))
@pytest.mark.parametrize("surrogate", Surrogate)
@pytest.mark.parametrize(("z_max", "signed", "saturation"),
                         [(1, False, None), (2, False, None), (1, True, None), (2, True, None),
                          (1, False, 1.2), (2, True, 2.25)])
def test_fused_loop_equals_steps(leak, reset, static, surrogate, z_max, signed, saturation):
    """Spikes and both gradients."""
    generator = torch.Generator().manual_seed(11)
    settings = NeuronSettings(leak=leak, reset=reset, v_init=0.25, surrogate=surrogate, width=0.8,
                              z_max=z_max, signed=signed, saturation=saturation)
    shape = (5, 7) if static else (6, 5, 7)
    current = torch.randn(shape, generator=generator, dtype=torch.float64) + 0.4 * (not signed)
    upstream = torch.randn((6, 5, 7), generator=generator, dtype=torch.float64)
    outcomes = []
    for runner in (run, by_steps):
        inputs = current.clone().requires_grad_()
        threshold = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
        spikes = runner(inputs, threshold, 6, settings)
        spikes.backward(upstream)
        outcomes.append((spikes.detach(), inputs.grad, threshold.grad))
    for fused, stepped in zip(*outcomes, strict=True):
        torch.testing.assert_close(fused, stepped)
    spikes = outcomes[0][0]
    assert 0.1 < spikes.abs().mean() < 0.9
    assert spikes.abs().max() == z_max and (spikes.min() < 0) == signed


@pytest.mark.parametrize(("reset", "static"), list(itertools.product(Reset, (True, False))))
@pytest.mark.parametrize(("z_max", "signed"), [(1, False), (2, True)])
def test_gradient_of_a_trained_leak(reset, static, z_max, signed, monkeypatch):
    """The fused loop, part by part, gives what autograd gives for single steps."""
    monkeypatch.setattr("model.neuron.CACHED", 14)
    generator = torch.Generator().manual_seed(11)
    settings = NeuronSettings(reset=reset, v_init=0.25, z_max=z_max, signed=signed)
    current = torch.randn((5, 7) if static else (6, 5, 7), generator=generator,
                          dtype=torch.float64) + 0.4 * (not signed)
    upstream = torch.randn((6, 5, 7), generator=generator, dtype=torch.float64)
    outcomes = []
    for runner in (run, by_steps):
        inputs = current.clone().requires_grad_()
        leak, threshold = (torch.tensor(value, dtype=torch.float64, requires_grad=True)
                           for value in (0.8125, 0.9))
        spikes = runner(inputs, threshold, 6, settings, leak)
        spikes.backward(upstream)
        outcomes.append((spikes.detach(), inputs.grad, threshold.grad, leak.grad))
    for fused, stepped in zip(*outcomes, strict=True):
        torch.testing.assert_close(fused, stepped)
    assert outcomes[0][-1] is not None and outcomes[0][-1].abs() > 0.01


def test_saturation_by_hand():
    """At 1.5 thresholds of 2: 5 becomes 3, which fires and leaves 1; then -3, where 1 - 7 ends."""
    settings = NeuronSettings(saturation=1.5)
    current = torch.tensor([[[5.0]], [[-7.0]], [[4.5]], [[1.0]]], requires_grad=True)
    threshold = torch.tensor(2.0)
    spikes = run(current, threshold, 4, settings)
    assert spikes.flatten().tolist() == [1, 0, 0, 1]        # 3, -3, 1.5, 2.5
    v, seen = torch.zeros(1, 1), []
    for drive in current:
        _, v = step(v, drive, threshold, settings)
        seen.append(v.item())
    assert seen == [1, -3, 1.5, 0.5]
    # No gradient passes the two that were clamped; the surrogate at 2.5 is 1/2, at 1.5 too.
    spikes.sum().backward()
    assert current.grad is not None and current.grad.flatten().tolist() == [0, 0, 1, 0.5]


def test_gradient_of_a_leak_by_hand():
    """v = 0.5, then 0.5 leak + 0.25; what is stored of step 0 is 0.5, and the slope there 0.5."""
    leak = torch.tensor(0.5, requires_grad=True)
    current = torch.tensor([[[0.5]], [[0.25]]])
    spikes = run(current, torch.tensor(1.0), 2, NeuronSettings(), leak)
    assert not spikes.any()
    spikes.sum().backward()
    assert leak.grad is not None and leak.grad.item() == 0.5 * 0.5


def test_leaks_that_can_be_trained():
    one, two = (NeuronSettings(leak_terms=terms, leak_shift_max=3) for terms in (1, 2))
    assert one.leaks == [(), (1,), (2,), (3,)]
    assert two.leaks == [(), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3)]
    factors = [leak_factor(leak) for leak in two.leaks]
    assert len(set(factors)) == len(factors) and min(factors) > 0
    assert [nearest_leak(x, one) for x in (2.0, 0.95, 0.9, 0.81, 0.63, 0.0)] == [
        (), (), (3,), (2,), (2,), (1,)]
    assert [nearest_leak(x, two) for x in (0.63, 0.37, 0.0)] == [(2, 3), (1, 3), (1, 2)]


@pytest.mark.parametrize("static", [True, False])
def test_rate_gradient_by_hand(static):
    """Mean currents in and outside of 0..threshold; the gradients of all steps add up."""
    rows = torch.tensor([[-0.5, 0.25, 1.0, 2.0, 2.5]], dtype=torch.float64)
    current = (rows if static else torch.stack([rows - 1, rows, rows + 1])).requires_grad_()
    threshold = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    settings = NeuronSettings(rate_gradient=True, v_init=0.5)
    spikes = run(current, threshold, 3, settings)
    torch.testing.assert_close(spikes, run(current, threshold, 3, NeuronSettings(v_init=0.5)))
    upstream = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None, None]
    spikes.backward(upstream.expand(3, 1, 5))
    # 6 / threshold where it is inside, over 3 steps; of the threshold -6 I / threshold^2.
    inside = torch.tensor([[0.0, 3, 3, 3, 0]], dtype=torch.float64)
    expected = inside if static else (inside / 3).expand(3, 1, 5)
    torch.testing.assert_close(current.grad, expected)
    assert threshold.grad is not None
    assert threshold.grad.item() == pytest.approx(-6 * (0.25 + 1 + 2) / 4)


@pytest.mark.parametrize(("z_max", "signed"), [(1, False), (3, False), (1, True), (2, True)])
def test_rate_gradient_is_that_of_the_clamp(z_max, signed):
    generator = torch.Generator().manual_seed(11)
    current = 3 * torch.randn((4, 5, 7), generator=generator, dtype=torch.float64)
    upstream = torch.randn((5, 7), generator=generator, dtype=torch.float64)
    settings = NeuronSettings(rate_gradient=True, z_max=z_max, signed=signed)
    gradients = []
    for spiking in (True, False):
        inputs = current.clone().requires_grad_()
        threshold = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
        if spiking:
            rates = run(inputs, threshold, 4, settings).mean(0)
        else:
            rates = (inputs.mean(0) / threshold).clamp(-z_max if signed else 0, z_max)
        rates.backward(upstream)
        gradients.append((inputs.grad, threshold.grad))
    for ours, clamp in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, clamp)


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("z_max", [1, 3])
def test_rectangles_side_by_side_are_one_range(reset, z_max):
    """The quick way gives the gradient of the slow one, which another width asks for."""
    generator = torch.Generator().manual_seed(11)
    current = torch.randn((4, 5, 7), generator=generator, dtype=torch.float64) + 1
    upstream = torch.randn((4, 5, 7), generator=generator, dtype=torch.float64)
    gradients = []
    for width in (0.5, 0.5 + 1e-9):
        settings = NeuronSettings(reset=reset, threshold=0.5, learn_threshold=False, z_max=z_max,
                                  surrogate=Surrogate.RECTANGLE, width=width)
        assert settings.joined == (width == 0.5)
        inputs = current.clone().requires_grad_()
        run(inputs, torch.tensor(0.5, dtype=torch.float64), 4, settings).backward(upstream)
        gradients.append(inputs.grad)
    torch.testing.assert_close(*gradients)


def test_many_neurons_are_run_part_by_part(monkeypatch):
    settings = NeuronSettings(leak=(1,), v_init=0.25)
    generator = torch.Generator().manual_seed(11)
    current = torch.randn((3, 5, 7), generator=generator) + 0.4
    outcomes = []
    for cached in (1 << 16, 15, 1):
        monkeypatch.setattr("model.neuron.CACHED", cached)
        inputs, threshold = current.clone().requires_grad_(), torch.tensor(0.9, requires_grad=True)
        spikes = run(inputs, threshold, 3, settings)
        spikes.square().sum().backward()
        outcomes.append((spikes.detach(), inputs.grad, threshold.grad))
    for other in outcomes[1:]:
        for ours, theirs in zip(outcomes[0], other, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_threshold_a_channel():
    current = torch.tensor([[0.5, 0.5]], requires_grad=True)
    threshold = torch.tensor([0.5, 1.0], requires_grad=True)
    spikes = run(current, threshold, 2, NeuronSettings())
    assert spikes[:, 0].tolist() == [[1, 0], [1, 1]]
    spikes.sum().backward()
    assert threshold.grad is not None and threshold.grad.shape == (2,)


@pytest.mark.parametrize("surrogate", Surrogate)
@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_surrogates_have_unit_area_and_are_even(surrogate, width):
    x = torch.linspace(-200, 200, 200_001, dtype=torch.float64)
    curve = derivative(x, surrogate, width)
    assert torch.trapezoid(curve, x).item() == pytest.approx(1, abs=5e-3)
    torch.testing.assert_close(curve, curve.flip(0))
    assert curve.argmax().item() == 100_000 or surrogate is Surrogate.RECTANGLE


@pytest.mark.parametrize(("surrogate", "expected"), [
    (Surrogate.TRIANGLE, [0.0, 0.5, 1.0, 0.75]),
    (Surrogate.RECTANGLE, [0.0, 0.0, 1.0, 1.0]),
    (Surrogate.SIGMOID, [0.19661, 0.23500, 0.25, 0.24613]),
    (Surrogate.ATAN, [0.09200, 0.28840, 1.0, 0.61848]),
])
def test_surrogate_values(surrogate, expected):
    x = torch.tensor([-1.0, 0.5, 0.0, 0.25])
    torch.testing.assert_close(derivative(x, surrogate, 1.0), torch.tensor(expected),
                               atol=1e-5, rtol=0)


def test_spike_is_a_step_with_a_surrogate_gradient():
    x = torch.tensor([-0.5, 0.0, 0.25, 3.0], requires_grad=True)
    fired = spike(x)
    assert fired.tolist() == [0, 1, 1, 1]
    fired.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.5, 1.0, 0.75, 0.0]))


@pytest.mark.parametrize(("changes", "message"), [
    ({"leak": (0,)}, r"Leak must be at most two shifts from 1 to 15, not \(0,\)"),
    ({"leak": (1, 2, 3)}, "Leak must be at most two shifts"),
    ({"leak": (16,)}, "Leak must be at most two shifts"),
    ({"threshold": 0.0}, "threshold must be positive, not 0.0"),
    ({"width": float("inf")}, "width must be positive, not inf"),
    ({"v_init": float("nan")}, "v_init must be finite"),
    ({"z_max": 0}, "z_max must be 1 to 15, not 0"),
    ({"z_max": 16}, "z_max must be 1 to 15, not 16"),
    ({"saturation": 0.5}, "saturation must be at least z_max, 1, not 0.5"),
    ({"saturation": float("inf")}, "saturation must be at least z_max, 1, not inf"),
    ({"saturation": 2, "z_max": 3}, "saturation must be at least z_max, 3, not 2"),
    ({"saturation": 1, "v_init": -1.5}, "v_init must be within its saturation of 1, not -1.5"),
    ({"leak_terms": 0}, "leak_terms must be 1 or 2, not 0"),
    ({"leak_terms": 3}, "leak_terms must be 1 or 2, not 3"),
    ({"leak_shift_max": 0}, "leak_shift_max must be 1 to 15, not 0"),
    ({"leak_shift_max": 16}, "leak_shift_max must be 1 to 15, not 16"),
    ({"learn_leak": True, "leak": (5,)},
     r"start from at most 1 different shifts of at most 4, the smallest first, not \(5,\)"),
    ({"learn_leak": True, "leak": (1, 2)}, "A trained leak must start from at most 1 different"),
    ({"learn_leak": True, "leak_terms": 2, "leak": (2, 1)}, "the smallest first"),
    ({"rate_gradient": True, "leak": (1,)}, "rate gradient needs neurons with a soft reset"),
    ({"rate_gradient": True, "learn_leak": True}, "The rate gradient needs neurons with a soft"),
    ({"rate_gradient": True, "reset": Reset.HARD}, "The rate gradient needs neurons with a soft"),
    ({"rate_gradient": True, "saturation": 2}, "without leak and without saturation"),
])
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        NeuronSettings(**changes)
