"""Run networks on the Verilog of the core, and collect all that it does."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from hw.core import Core
from hw.parameters import CoreParameters
from hw.shapes import ConfigWrite, ReadoutBeat, trace_layout
from mapping.program import Program
from sim.decode import decode_readouts, decode_trace, read_records
from sim.errors import SimulationError
from sim.layout import pack, word_bytes
from sim.process import SimulatorProcess
from sim.testbench import SCRIPT, record_type
from sim.verilator import build, scratch
from sim.waves import write_waves

__all__ = ["SimulationResult", "simulate", "simulate_many"]

# Cycles without any transfer, trace included, that make a hang.
_PATIENCE = 200_000

# The core's module in Verilog.
_TOP = "core"

# Seconds between two looks at how far the simulators are.
_POLL = 0.1


@dataclass(frozen=True)
class SimulationResult:
    """What the core computed for a network's samples, and when.

    Attributes
    ----------
    spikes
        uint8, or int8 if they are signed, (samples, steps, neurons) of each spiking layer, before
        pooling; empty without ``record``.
    membranes
        int32 (samples, steps, neurons) of each layer, as stored after the step, readout included;
        empty without ``record``.
    readout
        int64 (samples, outputs).
    classes
        int64 (samples,): the core's own argmax.
    cycles
        int64 (samples,): from the last result of the sample before to the sample's own last
        result; for the very first sample, from the transfer of its first input beat.
    total_cycles
        Their sum.
    latency_first
        Cycles of the first sample that was run, which does not overlap with any before it.
    seed
        Seed of the stalls.
    """

    spikes: tuple[np.ndarray, ...]
    membranes: tuple[np.ndarray, ...]
    readout: np.ndarray
    classes: np.ndarray
    cycles: np.ndarray
    total_cycles: int
    latency_first: int
    seed: int


def simulate(program: Program, inputs: np.ndarray, *, part: range | None = None, jobs: int = 1,
             record: bool = True, stalls: float = 0.0, seed: int = 1, waves: Path | None = None,
             progress: Callable[[int], None] | None = None, patience: int = _PATIENCE,
             netlist: bool = False) -> SimulationResult:
    """Run samples through the core, with its network loaded over the configuration stream.

    Parameters
    ----------
    program
        The network, compiled for the core.
    inputs
        Integers (samples, inputs) for a static input, (samples, steps, inputs) otherwise.
    part
        Numbers of the samples to run, one after another; all if not given. A result of each part,
        one behind the other, is that of all samples, for those whose traces do not fit in memory.
    jobs
        Simulators that share the samples. All begin one sample early, unless there is none before
        theirs, so that without stalls the results do not depend on ``part`` and ``jobs``, cycles
        included.
    record
        Record every spike and membrane, too.
    stalls
        Share of the cycles, 0 to below 1, in which each end of each stream is unwilling.
    seed
        Seed of the stalls.
    waves
        Where to write a waveform of the part's first sample, see :mod:`sim.waves`.
    progress
        Called with the number of samples of the part that are done, now and then.
    patience
        Cycles without any transfer that make a hang.
    netlist
        Simulate what synthesis for an iCE40 makes of the core, see :func:`sim.verilog.to_netlist`.

    Raises
    ------
    SimulationError
        If the simulator can't be built, fails or hangs, or the core breaks its protocol.
    ValueError
        If an argument is out of range.
    """
    if jobs < 1:
        raise ValueError(f"Number of jobs must be at least 1, not {jobs}")
    part = range(len(inputs)) if part is None else part
    if part.step != 1 or not 0 <= part.start <= part.stop <= len(inputs):
        raise ValueError(f"Part must be a range within the {len(inputs)} samples, not {part}")
    if waves is not None:
        write_waves(program, inputs[part.start:part.start + 1], waves)
    ends = np.linspace(part.start, part.stop, min(jobs, max(1, len(part))) + 1).astype(int)
    shards = [[_Run(program, inputs[max(0, begin - 1):end], int(begin), early=min(1, int(begin)))]
              for begin, end in zip(ends, ends[1:], strict=False)]
    parts = _simulate(shards, record=record, stalls=stalls, seed=seed, patience=patience,
                      progress=progress, netlist=netlist)
    return _joined([part for part, in parts])


def simulate_many(runs: Sequence[tuple[Program, np.ndarray]], *, record: bool = True,
                  stalls: float = 0.0, seed: int = 1,
                  patience: int = _PATIENCE) -> list[SimulationResult]:
    """Run several networks one after the other on one core, which is reset only once.

    Parameters
    ----------
    runs
        Programs, all for the same core, and their inputs.
    record, stalls, seed, patience
        As for :func:`simulate`.

    Raises
    ------
    SimulationError, ValueError
        As for :func:`simulate`.
    """
    results, = _simulate([[_Run(*run) for run in runs]], record=record, stalls=stalls, seed=seed,
                         patience=patience, progress=None)
    return results


class _Run:
    """A program and its samples, as words of the streams.

    The first ``early`` samples bring the core into the state that it would be in, no more.
    """

    def __init__(self, program: Program, inputs: np.ndarray, first: int = 0, *, early: int = 0):
        if len(inputs) <= early:
            raise ValueError("There must be at least one sample to simulate")
        self.program = program
        self.beats = program.pack_inputs(inputs)
        self.samples, self.early = len(self.beats), early
        #: Number of the very first sample in messages.
        self.first = first - early
        #: Words that it gives on the output stream.
        self.results = self.samples * program.network.outputs

    def phases(self) -> Iterator[list[tuple[str, np.ndarray, int]]]:
        """Yield in turn the words of the input streams that go together, and how many times."""
        address, word = np.array(self.program.config_writes(), np.int64).T
        yield [("config", pack(ConfigWrite, {"address": address, "data": word}), 1)]
        samples = [("i", self.beats.reshape(-1, self.beats.shape[-1]), 1)]
        if self.program.streams:
            words = self.program.stream_words().astype("<u4").view(np.uint8).reshape(-1, 4)
            samples.append(("w", words, self.samples))
        yield samples

    def decode(self, results: np.ndarray, trace: np.ndarray | None, begin: int,
               seed: int) -> SimulationResult:
        """Make a result of the records of this run, which began in cycle ``begin``.

        It has nothing of the early samples.
        """
        network, parameters = self.program.network, self.program.parameters
        readouts = decode_readouts(results, parameters, network.outputs, first=self.first)
        spikes, membranes = ((), ()) if trace is None else decode_trace(
            trace, self.program, self.samples, first=self.first)
        all_cycles = np.diff(readouts.last, prepend=begin)
        cycles = all_cycles[self.early:]
        return SimulationResult(
            spikes=tuple(array[self.early:] for array in spikes),
            membranes=tuple(array[self.early:] for array in membranes),
            readout=readouts.values[self.early:], classes=readouts.classes[self.early:],
            cycles=cycles, total_cycles=int(cycles.sum()), latency_first=int(all_cycles[0]),
            seed=seed)


class _Shard:
    """A simulator at work on runs, in a folder of its own."""

    def __init__(self, runs: Sequence[_Run], folder: Path, *, record: bool, stalls: float,
                 seed: int, patience: int, netlist: bool):
        self._runs, self._folder = runs, folder
        self._record, self._seed, self._patience = record, seed, patience
        self._parameters = runs[0].program.parameters
        folder.mkdir()
        phases = []
        for phase in (phase for run in runs for phase in run.phases()):
            for port, words, _ in phase:
                np.save(folder / f"phase{len(phases)}.{port}.npy", words)
            phases.append([(port, times) for port, _, times in phase])
        (folder / "script.json").write_text(json.dumps({
            "phases": phases, "sinks": {"o": sum(run.results for run in runs)},
            "monitors": ["trace"] if record else [],
            "stalls": stalls, "seed": seed, "patience": patience,
        }))
        self.process = SimulatorProcess(
            _simulator(self._parameters, record, netlist), top=_TOP, test_module="sim.testbench",
            folder=folder, seed=seed, environment={SCRIPT: str(folder)})

    @property
    def early(self) -> int:
        """Samples of which nothing is wanted."""
        return sum(run.early for run in self._runs)

    @property
    def done(self) -> int:
        """Samples whose results are there, the early ones too."""
        file = self._folder / "o.records"
        record = record_type(word_bytes(ReadoutBeat(self._parameters))).itemsize
        results = file.stat().st_size // record if file.exists() else 0
        done = 0
        for run in self._runs:
            done += min(run.samples, results // run.program.network.outputs)
            results = max(0, results - run.results)
        return done

    def decode(self) -> list[SimulationResult]:
        """Return what the simulator, which has ended, recorded of each run."""
        self.process.check()
        if (self._folder / "hang").exists():
            self._raise_hang()
        results = read_records(self._folder / "o.records", ReadoutBeat(self._parameters))
        expected = sum(run.results for run in self._runs)
        if len(results) != expected:
            raise SimulationError(f"Output stream: {len(results)} beats where {expected} belong")
        trace = read_records(self._folder / "trace.records",
                             trace_layout(self._parameters)) if self._record else None
        begins = np.load(self._folder / "phases.npy")[1::2]
        decoded = []
        for run, begin in zip(self._runs, begins, strict=True):
            mine, results = np.split(results, [run.results])
            visits = None
            if trace is not None:
                # The last result of a network comes after all its visits.
                end = np.searchsorted(trace["cycle"], mine["cycle"][-1], side="right")
                visits, trace = np.split(trace, [end])
            decoded.append(run.decode(mine, visits, int(begin), self._seed))
        return decoded

    def _raise_hang(self) -> NoReturn:
        """Name the sample that did not come out."""
        done = self.done
        for index, run in enumerate(self._runs):
            if done < run.samples:
                network = f"network {index}, " if len(self._runs) > 1 else ""
                raise SimulationError(
                    f"Core hangs: nothing moved for {self._patience} cycles while {network}"
                    f"sample {run.first + done} was due ({done} of {run.samples} came out; seed "
                    f"{self._seed}), see {self._folder}")
            done -= run.samples
        raise SimulationError(f"Core does not come to rest after the last sample, see "
                              f"{self._folder}")


def _simulate(shards: Sequence[Sequence[_Run]], *, record: bool, stalls: float, seed: int,
              patience: int, progress: Callable[[int], None] | None, netlist: bool = False
              ) -> list[list[SimulationResult]]:
    """Run shards side by side, each its runs one after the other."""
    if not 0 <= stalls < 1:
        raise ValueError(f"Share of stalls must be in 0..1, 1 excluded, not {stalls}")
    with scratch("run") as folder, contextlib.ExitStack() as stack:
        working = []
        for number, runs in enumerate(shards):
            working.append(_Shard(runs, folder / str(number), record=record, stalls=stalls,
                                  seed=seed, patience=patience, netlist=netlist))
            stack.callback(working[-1].process.kill)
        ended = 0
        while ended < len(working):
            running = [shard for shard in working if shard.process.running()]
            for shard in working:
                if shard not in running:
                    shard.process.check()
            ended = len(working) - len(running)
            if progress is not None:
                progress(sum(max(0, shard.done - shard.early) for shard in working))
            if running:
                running[0].process.wait(_POLL)
        return [shard.decode() for shard in working]


def _joined(parts: Sequence[SimulationResult]) -> SimulationResult:
    """Put the results of shards together."""
    first = parts[0]
    cycles = np.concatenate([part.cycles for part in parts])
    return SimulationResult(
        spikes=tuple(map(np.concatenate, zip(*(part.spikes for part in parts), strict=True))),
        membranes=tuple(map(np.concatenate, zip(*(part.membranes for part in parts),
                                                strict=True))),
        readout=np.concatenate([part.readout for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        cycles=cycles, total_cycles=int(cycles.sum()), latency_first=first.latency_first,
        seed=first.seed)


@functools.cache
def _simulator(parameters: CoreParameters, trace: bool, netlist: bool) -> Path:
    """Return the simulator of a core; a process asks the disk for it only once."""
    return build(Core(parameters, trace=trace), name=_TOP, netlist=netlist)
