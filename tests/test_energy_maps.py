"""Energy of networks of maps: the events and the weights that they meet, one by one."""

from dataclasses import replace

import numpy as np
import pytest

from model.accounting import arch, energy, memory, summary
from model.energy import ADD_FP32, ADD_INT32, MUL_FP32, MUL_INT8
from model.golden import execute
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Merge,
    MergeLayer,
    Readout,
    level_planes,
)
from tests.networks import any_network, any_samples
from tests.plain_network import each_pool, plain_current


def bits_of(network, number, counts):
    """Return the set planes of each count, counted one by one."""
    if number >= 0:
        layer = network.layers[number]
        return level_planes(counts, layer.z_max, layer.signed).sum(axis=-1)
    mask = (1 << network.input_bits) - 1
    return np.vectorize(lambda value: (int(value) & mask).bit_count())(counts)


def meetings(layer, events, every):
    """Return how often events meet weights, all of them or those that are not 0."""
    ones = np.ones_like(layer.weights) if every else np.abs(layer.weights)
    outputs = len(ones)
    counted = replace(layer, weights=ones, gain_plus=np.ones(outputs, int),
                      bias=np.zeros(outputs, int))
    return int(plain_current(counted, events).sum())


@pytest.mark.parametrize("seed", range(60))
def test_events_meet_weights_one_by_one(seed):
    network = any_network(seed)
    inputs = any_samples(network, 3, seed)
    trace = execute(network, inputs)
    found = energy(network, inputs, trace)
    static = network.input is InputCoding.STATIC
    seen = {-1: inputs[:, np.newaxis] if static else inputs}
    for number, layer in enumerate(network.layers):
        neurons, cost = network.layer(number), found.layers[number]
        # A set bit more often than one step has steps: as many events.
        events = np.concatenate([
            bits_of(network, source, seen[source]).sum(axis=(0, 1)).astype(object)
            .reshape(network.shape(source)) for source in network.sources(number)])
        assert cost.events == pytest.approx(
            each_pool(events, neurons.sum_pool, sum).sum() / len(inputs))
        assert cost.adds == pytest.approx(meetings(neurons, events, False) / len(inputs))
        if layer.readout is None:
            spikes = trace.spikes[number]
            assert cost.mean_count == pytest.approx(np.abs(spikes.astype(int)).mean())
            assert cost.total_count == pytest.approx(
                np.abs(spikes.astype(int)).sum() / len(inputs))
            seen[number] = network.pooled(number, spikes)
        if isinstance(layer, MergeLayer):
            assert cost.scalings == 0 and cost.density is None
            assert cost.ops == pytest.approx(cost.adds * ADD_INT32)
            assert cost.ops_reference == pytest.approx(cost.adds * ADD_FP32)
        elif network.sources(number) != (-1,) or network.input is InputCoding.SPIKES:
            assert cost.ops_reference == cost.ops_skipping == pytest.approx(
                ADD_FP32 * meetings(neurons, events, True) / len(inputs))


def test_a_convolution_by_hand():
    weights = np.array([[[[1, 0, -1]]], [[[0, 0, 1]]]])
    ones = np.ones(2, int)
    conv = ConvLayer(weights, ones, ones, 0 * ones, ones, stride=(1, 2), padding=(0, 1),
                     z_max=2, signed=True, membrane_bits=6, pool=(1, 2))
    read = DenseLayer(np.array([[1, 0], [1, 1]]), ones, ones, 0 * ones, 0 * ones,
                      readout=Readout.LAST, window=2, membrane_bits=9)
    network = IntegerNetwork(InputCoding.SAMPLES, 3, 2, (conv, read), input_shape=(1, 1, 4),
                             input_signed=True)
    # Neurons see pixels -1 0 1 and 1 2 3. Pixels meet 2 weights that are not 0: the centre is 0.
    inputs = np.array([[[3, 0, -1, 1], [0, 3, -4, 0]]])
    trace = execute(network, inputs)
    first, second = energy(network, inputs, trace, [0.25]).layers
    bits = np.array([2, 0, 3, 1]) + np.array([0, 2, 1, 0])
    # The second pixel is the right one of the first neuron, and the left one of the second.
    nonzero, weights_met = np.array([0, 2 + 1, 0, 2]), np.array([2, 4, 2, 2])
    assert first.events == bits.sum() == 9
    assert first.adds == bits @ nonzero
    assert first.scalings == 4 * 2 * 3, "neurons, steps, bit planes"
    scaling = 2 * MUL_INT8 + 2 * ADD_INT32
    assert first.ops == pytest.approx(first.adds * 0.1 + 24 * scaling + 4 * 2 * 0.1)
    # Numbers, step by step: all of them, or those that are not 0.
    macs = 2 * weights_met.sum()
    assert first.ops_reference == pytest.approx(macs * (ADD_FP32 + MUL_FP32))
    assert first.ops_skipping == pytest.approx(
        (weights_met @ [1, 1, 2, 1]) * (ADD_FP32 + MUL_FP32))
    assert first.input_activity == 9 / (4 * 2 * 3)

    spikes = trace.spikes[0][0].astype(int)
    pooled = spikes.reshape(2, 2, 2).max(axis=2)
    assert spikes.tolist() == [[0, 0, 0, 1], [-2, 2, 2, 0]]
    # Planes 1 1 -1 -1: a count sets as many.
    assert second.events == np.abs(pooled).sum()
    assert second.adds == np.abs(pooled).sum(axis=0) @ [2, 1]
    assert second.scalings == 2 * 2 * 4, "neurons, source's steps, planes"
    assert first.reference_rate == 0.25
    rate = np.abs(spikes).sum() / (2 * 4 * 4)
    assert second.ops_reference == pytest.approx(
        0.9 * np.abs(pooled).sum() * 2 * 0.25 / rate)


