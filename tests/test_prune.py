"""Pruning: what is chosen, masks that hold, and networks that get smaller."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mapping.cycles import estimate
from mapping.program import compile_network
from model.architecture import parse
from model.data import Coding, Dataset, encode, load
from model.fold import FoldSettings, fold
from model.golden import execute
from model.importance import Score, observe
from model.layers import SpikingNetwork, as_inputs
from model.network import DenseLayer
from model.prune import PruningError, PruningSettings, Scope, Unit, neuron_groups, prune
from model.quantise import Rule
from model.recipe_file import changed
from model.recipes import RECIPES, Recipe, RecipeError, Schedule
from model.shrink import shrink
from model.train import TrainingResult, fit, prune_further, spike_rate, train
from tests.agreement import agreements
from tests.networks import CORES
from tests.ternary_models import STEPS, images, mask_of, model_of

SHORT = Schedule(epochs=3, rate=1e-2)


def alive(model: SpikingNetwork) -> list[list[int]]:
    """Return the numbers of the channels with weights, of each layer that has some and fires."""
    return [torch.arange(len(layer.weight))[layer.unpruned(layer.weight).flatten(1).any(1)].tolist()
            for layer in model.spiking_layers()]


# Settings


@pytest.mark.parametrize(("changes", "message"), [
    ({"amount": None}, "needs either an amount or a mass"),
    ({"mass": 0.5}, "needs either an amount or a mass"),
    ({"amount": 0.0}, "amount must be above 0 and below 1, not 0.0"),
    ({"amount": 1.0}, "amount must be above 0 and below 1, not 1.0"),
    ({"amount": None, "mass": 1.5}, "mass must be above 0 and below 1, not 1.5"),
    ({"rounds": 0}, "rounds must be at least 1, not 0"),
    ({"align": 0}, "align must be at least 1, not 0"),
    ({"epochs": 0}, "epochs must be at least 1, not 0"),
    ({"samples": 0}, "samples must be at least 1, not 0"),
    ({"rate": 0.0}, "rate must be positive, not 0.0"),
    ({"spikes": 0.0}, "spikes must be above 0 and at most 1, not 0.0"),
    ({"spikes": 1.5}, "spikes must be above 0 and at most 1, not 1.5"),
    ({"input_bits": 0}, "input_bits must be 1 to 8, not 0"),
    ({"input_bits": 9}, "input_bits must be 1 to 8, not 9"),
    ({"rate": float("inf")}, "rate must be positive, not inf"),
    ({"score": Score.MEMBRANE}, "Score 'membrane' is one of neurons, not of weights"),
    ({"score": Score.ACTIVITY}, "Score 'activity' is one of neurons, not of weights"),
    ({"align": 2}, "align is for neurons, not for weights"),
    ({"unit": Unit.NEURONS, "scope": Scope.NEURON}, "Scope 'neuron' is for weights"),
    ({"unit": Unit.NEURONS, "scope": Scope.OPERATIONS}, "Scope 'operations' is for weights"),
])
def test_bad_settings(changes, message):
    with pytest.raises(PruningError, match=message):
        PruningSettings(**{"amount": 0.5, **changes})


def test_rounds_by_a_cubic():
    assert PruningSettings(0.8).amounts == [0.8]
    amounts = PruningSettings(0.8, rounds=4).amounts
    assert amounts == pytest.approx([0.8 * (1 - share**3) for share in (0.75, 0.5, 0.25, 0)])
    assert PruningSettings(mass=0.9, rounds=2).amounts == [None, None]


@pytest.mark.parametrize("text", [
    "weights,amount=0.8", "neurons,mass=0.85,score=activity", "neurons,amount=0.5,align=64",
    "weights,amount=0.9,score=relief,scope=global,rounds=4,epochs=2,rate=0.1,samples=500",
    "weights,amount=0.9,scope=operations,spikes=0.5,input_bits=4",
])
def test_settings_as_text(text):
    assert str(PruningSettings.parse(text)) == text


@pytest.mark.parametrize(("text", "message"), [
    ("pixels,amount=0.8", "'pixels' is none of weights, neurons"),
    ("weights,0.8", "'0.8' is not OPTION=VALUE; options: amount, mass, score, scope"),
    ("weights,unit=neurons", "'unit=neurons' is not OPTION=VALUE"),
    ("weights,amount=most", "amount can't be 'most'"),
    ("weights,amount=0.5,rounds=0.5", "rounds can't be '0.5'"),
    ("weights,amount=0.5,score=none", "score can't be 'none'"),
    ("weights", "needs either an amount or a mass"),
])
def test_text_that_is_no_settings(text, message):
    with pytest.raises(PruningError, match=message):
        PruningSettings.parse(text)


def test_settings_in_a_recipe_file():
    found = changed(RECIPES["digits"], {"pruning": [
        {"unit": "neurons", "amount": 0.5}, {"mass": 0.9, "scope": "neuron"}]}, "file")
    assert found.pruning == (PruningSettings(0.5, unit=Unit.NEURONS),
                             PruningSettings(mass=0.9, scope=Scope.NEURON))
    with pytest.raises(RecipeError, match="amount must be above 0 and below 1, not 2"):
        changed(found, {"pruning": [{"amount": 2.0}]}, "file")


def test_input_bits_are_of_static_inputs():
    fewer = (PruningSettings(0.5, input_bits=4),)
    assert dataclasses.replace(RECIPES["digits"], pruning=fewer).pruning == fewer
    with pytest.raises(RecipeError, match="input_bits are those of static inputs, not of events"):
        dataclasses.replace(RECIPES["nmnist"], pruning=fewer)


# What is chosen


@pytest.mark.parametrize(("arch", "expected"), [
    ("6-5-4-3", [((0,), 1), ((1,), 1)]),
    ("2x6x6-4C3-R4(add2)-3", [((0, 2, 3), 1), ((1,), 1)]),
    ("2x6x6-4C3-R6(add2)-3", [((0,), 1), ((1,), 1), ((2, 3, 4), 1)]),
    ("2x6x6-4C3-4C3G4-5-3", [((0, 1), 1), ((2,), 1)]),
    ("2x6x6-4C3-4C3G2-5-3", [((2,), 1)]),
    ("2x6x6-2C3G2-5-3", [((1,), 1)]),
    ("5x6x6-2C3D3-4C3-3", [((0,), 3), ((1,), 1)]),
    ("2x6x6-5C3-2C3D3-4C3-3", [((1,), 3), ((2,), 1)]),
])
def test_layers_that_lose_neurons(arch, expected):
    assert neuron_groups(parse(arch).layers) == expected


@pytest.mark.parametrize("bits", [1, 4, 7])
def test_low_bits_of_the_input_go(bits):
    """What is left does as with samples without them, and costs what they cost."""
    whole, pruned = model_of("2x6x6-4C3-3"), model_of("2x6x6-4C3-3")
    inputs = images(whole)
    settings = PruningSettings(0.5, scope=Scope.OPERATIONS, input_bits=bits)
    prune(pruned, inputs, settings, 0.5)
    assert pruned.input_bits == bits
    cleared = inputs >> (8 - bits) << (8 - bits)
    prune(whole, cleared, dataclasses.replace(settings, input_bits=8), 0.5)
    for ours, theirs in zip(pruned.weighted_layers(), whole.weighted_layers(), strict=True):
        assert torch.equal(mask_of(ours), mask_of(theirs))
    with torch.no_grad():
        torch.testing.assert_close(pruned(as_inputs(inputs)).logits,
                                   whole(as_inputs(cleared)).logits)
    assert torch.equal(observe(pruned, inputs).events[0], observe(whole, cleared).events[0])
    prune(pruned, inputs, dataclasses.replace(settings, input_bits=8), 0.6)
    assert pruned.input_bits == bits                          # they do not come back


def test_a_layers_lowest_weights():
    model = model_of("6-5-3")
    prune(model, images(model), PruningSettings(0.4), 0.4)
    for layer in model.weighted_layers():
        weights, mask = layer.weight.detach().abs(), mask_of(layer)
        assert (mask == 0).sum() == round(0.4 * mask.numel())
        assert weights[mask == 0].max() < weights[mask == 1].min()


def test_all_layers_together():
    """Scores count by their layer's mean, so that no layer is lost for its scale alone."""
    model = model_of("20-30-10")
    with torch.no_grad():
        model.readout.weight.mul_(1e-3)
        model.spiking_layers()[0].weight[:15] *= 0.01
    prune(model, images(model), PruningSettings(0.4, scope=Scope.GLOBAL), 0.4)
    masks = [mask_of(layer) for layer in model.weighted_layers()]
    assert sum(int((mask == 0).sum()) for mask in masks) == 360
    assert not masks[0][:15].any() and masks[1].mean() > 0.5


