"""Maps of spikes bit by bit, and the neurons of the visits, each by hand."""

import random
from itertools import product

import numpy as np
import pytest

from hw.parameters import CoreParameters
from mapping.maps import SpikeMap, ceil_div
from mapping.plan import make_plan
from mapping.visits import visits_of
from tests.networks import CORES, random_network
from tests.option_networks import OPTIONS, conv, dense, network

SEED = 23


def spike_map(channels: int, height: int, width: int, pixel: int, pitch: int) -> SpikeMap:
    return SpikeMap(channels, height, width, pixel, pitch, steps=1, coding=(1,), groups=1,
                    last_planes=1, rows=1)


# Maps.

def test_bits_by_hand():
    """Two channels a pixel of four bits, three pixels a line of two columns of eight."""
    bits = spike_map(2, 2, 3, pixel=4, pitch=2).bits(banks=8)
    assert bits.tolist() == [[[0, 4, 8], [16, 20, 24]], [[1, 5, 9], [17, 21, 25]]]


def test_several_pixels_a_column():
    """Pixels of one bit on four banks; the second line begins with a column."""
    bits = spike_map(1, 2, 6, pixel=1, pitch=2).bits(banks=4)
    assert bits.tolist() == [[[0, 1, 2, 3, 4, 5], [8, 9, 10, 11, 12, 13]]]


def test_placed_by_hand():
    """Planes in front, any type; what is no neuron's is zero."""
    where = spike_map(2, 1, 2, pixel=3, pitch=4)
    planes = np.array([[[1, 2, 3, 4]], [[5, 6, 7, 8]]], np.int16)      # channel, pixel
    placed = where.placed(planes, banks=2)
    assert placed.dtype == np.int16
    assert placed.tolist() == [[[1, 3, 0, 2, 4, 0, 0, 0]], [[5, 7, 0, 6, 8, 0, 0, 0]]]
    assert where.placed(planes[0, 0] > 2, banks=2).tolist() == [
        False, True, False, False, True, False, False, False]


def test_columns_of_a_line():
    where = spike_map(2, 3, 5, pixel=3, pitch=9)
    assert where.columns == 27
    assert where.line_columns(2) == 8
    assert [ceil_div(value, 4) for value in (0, 1, 4, 5)] == [0, 1, 1, 2]


