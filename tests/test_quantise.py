"""The quantisers against hand-worked numbers, and their gradients against their formulas."""

import itertools

import pytest
import torch

from model.quantise import (
    Gradient,
    Granularity,
    QuantiserSettings,
    Rule,
    Scale,
    StepQuantiser,
    StepSettings,
    Symmetry,
    TernaryQuantiser,
    closed_form_scales,
    describe,
    make_quantiser,
    thresholds,
)

WEIGHT = torch.tensor([[0.9, 0.1, -0.5, -1.5, 0.0, 0.2]])


def settings(**changes) -> QuantiserSettings:
    """Return settings, by layer unless told otherwise."""
    return QuantiserSettings(**{"granularity": Granularity.LAYER, **changes})


def ternary(weight: torch.Tensor, **changes) -> torch.Tensor:
    """Quantise once."""
    return TernaryQuantiser(settings(**changes), weight)(weight)


@pytest.mark.parametrize(("changes", "minus", "plus", "expected"), [
    # Positive mean 0.4, negative mean 1.0.
    ({"rule": Rule.MEAN}, 0.7, 0.28, [0.9, 0, 0, -1.5, 0, 0]),
    ({"rule": Rule.MEAN, "factor": 0.4}, 0.4, 0.16, [0.55, 0, -1.0, -1.0, 0, 0.55]),
    # 0.05 x 1.5.
    ({"rule": Rule.MAX}, 0.075, 0.075, [0.4, 0.4, -1.0, -1.0, 0, 0.4]),
    # The quantiles 1/3 and 2/3 of the six sorted weights.
    ({"rule": Rule.QUANTILE}, 1 / 6, 2 / 15, [0.55, 0, -1.0, -1.0, 0, 0.55]),
    ({"rule": Rule.LEARNED}, 0.7, 0.28, [0.9, 0, 0, -1.5, 0, 0]),
])
def test_rules(changes, minus, plus, expected):
    d_minus, d_plus = thresholds(WEIGHT, settings(**changes))
    assert d_minus.item() == pytest.approx(minus) and d_plus.item() == pytest.approx(plus)
    torch.testing.assert_close(ternary(WEIGHT, **changes), torch.tensor([expected]))


def test_granularity():
    weight = torch.tensor([[1.0, -1.0, 0.1, 0.0], [10.0, -30.0, 1.0, 0.0]])
    channel = ternary(weight, granularity=Granularity.CHANNEL)
    torch.testing.assert_close(channel, torch.tensor([[1.0, -1, 0, 0], [10, -30, 0, 0]]))
    # One threshold for all: d_p = 0.7 x 12.1 / 4, d_n = 0.7 x 15.5.
    layer = ternary(weight, granularity=Granularity.LAYER)
    torch.testing.assert_close(layer, torch.tensor([[0.0, 0, 0, 0], [10, -30, 0, 0]]))


def test_one_sided_and_empty_rows():
    weight = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -1.0, -4.0], [0.0, 0.0, 0.0]])
    for rule in Rule:
        codes = TernaryQuantiser(settings(rule=rule, granularity=Granularity.CHANNEL),
                                 weight).codes(weight)
        assert (codes.signs[0] >= 0).all() and (codes.signs[1] <= 0).all()
        assert (codes.signs[2] == 0).all()
        assert codes.scale_minus[0] == 0 and codes.scale_plus[1] == 0
        assert torch.isfinite(torch.cat([codes.scale_minus, codes.scale_plus])).all()


def test_closed_form_is_least_squares():
    torch.manual_seed(3)
    weight = torch.randn(4, 50)
    minus, plus = weight < -0.4, weight > 0.7
    best = closed_form_scales(weight, minus, plus, Granularity.CHANNEL)

    def error(scale_minus: torch.Tensor, scale_plus: torch.Tensor) -> torch.Tensor:
        return ((plus * scale_plus - minus * scale_minus - weight) ** 2).sum(1)

    for change in (-0.05, 0.05):
        assert (error(best[0] + change, best[1]) > error(*best)).all()
        assert (error(best[0], best[1] + change) > error(*best)).all()


