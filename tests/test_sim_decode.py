"""Records of the core, taken apart; a core that breaks its protocol is named."""

import numpy as np
import pytest

from hw.shapes import ReadoutBeat, trace_layout
from mapping.program import compile_network
from sim.decode import decode_readouts, decode_trace
from sim.errors import SimulationError
from sim.layout import pack, word_bytes
from sim.testbench import record_type
from tests.networks import CORES
from tests.small_networks import network

CORE = CORES["planes2"]          # 6 lanes, 2 neurons a visit
SAMPLES = 3
#: Two steps; the first layer's spikes count up to 3, so they have planes worth 2 and 1. Its 10
#: neurons are two tiles of three visits, the second one with two; the 4 of the readout are one of
#: two.
PROGRAM = compile_network(network(7, 10, 4, timesteps=2, z_max=3), CORE)


def _records(shape, fields: dict) -> np.ndarray:
    words = pack(shape, fields)
    records = np.empty(len(words), record_type(word_bytes(shape)))
    records["cycle"], records["word"] = np.arange(100, 100 + len(words)), words
    return records


def _readouts(**changes) -> np.ndarray:
    fields = {
        "membrane": np.arange(-6, 6), "neuron": np.tile(np.arange(4), SAMPLES),
        "last": np.tile([0, 0, 0, 1], SAMPLES), "winner": np.tile([0, 1, 2, 3], SAMPLES),
    }
    for name, (at, value) in changes.items():
        fields[name][at] = value
    return _records(ReadoutBeat(CORE), fields)


def test_readouts():
    readouts = decode_readouts(_readouts(), CORE, 4)
    np.testing.assert_array_equal(readouts.values, np.arange(-6, 6).reshape(3, 4))
    assert readouts.classes.tolist() == [3, 3, 3]
    assert readouts.last.tolist() == [103, 107, 111]


@pytest.mark.parametrize("changes", [{"neuron": (6, 1)}, {"last": (6, 1)}])
def test_readout_out_of_order(changes):
    with pytest.raises(SimulationError, match=r"Output stream: beat 2 of sample 11 says neuron"):
        decode_readouts(_readouts(**changes), CORE, 4, first=10)


def _visits() -> list[tuple[int, int, int, int, int]]:
    """Return (layer, tile, step, level, group)."""
    sample = [(0, tile, step, level, group) for tile in (0, 1) for step in (0, 1)
              for level in (0, 1) for group in range(3 - tile)]
    sample += [(1, 0, step, 0, group) for step in (0, 1) for group in (0, 1)]
    return sample * SAMPLES


def _trace(visits) -> np.ndarray:
    layer, tile, step, level, group = np.array(visits).T
    neuron = (tile * 6 + group * 2)[:, None] + np.arange(2)
    return _records(trace_layout(CORE), {
        "layer": layer, "tile": tile, "step": step, "level": level, "group": group,
        "spikes": np.where(step == level, 0b01, 0b10),
        # What the last level leaves is what counts.
        "membranes": 100 * layer[:, None] + 10 * (step + level)[:, None] - neuron,
    })


def test_trace():
    spikes, membranes = decode_trace(_trace(_visits()), PROGRAM, SAMPLES)
    assert [array.shape for array in spikes] == [(3, 2, 10)]
    assert [array.shape for array in membranes] == [(3, 2, 10), (3, 2, 4)]
    assert spikes[0][1, 0].tolist() == [2, 1] * 5
    assert spikes[0][2, 1].tolist() == [1, 2] * 5
    np.testing.assert_array_equal(membranes[0][0], [10 - np.arange(10), 20 - np.arange(10)])
    np.testing.assert_array_equal(membranes[1][2], [100 - np.arange(4), 110 - np.arange(4)])


@pytest.mark.parametrize("change,message", [
    (lambda visits: visits[:29] + visits[30:],
     r"visit 5 of sample 1 is .*'group': 0.*should be .*'group': 2"),
    (lambda visits: visits[:-1], r"visit 23 of sample 2 is nothing, and should be"),
    (lambda visits: visits + visits[:1], r"visit 0 of sample 3 is .*should be nothing more"),
])
def test_trace_out_of_order(change, message):
    with pytest.raises(SimulationError, match=message):
        decode_trace(_trace(change(_visits())), PROGRAM, SAMPLES)
