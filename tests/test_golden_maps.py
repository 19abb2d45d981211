"""The golden executor on maps and graphs, against the equations in plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import golden
from model.golden import execute
from model.network import ConvLayer, InputCoding, IntegerNetwork, Readout
from tests.networks import any_network, any_samples
from tests.plain_network import plain


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_equals_the_plain_equations(seed):
    network = any_network(seed)
    inputs = any_samples(network, 2, seed)
    trace = execute(network, inputs)
    for n, sample in enumerate(inputs.tolist()):
        spikes, membranes, result = plain(network, sample)
        assert [layer[n].tolist() for layer in trace.spikes] == spikes
        assert [layer[n].tolist() for layer in trace.membranes] == membranes
        assert trace.readout[n].tolist() == result


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32))
def test_stays_within_the_proven_bounds(seed):
    network = any_network(seed)
    trace = execute(network, any_samples(network, 10, seed))
    for number, membranes in enumerate(trace.membranes):
        bounds = network.bounds(number)
        if not bounds.saturates:
            channels = membranes.reshape(*membranes.shape[:2], bounds.plus.size, -1)
            assert (channels >= bounds.membrane_low[:, np.newaxis]).all()
            assert (channels <= bounds.membrane_high[:, np.newaxis]).all()


@pytest.mark.parametrize("seed", range(10))
def test_small_batches_and_small_parts_change_nothing(seed, monkeypatch):
    network = any_network(seed)
    inputs = any_samples(network, 5, seed)
    whole = execute(network, inputs)
    monkeypatch.setattr(golden, "MAX_VALUES", 300)
    parts = execute(network, inputs)
    for name in ("spikes", "membranes"):
        for one, other in zip(getattr(parts, name), getattr(whole, name), strict=True):
            assert np.array_equal(one, other)
    assert np.array_equal(parts.readout, whole.readout)


def test_types_and_shapes_are_those_of_the_layers():
    network = any_network(9)
    trace = execute(network, any_samples(network, 2, 1))
    assert len(trace.spikes) == len(network.layers) - 1 > 0
    for number, spikes in enumerate(trace.spikes):
        assert spikes.dtype == (np.int8 if network.layers[number].signed else np.uint8)
        neurons = int(np.prod(network.fired_shape(number)))
        assert spikes.shape == (2, network.steps(number), neurons)
    assert all(each.dtype == np.int32 for each in trace.membranes)
    assert trace.readout.dtype == np.int64


def test_convolves_exactly_beyond_32_bit_floats():
    # 2^18 values of 255 are summed, and one of 254: 26 bits.
    channels = 1 << 16
    layer = ConvLayer(np.ones((1, channels, 1, 3), np.int8), np.array([2]), np.array([1]),
                      np.array([1]), np.array([0]), padding=(0, 1), readout=Readout.LAST,
                      sum_pool=(1, 2))
    network = IntegerNetwork(InputCoding.STATIC, 8, 1, (layer,), input_shape=(channels, 1, 4))
    inputs = np.full((1, 4 * channels), 255)
    inputs[0, 0] = 254
    total = 2 * 2 * 255 * channels - 1
    assert execute(network, inputs).readout.tolist() == [[2 * total + 1, 2 * total + 1]]
