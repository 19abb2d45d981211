"""Networks of maps: what their layers may be, how they fit, and what the shapes of all are."""

import copy
import pickle
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.bounds import _reset_range, layer_bounds
from model.golden import execute
from model.network import (
    MAX_WEIGHTS,
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Merge,
    MergeLayer,
    NetworkError,
    Readout,
    Reset,
    level_planes,
    level_weights,
)
from tests.networks import any_network


def arrays(*shape: int) -> dict[str, Any]:
    """Return weights of 1, gains and thresholds of 1."""
    outputs = shape[0]
    return dict(weights=np.ones(shape, np.int8), gain_plus=np.ones(outputs, int),
                gain_minus=np.ones(outputs, int), bias=np.zeros(outputs, int),
                threshold=np.ones(outputs, int))


def conv(shape: tuple[int, ...] = (4, 2, 3, 3), **changes: Any):
    return ConvLayer(**(arrays(*shape) | changes))


def dense(outputs=2, inputs=1, **changes: Any):
    return DenseLayer(**(arrays(outputs, inputs) | changes))


def readout(inputs, outputs=2, **changes: Any):
    fields: dict[str, Any] = dict(threshold=np.zeros(outputs, int), readout=Readout.LAST) | changes
    return dense(outputs, inputs, **fields)


def network(*layers, **changes):
    fields: dict[str, Any] = dict(input=InputCoding.SAMPLES, input_bits=3, timesteps=4,
                                  input_shape=(2, 6, 5))
    return IntegerNetwork(layers=layers, **(fields | changes))


def residual(**changes):
    """Return a block that adds what it began with: 0 -> 1 -> 2 = 0 + 1 -> readout."""
    return network(conv(padding=(1, 1)), conv((4, 4, 3, 3), padding=(1, 1)),
                   MergeLayer(Merge.ADD, (0, 1)), readout(4, sum_pool=(6, 5)), **changes)


# --- layers ----------------------------------------------------------------------------------

@pytest.mark.parametrize("changes, message", [
    (dict(shape=(4, 2, 3)), r"weights: has shape \(4, 2, 3\) \(limit: \(outputs, inputs / groups"),
    (dict(shape=(4, 2, 0, 3)), r"weights: has shape \(4, 2, 0, 3\)"),
    (dict(shape=(4, 2, 8, 3)), r"weights: has shape \(4, 2, 8, 3\) \(limit: height and width of 7"),
    (dict(shape=((1 << 20) + 1, 1, 1, 1)), r"weights: has shape .* \(limit: 1048576 inputs and"),
    (dict(stride=(0, 1)), r"stride: is 0 \(limit: 1\.\.7\)"),
    (dict(stride=2), r"stride: is 2 \(limit: a height and a width\)"),
    (dict(stride=(1, 1, 1)), r"stride: is \(1, 1, 1\)"),
    (dict(padding=(3, 0)), r"padding: is \(3, 0\) \(limit: less than the kernel's \(3, 3\)\)"),
    (dict(padding=(-1, 0)), r"padding: is -1 \(limit: 0\.\.6\)"),
    (dict(groups=3), r"groups: is 3 \(limit: a divisor of the 4 outputs\)"),
    (dict(groups=0), r"groups: is 0"),
    (dict(pool=(0, 1)), r"pool: is 0"),
    (dict(sum_pool=(1, 0)), r"sum_pool: is 0"),
    (dict(window=0), r"window: is 0 \(limit: 1\.\.4096\)"),
    (dict(window=2.0), r"window: is 2\.0"),
    (dict(signed=1), r"signed: is 1 \(limit: True or False\)"),
    (dict(sources=()), r"sources: is \(\) \(limit: 1\.\.64 numbers of layers\)"),
    (dict(sources=3), r"sources: is 3"),
    (dict(sources=(-2,)), r"sources: is -2 \(limit: -1\.\.63\)"),
    (dict(sources=(1, 1)), r"sources: is \(1, 1\) \(limit: each layer once\)"),
    (dict(gain_plus=np.ones(36, int)), r"gain_plus: has shape \(36,\) \(limit: \(4,\), the out"),
    (dict(threshold=np.zeros(4, int), readout=Readout.LAST, pool=(2, 2)),
     r"pool: is \(2, 2\) for a readout layer \(limit: \(1, 1\)\)"),
    (dict(threshold=np.zeros(4, int), readout=Readout.LAST, signed=True),
     r"signed: is True for a readout layer \(limit: False\)"),
])
def test_wrong_convolution(changes, message):
    with pytest.raises(NetworkError, match=message):
        conv(**changes)


