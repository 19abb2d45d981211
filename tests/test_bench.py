"""The measurements' own arithmetic: activity, tables, areas, sections. No simulation here."""

import json
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import (
    ablation,
    campaign,
    conversion,
    explore,
    levels,
    peers,
    pins,
    pruning,
    results,
    training_speed,
)
from bench.area import AreaModel, block_rams, components, fit
from bench.bars import Bar, Panel, bar_chart
from bench.curves import Chart, Curve, curve_chart
from bench.place import ECP5
from bench.published import PEERS
from bench.tables import Table, markdown, replace_sections
from bench.training_peers import INSTALL, LIBRARIES, missing
from bench.workloads import WORKLOADS, synaptic_operations
from hw.parameters import PRESETS
from mapping.program import compile_network
from model.fold import FoldSettings
from model.golden import execute
from model.recipe_file import changed
from model.recipes import RECIPES
from tests.agreement import Agreement
from tests.networks import CORES, PAIRS

ROOT = Path(__file__).parent.parent
MISSING = ROOT / "build" / "no such network"
MEDIUM = PRESETS["medium"]
PLACED = {"name": "medium", "device": ECP5.name, "banks": MEDIUM.banks, "lanes": MEDIUM.lanes,
          "planes": MEDIUM.planes, "neurons": MEDIUM.neurons, "slots": MEDIUM.slots,
          "comb": 10000, "lut4": 9000, "ff": 8000, "ram": 70, "mult": 32, "fmax": 80.0,
          "comb_per_slot": 9.77, "seed": 1}


def summary(area):
    """Return what `make bench` would have found: a thousand operations in a hundred cycles."""
    def activity(percent, cycles):
        return {"percent": percent, "spikes": 1, "hidden_activity": 0.1, "operations": 1000.0,
                "cycles": {"mean": cycles, "min": cycles, "max": cycles, "model_mean": cycles},
                "stream": {"mean": cycles / 2, "model_mean": cycles / 2, "bound_mean": 1.0},
                "compared": 10, "mismatches": 0, "first_mismatch": None}

    return peers.summarise("medium", [
        {"name": workload.name, "arch": workload.arch, "timesteps": workload.timesteps,
         "threshold": workload.threshold,
         "activities": [activity(percent, 10.0 * percent) for percent in workload.spikes]}
        for workload in WORKLOADS], 1, area)


# Workloads

@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize("percent", [5, 10, 20])
def test_activity_is_exact(workload, percent):
    samples = workload.samples(percent, 3, seed=5)
    assert samples.shape == (3, workload.timesteps, workload.sizes[0])
    assert set(np.unique(samples)) == {0, 1}
    assert (samples.sum(axis=2) == workload.spikes[percent]).all()
    assert workload.spikes[percent] == pytest.approx(percent / 100 * workload.sizes[0], abs=0.6)
    # Not the same inputs in every step.
    assert samples.any(axis=(0, 1)).sum() > workload.spikes[percent]


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_weights_and_hidden_activity(workload):
    network = workload.network(seed=1)
    assert "-".join(map(str, workload.sizes)) == workload.arch
    assert [layer.weights.shape for layer in network.layers] == [
        (outputs, inputs) for inputs, outputs in zip(workload.sizes, workload.sizes[1:],
                                                     strict=False)]
    weights = network.layers[0].weights
    for sign, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        assert np.mean(weights == sign) == pytest.approx(share, abs=0.01)
    spikes = execute(network, workload.samples(10, 8, seed=1)).spikes[0]
    assert 0.05 < spikes.mean() < 0.15
    compile_network(network, MEDIUM)


def test_seeds_give_the_same_and_other_workloads():
    workload = WORKLOADS[0]
    assert (workload.samples(10, 2, 3) == workload.samples(10, 2, 3)).all()
    assert (workload.samples(10, 2, 3) != workload.samples(10, 2, 4)).any()
    assert (workload.network(3).layer(0).weights != workload.network(4).layer(0).weights).any()


