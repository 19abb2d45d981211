"""The integer network: validation, proven bounds, and files that are whole or not there."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import MutableMapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.bounds import _leak_range, _reset_range, bits_needed
from model.files import atomic_write
from model.network import (
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    NetworkError,
    Readout,
    Reset,
    leak,
    level_planes,
    level_weights,
)

LAYER: dict[str, Any] = dict(
    weights=np.array([[1, 0, -1], [0, 1, 1]]), gain_plus=np.array([3, 4]),
    gain_minus=np.array([16, 16]), bias=np.array([-5, 300]), threshold=np.array([7, 70000]),
    leak=(1, 3), reset=Reset.HARD, v_init=-9, membrane_bits=20)
READOUT: dict[str, Any] = dict(
    weights=np.array([[1, -1]]), gain_plus=np.array([0]), gain_minus=np.array([2**31 - 1]),
    bias=np.array([-2**31]), threshold=np.array([0]), readout=Readout.SUM)
NETWORK: dict[str, Any] = dict(
    input=InputCoding.STATIC, input_bits=8, timesteps=4, metadata={"made by": "a tést"})


def layer(**changes):
    return DenseLayer(**(LAYER | changes))


def network(**changes):
    fields: dict[str, Any] = dict(layers=(layer(), DenseLayer(**READOUT)))
    return IntegerNetwork(**(NETWORK | fields | changes))


def fields_of(each):
    """Return the fields as values that compare."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(each).items()
            if name not in ("layers", "metadata", "_places")}


def assert_same(one, other):
    assert fields_of(one) == fields_of(other)
    assert dict(one.metadata) == dict(other.metadata)
    assert [fields_of(x) for x in one.layers] == [fields_of(x) for x in other.layers]


# --- validation ------------------------------------------------------------------------------

@pytest.mark.parametrize("changes, message", [
    (dict(weights=np.array([1, 0])), r"weights: has shape \(2,\)"),
    (dict(weights=np.zeros((2, 0), int)), r"weights: has shape \(2, 0\)"),
    (dict(weights=np.array([[2, 0, 0], [0, 0, 0]])), r"weights: holds 2 \(limit: -1\.\.1\)"),
    (dict(weights=np.zeros((2, 3))), "weights: has type float64"),
    (dict(gain_plus=np.array([1])), r"gain_plus: has shape \(1,\) \(limit: \(2,\), the outputs"),
    (dict(gain_plus=np.array([1, -1])), r"gain_plus: holds -1"),
    (dict(gain_minus=np.array([1, 2**31])), r"gain_minus: holds 2147483648"),
    (dict(bias=np.array([0, 2**31])), r"bias: holds 2147483648"),
    (dict(bias=np.array([0, np.nan])), r"bias: has type float64"),
    (dict(threshold=np.array([0, 1])), r"threshold: holds 0 \(limit: 1\.\.2147483647\)"),
    (dict(readout=Readout.LAST), r"threshold: holds 7 \(limit: 0\.\.0\)"),
    (dict(leak=(1, 2, 3)), r"leak: is \(1, 2, 3\)"),
    (dict(leak=(0,)), r"leak: is 0 \(limit: 1\.\.15\)"),
    (dict(leak=(16,)), r"leak: is 16 \(limit: 1\.\.15\)"),
    (dict(leak=1), r"leak: is 1"),
    (dict(membrane_bits=33), r"membrane_bits: is 33 \(limit: 2\.\.32\)"),
    (dict(membrane_bits=True), r"membrane_bits: is True"),
    (dict(v_init=1 << 19), r"v_init: is 524288 \(limit: -524288\.\.524287\)"),
    (dict(reset="soft"), r"reset: is 'soft' \(limit: a member of Reset\)"),
    (dict(readout="last"), r"readout: is 'last'"),
    (dict(z_max=0), r"z_max: is 0 \(limit: 1\.\.15\)"),
    (dict(z_max=16), r"z_max: is 16 \(limit: 1\.\.15\)"),
    (dict(z_max=2.0), r"z_max: is 2\.0"),
    (READOUT | dict(z_max=2), r"z_max: is 2 for a readout layer \(limit: 1\)"),
])
def test_wrong_layer(changes, message):
    with pytest.raises(NetworkError, match=message):
        layer(**changes)