@pytest.mark.parametrize("changes, message", [
    (dict(operation="add"), r"operation: is 'add' \(limit: a member of Merge\)"),
    (dict(sources=None), r"sources: is None \(limit: the numbers of two layers\)"),
    (dict(sources=(1,)), r"sources: is \(1,\)"),
    (dict(sources=(1, 2, 3)), r"sources: is \(1, 2, 3\)"),
    (dict(sources=(1, 1)), r"sources: is \(1, 1\) \(limit: each layer once\)"),
    (dict(z_max=16), r"z_max: is 16"),
    (dict(threshold=0), r"threshold: is 0"),
    (dict(reset="hard"), r"reset: is 'hard'"),
    (dict(membrane_bits=33), r"membrane_bits: is 33 \(limit: 2\.\.32\)"),
    (dict(membrane_bits=28, signed=True), r"membrane_bits: is 28 \(limit: 2\.\.27\)"),
    (dict(threshold=2, signed=True), r"threshold: is 2 for signed spikes and a hard reset"),
    (dict(operation=Merge.OR, z_max=2), r"z_max: is 2 for or \(limit: 1\)"),
    (dict(operation=Merge.OR, threshold=2), r"threshold: is 2 for or \(limit: 1\)"),
    (dict(operation=Merge.AND_NOT, reset=Reset.SOFT), r"reset: is Reset.SOFT for and-not"),
    (dict(operation=Merge.AND_NOT, signed=True), r"signed: is True for and-not"),
])
def test_wrong_merge(changes, message):
    fields: dict[str, Any] = dict(operation=Merge.ADD, sources=(0, 1))
    with pytest.raises(NetworkError, match=message):
        MergeLayer(**(fields | changes))


@pytest.mark.parametrize("each", [
    conv(pool=(2, 1), groups=2, sources=[0, 1]), dense(signed=True, window=2),
    MergeLayer(Merge.ADD, (0, 1), reset=Reset.SOFT)])
def test_copies_stay_valid_and_frozen(each):
    for clone in (pickle.loads(pickle.dumps(each)), copy.deepcopy(each), replace(each)):
        assert type(clone) is type(each)
        for field in fields(each):
            assert np.array_equal(getattr(clone, field.name), getattr(each, field.name))


# --- networks --------------------------------------------------------------------------------

def test_shapes_and_steps():
    net = network(
        conv((4, 2, 3, 2), padding=(1, 0), stride=(2, 1), pool=(1, 2), window=2),   # (4, 3, 4)
        conv((6, 2, 1, 1), groups=2, signed=True, z_max=3),                         # (6, 3, 2)
        conv((6, 4, 1, 1), sources=(0,)),
        MergeLayer(Merge.ADD, (1, 2)),
        conv((3, 10, 3, 2), sources=(3, 0)),
        readout(3, 5))
    assert [net.shape(n) for n in range(-1, 6)] == [
        (2, 6, 5), (4, 3, 2), (6, 3, 2), (6, 3, 2), (6, 3, 2), (3, 1, 1), (5, 1, 1)]
    assert net.fired_shape(0) == (4, 3, 4) and net.fired_shape(1) == (6, 3, 2)
    assert net.source_shape(4) == (10, 3, 2)
    assert [net.steps(n) for n in range(-1, 6)] == [4, 2, 2, 2, 2, 2, 2]
    assert [net.sources(n) for n in range(6)] == [(-1,), (0,), (0,), (1, 2), (3, 0), (4,)]
    assert [net.source_range(n) for n in range(6)] == [
        (0, 7), (0, 1), (0, 1), (-3, 3), (0, 1), (0, 1)]
    assert (net.inputs, net.outputs) == (60, 5)
    assert net.plane_weights(-1) == (1, 2, 4)
    assert net.plane_weights(1) == (2, 1, -2, -1)
    assert isinstance(net.layer(3), ConvLayer) and net.layer(4) is net.layers[4]
    assert net.layer(4).inputs == 10 and net.layer(1).inputs == 4
    spikes = np.arange(48).reshape(1, 48)
    assert net.pooled(0, spikes).reshape(4, 3, 2)[1].tolist() == [[13, 15], [17, 19], [21, 23]]
    assert net.pooled(1, spikes) is spikes


