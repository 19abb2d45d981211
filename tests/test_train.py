"""Training end to end on small real and made-up data."""

import dataclasses

import numpy as np
import pytest
import torch

from model.augment import shifted
from model.calibrate import CalibrationSettings
from model.data import Coding, Dataset, encode, load
from model.fold import FoldError, FoldSettings
from model.golden import execute
from model.layers import SpikingNetwork, as_inputs
from model.losses import LossSettings, Task
from model.network import IntegerNetwork
from model.neuron import NeuronSettings
from model.quantise import (
    Gradient,
    QuantiserSettings,
    Rule,
    Scale,
    StepQuantiser,
    StepSettings,
    Symmetry,
)
from model.recipes import COUNTS, RECIPES, Recipe, RecipeError, Schedule
from model.train import Progress, TrainingResult, fit, predict, train, train_models

SHORT = Schedule(epochs=3, rate=1e-2)


def stripes(samples: int = 400, *, steps: int = 0) -> Dataset:
    """Return noisy 6x6 images of a bright row 0, 2 or 4; with `steps`, binary events of them."""
    random = np.random.default_rng(9)
    labels = random.integers(0, 3, samples)
    images = random.integers(0, 120, (samples, 6, 6))
    images[np.arange(samples), 2 * labels] += 130
    images = images.astype(np.uint8)
    if steps:
        images = encode(images, Coding.RATE, steps).reshape(samples, steps, 6, 6)
    half = samples // 2
    return Dataset("stripes", images[:half], labels[:half], images[half:], labels[half:])


def recipe(**changes) -> Recipe:
    """Return a recipe for `stripes`."""
    return Recipe(**{"dataset": "stripes", "arch": "36-16-3", "timesteps": 3,
                     "teacher": SHORT, "student": SHORT, "batch": 20, **changes})


def same(a: IntegerNetwork, b: IntegerNetwork) -> bool:
    """Whether two networks hold the same numbers."""
    return all(np.array_equal(getattr(x, name), getattr(y, name))
               for x, y in zip(a.layers, b.layers, strict=True)
               for name in ("weights", "gain_plus", "gain_minus", "bias", "threshold"))


