"""Experiments: measured once from end to end; what is there is kept, shown, and said if missing."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from bench import experiments, results
from bench.accuracies import ACCURACIES
from bench.cores import core_of
from bench.experiments import ExperimentError, Setting
from bench.ranges import Panel, Row, range_chart
from bench.svg import ticks
from bench.tables import markdown, spread
from model.data import load
from model.quantise import QuantiserSettings
from model.recipe_file import read_recipe
from model.recipes import RECIPES, RecipeError
from ternspike.cores import parse_core
from tests.networks import SMALL

#: The least that there is to train.
TINY = """
base = "digits"
arch = "64-16-10"
timesteps = 2
[teacher]
epochs = 4
[student]
epochs = 4
[fold]
samples = 100
"""


def figures(seed: int, **changes) -> dict[str, Any]:
    """Return what a seed might be measured to have."""
    return {"seed": seed, "float": 0.98, "ternary": 0.97, "integer": 0.96, "loss": 0.02,
            "density": 0.5, "spikes": 0.125, "operations": 2000.0, "ops": 1500.0,
            "memory": 9000.0, "ratio_ops": 5.0, "ratio_ops_wide": 3.5,
            "ratio_memory": 4.0, "codes": 14.5, "packed": 17.5, "stored": 19.0,
            "cycles": 300.0, "cycles_model": 300.0, "mismatches": 0,
            "compared": 1000, **changes}


def experiment(name: str, *seeds: dict[str, Any], dataset: str = "digits") -> dict[str, Any]:
    """Return an experiment with these seeds."""
    return {"name": name, "dataset": dataset, "arch": "64-16-10", "timesteps": 2,
            "core": "medium", "samples": 100, "test_samples": 360, "recipe": "...",
            "seeds": list(seeds)}


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A file of a recipe."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    return file


# Measuring

def test_a_seed_from_training_to_the_core(tiny):
    """Figures agree with one another, and with those of the layers."""
    recipe = read_recipe(tiny)
    found = experiments.measure(recipe, load("digits"), 3, Setting(SMALL, samples=5))
    assert 0.5 < found["integer"] <= 1 and 0.5 < found["float"] <= 1
    assert found["loss"] == found["float"] - found["integer"]
    assert found["mismatches"] == 0
    # Of each of 5 samples and 2 steps: 16 spikes, membranes; the class, and readouts of 10 classes.
    assert found["compared"] > 5 * 2 * 16
    assert found["cycles"] == found["cycles_model"] > 20
    assert 0.2 < found["density"] < 0.9 and 0.02 < found["spikes"] < 0.8
    # An operation for each pixel's bit on a weight that is not 0, or for each spike: not more.
    assert 0 < found["operations"] < found["density"] * 2 * 16 * (8 * 64 + 10)
    assert found["memory"] > found["ops"] and found["packed"] > found["codes"] > 1
    assert found["stored"] >= found["packed"] and found["ratio_ops"] > found["ratio_ops_wide"]
    assert set(found) == set(figures(3))


def test_what_is_there_is_not_trained_again(tiny, tmp_path, monkeypatch, capsys):
    """A new seed is added, another setting begins anew; an interrupt keeps what was finished."""
    trained = []

    def measure(recipe, dataset, seed, setting):
        if seed == 9:
            raise KeyboardInterrupt
        trained.append((seed, setting.samples))
        return figures(seed)

    monkeypatch.setattr(experiments, "measure", measure)
    folder = tmp_path / "found"
    command = ["--recipe", str(tiny), "--folder", str(folder)]
    assert experiments.main([*command, "--seeds", "1", "--seed", "2"]) == 0
    assert experiments.main([*command, "--seeds", "3"]) == 0
    assert trained == [(2, 100), (1, 100), (3, 100)]
    assert "tiny, seed 2: is there" in capsys.readouterr().out
    found = json.loads((folder / "tiny.json").read_text())
    assert [one["seed"] for one in found["seeds"]] == [1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
        experiments.main([*command, "--seeds", "2", "--seed", "8"])
    found = json.loads((folder / "tiny.json").read_text())
    assert [one["seed"] for one in found["seeds"]] == [1, 2, 3, 8]
    assert [file.name for file in folder.iterdir()] == ["tiny.json"]
    assert experiments.main([*command, "--seeds", "1", "--samples", "7"]) == 0
    assert trained[-1] == (1, 7)
    tiny.write_text(TINY.replace("timesteps = 2", "timesteps = 1"))
    assert experiments.main([*command, "--seeds", "1", "--samples", "7"]) == 0
    assert trained[-2:] == [(1, 7), (1, 7)]
    assert "tiny: what is there is of another recipe" in capsys.readouterr().out


def test_a_difference_is_a_failure(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "measure", lambda recipe, dataset, seed, setting: figures(
        seed, mismatches=int(seed == 2)))
    assert experiments.main(["--recipe", str(tiny), "--folder", str(tmp_path)]) == 1
    assert "tiny: the RTL differs from the golden model with seed 2\n" in capsys.readouterr().err


def test_one_that_fails_does_not_stop_the_others(tiny, tmp_path, monkeypatch, capsys):
    """No data, weights that are not ternary, and one that can be measured."""
    bits = tmp_path / "bits.toml"
    bits.write_text(TINY + "[quantiser]\nbits = 4\n")
    measure = experiments.measure
    monkeypatch.setattr(experiments, "measure", lambda recipe, dataset, seed, setting: (
        figures(seed) if isinstance(recipe.quantiser, QuantiserSettings)
        else measure(recipe, dataset, seed, setting)))
    folder = tmp_path / "found"
    assert experiments.main(["--recipe", "mnist", str(bits), str(tiny), "--seeds", "1", "--data",
                             str(tmp_path), "--folder", str(folder)]) == 1
    told = capsys.readouterr().err
    assert f"bench.experiments: mnist: {tmp_path}" in told
    assert "bench.experiments: bits: Weights that are" in told
    assert [file.name for file in folder.iterdir()] == ["tiny.json"]


@pytest.mark.parametrize("wanted, expected", [
    (["cats"], "Unknown recipe 'cats'; known: digits"),
    (["digits", "digits"], "digits: there is an experiment 'digits' already"),
    (["no/such.toml"], "no/such.toml: No such file"),
])
def test_what_is_not_understood_is_said_before_anything_is_trained(wanted, expected, tmp_path,
                                                                   capsys):
    assert experiments.main(["--recipe", *wanted, "--folder", str(tmp_path)]) == 1
    assert f"bench.experiments: {expected}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_called_as_a_recipe(tmp_path):
    file = tmp_path / "mnist.toml"
    file.write_text(TINY)
    with pytest.raises(RecipeError, match="there is an experiment 'mnist' already"):
        experiments.names([str(file)])


@pytest.mark.parametrize("option, least", [("--seeds", 1), ("--seed", 0), ("--samples", 1),
                                           ("--jobs", 1)])
def test_limits(option, least, capsys):
    with pytest.raises(SystemExit):
        experiments.main([option, str(least - 1)])
    assert f"{option} must be at least {least}, not {least - 1}" in capsys.readouterr().err


def test_committed_recipes_are_the_default():
    wanted = experiments.names(experiments.recipes())
    assert set(RECIPES) < set(wanted) and "digits-t1" in wanted
    # Its weights can't be folded.
    assert "digits-lsq" not in wanted


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_a_core(recipe):
    assert parse_core(core_of(recipe))


# Showing

def test_mean_and_spread():
    assert spread([0.98]) == "98.00%"
    assert spread([0.98, 0.96, 0.97]) == "97.00% (96.00% to 98.00%)"
    assert spread([1000, 2000], ",.0f") == "1,500 (1,000 to 2,000)"


def test_tables():
    found = [experiment("one", figures(1), figures(2, integer=0.98, loss=0.0, cycles=400.0,
                                                   mismatches=3)),
             experiment("other", figures(1))]
    made = experiments.tables(found)
    assert ("| one | 64-16-10, 2 | 2 | 98.00% (98.00% to 98.00%) | 97.00% (97.00% to 97.00%) | "
            "97.00% (96.00% to 98.00%) | +1.00 (+0.00 to +2.00) | 100 of 360 | 3 of 2,000 |\n"
            ) in markdown(made["accuracy"])
    assert ("| other | 50.0% | 0.125 | 2,000 | 1.5 | 5.00 | 3.50 | 9.0 | 4.00 | 14.50 | 17.50 | "
            "19.00 | 300.0 |\n"
            ) in markdown(made["cost"])
    assert "| 350.0 (300.0 to 400.0) |" in markdown(made["cost"])


def test_what_was_not_measured_then_is_a_dash():
    older = {name: value for name, value in figures(1).items() if name not in ("stored", "ops")}
    made = experiments.tables([experiment("older", older)])
    assert ("| older | 50.0% | 0.125 | 2,000 | - | 5.00 | 3.50 | 9.0 | 4.00 | 14.50 | 17.50 | - | "
            "300.0 |\n") in markdown(made["cost"])


def test_published_figures_stand_beside_ours_of_the_same_set():
    beside = experiments.published([experiment("digits", figures(1)),
                                    experiment("nmnist", figures(1), dataset="nmnist")])
    assert beside is not None
    text = markdown(beside)
    assert "**ours, nmnist, integer** | **64-16-10, T = 2** | **96.00%**" in text
    assert "| all of N-MNIST | GAND-Nets | ternary weights | 98.43% | a page on it |" in text
    assert "digits" not in text and "cifar10" not in text
    assert experiments.published([experiment("digits", figures(1))]) is None


def test_published_figures_are_shares_of_our_sets():
    datasets = {recipe.dataset for recipe in RECIPES.values()}
    for each in ACCURACIES:
        assert each.dataset in datasets and 0.5 < each.share < 1 and each.read, each


def test_experiments_stand_in_the_results(tmp_path):
    """By data set, in the order of the recipes, with a picture, and with those that are missing."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    for each in (experiment("nmnist", figures(1), dataset="nmnist"), experiment("nothing"),
                 experiment("mine", figures(1)), experiment("digits", figures(1), figures(2))):
        (folder / f"{each['name']}.json").write_text(json.dumps(each))
    output, readme = tmp_path / "docs" / "results.md", tmp_path / "README.md"
    output.parent.mkdir()
    output.write_text("<!-- begin experiments -->\n<!-- end experiments -->\n")
    readme.write_text("")
    assert results.main(["--build", str(tmp_path), "--output", str(output),
                         "--readme", str(readme)]) == 0
    text = output.read_text()
    assert text.index("| digits |") < text.index("| mine |") < text.index("| nmnist |")
    assert "nothing" not in text
    missing = text[text.index("Not measured yet: "):]
    assert "`mnist`" in missing and "`digits`" not in missing and "`nmnist`" not in missing
    assert "(experiments.svg)" in text
    drawn = ElementTree.fromstring((output.parent / "experiments.svg").read_text())
    assert {"digits", "nmnist", "mine"} <= {each.text for each in drawn.iter()}
    assert experiments.document(tmp_path / "none") == ""


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"seeds": 3}', "\0"])
def test_a_file_that_is_no_experiment(content, tmp_path, tiny, capsys):
    file = tmp_path / "tiny.json"
    file.write_text(content)
    with pytest.raises(ExperimentError, match="does not hold an experiment"):
        experiments.measured(tmp_path)
    assert experiments.main(["--recipe", str(tiny), "--folder", str(tmp_path)]) == 1
    assert f"{file} does not hold an experiment; remove it" in capsys.readouterr().err
    assert file.read_text() == content


