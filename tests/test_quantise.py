"""The ternary quantiser against hand-worked numbers, and its gradients against their formulas."""

import pytest
import torch

from model.quantise import (
    Gradient,
    Granularity,
    QuantiserSettings,
    Rule,
    Scale,
    TernaryQuantiser,
    closed_form_scales,
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


@pytest.mark.parametrize("granularity", Granularity)
@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("rule", Rule)
def test_codes_are_what_is_trained(rule, scale, granularity):
    torch.manual_seed(4)
    weight = torch.randn(5, 40)
    quantiser = TernaryQuantiser(settings(rule=rule, scale=scale, granularity=granularity), weight)
    weight = weight + 0.1 * torch.randn(5, 40)
    codes = quantiser.codes(weight)
    assert set(codes.signs.unique().tolist()) == {-1, 0, 1} and codes.signs.dtype == torch.int8
    values = (torch.where(codes.signs > 0, codes.scale_plus[:, None], 0)
              - torch.where(codes.signs < 0, codes.scale_minus[:, None], 0))
    torch.testing.assert_close(quantiser(weight), values)


@pytest.mark.parametrize(("gradient", "factors"), [
    (Gradient.IDENTITY, [1.0, 1, 1, 1, 1, 1]),
    (Gradient.CLIPPED, [1.0, 1, 1, 0, 1, 1]),
    (Gradient.SCALED, [0.55, 1, 1.0, 1.0, 1, 0.55]),
])
def test_weight_gradient(gradient, factors):
    weight = WEIGHT.clone().requires_grad_()
    upstream = torch.tensor([[1.0, 2, 3, 4, 5, 6]])
    quantiser = TernaryQuantiser(settings(factor=0.4, gradient=gradient), weight)
    quantiser(weight).backward(upstream)
    torch.testing.assert_close(weight.grad, upstream * torch.tensor([factors]))


def test_scale_gradient():
    """TTQ: the plus set's gradients add up, the minus set's with the opposite sign."""
    quantiser = TernaryQuantiser(settings(factor=0.4, scale=Scale.LEARNED), WEIGHT)
    assert quantiser.scales is not None
    quantiser(WEIGHT).backward(torch.tensor([[1.0, 2, 3, 4, 5, 6]]))
    assert quantiser.scales.grad is not None
    torch.testing.assert_close(quantiser.scales.grad.flatten(), torch.tensor([-(3.0 + 4), 1.0 + 6]))


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
