"""Ranges that no input can leave, proven from the weights themselves.

A neuron's counts are at most its weights of each sign times the largest source value, as often as
it sums one; its current follows from them, and its membrane is followed step by step as an interval
through leak, fire and reset. If that interval never leaves the membrane width, no membrane ever
saturates, whatever the input is.
"""

import math
from dataclasses import dataclass

import numpy as np

from model.network import NeuronLayer, Reset, leak

__all__ = ["LayerBounds", "bits_needed", "layer_bounds"]

# Intervals that run away are held here: far beyond any membrane, and sums still fit 64 bits.
_FAR = 1 << 61


@dataclass(frozen=True, eq=False)
class LayerBounds:
    """The proven ranges of one layer, each int64 (outputs,) and inclusive.

    Neurons at the border of a map, where the kernel meets padding, only use a part of them.

    Members
    -------
    plus, minus
        The largest counts P and N, by size: of signed sources they can be as much below 0 as the
        source values are. Both can be 0.
    current_low, current_high
        The current I of one step. Both ends are reached by some source map if all sources have
        the range that the layer was given.
    membrane_low, membrane_high
        The membrane at any step, after leak and current and before saturation, and after the
        reset, if the membranes were wide enough never to saturate. Starts with ``v_init``.
    membrane_bits
        The width that would need no saturation.
    saturates
        Whether that is more than the layer has: only then a membrane may saturate.
    """

    plus: np.ndarray
    minus: np.ndarray
    current_low: np.ndarray
    current_high: np.ndarray
    membrane_low: np.ndarray
    membrane_high: np.ndarray
    membrane_bits: int
    saturates: bool

    def to_dict(self) -> dict[str, int | bool]:
        """Return the extremes over all neurons of the layer."""
        return {
            "plus_max": int(self.plus.max()),
            "minus_max": int(self.minus.max()),
            "current_min": int(self.current_low.min()),
            "current_max": int(self.current_high.max()),
            "membrane_min": int(self.membrane_low.min()),
            "membrane_max": int(self.membrane_high.max()),
            "membrane_bits_needed": self.membrane_bits,
            "saturates": self.saturates,
        }


def bits_needed(low: int, high: int) -> int:
    """Return the smallest two's complement width that holds low..high."""
    return 1 + max(value.bit_length() if value >= 0 else (~value).bit_length()
                   for value in (low, high))


def layer_bounds(
    layer: NeuronLayer, source_max: int, timesteps: int, *, source_min: int = 0,
    static: bool = False,
) -> LayerBounds:
    """Prove the ranges of a layer.

    Parameters
    ----------
    layer
        Its neurons.
    source_max, source_min
        The largest and the smallest value of one element of its sources, with 0 between them.
    timesteps
        Its steps.
    static
        Whether it takes a static input, which its window does not sum.
    """
    sums = math.prod(layer.sum_pool) * (1 if static else layer.window)
    others = tuple(range(1, layer.weights.ndim))
    plus, minus = (sums * np.count_nonzero(layer.weights == sign, axis=others).astype(np.int64)
                   for sign in (1, -1))
    gain_plus, gain_minus = plus * layer.gain_plus, minus * layer.gain_minus
    current_low = layer.bias + source_min * gain_plus - source_max * gain_minus
    current_high = layer.bias + source_max * gain_plus - source_min * gain_minus
    largest = max(source_max, -source_min)

    low = high = np.full(layer.outputs, layer.v_init, np.int64)
    membrane_low, membrane_high = low, high
    for _ in range(timesteps):
        leak_low, leak_high = _leak_range(low, high, layer.leak)
        summed_low = np.maximum(leak_low + current_low, -_FAR)
        summed_high = np.minimum(leak_high + current_high, _FAR)
        stored_low, stored_high = _reset_range(layer, summed_low, summed_high)
        membrane_low = np.minimum(membrane_low, np.minimum(summed_low, stored_low))
        membrane_high = np.maximum(membrane_high, np.maximum(summed_high, stored_high))
        if np.array_equal(stored_low, low) and np.array_equal(stored_high, high):
            break
        low, high = stored_low, stored_high

    bits = bits_needed(int(membrane_low.min()), int(membrane_high.max()))
    return LayerBounds(largest * plus, largest * minus, current_low, current_high, membrane_low,
                       membrane_high, bits, bits > layer.membrane_bits)


def _leak_range(
    low: np.ndarray, high: np.ndarray, shifts: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Return a range that holds the leak of every value of low..high.

    With at most one shift the leak is monotonic. With two, it is a*v plus two fractions of 0 to
    below 1, a >= 0, so that no value of the range is more than 1 beyond the leak of its end.
    """
    margin = 1 if len(shifts) > 1 else 0
    return leak(low, shifts) - margin, leak(high, shifts) + margin


def _reset_range(
    layer: NeuronLayer, low: np.ndarray, high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the range that is stored after firing, from the range before it."""
    if layer.readout is not None:
        return low, high
    # Each side of 0 for itself; the upper one is used where the range reaches it.
    up_low, up_high = _fired_range(layer, np.maximum(low, 0), np.maximum(high, 0))
    if not layer.signed:
        return np.where(low < 0, low, up_low), np.where(high >= 0, up_high, high)
    down_low, down_high = _fired_down_range(layer, np.minimum(low, -1), np.minimum(high, -1))
    return np.where(low < 0, down_low, up_low), np.where(high >= 0, up_high, down_high)


def _fired_range(
    layer: NeuronLayer, low: np.ndarray, high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the range that is stored, from a range of membranes from 0 upwards."""
    threshold = layer.threshold.astype(np.int64)
    soft = layer.reset is Reset.SOFT
    # A hard reset does not ask how often the threshold is reached.
    most = layer.z_max if soft else 1
    counts_low, counts_high = (np.minimum(end // threshold, most) for end in (low, high))
    if soft:
        low, high = low - counts_low * threshold, high - counts_high * threshold
    else:
        low, high = low * (1 - counts_low), high * (1 - counts_high)
    # Between ends of different counts lie a membrane just below the next count, which keeps
    # threshold - 1, and the one at that count, which becomes 0.
    crossed = counts_low < counts_high
    return np.where(crossed, 0, low), np.where(crossed, np.maximum(high, threshold - 1), high)


def _fired_down_range(
    layer: NeuronLayer, low: np.ndarray, high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the range that is stored, from a range of membranes below 0 of a signed layer.

    There a neuron fires by the complement of its membrane, and a soft reset is the complement of
    that above 0. A hard reset ends at 0, not at its complement.
    """
    stored_high, stored_low = (~end for end in _fired_range(layer, ~high, ~low))
    if layer.reset is Reset.SOFT:
        return stored_low, stored_high
    return (np.where(~high >= layer.threshold, 0, stored_low),
            np.where(~low >= layer.threshold, 0, stored_high))
