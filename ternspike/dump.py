"""All that the RTL did, as one ``.npz`` file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from model.files import atomic_write

if TYPE_CHECKING:
    from sim.run import SimulationResult

__all__ = ["Dump"]


class Dump:
    """Spikes and membranes of all samples, collected on disk: they need not fit in memory.

    It is a context: what was collected goes when it is left, written or not.

    Parameters
    ----------
    path
        The file to write. What is collected lies in its folder, too, where there must be room.
    samples
        How many there will be.
    """

    def __init__(self, path: Path, samples: int):
        self._path, self._samples = path, samples
        self._arrays: dict[str, np.ndarray] = {}

    def __enter__(self) -> Dump:
        self._folder = tempfile.TemporaryDirectory(
            prefix=f".{self._path.stem}-", dir=self._path.parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._arrays.clear()
        self._folder.cleanup()

    def add(self, first: int, part: SimulationResult) -> None:
        """Collect the samples of a part, of which the first has the number ``first``."""
        for kind, recorded in (("spikes", part.spikes), ("membranes", part.membranes)):
            for number, array in enumerate(recorded):
                name = f"{kind}_{number}"
                if name not in self._arrays:
                    self._arrays[name] = np.memmap(
                        Path(self._folder.name) / name, array.dtype, "w+",
                        shape=(self._samples, *array.shape[1:]))
                self._arrays[name][first:first + len(array)] = array

    def write(self, labels: np.ndarray, simulation: SimulationResult) -> None:
        """Write the file: what was collected, the labels, and the results of all samples."""
        with atomic_write(self._path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file, allow_pickle=False, labels=labels, classes=simulation.classes,
                readout=simulation.readout, cycles=simulation.cycles, **self._arrays)
