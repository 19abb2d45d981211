"""A long campaign of random networks, each on two cores in RTL against golden and cycle model.

``python -m bench.campaign --networks 300 --seed 7`` draws networks and samples as the tests do.
Some batches run with stalled streams; of the others the cycles are compared, too.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import cycle, islice

from tests.agreement import Agreement, agreements
from tests.networks import CORES, PAIRS, drawn

__all__ = ["batches", "main", "run_batch"]

#: Networks that one simulator runs, one after the other.
_BATCH = 10
#: Share of cycles in which the ends of the streams are unwilling.
_STALLS = (0.0, 0.3, 0.0, 0.7)


def batches(count: int, first_seed: int) -> Iterator[tuple[tuple[str, str], int, float]]:
    """Yield (cores, seed, stalls) for ``count`` networks, all combinations in turn."""
    combinations = [(pair, stalls) for stalls in _STALLS for pair in PAIRS]
    for number, (pair, stalls) in enumerate(islice(cycle(combinations), -(-count // _BATCH))):
        yield pair, first_seed + number, stalls


def run_batch(pair: tuple[str, str], seed: int, stalls: float) -> list[Agreement]:
    """Run a batch of networks on two cores.

    Raises
    ------
    SimulationError
        If the simulation fails or hangs.
    """
    networks = drawn(pair, _BATCH, seed)
    return [found for core in pair
            for found in agreements(networks, CORES[core], stalls=stalls, seed=seed)]


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

    compared, worst = 0, 0.0
    planned = list(batches(options.networks, options.seed))
    with ProcessPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run_batch, *batch): batch for batch in planned}
        for done, future in enumerate(as_completed(running), 1):
            pair, seed, stalls = running[future]
            where = f"cores {' and '.join(pair)}, seed {seed}, stalls {stalls}"
            try:
                found = future.result()
                difference = next((each.difference for each in found if each.difference), None)
            except (RuntimeError, ValueError, OSError) as error:
                found, difference = [], str(error)
            if difference is not None:
                pool.shutdown(cancel_futures=True)
                print(f"bench.campaign: {where}: {difference}", file=sys.stderr)
                return 1
            compared += sum(each.compared for each in found)
            worst = max([worst, *(abs(each.deviation or 0) for each in found)])
            print(f"{done}/{len(planned)} batches of {_BATCH} networks on two cores, {compared:,} "
                  f"values, none differs; the cycle model is {worst:.2%} off at worst ({where})",
                  flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
