"""The cycle model against the cycles that the core takes, in Amaranth's simulator."""

from typing import Any

import numpy as np
import pytest

from hw.parameters import CoreParameters
from mapping import cycles as model
from mapping.program import compile_network
from model.golden import execute
from model.network import InputCoding, Readout, Reset
from tests.core_bench import CoreBench
from tests.small_networks import network, samples

COMMON: dict[str, Any] = dict(
    queue_depth=8, weight_depth=256, spike_depth=64, neuron_depth=128, program_depth=4,
    readout_depth=8, count_width=5, gain_width=12, current_width=18, membrane_width=14)
CORES = {
    "planes1": CoreParameters(banks=4, lanes=8, planes=1, neurons=2, scan=4, **COMMON),
    "planes2": CoreParameters(banks=3, lanes=6, planes=2, neurons=3, scan=2, **COMMON),
    "planes4": CoreParameters(banks=2, lanes=4, planes=4, neurons=1, scan=4, **COMMON),
}

#: Crowded and thin inputs, steps that fill no whole group of planes, a summed readout, a silent
#: layer, a layer of many tiles.
NETWORKS = {
    "static": network(20, 13, 5, input_bits=5, timesteps=3),
    "spikes": network(23, 9, 6, 4, timesteps=5, readout=Readout.SUM, reset=Reset.HARD),
    "silent": network(9, 6, 3, timesteps=3, threshold=1, gain=1, density=0.0, bias=0),
    "short":  network(9, 6, 3, timesteps=3, density=0.6),
    "counts": network(12, 10, 9, 4, input_bits=3, timesteps=2, z_max=6, threshold=9, gain=20),
    "counted spikes": network(14, 17, 9, 4, timesteps=3, z_max=2, threshold=9, gain=20),
    "tiles":  network(6, 25, 3, input_bits=2, timesteps=2, threshold=40),
}
DENSITIES = [0.3, 1.0, 0.0, 0.3, 0.1]


def inputs_of(whole):
    """Return a sample of each density."""
    return np.concatenate([samples(whole, 1, seed=number, density=density)
                           for number, density in enumerate(DENSITIES)])


def estimate(whole, p, inputs):
    return model.estimate(compile_network(whole, p), inputs, execute(whole, inputs).spikes)


@pytest.mark.parametrize("core", CORES)
def test_cycles_are_the_cores(core):
    """Exactly, for every sample of every network."""
    p = CORES[core]
    runs = [(whole, inputs_of(whole)) for whole in NETWORKS.values()]
    bench = CoreBench(p, runs).run()
    predicted = [estimate(whole, p, inputs).cycles.tolist() for whole, inputs in runs]
    assert dict(zip(NETWORKS, predicted, strict=True)) == dict(
        zip(NETWORKS, bench.cycles, strict=True))


def planes_of(whole, number, inputs, trace):
    """Return what a layer reads, ``(samples, planes, channels)``."""
    values = trace.spikes[number - 1].astype(int) if number else inputs[:, None]
    if not number and whole.input is not InputCoding.STATIC:
        return inputs
    planes = np.moveaxis(whole.planes(number - 1, values), -1, 2)
    return planes.reshape(len(values), -1, values.shape[2])


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", NETWORKS)
def test_events_and_bound(name, core):
    """Events, fetched words and the bound by their definitions; no prediction is below."""
    whole, p = NETWORKS[name], CORES[core]
    inputs = inputs_of(whole)
    trace = execute(whole, inputs)
    found = estimate(whole, p, inputs)
    for number in range(len(whole.layers)):
        outputs = whole.shape(number)[0]
        planes = planes_of(whole, number, inputs, trace)
        tiles = [range(first, min(first + p.lanes, outputs))
                 for first in range(0, outputs, p.lanes)]
        for sample in range(len(inputs)):
            events = bound = 0
            for first in range(0, planes.shape[1], p.planes):
                spiking = np.flatnonzero(planes[sample, first:first + p.planes].any(axis=0))
                events += len(spiking)
                busiest = max(np.count_nonzero(spiking % p.banks == bank)
                              for bank in range(p.banks))
                bound += sum(max(busiest, -(-len(tile) // p.neurons)) for tile in tiles)
            share = found.layers[number]
            assert share.events[sample] == events
            assert share.weight_fetches[sample] == events * len(tiles)
            assert share.bound[sample] == bound
    assert (found.bound == sum(layer.bound for layer in found.layers)).all()
    assert (found.cycles >= found.bound).all()


@pytest.mark.parametrize("name", ["static", "spikes"])
def test_layers_share_the_cycles(name):
    """From close to close: over many samples the shares add up to the cycles, but for the ends."""
    whole, p = NETWORKS[name], CORES["planes2"]
    inputs = samples(whole, 30)
    found = estimate(whole, p, inputs)
    shares = sum(int(layer.cycles.sum()) for layer in found.layers)
    assert all((layer.cycles > 0).all() for layer in found.layers)
    assert abs(shares - int(found.cycles.sum())) < 2 * int(found.cycles[0])


@pytest.mark.parametrize("core", CORES)
def test_streams_side_by_side_are_one_stream(core, monkeypatch):
    """Many samples are cut into streams; only where one begins may its cycles differ."""
    whole, p = NETWORKS["spikes"], CORES[core]
    count = 40
    inputs = np.concatenate([samples(whole, count // 2, density=density)
                             for density in (0.05, 0.6)])
    monkeypatch.setattr(model, "_STREAMS", 1)
    single = estimate(whole, p, inputs)
    monkeypatch.setattr(model, "_STREAMS", 4)
    several = estimate(whole, p, inputs)
    length = -(-(count - 1) // 4)
    begins = [1 + stream * length for stream in range(4)]
    inside = np.setdiff1d(np.arange(count), begins)
    assert (several.cycles[inside] == single.cycles[inside]).all()
    assert abs(several.cycles.sum() - single.cycles.sum()) <= 0.02 * single.cycles.sum()
    for one, other in zip(single.layers, several.layers, strict=True):
        assert (one.cycles[inside] == other.cycles[inside]).all()
        assert (one.bound == other.bound).all()


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_few_samples_in_many_streams(count, monkeypatch):
    """Streams that would be empty or short change nothing."""
    whole, p = NETWORKS["tiles"], CORES["planes1"]
    inputs = samples(whole, count)
    single = estimate(whole, p, inputs)
    monkeypatch.setattr(model, "_STREAMS", max(1, count - 1))
    monkeypatch.setattr(model, "_IN_STREAM", 1)
    assert len(estimate(whole, p, inputs).cycles) == count
    assert (estimate(whole, p, inputs).bound == single.bound).all()
    assert estimate(whole, p, inputs).cycles[0] == single.cycles[0]
