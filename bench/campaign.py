"""Random networks on the RTL against the golden model, as many as one likes.

``python -m bench.campaign --networks 300 --seed 7`` draws networks and samples as the tests do, on
every core shape of the tests, with and without stalls, each value compared. It stops at the first
batch that differs and names the core and the seed, which reproduce it.
"""
import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import cycle, islice

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from mapping.program import compile_network
from model.golden import execute
from sim.compare import compare
from sim.run import simulate_many
from tests.networks import CORES, networks, samples

__all__ = ["batches", "main", "run_batch"]

#: Networks that one simulator runs, one after the other.
_BATCH = 10
#: Share of cycles in which the ends of the streams are unwilling.
_STALLS = (0.0, 0.3, 0.7)


def batches(count: int, first_seed: int) -> Iterator[tuple[str, int, float]]:
    """Yield (core, seed, stalls) for ``count`` networks, all combinations in turn."""
    combinations = [(core, stalls) for stalls in _STALLS for core in CORES]
    for number, (core, stalls) in enumerate(islice(cycle(combinations), -(-count // _BATCH))):
        yield core, first_seed + number, stalls


def run_batch(core: str, batch_seed: int, stalls: float) -> tuple[int, str | None]:
    """Run a batch of networks.

    Returns
    -------
    The number of values compared, and the first difference or None.

    Raises
    ------
    SimulationError
        If the simulation fails or hangs.
    """
    drawn = []

    @seed(batch_seed)
    @settings(max_examples=_BATCH, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(st.data())
    def draw(data):
        network = data.draw(networks(CORES[core]))
        drawn.append((network, data.draw(samples(network))))

    draw()
    runs = [(compile_network(network, CORES[core]), inputs) for network, inputs in drawn]
    compared = 0
    for number, ((network, inputs), result) in enumerate(zip(
            drawn, simulate_many(runs, stalls=stalls, seed=batch_seed), strict=True)):
        comparison = compare(network, result, execute(network, inputs))
        compared += comparison.compared
        if comparison.first is not None:
            return compared, (f"network {number}: {comparison.mismatches} of "
                              f"{comparison.compared} values differ, first: {comparison.first}")
    return compared, None


def main(arguments: list[str] | None = None) -> int:
    """Run batches side by side; return 1 at the first that differs or fails."""
    parser = argparse.ArgumentParser(prog="python -m bench.campaign",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="of the first batch (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="simulators side by side (default 2)")
    options = parser.parse_args(arguments)
    if options.networks < 1 or options.jobs < 1:
        parser.error("there must be at least 1 network and 1 job")

    compared = 0
    planned = list(batches(options.networks, options.seed))
    with ProcessPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run_batch, *batch): batch for batch in planned}
        for done, future in enumerate(as_completed(running), 1):
            core, batch_seed, stalls = running[future]
            where = f"core {core}, seed {batch_seed}, stalls {stalls}"
            try:
                values, difference = future.result()
            except (RuntimeError, ValueError, OSError) as error:
                difference, values = str(error), 0
            if difference is not None:
                pool.shutdown(cancel_futures=True)
                print(f"bench.campaign: {where}: {difference}", file=sys.stderr)
                return 1
            compared += values
            print(f"{done}/{len(planned)} batches of {_BATCH} networks, {compared:,} values, "
                  f"none differs ({where})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