def test_costly_layers_lose_more():
    """What is kept has the largest part of what is left of its layer, for what it costs."""
    model = model_of("2x8x8-4C3-8C3S2-3", z_max=3)
    inputs = images(model)
    layers = model.weighted_layers()
    events = observe(model, inputs).events
    costs = [float(F.conv2d(each[None], torch.ones(layer.spec.weight_shape), stride=stride,
                            padding=1).sum()) / layer.weight.numel()
             for layer, each, stride in zip(layers, events, (1, 2), strict=False)]
    costs.append(float(events[2].mean()))
    worth = []
    for layer, cost in zip(layers, costs, strict=True):
        squares = layer.weight.detach().flatten().double().square()
        worth.append(torch.stack([each / (squares[squares >= each].sum() * cost)
                                  for each in squares]))
    prune(model, inputs, PruningSettings(0.4, scope=Scope.OPERATIONS), 0.4)
    masks = [mask_of(layer).flatten() == 1 for layer in layers]
    kept, worth = torch.cat(masks), torch.cat(worth)
    assert int((~kept).sum()) == round(0.4 * len(kept)) and worth[kept].min() > worth[~kept].max()
    assert 0 < masks[0].double().mean() < masks[1].double().mean() < masks[2].double().mean()


def test_no_layer_is_lost_for_its_cost():
    """Weights of the first cost a thousand times as much as those of the last."""
    model = model_of("2x8x8-4C3-8C3S2-3", z_max=3)
    prune(model, images(model), PruningSettings(0.5, scope=Scope.OPERATIONS), 0.5)
    assert all(mask_of(layer).any() for layer in model.weighted_layers())


