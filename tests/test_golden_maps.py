"""The golden executor on maps and graphs, against the equations in plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import golden
from model.golden import execute
from model.network import ConvLayer, InputCoding, IntegerNetwork, NetworkError, Readout
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


@pytest.mark.parametrize("seed", range(20))
def test_layers_that_are_known_need_not_run(seed):
    network = any_network(seed)
    inputs = any_samples(network, 5, seed)
    whole = execute(network, inputs)
    for layers in range(len(network.layers)):
        rest = execute(network, inputs, known=whole.spikes[:layers], batch=3)
        for one, other in zip(rest.spikes, whole.spikes, strict=True):
            assert np.array_equal(one, other) and one.dtype == other.dtype
        assert all(membranes.shape[2] == 0 for membranes in rest.membranes[:layers])
        for one, other in zip(rest.membranes[layers:], whole.membranes[layers:], strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(rest.readout, whole.readout)
    bare = execute(network, inputs, known=whole.spikes[:1], record=False)
    assert bare.spikes == bare.membranes == ()


def test_what_is_known_goes_on():
    """It is taken as it is, not computed again."""
    network = any_network(9)
    inputs = any_samples(network, 2, 1)
    silent = [np.zeros_like(spikes) for spikes in execute(network, inputs).spikes]
    found = execute(network, inputs, known=silent[:-1])
    other = execute(network, np.zeros_like(inputs), known=silent[:-1])
    assert not any(spikes.any() for spikes in found.spikes[:-1])
    assert np.array_equal(found.readout, other.readout)


@pytest.mark.parametrize(("changed", "message"), [
    (lambda known: [*known, known[-1]],
     r"known spikes: are those of 6 layers \(limit: at most 5\)"),
    (lambda known: [known[0][:1]], r"known spikes of layer 0: have shape \(1, "),
    (lambda known: [known[0] + 100],
     r"known spikes of layer 0: hold 101\.\.101 \(limit: -1\.\.1\)"),
])
def test_wrong_spikes(changed, message):
    network = any_network(9)
    inputs = any_samples(network, 2, 1)
    with pytest.raises(NetworkError, match=message):
        execute(network, inputs, known=changed(execute(network, inputs).spikes))


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
