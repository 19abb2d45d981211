"""The sections of docs/results.md, and what they are made of."""

import json
from pathlib import Path

import pytest

from bench import pins, results
from bench.tables import replace_sections
from tests.test_bench import PLACED, summary

ROOT = Path(__file__).parent.parent
MISSING = ROOT / "build" / "no such network"
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
    "energy": {"ratio_ops": 4.7, "ratio_ops_wide": 2.6, "ratio_memory": 3.4}}


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
    report = NETWORK | {"energy": NETWORK["energy"] | {
        "events": 1234.4, "ops": 2500.0, "ops_wide": 4500.0, "memory": 9000.0}}
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
                 "2.5 (4.70 x)", "4.5 (2.60 x)", "9.0 (3.40 x)"):
        assert f"| {cell} |" in line
    assert "some-conv, 1,000 samples:" in made["bundling"]
    assert "| **exact** | **4** | **4 2** | **99.00 %** |" in made["bundling"]
    assert "| collapse, loss 0.1% | 4 |" in made["bundling"]


def pruned_figures(amount, share):
    """Return what a pruning to a share of the base would be measured to have."""
    return {"amount": amount, "arch": "64-128-10", "accuracy": 0.9 + share / 20,
            "pruning": ["weights,amount=0.5"] * (share < 1), "epochs": 8 * (share < 1),
            "nonzero": int(1000 * share), "ops": 5000 * share, "words": 800.0,
            "cycles": 300 * share, "bytes": 2000}


PRUNED = {
    "name": "digits", "core": "medium", "samples": 300, "float_accuracy": 0.99,
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
    assert ("| **not pruned** | **0 %** | **0** | **64-128-10** | **95.00 %** | **1,000** | "
            "**5,000 (1.0 x)** |") in text
    assert "**301.5, 301.5; 0 of 12,345**" in text
    assert "| weights by magnitude | 97.5 % | 8 | 64-128-10 | 90.50 % | 100 | 500 (10.0 x)" in text
    picture = (output.parent / "pruning-digits.svg").read_text()
    assert "(pruning-digits.svg)" in text and "not pruned, 95.00%" in picture


@pytest.mark.parametrize("file, names", [
    ("docs/results.md", ("networks", "experiments", "maps", "bundling", "levels", "pruning",
                         "ablation", "conversion", "speed", "place", "peers", "presets")),
    ("README.md", ("networks",))])
def test_documents_have_all_markers(file, names):
    replace_sections((ROOT / file).read_text(encoding="utf-8"), dict.fromkeys(names, "new"))
