"""One network on one core: golden model, cycle model and RTL on the same samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hw.parameters import CoreParameters
from model.network import IntegerNetwork
from ternspike.samples import Samples

if TYPE_CHECKING:
    from mapping.cycles import CycleEstimate
    from mapping.program import Program
    from model.golden import Trace
    from sim.compare import Comparison
    from sim.run import SimulationResult

__all__ = ["Evaluation", "Prediction", "evaluate", "predict"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is known of a network on a core without simulating it."""

    network: IntegerNetwork
    core: str
    samples: Samples
    program: Program
    trace: Trace
    estimate: CycleEstimate


@dataclass(frozen=True, eq=False)
class Evaluation(Prediction):
    """A prediction, and what the RTL did.

    Members
    -------
    simulation
        Every spike, membrane and result of the RTL, and its cycles.
    comparison
        The same against the golden model.
    """

    simulation: SimulationResult
    comparison: Comparison


def predict(
    network: IntegerNetwork, samples: Samples, core: str, parameters: CoreParameters,
) -> Prediction:
    """Compile the network, run the golden model, count cycles by the cycle model.

    Parameters
    ----------
    core
        The name of the core, for the reader.

    Raises
    ------
    MappingError
        If the network does not fit the core.
    """
    from mapping.cycles import estimate
    from mapping.program import compile_network

    # The program first: a network that does not fit is refused before PyTorch is even loaded.
    program = compile_network(network, parameters)
    from model.golden import execute

    trace = execute(network, samples.inputs)
    return Prediction(network, core, samples, program, trace,
                      estimate(program, samples.inputs, trace.spikes))


def evaluate(
    network: IntegerNetwork, samples: Samples, core: str, parameters: CoreParameters, *,
    jobs: int = 1, seed: int = 1, stalls: float = 0.0, waves: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Do the same and run the samples through the RTL, comparing all that can be seen of it.

    Parameters
    ----------
    jobs
        Simulators that run at the same time.
    stalls
        Share of the cycles, 0 <= stalls < 1, in which each stream is randomly held up.
    waves
        Where a waveform of the run is written, if anywhere.
    progress
        Called with the number of samples done.

    Raises
    ------
    MappingError
        If the network does not fit the core.
    SimulationError
        If the simulator can't be built or run, or the core breaks its protocol.
    """
    from sim.compare import compare
    from sim.run import simulate

    known = predict(network, samples, core, parameters)
    simulation = simulate(known.program, samples.inputs, jobs=jobs, seed=seed, stalls=stalls,
                          waves=waves, progress=progress)
    return Evaluation(network, core, samples, known.program, known.trace, known.estimate,
                      simulation, compare(network, simulation, known.trace))