@pytest.mark.parametrize("changes, message", [
    (dict(input="static"), r"input: is 'static'"),
    (dict(input_bits=9), r"input_bits: is 9 \(limit: 1\.\.8\)"),
    (dict(input=InputCoding.SPIKES), r"input_bits: is 8 for spikes \(limit: 1\)"),
    (dict(timesteps=0), r"timesteps: is 0 \(limit: 1\.\.4096\)"),
    (dict(timesteps=4.0), r"timesteps: is 4\.0"),
    (dict(layers=()), r"layers: 0 layers \(limit: 1\.\.64 layers\)"),
    (dict(layers=(1,)), r"layer 0: is 1"),
    (dict(layers=(layer(),)), r"layer 0: has readout None"),
    (dict(layers=(DenseLayer(**READOUT), DenseLayer(**READOUT))), r"layer 0: has readout Read"),
    (dict(layers=(layer(), layer(), DenseLayer(**READOUT))),
     r"layer 1: takes 3 inputs \(limit: 2, the outputs of"),
    (dict(metadata={"a": 1}), r"metadata: holds 'a': 1"),
    (dict(metadata={"a": "x" * 70000}), r"metadata: 70001 bytes \(limit: 65536 bytes\)"),
    (dict(metadata={"a": "\ud800"}), r"metadata: is not text"),
    (dict(metadata=3), r"metadata: is 3"),
])
def test_wrong_network(changes, message):
    with pytest.raises(NetworkError, match=message):
        network(**changes)


