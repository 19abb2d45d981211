import contextlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from model.data import load
from model.golden import execute
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout
from ternspike import commands, console
from ternspike.cli import main
from ternspike.evaluation import Evaluation
from tests.networks import CORES

# The command line's name of a core that other tests simulate, too.
SMALL = "tiny," + ",".join(
    f"{name}={str(value).lower()}" for name, value in CORES["planes1"].to_dict().items())


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

@pytest.mark.parametrize("command", ["demo", "train", "simulate", "estimate", "info", "verilog"])
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


def test_estimate_without_data(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(inputs=784, dataset="mnist").save(path)
    code, out, err = ternspike("estimate", path)
    assert code == 0
    assert "64 samples of random" in out
    assert "MNIST/raw" in err


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
    trace = execute(random_network(), load("digits").test_x[:6].reshape(6, -1))
    with np.load(dump) as arrays:
        np.testing.assert_array_equal(arrays["classes"], trace.classes)
        np.testing.assert_array_equal(arrays["spikes_0"], trace.spikes[0])
        np.testing.assert_array_equal(arrays["membranes_1"], trace.membranes[1])
        assert len(arrays["cycles"]) == 6


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
    refused(ternspike("simulate", path, "--core", SMALL), "layer 0 (64-300)", "needs", "has")
    # Known before the training, not after it.
    refused(ternspike("demo", "--arch", "64-9000-10", "--core", "tiny", "-o", tmp_path / "out"),
            "needs", "the core has")
    assert leftovers(tmp_path / "out") == []


def test_too_many_steps_for_the_core(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(timesteps=200, dataset="digits").save(path)
    refused(ternspike("estimate", path, "--core", SMALL), "spike_depth", "200 steps", "128")


def test_input_too_wide_for_the_core(ternspike, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(inputs=500).save(path)
    images = np.ones((4, 500), np.uint8)
    np.savez(tmp_path / "wide.npz", train_x=images, train_y=[0, 1, 0, 1], test_x=images,
             test_y=[0, 1, 0, 1])
    refused(ternspike("estimate", path, "--core", SMALL, "--dataset", tmp_path / "wide.npz"),
            "500 channels", "8 planes", "128")


@pytest.mark.parametrize("core, words", [
    ("huge", ["huge", "medium"]),
    ("tiny,legs=2", ["legs=2", "banks"]),
    ("tiny,banks=many", ["banks", "many"]),
    (f"{SMALL},lanes=7", ["lanes (7)", "banks (4)"]),
    ("tiny,planes=99", ["planes", "1..16"]),
])
def test_impossible_core(ternspike, network_file, core, words):
    refused(ternspike("estimate", network_file, "--core", core), *words)


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


def test_interrupted_dump_leaves_the_old_file(tmp_path, monkeypatch):
    """An interrupt in the middle of writing: what was there stays, nothing else does."""
    path = tmp_path / "out.npz"
    path.write_text("old")

    def half_written(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", half_written)
    arrays = SimpleNamespace(labels=0, classes=0, readout=0, cycles=0, spikes=(), membranes=())
    with pytest.raises(KeyboardInterrupt):
        commands._dump(
            path, cast(Evaluation, SimpleNamespace(samples=arrays, simulation=arrays)))
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == ["out.npz"]


def test_faults_of_the_program_are_not_hidden(monkeypatch, network_file):
    def broken(*arguments, **options):
        raise ValueError("a bug")

    monkeypatch.setattr(commands, "info", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["info", str(network_file)])


def test_mismatches_fail(ternspike):
    with pytest.raises(commands.MismatchError, match="3 of 10 .* neuron 5"):
        commands._require_equal({"mismatches": 3, "compared": 10, "first_mismatch": "neuron 5"})


def test_data_of_mnist(ternspike, data_folder, tmp_path):
    path = tmp_path / "net.safetensors"
    random_network(inputs=784, dataset="mnist").save(path)
    code, out, err = ternspike("estimate", path, "--data", data_folder, "--samples", 3)
    assert code == 0, err
    assert "3 samples of mnist" in out
