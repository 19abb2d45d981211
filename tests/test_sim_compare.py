"""Comparison with the golden model: every planted fault is found and named."""

import dataclasses

import numpy as np
import pytest

from model.golden import execute
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout
from sim.compare import Comparison, Mismatch, compare
from sim.run import SimulationResult

SAMPLES, STEPS = 5, 3


def _network() -> IntegerNetwork:
    rng = np.random.default_rng(1)

    def layer(inputs, outputs, readout=None):
        return DenseLayer(
            weights=rng.integers(-1, 2, (outputs, inputs)), gain_plus=np.full(outputs, 3),
            gain_minus=np.full(outputs, 2), bias=np.ones(outputs, int),
            threshold=np.full(outputs, 0 if readout else 4), readout=readout)

    return IntegerNetwork(input=InputCoding.STATIC, input_bits=4, timesteps=STEPS,
                          layers=(layer(6, 7), layer(7, 4, Readout.LAST)))


NETWORK = _network()
GOLDEN  = execute(NETWORK, np.random.default_rng(2).integers(0, 16, (SAMPLES, 6)))


def _result() -> SimulationResult:
    """Return a result that agrees, in arrays of its own."""
    return SimulationResult(
        spikes=tuple(array.copy() for array in GOLDEN.spikes),
        membranes=tuple(array.copy() for array in GOLDEN.membranes),
        readout=GOLDEN.readout.copy(), classes=GOLDEN.classes.copy(),
        cycles=np.ones(SAMPLES, np.int64), total_cycles=SAMPLES, latency_first=1, seed=1)


def test_agreement():
    comparison = compare(NETWORK, _result(), GOLDEN)
    assert (comparison.mismatches, comparison.first) == (0, None)
    # Spikes, membranes of both layers, readouts, classes.
    assert comparison.compared == SAMPLES * (STEPS * 7 + STEPS * (7 + 4) + 4 + 1)


def test_membrane():
    result = _result()
    result.membranes[1][3, 2, 1] += 5
    right = int(GOLDEN.membranes[1][3, 2, 1])
    comparison = compare(NETWORK, result, GOLDEN)
    assert comparison.mismatches == 1
    assert comparison.first == Mismatch(3, 1, 2, 1, "membrane", right, right + 5)
    assert str(comparison.first) == (
        f"sample 3, layer 1, step 2, neuron 1: membrane is {right + 5}, expected {right}")


def test_spike():
    result = _result()
    result.spikes[0][2, 1, 6] ^= True
    right = int(GOLDEN.spikes[0][2, 1, 6])
    assert compare(NETWORK, result, GOLDEN).first == Mismatch(
        2, 0, 1, 6, "spike", right, 1 - right)


def test_readout_and_class():
    result = _result()
    result.readout[4, 2] -= 1
    result.classes[1] = (GOLDEN.classes[1] + 1) % 4
    comparison = compare(NETWORK, result, GOLDEN)
    assert comparison.mismatches == 2
    right = int(GOLDEN.classes[1])
    assert comparison.first == Mismatch(1, 1, STEPS, right, "class", right, (right + 1) % 4)


def test_first_is_by_sample_then_layer_then_step():
    result = _result()
    result.membranes[0][2, 1, 0] += 1
    result.membranes[1][1, 2, 3] += 1
    result.spikes[0][1, 2, 4] ^= True
    first = compare(NETWORK, result, GOLDEN).first
    assert first is not None
    assert (first.sample, first.layer, first.step, first.neuron, first.what) == (
        1, 0, 2, 4, "spike")


def test_without_a_record():
    result = dataclasses.replace(_result(), spikes=(), membranes=())
    assert compare(NETWORK, result, GOLDEN).compared == SAMPLES * (4 + 1)


def test_other_samples():
    result = dataclasses.replace(_result(), readout=GOLDEN.readout[:2])
    with pytest.raises(ValueError, match=r"readout of layer 1: the simulation has the shape "
                                         r"\(2, 1, 4\), the golden model \(5, 1, 4\)"):
        compare(NETWORK, result, GOLDEN)


def test_parts_are_added():
    """Comparisons of parts of the samples make that of all, in whatever order they are added."""
    result = _result()
    result.membranes[1][4, 2, 1] += 5
    result.spikes[0][3, 0, 2] ^= True
    parts = []
    for start, stop in ((0, 2), (2, 4), (4, 5)):
        def part(of, start=start, stop=stop):
            return dict(spikes=tuple(array[start:stop] for array in of.spikes),
                        membranes=tuple(array[start:stop] for array in of.membranes),
                        readout=of.readout[start:stop], classes=of.classes[start:stop])
        parts.append(compare(NETWORK, dataclasses.replace(result, **part(result)),
                             dataclasses.replace(GOLDEN, **part(GOLDEN)), first=start))
    assert parts[0].first is None
    assert sum(parts, Comparison()) == sum(parts[::-1], Comparison()) == compare(
        NETWORK, result, GOLDEN)