def test_what_is_masked_stays_masked_by_operations():
    model = model_of("8-12-3")
    before = torch.ones_like(model.spiking_layers()[0].weight)
    for amount in (0.3, 0.6):
        prune(model, images(model), PruningSettings(0.9, scope=Scope.OPERATIONS), amount)
        mask = mask_of(model.spiking_layers()[0])
        assert not (mask > before).any()
        before = mask
        with torch.no_grad():
            model.spiking_layers()[0].weight[mask == 0] = 100


def test_the_smallest_set_of_each_neuron():
    model = model_of("4-2-2")
    with torch.no_grad():
        model.spiking_layers()[0].weight.copy_(torch.tensor([[4., -3., 2., 1.], [1., 1., 0., 8.]]))
    settings = PruningSettings(mass=0.7, scope=Scope.NEURON)
    # The second time of what is left, 7 and 8.
    for _ in range(2):
        prune(model, images(model), settings, None)
        assert mask_of(model.spiking_layers()[0]).tolist() == [[1, 1, 0, 0], [0, 0, 0, 1]]


def test_relief_prunes_what_never_spikes():
    model = model_of("6-5-3")
    inputs = images(model)
    inputs[:, 4] = 0
    prune(model, inputs, PruningSettings(mass=0.999, score=Score.RELIEF, scope=Scope.NEURON), None)
    mask = mask_of(model.spiking_layers()[0])
    assert not mask[:, 4].any() and mask[:, 0].any()


def test_what_is_masked_stays_masked():
    model = model_of("8-12-3")
    before = torch.ones_like(model.spiking_layers()[0].weight)
    for amount in (0.3, 0.6, 0.9):
        prune(model, images(model), PruningSettings(0.9), amount)
        mask = mask_of(model.spiking_layers()[0])
        assert not (mask > before).any() and mask.sum() < before.sum()
        before = mask
        with torch.no_grad():                       # a weight that comes back would be the largest
            model.spiking_layers()[0].weight[mask == 0] = 100
    prune(model, images(model), PruningSettings(0.9), 0.1)
    assert torch.equal(mask_of(model.spiking_layers()[0]), before)


def test_lowest_neurons_and_all_weights_on_them():
    model = model_of("6-5-4-3")
    sums = model.spiking_layers()[0].weight.detach().abs().sum(1)
    kept = sums.sort(descending=True).indices[:3].sort().values
    prune(model, images(model), PruningSettings(0.4, unit=Unit.NEURONS), 0.4)
    assert alive(model) == [kept.tolist(), alive(model)[1]] and len(alive(model)[1]) == 2
    for layer, read in ((model.spiking_layers()[1], kept.tolist()),
                        (model.readout, alive(model)[1])):
        assert mask_of(layer).any(0).nonzero().flatten().tolist() == read


