"""One network on one core: golden model, cycle model and RTL on the same samples.

Samples are computed a part at a time, because the spikes and membranes of all of them need not fit
in memory: a convolutional network has up to a megabyte of them, in the golden model and again in
the RTL. What a part leaves is its results, its cycles, sums and at most one sample in full. Nothing
depends on how the samples are divided, as long as the streams of the core are not held up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw.parameters import CoreParameters
from model.network import IntegerNetwork
from ternspike.samples import Samples

if TYPE_CHECKING:
    from mapping.cycles import CycleEstimate
    from mapping.program import Program
    from model.golden import Trace
    from sim.compare import Comparison
    from sim.run import SimulationResult
    from ternspike.activity import LayerActivity

__all__ = ["Evaluation", "Prediction", "Recorded", "evaluate", "predict"]

#: Values that a part of the samples has at most where the RTL is simulated: one for each neuron and
#: step of each layer. With all that is made of them they take about 50 bytes each.
SIMULATED_VALUES = 1 << 23

#: The same where cycles are predicted; each bit of what a layer reads, as it lies in the spike
#: memory, is a value there, too. They take about 4 bytes each.
PREDICTED_VALUES = 1 << 27

#: Samples that the golden model computes at once; its intermediate values take more than a trace.
GOLDEN_BATCH = 64

#: Told of what is being done, and of how many samples it is done.
Progress = Callable[[str, int], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is known of a network on a core without simulating it.

    Members
    -------
    trace
        What the golden model computed: results only.
    activity
        How much each layer spikes that does.
    """

    network: IntegerNetwork
    core: str
    samples: Samples
    program: Program
    trace: Trace
    activity: tuple[LayerActivity, ...]
    estimate: CycleEstimate


@dataclass(frozen=True, eq=False)
class Recorded:
    """What the RTL did with one sample.

    Members
    -------
    number, margin
        The sample, and by how much its class won.
    right
        Whether that is its label.
    spikes, membranes
        (steps, neurons) of each layer, as `sim.run.SimulationResult` has them.
    """

    number: int
    margin: int
    right: bool
    spikes: tuple[np.ndarray, ...]
    membranes: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Evaluation(Prediction):
    """A prediction, and what the RTL did.

    Members
    -------
    simulation
        Every result of the RTL, and its cycles, but no spikes and membranes.
    comparison
        All of that, spikes and membranes too, against the golden model.
    closest
        The sample whose decision was the closest, of those that are right, or of all if none is.
    """

    simulation: SimulationResult
    comparison: Comparison
    closest: Recorded


def predict(
    network: IntegerNetwork, samples: Samples, core: str, parameters: CoreParameters, *,
    progress: Progress | None = None,
) -> Prediction:
    """Compile the network, run the golden model, count cycles by the cycle model.

    Parameters
    ----------
    core
        The name of the core, for the reader.
    progress
        Called with what is done and the number of samples that it is done for.

    Raises
    ------
    MappingError
        If the network does not fit the core.
    """
    from mapping.program import compile_network

    # The program first: a network that does not fit is refused before PyTorch is even loaded.
    program = compile_network(network, parameters)
    return _predicted(program, samples, core, progress or _silent)


def evaluate(
    network: IntegerNetwork, samples: Samples, core: str, parameters: CoreParameters, *,
    jobs: int = 1, seed: int = 1, stalls: float = 0.0, netlist: bool = False,
    waves: Path | None = None, progress: Progress | None = None,
    record: Callable[[int, SimulationResult], None] | None = None,
) -> Evaluation:
    """Do the same and run the samples through the RTL, comparing all that can be seen of it.

    Parameters
    ----------
    jobs
        Simulators that run at the same time.
    stalls
        Share of the cycles, 0 <= stalls < 1, in which each stream is randomly held up.
    netlist
        Run what synthesis makes of the core.
    waves
        Where a waveform of the run is written, if anywhere.
    progress
        Called with what is done and the number of samples that it is done for.
    record
        Called with each part of the simulation, and the number of its first sample.

    Raises
    ------
    MappingError
        If the network does not fit the core.
    SimulationError
        If the simulator can't be built or run, or the core breaks its protocol.
    """
    from mapping.program import compile_network
    from sim.run import simulate

    program = compile_network(network, parameters)
    tell = progress or _silent

    def run(part: range) -> tuple[SimulationResult, Comparison, Recorded]:
        """Simulate a part; what is large of it ends here."""
        result = simulate(
            program, samples.inputs, part=part, jobs=jobs, seed=seed, stalls=stalls,
            netlist=netlist, waves=waves if part.start == 0 else None,
            progress=lambda done: tell("Simulate the RTL", part.start + done))
        if record is not None:
            record(part.start, result)
        return _checked(network, samples, part, result)

    tell("Simulate the RTL", 0)
    # The RTL first: what can't be built or hangs is known before all is predicted.
    results, comparisons, recorded = zip(
        *map(run, _parts(len(samples), _values(network), SIMULATED_VALUES)), strict=True)
    known = _predicted(program, samples, core, tell)
    return Evaluation(
        **{field.name: getattr(known, field.name) for field in fields(known)},
        simulation=_joined(results), comparison=reduce(add, comparisons),
        closest=min(recorded, key=lambda sample: (not sample.right, sample.margin)))


