"""Maps of spikes in the spike memory: which bit is which neuron's."""
from dataclasses import dataclass

import numpy as np

__all__ = ["SpikeMap", "ceil_div"]


def ceil_div(value: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-value // divisor)


@dataclass(frozen=True)
class SpikeMap:
    """The spikes of a layer, or the input, on one core.

    Pixels lie one after the other, line by line, each with its channels; a *column* is ``banks``
    of these bits, and a row of the spike memory ``scan`` columns of ``planes`` planes.

    Attributes
    ----------
    channels, height, width : :class:`int`
        What is stored.
    pixel : :class:`int`
        Bits from a pixel to the next: its channels, padded.
    pitch : :class:`int`
        Columns from a line to the next; those behind the last pixel may hold anything.
    steps : :class:`int`
        Steps that are stored; one of a static input.
    coding : tuple of :class:`int`
        What the bit planes of a step are worth.
    groups, last_planes : :class:`int`
        Groups of ``planes`` planes in all steps, and planes of the last one.
    rows : :class:`int`
        Rows of a group of planes.
    base : :class:`int`
        First row.
    """

    channels: int
    height: int
    width: int
    pixel: int
    pitch: int
    steps: int
    coding: tuple[int, ...]
    groups: int
    last_planes: int
    rows: int
    base: int = 0

    @property
    def columns(self) -> int:
        """Columns of a plane."""
        return self.height * self.pitch

    def line_columns(self, banks: int) -> int:
        """Return the columns of a line that hold pixels."""
        return ceil_div(self.width * self.pixel, banks)

    def bits(self, banks: int) -> np.ndarray:
        """Return the place of each neuron's bit in a plane: int64 ``(channels, height, width)``."""
        channel, y, x = np.ogrid[:self.channels, :self.height, :self.width]
        return y * self.pitch * banks + x * self.pixel + channel

    def placed(self, planes: np.ndarray, banks: int) -> np.ndarray:
        """Place bit planes as they lie in the memory.

        Parameters
        ----------
        planes
            ``(..., neurons)``, neurons in the order channel, line, pixel.

        Returns
        -------
        ``(..., columns * banks)`` of the same type.
        """
        placed = np.zeros((*planes.shape[:-1], self.columns * banks), planes.dtype)
        placed[..., self.bits(banks).ravel()] = planes
        return placed
