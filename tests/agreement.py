"""Networks on a core: the RTL against the golden model, its cycles against the cycle model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hw.parameters import CoreParameters
from mapping.cycles import estimate
from mapping.program import compile_network
from model.golden import execute
from model.network import IntegerNetwork
from sim.compare import compare
from sim.run import simulate_many

__all__ = ["Agreement", "agreements"]


@dataclass(frozen=True)
class Agreement:
    """What the RTL did with one network.

    Parameters
    ----------
    compared
        Values: spikes, membranes and results.
    difference
        What is wrong; None if nothing is.
    deviation
        Of the cycle model from the RTL, as a share; None if the streams were stalled, which the
        model does not know.
    """

    compared: int
    difference: str | None
    deviation: float | None


#: What the cycle model may be wrong by.
_MOST_DEVIATION = 0.02


def agreements(networks: Sequence[tuple[IntegerNetwork, np.ndarray]], core: CoreParameters, *,
               stalls: float = 0.0, seed: int = 1) -> list[Agreement]:
    """Load networks into one core, one after the other, and run their samples.

    Raises
    ------
    SimulationError
        If the simulation fails or hangs.
    """
    programs = [(compile_network(network, core), inputs) for network, inputs in networks]
    results = simulate_many(programs, stalls=stalls, seed=seed)
    found = []
    for number, ((program, inputs), result) in enumerate(zip(programs, results, strict=True)):
        trace = execute(program.network, inputs)
        comparison = compare(program.network, result, trace)
        difference = deviation = None
        if not stalls:
            predicted = int(estimate(program, inputs, trace.spikes).cycles.sum())
            deviation = predicted / result.total_cycles - 1
            if abs(deviation) > _MOST_DEVIATION:
                difference = (f"network {number}: {result.total_cycles} cycles, and the cycle "
                              f"model says {predicted}")
        if comparison.first is not None:
            difference = (f"network {number}: {comparison.mismatches} of {comparison.compared} "
                          f"values differ, first: {comparison.first}")
        found.append(Agreement(comparison.compared, difference, deviation))
    return found