@pytest.mark.parametrize("core", CORES)
def test_maps_of_networks(core):
    """In all maps of all networks each neuron has a bit of its own, in its line and its pixel."""
    print(f"seed {SEED}")
    rng, p = random.Random(f"{SEED} {core}"), CORES[core]
    for _ in range(15):
        plan = make_plan(random_network(rng, [p]), p)
        for where in [plan.input, *(layer.output for layer in plan.layers)]:
            bits = where.bits(p.banks)
            assert bits.shape == (where.channels, where.height, where.width)
            assert len(np.unique(bits)) == bits.size
            assert (bits // (where.pitch * p.banks) == np.arange(where.height)[:, None]).all()
            within = bits % (where.pitch * p.banks)
            assert (within // where.pixel == np.arange(where.width)).all()
            assert (within // p.banks < where.line_columns(p.banks)).all()
            assert where.line_columns(p.banks) <= where.pitch
            assert where.columns <= where.rows * p.scan < where.columns + p.scan
            assert where.channels <= where.pixel
            # What a tile writes begins with a column.
            if where is not plan.input:
                assert where.pixel % p.banks == 0
                assert where.pixel % p.lanes == 0 or p.lanes % where.pixel == 0
            planes = np.arange(1, 2 * bits.size + 1).reshape(2, -1)
            placed = where.placed(planes, p.banks)
            assert placed.shape == (2, where.columns * p.banks)
            assert (placed[:, bits.ravel()] == planes).all()
            assert np.count_nonzero(placed) == planes.size
            assert where.groups == ceil_div(where.steps * len(where.coding), p.planes)
            assert where.last_planes == where.steps * len(where.coding) - (
                where.groups - 1) * p.planes


# Visits.

PLAIN = CoreParameters(
    banks=2, lanes=4, neurons=2, scan=4, weight_depth=512, spike_depth=256, neuron_depth=256)


def visits(whole, number, p=PLAIN):
    """Return a layer's visits as a list: tile, step, level, group and neurons."""
    found = visits_of(make_plan(whole, p).layers[number], whole.fired_shape(number), p)
    return [(*place, neurons) for *place, neurons in zip(
        *(each.tolist() for each in (found.tile, found.step, found.level, found.group,
                                     found.neuron)), strict=True)]


def test_visits_of_a_dense_layer():
    """Five neurons: a whole tile of two visits, and a visit of one neuron; all steps of a tile."""
    whole = network((3, 1, 1), dense(3, 5), timesteps=2)
    assert visits(whole, 0) == [
        (0, 0, 0, 0, [0, 1]), (0, 0, 0, 1, [2, 3]), (0, 1, 0, 0, [0, 1]), (0, 1, 0, 1, [2, 3]),
        (1, 0, 0, 0, [4, -1]), (1, 1, 0, 0, [4, -1])]


def test_visits_of_a_map():
    """Two pixels of two channels a tile; the third pixel of a line has a place for itself."""
    whole = network((2, 2, 3), conv(2, 2, (1, 1)), timesteps=1)
    assert visits(whole, 0) == [
        (0, 0, 0, 0, [0, 6]), (0, 0, 0, 1, [1, 7]), (0, 0, 0, 0, [2, 8]), (0, 0, 0, 1, [-1, -1]),
        (0, 0, 0, 0, [3, 9]), (0, 0, 0, 1, [4, 10]), (0, 0, 0, 0, [5, 11]), (0, 0, 0, 1, [-1, -1])]


def test_visits_of_a_pooled_window():
    """The pixels of a window follow one another, each with all its steps and levels."""
    whole = network((1, 2, 4), conv(1, 3, (1, 1), pool=(2, 2), z_max=2), timesteps=1)
    # A pixel of three channels is a tile; the map has four pixels a line.
    window = [[0, 8], [1, 9], [4, 12], [5, 13]]
    found = visits(whole, 0)
    assert found[:16] == [
        (0, 0, level, group, neurons if group == 0 else [neurons[0] + 16, -1])
        for neurons in window for level, group in product(range(2), range(2))]
    assert found[16][4] == [2, 10]
    assert len(found) == 32


def in_order(layer, fired, p):
    """Yield the visits as the loops of the core go."""
    walk = layer.walk
    channels, height, width = fired
    pool_y, pool_x = walk.pool
    for tile in range(walk.tiles):
        groups = layer.last_visits if tile == walk.tiles - 1 else p.tile_groups
        for y, x, down, across in product(
                range(walk.lines), range(walk.places), range(pool_y), range(pool_x)):
            for step, level, group in product(
                    range(layer.steps), range(len(layer.levels)), range(groups)):
                neurons = []
                for lane in range(group * p.neurons, (group + 1) * p.neurons):
                    channel = walk.channel[tile, lane]
                    pixel = (x * walk.pixels + walk.pixel[tile, lane]) * pool_x + across
                    there = 0 <= channel < channels and pixel < width
                    neurons.append((channel * height + y * pool_y + down) * width + pixel
                                   if there else -1)
                yield tile, step, level, group, neurons


def check_visits(whole, p):
    """Each neuron of a layer once for each step and level, in the order of the loops."""
    for number, layer in enumerate(make_plan(whole, p).layers):
        fired = whole.fired_shape(number)
        found = visits_of(layer, fired, p)
        assert visits(whole, number, p) == list(in_order(layer, fired, p))
        for step, level in product(range(layer.steps), range(len(layer.levels))):
            neurons = found.neuron[(found.step == step) & (found.level == level)]
            assert sorted(neurons[neurons >= 0]) == list(range(np.prod(fired)))


@pytest.mark.parametrize("name", OPTIONS)
def test_visits_of_options(name):
    check_visits(OPTIONS[name], PLAIN)


@pytest.mark.parametrize("core", CORES)
def test_visits_of_networks(core):
    print(f"seed {SEED}")
    rng = random.Random(f"{SEED} {core} visits")
    for _ in range(15):
        check_visits(random_network(rng, [CORES[core]]), CORES[core])
