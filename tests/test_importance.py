"""What layers see and do, and the scores that follow, by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.architecture import ConvSpec
from model.importance import Observed, Score, neuron_scores, observe, weight_scores
from model.layers import as_inputs
from model.network import Reset
from tests.ternary_models import images, model_of, plain_norm

# What is observed


def test_observed_by_hand():
    """One neuron of weight 1 without batch norm's shift: its current is its input."""
    model = model_of("2-2-2", learn_threshold=False, reset=Reset.HARD, leak=(1,))
    layer = model.spiking_layers()[0]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        plain_norm(layer)
        layer.norm.bias.copy_(torch.tensor([0.0, -2.0]))
    found = observe(model, np.array([[153, 255], [51, 0]], np.uint8))    # 0.6, 1; 0.2, 0
    torch.testing.assert_close(found.met[0].flatten(), torch.tensor([0.4, 0.5]))
    # 0.6, 0.9, 1.05 fires at the third step; 0.2, 0.3, 0.35; the other neuron stays below 0.
    torch.testing.assert_close(found.largest[0], torch.tensor([1 / 6, 0.0]))
    torch.testing.assert_close(found.membrane[0], torch.tensor([3.4 / 6, 0.0]))
    torch.testing.assert_close(found.met[1].flatten(), found.largest[0])


def test_observed_does_not_depend_on_batches():
    model = model_of("2x6x6-4C3P2-R4(add2)-A2-3")
    inputs = images(model, 600)
    whole, halves = observe(model, inputs), [observe(model, each) for each in np.split(inputs, 2)]
    for name in Observed._fields:
        for ours, a, b in zip(getattr(whole, name), *(getattr(half, name) for half in halves),
                              strict=True):
            torch.testing.assert_close(ours, (a + b) / 2)


def test_means_of_what_weights_meet_and_of_the_largest_counts():
    model = model_of("2x6x6-4C3-A2-5C3-3", z_max=3)
    inputs = images(model)
    found = observe(model, inputs)
    with torch.no_grad():
        spikes = model(as_inputs(inputs)).spikes
    torch.testing.assert_close(found.met[1], F.avg_pool2d(spikes[0].mean((0, 1)), 2))
    torch.testing.assert_close(found.largest[0], spikes[0].amax((3, 4)).mean((0, 1)))
    assert not model.training


def test_events_are_set_bits():
    """Of pixels once a sample, of counts those of all steps, of each that a sum pool adds up."""
    model = model_of("2x6x6-4C3-A2-5C3-3", z_max=3, threshold=0.4)
    inputs = images(model)
    found = observe(model, inputs).events
    bits = np.unpackbits(inputs[..., None], axis=2).sum(2).reshape(-1, 2, 6, 6).mean(0)
    np.testing.assert_allclose(found[0], bits, rtol=1e-5)
    with torch.no_grad():
        counts = model(as_inputs(inputs)).spikes[0].int()
    assert counts.max() == 3
    bits = ((counts & 1) + (counts >> 1)).float().mean(1).sum(0)
    torch.testing.assert_close(found[1], bits.view(4, 3, 2, 3, 2).sum((2, 4)))


def test_membranes_of_blocks():
    """Constant currents of a map: the mean of the strongest block of 2 x 2, step by step."""
    model = model_of("1x4x4-1C1-2", learn_threshold=False, threshold=100.0)
    layer = model.spiking_layers()[0]
    with torch.no_grad():
        layer.weight.fill_(1)
        plain_norm(layer)
    inputs = np.zeros((1, 4, 4), np.uint8)
    inputs[0, :2, 2:] = [[255, 0], [51, 204]]                  # 1, 0, 0.2, 0.8: a mean of 0.5
    found = observe(model, inputs.reshape(1, -1)).membrane[0]
    torch.testing.assert_close(found, torch.tensor([0.5 * (1 + 2 + 3) / 3 / 100]))


# Scores


