"""Conversion: analog layers by hand, what balancing keeps, ANNs that become spiking networks."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from model.architecture import DenseSpec, parse
from model.convert import (
    Activation,
    AnalogLayer,
    ConversionError,
    ConversionSettings,
    balance,
    make_analog,
    make_spiking,
)
from model.data import Coding, Dataset, encode
from model.golden import execute
from model.layers import SpikingLayer, SpikingNetwork, as_inputs
from model.network import Reset
from model.neuron import NeuronSettings
from model.recipes import Recipe, RecipeError, Schedule
from model.train import Progress, convert, predict, train, train_ann

SEED = 5
HALF = NeuronSettings(v_init=0.5, rate_gradient=True)
#: Of layers as wide as `identity`'s: of either sign, and beyond what can be fired.
CURRENTS = torch.arange(-32, 224).view(32, 8, 1, 1) / 64


def identity(kind: type[SpikingLayer], neuron: NeuronSettings, levels: int | None) -> SpikingLayer:
    """Return a layer of eight neurons whose currents are its source."""
    spec = DenseSpec((8, 1, 1), 8, (-1,))
    layer = (AnalogLayer(spec, neuron, levels) if kind is AnalogLayer
             else SpikingLayer(spec, None, neuron, torch.Generator()))
    layer.norm.eps = 0
    with torch.no_grad():
        layer.weight.copy_(torch.eye(8))
    return layer.eval()


def network(arch: str, activation: Activation = Activation.RELU,
            neuron: NeuronSettings = HALF) -> SpikingNetwork:
    """Return an ANN whose batch norm has seen random samples."""
    model = SpikingNetwork(parse(arch), 1, neuron=neuron, seed=SEED)
    make_analog(model, ConversionSettings(activation=activation))
    with torch.no_grad():
        for layer in model.spiking_layers():
            layer.norm.bias.uniform_(0.1, 0.5, generator=torch.Generator().manual_seed(SEED))
    for _ in range(50):
        model(as_inputs(samples(model)))
    return model.eval()


def samples(model: SpikingNetwork, count: int = 200) -> np.ndarray:
    """Return random static samples."""
    shape = (count, model.architecture.inputs)
    return np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)


def rows(samples: int = 400, *, steps: int = 0) -> Dataset:
    """Return noisy 6x6 images of a bright row 0, 2 or 4; with `steps`, binary events of them."""
    random = np.random.default_rng(SEED)
    labels = random.integers(0, 3, samples)
    images = random.integers(0, 120, (samples, 6, 6))
    images[np.arange(samples), 2 * labels] += 130
    images = images.astype(np.uint8)
    if steps:
        images = encode(images, Coding.RATE, steps).reshape(samples, steps, 6, 6)
    half = samples // 2
    return Dataset("rows", images[:half], labels[:half], images[half:], labels[half:])


def recipe(conversion: ConversionSettings, **changes) -> Recipe:
    """Return a recipe for `rows`."""
    schedule = Schedule(epochs=8, rate=1e-2)
    return Recipe(**{"dataset": "rows", "arch": "36-16-16-3", "timesteps": 4, "teacher": schedule,
                     "student": schedule, "batch": 20, "neuron": HALF, "conversion": conversion,
                     **changes})


# Layers

@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("z_max", [1, 3])
@pytest.mark.parametrize("v_init", [0.0, 0.5])
def test_clip_floor_is_the_rate_of_spikes(steps, z_max, v_init):
    """At constant currents, with as many levels as there are steps; all numbers are dyadic."""
    neuron = NeuronSettings(threshold=0.5, v_init=v_init, z_max=z_max)
    with torch.no_grad():
        spikes = identity(SpikingLayer, neuron, None)(CURRENTS, steps)
        rates = identity(AnalogLayer, neuron, steps)(CURRENTS, steps)
    assert spikes.shape == rates.shape == (steps, 32, 8, 1, 1)
    torch.testing.assert_close(rates[0], spikes.mean(0), rtol=0, atol=0)
    assert rates.min() == 0 and rates.max() == z_max


def test_relu_of_the_mean_current():
    layer = identity(AnalogLayer, NeuronSettings(threshold=0.5), None)
    source = torch.tensor([-1.0, 2.0, -1.0, 9.0]).view(4, 1, 1, 1, 1).expand(4, 3, 8, 1, 1)
    with torch.no_grad():
        rates = layer(source, 4)
    torch.testing.assert_close(rates, torch.full((4, 3, 8, 1, 1), 4.5))
    assert layer(-source, 4).eq(0).all() and not layer.threshold.requires_grad


def test_gradient_of_clip_floor():
    """It passes between 0 and z_max as if nothing were rounded, and nowhere else."""
    layer = identity(AnalogLayer, NeuronSettings(threshold=0.5, v_init=0.5, z_max=2), 4)
    source = torch.tensor([-0.5, 0.03, 0.3, 0.4, 0.9, 1.1, 1.3, 9.0]).view(1, 8, 1, 1)
    source.requires_grad_()
    layer(source, 1).sum().backward()
    inside = torch.tensor([0.0, 1, 1, 1, 1, 0, 0, 0])
    assert source.grad is not None and layer.threshold.grad is not None
    torch.testing.assert_close(source.grad.flatten(), 2 * inside)
    expected = -(inside * source.detach().flatten()).sum() / 0.25
    torch.testing.assert_close(layer.threshold.grad, expected)


# Balancing

@pytest.mark.parametrize("arch", ["30-12-12-5", "2x9x8-6C3P2-8C3G2-A2-7-5", "7x5x5-3C3D3/2-6C3-5"])
@pytest.mark.parametrize("z_max", [1, 3])
def test_balancing_keeps_what_the_ann_does(arch, z_max):
    model = network(arch, neuron=dataclasses.replace(HALF, z_max=z_max, threshold=0.7))
    inputs = samples(model)
    with torch.no_grad():
        before = model(as_inputs(inputs))
        balance(model, inputs, 100)
        after = model(as_inputs(inputs))
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-4, atol=1e-4)
    for old, new in zip(before.spikes, after.spikes, strict=True):
        torch.testing.assert_close(new, old * (z_max / old.max()), rtol=1e-4, atol=1e-4)
        assert abs(old.max() - z_max) > 0.1


@pytest.mark.parametrize("percentile", [70, 90, 99.9])
def test_a_percentile_becomes_the_largest_rate(percentile):
    model = network("30-40-40-5")
    inputs = samples(model)
    balance(model, inputs, percentile)
    with torch.no_grad():
        for rates in model(as_inputs(inputs)).spikes:
            assert np.percentile(rates.numpy(), percentile) == pytest.approx(1, rel=1e-4)


def test_only_relus_are_balanced():
    model = network("30-12-12-5")
    make_spiking(model, 0, HALF)
    trained = network("30-12-12-5", Activation.CLIP_FLOOR)
    states = [copy.deepcopy(each.state_dict()) for each in (model, trained)]
    for each in (model, trained):
        balance(each, samples(each), 60)
    changed = [{name for name, value in each.state_dict().items() if not value.equal(old[name])}
               for each, old in zip((model, trained), states, strict=True)]
    assert changed == [{"hidden.1.norm.weight", "hidden.1.norm.bias", "readout.weight"}, set()]


def test_a_silent_layer_can_not_be_balanced():
    model = network("30-12-12-5")
    with torch.no_grad():
        model.spiking_layers()[1].norm.bias.fill_(-100)
    with pytest.raises(ConversionError, match=r"Layer 1 of the ANN can't be balanced: percentile "
                                              r"99.9 of its activations on 200 samples is 0, "
                                              r"0.000% are not"):
        balance(model, samples(model), 99.9)


# Conversions

def test_layers_become_spiking_one_by_one():
    model = network("30-12-12-5")
    hard = NeuronSettings(v_init=0.25)
    for number in (0, 1):
        parameters = [value.clone() for value in model.spiking_layers()[number].parameters()]
        make_spiking(model, number, hard)
        layers = model.spiking_layers()
        assert [type(layer) for layer in layers] == (
            [SpikingLayer] * (number + 1) + [AnalogLayer] * (1 - number))
        for now, before in zip(layers[number].parameters(), parameters, strict=True):
            torch.testing.assert_close(now, before, rtol=0, atol=0)
        assert layers[number].neuron == hard and layers[number].threshold.requires_grad


def test_more_steps_come_nearer_to_the_ann():
    """The error of a rate is about 1 / T."""
    data, spec = rows(), recipe(ConversionSettings(percentile=100, epochs=0))
    ann, inputs = train_ann(spec, data, seed=SEED), as_inputs(encode(data.test_x, Coding.STATIC, 1))
    errors = []
    with torch.no_grad():
        for steps in (4, 32, 256):
            spiking = convert(ann, dataclasses.replace(spec, timesteps=steps), data)
            errors.append((spiking(inputs).logits - ann(inputs).logits).abs().mean().item())
    assert errors[2] < errors[1] / 4 < errors[0] / 16


def test_training_after_each_layer_repairs_a_conversion():
    """One step, where a rate is all or nothing."""
    data, spec = rows(), recipe(ConversionSettings(percentile=100, epochs=0), timesteps=1,
                                arch="36-32-32-32-3")
    ann = train_ann(spec, data, seed=SEED)
    before = {name: value.clone() for name, value in ann.state_dict().items()}
    longer = dataclasses.replace(spec, conversion=ConversionSettings(percentile=100, epochs=4))
    test = encode(data.test_x, Coding.STATIC, 1)
    at_once, repaired = (np.mean(predict(convert(ann, each, data, seed=SEED), test) == data.test_y)
                         for each in (spec, longer))
    assert np.mean(predict(ann, test) == data.test_y) > 0.95
    assert at_once < 0.6 and repaired > 0.9
    for name, value in ann.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


#: Recipes with a conversion, each with what it changes.
CONVERSIONS = {
    "ReLU": {},
    "ReLU, at once": {"conversion": ConversionSettings(epochs=0)},
    "clip-floor": {"conversion": ConversionSettings(Activation.CLIP_FLOOR, levels=4, epochs=2)},
    "through time": {"neuron": NeuronSettings(v_init=0.5)},
    "counts": {"neuron": dataclasses.replace(HALF, z_max=3), "timesteps": 1},
    "maps": {"arch": "1x6x6-4C3-8C3S2-3", "bfloat16": True},
    "teacher of more steps": {"timesteps": 2, "teacher_timesteps": 8},
    "rate": {"coding": Coding.RATE, "timesteps": 6},
    "events": {"coding": Coding.EVENTS, "timesteps": 6},
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions(name):
    """Each is learned, becomes ternary, and folds into a network that does the same."""
    spec = recipe(**{"conversion": ConversionSettings(epochs=2), "arch": "36-16-3",
                     **CONVERSIONS[name]})
    data = rows(steps=6 if spec.coding is Coding.EVENTS else 0)
    result = train(spec, data, seed=SEED)
    assert min(result.float_accuracy, result.ternary_accuracy, result.integer_accuracy) > 0.9
    assert not any(isinstance(layer, AnalogLayer) for layer in result.float_model.hidden)
    assert result.float_model.timesteps == spec.steps_of_teacher
    assert result.float_model.readout.quantiser is None
    test = encode(data.test_x, spec.coding, spec.timesteps)
    classes = execute(result.network, test).classes
    assert result.integer_accuracy == np.mean(classes == data.test_y)


def test_the_parts_are_those_of_the_whole():
    """And a seed repeats itself."""
    data, spec = rows(), recipe(ConversionSettings(epochs=1))
    seen: list[Progress] = []
    whole = train(spec, data, seed=SEED, progress=seen.append).float_model.state_dict()
    parts = convert(train_ann(spec, data, seed=SEED), spec, data, seed=SEED).state_dict()
    assert whole.keys() == parts.keys()
    assert all(value.equal(parts[name]) for name, value in whole.items())
    assert [(p.stage, p.epoch, p.epochs) for p in seen] == [
        *(("ANN", n, 8) for n in range(1, 9)), ("converted", 1, 2), ("converted", 2, 2),
        *(("ternary", n, 8) for n in range(1, 9))]


# What is refused

@pytest.mark.parametrize(("changes", "message"), [
    ({"percentile": 0.0}, "percentile must be above 0 and at most 100, not 0.0"),
    ({"percentile": 100.1}, "percentile must be above 0 and at most 100, not 100.1"),
    ({"levels": 0}, "levels must be at least 1, not 0"),
    ({"samples": 0}, "samples must be at least 1, not 0"),
    ({"epochs": -1}, "epochs must be at least 0, not -1"),
    ({"rate": 0.0}, "rate must be positive, not 0.0"),
])
def test_bad_settings(changes, message):
    with pytest.raises(ConversionError, match=message):
        ConversionSettings(**changes)


@pytest.mark.parametrize("changes", [
    {"leak": (3,)}, {"learn_leak": True}, {"signed": True}, {"reset": Reset.HARD}])
def test_neurons_whose_rates_are_no_activations(changes):
    with pytest.raises(RecipeError, match="A conversion needs neurons without leak, with a soft"):
        recipe(ConversionSettings(), neuron=NeuronSettings(**changes))


@pytest.mark.parametrize(("arch", "layer"), [
    ("1x6x6-4C3-R4(add)-3", r"layer 3 sees layers \(2, 0\)"),
    ("1x6x6-4C3-R4(cat)-3", r"layer 3 sees layers \(2, 0\)")])
def test_layers_that_are_no_chain(arch, layer):
    with pytest.raises(RecipeError, match=f"can't be converted: {layer}, whose rates have a scale"):
        recipe(ConversionSettings(), arch=arch)


def test_without_a_conversion_there_is_no_ann():
    spec = dataclasses.replace(recipe(ConversionSettings()), conversion=None)
    with pytest.raises(RecipeError, match="The recipe has no conversion"):
        train_ann(spec, rows())
