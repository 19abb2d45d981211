"""Neurons that vanish from integer networks: what goes, what stays, and that nothing changes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.golden import execute
from model.network import (
    ConvLayer,
    IntegerNetwork,
    Merge,
    MergeLayer,
    NetworkError,
    Readout,
    Reset,
)
from model.shrink import absorb, places, removable, shrink, tied, unread, without
from tests.agreement import agreements
from tests.networks import CORES, any_network, any_samples, fits
from tests.option_networks import OPTIONS, conv, dense, network, option_samples
from tests.small_networks import changed, samples
from tests.small_networks import network as dense_network


def thinned(whole: IntegerNetwork, seed: int) -> IntegerNetwork:
    """Return the network with half of its neurons, and a fifth of its inputs, without weights."""
    rng = np.random.default_rng(seed)
    layers = list(whole.layers)
    for number, layer in enumerate(layers):
        if isinstance(layer, MergeLayer):
            continue
        weights = layer.weights.copy()
        weights[rng.random(len(weights)) < 0.5] = 0
        weights[:, rng.random(weights.shape[1]) < 0.2] = 0
        layers[number] = replace(layer, weights=weights)
    return replace(whole, layers=tuple(layers))


def sizes(whole: IntegerNetwork) -> list[int]:
    """Return the channels of each layer."""
    return [whole.shape(number)[0] for number in range(len(whole.layers))]


def same_readout(a: IntegerNetwork, b: IntegerNetwork, inputs: np.ndarray) -> bool:
    """Whether two networks give the same results."""
    return np.array_equal(execute(a, inputs).readout, execute(b, inputs).readout)


@pytest.mark.parametrize("seed", range(4))
def test_random_networks_keep_their_readout(seed):
    smaller = 0
    for number in range(25 * seed, 25 * seed + 25):
        whole = thinned(any_network(number), number)
        found = shrink(whole)
        assert same_readout(whole, found, any_samples(whole, 3, number)), f"network {number}"
        assert len(found.layers) == len(whole.layers)
        assert found.shape(-1) == whole.shape(-1) and found.outputs == whole.outputs
        smaller += sum(sizes(found)) < sum(sizes(whole))
    assert smaller > 10


def test_every_option_keeps_its_readout():
    smaller = 0
    for number, (name, option) in enumerate(OPTIONS.items()):
        whole = thinned(option, number)
        found = shrink(whole)
        assert same_readout(whole, found, option_samples(whole)), name
        smaller += sum(sizes(found)) < sum(sizes(whole))
    assert smaller > 20


def test_nothing_to_shrink():
    whole = dense_network(6, 5, 4, density=1.0, threshold=2)
    assert shrink(whole) is whole
    assert not any(each.any() for each in removable(whole).values())


# What may go


def test_silent_neurons_by_their_bounds():
    whole = dense_network(6, 5, 3, timesteps=2, density=1.0, bias=0)
    weights = whole.layer(0).weights.copy()
    weights[1] = -1                                            # never above 0
    threshold = np.full(5, 1)
    threshold[3] = 1 << 20                                     # never reached
    whole = changed(whole, 0, weights=weights, threshold=threshold)
    assert removable(whole)[0].tolist() == [False, True, False, True, False]
    assert sizes(shrink(whole)) == [3, 3]


def test_signed_neurons_spike_below_zero():
    whole = dense_network(6, 5, 3, timesteps=2, density=1.0, bias=0)
    weights = whole.layer(0).weights.copy()
    weights[1] = -1
    whole = changed(whole, 0, weights=weights, threshold=np.full(5, 1))
    assert removable(whole)[0].any()
    assert not removable(changed(whole, 0, signed=True))[0].any()


def test_unread_neurons_may_spike():
    whole = dense_network(6, 5, 3, density=1.0, threshold=1)
    weights = whole.layer(1).weights.copy()
    weights[:, [0, 4]] = 0
    whole = changed(whole, 1, weights=weights)
    inputs = samples(whole, 20)
    assert execute(whole, inputs).spikes[0][..., 0].any()
    assert unread(whole, 0).tolist() == [True, False, False, False, True]
    found = shrink(whole)
    assert sizes(found) == [3, 3] and same_readout(whole, found, inputs)


def constant_neuron(bias: int, threshold: int, **layer) -> IntegerNetwork:
    """Return a network whose first hidden neuron of three has a bias and no weights."""
    whole = dense_network(4, 3, 2, timesteps=4, density=1.0, threshold=2)
    weights = np.outer([0, 1, 1], np.ones(4, int))
    return changed(whole, 0, weights=weights, threshold=np.array([threshold, 2, 2]),
                   bias=np.array([bias, 0, 0]), **layer)


def test_constant_neurons_become_biases():
    whole = constant_neuron(5, 2, z_max=3, reset=Reset.HARD)     # counts 2 in every step
    before, after = whole.layer(1), absorb(whole).layer(1)
    gained = np.where(before.weights[:, 0] > 0, before.gain_plus, -before.gain_minus)
    assert np.array_equal(after.bias, before.bias + 2 * gained)
    assert not after.weights[:, 0].any()
    inputs = samples(whole, 20)
    ours, theirs = execute(absorb(whole), inputs), execute(whole, inputs)
    for mine, other in zip(ours.membranes + ours.spikes, theirs.membranes + theirs.spikes,
                           strict=True):
        assert np.array_equal(mine, other)
    found = shrink(whole)
    assert sizes(found) == [2, 2] and same_readout(whole, found, inputs)


def test_neurons_that_spike_now_and_then_stay():
    whole = constant_neuron(1, 2)                                # every other step
    assert absorb(whole) is whole and sizes(shrink(whole)) == [3, 2]


def test_a_bias_that_does_not_fit_stays():
    whole = constant_neuron(2, 2)
    bias = np.full(2, 2**31 - 1)
    whole = changed(whole, 1, bias=bias, weights=np.ones((2, 3), int), membrane_bits=32)
    assert absorb(whole) is whole and sizes(shrink(whole)) == [3, 2]


def test_constant_channels_stay_where_a_map_is_padded():
    first = conv(2, 3, (2, 2), seed=4)
    weights = first.weights.copy()
    weights[1] = 0
    first = replace(first, weights=weights, bias=np.array([0, 3, 0]), threshold=np.full(3, 3))
    for padding, left in (((0, 0), 2), ((1, 1), 3)):
        whole = network((2, 4, 4), first, conv(3, 4, (3, 3), padding=padding,
                                               weights=np.ones((4, 3, 3, 3), int)))
        assert sizes(shrink(whole))[0] == left
        assert same_readout(whole, shrink(whole), option_samples(whole))


def test_a_layer_keeps_one_neuron():
    whole = dense_network(4, 3, 2, density=0.0, bias=0)
    assert sizes(shrink(whole)) == [1, 2]


def test_merges_lose_what_both_sources_lose():
    """A channel that one source makes spike stays, in all three."""
    first, second = (conv(2, 4, (1, 1), seed=seed, bias=np.zeros(4, int), sources=(-1,),
                          threshold=np.full(4, 1)) for seed in (1, 2))
    weights = [np.ones(layer.weights.shape, int) for layer in (first, second)]
    weights[0][[0, 1]] = -1
    weights[1][[1, 2]] = -1
    layers = [replace(layer, weights=each) for layer, each in zip((first, second), weights,
                                                                  strict=True)]
    whole = network((2, 2, 2), *layers, MergeLayer(Merge.ADD, (0, 1), z_max=2))
    assert [removable(whole)[number].tolist() for number in range(3)] == [
        [False, True, False, False]] * 3
    # Of AND-NOT the second source decides, and what nobody else reads of the first goes with it.
    whole = network((2, 2, 2), *layers, MergeLayer(Merge.AND_NOT, (0, 1)))
    assert removable(whole)[2].tolist() == [False, True, True, False]
    assert sizes(shrink(whole)) == [2, 2, 2, 3]
    assert same_readout(whole, shrink(whole), option_samples(whole, 4))


def test_depthwise_channels_go_with_their_source():
    ones: dict[str, Any] = dict(bias=np.zeros(4, int), threshold=np.ones(4, int))
    below = conv(2, 4, (1, 1), weights=np.ones((4, 2, 1, 1), int), **ones)
    weights = np.ones((4, 1, 2, 2), int)
    for least, left in ((1, 4), (-1, 3)):
        # Channel 2 of the source spikes, but nobody else reads it.
        weights[2] = least
        whole = network((2, 3, 3), below, conv(4, 4, (2, 2), groups=4, weights=weights, **ones))
        found = shrink(whole)
        assert sizes(found)[:2] == [left, left]
        assert found.layer(1).weights.shape == (left, 1, 2, 2)
        assert same_readout(whole, found, option_samples(whole))


def test_groups_of_layers():
    sources = [(-1,), (0,), (0, 1), (2,), (3,)]
    assert tied(sources, own={2}, fixed={-1, 4}) == [(0, 1, 2), (3,)]
    assert tied(sources, own={2, 3}, fixed={-1, 4}) == [(0, 1, 2, 3)]
    assert tied(sources, own={0}, fixed={-1, 4, 3}) == [(1,), (2,)]


# Taking given neurons out


def test_equal_where_the_neurons_do_not_spike():
    whole = dense_network(8, 12, 12, 3, seed=3, threshold=40, bias=2)
    inputs = samples(whole, 100, density=0.3)
    trace = execute(whole, inputs)
    gone = {number: np.logical_not(each.any(axis=(0, 1)))
            for number, each in enumerate(trace.spikes)}
    assert all(each.any() and not each.all() for each in gone.values())
    found = without(whole, gone)
    assert sizes(found) == [int((~each).sum()) for each in gone.values()] + [3]
    ours = execute(found, inputs)
    assert np.array_equal(ours.readout, trace.readout)
    for number, spikes in enumerate(ours.spikes):
        assert np.array_equal(spikes, trace.spikes[number][..., ~gone[number]])


def test_sources_side_by_side():
    parts = [conv(2, each, (2, 2), seed=each, sources=(-1,)) for each in (2, 5)]
    whole = network((2, 2, 4), *parts, conv(7, 3, (1, 2), sources=(1, 0)))
    gone = {0: np.array([True, False]), 1: np.arange(5) % 2 == 1}
    found = without(whole, gone)
    assert np.array_equal(found.layer(2).weights, whole.layer(2).weights[:, [0, 2, 4, 6]])


def test_dense_layers_lose_all_pixels_of_a_channel():
    whole = network((2, 3, 5), conv(2, 3, (1, 1)), dense(18, 4, seed=2, sum_pool=(1, 2)))
    gone = np.array([False, True, False])
    weights = without(whole, {0: gone}).layer(1).weights
    assert np.array_equal(weights, whole.layer(1).weights.reshape(4, 3, 6)[:, ~gone].reshape(4, 12))


def test_inputs_that_are_not_given():
    whole = network((3, 2, 2), conv(3, 4, (2, 2)))
    weights = whole.layer(0).weights.copy()
    weights[:, 1] = 0
    whole = changed(whole, 0, weights=weights)
    gone = unread(whole, -1)
    assert gone.tolist() == [False, True, False]
    found, left = without(whole, {-1: gone}), places(whole, -1, gone)
    assert found.shape(-1) == (2, 2, 2) and left.sum() == 8
    inputs = option_samples(whole, 4)
    assert np.array_equal(execute(found, inputs[..., left]).readout, execute(whole, inputs).readout)


def grouped(groups: int) -> IntegerNetwork:
    return network((2, 3, 3), conv(2, 6, (1, 1)), conv(6, 6, (2, 2), groups=groups))


def test_groups_lose_alike_or_vanish():
    whole = grouped(2)
    alike = without(whole, {0: np.array([1, 0, 0, 0, 1, 0], bool)})
    assert alike.layer(1).weights.shape == (6, 2, 2, 2)
    assert np.array_equal(alike.layer(1).weights[3:], whole.layer(1).weights[3:, [0, 2]])
    half = np.arange(6) < 3
    vanished = without(whole, {0: half, 1: half}).layer(1)
    assert isinstance(vanished, ConvLayer) and vanished.groups == 1
    assert np.array_equal(vanished.weights, whole.layer(1).weights[3:])


def bad(number: int, which: list[int], channels: int) -> dict[int, np.ndarray]:
    return {number: np.isin(np.arange(channels), which)}


@pytest.mark.parametrize(("whole", "gone", "message"), [
    (grouped(2), bad(0, [0], 6),
     r"layer 1: would have groups of \(3, 2\) and \(3, 3\) outputs and inputs "
     r"\(limit: groups of one size\)"),
    (grouped(2), bad(0, [0, 1, 2], 6), r"groups of \(3, 0\) and \(3, 3\)"),
    (grouped(2), bad(2, [0], 3), "layer 2: is read out, and would lose neurons"),
    (grouped(2), bad(1, [*range(6)], 6), "layer 1: would lose all 6 channels"),
    (grouped(2), bad(-1, [0, 1], 2), "input: would lose all 2 channels"),
    (grouped(2), bad(1, [0], 5), r"layer 1: loses bool of the shape \(5,\) \(limit: bool of the "
                                 r"shape \(6,\), its channels\)"),
    (grouped(2), {0: np.zeros(6, int)}, r"layer 0: loses int64 of the shape \(6,\)"),
    (OPTIONS["or"], bad(0, [0], 2), "layer 2: loses other channels than what it merges"),
])
def test_refusals(whole, gone, message):
    with pytest.raises(NetworkError, match=message):
        without(whole, gone)


# On the core


@pytest.mark.cocotb
def test_shrunk_networks_on_the_core():
    """The core agrees with both, and takes fewer cycles for what is smaller."""
    core = CORES["planes1"]
    whole = dense_network(20, 24, 24, 5, seed=7, density=0.6, bias=0)
    weights = whole.layer(0).weights.copy()
    weights[np.arange(24) % 3 > 0] = -1
    whole = changed(whole, 0, weights=weights)
    maps = thinned(OPTIONS["addition of counts"], 5)
    pairs = []
    for each, inputs in ((whole, samples(whole, 4)), (maps, option_samples(maps, 3))):
        assert fits(each, [core])
        pairs += [(each, inputs), (shrink(each), inputs)]
    assert sizes(pairs[1][0])[0] == 8
    for found in agreements(pairs, core):
        assert found.difference is None


def test_readout_kind_does_not_matter():
    whole = thinned(dense_network(8, 8, 6, 3, readout=Readout.SUM, input_bits=4), 2)
    assert same_readout(whole, shrink(whole), samples(whole, 30))
