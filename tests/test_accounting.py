"""Memory and energy: worked by hand on small networks, and on the shape that is to be reached."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.accounting import energy, memory, summary
from model.golden import execute
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout
from model.network_format import encode

# 3 inputs, 2 neurons, 2 classes; 4 + 3 weights that are not 0.
HIDDEN: dict[str, Any] = dict(
    weights=np.array([[1, -1, 0], [0, 1, 1]]), gain_plus=np.array([3, 16]),
    gain_minus=np.array([16, 16]), bias=np.array([-300, 0]), threshold=np.array([100, 70000]),
    leak=(1, 2), membrane_bits=20)
OUTPUT: dict[str, Any] = dict(
    weights=np.array([[1, -1], [0, 1]]), gain_plus=np.array([1, 1]), gain_minus=np.array([1, 1]),
    bias=np.array([0, 0]), threshold=np.array([0, 0]), membrane_bits=10, readout=Readout.LAST)


def network(coding=InputCoding.STATIC, bits=8, steps=2):
    return IntegerNetwork(coding, bits, steps, (DenseLayer(**HIDDEN), DenseLayer(**OUTPUT)),
                          {"recipe": "by hand"})


def random_network(*widths, steps=4, seed=1):
    """Build a network with parameters as wide as folding makes them."""
    rng = np.random.default_rng(seed)
    layers = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        last = len(layers) == len(widths) - 2
        layers.append(DenseLayer(
            rng.integers(-1, 2, (outputs, inputs)),
            gain_plus=rng.integers(8, 40, outputs), gain_minus=np.full(outputs, 16),
            bias=rng.integers(-40000, 40000, outputs),
            threshold=np.zeros(outputs, int) if last else rng.integers(2000, 60000, outputs),
            membrane_bits=20, readout=Readout.SUM if last else None))
    return IntegerNetwork(InputCoding.STATIC, 8, steps, tuple(layers))


def test_memory_by_hand():
    report = memory(network())
    hidden, output = report.layers
    assert (hidden.weights, hidden.nonzero) == (6, 4)
    assert (hidden.codes, hidden.packed, hidden.sparse, hidden.stored) == (2, 2, 2, 2)
    assert hidden.neurons == 2 + 2 + 2 * 2 + 2 * 4     # gains U8, bias I16, threshold U32
    assert hidden.reference == 4 * (6 + 2)
    assert (output.codes, output.packed, output.sparse, output.stored) == (1, 1, 1, 1)
    assert output.neurons == 2 + 2 + 2                 # a readout has no thresholds
    assert report.total("codes") == 3 + 22
    assert report.compression("codes") == (32 + 24) / 25
    assert report.density == 7 / 10
    assert report.file == len(encode(network()))


def test_memory_is_what_the_file_holds():
    net = random_network(50, 30, 10)
    content = encode(net)
    data = len(content) - 8 - int.from_bytes(content[:8], "little")
    report = memory(net)
    assert report.total("stored") == data
    assert report.to_dict()["compression_stored"] == 4 * (50 * 30 + 30 * 10 + 40) / data


def test_the_shape_that_is_to_be_reached():
    found = memory(random_network(784, 256, 10)).to_dict()
    for encoding in ("codes", "packed", "sparse", "stored", "file"):
        assert found[f"compression_{encoding}"] >= 14.91


def hand_worked():
    """Return a network of a static input, inputs, and its energy; 8 2 0 and 0 1 1 set bits."""
    net = network()
    inputs = np.array([[255, 3, 0], [0, 1, 128]])
    trace = execute(net, inputs)
    return trace, energy(net, inputs, trace, [0.25])


def test_operations_of_a_static_input_by_hand():
    trace, report = hand_worked()
    hidden, output = report.layers
    assert hidden.events == 12 / 2
    assert hidden.adds == (8 * 1 + 2 * 2 + 1 * 2 + 1 * 1) / 2
    assert hidden.input_activity == 6 / 24
    assert hidden.scalings == 2 * 8, "each bit plane has its own"
    # 7.5 additions; two products, difference and sum of each plane; a bias each step.
    assert hidden.ops == pytest.approx(7.5 * 0.1 + 16 * (2 * 0.2 + 2 * 0.1) + 2 * 2 * 0.1)
    assert hidden.ops_wide == pytest.approx(7.5 * 0.1 + 16 * (2 * 3.1 + 2 * 0.1) + 2 * 2 * 0.1)
    assert hidden.ops_reference == pytest.approx(3 * 2 * 4.6), "dense, once a sample"
    assert hidden.ops_skipping == pytest.approx(2 * 2 * 4.6)

    spikes = trace.spikes[0].sum(axis=1).mean(axis=0)
    assert hidden.spike_rate == spikes.sum() / 4
    assert output.spike_rate is None
    assert hidden.spike_rate
    assert output.events == spikes.sum()
    assert output.adds == spikes[0] * 1 + spikes[1] * 2
    assert output.scalings == 2 * 2, "each step has its own"
    assert output.ops == pytest.approx(output.adds * 0.1 + 4 * 0.6 + 4 * 0.1)
    # The reference spikes at its own rate, 0.25: 1 of 2 neurons * 2 steps, at 2 synapses each.
    assert output.ops_reference == output.ops_skipping == pytest.approx(1 * 2 * 0.9)
    assert report.ratio_ops == pytest.approx((27.6 + 1.8) / (hidden.ops + output.ops))
    assert report.to_dict()["ratio_ops_wide"] == pytest.approx(
        (27.6 + 1.8) / (hidden.ops_wide + output.ops_wide))


@pytest.mark.parametrize(("gain", "inputs", "pool", "product"), [
    (1, 255, 1, 0.2), (255, 256, 1, 0.2 * 9 / 8), (255, 1, 8, 0.2), (255, 16, 4, 0.2 * 9 / 8),
    (256, 1, 1, 0.4), (256, 1023, 1, 0.4 * 10 / 8)])
def test_products_cost_what_their_widths_ask_for(gain, inputs, pool, product):
    """By the gains' type in the file, and by the largest count that the weights can have."""
    one = np.ones(1, int)
    layer = DenseLayer(np.ones((1, inputs), int), gain * one, one, 0 * one, one,
                       sum_pool=(pool, pool))
    output = DenseLayer(np.array([[1]]), one, one, 0 * one, 0 * one, readout=Readout.LAST)
    network = IntegerNetwork(InputCoding.SPIKES, 1, 1, (layer, output),
                             input_shape=(inputs, pool, pool))
    samples = np.zeros((1, 1, inputs * pool * pool), np.uint8)
    first = energy(network, samples, execute(network, samples)).layers[0]
    assert first.adds == 0 and first.scalings == 1
    assert first.ops == pytest.approx(2 * product + 0.2 + 0.1)
    assert first.ops_wide == pytest.approx(6.4 + 0.1)


