"""The measurements of training: options, conversion, pruning, speed."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import (
    ablation,
    conversion,
    pruning,
    results,
    training_speed,
)
from bench.curves import Chart, Curve, curve_chart
from bench.training_peers import INSTALL, LIBRARIES, missing
from hw.parameters import PRESETS
from model.data import load
from model.fold import FoldSettings
from model.layers import as_inputs
from model.recipe_file import changed
from model.recipes import RECIPES
from model.train import train

MEDIUM = PRESETS["medium"]


# Ablation

MEASURED = {"dataset": "digits", "epochs": 15, "float": [0.99, 0.98], "quantised": [0.97, 0.98],
            "integer": [0.96, 0.98], "density": [0.5, 0.6], "spikes": [0.1, 0.2]}


def test_changes_can_be_made():
    """And each does change something."""
    for group in ablation.CHANGES.values():
        for name, changes in group.items():
            recipe = changed(RECIPES["digits"], changes, name)
            assert (recipe == RECIPES["digits"]) == (name == "recipe")
    names = [name for group in ablation.CHANGES.values() for name in group if name != "recipe"]
    assert len(set(names)) == len(names)


def test_changes_beside_the_recipe(tmp_path):
    """Of two networks; what can't be folded has no integer accuracy and is held by its own."""
    for name, extra in (("recipe", {}), ("4 bits, learned step", {"integer": []}),
                        ("leak 7/8", {})):
        file = tmp_path / f"{name.replace('/', '')}.json"
        file.write_text(json.dumps({**MEASURED, **extra, "name": name}))
    text = ablation.document(tmp_path)
    assert text.count("digits, 15 epochs, ") == 2
    assert text.index("quantiser:") < text.index("neuron:")
    assert ("| **recipe** | **98.50% (98.00% to 99.00%)** | **97.50% (97.00% to 98.00%)** | "
            "**97.00% (96.00% to 98.00%)** | **+1.50** | **55.0%** | **0.150** |") in text
    assert "| 97.50% (97.00% to 98.00%) | - | +1.00 | 55.0% | 0.150 |" in text
    assert ablation.document(tmp_path / "nothing") == ""


def test_ablation_of_a_short_training(tmp_path, capsys):
    command = ["--epochs", "1", "--seeds", "1", "--folder", str(tmp_path),
               "--checkpoints", str(tmp_path / "kept"), "--only"]
    assert ablation.main([*command, "recipe", "4 bits, learned step"]) == 0
    files = sorted(tmp_path.glob("*.json"))
    assert [file.name for file in files] == ["digits-4-bits-learned-step.json",
                                             "digits-recipe.json"]
    bits, ternary = (json.loads(file.read_text()) for file in files)
    assert bits["float"] == ternary["float"] and bits["integer"] == []
    # One teacher for two students.
    assert len(list((tmp_path / "kept").glob("*.pt"))) == 3
    assert 0.3 < ternary["density"][0] < 0.8 < bits["quantised"][0]
    assert 0.05 < ternary["spikes"][0] < 0.5 and ternary["integer"][0] > 0.8
    assert "4 bits, learned step" in capsys.readouterr().out


def test_ablation_without_data(tmp_path, capsys):
    assert ablation.main(["--dataset", "mnist", "--data", str(tmp_path),
                          "--folder", str(tmp_path)]) == 1
    assert "bench.ablation: " in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--seeds", "0"], ["--only", "magic"], ["--dataset", "cats"]])
def test_ablation_of_nothing(wrong, capsys):
    with pytest.raises(SystemExit):
        ablation.main(wrong)
    assert "error: " in capsys.readouterr().err


# Conversion


def test_conversions_in_a_table(tmp_path):
    def line(way, network, ann, *accuracies):
        return {"way": way, "start": 0.5, "network": network, "ann": ann,
                "accuracy": dict(zip(("1", "4"), accuracies, strict=True))}

    (tmp_path / "conversion").mkdir()
    (tmp_path / "conversion" / "digits.json").write_text(json.dumps({
        "dataset": "digits", "seeds": 2, "epochs": 15, "lines": [
            line(None, "full precision", [], [0.9, 0.92], [0.95, 0.97]),
            line("ReLU, largest", "all at once", [0.98, 0.99], [0.1, 0.3], [0.9, 0.9])]}))
    made, _ = results.sections(tmp_path)
    assert made["conversion"] == (
        "digits, 15 epochs, 2 seeds:\n\n"
        "| conversion | at first | network | ANN | T = 1 | T = 4 |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| **no conversion** | **0.5** | **full precision** | **-** | **91.00%** | **96.00%** |\n"
        "| ReLU, largest | 0.5 | all at once | 98.50% | 20.00% | 90.00% |\n")