# Pictures

def test_ranges_reach_from_the_lowest_to_the_highest():
    """A line of each series, its mark at the mean, all on one scale."""
    name = "{http://www.w3.org/2000/svg}"
    drawn = ElementTree.fromstring(range_chart("<title>", ("one", "other"), [
        Panel("panel", (Row("a & b", ([0.90, 0.94, 0.98], [0.92])), Row("c", ([0.96], []))))]))
    lines = [each for each in drawn.iter(f"{name}line") if each.get("stroke-width")]
    ends = [(float(line.get("x1", "nan")), float(line.get("x2", "nan"))) for line in lines]
    assert len(ends) == 3
    (left, right), (other, same), (third, _) = ends
    assert other == same == pytest.approx(left + (right - left) / 4, abs=0.2)
    assert third == pytest.approx(left + (right - left) * 3 / 4, abs=0.2)
    marks = [float(each.get("cx", "nan")) for each in drawn.iter(f"{name}circle")][1:]
    assert marks == pytest.approx([(left + right) / 2, third], abs=0.2)
    texts = {"".join(each.itertext()) for each in drawn.iter(f"{name}text")}
    assert {"<title>", "a & b", "c", "90.0%", "98.0%"} <= texts


@pytest.mark.parametrize("panels, expected", [
    ([], "at least one panel"), ([Panel("empty", ())], "at least one panel"),
    ([Panel("no values", (Row("a", ([], [])),))], "at least one panel"),
    ([Panel("one series", (Row("a", ([0.5],)),))], "'a' must have values of 2 series")])
def test_ranges_need_values(panels, expected):
    with pytest.raises(ValueError, match=expected):
        range_chart("nothing", ("one", "other"), panels)


@pytest.mark.parametrize("low, high, expected", [
    (0.905, 0.98, [0.9, 0.92, 0.94, 0.96, 0.98]), (1.0, 1.0, [0.999, 1.0]),
    (0.9981, 0.9983, [0.998, 0.999]), (3, 47, [0, 10, 20, 30, 40, 50])])
def test_ticks(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)
