"""Bundling over time: collapsed networks, counted fetches, searched windows."""

import numpy as np
import pytest

from hw.parameters import CoreParameters
from mapping.cycles import estimate
from mapping.program import compile_network
from model.bundling import collapse, measure, search
from model.energy import energy
from model.golden import execute
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Merge,
    MergeLayer,
    NetworkError,
    Readout,
    Reset,
)
from tests.agreement import agreements
from tests.networks import CORES
from tests.small_networks import network, samples


def test_collapse_keeps_the_charge():
    """Without leak and with soft reset, what is spiked and what is left adds up to the same."""
    whole = network(9, 5, 3, timesteps=4, density=0.7, threshold=3, gain=2, bias=0,
                    membrane_bits=20, z_max=3)
    inputs = samples(whole, 6)
    found = collapse(whole, 0, 4)
    assert [found.steps(number) for number in (0, 1)] == [1, 1]
    before, after = execute(whole, inputs), execute(found, inputs)
    threshold = whole.layer(0).threshold
    for trace in (before, after):
        charge = trace.membranes[0][:, -1] + threshold * trace.spikes[0].astype(int).sum(axis=1)
        weights = (whole.layer(0).gain_plus[:, None] * (whole.layer(0).weights > 0)
                   - whole.layer(0).gain_minus[:, None] * (whole.layer(0).weights < 0))
        assert (charge == inputs.sum(axis=1, dtype=int) @ weights.T).all()


def test_collapse_of_one_step_is_the_network():
    whole = network(9, 5, 3, timesteps=4)
    inputs = samples(whole, 4)
    same = collapse(whole, 0, 1)
    assert (execute(same, inputs).readout == execute(whole, inputs).readout).all()


def test_static_current_is_of_all_steps():
    """A static input's window sums nothing: the gains and the bias grow instead."""
    whole = network(9, 5, 3, timesteps=4, input_bits=3, threshold=900, membrane_bits=16)
    found = collapse(whole, 0, 2)
    first = whole.layer(0), found.layer(0)
    for name in ("gain_plus", "gain_minus", "bias"):
        assert (getattr(first[1], name) == 2 * getattr(first[0], name)).all()
    assert (first[1].window, first[1].membrane_bits, first[1].z_max) == (2, 17, 2)
    # The layer after it reads steps that are fewer already.
    assert (found.layer(1).window, found.steps(1)) == (1, 2)
    inputs = samples(whole, 3)
    membranes = execute(whole, inputs).membranes[0], execute(found, inputs).membranes[0]
    assert (membranes[0][:, 1::2] == membranes[1]).all()        # no spike takes any of it


@pytest.mark.parametrize(("shifts", "window", "expected"), [
    ((), 4, ()), ((1,), 2, (1,)), ((4,), 2, (3,)), ((4,), 1, (4,)), ((1, 2), 2, (1, 1)),
    ((15,), 2, (14,)), ((4, 5), 2, (3, 4)), ((3,), 4, (1,)),
])
def test_leak_of_several_steps(shifts, window, expected):
    """The nearest leak of at most as many terms."""
    whole = network(9, 5, 3, timesteps=4, leak=shifts)
    assert collapse(whole, 0, window).layer(0).leak == expected


def _residual(**merge) -> IntegerNetwork:
    """Return two convolutions whose spikes are merged."""
    rng = np.random.default_rng(1)

    def neurons(kind, shape, sources, readout=None):
        outputs = shape[0]
        return kind(
            weights=rng.integers(-1, 2, shape), gain_plus=np.ones(outputs, int),
            gain_minus=np.ones(outputs, int), bias=np.zeros(outputs, int),
            threshold=np.full(outputs, 0 if readout else 2), membrane_bits=10, sources=sources,
            readout=readout)

    return IntegerNetwork(
        input=InputCoding.SPIKES, input_bits=1, timesteps=4, input_shape=(2, 3, 3), layers=(
            neurons(ConvLayer, (3, 2, 1, 1), (-1,)), neurons(ConvLayer, (3, 3, 1, 1), (0,)),
            MergeLayer(sources=(0, 1), **merge),
            neurons(DenseLayer, (4, 27), (2,), Readout.LAST)))