def test_a_shared_closed_form_is_least_squares():
    torch.manual_seed(3)
    weight = torch.randn(4, 50)
    minus, plus = weight < -0.4, weight > 0.7
    scales = closed_form_scales(weight, minus, plus, Granularity.CHANNEL, shared=True)
    torch.testing.assert_close(*scales)
    signs = plus.float() - minus.float()
    errors = [((signs * (scales[0] + change) - weight) ** 2).sum(1) for change in (-0.05, 0, 0.05)]
    assert (errors[0] > errors[1]).all() and (errors[2] > errors[1]).all()


@pytest.mark.parametrize(("changes", "both", "expected"), [
    # The mean of the six sizes is 3.2 / 6; 0.9 and 1.5 are above 0.7 times that.
    ({"rule": Rule.MEAN}, 0.7 * 3.2 / 6, [2.9 / 3, 0, -2.9 / 3, -2.9 / 3, 0, 0]),
    ({"rule": Rule.MAX, "factor": 0.5}, 0.75, [1.2, 0, 0, -1.2, 0, 0]),
    # The median of 0, 0.1, 0.2, 0.5, 0.9, 1.5.
    ({"rule": Rule.QUANTILE, "factor": 0.5}, 0.35, [2.9 / 3, 0, -2.9 / 3, -2.9 / 3, 0, 0]),
    ({"rule": Rule.LEARNED}, 0.7 * 3.2 / 6, [2.9 / 3, 0, -2.9 / 3, -2.9 / 3, 0, 0]),
])
def test_one_threshold_and_one_scale(changes, both, expected):
    changes = {**changes, "symmetry": Symmetry.ALL}
    for side in thresholds(WEIGHT, settings(**changes)):
        assert side.item() == pytest.approx(both)
    torch.testing.assert_close(ternary(WEIGHT, **changes), torch.tensor([expected]))


def test_one_scale_for_two_thresholds():
    expected = [[1.2, 0, 0, -1.2, 0, 0]]
    torch.testing.assert_close(ternary(WEIGHT, symmetry=Symmetry.SCALE), torch.tensor(expected))


def test_powers_of_two():
    """0.55 is nearest to 2^-1 by its logarithm, 0.4 to 2^-1 too, 1 is one itself."""
    assert ternary(WEIGHT, factor=0.4, scale=Scale.POWER).tolist() == [[0.5, 0, -1, -1, 0, 0.5]]
    assert ternary(WEIGHT, rule=Rule.MAX, scale=Scale.POWER).tolist() == [
        [0.5, 0.5, -1, -1, 0, 0.5]]


