"""What neurons do with one number: leak it, count it into a spike, split the spike into planes."""

from typing import Any, Protocol, TypeVar

import numpy as np

__all__ = ["input_planes", "input_weights", "leak", "level_planes", "level_weights"]


class Shiftable(Protocol):
    """What `leak` needs: integers, NumPy integer arrays and integer tensors have it."""

    def __rshift__(self, other: int, /) -> Any:
        """Shift right arithmetically, rounding down."""
        ...

    def __sub__(self, other: Any, /) -> Any:
        """Subtract."""
        ...


V = TypeVar("V", bound=Shiftable)


def leak(membrane: V, shifts: tuple[int, ...]) -> V:
    """Return ``membrane - (membrane >> k1) - (membrane >> k2)``, shifts rounding down.

    All shifts are of the value before the leak. No shift: no leak.
    """
    leaked = membrane
    for shift in shifts:
        leaked = leaked - (membrane >> shift)
    return leaked


def level_weights(z_max: int, signed: bool = False) -> tuple[int, ...]:
    """Return what each bit plane of counts to z_max is worth, the largest first.

    There are as few planes as can tell the counts apart, and all of them together are worth z_max:
    1, 2, 4, ..., and one for what is left. Then every count is the sum of the planes that taking
    the largest weight that fits, again and again, sets. Signed counts have the same planes once
    more, worth the negative, for what they are below 0.

    Parameters
    ----------
    z_max
        At least 1.
    signed
        Whether the counts are -z_max..z_max instead of 0..z_max.
    """
    weights = [1 << plane for plane in range(z_max.bit_length() - 1)]
    above = tuple(sorted([*weights, z_max - sum(weights)], reverse=True))
    return (*above, *(-weight for weight in above)) if signed else above


def level_planes(counts: np.ndarray, z_max: int, signed: bool = False) -> np.ndarray:
    """Split counts into bit planes of the weights `level_weights`.

    Parameters
    ----------
    counts
        Integers or bool (...), 0..z_max, signed ones -z_max..z_max.

    Returns
    -------
    np.ndarray
        bool (..., planes).
    """
    if signed:
        wide = counts.astype(np.int16)
        halves = (level_planes(np.maximum(half, 0), z_max) for half in (wide, -wide))
        return np.concatenate(list(halves), axis=-1)
    planes = []
    for weight in level_weights(z_max):
        planes.append(counts >= weight)
        counts = np.where(planes[-1], counts - weight, counts)
    return np.stack(planes, axis=-1)


def input_weights(bits: int, signed: bool = False) -> tuple[int, ...]:
    """Return what each bit of an input value is worth, the lowest first, two's complement."""
    weights = [1 << bit for bit in range(bits)]
    if signed:
        weights[-1] = -weights[-1]
    return tuple(weights)


def input_planes(values: np.ndarray, bits: int) -> np.ndarray:
    """Split input values into their bits: integers or bool (...) to bool (..., bits)."""
    return (values[..., np.newaxis].astype(np.int16) >> np.arange(bits) & 1).astype(bool)
