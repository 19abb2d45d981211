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

import contextlib
import json
import os
import random
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import cocotb
import numpy as np

from sim.stream import Bench, Monitor, Sink, Source, always, bernoulli

__all__ = ["SCRIPT", "record_type"]

#: Environment variable that names the script.
SCRIPT = "TERNSPIKE_SCRIPT"

# Cycles between two writes to the files of records.
_SLICE = 5000

# Cycles after the last word that must not bring another one.
_AFTERMATH = 64


def record_type(word_bytes: int) -> np.dtype:
    """Return the type of a record: the cycle of the transfer, and the word."""
    return np.dtype([("cycle", "<i8"), ("word", "u1", (word_bytes,))])


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
    monitors = sinks | {port: Monitor(dut, port) for port in script["monitors"]}
    wanted = [(sinks[port], count) for port, count in script["sinks"].items()]

    def complete() -> bool:
        return all(sink.count >= count for sink, count in wanted)

    bench = Bench(dut, [player, *monitors.values()])
    await bench.reset()
    with contextlib.ExitStack() as stack:
        files = {port: stack.enter_context((folder / f"{port}.records").open("wb", buffering=0))
                 for port in monitors}
        ended = False
        while not ended and bench.cycle - bench.last < script["patience"]:
            ended = await bench.run(complete, cycles=min(_SLICE, script["patience"]))
            _write(monitors, files)
        if ended:
            await bench.run(lambda: False, cycles=_AFTERMATH)
            _write(monitors, files)
    np.save(folder / "phases.npy", np.array(player.first, np.int64))
    if not ended:
        (folder / "hang").touch()


def _write(monitors: dict[str, Monitor], files: dict[str, FileIO]) -> None:
    """Append what was recorded to the files."""
    for port, monitor in monitors.items():
        cycles, words = monitor.take()
        if len(cycles):
            records = np.empty(len(cycles), record_type(words.shape[1]))
            records["cycle"], records["word"] = cycles, words
            files[port].write(records.tobytes())
