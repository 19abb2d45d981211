"""The batch testbench: plays words into a design's streams and records what comes out.

It runs inside the simulator and knows neither networks nor layouts. Its *script* is a folder:

* ``script.json``: ``phases``, a list of input streams, played one after the other; ``sinks``,
  the number of words to wait for on each output stream; ``monitors``; ``stalls``, the share of
  the cycles in which each end of each stream is unwilling; ``seed``; ``patience``, cycles
  without any transfer that make a hang.
* ``phase<n>.npy``: the words of phase n, little endian, uint8 (words, bytes).

It leaves ``<port>.records`` for each output stream and monitor, a record of :func:`record_type`
a word; the files grow as it goes, which shows how far it is. At the end, ``phases.npy`` holds the
cycle of each phase's first transfer, and ``hang`` exists if the design got stuck.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import cocotb
import numpy as np

from sim.stream import Bench, Monitor, Sink, Source, always, bernoulli

__all__ = ["FLUSH", "SCRIPT", "record_type"]

#: Environment variable that names the script.
SCRIPT = "TERNSPIKE_SCRIPT"

#: Words that are recorded between two writes to a file.
FLUSH = 128

# Cycles after the last word that must not bring another one.
_AFTERMATH = 64


def record_type(word_bytes: int) -> np.dtype:
    """Return the type of a record: the cycle of the transfer, and the word."""
    return np.dtype([("cycle", "<i8"), ("word", "u1", (word_bytes,))])


class Recorder:
    """Writes what a sink or monitor records to a file."""

    def __init__(self, monitor: Monitor, path: Path):
        self._monitor = monitor
        self._file = path.open("wb", buffering=0)

    def step(self, cycle: int) -> bool:
        """Move the monitor on by a cycle; tell whether a word was transferred."""
        moved = self._monitor.step(cycle)
        if moved and self._monitor.pending >= FLUSH:
            self.flush()
        return moved

    def flush(self) -> None:
        """Write what is pending."""
        if self._monitor.pending:
            cycles, words = self._monitor.take()
            records = np.empty(len(cycles), record_type(words.shape[1]))
            records["cycle"], records["word"] = cycles, words
            self._file.write(records.tobytes())


class Player:
    """Plays the phases, each into its source, one after the other.

    Attributes
    ----------
    first
        Cycle of the first transfer of each phase.
    """

    def __init__(self, sources: dict[str, Source], phases: list[tuple[str, Path]]):
        self._sources = sources
        self._phases = iter(phases)
        self.first: list[int] = []
        self._next()

    def step(self, cycle: int) -> bool:
        """Move the current source on by a cycle; tell whether a word was transferred."""
        if self._current is None:
            return False
        moved = self._current.step(cycle)
        if moved and self._fresh:
            self.first.append(cycle)
            self._fresh = False
        if self._current.done:
            self._next()
        return moved

    def _next(self) -> None:
        self._fresh = True
        self._current: Source | None = None
        for port, path in self._phases:
            self._current = self._sources[port]
            self._current.send(_words(path))
            break


def _words(path: Path) -> Iterator[int]:
    """Yield the words of a phase as integers."""
    for word in np.load(path, mmap_mode="r"):
        yield int.from_bytes(word.tobytes(), "little")


@cocotb.test()
async def play(dut) -> None:
    """Play the script that the environment names."""
    folder = Path(os.environ[SCRIPT])
    script = json.loads((folder / "script.json").read_text())
    rng = random.Random(script["seed"])
    pace = bernoulli(1 - script["stalls"], rng) if script["stalls"] else always

    ports = script["phases"]
    player = Player({port: Source(dut, port, pace=pace) for port in sorted(set(ports))},
                    [(port, folder / f"phase{n}.npy") for n, port in enumerate(ports)])
    sinks = {port: Sink(dut, port, pace) for port in script["sinks"]}
    monitors = {port: Monitor(dut, port) for port in script["monitors"]}
    recorders = [Recorder(monitor, folder / f"{port}.records")
                 for port, monitor in (sinks | monitors).items()]
    wanted = [(sinks[port], count) for port, count in script["sinks"].items()]

    bench = Bench(dut, [player, *recorders])
    await bench.reset()
    complete = await bench.run(
        lambda: all(sink.count >= count for sink, count in wanted), patience=script["patience"])
    if complete:
        await bench.run(lambda: False, patience=_AFTERMATH)
    for recorder in recorders:
        recorder.flush()
    np.save(folder / "phases.npy", np.array(player.first, np.int64))
    if not complete:
        (folder / "hang").write_text(f"cycle {bench.cycle}")