def test_synaptic_operations_leave_zero_weights_out():
    weights = WORKLOADS[0].network(1).layer(0).weights
    spikes = WORKLOADS[0].samples(10, 2, 1)
    expected = [sum(np.count_nonzero(weights[:, channel])
                    for _, channel in np.argwhere(sample)) for sample in spikes]
    assert synaptic_operations(weights, spikes).tolist() == expected


# Tables

def test_markdown():
    table = Table(("a", "b"), [("x", "1"), ("y", "2")], {1})
    assert markdown(table) == ("| a | b |\n| --- | ---: |\n| x | 1 |\n| **y** | **2** |\n")
    with pytest.raises(ValueError, match="must have 2 cells"):
        Table(("a", "b"), [("x",)])


def test_our_row_stands_beside_the_peers():
    area, speed = peers.tables(summary(PLACED))
    assert [row[0] for row in area.rows] == [*(peer.name for peer in PEERS), "Ternspike medium"]
    assert area.rows[-1][1:] == ("10,000", "9,000", "8,000", "70", "32", "80.0")
    # 1000 operations in 100 cycles at 80 MHz: 800 M/s, on 10 kCOMB.
    assert speed.rows[-4] == ("Ternspike medium (W1 + readout)", "50", "100", "200", "0.1",
                              "1.25 us", "80")
    assert speed.rows[-3][-1] == "160"
    assert speed.rows[0] == ("tinyODIN (W1)", "69,174", "137,734", "269,718", "4.18", "3.67 ms",
                             "3.0")


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.rate and peer.milliseconds],
                         ids=lambda peer: peer.name)
def test_published_rates_follow_from_the_other_figures(peer):
    operations = peer.cycles[1] / peer.cycles_per_sop
    rate = operations / peer.milliseconds / 1e3 / peer.comb * 1e3
    assert rate == pytest.approx(peer.rate, rel=0.03)


def test_without_place_and_route_there_is_no_rate():
    area, speed = peers.tables(summary(None))
    assert set(area.rows[-1][1:]) == {"-"}
    assert speed.rows[-1][-2:] == ("-", "-")
    assert len(peers.panels(summary(None))) == 2
    assert len(peers.panels(summary(PLACED))) == 3


def test_verdicts():
    missed = summary(None)
    missed["workloads"][1]["activities"][1]["cycles"]["max"] = 600
    lines = peers.verdicts(missed)
    assert "W1" in lines[0] and lines[0].endswith("met")
    assert "W2" in lines[1] and lines[1].endswith("MISSED")


