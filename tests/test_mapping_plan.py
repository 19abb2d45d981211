"""What does not fit a core is refused, with layer, quantity, need and limit."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hw.parameters import PRESETS, CoreParameters
from mapping.errors import MappingError
from mapping.plan import make_plan
from mapping.program import compile_network
from model.network import Readout
from tests.small_networks import changed, network

CORE = CoreParameters(
    banks=2, lanes=4, planes=2, neurons=2, scan=4, weight_depth=32, spike_depth=16,
    neuron_depth=16, gain_depth=16, program_depth=3, readout_depth=6, count_width=4, gain_width=8,
    current_width=12, membrane_width=10, leak_terms=1, leak_shift_max=3)

#: Fits CORE: 9 inputs (2 rows, 5 columns), 6 hidden neurons (2 tiles), 5 readouts (2 tiles).
FITS = network(9, 6, 5, timesteps=4, gain=3, membrane_bits=9)


def test_fits():
    assert compile_network(FITS, CORE).parameters is CORE


def refused(whole, core=CORE):
    """Return the error that compiling raises, after a look at its message."""
    with pytest.raises(MappingError) as caught:
        compile_network(whole, core)
    error = caught.value
    assert isinstance(error, ValueError)
    assert isinstance(error.need, int)
    assert isinstance(error.limit, int)
    assert error.need > error.limit
    assert str(error) == (f"{error.where}: {error.quantity}: needs {error.need}, "
                          f"the core has {error.limit}")
    return error


def with_weights(whole, number, weights):
    """Return a network with one layer's weights replaced by all +1, -1 or 0."""
    layer = whole.layers[number]
    return changed(whole, number, weights=np.full(layer.weights.shape, weights, np.int8))


def ones(count, value):
    return np.full(count, value)


