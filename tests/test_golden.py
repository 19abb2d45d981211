"""The golden executor against the equations written out in plain Python."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.golden import Trace, execute
from model.network import DenseLayer, InputCoding, IntegerNetwork, NetworkError, Readout, Reset

INT32_MAX = (1 << 31) - 1


def plain_sample(network, sample):
    """Run one sample with Python integers only: (spikes, membranes, readout, class)."""
    static = network.input is InputCoding.STATIC
    source = [[int(x) for x in (sample if static else sample[t])]
              for t in range(network.timesteps)]
    all_spikes, all_membranes, values = [], [], []
    for layer in network.layers:
        low, high = -(2 ** (layer.membrane_bits - 1)), 2 ** (layer.membrane_bits - 1) - 1
        state = [layer.v_init] * layer.outputs
        spikes, membranes = [], []
        for counts in source:
            fired = []
            for o, row in enumerate(layer.weights.tolist()):
                plus = sum(s for s, w in zip(counts, row, strict=True) if w == 1)
                minus = sum(s for s, w in zip(counts, row, strict=True) if w == -1)
                current = (int(layer.gain_plus[o]) * plus - int(layer.gain_minus[o]) * minus
                           + int(layer.bias[o]))
                v = state[o] - sum(state[o] // 2 ** k for k in layer.leak) + current
                v = min(max(v, low), high)
                z, threshold = 0, int(layer.threshold[o])
                while layer.readout is None and z < layer.z_max and v >= (z + 1) * threshold:
                    z += 1
                if z:
                    v = v - z * threshold if layer.reset is Reset.SOFT else 0
                state[o] = v
                fired.append(z)
            spikes.append(fired)
            membranes.append(list(state))
        all_spikes.append(spikes)
        all_membranes.append(membranes)
        source = spikes
        if layer.readout is Readout.LAST:
            values = membranes[-1]
        elif layer.readout is Readout.SUM:
            values = [sum(column) for column in zip(*membranes, strict=True)]
    return all_spikes[:-1], all_membranes, values, values.index(max(values))


def assert_equal_to_plain(network, inputs, trace: Trace):
    """Compare every number of a trace with the plain reference."""
    for n, sample in enumerate(inputs):
        spikes, membranes, values, winner = plain_sample(network, sample)
        assert [layer[n].tolist() for layer in trace.spikes] == spikes
        assert [layer[n].tolist() for layer in trace.membranes] == membranes
        assert trace.readout[n].tolist() == values
        assert trace.classes[n] == winner


@st.composite
def networks(draw):
    """Draw small networks whose numbers go up to the limits of their types."""
    def vector(low, high):
        near = st.integers(max(low, -40), min(high, 40))
        return draw(st.lists(near | st.integers(low, high), min_size=outputs, max_size=outputs))

    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    layers = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        last = len(layers) == len(widths) - 2
        bits = draw(st.integers(2, 32))
        limit = 1 << (bits - 1)
        trits = st.lists(st.integers(-1, 1), min_size=inputs, max_size=inputs)
        layers.append(DenseLayer(
            weights=np.array(draw(st.lists(trits, min_size=outputs, max_size=outputs))),
            gain_plus=np.array(vector(0, INT32_MAX)),
            gain_minus=np.array(vector(0, INT32_MAX)),
            bias=np.array(vector(-INT32_MAX - 1, INT32_MAX)),
            threshold=np.array([0] * outputs if last else vector(1, INT32_MAX)),
            leak=tuple(draw(st.lists(st.integers(1, 15), max_size=2))),
            reset=draw(st.sampled_from(Reset)),
            v_init=draw(st.integers(-limit, limit - 1)),
            membrane_bits=bits,
            z_max=1 if last else draw(st.integers(1, 15)),
            readout=draw(st.sampled_from(Readout)) if last else None,
        ))
    coding = draw(st.sampled_from(InputCoding))
    bits = draw(st.integers(1, 8)) if coding is InputCoding.STATIC else 1
    return IntegerNetwork(coding, bits, draw(st.integers(1, 6)), tuple(layers))


def random_inputs(network, samples, seed):
    """Draw inputs of the network's shape, the extremes among them."""
    static = network.input is InputCoding.STATIC
    shape = (network.inputs,) if static else (network.timesteps, network.inputs)
    rng = np.random.default_rng(seed)
    random = rng.integers(0, network.input_max + 1, (samples, *shape), dtype=np.uint8)
    extremes = np.stack([np.zeros(shape, np.uint8), np.full(shape, network.input_max, np.uint8)])
    return np.concatenate([extremes, random])