def test_magnitude_of_weights_leaves_out_what_is_masked():
    model = model_of("6-5-3")
    layer = model.spiking_layers()[0]
    layer.mask = torch.ones_like(layer.weight)
    layer.mask[2, 3] = 0
    scores = weight_scores(model, observe(model, images(model)), Score.MAGNITUDE)
    assert scores[0][2, 3] == 0
    torch.testing.assert_close(scores[1], model.readout.weight.detach().abs())


def test_relief_of_dense_weights():
    """The mean of the products' sizes, as the definition has it."""
    model = model_of("6-5-3")
    inputs = images(model)
    scores = weight_scores(model, observe(model, inputs), Score.RELIEF)
    products = model.spiking_layers()[0].weight.detach() * torch.tensor(inputs / 255)[:, None]
    torch.testing.assert_close(scores[0].double(), products.abs().mean(0))


@pytest.mark.parametrize("conv", ["4C3", "4C3S2", "4C2x3S1x2", "4C3P2", "6C3G2", "2C3D3/2", "2C1"])
def test_relief_of_convolutions_sums_over_pixels(conv):
    """It is what moving the weight would change the sum of all currents by."""
    model = model_of(f"6x7x6-6C3-{conv}-3" if "D" not in conv else f"6x7x6-{conv}-3")
    layer = model.spiking_layers()[-1]
    spec = layer.spec
    assert isinstance(spec, ConvSpec)
    observed = observe(model, images(model))
    met = observed.met[len(model.spiking_layers()) - 1]
    weight = torch.ones_like(layer.weight, requires_grad=True)
    _, height, width = spec.outputs
    if spec.depth is None:
        sums = F.conv2d(met[None], weight, None, spec.stride, spec.padding, groups=spec.groups)
    else:
        sums = F.conv3d(met[None, None], weight[:, None], None, (spec.step, *spec.stride),
                        (0, *spec.padding))
    sums[..., :height, :width].sum().backward()
    scores = weight_scores(model, observed, Score.RELIEF)[len(model.spiking_layers()) - 1]
    assert weight.grad is not None
    torch.testing.assert_close(scores, layer.weight.detach().abs() * weight.grad)


def test_scores_of_neurons():
    model = model_of("2x6x6-4C3-4C3-R4(add2)-6-3")
    observed = observe(model, images(model))
    scores = {score: neuron_scores(model, observed, score) for score in Score}
    shapes = [layer.spec.outputs[0] for layer in model.firing_layers()]
    for each in scores.values():
        assert [len(score) for score in each] == shapes
        assert all((score >= 0).all() for score in each)
    assert scores[Score.ACTIVITY] == list(observed.largest)
    assert scores[Score.MEMBRANE] == list(observed.membrane)
    weights = model.spiking_layers()[1].weight.detach()
    torch.testing.assert_close(scores[Score.MAGNITUDE][1], weights.abs().sum((1, 2, 3)))
    relief = weight_scores(model, observed, Score.RELIEF)
    # Layer 0 is read by layer 1; layer 1 by the block's first layer, and by its merge (layer 4).
    torch.testing.assert_close(scores[Score.RELIEF][0], relief[1].sum((0, 2, 3)))
    torch.testing.assert_close(scores[Score.RELIEF][1], relief[2].sum((0, 2, 3)))
    assert not scores[Score.RELIEF][3].any() and not scores[Score.MAGNITUDE][4].any()
    torch.testing.assert_close(scores[Score.RELIEF][4],
                               relief[4].view(6, 4, -1).sum((0, 2)))


def test_relief_of_neurons_side_by_side():
    model = model_of("2x4x4-4C3-R6(cat)-3")
    observed = observe(model, images(model))
    relief = weight_scores(model, observed, Score.RELIEF)[-1].view(3, 10, -1).sum((0, 2))
    scores = neuron_scores(model, observed, Score.RELIEF)
    torch.testing.assert_close(scores[2], relief[:6])
    torch.testing.assert_close(scores[0], relief[6:] + weight_scores(
        model, observed, Score.RELIEF)[1].sum((0, 2, 3)))
