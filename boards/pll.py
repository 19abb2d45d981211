"""Divisors of a PLL for a wanted frequency. What the families differ in is data."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from boards.errors import BoardError

__all__ = ["PllKind", "PllSetting", "mhz"]

#: How far, in parts of the wanted frequency, the nearest one may be.
TOLERANCE = Fraction(2, 100)


@dataclass(frozen=True)
class PllSetting:
    """How a PLL is set.

    Attributes
    ----------
    reference : :class:`int`
        Frequency of its input in Hz.
    divisor, multiplier, output_divisor : :class:`int`
        Of the reference, in the loop, and between the oscillator and the output.
    detector, vco, output : :class:`~fractions.Fraction`
        Frequencies in Hz, exactly: of the phase detector, the oscillator and the output.
    """

    reference:      int
    divisor:        int
    multiplier:     int
    output_divisor: int
    detector:       Fraction
    vco:            Fraction
    output:         Fraction


@dataclass(frozen=True, kw_only=True)
class PllKind:
    """What the PLLs of a family can do. Frequencies are in Hz, both ends included.

    Attributes
    ----------
    name : :class:`str`
        In messages.
    reference, detector, vco, output : tuple of :class:`int`
        Lowest and highest frequency.
    divisors, multipliers, output_divisors : sequence of :class:`int`
        What there is of each.
    output_in_loop : :class:`bool`
        The loop is closed behind the output divisor, so that the output is the detector's frequency
        times the multiplier. Otherwise that is the oscillator.
    """

    name:            str
    reference:       tuple[int, int]
    detector:        tuple[int, int]
    vco:             tuple[int, int]
    output:          tuple[int, int]
    divisors:        Sequence[int]
    multipliers:     Sequence[int]
    output_divisors: Sequence[int]
    output_in_loop:  bool

    def solve(self, reference: int, wanted: int) -> PllSetting:
        """Return the setting whose output is nearest to ``wanted``.

        Of several, it is the one that compares phases most often, and of these the one whose
        oscillator is farthest from the ends of its range.

        Raises
        ------
        BoardError
            If a frequency is out of range, or none within 2 % of ``wanted`` can be had.
        """
        for what, value, (low, high) in (("reference", reference, self.reference),
                                         ("output", wanted, self.output)):
            if not low <= value <= high:
                raise BoardError(f"{self.name}: {what} of {mhz(value)} is out of range; "
                                 f"it may be {mhz(low)} to {mhz(high)}")
        middle = sum(self.vco) / 2
        best = min(self._settings(reference, wanted), default=None, key=lambda setting: (
            abs(setting.output - wanted), -setting.detector, abs(setting.vco - middle)))
        if best is None or abs(best.output - wanted) > TOLERANCE * wanted:
            nearest = "" if best is None else f"; the nearest it can is {mhz(best.output)}"
            raise BoardError(f"{self.name}: can't make {mhz(wanted)} of {mhz(reference)} with its "
                             f"oscillator at {mhz(self.vco[0])} to {mhz(self.vco[1])}{nearest}")
        return best

    def _settings(self, reference: int, wanted: int) -> Iterator[PllSetting]:
        """Yield the settings within all ranges whose multiplier is next to the ideal one."""
        for divisor in self.divisors:
            detector = Fraction(reference, divisor)
            if not self.detector[0] <= detector <= self.detector[1]:
                continue
            for output_divisor in self.output_divisors:
                behind = 1 if self.output_in_loop else output_divisor
                ideal = wanted * behind // detector
                for multiplier in (ideal, ideal + 1):
                    output = detector * multiplier / behind
                    vco = output * output_divisor
                    if (multiplier in self.multipliers
                            and self.output[0] <= output <= self.output[1]
                            and self.vco[0] <= vco <= self.vco[1]):
                        yield PllSetting(reference, divisor, multiplier, output_divisor,
                                         detector, vco, output)


def mhz(frequency: int | Fraction) -> str:
    """Return a frequency in Hz as MHz, for a message."""
    return f"{float(frequency) / 1e6:.4g} MHz"