def test_what_can_not_collapse_is_refused():
    added = _residual(operation=Merge.ADD, z_max=2)
    with pytest.raises(NetworkError, match=r"layer 2.*sources before and after the first layer"):
        collapse(added, 1, 2)
    assert collapse(added, 0, 2).steps(3) == 2
    assert collapse(added, 3, 4).steps(3) == 1
    with pytest.raises(NetworkError, match=r"z_max: is 2 for or \(limit: 1\)"):
        collapse(_residual(operation=Merge.OR), 0, 2)
    with pytest.raises(NetworkError, match="layer 0: has a window of 3 steps .*divisor of the 4"):
        collapse(network(9, 5, 3, timesteps=4), 0, 3)
    large = network(9, 5, 3, timesteps=4, input_bits=2, gain=2**30)
    with pytest.raises(NetworkError, match="layer 0: has a gain_.* that 4 steps make larger"):
        collapse(large, 0, 4)


def test_counts_end_at_fifteen():
    assert collapse(network(9, 5, 3, timesteps=8, z_max=3), 0, 8).layer(0).z_max == 15


@pytest.mark.parametrize("bundle", [1, 2, 3, 4])
def test_fetches_are_the_cores(bundle):
    """Weight words that a core of so many planes reads, times the weights in a word."""
    p = CoreParameters(banks=4, lanes=8, planes=bundle, neurons=2, scan=4, weight_depth=256,
                       spike_depth=64, neuron_depth=128, gain_depth=256, program_depth=4,
                       readout_depth=8)
    whole = network(21, 8, 8, 8, timesteps=5, threshold=6)
    inputs = samples(whole, 4)
    trace = execute(whole, inputs)
    costs = energy(whole, inputs, trace, bundle=bundle)
    words = estimate(compile_network(whole, p), inputs, trace.spikes)
    assert [8 * layer.weight_fetches.mean() for layer in words.layers] == [
        layer.fetches for layer in costs.layers]


def test_bundles_save_energy_and_change_nothing_else():
    whole = network(21, 8, 8, 8, timesteps=4, threshold=3)
    inputs = samples(whole, 8)
    labels = execute(whole, inputs).classes
    found = [measure(whole, inputs, labels, bundle) for bundle in (1, 2, 4)]
    assert found[0].fetches > found[1].fetches > found[2].fetches
    assert found[0].energy > found[1].energy > found[2].energy
    assert {each.accuracy for each in found} == {1.0}
    assert len({(each.costs.total("adds"), each.costs.total("events")) for each in found}) == 1


def test_search_stays_within_the_loss():
    """More loss never costs more; what is found is what it says, and runs on a core."""
    whole = network(21, 12, 8, 8, timesteps=4, threshold=5, leak=(2,), z_max=2, membrane_bits=12)
    inputs = samples(whole, 40)
    labels = execute(whole, inputs).classes
    energies, trials = [], []
    for loss in (0.0, 0.2, 1.0):
        found = search(whole, inputs, labels, loss,
                       progress=lambda done, total: trials.append((done, total)))
        assert found.accuracy >= 1 - loss
        assert found.accuracy == np.mean(execute(found.network, inputs).classes == labels)
        energies.append(found.energy)
    assert energies == sorted(energies, reverse=True)
    assert found.network.steps(2) == 1
    assert energies[-1] < measure(whole, inputs, labels).energy
    assert trials and all(0 < done <= total for done, total in trials)


@pytest.mark.cocotb
@pytest.mark.parametrize("reset", Reset)
def test_collapsed_networks_on_the_core(reset):
    """RTL = integer after a collapse at each layer."""
    whole = network(10, 9, 6, 4, timesteps=4, threshold=5, leak=(3,), membrane_bits=12,
                    reset=reset)
    inputs = samples(whole, 3)
    runs = [(collapse(whole, first, window), inputs) for first in (0, 1, 2) for window in (2, 4)]
    assert [each.difference for each in agreements(runs, CORES["planes2"])] == [None] * 6