#: (network, core, where, quantity, need, limit)
CASES = {
    # 2 buffers x 2 rows x 4 groups of 2 planes, and 1 row x 4 groups of hidden spikes.
    "steps in the spike memory": (
        network(9, 6, 5, timesteps=7, gain=3, membrane_bits=9), CORE,
        "network", "rows of spikes (spike_depth; 2 x 8 for the input, the rest "
        "for the spikes of hidden layers)", 20, 16),
    "width in the spike memory": (
        network(33, 6, 5, timesteps=2, gain=3, membrane_bits=9), replace(CORE, spike_depth=10),
        "network", "rows of spikes (spike_depth; 2 x 5 for the input, the rest "
        "for the spikes of hidden layers)", 11, 10),
    "hidden maps in the spike memory": (
        network(3, 17, 9, 2, timesteps=2, gain=3, membrane_bits=9), replace(CORE, spike_depth=6),
        "network", "rows of spikes (spike_depth; 2 x 1 for the input, the rest "
        "for the spikes of hidden layers)", 7, 6),
    "layers": (
        network(3, 2, 2, 2, 2, timesteps=1, gain=3, membrane_bits=9), CORE,
        "network", "layers (program_depth)", 4, 3),
    "weights": (                       # 2 tiles x 5 columns, then 2 tiles x 3 columns
        FITS, replace(CORE, weight_depth=15),
        "layer 1 (6-5)", "words of a weight bank up to here (weight_depth)", 16, 15),
    "weights of the first layer": (
        FITS, replace(CORE, weight_depth=9),
        "layer 0 (9-6)", "words of a weight bank up to here (weight_depth)", 10, 9),
    "gains": (                         # 2 tiles x 2 rows x 8 planes
        network(9, 6, 5, input_bits=3, gain=3, membrane_bits=9), replace(CORE, gain_depth=11),
        "layer 0 (9-6)", "rows of gains up to here (gain_depth)", 12, 11),
    "biases": (                        # 2 x 4 rows for v_init; thresholds have 4
        network(9, 6, 5, v_init=3, gain=3, membrane_bits=9), replace(CORE, neuron_depth=7),
        "layer 0 (9-6)", "rows of biases up to here (neuron_depth)", 8, 7),
    "rows of all layers": (
        FITS, replace(CORE, neuron_depth=7),
        "layer 1 (6-5)", "rows of biases up to here (neuron_depth)", 8, 7),
    "gains of all layers": (
        FITS, replace(CORE, gain_depth=7),
        "layer 1 (6-5)", "rows of gains up to here (gain_depth)", 8, 7),
    "tiles": (
        network(1, 4097, timesteps=1, gain=3, membrane_bits=9),
        replace(CORE, banks=1, lanes=1, neurons=1, spike_depth=1 << 13),
        "layer 0 (1-4097)", "tiles of neurons", 4097, 4096),
    "readout": (
        network(4, 7, timesteps=1, gain=3, membrane_bits=9), CORE,
        "layer 0 (4-7)", "readout neurons (readout_depth)", 7, 6),
    "plus counts": (
        with_weights(network(16, 2, timesteps=1, gain=1, membrane_bits=9), 0, 1), CORE,
        "layer 0 (16-2)", "bits of a count of plus synapses (count_width)", 5, 4),
    "minus counts": (
        with_weights(network(16, 2, timesteps=1, gain=1, membrane_bits=9), 0, -1), CORE,
        "layer 0 (16-2)", "bits of a count of minus synapses (count_width)", 5, 4),
    "plus gain": (
        changed(FITS, 1, gain_plus=ones(5, 128)), replace(CORE, current_width=16),
        "layer 1 (6-5)", "bits of gain_plus with the weight of the highest plane (gain_width)",
        9, 8),
    "gain of a count": (               # up to 6: 3, 2 and 1
        changed(network(9, 6, 5, timesteps=2, z_max=6, gain=3, membrane_bits=9), 1,
                gain_plus=ones(5, 43)), replace(CORE, current_width=16),
        "layer 1 (6-5)", "bits of gain_plus with the weight of the highest plane (gain_width)",
        9, 8),
    "thresholds of a count": (         # 4 rows for each of 3 planes
        network(9, 6, 5, timesteps=2, z_max=6, gain=1, membrane_bits=9),
        replace(CORE, neuron_depth=11),
        "layer 0 (9-6)", "rows of thresholds up to here (neuron_depth)", 12, 11),
    "groups of a static input": (      # 4,095 steps in groups of 2
        network(9, 6, 5, input_bits=2, timesteps=4095, gain=1, threshold=1, membrane_bits=9),
        replace(CORE, queue_depth=64, spike_depth=1 << 13),
        "layer 0 (9-6)", "groups of output planes in all steps", 2048, 1899),
    "minus gain": (                    # 16 << 3 planes above the lowest
        changed(network(3, 2, input_bits=4, gain=3, membrane_bits=9), 0, gain_minus=ones(2, 16)),
        replace(CORE, current_width=16),
        "layer 0 (3-2)", "bits of gain_minus with the weight of the highest plane (gain_width)",
        9, 8),
    "current, high": (                 # 15 x 127 + 143 = 2048
        with_weights(changed(network(15, 1, timesteps=1, membrane_bits=9), 0,
                             gain_plus=ones(1, 127), bias=ones(1, 143)), 0, 1), CORE,
        "layer 0 (15-1)", "bits of the input current (current_width)", 13, 12),
    "current, low": (                  # -15 x 127 - 144 = -2049
        with_weights(changed(network(15, 1, timesteps=1, membrane_bits=9), 0,
                             gain_minus=ones(1, 127), bias=ones(1, -144)), 0, -1), CORE,
        "layer 0 (15-1)", "bits of the input current (current_width)", 13, 12),
    "current with v_init": (           # 15 x 127 + 100 + 200 - 200 / 2
        with_weights(changed(network(15, 1, timesteps=1, membrane_bits=9), 0, leak=(1,),
                             gain_plus=ones(1, 127), bias=ones(1, 43), v_init=200), 0, 1), CORE,
        "layer 0 (15-1)", "bits of the input current (current_width)", 13, 12),
    "membrane": (
        changed(FITS, 1, membrane_bits=11), CORE,
        "layer 1 (6-5)", "bits of the membrane (membrane_width)", 11, 10),
    "leak terms": (
        changed(FITS, 0, leak=(1, 2)), CORE, "layer 0 (9-6)", "terms of the leak (leak_terms)",
        2, 1),
    "leak shift": (
        changed(FITS, 1, leak=(4,)), CORE,
        "layer 1 (6-5)", "shift of the leak (leak_shift_max)", 4, 3),
    "summed readout": (                # 16 steps of -512
        changed(network(3, 2, timesteps=16, gain=3, membrane_bits=10), 0, readout=Readout.SUM),
        replace(CORE, spike_depth=64),
        "layer 0 (3-2)", "bits of the summed readout (current_width)", 14, 12),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name):
    whole, core, *expected = CASES[name]
    error = refused(whole, core)
    assert [error.where, error.quantity, error.need, error.limit] == expected