def test_planes_of_the_same_worth_are_scaled_together():
    """Counts to 3 (2, 1) and to 2 (1, 1) have the planes 2, 1, 1; signed ones three more."""
    ones = np.ones(1, int)

    def hidden(z_max, signed=False):
        return DenseLayer(np.array([[1]]), ones, ones, ones, ones, z_max=z_max, signed=signed,
                          sources=(-1,))

    read = DenseLayer(np.array([[1, 1]]), ones, ones, ones, 0 * ones, readout=Readout.LAST,
                      sources=(0, 1))
    for signed, planes in ((False, 3), (True, 5)):
        network = IntegerNetwork(InputCoding.STATIC, 8, 4, (hidden(3, signed), hidden(2), read))
        inputs = np.array([[9]])
        found = energy(network, inputs, execute(network, inputs)).layers[2]
        assert found.scalings == 4 * planes


def residual():
    ones = np.ones(4, int)

    def conv(inputs, **fields):
        weights = np.resize([1, 0, -1], (4, inputs, 3, 3))
        return ConvLayer(weights, ones, ones, ones, 9 * ones, padding=(1, 1), **fields)

    tens = np.ones(10, int)
    read = DenseLayer(np.ones((10, 4), int), tens, tens, tens, 0 * tens, readout=Readout.SUM,
                      sum_pool=(4, 4))
    layers = (conv(2, pool=(2, 2)), conv(4), MergeLayer(Merge.OR, (0, 1)),
              conv(4, sources=(2,), window=2, stride=(1, 1)), read)
    return IntegerNetwork(InputCoding.SPIKES, 1, 4, layers, input_shape=(2, 8, 8))


def test_merges_take_no_memory():
    report = memory(residual())
    assert [layer.weights for layer in report.layers] == [72, 144, 0, 144, 40]
    assert report.layers[2].neurons == report.layers[2].packed == report.layers[2].reference == 0
    assert report.layers[1].reference == 4 * (144 + 4)


def test_the_summary_tells_maps():
    found = summary(residual())
    assert found["arch"] == arch(residual()) == "2x8x8-4C3P2-4C3-or@0,1-4C3W2-AG-10"
    assert found["input_shape"] == [2, 8, 8] and not found["input_signed"]
    first, _, merge, windowed, _ = found["layers"]
    assert first["fired_shape"] == [4, 8, 8] and first["shape"] == [4, 4, 4]
    assert merge["kind"] == "or" and merge["sources"] == [0, 1] and merge["density"] is None
    assert merge["weights"] == merge["plus"] == 0 and merge["source_shape"] == [8, 4, 4]
    assert windowed["steps"] == 2 and windowed["window"] == 2
    assert [layer["kind"] for layer in found["layers"]] == ["4C3P2", "4C3", "or", "4C3", "10"]


def test_architectures_in_short():
    ones = np.ones(4, int)
    conv = ConvLayer(np.ones((4, 1, 3, 5), int), ones, ones, ones, ones, stride=(2, 1), groups=2,
                     padding=(1, 2), pool=(1, 2), sum_pool=(2, 1))
    read = DenseLayer(np.ones((4, 40), int), ones, ones, ones, 0 * ones, readout=Readout.LAST)
    again = replace(conv, sources=(-1,), pool=(1, 2))
    network = IntegerNetwork(InputCoding.STATIC, 8, 4, (
        conv, again, MergeLayer(Merge.AND_NOT, (1, 0)), read), input_shape=(2, 8, 10))
    assert arch(network) == ("2x8x10-A2x1-4C3x5S2x1G2P1x2-A2x1-4C3x5S2x1G2P1x2@input"
                             "-and-not@1,0-4")