def test_sums_windows_of_steps_and_of_pixels():
    net = network(dense(2, 4, sum_pool=(3, 2), window=2), readout(2),
                  input_shape=(1, 7, 4), input_bits=8)
    values = np.arange(2 * 4 * 28).reshape(2, 4, 28).astype(np.uint8)
    maps = values.astype(int).reshape(2, 2, 2, 7, 4).sum(axis=2)
    summed = net.summed(0, [values])
    assert summed.shape == (2, 2, 1, 2, 2)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        part = maps[:, :, 3 * y:3 * y + 3, 2 * x:2 * x + 2]
        assert np.array_equal(summed[:, :, 0, y, x], part.sum(axis=(2, 3)))


def test_joins_channels_in_the_order_of_the_sources():
    net = network(dense(1), dense(2, sources=(-1,)), readout(3, sources=(1, 0)), input_shape=None,
                  timesteps=1)
    joined = net.summed(2, [np.array([[[8, 9]]]), np.array([[[7]]])])
    assert joined.ravel().tolist() == [8, 9, 7]


def test_a_static_input_is_not_summed_over_a_window():
    net = network(dense(1, 60, window=2), readout(1), input=InputCoding.STATIC)
    assert net.takes_static(0) and not net.takes_static(1)
    assert net.steps(0) == 2
    trace = execute(net, np.ones((1, 60), int))
    assert net.bounds(0).plus.tolist() == [60 * 7]
    assert trace.membranes[0][0].ravel().tolist() == [59, 118]


@pytest.mark.parametrize("signed, low, high, weights", [
    (False, 0, 7, (1, 2, 4)), (True, -4, 3, (1, 2, -4))])
def test_input_values_are_the_sum_of_their_planes(signed, low, high, weights):
    net = network(readout(60), input_signed=signed)
    assert (net.input_min, net.input_max, net.plane_weights(-1)) == (low, high, weights)
    values = np.arange(low, high + 1)
    assert np.array_equal(net.planes(-1, values) @ np.array(weights), values)


@pytest.mark.parametrize("z_max", range(1, 16))
def test_planes_hold_every_signed_count(z_max):
    counts = np.arange(-z_max, z_max + 1, dtype=np.int8)
    weights = level_weights(z_max, signed=True)
    planes = level_planes(counts, z_max, signed=True)
    assert weights == (*level_weights(z_max), *(-each for each in level_weights(z_max)))
    assert planes.dtype == bool
    assert np.array_equal(planes @ np.array(weights), counts)
    # Only planes of one sign are set at a time.
    half = len(weights) // 2
    assert not (planes[:, :half].any(axis=1) & planes[:, half:].any(axis=1)).any()
    assert level_planes(np.array([1], np.uint8), 1, signed=True).tolist() == [[True, False]]