@pytest.fixture(scope="module")
def digits() -> TrainingResult:
    """Train the digits' recipe with half of its neurons and a quarter of its epochs."""
    full = RECIPES["digits"]
    short = dataclasses.replace(
        full, arch="64-128-10",
        teacher=dataclasses.replace(full.teacher, epochs=full.teacher.epochs // 4),
        student=dataclasses.replace(full.student, epochs=full.student.epochs // 4))
    return train(short, load("digits"), seed=2)


def test_digits_are_learned(digits):
    assert digits.float_accuracy > 0.955
    assert digits.ternary_accuracy > 0.95
    assert abs(digits.integer_accuracy - digits.ternary_accuracy) <= 0.01


def test_accuracies_are_those_of_the_models(digits):
    data = load("digits")
    test = encode(data.test_x, Coding.STATIC, 4)
    assert digits.float_accuracy == np.mean(predict(digits.float_model, test) == data.test_y)
    assert digits.ternary_accuracy == np.mean(predict(digits.ternary_model, test) == data.test_y)
    classes = execute(digits.network, test, record=False).classes
    assert digits.integer_accuracy == np.mean(classes == data.test_y)
    assert digits.rounding.samples == 360


def test_digits_fit_the_hardware(digits):
    assert not digits.fold_report.calibration.measurable
    for layer in digits.fold_report.layers:
        assert layer.gain_bits <= 8 and layer.bias_bits <= 20 and layer.threshold_bits <= 20
        assert layer.membrane_bits <= 24 and not layer.saturates
    assert dict(digits.network.metadata)["dataset"] == "digits"
    assert dict(digits.network.metadata)["seed"] == "2"


def test_teacher_is_left_as_it_was():
    data, spec = stripes(), recipe()
    teacher = SpikingNetwork(spec.architecture, 3, neuron=spec.neuron, seed=1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = SpikingNetwork(spec.architecture, 3, neuron=spec.neuron, quantiser=spec.quantiser,
                             seed=2)
    fit(student, data, spec, SHORT, seed=3, teacher=teacher)
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not teacher.training and not student.training


def test_calibration_makes_spikes_alike():
    """With the calibration loss the ternary network spikes more like its teacher."""
    data = stripes()
    inputs = as_inputs(encode(data.test_x, Coding.STATIC, 3))
    distances = []
    for beta in (0.0, 5.0):
        spec = recipe(calibration=CalibrationSettings(beta=beta, distillation=0, warm_start=False),
                      student=Schedule(epochs=10, rate=1e-2))
        result = train(spec, data, seed=4)
        with torch.no_grad():
            ours, theirs = (model(inputs).spikes[0].mean(0)
                            for model in (result.ternary_model, result.float_model))
        distances.append((1 - torch.cosine_similarity(ours, theirs)).mean().item())
    assert distances[1] < 0.8 * distances[0]


def test_warm_start_copies_the_teacher():
    spec = recipe()
    teacher = SpikingNetwork(spec.architecture, 3, neuron=NeuronSettings(threshold=0.7), seed=1)
    student = SpikingNetwork(spec.architecture, 3, neuron=spec.neuron,
                             quantiser=QuantiserSettings(), seed=2)
    student.warm_start(teacher)
    for ours, theirs in zip(student.spiking_layers(), teacher.spiking_layers(), strict=True):
        torch.testing.assert_close(ours.weight, theirs.weight)
        torch.testing.assert_close(ours.threshold, theirs.threshold)
    with torch.no_grad():
        student.readout.weight.zero_()
    assert teacher.readout.weight.any()


def test_a_seed_repeats_itself():
    data, spec = stripes(), recipe(shift=1, mirror=True)
    state = torch.get_rng_state()
    first, second, other = (train(spec, data, seed=seed).network for seed in (5, 5, 6))
    assert same(first, second) and not same(first, other)
    torch.testing.assert_close(torch.get_rng_state(), state)


def test_counts_of_one_step():
    """With T = 1 all is in the counts."""
    spec = recipe(timesteps=1, neuron=NeuronSettings(z_max=3), teacher=Schedule(8, 1e-2),
                  student=Schedule(8, 1e-2))
    data = stripes()
    result = train(spec, data, seed=1)
    assert min(result.float_accuracy, result.ternary_accuracy, result.integer_accuracy) > 0.9
    assert [layer.z_max for layer in result.network.layers] == [3, 1]
    assert result.network.metadata["levels"] == "3"
    counts = execute(result.network, encode(data.test_x, Coding.STATIC, 1)).spikes[0]
    assert set(np.unique(counts)) == {0, 1, 2, 3}


@pytest.mark.parametrize(("arch", "changes"), [
    ("1x6x6-4C3-8C3S2-3", {"timesteps": 1, "neuron": COUNTS}),
    ("1x6x6-4C3-8C3S2-3", {"bfloat16": True}),
    ("1x6x6-4C3P2-R8(or)-AG-3", {}),
    ("1x6x6-4C3-A2-8C3-R8(barrier)-3", {"neuron": NeuronSettings(z_max=2)}),
    ("1x6x6-4C3-R8(add)-3", {"bfloat16": True, "neuron": NeuronSettings(leak=(2,), learn_leak=True),
                             "loss": LossSettings(task=Task.STEPS, activity=0.1),
                             "calibration": CalibrationSettings(stepwise=True, per_step=True)}),
    ("1x6x6-4C3-8C3S2-3", {"bfloat16": True, "neuron": NeuronSettings(rate_gradient=True)}),
    ("1x6x6-4C3-R8(cat)-3", {"neuron": NeuronSettings(signed=True)}),
])
def test_maps(arch, changes):
    longer = Schedule(8, 1e-2)
    data = stripes()
    result = train(recipe(arch=arch, teacher=longer, student=longer, **changes), data, seed=1)
    assert min(result.float_accuracy, result.ternary_accuracy, result.integer_accuracy) > 0.9
    assert result.network.input_shape == (1, 6, 6)
    classes = execute(result.network, encode(data.test_x, Coding.STATIC, 3)).classes
    assert result.integer_accuracy == np.mean(classes == data.test_y)


#: Options of training, each with what it changes of a recipe.
OPTIONS = {
    "one threshold and one scale": {"quantiser": QuantiserSettings(symmetry=Symmetry.ALL)},
    "powers of two": {"quantiser": QuantiserSettings(rule=Rule.MAX, scale=Scale.POWER)},
    "normalised": {"quantiser": QuantiserSettings(normalise=True, gradient=Gradient.TANH)},
    "learned": {"quantiser": QuantiserSettings(rule=Rule.LEARNED, scale=Scale.LEARNED,
                                               gradient=Gradient.RAMP)},
    "trained leak": {"neuron": NeuronSettings(learn_leak=True, leak_terms=2, leak=(2,))},
    "rate gradient": {"neuron": NeuronSettings(rate_gradient=True, v_init=0.5)},
    "rate gradient of counts": {"neuron": NeuronSettings(rate_gradient=True, z_max=3)},
    "steps": {"loss": LossSettings(task=Task.STEPS)},
    "budget": {"loss": LossSettings(activity=1.0, budget=0.1)},
    "stepwise": {"calibration": CalibrationSettings(stepwise=True, per_step=True)},
    "teacher of more steps": {"teacher_timesteps": 8,
                              "calibration": CalibrationSettings(stepwise=True, per_step=True)},
    "exact thresholds": {"fold": FoldSettings(exact_thresholds=True)},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options(option):
    """Each learns the digits, and folds into a network that does the same."""
    short = Schedule(epochs=5, rate=1e-2)
    spec = dataclasses.replace(RECIPES["digits"], **{"arch": "64-64-10", "teacher": short,
                                                     "student": short, **OPTIONS[option]})
    data = load("digits")
    result = train(spec, data, seed=1)
    assert min(result.float_accuracy, result.ternary_accuracy, result.integer_accuracy) > 0.9
    assert abs(result.integer_accuracy - result.ternary_accuracy) <= 0.01
    assert not result.fold_report.calibration.measurable
    assert result.network.timesteps == 4
    assert result.float_model.timesteps == spec.steps_of_teacher
    classes = execute(result.network, encode(data.test_x, Coding.STATIC, 4)).classes
    assert result.integer_accuracy == np.mean(classes == data.test_y)


def test_a_leak_is_trained():
    """From no leak at all, within what shifts can make, to what the integer network has."""
    spec = recipe(neuron=NeuronSettings(learn_leak=True), teacher=Schedule(8, 3e-2))
    result = train(spec, stripes(), seed=1)
    (layer,) = result.ternary_model.spiking_layers()
    assert layer.leak is not None and 0.5 <= layer.leak.item() < 1
    assert result.network.layer(0).leak == layer.leak_shifts()
    with torch.no_grad():
        layer.leak.fill_(0.3)
    layer.train()(torch.zeros(2, 36, 1, 1), 3)
    assert layer.leak.item() == 0.5 and layer.leak_shifts() == (1,)


def test_a_budget_is_kept():
    """Fewer spikes for a small loss of accuracy."""
    rates = []
    for weight in (0.0, 3.0):
        spec = recipe(loss=LossSettings(activity=weight, budget=0.05),
                      teacher=Schedule(8, 1e-2), student=Schedule(16, 1e-2),
                      calibration=CalibrationSettings(beta=0))
        result = train(spec, stripes(), seed=1)
        assert result.integer_accuracy > 0.9
        inputs = as_inputs(encode(stripes().test_x, Coding.STATIC, 3))
        with torch.no_grad():
            rates.append(result.ternary_model(inputs).spikes[0].mean().item())
    assert rates[0] > 0.15 and rates[1] < 0.08


def test_weights_of_more_levels_train_and_are_not_folded():
    data = stripes()
    spec = recipe(quantiser=StepSettings(4), student=Schedule(8, 1e-2))
    with pytest.raises(FoldError, match="Weights that are 4 bits wide can't be folded"):
        train(spec, data)
    teacher, student = train_models(spec, data, seed=1)
    test = encode(data.test_x, Coding.STATIC, 3)
    assert np.mean(predict(student, test) == data.test_y) > 0.9
    quantiser = student.readout.quantiser
    assert isinstance(quantiser, StepQuantiser) and (quantiser.relative_step != 1).all()
    assert 3 < len(quantiser(student.readout.weight.flatten(1)).unique()) <= 16
    result = train(recipe(student=Schedule(8, 1e-2)), data, seed=1)
    for ours, theirs in zip(teacher.parameters(), result.float_model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_what_is_not_quantised_trains_as_long():
    spec, data = recipe(quantiser=None, student=Schedule(8, 1e-2)), stripes()
    with pytest.raises(FoldError, match="Weights that are full precision can't be folded"):
        train(spec, data)
    teacher, student = train_models(spec, data, seed=1)
    assert student.readout.quantiser is None and teacher.readout.quantiser is None
    assert not torch.equal(student.readout.weight, teacher.readout.weight)
    assert np.mean(predict(student, encode(data.test_x, Coding.STATIC, 3)) == data.test_y) > 0.9


@pytest.mark.parametrize("coding", Coding)
def test_codings(coding):
    steps = 6
    data = stripes(steps=steps if coding is Coding.EVENTS else 0)
    spec = recipe(coding=coding, timesteps=steps, teacher=Schedule(8, 1e-2),
                  student=Schedule(8, 1e-2))
    result = train(spec, data, seed=1)
    assert min(result.float_accuracy, result.ternary_accuracy, result.integer_accuracy) > 0.9
    assert result.network.timesteps == steps


def test_progress_and_interrupt():
    seen: list[Progress] = []
    train(recipe(), stripes(), progress=seen.append)
    assert [(p.stage, p.epoch, p.epochs) for p in seen] == [
        *(("float", n, 3) for n in (1, 2, 3)), *(("ternary", n, 3) for n in (1, 2, 3))]
    assert all(np.isfinite(p.loss) and p.loss > 0 for p in seen)

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe(), stripes(), progress=interrupt)


def test_shifting_moves_images():
    images = torch.zeros(2000, 5, 5, dtype=torch.uint8)
    images[:, 2, 2] = 1
    moved = shifted(images, 2, torch.Generator().manual_seed(1))
    assert moved.sum((1, 2)).eq(1).all()
    counts = moved.sum(0)
    assert counts.min() > 40 and counts.sum() == 2000


def test_shifting_moves_all_channels_alike():
    images = torch.zeros(100, 2, 3, 5, dtype=torch.uint8)
    images[:, :, 1, 2] = torch.tensor([1, 2], dtype=torch.uint8)
    moved = shifted(images, 1, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape
    torch.testing.assert_close(moved[:, 0] * 2, moved[:, 1])
    assert moved[:, 0].sum((1, 2)).eq(1).all() and len(moved[:, 0].flatten(1).unique(dim=0)) == 9


def test_one_batch_for_small_sets():
    result = train(recipe(batch=10_000), stripes(), seed=1)
    assert result.network.inputs == 36


@pytest.mark.parametrize(("changes", "message"), [
    ({"arch": "35-16-3"}, r"has 35 inputs, but samples of stripes have 36 values \(6, 6\)"),
    ({"arch": "1x4x9-8C3-3"},
     r"takes maps \(1, 4, 9\), but samples of stripes have shape \(6, 6\)"),
    ({"arch": "36-16-4"}, "has 4 outputs, but stripes has 3 classes"),
    ({"arch": "6-16-3", "coding": Coding.EVENTS}, "3 time steps, but the events of stripes have 6"),
])
def test_recipe_must_fit_the_data(changes, message):
    with pytest.raises(RecipeError, match=message):
        train(recipe(**changes), stripes())


def test_one_sample_is_too_few():
    data = stripes()
    one = Dataset("one", data.train_x[:1], np.array([2]), data.test_x, data.test_y)
    with pytest.raises(RecipeError, match="one has one training sample; batch norm needs two"):
        train(recipe(), one)


def test_augmentation_needs_images():
    random = np.random.default_rng(1).integers(0, 255, (30, 36), dtype=np.uint8)
    labels = np.arange(30) % 3
    flat = Dataset("flat", random, labels, random, labels)
    with pytest.raises(RecipeError, match="Shifting and mirroring need images"):
        train(recipe(shift=1), flat)
    train(recipe(), flat)


def test_augmentation_of_events():
    """Maps of all steps move alike; a row of events a step is no map."""
    data, spec = stripes(steps=3), recipe(arch="1x6x6-4C3-3", coding=Coding.EVENTS, shift=1)
    maps = Dataset("maps", data.train_x[:, :, np.newaxis], data.train_y,
                   data.test_x[:, :, np.newaxis], data.test_y)
    assert train(spec, maps).network.inputs == 36
    rows = Dataset("rows", data.train_x.reshape(-1, 3, 36), data.train_y,
                   data.test_x.reshape(-1, 3, 36), data.test_y)
    with pytest.raises(RecipeError, match="Shifting and mirroring need images"):
        train(dataclasses.replace(spec, arch="36-4-3"), rows)


@pytest.mark.parametrize(("changes", "message"), [
    ({"timesteps": 0}, "Time steps must be 1 to 4096, not 0"),
    ({"teacher_timesteps": 4}, "teacher's time steps must be a multiple of 3 up to 4096, not 4"),
    ({"teacher_timesteps": 0}, "teacher's time steps must be a multiple of 3 up to 4096, not 0"),
    ({"teacher_timesteps": 4098}, "teacher's time steps must be a multiple of 3 up to 4096"),
    ({"teacher_timesteps": 6, "coding": Coding.RATE},
     "A teacher of 6 steps and a student of 3 can't share rate inputs, only static ones"),
    ({"batch": 1}, "Batch must be at least 2, not 1"),
    ({"shift": -1}, "Shift must not be negative, not -1"),
    ({"arch": "36-"}, "'' is not understood"),
    ({"arch": "1x6x6-4C3-R4(or)-3", "neuron": NeuronSettings(z_max=3)},
     r"merges by or, which takes binary spikes, not counts of \[1, 2, 3\]"),
    ({"arch": "1x6x6-4C3-R4(iand)-3", "neuron": NeuronSettings(signed=True)},
     r"merges by and-not, which takes binary spikes, not counts of \[-1, 1\]"),
    ({"arch": "1x6x6-4C3-R4(add16)-3"}, "merges into counts of up to 16, more than 15"),
])
def test_bad_recipe(changes, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**changes)


@pytest.mark.parametrize(("changes", "message"), [
    ({"epochs": 0}, "Epochs must be at least 1, not 0"),
    ({"rate": 0.0}, "Learning rate must be positive, not 0.0"),
    ({"decay": -0.1}, "Weight decay must not be negative, not -0.1"),
])
def test_bad_schedule(changes, message):
    with pytest.raises(RecipeError, match=message):
        Schedule(**{"epochs": 1, "rate": 0.1, **changes})


def test_shipped_recipes_fit_their_data():
    shapes = {"mnist": (28, 28), "fashion-mnist": (28, 28), "cifar10": (3, 32, 32),
              "fsdd": (24, 1, 32), "nmnist": (3, 2, 34, 34)}
    for spec in RECIPES.values():
        if spec.dataset == "digits":
            spec.check(load("digits"))
        elif spec.dataset in shapes:
            images = np.zeros((10, *shapes[spec.dataset]), np.uint8)
            spec.check(Dataset("images", images, np.arange(10), images, np.arange(10)))


@pytest.mark.data
@pytest.mark.parametrize(("name", "least"), [("fsdd", 0.8), ("nmnist", 0.4)])
def test_recipes_of_recordings_learn(data_folder, name, least):
    """Two epochs are enough to see it: by chance 0.1 would be right."""
    spec = RECIPES[name]
    short = dataclasses.replace(spec, teacher=dataclasses.replace(spec.teacher, epochs=2),
                                student=dataclasses.replace(spec.student, epochs=2),
                                fold=FoldSettings(samples=100))
    result = train(short, load(name, data_folder), seed=1)
    assert min(result.float_accuracy, result.ternary_accuracy, result.integer_accuracy) > least
