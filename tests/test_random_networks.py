"""Random networks on the Verilog of two cores each: every value, and the cycles."""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from tests.agreement import agreements
from tests.networks import CORES, PAIRS, networks, random_samples

SEED = int(os.environ.get("TERNSPIKE_SEED", "1"))
#: Networks that one simulator runs, one after the other.
BATCH = 7


@pytest.mark.cocotb
@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
@seed(SEED)
@settings(max_examples=1, deadline=None, database=None, print_blob=True,
          phases=[Phase.generate],  # shrinking would simulate for minutes
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_core_equals_golden_model(pair, data):
    """Twenty-one networks over all options, each on two shapes; one of the two is stalled."""
    print(f"TERNSPIKE_SEED={SEED}")
    cores = [CORES[name] for name in pair]
    drawn = [(network, random_samples(random.Random(SEED), network))
             for network in data.draw(st.lists(networks(*cores), min_size=BATCH, max_size=BATCH))]
    stalls = data.draw(st.permutations([0.0, 0.4]), label="stalls")
    note(f"TERNSPIKE_SEED={SEED}")
    for core, share in zip(cores, stalls, strict=True):
        for found in agreements(drawn, core, stalls=share, seed=SEED):
            assert found.difference is None