@pytest.mark.parametrize(("align", "left"), [(1, 5), (4, 8), (8, 8), (16, 16)])
def test_aligned_neurons(align, left):
    model = model_of("6-16-3")
    prune(model, images(model), PruningSettings(0.7, unit=Unit.NEURONS, align=align), 0.7)
    assert len(alive(model)[0]) == left


def test_a_layer_keeps_a_neuron():
    model = model_of("6-4-4-3")
    prune(model, images(model), PruningSettings(0.99, unit=Unit.NEURONS), 0.99)
    assert [len(each) for each in alive(model)] == [1, 1]


def test_kernels_along_the_depth_go_as_one():
    model = model_of("5x6x6-4C3D3-6C3-3")
    settings = PruningSettings(0.5, unit=Unit.NEURONS, align=6, score=Score.ACTIVITY)
    prune(model, images(model), settings, 0.5)
    assert len(alive(model)[0]) == 2                # of 4 kernels, 6 of 12 channels
    channels = mask_of(model.spiking_layers()[1]).amax((0, 2, 3)).view(4, 3)
    assert (channels.amin(1) == channels.amax(1)).all() and channels.sum() == 6


# Masks hold


@pytest.mark.parametrize("rule", Rule)
def test_masks_hold_through_the_ternariser(rule):
    model = model_of("1x6x6-4C3-3", rule=rule)
    prune(model, images(model), PruningSettings(0.6, score=Score.RELIEF), 0.6)
    data = Dataset("random", *[images(model, 60).reshape(-1, 1, 6, 6), np.arange(60) % 3] * 2)
    recipe = Recipe("random", "1x6x6-4C3-3", STEPS, SHORT, SHORT, batch=20)
    fit(model, data, recipe, Schedule(3, 1e-2, decay=0.1), seed=1)
    for layer in model.weighted_layers():
        codes, mask = layer.codes(), mask_of(layer)
        assert codes is not None
        assert not codes.signs.view_as(mask)[mask == 0].any() and codes.signs.any()
    inputs = images(model)
    network, _ = fold(model, Coding.STATIC, inputs, np.zeros(len(inputs)),
                      FoldSettings(shifts=(7, 7)))
    for number, layer in enumerate(model.weighted_layers()):
        mask = mask_of(layer).numpy()
        assert not network.layer(number).weights.reshape(mask.shape)[mask == 0].any()


def test_warm_start_takes_the_mask_along():
    model = model_of("6-5-3")
    prune(model, images(model), PruningSettings(0.5), 0.5)
    other = model_of("6-5-3", seed=5)
    other.warm_start(model)
    assert torch.equal(mask_of(other.readout), mask_of(model.readout))
    assert other.readout.mask is not model.readout.mask


# Networks get smaller


@pytest.mark.parametrize("arch", [
    "12-8-6-3", "2x6x6-6C3P2-8C3-3", "2x6x6-8C3-R8(barrier)-R8(add2)-3", "2x6x6-8C3-R6(cat)-AG-3",
    "2x6x6-8C3-8C3G8-6-3", "6x6x6-4C3D3-6C3-3",
])
@pytest.mark.parametrize("score", Score)
def test_pruned_neurons_vanish(arch, score):
    """Whatever they spike by their bias: nobody reads it."""
    model = model_of(arch, z_max=3)
    with torch.no_grad():
        for layer in model.spiking_layers():
            layer.norm.bias.add_(0.3)
    inputs = images(model, 40)
    prune(model, inputs, PruningSettings(0.5, unit=Unit.NEURONS, score=score), 0.5)
    shifts = (4,) * len(model.weighted_layers())
    network, _ = fold(model, Coding.STATIC, inputs, np.zeros(40), FoldSettings(shifts=shifts))
    found = shrink(network)
    for group, _ in neuron_groups(model.architecture.layers):
        for number in group:
            assert found.shape(number)[0] <= network.shape(number)[0] // 2
    assert np.array_equal(execute(found, inputs).readout, execute(network, inputs).readout)


