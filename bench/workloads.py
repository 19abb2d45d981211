"""Workloads that published accelerators were measured with: exact activity, random weights."""
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout

__all__ = ["WORKLOADS", "Workload", "synaptic_operations"]

#: A ternary weight is each of these with probability 1/4.
_WEIGHTS = (-1, 0, 0, 1)


@dataclass(frozen=True)
class Workload:
    """A dense network and input spikes of which exactly a given number fall in each step.

    The peers count one layer. Our core ends a sample with a readout, so a second layer of ten
    neurons follows; its cycles are counted, its synaptic operations are not.

    Parameters
    ----------
    name : str
    sizes : tuple of int
        Inputs, hidden neurons, readout neurons.
    timesteps : int
    spikes : dict of int
        Spikes a step, by activity in percent.
    threshold : int
        Of the hidden neurons (gains 1, bias 0, leak v/16, soft reset). Chosen so that about a
        tenth of them fire in a step at 10 % input activity.
    """

    name: str
    sizes: tuple[int, ...]
    timesteps: int
    spikes: dict[int, int]
    threshold: int

    @property
    def arch(self) -> str:
        """The sizes, as ``256-256-10``."""
        return "-".join(map(str, self.sizes))

    def network(self, seed: int) -> IntegerNetwork:
        """Return the network, P(-1) = P(+1) = 1/4 for every weight."""
        rng = np.random.default_rng([seed, *self.sizes])
        layers = []
        for number, (inputs, outputs) in enumerate(pairwise(self.sizes)):
            last = number == len(self.sizes) - 2
            ones = np.ones(outputs, np.int32)
            layers.append(DenseLayer(
                weights=rng.choice(_WEIGHTS, (outputs, inputs)).astype(np.int8),
                gain_plus=ones, gain_minus=ones, bias=0 * ones,
                threshold=ones * (0 if last else self.threshold), leak=(4,), membrane_bits=16,
                readout=Readout.LAST if last else None))
        return IntegerNetwork(input=InputCoding.SPIKES, input_bits=1, timesteps=self.timesteps,
                              layers=tuple(layers))

    def samples(self, percent: int, count: int, seed: int) -> np.ndarray:
        """Return input spikes, uint8 (count, timesteps, inputs)."""
        rng = np.random.default_rng([seed, percent, *self.sizes])
        spikes = np.zeros((count, self.timesteps, self.sizes[0]), np.uint8)
        spikes[..., :self.spikes[percent]] = 1
        return rng.permuted(spikes, axis=-1)


def synaptic_operations(weights: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Count (spike, target neuron) pairs with a non-zero weight.

    Parameters
    ----------
    weights : integer array (outputs, inputs)
    spikes : array (samples, steps, inputs) of 0 and 1

    Returns
    -------
    int64 (samples,)
    """
    fan_out = np.count_nonzero(weights, axis=0)
    return spikes.sum(axis=1, dtype=np.int64) @ fan_out


#: W1 and W2 of the comparison: 5, 10 and 20 % of the inputs spike in each step.
WORKLOADS = (
    Workload("W1", (256, 256, 10), 10, {5: 13, 10: 26, 20: 51}, threshold=7),
    Workload("W2", (784, 128, 10), 11, {5: 39, 10: 78, 20: 157}, threshold=11),
)
