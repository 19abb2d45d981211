"""What a core costs on an ECP5, estimated from its parameters before anything is placed.

The LUTs (nextpnr's COMB) are a sum over five components. How each grows with the parameters
follows from its structure; its size was measured by synthesis of the component alone. Where whole
cores have been placed, a factor near 1 for each component is fitted to them, so that the estimate
between and around the placed shapes is better than either source alone.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hw.parameters import CoreParameters

__all__ = ["COMPONENTS", "AreaModel", "block_rams", "components", "fit", "multipliers"]

#: Names of the components in the order of :func:`components`.
COMPONENTS = ("counters", "neuron units", "event queues", "shadow multiplexers", "control")

#: COMB of a neuron unit, of a bank's queue of rows of 18 bits, and of what there is only once.
_UNIT, _QUEUE, _CONTROL = 320, 125, 1200
_QUEUE_BITS = 18
#: COMB to choose one more shadow register, a bit.
_SELECT = 0.66
#: Weight of "the factor is 1" beside one placed core's relative error.
_TRUST = 0.1


def components(p: CoreParameters) -> np.ndarray:
    """Return the COMB of each component, float (5,), before any factor."""
    # A population count of n bits, its carry and its accumulator: a full adder takes two LUTs.
    bits = p.banks - 1
    counter = 2 * (bits - bits.bit_length()) + p.count_width
    lanes = p.lanes * p.planes
    return np.array([
        2 * lanes * counter,
        _UNIT * p.neurons,
        _QUEUE * p.banks * (p.scan * p.planes + 10) / _QUEUE_BITS,
        _SELECT * 2 * p.count_width * (lanes - p.neurons),
        _CONTROL,
    ], float)


@dataclass(frozen=True)
class AreaModel:
    """Factors for the components, and how well they fit the cores that were placed.

    Parameters
    ----------
    factors : tuple of float
        One for each of :data:`COMPONENTS`.
    errors : dict of float
        Relative error of the estimate for each placed core; empty if there was none.
    """

    factors: tuple[float, ...] = (1.0,) * len(COMPONENTS)
    errors: dict[str, float] = field(default_factory=dict)

    def comb(self, p: CoreParameters) -> int:
        """Return the COMB of a core."""
        return round(float(components(p) @ np.array(self.factors)))


def fit(placed: Sequence[tuple[str, CoreParameters, int]]) -> AreaModel:
    """Fit the factors to placed cores, by least squares of relative errors.

    Every factor is also pulled to 1, so that a few cores that differ in a few parameters do not
    decide what they say nothing about.

    Parameters
    ----------
    placed : sequence of (name, parameters, COMB)
    """
    if not placed:
        return AreaModel()
    shares = np.array([components(p) / comb for _, p, comb in placed])
    pull = math.sqrt(_TRUST) * np.eye(len(COMPONENTS)) * shares.mean()
    left = np.concatenate([shares, pull])
    right = np.concatenate([np.ones(len(placed)), pull.sum(axis=1)])
    factors = np.linalg.lstsq(left, right, rcond=None)[0]
    return AreaModel(tuple(map(float, factors)), {
        name: float(share @ factors) - 1
        for (name, _, _), share in zip(placed, shares, strict=True)})


def block_rams(p: CoreParameters, weight_rows: int, gain_rows: int, neuron_rows: int) -> int:
    """Return the DP16KD that memories of so many rows take.

    One is 512 words of 36 bits, of which 32 serve where bytes are written on their own. The
    two programs and the readout's sums take three of them in all presets.
    """
    def blocks(width: int, rows: int) -> int:
        return math.ceil(width / 32) * math.ceil(max(rows, 1) / 512)

    parameters = ((2 * p.gain_width, gain_rows), (p.current_width, neuron_rows),
                  (p.membrane_width, neuron_rows))
    return (p.banks * blocks(2 * p.lanes, weight_rows)
            + blocks(p.row_width * p.planes, p.spike_depth)
            + sum(blocks(8 * math.ceil(width / 8) * p.neurons, rows) for width, rows in parameters)
            + p.block_currents * p.neurons
            + 3)


def multipliers(p: CoreParameters) -> int:
    """Return the MULT18X18D: two gains a neuron unit."""
    return 2 * p.neurons
