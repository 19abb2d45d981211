"""The batch testbench: plays words into a design's streams and records what comes out.

It runs inside the simulator and knows neither networks nor layouts. Its *script* is a folder:

* ``script.json``: ``phases``, played one after the other, each a list of input streams that are
  played side by side, as ``[port, times]``; ``sinks``,
  the number of words to wait for on each output stream; ``monitors``; ``stalls``, the share of
  the cycles in which each end of each stream is unwilling; ``seed``; ``patience``, cycles
  without any transfer that make a hang.
* ``phase<n>.<port>.npy``: the words of phase n, played so many times, little endian, uint8
  (words, bytes).

It leaves ``<port>.records`` for each output stream and monitor, a record of :func:`record_type`
a word; the files grow as it goes, which shows how far it is. At the end, ``phases.npy`` holds the
cycle of the first transfer of each phase's first stream, and ``hang`` exists if the design got
stuck.
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
    """Plays the phases one after the other, each into its sources.

    Parameters
    ----------
    sources
        By port.
    phases
        Of each: port, file of words, and how many times they are played.

    Attributes
    ----------
    first
        Cycle of the first transfer of each phase's first source.
    """

    def __init__(self, sources: dict[str, Source], phases: list[list[tuple[str, Path, int]]]):
        self._sources = sources
        self._phases = iter(phases)
        self.first: list[int] = []
        self._next()

    def step(self, cycle: int) -> bool:
        """Move the current sources on by a cycle; tell whether a word was transferred."""
        moved = [source.step(cycle) for source in self._current]
        if self._fresh and moved and moved[0]:
            self.first.append(cycle)
            self._fresh = False
        if all(source.done for source in self._current):
            self._next()
        return any(moved)

    def _next(self) -> None:
        self._fresh = True
        self._current: list[Source] = []
        for port, path, times in next(self._phases, ()):
            self._sources[port].send(_words(path, times))
            self._current.append(self._sources[port])


def _words(path: Path, times: int) -> Iterator[int]:
    """Yield the words of a file as integers, over and over."""
    words = np.load(path, mmap_mode="r")
    for _ in range(times):
        for word in words:
            yield int.from_bytes(word.tobytes(), "little")


@cocotb.test()
async def play(dut) -> None:
    """Play the script that the environment names."""
    folder = Path(os.environ[SCRIPT])
    script = json.loads((folder / "script.json").read_text())
    rng = random.Random(script["seed"])
    pace = bernoulli(1 - script["stalls"], rng) if script["stalls"] else always

    phases = [[(port, folder / f"phase{n}.{port}.npy", times) for port, times in phase]
              for n, phase in enumerate(script["phases"])]
    ports = {port for phase in phases for port, *_ in phase}
    player = Player({port: Source(dut, port, pace=pace) for port in sorted(ports)}, phases)
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
