import contextlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.data import load
from model.golden import execute
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout
from sim.run import SimulationResult
from ternspike import commands, console, evaluation
from ternspike.cli import main
from ternspike.dump import Dump
from ternspike.training import Changes, choose_recipe
from tests.fake_device import FakeDevice, device_on_socket, table
from tests.networks import CORES, SMALL


def random_network(inputs=64, hidden=12, outputs=10, timesteps=3, **metadata) -> IntegerNetwork:
    rng = np.random.default_rng(5)

    def layer(inputs, outputs, last):
        weights = rng.integers(-1, 2, (outputs, inputs))
        return DenseLayer(
            weights, gain_plus=rng.integers(1, 9, outputs), gain_minus=np.full(outputs, 4),
            bias=rng.integers(-20, 20, outputs), threshold=np.full(outputs, 0 if last else 900),
            membrane_bits=20, readout=Readout.LAST if last else None)

    return IntegerNetwork(InputCoding.STATIC, 8, timesteps,
                          (layer(inputs, hidden, False), layer(hidden, outputs, True)), metadata)


@pytest.fixture
def network_file(tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(dataset="digits").save(path)
    return path


@pytest.fixture
def ternspike(capsys, monkeypatch):
    """Run a command line; return exit code, stdout, stderr."""
    monkeypatch.delenv("TERNSPIKE_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return exit.value.code, out, err
    return run


def refused(result, *words):
    """Assert that a command failed with one line that holds the words."""
    code, out, err = result
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("ternspike: ")
    for word in words:
        assert word in err


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


# Help

@pytest.mark.parametrize("command", [
    "demo", "train", "simulate", "run", "estimate", "bundle", "info", "verilog"])
def test_help(ternspike, command):
    code, out, _ = ternspike(command, "--help")
    assert code == 0
    assert "--json" in out


def test_help_is_quick():
    script = ("import sys\nfrom ternspike.cli import main\n"
              "try: main(['--help'])\n"
              "except SystemExit: pass\n"
              "print([name for name in ('torch', 'numpy', 'amaranth') if name in sys.modules])")
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                            check=True).stdout
    assert output.endswith("[]\n")


def test_version_and_usage(ternspike):
    code, out, _ = ternspike("--version")
    assert code == 0 and out.startswith("ternspike 0.")
    assert ternspike("dance")[0] == 2
    assert ternspike("simulate")[0] == 2


# Commands on good input

def test_train(ternspike, tmp_path):
    net, numbers = tmp_path / "net.safetensors", tmp_path / "train.json"
    code, out, err = ternspike("train", "--arch", "64-16-10", "--timesteps", 2, "--epochs", 1,
                               "-o", net, "--json", numbers)
    assert code == 0, err
    assert "accuracy, ternary" in out
    network, summary = IntegerNetwork.load(net), json.loads(numbers.read_text())
    assert [network.shape(number)[0] for number in (0, 1)] == [16, 10]
    assert network.timesteps == 2
    assert network.metadata["dataset"] == "digits"
    assert float(network.metadata["accuracy_float"]) == summary["accuracy"]["float"]
    assert 0 < float(network.metadata["activity_float"]) < 1
    digits = load("digits")
    classes = execute(network, digits.test_x.reshape(360, -1)).classes
    assert np.mean(classes == digits.test_y) == summary["accuracy"]["integer"]


def test_train_goes_on(ternspike, tmp_path):
    nets, kept = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"], tmp_path / "kept"
    for net in nets:
        code, _, err = ternspike("train", "--arch", "64-16-10", "--timesteps", 1, "--epochs", 1,
                                 "--threads", 2, "--checkpoints", kept, "-o", net)
        assert code == 0, err
    assert len(list(kept.glob("*.pt"))) == 2
    assert nets[0].read_bytes() == nets[1].read_bytes()
    for file in kept.glob("*.pt"):
        file.write_bytes(b"")
    refused(ternspike("train", "--arch", "64-16-10", "--timesteps", 1, "--epochs", 1,
                      "--threads", 2, "--checkpoints", kept, "-o", nets[0]),
            "is no checkpoint, or a damaged one: delete it")
    refused(ternspike("train", "--device", "warp", "-o", nets[0]),
            "Device 'warp' can't be used: ")


def test_train_counts(ternspike, tmp_path):
    net, numbers = tmp_path / "net.safetensors", tmp_path / "train.json"
    code, out, err = ternspike("train", "--arch", "64-16-10", "--timesteps", 1, "--levels", 3,
                               "--epochs", 2, "-o", net, "--json", numbers)
    assert code == 0, err
    assert "T = 1, counts to 3" in out
    assert json.loads(numbers.read_text())["levels"] == 3
    network = IntegerNetwork.load(net)
    assert [layer.z_max for layer in network.layers] == [3, 1]
    assert network.metadata["levels"] == "3"
    assert 0 < float(network.metadata["activity_float"]) < 1
    code, out, _ = ternspike("info", net)
    assert code == 0 and out.count("soft reset, counts to 3") == 1
    assert ternspike("train", "--levels", 16, "-o", net)[0] == 2


def test_train_signed_counts(ternspike, tmp_path):
    net = tmp_path / "net.safetensors"
    code, _, err = ternspike("train", "--arch", "64-16-10", "--timesteps", 1, "--signed",
                             "--epochs", 2, "-o", net)
    assert code == 0, err
    network = IntegerNetwork.load(net)
    assert network.source_range(1) == (-1, 1)
    assert 0 < float(network.metadata["activity_float"]) < 1


def test_train_pruned(ternspike, tmp_path):
    net, numbers = tmp_path / "net.safetensors", tmp_path / "train.json"
    code, out, err = ternspike(
        "train", "--arch", "64-32-10", "--timesteps", 1, "--epochs", 1,
        "--prune", "neurons,amount=0.5,epochs=1", "--prune", "weights,amount=0.8,epochs=1",
        "-o", net, "--json", numbers)
    assert code == 0, err
    summary, network = json.loads(numbers.read_text()), IntegerNetwork.load(net)
    pruned = summary["pruned"]
    assert network.shape(0)[0] <= 16 and pruned["arch"] == f"64-{network.shape(0)[0]}-10"
    assert pruned["arch"] in out and f"{pruned['density']:.1%}" in out
    assert network.metadata["pruning"] == " ".join(pruned["pruning"]) == (
        "neurons,amount=0.5,epochs=1 weights,amount=0.8,epochs=1")
    refused(ternspike("train", "--prune", "weights,amount=2", "-o", net),
            "amount must be above 0 and below 1, not 2.0")
    refused(ternspike("train", "--prune", "weights,many=2", "-o", net),
            "Pruning 'weights,many=2': 'many=2' is not OPTION=VALUE")


def test_train_by_a_file(ternspike, tmp_path):
    (tmp_path / "my.toml").write_text("""
        base = "digits"
        arch = "64-16-10"
        timesteps = 2
        teacher = {epochs = 1}
        student = {epochs = 1}
        neuron = {leak = [2]}
        """)
    net = tmp_path / "net.safetensors"
    code, _, err = ternspike("train", "--recipe", tmp_path / "my.toml", "-o", net)
    assert code == 0, err
    network = IntegerNetwork.load(net)
    assert network.timesteps == 2 and network.layer(0).leak == (2,)
    (tmp_path / "my.toml").write_text("base = 'digits'\nquantiser = {bits = 4}\n")
    refused(ternspike("train", "--recipe", tmp_path / "my.toml", "-o", net), "4 bits wide")
    (tmp_path / "my.toml").write_text("base = 'digits'\nquantizer = {bits = 4}\n")
    refused(ternspike("train", "--recipe", tmp_path / "my.toml", "-o", net),
            "my.toml", "unknown key 'quantizer'")
    refused(ternspike("train", "--recipe", tmp_path / "none.toml", "-o", net), "none.toml")


def test_train_by_a_recipe(ternspike, tmp_path):
    """Its data set is known, and what is given beside it changes it."""
    net, numbers = tmp_path / "net.safetensors", tmp_path / "train.json"
    code, _, err = ternspike("train", "--recipe", "digits", "--arch", "1x8x8-4C3S2-R4(or)-10",
                             "--epochs", 1, "-o", net, "--json", numbers)
    assert code == 0, err
    summary, network = json.loads(numbers.read_text()), IntegerNetwork.load(net)
    assert summary["dataset"] == "digits" and network.input_shape == (1, 8, 8)
    assert summary["arch"] == network.metadata["arch"] == "1x8x8-4C3S2-R4(or)-10"
    assert len(network.layers) == 5 and len(summary["fold"]["shifts"]) == 4
    assert len(network.metadata["activity_float"].split()) == 4
    refused(ternspike("train", "--recipe", "dance", "-o", net),
            "Unknown recipe 'dance'; known: digits, mnist")
    refused(ternspike("train", "--recipe", "mnist-conv", "--dataset", "digits", "-o", net),
            "has 784 inputs, but samples of digits have 64 values")


def test_activity_of_the_teacher_is_of_every_layer(ternspike, tmp_path):
    """Merges, pooled layers and spikes of both signs too: a rate of all bit planes for each."""
    net, numbers = tmp_path / "net.safetensors", tmp_path / "numbers.json"
    code, _, err = ternspike("train", "--arch", "1x8x8-4C3P2-R4(add3)-10", "--signed", "--levels",
                             3, "--epochs", 1, "--timesteps", 2, "-o", net)
    assert code == 0, err
    code, _, err = ternspike("estimate", net, "--samples", 4, "--json", numbers)
    assert code == 0, err
    energy = json.loads(numbers.read_text())["energy"]
    rates = [layer["reference_rate"] for layer in energy["layers"]]
    told = IntegerNetwork.load(net).metadata["activity_float"].split()
    assert energy["reference_measured"]
    assert rates == [*map(float, told), None] and len(told) == 4
    # A count is on one side of 0, so that of the planes of both signs half at most are set.
    assert all(0 < float(rate) < 0.5 for rate in told)


def test_train_own_data_with_spikes(ternspike, tmp_path):
    rng = np.random.default_rng(2)
    labels = np.arange(60) % 3
    events = (rng.random((60, 4, 6)) < 0.1 + 0.4 * labels[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", train_x=events, train_y=labels, test_x=events, test_y=labels)
    net = tmp_path / "net.safetensors"
    code, _, err = ternspike("train", "--dataset", tmp_path / "mine.npz", "--coding", "events",
                             "--epochs", 1, "--no-calibration", "-o", net)
    assert code == 0, err
    network = IntegerNetwork.load(net)
    assert (network.input, network.inputs, network.outputs) == (InputCoding.SPIKES, 6, 3)
    code, out, err = ternspike("estimate", net, "--dataset", tmp_path / "mine.npz")
    assert code == 0, err
    assert "60 samples of mine" in out


def test_info(ternspike, network_file, tmp_path):
    code, out, _ = ternspike("info", network_file, "--json", tmp_path / "info.json")
    assert code == 0
    assert "64 > 12" in out and "proven" in out and "counts" not in out
    assert json.loads((tmp_path / "info.json").read_text())["arch"] == "64-12-10"


def test_info_disarms_a_hostile_file(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(note="[red]\x1b[2J[/red]").save(path)
    code, out, _ = ternspike("info", path)
    assert code == 0
    assert "\x1b" not in out
    assert "[red]" in out


def test_estimate(ternspike, network_file, tmp_path):
    code, out, _ = ternspike("estimate", network_file, "--samples", 5, "--core", SMALL,
                             "--json", tmp_path / "estimate.json")
    assert code == 0
    assert "5 samples of digits" in out
    summary = json.loads((tmp_path / "estimate.json").read_text())
    assert summary["cycles"]["model_mean"] >= summary["cycles"]["bound_mean"] > 0
    assert len(summary["layers"]) == 2


def test_bundle(ternspike, network_file, tmp_path):
    numbers, output = tmp_path / "bundle.json", tmp_path / "collapsed.safetensors"
    code, out, _ = ternspike("bundle", network_file, "--samples", 60, "--loss", 0, "--loss", 1,
                             "--json", numbers, "-o", output)
    assert code == 0
    for name in ("none", "exact", "<= 0.0%", "<= 100.0%"):
        assert name in out
    rows = json.loads(numbers.read_text())["rows"]
    assert [(row["mode"], row["planes"]) for row in rows] == [
        (mode, planes) for mode in ("exact", "collapse", "collapse") for planes in (1, 2, 4)]
    assert rows[0]["fetches_ratio"] == 1 < rows[1]["fetches_ratio"] < rows[2]["fetches_ratio"]
    assert [row["loss"] for row in rows] == [None] * 3 + [0.0] * 3 + [1.0] * 3
    for row in rows[3:6]:
        assert row["accuracy_calibration"] >= rows[0]["accuracy_calibration"]
    # Whatever the loss may be, steps are saved.
    collapsed = IntegerNetwork.load(output)
    assert [collapsed.steps(number) for number in (0, 1)] == rows[-1]["steps"] == [1, 1]
    assert rows[-1]["energy"] < rows[2]["energy"]


def test_estimate_without_data(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(inputs=784, dataset="mnist").save(path)
    code, out, err = ternspike("estimate", path)
    assert code == 0
    assert "64 samples of random" in out
    assert "MNIST/raw" in err


@pytest.mark.parametrize("coding, signed", [
    (InputCoding.STATIC, False), (InputCoding.STATIC, True), (InputCoding.SPIKES, False),
    (InputCoding.SAMPLES, False), (InputCoding.SAMPLES, True)])
def test_estimate_of_random_inputs(ternspike, tmp_path, coding, signed):
    """Of every kind of input, over its whole range."""
    path, numbers = tmp_path / "net.safetensors", tmp_path / "numbers.json"
    known = random_network()
    spikes = coding is InputCoding.SPIKES
    network = IntegerNetwork(coding, 1 if spikes else 8, 3, known.layers, input_signed=signed)
    network.save(path)
    code, _, err = ternspike("estimate", path, "--core", SMALL, "--samples", 20, "--json", numbers)
    assert code == 0, err
    assert "Inputs are random" in err
    summary = json.loads(numbers.read_text())
    assert summary["samples"] == 20
    assert 0.4 < summary["layers"][0]["activity"] < 0.6
    samples = commands._estimate_samples(network, None, None, 500, 1)
    assert (samples.inputs.min(), samples.inputs.max()) == (network.input_min, network.input_max)


@pytest.mark.cocotb
def test_simulate(ternspike, network_file, tmp_path):
    dump, numbers, page = (tmp_path / name for name in ("out.npz", "out.json", "out.html"))
    code, out, err = ternspike(
        "simulate", network_file, "--core", SMALL, "--samples", 6, "--jobs", 1, "--dump", dump,
        "--json", numbers, "--report", page)
    assert code == 0, err
    summary = json.loads(numbers.read_text())
    assert summary["mismatches"] == 0
    assert summary["samples"] == 6
    assert summary["accuracy"]["rtl"] == summary["accuracy"]["integer"]
    assert abs(summary["cycles"]["mean"] / summary["cycles"]["model_mean"] - 1) <= 0.02
    assert "0 mismatches" in page.read_text()
    assert (f"ternspike simulate net.safetensors --dataset digits --core {SMALL} --samples 6 "
            f"--seed 1</pre>") in page.read_text()
    trace = execute(random_network(), load("digits").test_x[:6].reshape(6, -1))
    with np.load(dump) as arrays:
        np.testing.assert_array_equal(arrays["classes"], trace.classes)
        np.testing.assert_array_equal(arrays["spikes_0"], trace.spikes[0])
        np.testing.assert_array_equal(arrays["membranes_1"], trace.membranes[1])
        assert len(arrays["cycles"]) == 6


@pytest.mark.cocotb
def test_parts_of_the_samples_change_nothing(ternspike, network_file, tmp_path, monkeypatch):
    """Neither the numbers nor the page nor the dump: not even the cycles."""
    made = []
    values = 3 * 12 + 3 * 10
    for most in (values, 3 * values, evaluation.SIMULATED_VALUES):
        monkeypatch.setattr(evaluation, "SIMULATED_VALUES", most)
        monkeypatch.setattr(evaluation, "PREDICTED_VALUES", 64 * most)
        dump, numbers, page = (tmp_path / f"{most}.{end}" for end in ("npz", "json", "html"))
        code, _, err = ternspike(
            "simulate", network_file, "--core", SMALL, "--samples", 7, "--jobs", 2,
            "--dump", dump, "--json", numbers, "--report", page)
        assert code == 0, err
        with np.load(dump) as arrays:
            made.append((numbers.read_text(), page.read_text(),
                         {name: arrays[name].tolist() for name in arrays}))
    assert made[0] == made[1] == made[2]
    assert json.loads(made[0][0])["mismatches"] == 0


def test_run(ternspike, network_file, tmp_path):
    """On a device whose core is a table of the golden model's results."""
    network, numbers = random_network(), tmp_path / "out.json"
    core, inputs = CORES["planes1"], load("digits").test_x[:6].reshape(6, -1)
    device = FakeDevice(core, table(network, core, inputs), work=1)
    with device_on_socket(device) as url:
        code, out, err = ternspike("run", network_file, "--port", url, "--samples", 6,
                                   "--json", numbers)
    assert code == 0, err
    assert f"6 samples on {url}" in out
    for row in ("mismatches", "0 of 66", "cycles a sample", "100.0, 8.3 us", "12 MHz"):
        assert row in out
    summary = json.loads(numbers.read_text())
    assert summary["mismatches"] == 0 and summary["compared"] == 66
    assert summary["accuracy"]["device"] == summary["accuracy"]["integer"]
    assert summary["core"] == core.to_dict()
    assert summary["bytes"]["sent"] > summary["bytes"]["received"] > 6 * 11 * 4


def test_run_with_mismatches(ternspike, network_file, tmp_path):
    """All of it is told, and the exit code says that it is wrong."""
    network, numbers = random_network(), tmp_path / "out.json"
    core, inputs = CORES["planes1"], load("digits").test_x[:6].reshape(6, -1)
    results = table(network, core, inputs)
    fourth = list(results)[3]
    right = results[fourth][7]
    results[fourth][7] += 1
    with device_on_socket(FakeDevice(core, results)) as url:
        code, out, err = ternspike("run", network_file, "--port", url, "--samples", 6,
                                   "--json", numbers)
    assert code == 1
    assert "1 of 66" in out
    assert (f"ternspike: 1 of 66 values differ from the golden model, the first: sample 3, neuron "
            f"7: membrane is {right + 1}, expected {right}") in err
    assert json.loads(numbers.read_text())["mismatches"] == 1


def test_verilog(ternspike, tmp_path):
    path = tmp_path / "core.v"
    code, _, err = ternspike("verilog", "--core", SMALL, "-o", path, "--json", tmp_path / "v.json")
    assert code == 0, err
    text = path.read_text()
    assert "module ternspike_core(" in text
    assert "attribute src" not in text and "(* src" not in text
    assert os.getcwd() not in text
    assert json.loads((tmp_path / "v.json").read_text())["ports"]["i__payload"] == 8


# Bad input: data

def test_missing_data(ternspike, tmp_path):
    refused(ternspike("train", "--dataset", "mnist", "--data", tmp_path, "-o", tmp_path / "net"),
            str(tmp_path), "MNIST", "no such file")
    refused(ternspike("train", "--dataset", "mnist", "-o", tmp_path / "net"), "--data")
    refused(ternspike("train", "--dataset", "cats", "-o", tmp_path / "net"), "cats", "digits")
    assert leftovers(tmp_path) == []


def test_damaged_data(ternspike, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x05")
    refused(ternspike("demo", "--dataset", "mnist", "--data", tmp_path, "-o", tmp_path / "out"),
            "train-images-idx3-ubyte", "truncated")
    (tmp_path / "bad.npz").write_bytes(b"PK not really")
    refused(ternspike("train", "--dataset", tmp_path / "bad.npz", "-o", tmp_path / "net"),
            "bad.npz")


def test_images_of_the_wrong_shape(ternspike, tmp_path, network_file):
    images = np.zeros((20, 5, 7), np.uint8)
    labels = np.arange(20) % 10
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, train_x=images, train_y=labels, test_x=images, test_y=labels)
    refused(ternspike("simulate", network_file, "--dataset", wrong), "wrong", "35", "64")
    refused(ternspike("train", "--dataset", wrong, "--arch", "64-8-10", "-o", tmp_path / "net"),
            "64", "35")


def test_more_samples_than_there_are(ternspike, network_file):
    refused(ternspike("simulate", network_file, "--samples", 361), "361", "360")


# Bad input: cores

def test_network_too_large_for_the_core(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(hidden=300, dataset="digits").save(path)
    # 38 tiles of 8 neurons, 2 in a row.
    refused(ternspike("simulate", path, "--core", f"{SMALL},neuron_depth=128"),
            "layer 0 (64-300)", "neuron_depth", "needs 152, the core has 128")
    # Known before the training, not after it.
    refused(ternspike("demo", "--arch", "64-9000-10", "--core", "tiny", "-o", tmp_path / "out"),
            "network: rows of spikes (spike_depth", "needs 2316, the core has 1024")
    assert leftovers(tmp_path / "out") == []


def test_too_many_steps_for_the_core(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(timesteps=200, dataset="digits").save(path)
    # 2 buffers of 8 planes in 4 rows each, and 200 steps of the hidden layer.
    refused(ternspike("estimate", path, "--core", f"{SMALL},spike_depth=256"),
            "spike_depth; 2 x 32 for the input", "hidden layers", "needs 264, the core has 256")


def test_input_too_wide_for_the_core(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(inputs=500).save(path)
    images = np.ones((4, 500), np.uint8)
    np.savez(tmp_path / "wide.npz", train_x=images, train_y=[0, 1, 0, 1], test_x=images,
             test_y=[0, 1, 0, 1])
    # 8 planes of 500 values in rows of 16.
    refused(ternspike("estimate", path, "--core", f"{SMALL},spike_depth=512", "--dataset",
                      tmp_path / "wide.npz"),
            "spike_depth; 2 x 256 for the input", "needs 515, the core has 512")


@pytest.mark.parametrize("core, words", [
    ("huge", ["huge", "medium"]),
    ("tiny,legs=2", ["legs=2", "banks"]),
    ("tiny,banks=many", ["banks", "many"]),
    (f"{SMALL},lanes=7", ["lanes (7)", "banks (2)"]),
    (f"{SMALL},scan=12", ["scan", "power of two, not 12"]),
    (f"{SMALL},scan=2", ["banks * scan (4)", "lanes (8)"]),
    ("tiny,planes=99", ["planes", "1..16"]),
])
def test_impossible_core(ternspike, network_file, core, words):
    refused(ternspike("estimate", network_file, "--core", core), *words)


# Bad input: devices

def test_device_that_is_not_there(ternspike, network_file, tmp_path):
    numbers = tmp_path / "numbers.json"
    refused(ternspike("run", network_file, "--port", tmp_path / "tty", "--json", numbers),
            f"{tmp_path / 'tty'} can't be opened: No such file or directory")
    refused(ternspike("run", network_file, "--port", "socket://127.0.0.1:1"),
            "socket://127.0.0.1:1 can't be opened", "Connection refused")
    assert not numbers.exists()


def test_device_that_is_unplugged(ternspike, network_file):
    with device_on_socket(FakeDevice(CORES["planes1"]), hang_up_after=700) as url:
        refused(ternspike("run", network_file, "--port", url),
                f"{url}: the connection broke at WRITE")


def test_network_that_the_device_cannot_hold(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(hidden=3000, dataset="digits").save(path)
    with device_on_socket(FakeDevice(CORES["planes1"])) as url:
        refused(ternspike("run", path, "--port", url), "(gain_depth)", "the core has 4096")
    # Without a simulator that would be built first.
    refused(ternspike("run", path, "--port", "sim", "--core", SMALL), "the core has 4096")


def test_core_of_a_device(ternspike, network_file):
    code, _, err = ternspike("run", network_file, "--port", "board", "--core", "tiny")
    assert code == 2 and "--port sim" in err
    refused(ternspike("run", network_file, "--port", "sim", "--core", "huge"), "Unknown core")


# Bad input: network files

def test_truncated_network(ternspike, network_file):
    content = network_file.read_bytes()
    for size in (0, 5, 100, len(content) - 1):
        network_file.write_bytes(content[:size])
        refused(ternspike("info", network_file), str(network_file))


def test_file_that_is_no_network(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    refused(ternspike("info", path), str(path))
    from safetensors.numpy import save_file
    save_file({"x": np.zeros(3)}, path, {"format": "another"})
    refused(ternspike("info", path), str(path))
    refused(ternspike("info", tmp_path / "none"), "none", "No such file")


def test_network_that_names_no_data_set(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network().save(path)
    refused(ternspike("simulate", path), "--dataset")


# Bad output

@pytest.mark.parametrize("command", [
    ("train", "-o"), ("train", "-o", "net", "--json"), ("info", "net", "--json"),
    ("bundle", "net", "-o"), ("bundle", "net", "--json"), ("run", "net", "--port", "sim", "--json"),
    ("estimate", "net", "--json"), ("simulate", "net", "--dump"), ("simulate", "net", "--waves"),
    ("simulate", "net", "--report"), ("verilog", "-o"),
])
def test_output_that_cannot_be_written(ternspike, tmp_path, monkeypatch, command):
    """Told at once: with no such network file, it is the output that the message is about."""
    monkeypatch.chdir(tmp_path)
    refused(ternspike(*command, tmp_path / "none" / "file"), "can't be written", "no folder")
    refused(ternspike(*command, tmp_path), "can't be written", "is a folder")
    assert leftovers(tmp_path) == []


def test_demo_into_a_file(ternspike, tmp_path):
    (tmp_path / "out").write_text("mine")
    refused(ternspike("demo", "-o", tmp_path / "out"), "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_interrupted_training_leaves_no_file(ternspike, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def interrupted():
        def progress(at):
            raise KeyboardInterrupt
        yield progress

    monkeypatch.setattr(console, "training", interrupted)
    code, _, _ = ternspike("train", "--epochs", 1, "-o", tmp_path / "net", "--json",
                           tmp_path / "train.json")
    assert code != 0
    assert leftovers(tmp_path) == []


def result_of(samples: int, first: int = 0) -> SimulationResult:
    spikes = np.arange(first, first + samples, dtype=np.int8).reshape(-1, 1, 1) - 3
    return SimulationResult(
        (spikes,), (spikes * np.ones((1, 2, 5), np.int32), -spikes), np.zeros((samples, 4)),
        np.zeros(samples), np.ones(samples), samples, 1, 1)


def test_dump_is_collected_part_by_part(tmp_path):
    path = tmp_path / "out.npz"
    with Dump(path, 6) as dump:
        for first, samples in ((0, 3), (3, 1), (4, 2)):
            dump.add(first, result_of(samples, first))
        assert len(leftovers(tmp_path)) == 1
        whole = result_of(6)
        dump.write(np.arange(6), whole)
    with np.load(path) as arrays:
        assert set(arrays) == {"labels", "classes", "readout", "cycles", "spikes_0", "membranes_0",
                               "membranes_1"}
        for name, array in (("spikes_0", whole.spikes[0]), ("membranes_0", whole.membranes[0]),
                            ("membranes_1", whole.membranes[1])):
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array)
    assert leftovers(tmp_path) == ["out.npz"]


def test_interrupted_dump_leaves_the_old_file(tmp_path, monkeypatch):
    """An interrupt in the middle of writing: what was there stays, nothing else does."""
    path = tmp_path / "out.npz"
    path.write_text("old")

    def half_written(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", half_written)
    with pytest.raises(KeyboardInterrupt), Dump(path, 2) as dump:
        dump.add(0, result_of(2))
        dump.write(np.arange(2), result_of(2))
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == ["out.npz"]


def test_faults_of_the_program_are_not_hidden(monkeypatch, network_file):
    def broken(*arguments, **options):
        raise ValueError("a bug")

    monkeypatch.setattr(commands, "info", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["info", str(network_file)])


# What to type to see the same again

def command_of(summary, changes, dataset="digits"):
    recipe = choose_recipe(load("digits"), changes)
    return commands._demo_command(dataset, recipe, summary, changes)


def test_command_of_a_demo():
    summary = {"samples": 360, "seed": 4, "core": {"name": "tiny,planes=2"}}
    assert command_of(summary, Changes()) == (
        "ternspike demo --dataset digits --arch 64-256-256-10 --timesteps 4 --core tiny,planes=2 "
        "--samples 360 --seed 4")
    changes = Changes("digits", "1x8x8-4C3S2-R4(add3)-10", 2, 1, "rate", False, 3, True,
                      ("neurons,mass=0.9", "weights,amount=0.5,rounds=2"))
    assert command_of(summary, changes, "mnist") == (
        "ternspike demo --signed --no-calibration --prune neurons,mass=0.9 "
        "--prune weights,amount=0.5,rounds=2 --dataset mnist --data DIR --recipe digits "
        "--arch '1x8x8-4C3S2-R4(add3)-10' --timesteps 2 --levels 3 --coding rate --epochs 1 "
        "--core tiny,planes=2 --samples 360 --seed 4")
    assert "--unsigned" in command_of(summary, Changes(signed=False))


def test_command_is_understood(monkeypatch):
    """What a report says can be typed, and asks for the same."""
    asked = []
    monkeypatch.setattr(commands, "demo", lambda *given, **options: asked.append((given, options)))
    changes = Changes("digits", "1x8x8-4C3S2-R4(add3)-10", 2, 1, "rate", False, 3, True,
                      ("neurons,mass=0.9", "weights,amount=0.5,rounds=2"))
    summary = {"samples": 360, "seed": 4, "core": {"name": "tiny,planes=2"}}
    with pytest.raises(SystemExit) as exit:
        main(shlex.split(command_of(summary, changes, "mnist"))[1:])
    assert exit.value.code == 0
    assert asked == [(("mnist", Path("DIR"), changes), dict(
        core="tiny,planes=2", count=360, jobs=2, seed=4, folder=Path("build/demo"), json=None))]


def test_mismatches_fail(ternspike):
    with pytest.raises(commands.MismatchError, match="3 of 10 .* neuron 5"):
        commands._require_equal({"mismatches": 3, "compared": 10, "first_mismatch": "neuron 5"})


def test_data_of_mnist(data_folder, ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(inputs=784, dataset="mnist").save(path)
    code, out, err = ternspike("estimate", path, "--data", data_folder, "--samples", 3)
    assert code == 0, err
    assert "3 samples of mnist" in out