@pytest.fixture(scope="module")
def digits() -> tuple[TrainingResult, TrainingResult]:
    """Train the digits' recipe shortly: as it is, and with both kinds of pruning."""
    full = RECIPES["digits"]
    short = dataclasses.replace(
        full, arch="64-128-10", fold=FoldSettings(samples=500),
        teacher=dataclasses.replace(full.teacher, epochs=8),
        student=dataclasses.replace(full.student, epochs=8))
    pruned = dataclasses.replace(short, pruning=(
        PruningSettings(0.5, unit=Unit.NEURONS, score=Score.RELIEF, align=64, epochs=3),
        PruningSettings(0.8, score=Score.RELIEF, rounds=2, epochs=3)))
    data = load("digits")
    return train(short, data, seed=2), train(pruned, data, seed=2)


def test_digits_stay_known(digits):
    whole, pruned = digits
    assert whole.integer_accuracy > 0.95 and pruned.integer_accuracy > 0.95
    assert pruned.network.shape(0)[0] <= 64 and whole.network.shape(0)[0] > 120
    for layer, least in zip(pruned.ternary_model.spiking_layers(), (0.7,), strict=True):
        assert (mask_of(layer) == 0).float().mean() > least
    data = load("digits")
    test = encode(data.test_x, Coding.STATIC, 4)
    classes = execute(pruned.network, test).classes
    assert pruned.integer_accuracy == np.mean(classes == data.test_y)


def test_the_trainings_before_are_as_without_pruning(digits):
    """A recipe's random numbers do not depend on its prunings."""
    whole, pruned = digits
    assert whole.float_accuracy == pruned.float_accuracy
    for name, value in whole.float_model.state_dict().items():
        assert torch.equal(value, pruned.float_model.state_dict()[name]), name


def test_pruning_further_is_pruning_twice():
    data = Dataset("random", *[np.random.default_rng(1).integers(0, 256, (60, 6), np.uint8),
                               np.arange(60) % 3] * 2)
    first, second = PruningSettings(0.3, epochs=1), PruningSettings(0.6, rounds=2, epochs=1)
    recipe = Recipe("random", "6-8-3", STEPS, SHORT, SHORT, batch=20, pruning=(first,))
    start = train(recipe, data, seed=3)
    before = start.ternary_model.readout.weight.detach().clone()
    found = prune_further(start, data, second)
    assert torch.equal(start.ternary_model.readout.weight, before)
    assert found.recipe.pruning == (first, second)
    whole = train(found.recipe, data, seed=3)
    for ours, theirs in zip(found.network.layers, whole.network.layers, strict=True):
        assert isinstance(ours, DenseLayer) and isinstance(theirs, DenseLayer)
        assert np.array_equal(ours.weights, theirs.weights)
        assert np.array_equal(ours.bias, theirs.bias)


@pytest.mark.cocotb
def test_digits_on_the_core(digits):
    """Equal to the golden model, and fewer cycles than before."""
    core = CORES["planes1"]
    data = load("digits")
    inputs = encode(data.test_x[:4], Coding.STATIC, 4)
    networks = [result.network for result in digits]
    for found in agreements([(network, inputs) for network in networks], core):
        assert found.difference is None
    cycles = [estimate(compile_network(network, core), inputs,
                       execute(network, inputs).spikes).cycles.sum() for network in networks]
    assert cycles[1] < 0.6 * cycles[0]


def test_a_pruning_takes_spikes(digits):
    """After it there are about as many as it asks for; if it asks for all, about all."""
    whole, rates = digits[0], {}
    inputs = encode(load("digits").test_x, Coding.STATIC, whole.recipe.timesteps)
    before = spike_rate(whole.ternary_model, inputs)
    for share in (1.0, 0.5):
        settings = PruningSettings(0.3, epochs=40, spikes=share)
        pruned = prune_further(whole, load("digits"), settings)
        rates[share] = spike_rate(pruned.ternary_model, inputs) / before
    assert rates[0.5] == pytest.approx(0.5, rel=0.2) and rates[1.0] > 0.8


def test_progress_of_a_pruning():
    seen = []
    data = Dataset("random", *[np.random.default_rng(1).integers(0, 256, (60, 6), np.uint8),
                               np.arange(60) % 3] * 2)
    recipe = Recipe("random", "6-8-3", STEPS, SHORT, SHORT, batch=20, pruning=(
        PruningSettings(0.5, rounds=2, epochs=2), PruningSettings(0.5, unit=Unit.NEURONS)))
    train(recipe, data, progress=seen.append)
    assert [(at.stage, at.epoch, at.epochs) for at in seen[6:]] == [
        *(("pruned weights", n, 4) for n in range(1, 5)),
        *(("pruned neurons", n, 5) for n in range(1, 6))]
