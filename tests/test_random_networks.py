"""Random networks on the Verilog of several cores, value by value against the golden model."""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from mapping.program import compile_network
from model.golden import execute
from sim.compare import compare
from sim.run import simulate_many
from tests.networks import CORES, networks, samples

SEED = int(os.environ.get("TERNSPIKE_SEED", "1"))


@pytest.mark.cocotb
@pytest.mark.parametrize("core", CORES)
@seed(SEED)
@settings(max_examples=4, deadline=None, database=None, print_blob=True,
          phases=[Phase.generate],  # shrinking would simulate for minutes
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_core_equals_golden_model(core, data):
    """Each example loads several networks into one core, one after the other."""
    parameters = CORES[core]
    several = data.draw(st.lists(networks(parameters), min_size=2, max_size=3))
    inputs = [data.draw(samples(network)) for network in several]
    stalls = data.draw(st.sampled_from([0.0, 0.3, 0.7]), label="stalls")
    note(f"TERNSPIKE_SEED={SEED}")

    programs = [compile_network(network, parameters) for network in several]
    results = simulate_many(list(zip(programs, inputs, strict=True)), stalls=stalls, seed=SEED)
    for network, values, result in zip(several, inputs, results, strict=True):
        comparison = compare(network, result, execute(network, values))
        assert comparison.first is None, (
            f"{comparison.mismatches} of {comparison.compared} values differ, first: "
            f"{comparison.first}")