@pytest.mark.parametrize(("whole", "core"), [
    (network(9, 6, 5, timesteps=4, gain=3, membrane_bits=9), replace(CORE, spike_depth=10)),
    (FITS, replace(CORE, weight_depth=16, neuron_depth=8, gain_depth=8, program_depth=2,
                   readout_depth=5)),
    (with_weights(network(15, 2, timesteps=1, gain=1, membrane_bits=9), 0, 1), CORE),
    (changed(FITS, 1, gain_plus=ones(5, 127)), CORE),
    (with_weights(changed(network(15, 1, timesteps=1, membrane_bits=9), 0,
                          gain_plus=ones(1, 127), bias=ones(1, 142)), 0, 1), CORE),
    (with_weights(changed(network(15, 1, timesteps=1, membrane_bits=9), 0,
                          gain_minus=ones(1, 127), bias=ones(1, -143)), 0, -1), CORE),
    (changed(FITS, 1, membrane_bits=10, leak=(3,)), CORE),
    (changed(network(3, 2, timesteps=4, gain=3, membrane_bits=10), 0, readout=Readout.SUM), CORE),
], ids=["spikes", "memories", "counts", "gain", "current, high", "current, low", "membrane",
        "summed readout"])
def test_at_the_limit(whole, core):
    compile_network(whole, core)


def test_plan_lays_layers_out_one_after_the_other():
    """Nothing of two layers that live at the same time overlaps."""
    whole = network(19, 17, 12, 9, 5, timesteps=5, gain=3, membrane_bits=9, v_init=1)
    core = replace(CORE, program_depth=4, spike_depth=64, weight_depth=256, neuron_depth=128,
                   gain_depth=128)
    plan = make_plan(whole, core)
    for name, size in (("weights", lambda layer: layer.walk.words),
                       ("gains", lambda layer: layer.tiles * core.tile_groups),
                       ("biases", lambda layer: 2 * layer.tiles * core.tile_groups),
                       ("thresholds", lambda layer: layer.tiles * core.tile_groups)):
        starts = [getattr(layer, name) for layer in plan.layers]
        assert starts[0] == 0
        assert [b - a for a, b in pairwise([*starts, plan.used[name]])] == [
            size(layer) for layer in plan.layers]

    # Spikes: both buffers of the input, then maps: a layer reads one while it writes another.
    def rows(of):
        return set(range(of.base, of.base + of.rows * of.groups))

    buffers = set(range(2 * plan.frame_stride))
    assert plan.frame_stride == plan.input.rows * 3            # 5 steps in groups of 2
    for before, after in pairwise(plan.layers):
        assert after.sources == (before.output,)
        written = rows(before.output)
        assert not written & buffers
        assert max(written) < plan.used["spikes"]
        if after.readout is None:
            assert not written & rows(after.output)


def test_geometry():
    """By hand: 9 inputs on 2 banks x 4 columns, 6 outputs on 4 lanes and 2 units."""
    first, last = make_plan(FITS, CORE).layers
    assert (first.sources[0].rows, first.walk.words) == (2, 2 * 5)
    assert (first.tiles, first.last_visits, first.last_lanes) == (2, 1, 2)
    assert (first.groups, first.sources[0].last_planes, first.planes) == (2, 2, 1)
    assert (last.tiles, last.last_visits, last.last_lanes) == (2, 1, 1)
    assert (first.readout, last.readout) == (None, Readout.LAST)


def test_counted_spikes():
    """Counts up to 5 are three planes a step: of the map, of gains and of thresholds."""
    whole = network(9, 6, 3, timesteps=3, z_max=5)
    core = replace(CORE, spike_depth=64, neuron_depth=128, gain_depth=128)
    first, last = make_plan(whole, core).layers
    assert (first.planes, first.levels, first.groups, first.output_groups) == (
        1, (2, 2, 1), 2, 5)
    assert (last.planes, last.levels, last.groups, last.sources[0].last_planes) == (
        3, (1,), 5, 1)
    assert (first.late, last.late) == (True, True)
    rows = first.tiles * core.tile_groups
    assert last.thresholds == 3 * rows
    assert make_plan(whole, core).used["gains"] == rows + 3 * last.tiles * core.tile_groups


@pytest.mark.parametrize("preset", ["small", "medium", "large"])
def test_mnist_fits(preset):
    plan = make_plan(network(784, 256, 10, input_bits=8, timesteps=4), PRESETS[preset])
    assert plan.used["weights"] <= PRESETS[preset].weight_depth