def test_conversion_of_digits(tmp_path, monkeypatch, capsys):
    """The whole way from ANNs to the table, at the least that there is to train."""
    monkeypatch.setitem(RECIPES, "digits", replace(RECIPES["digits"], arch="64-32-10"))
    monkeypatch.setattr(conversion, "STEPS", (2, 4))
    monkeypatch.setattr(conversion, "WAYS", {"one": {"percentile": 99, "epochs": 1}})
    assert conversion.main(["--epochs", "2", "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert "layer by layer" in capsys.readouterr().out
    lines = json.loads((tmp_path / "digits.json").read_text())["lines"]
    assert [(line["way"], line["start"], line["network"]) for line in lines] == [
        *((None, 0, stage) for stage in ("full precision", "then ternary", "then integer")),
        *(("one", start, "all at once") for start in (0, 0.5)),
        *(("one", 0.5, stage) for stage in ("layer by layer", "then ternary", "then integer"))]
    assert all(set(line["accuracy"]) == {"2", "4"} for line in lines)
    assert min(line["accuracy"]["4"][0] for line in lines if line["start"]) > 0.6


def test_conversion_says_what_is_wrong(tmp_path, capsys):
    assert conversion.main(["--dataset", "mnist", "--data", str(tmp_path)]) == 1
    assert "bench.conversion: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        conversion.main(["--seeds", "0"])


# Pruning


@pytest.mark.parametrize(("recipe", "whole"), [("digits", 64), ("mnist-conv", 16)])
def test_ways_to_prune(recipe, whole):
    """Each goes further and further, whole tiles or columns by the core's own numbers."""
    found = pruning.ways(RECIPES[recipe], MEDIUM, epochs=3)
    assert len({way.name for way in found}) == len(found)
    for way in found:
        amounts = [step.amount or 0 for step in way.steps]
        assert amounts == sorted(amounts) and all(step.epochs == 3 for step in way.steps)
    assert {step.align for way in found for step in way.steps} == {1, whole}


@pytest.mark.parametrize("arch", ["64-32-32-10", "1x8x8-16C3S2-32C3S2-10"])
def test_pruning_of_digits(arch, tmp_path, monkeypatch, capsys):
    """The whole way from a recipe to its table, at the least that there is to train."""
    monkeypatch.setitem(RECIPES, "digits", replace(
        RECIPES["digits"], arch=arch, timesteps=2,
        fold=FoldSettings(samples=100, shifts=(7, 7, 7))))
    way, = (way for way in pruning.ways(RECIPES["digits"], MEDIUM, 1)
            if way.name == "neurons by membrane")
    command = ["--train-epochs", "1", "--epochs", "1", "--steps", "2", "--folder", str(tmp_path),
               "--checkpoints", str(tmp_path / "kept")]
    assert pruning.main([*command, "--samples", "20", "--only", "neurons by m",
                         "weights by operations, 50"]) == 0
    assert pruning.main([*command, "--samples", "20", "--only", "neurons by m", "--add"]) == 0
    assert len(list((tmp_path / "kept").glob("*.pt"))) == 5
    assert pruning.main([*command, "--samples", "30", "--only", "neurons by m", "--add"]) == 1
    assert "from another network, or otherwise: samples, float, base differ" in capsys.readouterr(
        ).err
    found = json.loads((tmp_path / "digits.json").read_text())
    by_operations, neurons = found["ways"]
    assert "input_bits=4" in by_operations["points"][0]["pruning"][0]
    assert by_operations["points"][0]["events"] < found["base"]["events"]
    points = [found["base"], *neurons["points"]]
    assert found["float"]["weights"] == points[0]["weights"] > points[0]["nonzero"]
    assert pruning.table(found).rows[1][0] == "full precision"
    for member in ("ops", "fetches", "words", "cycles", "bytes", "nonzero"):
        assert points[0][member] > points[-1][member] > 0
    assert points[2]["pruning"] == [str(step) for step in way.steps[:2]] and len(points) == 3
    assert ElementTree.fromstring((tmp_path / "digits.svg").read_text()).tag.endswith("svg")


def test_operations_of_full_precision():
    """An event meets all weights on it: of a dense layer as many as there are neurons."""
    made = replace(RECIPES["digits"], arch="64-32-10", timesteps=2,
                   fold=FoldSettings(samples=100, shifts=(7, 7)))
    source = load("digits")
    result = train(replace(made, teacher=replace(made.teacher, epochs=1),
                           student=replace(made.student, epochs=1)), source)
    found = pruning.measure_float(result, source, 50)
    with torch.no_grad():
        spikes, = result.float_model(as_inputs(source.test_x[:50].reshape(50, -1))).spikes
    events = np.unpackbits(source.test_x[:50]).sum() / 50
    assert found["weights"] == 64 * 32 + 32 * 10
    assert found["ops"] == pytest.approx(events * 32 + float(spikes.sum()) / 50 * 10, rel=1e-5)


def test_pruning_says_what_is_wrong(tmp_path, capsys):
    assert pruning.main(["--dataset", "mnist", "--data", str(tmp_path)]) == 1
    assert "bench.pruning: " in capsys.readouterr().err
    assert pruning.main(["--add", "--folder", str(tmp_path)]) == 1
    assert f"No such file or directory: '{tmp_path}/digits.json'" in capsys.readouterr().err
    assert pruning.main(["--only", "neurons", "nothing"]) == 1
    assert "Unknown way 'nothing'; known: weights by magnitude" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pruning.main(["--recipe", "none"])
    assert "unknown recipe 'none'; known: digits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pruning.main(["--steps", "0"])
    assert "--steps must be at least 1, not 0" in capsys.readouterr().err


def test_curves():
    """Labels have one look in all charts; x is logarithmic."""
    one = Curve("one & only", ((10.0, 0.9), (1000.0, 0.99)))
    other = Curve("other", ((10.0, 0.8),))
    svg = ElementTree.fromstring(curve_chart("<title>", [
        Chart("first", "x", (one, other), ("all", 0.95)), Chart("second", "x", (one,))]))
    name = "{http://www.w3.org/2000/svg}"
    texts = ["".join(each.itertext()) for each in svg.iter(f"{name}text")]
    assert "<title>" in texts and texts.count("one & only") == 1 and texts.count("all") == 1
    assert {"10", "100", "1,000", "80.0%"} <= set(texts)
    lines = [each for each in svg.iter(f"{name}polyline")]
    assert len(lines) == 3 and lines[0].get("stroke") == lines[2].get("stroke")
    assert lines[0].get("stroke") != lines[1].get("stroke")


@pytest.mark.parametrize("charts", [
    [], [Chart("empty", "x", ())], [Chart("empty", "x", (Curve("one", ()),))]])
def test_curves_need_points(charts):
    with pytest.raises(ValueError, match="There must be at least one chart, a curve in each"):
        curve_chart("nothing", charts)


def test_curves_need_a_logarithm():
    with pytest.raises(ValueError, match="Points of 'one' must lie above 0"):
        curve_chart("zero", [Chart("zero", "x", (Curve("one", ((0.0, 1.0),)),))])


@pytest.mark.parametrize(("values", "expected"), [
    ((1.0, 30.0), ["1", "2", "5", "10", "20"]),
    ((42605.0, 45506.0), ["42,000", "44,000", "46,000"]),   # no 1, 2 or 5 times a power of ten
    ((700.0, 700.0), ["680", "700", "720"]),
    ((1.0, 2e4), ["1", "10", "100", "1,000", "10,000"]),
])
def test_ticks_of_a_logarithmic_axis(values, expected):
    chart = Chart("y", "x", (Curve("one", tuple((value, 0.5) for value in values)),))
    texts = [text.text or "" for text in ElementTree.fromstring(curve_chart("ticks", [chart])).iter(
        "{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text[0].isdigit() and "%" not in text] == expected


# Speed of training

def speed(*peers):
    """Return what `bench.training_speed` would have found: a peer's step takes 1.5 times ours."""
    def times(ratio):
        quartiles = {"seconds": 0.01 * ratio, "ratio": [ratio - 0.25, ratio, ratio + 0.25]}
        return dict.fromkeys(("step", *training_speed.PHASES), quartiles)

    parts = dict.fromkeys([*training_speed.PARTS, training_speed.REST], 0.125) | {"weights": 0.375}
    found = {"parts": parts, "operators": {"aten::mm": 0.375}}
    ratios = {training_speed.OURS: 1.0, training_speed.TERNARY: 1.25} | dict.fromkeys(peers, 1.5)
    return {"versions": {"torch": "2.13.0"}, "threads": 1, "batch": 128, "rounds": 41, "cases": [
        {"case": str(case), "measured": {name: times(ratio) for name, ratio in ratios.items()},
         "profile": dict.fromkeys((training_speed.OURS, training_speed.TERNARY), found)}
        for case in training_speed.CASES]}


def test_speed_of_training_stands_in_the_results(tmp_path):
    build, readme = tmp_path / "build", tmp_path / "README.md"
    output = tmp_path / "docs" / "results.md"
    (build / "bench").mkdir(parents=True)
    (build / "bench" / "training_speed.json").write_text(json.dumps(speed(*LIBRARIES)))
    output.parent.mkdir()
    output.write_text("<!-- begin speed -->\n<!-- end speed -->\n")
    readme.write_text("")
    assert results.main(["--build", str(build), "--output", str(output),
                         "--readme", str(readme)]) == 0
    text = output.read_text()
    assert "| network | time of | Ternspike, ternary | snntorch | spikingjelly |" in text
    assert ("| **784-256-10, T = 8, spikes** | **step** | **1.25 (1.00 to 1.50)** | "
            "**1.50 (1.25 to 1.75)** | **1.50 (1.25 to 1.75)** |") in text
    assert "| 784-256-10, T = 4, pixels, ternary | 38% | 12% | 12% | 12% | 12% | 12% |" in text
    assert "| `aten::mm` | 37.5% |" in text and "41 rounds" in text
    picture = ElementTree.fromstring((output.parent / "training-speed.svg").read_text())
    assert any(element.text == "37.5%" for element in picture.iter())


def test_speed_without_peers():
    """What is not installed is no column."""
    table = training_speed.ratios_table(speed())
    assert table.header == ("network", "time of", "Ternspike, ternary")
    assert table.bold == {0, 3, 6, 9, 12}


def test_speed_says_what_to_install(tmp_path, monkeypatch, capsys):
    """And profiles ours all the same."""
    monkeypatch.setattr(training_speed, "missing", lambda: list(LIBRARIES))
    monkeypatch.setattr(training_speed, "CASES", (training_speed.Case("16-8-10", 2, True),
                                                  training_speed.Case("1x6x6-4C3-10", 2, False)))
    output = tmp_path / "speed.json"
    assert training_speed.main(["--rounds", "2", "--batch", "4", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert f"left out: snntorch, spikingjelly. To compare with them:\n{INSTALL}" in printed
    assert "aten::" in printed
    for each in json.loads(output.read_text())["cases"]:
        assert list(each["measured"]) == [training_speed.OURS, training_speed.TERNARY]
        for found in each["profile"].values():
            assert sum(found["parts"].values()) == pytest.approx(1)
            assert min(found["parts"][part] for part in ("weights", "batch norm", "neurons")) > 0
        assert each["profile"][training_speed.OURS]["parts"]["quantiser"] == 0
        assert each["profile"][training_speed.TERNARY]["parts"]["quantiser"] > 0


def test_speed_of_networks_that_differ(monkeypatch, tmp_path, capsys):
    """A peer that computes something else is no comparison."""
    monkeypatch.setattr(training_speed, "missing", list)
    monkeypatch.setattr(training_speed, "LIBRARIES", {"other": Doubled})
    monkeypatch.setattr(training_speed, "CASES", (training_speed.Case("16-8-10", 2, True),))
    assert training_speed.main(["--rounds", "2", "--output", str(tmp_path / "speed.json")]) == 1
    assert "the networks are not the same" in capsys.readouterr().err


class Doubled(torch.nn.Module):
    """A network with twice the logits of another."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return 2 * self.network(inputs).logits


@pytest.mark.parametrize("wrong", ["--rounds=1", "--batch=1", "--threads=0"])
def test_speed_of_nothing(wrong, capsys):
    with pytest.raises(SystemExit):
        training_speed.main([wrong])
    assert "must be at least" in capsys.readouterr().err


@pytest.mark.skipif(bool(missing()), reason="the extra `peers` is not installed")
@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("static", [False, True])
def test_peers_compute_the_same(name, static):
    """Loss and, after two steps, parameters, of a network with a convolution."""
    case = training_speed.Case("1x8x8-4C3S2-10", 3, static)
    both = [training_speed.Trained(case, each, 16) for each in (training_speed.OURS, name)]
    for each in both:
        each.step()
        each.step()
    assert both[0].loss == pytest.approx(both[1].loss, rel=1e-4)
    weights = [next(each.network.parameters()) for each in both]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)
