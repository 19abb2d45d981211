"""Recipes in files: all that a recipe can hold can be told, and what can't be is refused."""

import dataclasses
from pathlib import Path

import pytest

from model.calibrate import Layers
from model.convert import Activation, ConversionSettings
from model.losses import Task
from model.network import Reset
from model.prune import PruningSettings
from model.quantise import QuantiserSettings, Rule, StepSettings
from model.recipe_file import changed, read_recipe
from model.recipes import RECIPES, Recipe, RecipeError, Schedule

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))


def read(tmp_path: Path, text: str) -> Recipe:
    """Return the recipe of a text."""
    file = tmp_path / "my.toml"
    file.write_text(text)
    return read_recipe(file)


def test_a_base_and_changes(tmp_path):
    recipe = read(tmp_path, """
        base = "mnist"
        timesteps = 2
        mirror = true
        readout_leak = [1, 3]
        teacher_timesteps = 8
        [teacher]
        rate = 1
        [neuron]
        leak = [2]
        reset = "hard"
        learn_leak = true
        [quantiser]
        rule = "max"
        [calibration]
        layers = "last"
        [loss]
        task = "steps"
        [fold]
        shifts = [4, 5]
        """)
    mnist = RECIPES["mnist"]
    assert (recipe.timesteps, recipe.mirror, recipe.readout_leak) == (2, True, (1, 3))
    assert recipe.steps_of_teacher == 8
    assert recipe.teacher == Schedule(mnist.teacher.epochs, 1.0, mnist.teacher.decay)
    assert type(recipe.teacher.rate) is float
    assert recipe.neuron == dataclasses.replace(mnist.neuron, leak=(2,), reset=Reset.HARD,
                                                learn_leak=True)
    assert recipe.quantiser == QuantiserSettings(rule=Rule.MAX)
    assert isinstance(recipe.quantiser, QuantiserSettings)
    assert recipe.quantiser.threshold_factor == 0.05
    assert recipe.calibration == dataclasses.replace(mnist.calibration, layers=Layers.LAST)
    assert recipe.loss == dataclasses.replace(mnist.loss, task=Task.STEPS)
    assert recipe.fold == dataclasses.replace(mnist.fold, shifts=(4, 5))
    assert recipe.student == mnist.student


def test_without_a_base(tmp_path):
    recipe = read(tmp_path, """
        dataset = "digits"
        arch = "64-16-10"
        timesteps = 4
        teacher = {epochs = 2, rate = 0.01}
        student = {epochs = 3, rate = 0.02}
        quantiser = {bits = 4}
        [[pruning]]
        amount = 0.5
        """)
    assert recipe == Recipe("digits", "64-16-10", 4, Schedule(2, 0.01), Schedule(3, 0.02),
                            quantiser=StepSettings(4), pruning=(PruningSettings(amount=0.5),))


def test_settings_of_another_kind_start_anew():
    four = changed(RECIPES["mnist"], {"quantiser": {"bits": 4}}, "here")
    assert four.quantiser == StepSettings(4)
    assert changed(four, {"quantiser": {"rule": "max"}}, "here").quantiser == (
        QuantiserSettings(rule=Rule.MAX))
    assert changed(four, {}, "here") == four
    assert changed(four, {"quantiser": None}, "here").quantiser is None
    with pytest.raises(RecipeError, match="here: batch must be a whole number, not None"):
        changed(four, {"batch": None}, "here")


def test_a_conversion(tmp_path):
    assert RECIPES["digits"].conversion is None
    for text, conversion in (("", ConversionSettings()),
                             ("activation = 'clip-floor'\nlevels = 4",
                              ConversionSettings(Activation.CLIP_FLOOR, levels=4)),
                             ("percentile = 100", ConversionSettings(percentile=100.0))):
        assert read(tmp_path, f"base = 'digits'\n[conversion]\n{text}").conversion == conversion


@pytest.mark.parametrize(("text", "message"), [
    ("timesteps =", "my.toml: Invalid value"),
    ("base = 'dance'", "my.toml: unknown base 'dance'; known: digits, mnist"),
    ("timesteps = 4", "my.toml: dataset, arch, teacher, student missing"),
    ("base = 'mnist'\nsteps = 4", "my.toml: unknown key 'steps'; known: dataset, arch"),
    ("base = 'mnist'\n[neuron]\nleek = 1", "my.toml: neuron: unknown key 'leek'; known: leak"),
    ("base = 'mnist'\nneuron = 1", "my.toml: neuron must be a table, not 1"),
    ("base = 'mnist'\n[quantiser]\nbitts = 1", "quantiser: unknown key 'bitts'; known: rule"),
    ("base = 'mnist'\n[quantiser]\nrule = 'least'",
     "quantiser: rule must be one of mean, max, quantile, learned, not 'least'"),
    ("base = 'mnist'\ntimesteps = 4.0", "timesteps must be a whole number, not 4.0"),
    ("base = 'mnist'\ntimesteps = true", "timesteps must be a whole number, not True"),
    ("base = 'mnist'\narch = 1", "arch must be text, not 1"),
    ("base = 'mnist'\nmirror = 1", "mirror must be true or false, not 1"),
    ("base = 'mnist'\n[loss]\nbudget = 'low'", "loss: budget must be a number, not 'low'"),
    ("base = 'mnist'\nreadout_leak = 1", "readout_leak must be an array, not 1"),
    ("base = 'mnist'\nreadout_leak = [1.5]", r"readout_leak\[0\] must be a whole number, not 1.5"),
    ("base = 'mnist'\n[loss]\nbudget = -1", "my.toml: loss: Loss's budget must be positive"),
    ("base = 'mnist'\n[conversion]\nactivation = 'tanh'",
     "conversion: activation must be one of relu, clip-floor, not 'tanh'"),
    ("base = 'mnist'\n[conversion]\nlevels = 0", "Conversion's levels must be at least 1, not 0"),
    ("base = 'mnist'\n[conversion]\n[neuron]\nleak = [3]", "my.toml: A conversion needs neurons"),
    ("base = 'mnist'\nbatch = 1", "my.toml: Batch must be at least 2, not 1"),
])
def test_what_is_no_recipe(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message):
        read(tmp_path, text)


def test_what_is_no_text(tmp_path):
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="my.toml: .*utf-8"):
        read_recipe(tmp_path / "my.toml")


def test_the_document_tells_a_recipe(tmp_path):
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    first, converted = (read(tmp_path, block.partition("```")[0])
                            for block in text.split("```toml\n")[1:3])
    assert first.steps_of_teacher == 8 and first.neuron.learn_leak
    assert converted.conversion == ConversionSettings()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples(file):
    assert read_recipe(file).dataset in RECIPES
