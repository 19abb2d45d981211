"""Checks of what a network is made of: each returns the value in its one form, or says why not."""

import enum
from reprlib import repr as short

import numpy as np

__all__ = ["NetworkError", "boolean", "choice", "frozen", "integer", "integers", "pair"]


class NetworkError(ValueError):
    """A network, or the file of one, that is not valid.

    Parameters
    ----------
    what
        What is wrong, with the value found.
    where
        The place: a file, a layer, an array.
    limit
        What would have been right, if a limit was crossed.
    """

    def __init__(self, what: str, where: str = "", limit: object = None):
        super().__init__(what, where, limit)
        self.what = what
        self.where = where
        self.limit = limit

    def __str__(self) -> str:
        """Return one line: place, fault, limit."""
        place = f"{self.where}: " if self.where else ""
        limit = "" if self.limit is None else f" (limit: {self.limit})"
        return f"{place}{self.what}{limit}"


def choice(value: object, kind: type[enum.Enum], where: str) -> None:
    """Raise unless ``value`` is a member of the enumeration."""
    if not isinstance(value, kind):
        raise NetworkError(f"is {short(value)}", where, f"a member of {kind.__name__}")


def boolean(value: object, where: str) -> bool:
    """Return ``value`` as a Python bool."""
    if not isinstance(value, bool | np.bool_):
        raise NetworkError(f"is {short(value)}", where, "True or False")
    return bool(value)


def integer(value: object, where: str, low: int, high: int) -> int:
    """Return ``value`` as a Python integer of low..high."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise NetworkError(f"is {short(value)}", where, f"an integer of {low}..{high}")
    if not low <= value <= high:
        raise NetworkError(f"is {short(value)}", where, f"{low}..{high}")
    return int(value)


def pair(value: object, where: str, low: int, high: int) -> tuple[int, int]:
    """Return ``value`` as two Python integers of low..high, of the height and of the width."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise NetworkError(f"is {short(value)}", where, "a height and a width")
    height, width = (integer(each, where, low, high) for each in value)
    return height, width


def integers(value: object, where: str, low: int, high: int) -> np.ndarray:
    """Return ``value`` as an array whose elements are integers of low..high."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise NetworkError(f"has type {array.dtype}", where, "integers")
    if array.size:
        for extreme in (int(array.min()), int(array.max())):
            if not low <= extreme <= high:
                raise NetworkError(f"holds {extreme}", where, f"{low}..{high}")
    return array


def frozen(array: np.ndarray, dtype: type[np.integer]) -> np.ndarray:
    """Return a private copy of the array that can't be written."""
    copy = np.array(array, dtype=dtype, order="C", copy=True)
    copy.setflags(write=False)
    return copy