def _silent(stage: str, done: int) -> None:
    """Tell nobody."""


def _values(network: IntegerNetwork) -> int:
    """Return how many values the trace of a sample has."""
    return sum(network.steps(number) * math.prod(network.fired_shape(number))
               for number in range(len(network.layers)))


def _bits(program: Program) -> int:
    """Return how many bits the layers read, a sample."""
    p = program.parameters
    return sum(source.groups * p.planes * source.columns * p.banks
               for layer in program.plan.layers for source in layer.sources)


def _parts(samples: int, values: int, most: int) -> Iterator[range]:
    """Divide samples of so many values into parts of equal size, each of at most ``most``."""
    size = max(1, most // values)
    ends = np.linspace(0, samples, math.ceil(samples / size) + 1).astype(int).tolist()
    return map(range, ends, ends[1:])


def _predicted(program: Program, samples: Samples, core: str, tell: Progress) -> Prediction:
    """Predict the samples, part by part."""
    from mapping.cycles import estimate
    from model.golden import Trace, execute
    from ternspike.activity import count

    network = program.network

    def run(part: range) -> tuple[Trace, tuple[LayerActivity, ...], CycleEstimate]:
        """Predict a part; what is large of it ends here."""
        tell("Predict the cycles", part.start)
        # One sample early, as in the simulation: its cycles overlap with those of the first.
        early = min(1, part.start)
        inputs = samples.inputs[part.start - early:part.stop]
        trace = execute(network, inputs, batch=GOLDEN_BATCH)
        activity = count(network, [spikes[early:] for spikes in trace.spikes])
        cycles = _later(estimate(program, inputs, trace.spikes), early)
        return (replace(trace, spikes=(), membranes=(), readout=trace.readout[early:],
                        classes=trace.classes[early:]), activity, cycles)

    traces, activities, cycles = zip(
        *map(run, _parts(len(samples), _values(network) + _bits(program), PREDICTED_VALUES)),
        strict=True)
    return Prediction(
        network, core, samples, program,
        Trace((), (), np.concatenate([trace.readout for trace in traces]),
              np.concatenate([trace.classes for trace in traces])),
        tuple(reduce(add, layer) for layer in zip(*activities, strict=True)),
        _cycles(cycles))


def _later(estimate: CycleEstimate, first: int) -> CycleEstimate:
    """Return the estimate of the samples from ``first`` on."""
    return replace(
        estimate, cycles=estimate.cycles[first:], bound=estimate.bound[first:],
        layers=tuple(replace(layer, **{field.name: getattr(layer, field.name)[first:]
                                       for field in fields(layer)})
                     for layer in estimate.layers))


def _cycles(parts: tuple[CycleEstimate, ...]) -> CycleEstimate:
    """Put estimates of parts together."""
    def join(name: str, of: tuple) -> np.ndarray:
        return np.concatenate([getattr(each, name) for each in of])

    return replace(
        parts[0], cycles=join("cycles", parts), bound=join("bound", parts),
        layers=tuple(replace(layers[0], **{field.name: join(field.name, layers)
                                           for field in fields(layers[0])})
                     for layers in zip(*(part.layers for part in parts), strict=True)))


def _checked(
    network: IntegerNetwork, samples: Samples, part: range, result: SimulationResult,
) -> tuple[SimulationResult, Comparison, Recorded]:
    """Compare a part with the golden model; return it without its record, and one sample of it."""
    from model.golden import execute
    from sim.compare import compare

    golden = execute(network, samples.inputs[part.start:part.stop], batch=GOLDEN_BATCH)
    closest = _closest(result, samples.labels[part.start:part.stop], part.start)
    return (replace(result, spikes=(), membranes=()),
            compare(network, result, golden, first=part.start), closest)


def _closest(result: SimulationResult, labels: np.ndarray, first: int) -> Recorded:
    """Return the sample whose decision was the closest, of those that are right (or of all)."""
    readout = np.sort(result.readout, axis=1)
    margins = readout[:, -1] - readout[:, -2] if readout.shape[1] > 1 else readout[:, 0]
    right = result.classes == labels
    among = np.flatnonzero(right) if right.any() else np.arange(len(margins))
    at = int(among[np.argmin(margins[among])])
    return Recorded(
        first + at, int(margins[at]), bool(right[at]),
        # Copies: a view would keep the whole part.
        tuple(spikes[at].copy() for spikes in result.spikes),
        tuple(membranes[at].copy() for membranes in result.membranes))


def _joined(parts: tuple[SimulationResult, ...]) -> SimulationResult:
    """Put results of parts together, which have no record any more."""
    cycles = np.concatenate([part.cycles for part in parts])
    return replace(
        parts[0], readout=np.concatenate([part.readout for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        cycles=cycles, total_cycles=int(cycles.sum()))