def test_memory_of_a_static_input_by_hand():
    trace, report = hand_worked()
    hidden = report.layers[0]
    spikes = float(trace.spikes[0].mean()) * 4
    own = [                     # accesses, words, bits
        (6, 3, 2 + 3),          # events: address and bit number of a set bit
        (6 * 2, 6, 2),          # weights
        (2 * 4, 2, 20),         # membranes, once a step: sums of a static input are in registers
        (16, 2, 8),             # gain_plus, for each plane
        (16, 2, 8),             # gain_minus
        (4, 2, 16),             # bias
        (4, 2, 32),             # threshold
        (spikes, 2, 1),
    ]
    reference = [
        (3, 3, 8), (3 * 2, 6, 32), (2 * 4, 2, 32),
        (2, 2, 32),             # bias, once
        (0.25 * 4, 2, 1),
    ]
    skipping = [(2, 3, 8), (2 * 2, 6, 32), *reference[2:]]
    address = 3.1 + 2 * 0.1
    # Integration and two leaks; integration, multiplied leak, bias.
    own_ops = hidden.ops + 6 * address + 4 * 3 * 0.1 + spikes * 0.1
    reference_ops = 27.6 + 3 * address + 4 * (0.9 + 3.7) + 2 * 0.9 + 1 * 0.9
    skipping_ops = reference_ops - 2 * 4.6 - address

    def bits(accesses):
        return sum(count * width for count, _, width in accesses)

    def packed(accesses):
        return sum(count * 10 / (64 // width) for count, _, width in accesses)

    def one_by_one(accesses):
        return sum(count * (1.09e-5 * words * width + 13.2) for count, words, width in accesses)

    assert hidden.bits == bits(own) == 30 + 24 + 160 + 256 + 64 + 128 + spikes
    assert hidden.bits_reference == bits(reference) == 24 + 192 + 256 + 64 + 1
    assert packed(own[:7]) == pytest.approx(
        60 / 12 + 120 / 32 + 80 / 3 + 160 / 8 + 160 / 8 + 40 / 4 + 40 / 2)
    assert hidden.memory == pytest.approx(own_ops + packed(own))
    assert packed(reference) == pytest.approx(30 / 8 + 60 / 2 + 80 / 2 + 20 / 2 + 10 / 64)
    assert hidden.memory_reference == pytest.approx(reference_ops + packed(reference))
    assert hidden.memory_skipping == pytest.approx(skipping_ops + packed(skipping))
    assert hidden.memory_per_access == pytest.approx(own_ops + one_by_one(own))
    assert hidden.memory_per_access_reference == pytest.approx(
        reference_ops + one_by_one(reference))
    assert hidden.memory_per_access_skipping == pytest.approx(skipping_ops + one_by_one(skipping))


def test_memory_of_spikes_by_hand():
    trace, report = hand_worked()
    output = report.layers[1]
    first, second = trace.spikes[0].sum(axis=1).mean(axis=0)
    # Address, two weights and, for each weight that is not 0, a membrane read and written; each
    # neuron and step, membrane, gains and bias of 8 bits.
    assert output.bits == pytest.approx(
        (first + second) * (1 + 2 * 2) + (first + 2 * second) * 2 * 10 + 4 * (2 * 10 + 3 * 8))
    # One spike: the same of all weights; each neuron and step, membrane and bias.
    assert output.bits_reference == 1 * (1 + 2 * 32 + 2 * 2 * 32) + 4 * (2 * 32 + 32)
    assert output.memory_reference == pytest.approx(
        1.8 + 577 * 10 / 64 + 3.3 + 4 * (0.9 + 0.9))


def test_an_event_of_counts_is_a_set_plane():
    """Counts to 5 are planes of 2, 2 and 1: 1 and 2 are one event, 3 and 4 two, 5 all three."""
    hidden = DenseLayer(**dict(HIDDEN, weights=np.array([[1, 0, 0], [0, 1, 0]]), z_max=5, leak=(),
                               gain_plus=np.array([1, 1]), bias=np.array([0, 0]),
                               threshold=np.array([10, 10])))
    net = IntegerNetwork(InputCoding.STATIC, 8, 2, (hidden, DenseLayer(**OUTPUT)))
    inputs = np.array([[33, 2, 0], [9, 0, 0]])
    trace = execute(net, inputs)
    assert trace.spikes[0].tolist() == [[[3, 0], [3, 0]], [[0, 0], [1, 0]]]
    hidden, output = energy(net, inputs, trace).layers
    assert hidden.spike_rate == 3 / 8 and hidden.mean_count == 7 / 8
    assert hidden.reference_rate == 5 / 24
    assert output.mean_count is None
    assert output.events == 5 / 2 and output.adds == 5 / 2 * 1
    assert output.input_activity == 5 / 2 / (2 * 2 * 3)
    assert output.scalings == 2 * 2 * 3, "each plane of each step has its own"
    assert output.ops == pytest.approx(2.5 * 0.1 + 12 * 0.6 + 4 * 0.1)
    assert output.ops_reference == pytest.approx(2.5 * 2 * 0.9)
    # An event is one bit of address and two of plane; it brings two weights, and one addition
    # that reads and writes a membrane. Membrane, gains of each plane and bias of each neuron and
    # step.
    assert output.bits == pytest.approx(
        2.5 * (1 + 2 + 2 * 2) + 2.5 * 2 * 10 + 4 * (2 * 10 + 8) + 12 * 2 * 8)
    assert output.bits_reference == pytest.approx(
        2.5 * (1 + 2 + 2 * 32 + 2 * 2 * 32) + 4 * (2 * 32 + 32))
    # Input events; gains of 8 planes; bias; three thresholds; three bits for each event out.
    assert hidden.bits == pytest.approx(
        hidden.events * (2 + 3 + 2 * 2) + 4 * 2 * 20 + 16 * 2 * 8 + 4 * 8 + 4 * 3 * 8 + 2.5 * 3)


def test_what_the_two_prices_differ_in():
    """The same accesses on both sides, nearly all to weights: packed, a sixteenth of the price."""
    layer = DenseLayer(**dict(OUTPUT, weights=np.ones((2, 500), int)))
    inputs = np.ones((1, 500), int)
    net = IntegerNetwork(InputCoding.STATIC, 1, 1, (layer,), {})
    found = energy(net, inputs, execute(net, inputs)).layers[0]
    assert found.events == 500 and found.adds == 1000
    assert found.bits == 500 * (9 + 1 + 2 * 2) + 2 * (2 * 10 + 8 + 8 + 8)
    assert found.bits_reference == 500 * (8 + 2 * 32) + 2 * (2 * 32 + 32)
    moved, moved_reference = (
        memory - ops - 500 * 3.3 for memory, ops in (
            (found.memory_per_access, found.ops),
            (found.memory_per_access_reference, found.ops_reference)))
    assert moved == pytest.approx(moved_reference, rel=0.03)


def test_energy_of_spikes():
    net = network(InputCoding.SPIKES, 1)
    inputs = np.array([[[1, 1, 0], [0, 1, 0]]])
    report = energy(net, inputs, execute(net, inputs))
    hidden = report.layers[0]
    assert hidden.events == 3 and hidden.adds == 1 * 1 + 2 * 2
    assert hidden.input_activity == 3 / 6
    assert hidden.scalings == 2 * 2
    assert hidden.ops == pytest.approx(5 * 0.1 + 4 * 0.6 + 4 * 0.1)
    assert hidden.ops_reference == hidden.ops_skipping == pytest.approx(3 * 2 * 0.9)
    assert hidden.reference_rate == hidden.spike_rate


def test_silent_input_costs_no_additions():
    net = network()
    inputs = np.zeros((1, 3), np.uint8)
    hidden = energy(net, inputs, execute(net, inputs)).layers[0]
    assert hidden.adds == hidden.events == hidden.ops_skipping == 0
    assert hidden.ops > 0


@pytest.mark.parametrize("activity", [[], [0.1, 0.2], [1.5], [float("nan")]])
def test_wrong_activity(activity):
    inputs = np.zeros((1, 3), np.uint8)
    with pytest.raises(ValueError, match=r"Activity must be 1 rates of 0\.\.1, not"):
        energy(network(), inputs, execute(network(), inputs), activity)


def test_wrong_trace():
    inputs = np.zeros((2, 3), np.uint8)
    trace = execute(network(), inputs)
    with pytest.raises(ValueError, match="Energy needs at least one sample"):
        energy(network(), inputs[:0], trace)
    with pytest.raises(ValueError, match="of the 1 samples given, not of 2 with 1"):
        energy(network(), inputs[:1], trace)
    with pytest.raises(ValueError, match="of the 2 samples given, not of 2 with 0"):
        energy(network(), inputs, execute(network(), inputs, record=False))


def test_reports_are_json():
    net = network()
    inputs = np.array([[255, 3, 0]])
    found = json.loads(json.dumps(energy(net, inputs, execute(net, inputs)).to_dict()))
    assert found["samples"] == 1 and len(found["layers"]) == 2
    for model in ("ops", "memory", "memory_per_access"):
        for suffix, reference in (("", "reference"), ("_skipping", "skipping")):
            assert found[f"ratio_{model}{suffix}"] == pytest.approx(
                sum(layer[f"{model}_{reference}"] for layer in found["layers"])
                / sum(layer[model] for layer in found["layers"]))
    found = json.loads(json.dumps(summary(net)))
    assert found["arch"] == "3-2-2" and found["metadata"] == {"recipe": "by hand"}
    assert found["layers"][0]["plus"] == 3 and found["layers"][0]["minus"] == 1
    assert found["layers"][0]["threshold"] == [100, 70000]
    assert found["layers"][1]["readout"] == "last"
    assert found["layers"][0]["z_max"] == 1
    assert found["layers"][0]["bounds"]["plus_max"] == 510
    assert found["memory"]["count"] == 10


def test_importing_needs_no_torch():
    code = "import sys, model.accounting; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