def test_area_of_another_shape_is_not_ours(tmp_path):
    file = tmp_path / "place.json"
    assert peers.area_of("medium", MEDIUM.to_dict(), file) is None
    file.write_text(json.dumps([PLACED | {"neurons": MEDIUM.neurons // 2}]))
    assert peers.area_of("medium", MEDIUM.to_dict(), file) is None
    file.write_text(json.dumps([PLACED]))
    assert peers.area_of("medium", MEDIUM.to_dict(), file) == PLACED


def test_picture():
    picture = peers.picture(summary(PLACED))
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "137,734" in texts and "Ternspike medium" in texts


def test_bars_grow_with_the_logarithm():
    picture = bar_chart("t", [Panel("p", tuple(Bar(str(n), 10.0 ** n, "") for n in (1, 2, 3)))])
    widths = [float(element.get("width", "nan")) for element
              in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths == pytest.approx([widths[0] * n for n in (1, 2, 3)], abs=0.2)
    with pytest.raises(ValueError, match="above 0"):
        bar_chart("t", [Panel("p", (Bar("zero", 0, "0"),))])
    with pytest.raises(ValueError, match="at least one panel"):
        bar_chart("t", [])


# Area and shapes

def test_area_is_that_of_the_components_measured():
    # 33 COMB a counter of 16 banks (here with 10 bits of accumulator), 2 x 64 of them.
    assert components(MEDIUM)[0] == pytest.approx(2 * 64 * 33, rel=0.05)
    assert components(replace(MEDIUM, banks=8))[0] == pytest.approx(2 * 64 * 17, rel=0.08)
    assert components(replace(MEDIUM, planes=2))[0] == 2 * components(MEDIUM)[0]
    assert AreaModel().comb(MEDIUM) == round(components(MEDIUM).sum())


def test_block_rams_are_those_of_the_placed_medium():
    # 64 weights, 16 gains, 12 biases, 12 thresholds, 16 currents, 4 spikes, 3 others.
    assert block_rams(MEDIUM, 512, 512, 512) == 127


def test_fit_meets_the_placed_cores():
    shapes = {"medium": MEDIUM, "half": replace(MEDIUM, neurons=8), "small": PRESETS["small"]}
    truth = np.array([0.8, 1.2, 1.0, 1.1, 0.9])
    model = fit([(name, p, int(components(p) @ truth)) for name, p in shapes.items()])
    assert set(model.errors) == set(shapes)
    assert max(map(abs, model.errors.values())) < 0.03
    assert fit([]) == AreaModel()


def test_neighbours_differ_in_one_parameter():
    first, *others = explore.neighbours(MEDIUM)
    assert first == MEDIUM
    for other in others:
        changed = {key for key in explore.GRID if getattr(other, key) != getattr(MEDIUM, key)}
        # More lanes than a row has channels take more columns, too.
        assert len(changed) == 1 or changed == {"lanes", "scan"}


def test_shapes_and_their_front():
    tried = explore.loads(network_file=MISSING, data=None, seed=1)
    assert [each.name for each in tried] == ["W1", "W2"]
    area = AreaModel()
    evaluated = [explore.evaluate(p, tried) for p in (MEDIUM, replace(MEDIUM, neurons=8))]
    shapes = [explore.Shape.of(each, area) for each in evaluated]
    assert shapes[0].preset == "medium" and shapes[1].preset is None
    assert shapes[0].mean < shapes[1].mean and shapes[0].comb > shapes[1].comb
    worse = replace(shapes[0], comb=shapes[0].comb + 1)
    assert explore.front([worse, *shapes]) == [shapes[1], shapes[0]]
    found = {"mnist": None, "presets": evaluated, "medium": evaluated, "spram": evaluated,
             "shapes": evaluated}
    text = explore.document(found, area)
    assert "16 x 64 x 1, medium" in text and "| 1.00 |" in text.replace("**", "")


def test_candidates_are_cores():
    shapes = list(explore.candidates())
    assert len(set(shapes)) == len(shapes) > 100
    assert {shape.planes for shape in shapes} == {1, 2, 4}


# Spikes that count

def test_levels_side_by_side():
    first = {"timesteps": 4, "z_max": 1, "seeds": 2, "samples": 9,
             "accuracy": {"float": [0.9, 0.91], "ternary": [0.88, 0.9], "integer": [0.88, 0.9]},
             "mismatches": 0, "compared": 1000, "events": 400.0, "cycles": 300.25, "ops": 2000.0,
             "memory": 9000.0}
    other = first | {"timesteps": 1, "z_max": 3, "ops": 500.0, "memory": 6000.0}
    text = markdown(levels.table({"settings": [first, other]}))
    assert "| **T = 4, 0..1** | **90.50% (90.00% to 91.00%)** |" in text
    assert "| T = 1, 0..3 |" in text and "0.5 (4.00 x) | 6.0 (1.50 x) |" in text


def test_levels_without_data(tmp_path, capsys):
    assert levels.main(["--dataset", "mnist", "--data", str(tmp_path),
                        "--folder", str(tmp_path)]) == 1
    assert "bench.levels: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# Sections of docs/results.md

TEMPLATE = "a\n<!-- begin place -->\nold\n<!-- end place -->\nb\n"


def test_sections_are_replaced_between_their_markers():
    once = replace_sections(TEMPLATE, {"place": "\\1 new\n"})
    assert once == "a\n<!-- begin place -->\n\n\\1 new\n\n<!-- end place -->\nb\n"
    assert replace_sections(once, {"place": "\\1 new\n"}) == once
    assert replace_sections(TEMPLATE, {}) == TEMPLATE


@pytest.mark.parametrize("text", ["", TEMPLATE * 2, TEMPLATE.replace("end", "end of")])
def test_markers_must_be_there_once(text):
    with pytest.raises(ValueError, match="'place' must have its two markers once"):
        replace_sections(text, {"place": "new"})


def test_results_takes_what_is_there(tmp_path, capsys):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "place.json").write_text(json.dumps([PLACED]))
    output, readme = tmp_path / "results.md", tmp_path / "README.md"
    output.write_text(TEMPLATE)
    readme.write_text("no table of networks is needed where there are no networks")
    assert results.main(["--build", str(tmp_path), "--output", str(output),
                         "--readme", str(readme)]) == 0
    assert "| **medium** | **LFE5U-85 speed 6** | **16 x 64 x 1** |" in output.read_text()
    printed = capsys.readouterr().out
    for command in ("make bench", "make demo", "make mnist", "make fashion", "bench.levels",
                    "bench.explore", "bench.ablation", "bench.conversion",
                    "make experiments"):
        assert command in printed


def test_boards_reach_the_results(tmp_path):
    """Those that are built, from the smallest chip on; a clock with its margin."""
    for name, achieved in (("ulx3s", 88.0), ("icebreaker", 30.0)):
        (tmp_path / "boards" / name).mkdir(parents=True)
        (tmp_path / "boards" / name / f"{name}.json").write_text(json.dumps({
            "board": name, "chip": "a chip", "core": {"name": "a core"}, "seed": 3,
            "used": {"LUT": {"used": 4000, "available": 5280}},
            "clocks": [{"name": "spare", "wanted": 1.0, "achieved": 9.0, "margin": 8.0},
                       {"name": "clk", "wanted": 80.0, "achieved": achieved,
                        "margin": achieved / 80 - 1}]}))
    made, missing = results.sections(tmp_path)
    rows = made["boards"].splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["icebreaker", "ulx3s"]
    assert rows[1] == ("| ulx3s | a chip | a core | 4,000 of 5,280 | - | - | - | - | 80.0 | 88.0 "
                       "| +10% | 3 |")
    assert not any("make boards" in line for line in missing)


def test_pins_reach_the_results(tmp_path):
    (tmp_path / "bench").mkdir()
    row = {"dataset": "digits", "arch": "64-128-10", "timesteps": 4, "samples": 100,
           "accuracy": {"device": 0.5}, "mismatches": 2, "compared": 1100,
           "cycles": {"mean": 3861.04}, "bytes": {"sent": 33648, "received": 5719}}
    (tmp_path / "bench" / "pins-icebreaker.json").write_text(json.dumps(
        {"board": "icebreaker", "core": "tiny,lanes=4", "rows": [row]}))
    made, _ = results.sections(tmp_path)
    assert "icebreaker, core `tiny,lanes=4`" in made["pins"]
    assert ("| digits 64-128-10, T = 4 | 100 | 50.00 % | 2 of 1,100 | 3,861.0 | 33,648 | 5,719 |"
            in made["pins"])


@pytest.mark.parametrize("arguments, expected", [
    (["--board", "none", "a.safetensors"], "Unknown board 'none'"),
    (["--board", "icebreaker", str(MISSING)], "no such network"),
])
def test_pins_says_what_is_wrong(arguments, expected, capsys):
    assert pins.main(arguments) == 1
    assert expected in capsys.readouterr().err


def test_results_says_what_is_wrong(tmp_path, capsys):
    assert results.main(["--build", str(tmp_path), "--output", str(tmp_path / "none.md")]) == 1
    assert "none.md" in capsys.readouterr().err


def test_peers_and_pictures_reach_the_results(tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "peers.json").write_text(json.dumps(summary(None)))
    made, missing = results.sections(tmp_path)
    assert set(made) == {"peers"} and len(missing) == 15
    assert "tinyODIN" in made["peers"]
    assert (tmp_path / "bench" / "peers.svg").exists()


NETWORK = {
    "dataset": "digits", "arch": "64-256-10", "timesteps": 4, "samples": 360,
    "core": {"name": "medium"}, "compared": 1234567, "mismatches": 0,
    "accuracy": {"float": None, "ternary": 0.98, "integer": 0.975, "rtl": 0.975},
    "cycles": {"mean": 250.0, "model_mean": 249.96, "bound_mean": 200.0},
    "weights": {"density": 0.55, "compression_codes": 12.2, "compression_packed": 14.9,
                "compression_stored": 15.5},
    "energy": {"ratio_ops": 4.7, "ratio_memory": 3.4}}


def test_networks_stand_in_results_and_readme(tmp_path):
    for folder in ("demo", "mnist"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "report.json").write_text(json.dumps(NETWORK | {"dataset": folder}))
    template = TEMPLATE.replace("place", "networks")
    files = [tmp_path / "results.md", tmp_path / "README.md"]
    for file in files:
        file.write_text(template)
    assert results.main(["--build", str(tmp_path), "--output", str(files[0]),
                         "--readme", str(files[1])]) == 0
    for file in files:
        text = file.read_text()
        assert "|  | demo | mnist |" in text
        assert "| accuracy, full precision | - | - |" in text
        assert "| accuracy, RTL | 97.50 % | 97.50 % |" in text
        assert "| measured / bound | 1.25 | 1.25 |" in text


def test_convolutional_networks_and_bundles_stand_in_the_results(tmp_path):
    report = NETWORK | {"energy": NETWORK["energy"] | {"events": 1234.4, "ops": 2500.0,
                                                       "memory": 9000.0}}
    row = {"mode": "exact", "loss": None, "planes": 4, "steps": [4, 2],
           "accuracy_calibration": 0.99, "accuracy_test": 0.98, "fetches": 5000.0,
           "fetches_ratio": 2.5, "energy": 4000.0, "energy_ratio": 1.25}
    bundled = {"samples": 1000, "rows": [row, row | {"mode": "collapse", "loss": 0.001}]}
    for folder, content in (("maps", report), ("bundling", bundled)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "some-conv.json").write_text(json.dumps(content))
    made, _ = results.sections(tmp_path)
    line = made["maps"].splitlines()[-1]
    for cell in ("some-conv, T = 4", "97.50 %", "0 of 1,234,567", "1,234", "250.0", "1.25",
                 "2.5 (4.70 x)", "9.0 (3.40 x)"):
        assert f"| {cell} |" in line
    assert "some-conv, 1,000 samples:" in made["bundling"]
    assert "| **exact** | **4** | **4 2** | **99.00 %** |" in made["bundling"]
    assert "| collapse, loss 0.1% | 4 |" in made["bundling"]


def pruned_figures(amount, share):
    """Return what a pruning to a share of the base would be measured to have."""
    return {"amount": amount, "arch": "64-128-10", "accuracy": 0.9 + share / 20,
            "pruning": ["weights,amount=0.5"] * (share < 1), "nonzero": int(1000 * share),
            "ops": 5000 * share, "words": 800.0, "cycles": 300 * share, "bytes": 2000}


PRUNED = {
    "name": "digits", "core": "medium", "samples": 300, "epochs": 8, "float_accuracy": 0.99,
    "base": pruned_figures(0.0, 1) | {"rtl": {"samples": 60, "cycles": 301.5, "model": 301.5,
                                              "mismatches": 0, "compared": 12345}},
    "ways": [{"name": "weights by magnitude", "points": [pruned_figures(0.5, 0.5),
                                                         pruned_figures(0.975, 0.1)]},
             {"name": "neurons by relief", "points": [pruned_figures(0.5, 0.25)]}]}


def test_pruning_stands_in_the_results(tmp_path):
    (tmp_path / "pruning").mkdir()
    (tmp_path / "pruning" / "digits.json").write_text(json.dumps(PRUNED))
    output, readme = tmp_path / "docs" / "results.md", tmp_path / "README.md"
    output.parent.mkdir()
    output.write_text(TEMPLATE.replace("place", "pruning"))
    readme.write_text("")
    assert results.main(["--build", str(tmp_path), "--output", str(output),
                         "--readme", str(readme)]) == 0
    text = output.read_text()
    assert "digits: the network that is not pruned has 99.00 % in full precision" in text
    assert ("| **not pruned** | **0 %** | **64-128-10** | **95.00 %** | **1,000** | "
            "**5,000 (1.0 x)** |") in text
    assert "**301.5, 301.5; 0 of 12,345**" in text
    assert "| weights by magnitude | 97.5 % | 64-128-10 | 90.50 % | 100 | 500 (10.0 x) |" in text
    picture = (output.parent / "pruning-digits.svg").read_text()
    assert "(pruning-digits.svg)" in text and "not pruned, 95.00%" in picture


@pytest.mark.parametrize("file, names", [
    ("docs/results.md", ("networks", "experiments", "maps", "bundling", "levels", "pruning",
                         "ablation", "conversion", "speed", "place", "peers", "presets")),
    ("README.md", ("networks",))])
def test_documents_have_all_markers(file, names):
    replace_sections((ROOT / file).read_text(encoding="utf-8"), dict.fromkeys(names, "new"))


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


# Campaigns

def test_a_campaign_takes_every_core_with_and_without_stalls():
    planned = list(campaign.batches(95, first_seed=7))
    assert len(planned) == 10
    assert [batch_seed for _, batch_seed, _ in planned] == list(range(7, 17))
    assert {core for pair, *_ in planned for core in pair} == set(CORES)
    assert {(pair, stalls) for pair, _, stalls in planned[:9]} == {
        (pair, stalls) for pair in PAIRS for stalls in (0.0, 0.3)}


def test_a_campaign_ends_at_a_difference(monkeypatch, capsys):
    monkeypatch.setattr(campaign, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(campaign, "run_batch", lambda pair, seed, stalls: [
        Agreement(5, "spike is 1" if seed == 3 else None, 0.01)])
    assert campaign.main(["--networks", "10", "--seed", "1", "--jobs", "1"]) == 0
    assert campaign.main(["--networks", "40", "--seed", "1", "--jobs", "1"]) == 1
    told = capsys.readouterr()
    assert "seed 3" in told.err and "spike is 1" in told.err
    assert "the cycle model is 1.00% off at worst" in told.out


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
    shorter = [replace(way, steps=way.steps[:2])
               for way in pruning.ways(RECIPES["digits"], MEDIUM, 1)]
    few = [way for way in shorter if way.name == "neurons by membrane"]
    monkeypatch.setattr(pruning, "ways", lambda *_: shorter)
    assert pruning.main(["--train-epochs", "1", "--samples", "20", "--folder", str(tmp_path),
                         "--only", "neurons by m", "--checkpoints", str(tmp_path / "kept")]) == 0
    assert len(list((tmp_path / "kept").glob("*.pt"))) == 4
    assert "neurons by" in capsys.readouterr().out
    found = json.loads((tmp_path / "digits.json").read_text())
    points = [found["base"], *found["ways"][0]["points"]]
    for member in ("ops", "fetches", "words", "cycles", "bytes", "nonzero"):
        assert points[0][member] > points[-1][member] > 0
    assert points[2]["pruning"] == [str(step) for step in few[0].steps[:2]]
    assert ElementTree.fromstring((tmp_path / "digits.svg").read_text()).tag.endswith("svg")


def test_pruning_says_what_is_wrong(tmp_path, capsys):
    assert pruning.main(["--dataset", "mnist", "--data", str(tmp_path)]) == 1
    assert "bench.pruning: " in capsys.readouterr().err
    assert pruning.main(["--only", "neurons", "nothing"]) == 1
    assert "Unknown way 'nothing'; known: weights by magnitude" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pruning.main(["--recipe", "none"])
    assert "unknown recipe 'none'; known: digits" in capsys.readouterr().err


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
    output.write_text(TEMPLATE.replace("place", "speed"))
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