@settings(max_examples=150, deadline=None)
@given(networks(), st.integers(0, 1 << 32))
def test_equals_the_plain_equations(network, seed):
    inputs = random_inputs(network, 3, seed)
    assert_equal_to_plain(network, inputs, execute(network, inputs))


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(0, 1 << 32))
def test_stays_within_the_proven_bounds(network, seed):
    trace = execute(network, random_inputs(network, 20, seed))
    for number, membranes in enumerate(trace.membranes):
        bounds = network.bounds(number)
        if not bounds.saturates:
            assert (membranes >= bounds.membrane_low).all()
            assert (membranes <= bounds.membrane_high).all()


def one_neuron(*, steps=6, readout_bits=32, **fields):
    """Build a spiking neuron with one input and a readout that shows its spikes."""
    neuron: dict[str, Any] = dict(gain_plus=[1], gain_minus=[1], bias=[0], threshold=[10])
    arrays = {name: np.array(fields.pop(name, value)) for name, value in neuron.items()}
    return IntegerNetwork(InputCoding.STATIC, 8, steps, (
        DenseLayer(weights=np.array([[1]]), **arrays, **fields),
        DenseLayer(np.array([[1]]), np.array([1]), np.array([1]), np.array([0]), np.array([0]),
                   membrane_bits=readout_bits, readout=Readout.LAST),
    ))


@pytest.mark.parametrize("fields, pixel, membranes, spikes", [
    # 4 8 12-10 6 10-10 4: a soft reset keeps what is above the threshold.
    (dict(), 4, [4, 8, 2, 6, 0, 4], [0, 0, 1, 0, 1, 0]),
    (dict(reset=Reset.HARD), 4, [4, 8, 0, 4, 8, 0], [0, 0, 1, 0, 0, 1]),
    # One spike a step at most: the surplus of a soft reset stays and can saturate.
    (dict(membrane_bits=6), 255, [21, 21, 21, 21, 21, 21], [1, 1, 1, 1, 1, 1]),
    (dict(bias=[-255], membrane_bits=6), 0, [-32] * 6, [0] * 6),
    # Shifts round down: -1 >> 1 is -1, so that a leak takes -1 to 0.
    (dict(v_init=-1, leak=(1,)), 0, [0, 0, 0, 0, 0, 0], [0] * 6),
    (dict(v_init=-7, leak=(2,)), 0, [-5, -3, -2, -1, 0, 0], [0] * 6),
    # Both shifts are of the value before the leak: 9 - 4 - 2 = 3, 3 - 1 - 0 = 2, 2 - 1 - 0 = 1.
    (dict(v_init=9, leak=(1, 2)), 0, [3, 2, 1, 1, 1, 1], [0] * 6),
    # Two leaks of -1 overshoot to +1, and stay there.
    (dict(v_init=-1, leak=(1, 2)), 0, [1, 1, 1, 1, 1, 1], [0] * 6),
    (dict(v_init=9, bias=[1]), 0, [0, 1, 2, 3, 4, 5], [1, 0, 0, 0, 0, 0]),
    # Two thresholds at most: 25 - 20, 30 - 20, 35 - 20, ...
    (dict(z_max=2), 25, [5, 10, 15, 20, 25, 30], [2, 2, 2, 2, 2, 2]),
    (dict(z_max=3), 16, [6, 2, 8, 4, 0, 6], [1, 2, 1, 2, 2, 1]),
    (dict(z_max=3, reset=Reset.HARD), 16, [0] * 6, [1] * 6),
    # 31 is three thresholds, whatever the current was and z_max would allow.
    (dict(z_max=15, membrane_bits=6), 255, [1] * 6, [3] * 6),
    # Nothing negative is counted: -1 div 10 would be -1.
    (dict(z_max=15, v_init=-1), 0, [-1] * 6, [0] * 6),
    (dict(z_max=15, v_init=-32, membrane_bits=6), 0, [-32] * 6, [0] * 6),
])
def test_worked_examples(fields, pixel, membranes, spikes):
    trace = execute(one_neuron(**fields), np.array([[pixel]]))
    assert trace.membranes[0][0, :, 0].tolist() == membranes
    assert trace.spikes[0][0, :, 0].tolist() == spikes
    assert trace.readout[0, 0] == sum(spikes)


