"""The measurements' own arithmetic: activity, tables, areas, shapes. No simulation here."""

import json
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import (
    campaign,
    explore,
    levels,
    peers,
)
from bench.area import AreaModel, block_rams, components, fit
from bench.bars import Bar, Panel, bar_chart
from bench.place import ECP5, figures
from bench.published import PEERS
from bench.tables import Table, markdown
from bench.workloads import WORKLOADS, synaptic_operations
from hw.parameters import PRESETS
from mapping.program import compile_network
from model.golden import execute
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


def test_figures_of_a_placed_core(tmp_path):
    """Yosys' statistics tell modules first, and all of them together at last."""
    (tmp_path / "medium.stat").write_text("      84   LUT4\n   1 TRELLIS_FF\n\n    9456   LUT4\n")
    (tmp_path / "medium.report").write_text(json.dumps({
        "utilization": {name: {"used": number} for name, number in (
            ("TRELLIS_COMB", 15982), ("TRELLIS_FF", 15855), ("DP16KD", 129), ("MULT18X18D", 32))},
        "fmax": {"clk": {"achieved": 91.27}}}))
    found = figures("medium", MEDIUM, tmp_path, device=ECP5, seed=1)
    assert found == PLACED | {"lut4": 9456, "comb": 15982, "ff": 15855, "ram": 129, "mult": 32,
                              "fmax": 91.3, "comb_per_slot": 15.61}


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
