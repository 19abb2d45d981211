"""Comparison of what the core computed with the golden model, value by value."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from model.network import IntegerNetwork
from sim.run import SimulationResult

__all__ = ["Comparison", "Mismatch", "compare"]


class Golden(Protocol):
    """What the golden model says; :class:`model.golden.Trace` is one."""

    @property
    def spikes(self) -> tuple[np.ndarray, ...]:
        """Spikes, uint8 or int8 (samples, steps, neurons) of each spiking layer."""
        ...

    @property
    def membranes(self) -> tuple[np.ndarray, ...]:
        """Membranes, int32 (samples, steps, neurons) of each layer."""
        ...

    @property
    def readout(self) -> np.ndarray:
        """Results, int64 (samples, outputs)."""
        ...

    @property
    def classes(self) -> np.ndarray:
        """Their argmax, int64 (samples,)."""
        ...


@dataclass(frozen=True, order=True)
class Mismatch:
    """One value that differs.

    Attributes
    ----------
    sample, layer, step, neuron
        Where. A readout belongs to the last layer and the step after the last; a class, too, with
        the expected class as its neuron.
    what
        ``membrane``, ``spike``, ``readout`` or ``class``.
    expected, got
        What the golden model says, and the core.
    """

    sample: int
    layer: int
    step: int
    neuron: int
    what: str
    expected: int
    got: int

    def __str__(self) -> str:
        return (f"sample {self.sample}, layer {self.layer}, step {self.step}, neuron "
                f"{self.neuron}: {self.what} is {self.got}, expected {self.expected}")


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes
    ----------
    mismatches
        Number of values that differ.
    compared
        Number of values.
    first
        The first that differs, by sample, layer, step, neuron; None if all agree.
    """

    mismatches: int = 0
    compared: int = 0
    first: Mismatch | None = None

    def __add__(self, other: "Comparison") -> "Comparison":
        """Return the comparison of the samples of both."""
        firsts = [each.first for each in (self, other) if each.first is not None]
        return Comparison(self.mismatches + other.mismatches, self.compared + other.compared,
                          min(firsts, default=None))


def compare(network: IntegerNetwork, result: SimulationResult, golden: Golden, *,
            first: int = 0) -> Comparison:
    """Compare spikes and membranes (as far as they were recorded), readouts and classes.

    Parameters
    ----------
    first
        Number of the first sample, where these are a part of more.

    Raises
    ------
    ValueError
        If both are not of the same samples and network.
    """
    last = len(network.layers) - 1
    after = network.steps(last)
    pairs = [("membrane", layer, 0, got, golden.membranes[layer])
             for layer, got in enumerate(result.membranes)]
    pairs += [("spike", layer, 0, got, golden.spikes[layer])
              for layer, got in enumerate(result.spikes)]
    pairs.append(("readout", last, after, result.readout[:, None], golden.readout[:, None]))

    mismatches, compared, found = 0, 0, []
    for what, layer, step, got, expected in pairs:
        if got.shape != expected.shape:
            raise ValueError(f"{what} of layer {layer}: the simulation has the shape {got.shape}, "
                             f"the golden model {expected.shape}")
        wrong = got != expected
        mismatches += np.count_nonzero(wrong)
        compared += wrong.size
        if wrong.any():
            at = np.unravel_index(np.argmax(wrong), wrong.shape)
            sample, offset, neuron = map(int, at)
            found.append(Mismatch(first + sample, layer, step + offset, neuron, what,
                                  int(expected[at]), int(got[at])))

    wrong = result.classes != golden.classes
    mismatches += np.count_nonzero(wrong)
    compared += wrong.size
    if wrong.any():
        sample = int(np.argmax(wrong))
        right = int(golden.classes[sample])
        found.append(Mismatch(first + sample, last, after, right, "class", right,
                              int(result.classes[sample])))
    return Comparison(int(mismatches), compared, min(found, default=None))