def test_normalised_weights():
    """Mean and scale of the weights don't matter, and no gradient moves either."""
    torch.manual_seed(3)
    weight = torch.randn(4, 50)
    changes = {"normalise": True, "granularity": Granularity.CHANNEL, "rule": Rule.MAX,
               "factor": 0.3}
    torch.testing.assert_close(ternary(weight, **changes), ternary(5 * weight + 2, **changes))
    normal = (weight - weight.mean(1, keepdim=True)) / weight.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(ternary(weight, **changes),
                               ternary(normal, **{**changes, "normalise": False}))
    weight.requires_grad_()
    upstream = torch.randn(4, 50)
    TernaryQuantiser(settings(**changes), weight)(weight).backward(upstream)
    assert weight.grad is not None and weight.grad.abs().max() > 0.1
    torch.testing.assert_close(weight.grad.sum(1), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close((weight.grad * weight).sum(1), torch.zeros(4), atol=1e-4, rtol=0)


def test_equal_weights_are_normalised_to_zero():
    weight = torch.full((2, 3), 0.5, requires_grad=True)
    found = TernaryQuantiser(settings(normalise=True), weight)(weight)
    assert not found.any()
    found.sum().backward()
    assert weight.grad is not None and torch.isfinite(weight.grad).all()


@pytest.mark.parametrize("granularity", Granularity)
@pytest.mark.parametrize(("scale", "symmetry"), list(itertools.product(Scale, Symmetry)))
@pytest.mark.parametrize(("rule", "normalise"), list(itertools.product(Rule, (False, True))))
def test_codes_are_what_is_trained(rule, normalise, scale, symmetry, granularity):
    torch.manual_seed(4)
    weight = torch.randn(5, 40)
    quantiser = TernaryQuantiser(settings(rule=rule, normalise=normalise, scale=scale,
                                          symmetry=symmetry, granularity=granularity), weight)
    weight = weight + 0.1 * torch.randn(5, 40)
    codes = quantiser.codes(weight)
    assert set(codes.signs.unique().tolist()) == {-1, 0, 1} and codes.signs.dtype == torch.int8
    values = (torch.where(codes.signs > 0, codes.scale_plus[:, None], 0)
              - torch.where(codes.signs < 0, codes.scale_minus[:, None], 0))
    torch.testing.assert_close(quantiser(weight), values)
    if symmetry is not Symmetry.NONE:
        torch.testing.assert_close(codes.scale_minus, codes.scale_plus)


@pytest.mark.parametrize(("gradient", "factors"), [
    (Gradient.IDENTITY, [1.0, 1, 1, 1, 1, 1]),
    (Gradient.CLIPPED, [1.0, 1, 1, 0, 1, 1]),
    (Gradient.SCALED, [0.55, 1, 1.0, 1.0, 1, 0.55]),
    # Thresholds 0.4 and 0.16, so ramps from -0.8 to 0.32.
    (Gradient.RAMP, [0, 0.55 / 0.32, 1 / 0.8, 0, 0.55 / 0.32, 0.55 / 0.32]),
    (Gradient.TANH, [1.93657, 1.99920, 1.98013, 1.83031, 2, 1.99680]),
])
def test_weight_gradient(gradient, factors):
    weight = WEIGHT.clone().requires_grad_()
    upstream = torch.tensor([[1.0, 2, 3, 4, 5, 6]])
    quantiser = TernaryQuantiser(settings(factor=0.4, gradient=gradient), weight)
    quantiser(weight).backward(upstream)
    torch.testing.assert_close(weight.grad, upstream * torch.tensor([factors]), atol=0, rtol=2e-5)


def test_scale_gradient():
    """TTQ: the plus set's gradients add up, the minus set's with the opposite sign."""
    quantiser = TernaryQuantiser(settings(factor=0.4, scale=Scale.LEARNED), WEIGHT)
    assert quantiser.scales is not None
    quantiser(WEIGHT).backward(torch.tensor([[1.0, 2, 3, 4, 5, 6]]))
    assert quantiser.scales.grad is not None
    torch.testing.assert_close(quantiser.scales.grad.flatten(), torch.tensor([-(3.0 + 4), 1.0 + 6]))


def test_what_is_shared_gets_the_gradients_of_both_sides():
    changes = {"rule": Rule.LEARNED, "factor": 0.4, "scale": Scale.LEARNED}
    apart, shared = (TernaryQuantiser(settings(symmetry=symmetry, **changes), WEIGHT)
                     for symmetry in (Symmetry.NONE, Symmetry.ALL))
    assert apart.scales is not None and apart.slopes is not None
    assert shared.scales is not None and shared.slopes is not None
    assert shared.scales.shape == shared.slopes.shape == (1, 1, 1)
    with torch.no_grad():
        apart.scales.copy_(shared.scales.expand(2, 1, 1))
        apart.slopes.copy_(shared.slopes.expand(2, 1, 1))
    for each in (apart, shared):
        each(WEIGHT).backward(torch.tensor([[1.0, 2, 3, 4, 5, 6]]))
    for name in ("scales", "slopes"):
        both, one = getattr(apart, name).grad, getattr(shared, name).grad
        torch.testing.assert_close(both.sum(0, keepdim=True), one)
        assert one.item() != 0


def test_slope_gradient():
    """The slopes get the derivative of ``a_p clamp(s w, 0, 1)`` and of its mirror image."""
    weight = torch.tensor([[0.9, 0.1, -0.5, -1.5, 0.0, 0.2]], dtype=torch.float64)
    quantiser = TernaryQuantiser(settings(rule=Rule.LEARNED, factor=0.4), weight)
    assert quantiser.slopes is not None
    upstream = torch.tensor([[1.0, 2, 3, 4, 5, 6]], dtype=torch.float64)
    quantiser(weight).backward(upstream)
    codes = quantiser.codes(weight)

    def ramps(slopes: torch.Tensor) -> torch.Tensor:
        return (upstream * (codes.scale_minus * torch.clamp(weight * slopes[0], -1, 0)
                            + codes.scale_plus * torch.clamp(weight * slopes[1], 0, 1))).sum()

    slopes = quantiser.slopes.detach().clone().requires_grad_()
    numeric = torch.autograd.functional.jacobian(ramps, slopes)
    torch.testing.assert_close(quantiser.slopes.grad, numeric)
    assert (numeric != 0).all()


def test_a_steeper_slope_keeps_more_weights():
    quantiser = TernaryQuantiser(settings(rule=Rule.LEARNED), WEIGHT)
    assert quantiser.slopes is not None
    before = quantiser.codes(WEIGHT).signs.count_nonzero()
    with torch.no_grad():
        quantiser.slopes.mul_(10)
    assert quantiser.codes(WEIGHT).signs.count_nonzero() > before


@pytest.mark.parametrize(("rule", "factor"), [
    (Rule.MEAN, 0.0), (Rule.MEAN, -1.0), (Rule.MAX, 1.0), (Rule.QUANTILE, 1.5),
    (Rule.MEAN, float("nan")),
])
def test_bad_factor(rule, factor):
    with pytest.raises(ValueError, match=f"Factor of rule '{rule.value}' must be above 0"):
        QuantiserSettings(rule=rule, factor=factor)


@pytest.mark.parametrize(("bits", "codes"), [
    (2, [1, 0, -1, -2, 0, 1]), (3, [2, 0, -1, -3, 0, 1]), (8, [2, 0, -1, -3, 0, 1]),
])
def test_multiples_of_a_step(bits, codes):
    """With a step of 0.5; ties go to the even number."""
    weight = torch.tensor([[0.9, 0.1, -0.5, -1.5, 0.0, 0.26]])
    quantiser = StepQuantiser(StepSettings(bits), weight)
    with torch.no_grad():
        quantiser.relative_step.mul_(0.5 / quantiser.step())
    torch.testing.assert_close(quantiser(weight), 0.5 * torch.tensor([codes], dtype=torch.float))


@pytest.mark.parametrize("granularity", Granularity)
def test_first_step(granularity):
    """2 mean(abs(w)) / sqrt(Q_p)."""
    weight = torch.tensor([[1.0, -3.0], [0.5, 0.0]])
    step = StepQuantiser(StepSettings(4, granularity), weight).step()
    means = [[2.0], [0.25]] if granularity is Granularity.CHANNEL else [[1.125]]
    torch.testing.assert_close(step, 2 * torch.tensor(means) / 7**0.5)


def test_gradients_of_a_learned_step():
    """LSQ: 1 or 0 for a weight; of the step, what rounding adds inside, the end outside."""
    weight = torch.tensor([[0.9, 0.1, -0.4, -1.9, 0.0, 2.0]], requires_grad=True)
    quantiser = StepQuantiser(StepSettings(3), weight)
    with torch.no_grad():
        quantiser.relative_step.mul_(0.4 / quantiser.step())
    upstream = torch.tensor([[1.0, 2, 3, 4, 5, 6]])
    quantiser(weight).backward(upstream)
    # In steps: 2.25, 0.25, -1, -4.75 (below -4), 0 and 5 (above 3).
    torch.testing.assert_close(weight.grad, upstream * torch.tensor([[1.0, 1, 1, 0, 1, 0]]))
    expected = (-0.25 - 2 * 0.25 + 0 - 4 * 4 + 0 + 6 * 3) / (6 * 3) ** 0.5
    assert quantiser.relative_step.grad is not None
    found = quantiser.relative_step.grad / quantiser.start
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_weights_of_zero_have_a_step():
    weight = torch.zeros(2, 3)
    assert not StepQuantiser(StepSettings(4), weight)(weight).any()


def test_quantisers_are_made_from_their_settings():
    assert isinstance(make_quantiser(StepSettings(4), WEIGHT), StepQuantiser)
    assert isinstance(make_quantiser(settings(), WEIGHT), TernaryQuantiser)
    assert [describe(each) for each in (None, StepSettings(4), settings())] == [
        "full precision", "4 bits wide", "ternary"]


@pytest.mark.parametrize("bits", [1, 9])
def test_bad_bits(bits):
    with pytest.raises(ValueError, match=f"Weights must have 2 to 8 bits, not {bits}"):
        StepSettings(bits)