def test_counts_are_exact_in_a_wide_layer():
    # 2^18 inputs of 255: the counts are far beyond the integers that 32-bit floats can hold.
    width = 1 << 18
    weights = np.ones((2, width), np.int8)
    weights[1, 0] = -1
    layer = DenseLayer(weights, np.array([3, 1]), np.array([1, 1]), np.array([1, 0]),
                       np.zeros(2, int), membrane_bits=32, readout=Readout.LAST)
    network = IntegerNetwork(InputCoding.STATIC, 8, 1, (layer,))
    readout = execute(network, np.full((1, width), 255)).readout
    assert readout.tolist() == [[3 * 255 * width + 1, 255 * (width - 2)]]


def test_a_sum_of_membranes_is_wider_than_a_membrane():
    layer = DenseLayer(np.zeros((2, 1), int), np.ones(2, int), np.ones(2, int),
                       np.array([INT32_MAX, -INT32_MAX]), np.zeros(2, int), readout=Readout.SUM)
    trace = execute(IntegerNetwork(InputCoding.SPIKES, 1, 3, (layer,)), np.zeros((1, 3, 1), bool))
    assert trace.readout.tolist() == [[3 * INT32_MAX, -3 * INT32_MAX - 2]]


def test_ties_go_to_the_lowest_class():
    layer = DenseLayer(np.zeros((4, 1), int), np.ones(4, int), np.ones(4, int),
                       np.array([-3, 5, 5, 5]), np.zeros(4, int), readout=Readout.SUM)
    trace = execute(IntegerNetwork(InputCoding.SPIKES, 1, 2, (layer,)), np.zeros((3, 2, 1), bool))
    assert trace.classes.tolist() == [1, 1, 1]


def test_batches_and_recording_change_nothing():
    network = one_neuron(leak=(3,), bias=[-2])
    inputs = random_inputs(network, 9, 1)
    whole = execute(network, inputs)
    for batch in (1, 4, 11):
        part = execute(network, inputs, batch=batch)
        for field in ("spikes", "membranes"):
            for one, other in zip(getattr(part, field), getattr(whole, field), strict=True):
                assert np.array_equal(one, other)
    bare = execute(network, inputs, record=False)
    assert bare.spikes == bare.membranes == ()
    assert np.array_equal(bare.readout, whole.readout)
    assert np.array_equal(bare.classes, whole.classes)


def test_types_and_shapes():
    network = one_neuron()
    trace = execute(network, np.zeros((3, 1), np.uint8))
    assert [x.dtype for x in trace.spikes] == [np.uint8]
    assert [x.shape for x in trace.membranes] == [(3, 6, 1), (3, 6, 1)]
    assert [x.dtype for x in trace.membranes] == [np.int32, np.int32]
    assert trace.readout.dtype == trace.classes.dtype == np.int64
    assert execute(network, np.zeros((0, 1), np.uint8)).classes.shape == (0,)


@pytest.mark.parametrize("inputs, message", [
    (np.zeros((2, 2), int), r"inputs: have shape \(2, 2\) \(limit: \(samples, 1\)\)"),
    (np.zeros((2, 6, 1), int), r"inputs: have shape \(2, 6, 1\)"),
    (np.zeros(1, int), r"inputs: have shape \(1,\)"),
    (np.zeros((2, 1)), "inputs: have type float64"),
    (np.full((2, 1), 256), r"inputs: hold 256\.\.256 \(limit: 0\.\.255\)"),
    (np.full((2, 1), -1), r"inputs: hold -1\.\.-1"),
])
def test_wrong_inputs(inputs, message):
    with pytest.raises(NetworkError, match=message):
        execute(one_neuron(), inputs)


def test_wrong_batch():
    with pytest.raises(ValueError, match="Batch must be a positive integer, not 0"):
        execute(one_neuron(), np.zeros((1, 1), int), batch=0)