@pytest.mark.parametrize("layers, changes, message", [
    ((conv(), readout(4)), dict(input_shape=None), r"input_shape: is None \(limit: channels, rows"),
    ((conv(), readout(4)), dict(input_shape=(2, 6)), r"input_shape: is \(2, 6\)"),
    ((conv(), readout(4)), dict(input_shape=(2, 0, 6)), r"input_shape: is 0"),
    ((conv(), readout(4)), dict(input_shape=(2, 1024, 1024)),
     r"input_shape: has the shape \(2, 1024, 1024\), 2097152 values \(limit: 1048576 values\)"),
    ((readout(60),), dict(input_signed=2), r"input_signed: is 2"),
    ((readout(60),), dict(input=InputCoding.SPIKES, input_bits=1, input_signed=True),
     r"input_signed: is True for spikes \(limit: False\)"),
    ((conv((4, 3, 3, 3)), readout(4)), {}, r"layer 0: takes 3 inputs \(limit: 2, the outputs of"),
    ((conv(), readout(4)), {}, r"layer 1: takes 4 inputs \(limit: 48, the outputs of its sources"),
    ((conv((4, 2, 7, 7)), readout(4)), {}, r"layer 0: has a kernel of \(7, 7\) \(limit: the map"),
    ((conv(pool=(5, 1)), readout(4)), {}, r"layer 0: has pool \(5, 1\) \(limit: the map of \(4, 3"),
    ((conv(sum_pool=(1, 6)), readout(4)), {}, r"layer 0: has sum_pool \(1, 6\) \(limit: the map"),
    ((conv((1024, 2, 1, 1)), readout(4)), dict(input_shape=(2, 64, 64)),
     r"layer 0: has the shape \(1024, 64, 64\), 4194304 values \(limit: 1048576 values\)"),
    ((conv(sources=(0,)), readout(48)), {}, r"layer 0: reads layer 0 \(limit: layers before it\)"),
    ((conv(), readout(48, sources=(2,))), {}, r"layer 1: reads layer 2"),
    ((conv(), readout(108, sources=(0, -1))), {}, r"layer 1: reads the input and a layer"),
    ((conv(), readout(60, sources=(-1,))), {}, r"layer 0: is read by no layer \(limit: all but"),
    ((conv(window=3), readout(48)), {}, r"layer 0: has a window of 3 steps \(limit: a divisor of"),
    ((conv(), conv(sources=(-1,), window=2), readout(96, sources=(0, 1))), {},
     r"layer 2: has sources of 2 and 4 steps \(limit: the same steps of all\)"),
    ((conv(), conv((4, 2, 1, 1), sources=(-1,)), readout(96, sources=(0, 1))), {},
     r"layer 2: has sources of shapes \(4, 4, 3\) and \(4, 6, 5\) \(limit: the same rows"),
    ((conv(), conv((3, 2, 3, 3), sources=(-1,)), MergeLayer(Merge.ADD, (0, 1)), readout(48)), {},
     r"layer 2: has sources of shapes \(4, 4, 3\) and \(3, 4, 3\) \(limit: one shape\)"),
    ((conv(), conv(sources=(-1,), z_max=2), MergeLayer(Merge.OR, (0, 1)), readout(48)), {},
     r"layer 2: has a source of counts to 2 \(limit: binary spikes, for or\)"),
    ((conv(), conv(sources=(-1,), signed=True), MergeLayer(Merge.AND_NOT, (0, 1)), readout(48)), {},
     r"layer 2: has a source of signed counts to 1 \(limit: binary spikes, for and-not\)"),
    ((dense(1, 1 << 18, window=8), readout(1)), dict(timesteps=8, input_shape=(1 << 18, 1, 1)),
     r"layer 0: sums 2097152 values in a neuron \(limit: 1048576 values\)"),
    ((conv(), MergeLayer(Merge.ADD, (0, 1)), readout(48)), {}, r"layer 1: reads layer 1"),
])
def test_wrong_network(layers, changes, message):
    with pytest.raises(NetworkError, match=message):
        network(*layers, **changes)


def test_merges_count_as_the_weights_that_they_stand_for():
    channels = 8192
    wide = conv((channels, 1, 1, 1))
    layers = [wide, replace(wide, sources=(-1,)), MergeLayer(Merge.ADD, (0, 1)),
              MergeLayer(Merge.ADD, (0, 2)), readout(channels)]
    # Two merges alone would just fill the limit; the second is refused before it is made.
    with pytest.raises(NetworkError, match=f"layer 3: has .* weights.* {MAX_WEIGHTS} weights"):
        network(*layers, input_shape=(1, 1, 1))


# --- merges ----------------------------------------------------------------------------------

def merged(operation, first, second, *, z=1, signed_sources=False, **fields):
    """Run a merge, layer 2, of what two neurons make of two lists of values, one each a step."""
    one, other = (
        DenseLayer(np.array([row]), np.array([3]), np.array([3]), np.array([0]), np.array([2]),
                   z_max=z, reset=Reset.HARD, signed=signed_sources, sources=(-1,))
        for row in ([1, 0], [0, 1]))
    net = IntegerNetwork(
        InputCoding.SAMPLES, 6, len(first),
        (one, other, MergeLayer(operation, (0, 1), **fields), readout(1, 1)), input_signed=True)
    return execute(net, np.stack([first, second], axis=-1)[np.newaxis])


