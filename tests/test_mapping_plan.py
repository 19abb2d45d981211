"""What does not fit a core is refused, with layer, quantity, need and limit."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest

from hw.parameters import PRESETS, CoreParameters
from hw.shapes import LEVEL_WIDTH
from mapping import geometry, kernel, maps, plan, program
from mapping.errors import MappingError
from mapping.plan import make_plan
from mapping.program import compile_network
from model.network import (
    MAX_LEVELS,
    InputCoding,
    Merge,
    MergeLayer,
    Readout,
    level_weights,
)
from tests.option_networks import average, conv, dense
from tests.option_networks import network as of_maps
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


#: A core that is deep enough for what its counters are too narrow for.
DEEP = replace(CORE, spike_depth=1 << 14, weight_depth=1 << 14, neuron_depth=64, gain_depth=256,
               program_depth=8, count_width=12, gain_width=12, current_width=20,
               membrane_width=14)

#: What a core says whose weights can't come tile by tile.
NO_STREAM = ("(weight_depth; a core with single_port, or whose weight_depth is no power of "
             "two, can't stream weights)")

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
        "layer 1 (6-5)", f"words of a weight bank up to here {NO_STREAM}", 16, 15),
    "weights of the first layer": (
        FITS, replace(CORE, weight_depth=9),
        "layer 0 (9-6)", f"words of a weight bank up to here {NO_STREAM}", 10, 9),
    "weights at one port": (
        FITS, replace(CORE, weight_depth=8, single_port=True),
        "layer 0 (9-6)", f"words of a weight bank up to here {NO_STREAM}", 10, 8),
    "streamed weights": (
        FITS, replace(CORE, weight_depth=8),
        "layer 0 (9-6)", "words of a weight bank for a tile of streamed weights (half of "
        "weight_depth)", 5, 4),
    "streamed weights of a later layer": (   # tiles of 5 words, and of 7
        network(9, 14, 5, timesteps=2, gain=3, membrane_bits=9), replace(CORE, weight_depth=8),
        "layer 1 (14-5)", "words of a weight bank for a tile of streamed weights (half of "
        "weight_depth)", 7, 4),
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
        "layer 0 (1-4097)", "tiles of neurons (tile_width)", 4097, 4096),
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
    "distances": (                     # rows 2, 3 and 5; what lies in 4 is read later
        of_maps((2, 1, 1), dense(2, 2, sources=(-1,)), dense(2, 2, sources=(-1,)),
                dense(2, 2, sources=(-1,)), dense(2, 2, sources=(2,)),
                dense(6, 2, sources=(0, 1, 3))), DEEP,
        "layer 4 (2+2+2-2)", "distances between the maps of its sources", 2, 1),
    "lines of the output": (
        of_maps((2, 1025, 1), conv(2, 2, (1, 1)), average(2, (1025, 1), 2)), DEEP,
        "layer 0 (2x1025x1-2x1025x1)", "lines of the output map", 1025, 1024),
    "places of the output": (          # four lanes, four channels: a pixel a place
        of_maps((2, 1, 1025), conv(2, 4, (1, 1)), average(4, (1, 1025), 2)), DEEP,
        "layer 0 (2x1x1025-4x1x1025)", "places in a line of the output map", 1025, 1024),
    "places of several pixels": (      # two pixels of two channels
        of_maps((2, 1, 2049), conv(2, 2, (1, 1)), average(2, (1, 2049), 2)), DEEP,
        "layer 0 (2x1x2049-2x1x2049)", "places in a line of the output map", 1025, 1024),
    "lines of the kernel": (
        of_maps((2, 1025, 1), average(2, (1025, 1), 2)), DEEP,
        "layer 0 (2x1025x1-2)", "lines of the kernel", 1025, 1024),
    "pixels of the kernel": (
        of_maps((2, 1, 1025), average(2, (1, 1025), 2)), DEEP,
        "layer 0 (2x1x1025-2)", "pixels of a line of the kernel", 1025, 1024),
    "window": (
        of_maps((2, 1, 1), dense(2, 2, window=17, readout=Readout.LAST), timesteps=17), DEEP,
        "layer 0 (2-2)", "planes of the source in a step", 17, 16),
    "window of counts": (              # 4 steps of 4 planes, and one more of 4
        of_maps((2, 1, 1), dense(2, 2, z_max=15), dense(2, 2, window=5), timesteps=5), DEEP,
        "layer 1 (2-2)", "planes of the source in a step", 20, 16),
    "pool": (
        of_maps((2, 1, 17), conv(2, 2, (1, 1), pool=(1, 17))), DEEP,
        "layer 0 (2x1x17-2)", "pixels of a pooled window either way", 17, 16),
    "planes of a pool": (              # 3 planes of counts to 5 in 3 steps
        of_maps((2, 2, 2), conv(2, 2, (1, 1), pool=(2, 1), z_max=5), timesteps=3),
        replace(DEEP, pool_depth=8),
        "layer 0 (2x2x2-2x1x2)", "planes of a pooled output in all steps (pool_depth)", 9, 8),
    "map on a core without": (
        of_maps((2, 2, 3), conv(2, 2, (1, 1))), replace(DEEP, map_width=0),
        "layer 0 (2x2x3-2x2x3)", "lines of the output map", 2, 1),
    "groups on a core without maps": (  # a tile reads its own columns
        of_maps((8, 1, 1), conv(8, 8, (1, 1), groups=8)), replace(DEEP, map_width=0),
        "layer 0 (8-8)", "columns from a tile to the next, or beside the map (map_width)", 2, 0),
    "padding on a core without maps": (
        of_maps((2, 1, 1), conv(2, 2, (1, 3), padding=(0, 1))), replace(DEEP, map_width=0),
        "layer 0 (2-2)", "columns from a tile to the next, or beside the map (map_width)", 1, 0),
    "pool on a core without maps": (
        of_maps((2, 1, 2), conv(2, 2, (1, 1), pool=(1, 2))), replace(DEEP, map_width=0),
        "layer 0 (2x1x2-2)", "pixels of a pooled window either way", 2, 1),
    "map of a readout": (
        of_maps((2, 2, 3), conv(2, 2, (1, 1), readout=Readout.LAST)), DEEP,
        "layer 0 (2x2x3-2x2x3)", "pixels of a readout layer", 6, 1),
    "padding beside what no window sums": (
        of_maps((2, 2, 5), conv(2, 2, (1, 3), sum_pool=(1, 3), padding=(0, 1))), DEEP,
        "layer 0 (2x2x5-2x2x1)",
        "pixels of a line beyond windows of 3 that are summed and padded", 2, 0),
    "counts that do not go together": (
        of_maps((2, 1, 1), dense(2, 2, z_max=5, sources=(-1,)), dense(2, 2, z_max=2, sources=(-1,)),
                dense(4, 2, sources=(0, 1))), DEEP,
        "layer 1 (2-2)", "planes of its spikes, worth (1, 1), that are none of those of the layers "
        "that it is read with, worth (2, 2, 1)", 1, 0),
    "signed beside richer counts": (
        of_maps((2, 1, 1), dense(2, 2, z_max=7, sources=(-1,)),
                dense(2, 2, signed=True, sources=(-1,)), MergeLayer(Merge.ADD, (0, 1))), DEEP,
        "layer 1 (2-2)", "planes of its spikes, worth (1, -1), that are none of those of the "
        "layers that it is read with, worth (4, 2, 1)", 2, 0),
    "planes of a sample": (            # two bits in each of 4,096 steps
        of_maps((2, 1, 1), dense(2, 2, readout=Readout.LAST), timesteps=4096,
                input=InputCoding.SAMPLES, input_bits=2), replace(DEEP, spike_depth=1 << 15),
        "network", "planes of an input sample (step_width)", 8192, 4096),
    "time steps": (
        network(4, 2, input_bits=2, timesteps=17, gain=3, membrane_bits=9),
        replace(CORE, step_width=4),
        "network", "time steps (step_width)", 17, 16),
    "beats of a plane": (
        of_maps((4097, 1, 1), dense(4097, 1, readout=Readout.LAST)),
        CoreParameters(banks=1, lanes=1, neurons=1, scan=1, spike_depth=1 << 15,
                       weight_depth=1 << 14, count_width=16),
        "network", "beats of a plane of the input (tile_width)", 4097, 4096),
    "padding of many lines": (         # six windows of 146 lines above the map
        of_maps((2, 146, 10), conv(2, 2, (7, 1), sum_pool=(146, 1), padding=(6, 0)),
                timesteps=1),
        CoreParameters(banks=2, lanes=4, neurons=2, scan=8, spike_depth=512, weight_depth=4096,
                       count_width=12),
        "layer 0 (2x146x10-2x7x10)", "magnitude of the program's field line", 8760, 8192),
    "summed readout": (                # 16 steps of -512
        changed(network(3, 2, timesteps=16, gain=3, membrane_bits=10), 0, readout=Readout.SUM),
        replace(CORE, spike_depth=64),
        "layer 0 (3-2)", "bits of the summed readout (current_width)", 14, 12),
}


#: What no network asks for, and why.
NEVER = {
    "planes of the output in a step": "signed counts to 15 take eight, as many as there may be",
}


def quantities(module: ModuleType) -> Iterator[str]:
    """Yield what a module refuses, as regular expressions of the quantities that it names."""
    for call in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        place = {"MappingError": 1, "_need": 1, "need": 0}.get(call.func.id)
        if place is None:
            continue
        quantity = call.args[place]
        if isinstance(quantity, ast.Name):             # what another refusal is made of
            assert quantity.id == "quantity"
            continue
        several = quantity.value if isinstance(quantity, ast.Subscript) else quantity
        for each in several.values if isinstance(several, ast.Dict) else [several]:
            parts = each.values if isinstance(each, ast.JoinedStr) else [each]
            assert all(isinstance(part, ast.Constant | ast.FormattedValue) for part in parts)
            yield "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                          for part in parts)


def test_every_refusal_has_a_case():
    """A refusal without a case is one that nobody has seen."""
    refusals = {each for module in (geometry, kernel, maps, plan, program)
                for each in quantities(module)}
    tested = {case[3] for case in CASES.values()}
    untested = {each for each in refusals
                if not any(re.fullmatch(each, quantity) for quantity in tested)}
    assert untested == {re.escape(each) for each in NEVER}
    for quantity in tested:
        assert any(re.fullmatch(each, quantity) for each in refusals), quantity


def test_no_layer_has_more_planes_than_there_are():
    """Why that refusal has no case."""
    assert max(len(level_weights(z_max, signed)) for z_max in range(1, MAX_LEVELS + 1)
               for signed in (False, True)) == 1 << LEVEL_WIDTH


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
    (network(9, 14, 5, timesteps=2, gain=3, membrane_bits=9), replace(CORE, weight_depth=16)),
    (of_maps((2, 1024, 1), conv(2, 2, (1, 1)), average(2, (1024, 1), 2)), DEEP),
    (of_maps((2, 1, 1024), conv(2, 4, (1, 1)), average(4, (1, 1024), 2)), DEEP),
    (of_maps((2, 1, 1), dense(2, 2, z_max=15), dense(2, 2, window=4), timesteps=4), DEEP),
    (of_maps((2, 16, 16), conv(2, 2, (1, 1), pool=(16, 16), z_max=15, signed=True)),
     replace(DEEP, pool_depth=16)),
], ids=["spikes", "memories", "counts", "gain", "current, high", "current, low", "membrane",
        "summed readout", "streamed", "lines", "places", "planes", "pool"])
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


@pytest.mark.parametrize("depth", [16, 32, 64, 128])
def test_streamed_tiles_lie_beside_what_stays(depth):
    """The largest layers stream; no word is of two layers that stay, or of one and a tile."""
    whole = network(9, 14, 12, 3, 5, timesteps=2, gain=3, membrane_bits=9)
    core = replace(CORE, program_depth=4, spike_depth=64, weight_depth=depth, neuron_depth=64,
                   gain_depth=64)
    layers = make_plan(whole, core).layers
    stay = [layer for layer in layers if not layer.streamed]
    streamed = [layer for layer in layers if layer.streamed]
    assert bool(streamed) == (sum(layer.walk.words for layer in layers) > depth)
    assert (len(stay) > 0) == (depth > 16)
    taken = [range(layer.weights, layer.weights + layer.walk.words) for layer in stay]
    assert all(each.stop <= depth for each in taken)
    # Tiles go to the halves in turn, whichever layer they are of.
    halves = [(layer.weights // (depth // 2) + tile) % 2
              for layer in streamed for tile in range(layer.tiles)]
    assert halves == [number % 2 for number in range(len(halves))]
    buffers = {first: range(first, first + max(layer.tile_words for layer in streamed))
               for layer in streamed for tile in range(2)
               for first in [(layer.weights + tile * depth // 2) % depth]}
    words = [word for each in [*taken, *buffers.values()] for word in each]
    assert len(words) == len(set(words))
    assert max(words) < depth
    if stay and streamed:
        assert max(layer.walk.words for layer in stay) <= min(
            layer.walk.words for layer in streamed)


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