def test_is_immutable_and_private():
    weights = LAYER["weights"].copy()
    frozen = layer(weights=weights)
    weights[0, 0] = -1
    assert frozen.weights[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        frozen.weights[0, 0] = -1
    for name in ("v_init", "weights", "new"):
        with pytest.raises(FrozenInstanceError):
            setattr(frozen, name, 0)
    assert not isinstance(network().metadata, MutableMapping)


def test_copies_stay_valid_and_frozen():
    for clone in (pickle.loads(pickle.dumps(network())), copy.deepcopy(network())):
        assert_same(clone, network())
        assert not clone.layer(0).bias.flags.writeable


def test_properties():
    net = network()
    assert (net.inputs, net.outputs, net.input_max) == (3, 1, 255)
    assert (net.layer(0).membrane_min, net.layer(0).membrane_max) == (-(1 << 19), (1 << 19) - 1)
    assert net.layer(0).weights.dtype == np.int8 and net.layer(0).bias.dtype == np.int32


@pytest.mark.parametrize("z_max, weights", [
    (1, (1,)), (2, (1, 1)), (3, (2, 1)), (5, (2, 2, 1)), (7, (4, 2, 1)), (10, (4, 3, 2, 1)),
    (15, (8, 4, 2, 1))])
def test_level_weights(z_max, weights):
    assert level_weights(z_max) == weights


@pytest.mark.parametrize("z_max", range(1, 16))
def test_planes_hold_every_count(z_max):
    counts = np.arange(z_max + 1, dtype=np.uint8)
    weights = level_weights(z_max)
    assert list(weights) == sorted(weights, reverse=True) and len(weights) == z_max.bit_length()
    for shaped in (counts, counts.astype(np.int64), counts[::-1].reshape(-1, 1)):
        planes = level_planes(shaped, z_max)
        assert planes.dtype == bool and planes.shape == (*shaped.shape, len(weights))
        assert np.array_equal(planes @ np.array(weights), shaped)
    assert level_planes(np.array([[True, False]]), 1).tolist() == [[[True], [False]]]


def test_importing_needs_no_torch():
    code = "import sys, model.network_format, model.bounds; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


# --- bounds ----------------------------------------------------------------------------------

def test_bounds_of_a_worked_example():
    bounds = network(layers=(layer(leak=(), v_init=0, threshold=np.array([500, 70000])),
                             DenseLayer(**READOUT))).bounds(0)
    assert bounds.plus.tolist() == [255, 510]
    assert bounds.minus.tolist() == [255, 0]
    assert bounds.current_low.tolist() == [-5 - 16 * 255, 300]
    assert bounds.current_high.tolist() == [-5 + 3 * 255, 300 + 4 * 510]
    assert bounds.membrane_low.tolist() == [4 * (-5 - 16 * 255), 0]
    assert bounds.membrane_high.tolist() == [499 + 760, 4 * 2340]
    assert bounds.membrane_bits == 15
    assert not bounds.saturates
    assert bounds.to_dict()["membrane_min"] == -16340


@pytest.mark.parametrize("reset, high", [(Reset.SOFT, 250 + 260), (Reset.HARD, 59 + 260)])
def test_bounds_know_that_firing_takes_a_membrane_down(reset, high):
    neuron = DenseLayer(np.array([[1]]), np.array([1]), np.array([1]), np.array([5]),
                        np.array([60]), reset=reset, v_init=50)
    one = np.array([1])
    readout = DenseLayer(np.array([[1]]), one, one, one, np.array([0]),
                         readout=Readout.LAST)
    # Step 0 sums to 55..310: silent it stays at 55..59, fired it is 0..250 or 0.
    for steps, highest in ((1, 310), (2, high)):
        bounds = IntegerNetwork(InputCoding.STATIC, 8, steps, (neuron, readout)).bounds(0)
        assert bounds.current_low.tolist() == [5] and bounds.current_high.tolist() == [260]
        assert bounds.membrane_low.tolist() == [0]
        assert bounds.membrane_high.tolist() == [highest]


def test_bounds_see_saturation_and_survive_runaways():
    for bits in (14, 15):
        tight = layer(leak=(), v_init=0, threshold=np.array([500, 70000]), membrane_bits=bits)
        assert network(layers=(tight, DenseLayer(**READOUT))).bounds(0).saturates == (bits < 15)
    wild = network(timesteps=4096).bounds(-1)
    assert wild.membrane_low[0] == 4096 * (-2**31 - (2**31 - 1))
    assert wild.saturates and wild.membrane_bits == 45


def test_bounds_know_what_the_layer_before_can_count():
    net = network(layers=(layer(z_max=5), DenseLayer(**READOUT)))
    assert net.bounds(1).minus.tolist() == net.bounds(-1).minus.tolist() == [5]
    assert net.bounds(0).plus.tolist() == net.bounds(-2).plus.tolist() == [255, 510]


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("z_max", [1, 2, 5])
def test_reset_range_is_that_of_all_values(reset, z_max):
    neuron = layer(weights=np.zeros((1, 1), int), reset=reset, z_max=z_max, threshold=np.array([3]),
                   **{name: np.zeros(1, int) for name in ("gain_plus", "gain_minus", "bias")})
    values = np.arange(-4, 25)
    counts = np.clip(values // 3, 0, z_max)
    stored = values - 3 * counts if reset is Reset.SOFT else np.where(counts, 0, values)
    for first in range(len(values)):
        for last in range(first, len(values)):
            low, high = _reset_range(neuron, values[first:first + 1], values[last:last + 1])
            within = stored[first:last + 1]
            assert (low[0], high[0]) == (within.min(), within.max())


@given(st.lists(st.integers(1, 15), max_size=2), st.integers(-2**31, 2**31 - 1),
       st.integers(0, 5000))
def test_leak_range_holds_every_leak(shifts, low, width):
    values = np.arange(low, low + width + 1, dtype=np.int64)
    leaked = leak(values, tuple(shifts))
    lowest, highest = _leak_range(values[:1], values[-1:], tuple(shifts))
    assert lowest[0] <= leaked.min() and leaked.max() <= highest[0]


@pytest.mark.parametrize("low, high, bits", [
    (0, 0, 1), (-1, 0, 1), (0, 1, 2), (-2, 1, 2), (-3, 0, 3), (-128, 127, 8), (0, 128, 9)])
def test_bits_needed(low, high, bits):
    assert bits_needed(low, high) == bits


# --- atomic files ----------------------------------------------------------------------------

def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]
    with atomic_write(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.txt"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_atomic_write_names_what_it_can_not_write(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"), atomic_write(
            tmp_path / "none" / "out.txt"):
        pass
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        network().save(tmp_path)
    assert os.listdir(tmp_path) == []