def test_or_and_and_not():
    a, b = [0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 1, 0]
    assert merged(Merge.OR, a, b).spikes[2].ravel().tolist() == [0, 1, 1, 1, 1, 1]
    assert merged(Merge.AND_NOT, a, b).spikes[2].ravel().tolist() == [0, 1, 0, 0, 1, 0]


def test_a_hard_add_is_the_sum_as_far_as_it_can_count():
    trace = merged(Merge.ADD, [0, 1, 2, 3, 9, 0], [0, 0, 1, 3, 9, 0], z=15, z_max=5)
    a, b, found = (spikes.ravel().astype(int) for spikes in trace.spikes)
    assert found.tolist() == np.minimum(a + b, 5).tolist()
    assert 0 < found[1] < 5 and found[4] == 5


@given(st.lists(st.tuples(st.integers(-15, 15), st.integers(-15, 15)), min_size=1, max_size=6),
       st.integers(1, 15))
def test_a_signed_hard_add_is_the_sum_in_both_directions(pairs, z_max):
    a, b = zip(*pairs, strict=True)
    trace = merged(Merge.ADD, a, b, z=15, signed_sources=True, z_max=z_max, signed=True)
    first, second, found = (spikes.ravel().astype(int) for spikes in trace.spikes)
    assert found.tolist() == np.clip(first + second, -z_max, z_max).tolist()
    assert not trace.membranes[2].any()


def test_a_soft_add_sends_later_what_it_can_not_send_now():
    trace = merged(Merge.ADD, [2, 0, 0, 0, 1], [1, 0, 0, 0, 0], z=15, z_max=1, reset=Reset.SOFT)
    total = trace.spikes[0].astype(int).sum() + trace.spikes[1].astype(int).sum()
    assert trace.spikes[2].ravel().tolist() == [1, 1, 1, 1, 1]
    assert trace.membranes[2][0, -1] == total - 5


# --- bounds ----------------------------------------------------------------------------------

@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("z_max", [1, 2, 5])
def test_signed_reset_range_is_that_of_all_values(reset, z_max):
    neuron = dense(1, 1, reset=reset, z_max=z_max, threshold=np.array([3]), signed=True)
    values = np.arange(-24, 25)
    counts = np.clip(values // 3, 0, z_max) - np.clip(~values // 3, 0, z_max)
    stored = values - 3 * counts if reset is Reset.SOFT else np.where(counts, 0, values)
    for first in range(len(values)):
        for last in range(first, len(values)):
            low, high = _reset_range(neuron, values[first:first + 1], values[last:last + 1])
            within = stored[first:last + 1]
            assert (low[0], high[0]) == (within.min(), within.max())


def test_bounds_of_a_worked_convolution():
    weights = np.zeros((1, 2, 3, 3), int)
    weights[0, 0, 0], weights[0, 1, 2, 0] = 1, -1
    each = ConvLayer(weights, np.array([10]), np.array([100]), np.array([7]), np.array([50]),
                     sum_pool=(2, 2), window=3)
    bounds = layer_bounds(each, 5, 1, source_min=-2)
    assert bounds.plus.tolist() == [5 * 3 * 12] and bounds.minus.tolist() == [5 * 12]
    assert bounds.current_low.tolist() == [7 - 2 * 36 * 10 - 5 * 12 * 100]
    assert bounds.current_high.tolist() == [7 + 5 * 36 * 10 + 2 * 12 * 100]
    assert layer_bounds(each, 5, 1, static=True).plus.tolist() == [5 * 12]
    assert layer_bounds(each, 1, 1, source_min=-8).plus.tolist() == [8 * 36]


def test_bounds_know_the_range_of_their_sources():
    net = residual()
    assert net.bounds(0).plus.tolist() == [18 * 7] * 4
    assert net.bounds(2).plus.tolist() == [2] * 4
    assert net.bounds(-1).plus.tolist() == [120] * 2


@pytest.mark.parametrize("seed", range(20))
def test_networks_survive_pickling(seed):
    net = any_network(seed)
    clone = pickle.loads(pickle.dumps(net))
    for name in ("input", "input_bits", "timesteps", "input_shape", "input_signed"):
        assert getattr(clone, name) == getattr(net, name)
    assert [clone.shape(n) for n in range(len(net.layers))] == [
        net.shape(n) for n in range(len(net.layers))]
