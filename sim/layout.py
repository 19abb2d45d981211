"""Words of a stream as fields and back, by the layout that the hardware itself is made of.

A word is a row of bytes, little endian: bit 0 of the first byte is the first field's lowest bit.
Many words are converted at once, so a value is an array whose first axis counts the words.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

__all__ = ["bits", "pack", "unpack", "word_bytes"]


def word_bytes(shape) -> int:
    """Return the bytes of a word of ``shape``."""
    return -(-Shape.cast(shape).width // 8)


def pack(shape, values: Any) -> np.ndarray:
    """Make words of fields.

    Parameters
    ----------
    shape
        A shape, a struct layout or an array layout.
    values
        Integers (words, ...) for a shape, with one more axis for each array layout, and a mapping
        of field names to such values for a struct.

    Returns
    -------
    numpy.ndarray
        uint8 (words, bytes).

    Raises
    ------
    OverflowError
        If a value does not fit its field.
    """
    planes = _pack_bits(shape, values)
    return np.packbits(planes, axis=-1, bitorder="little")


def unpack(shape, words: np.ndarray) -> Any:
    """Return the fields of ``words``: int64 arrays, in a dictionary for a struct.

    Parameters
    ----------
    shape
        A shape, a struct layout or an array layout.
    words
        uint8 (words, bytes).

    Raises
    ------
    OverflowError
        If a field has more than 63 bits; read it with :func:`bits`.
    """
    return _unpack_bits(shape, bits(words, 0, Shape.cast(shape).width))


def bits(words: np.ndarray, start: int, width: int) -> np.ndarray:
    """Return ``width`` bits of each word, from bit ``start``: uint8 (words, width) of 0 and 1."""
    first = start // 8
    part = np.unpackbits(words[:, first:-(-(start + width) // 8)], axis=1, bitorder="little")
    return part[:, start - 8 * first:start - 8 * first + width]


def _pack_bits(shape, values: Any) -> np.ndarray:
    """Return the bits (..., width) of values (...)."""
    if isinstance(shape, type) and issubclass(shape, data.Struct):
        shape = data.Layout.cast(shape)
    if isinstance(shape, data.StructLayout):
        if not isinstance(values, Mapping) or set(values) != set(shape.members):
            raise TypeError(f"Fields must be {', '.join(shape.members)}, not {values!r}")
        return np.concatenate([_pack_bits(member, values[name])
                               for name, member in shape.members.items()], axis=-1)
    values = np.asarray(values, np.int64)
    if isinstance(shape, data.ArrayLayout):
        elements = _pack_bits(shape.elem_shape, values)
        return elements.reshape(*values.shape[:-1], -1)
    shape = Shape.cast(shape)
    _require_narrow(shape)
    low  = -(1 << shape.width - 1) if shape.signed else 0
    high = low + (1 << shape.width)
    if values.size and not low <= values.min() <= values.max() < high:
        raise OverflowError(f"Values {values.min()}..{values.max()} do not fit {shape!r}")
    return (values[..., None] >> np.arange(shape.width) & 1).astype(np.uint8)


def _unpack_bits(shape, planes: np.ndarray) -> Any:
    """Return the values (...) of bits (..., width)."""
    if isinstance(shape, type) and issubclass(shape, data.Struct):
        shape = data.Layout.cast(shape)
    if isinstance(shape, data.StructLayout):
        values, start = {}, 0
        for name, member in shape.members.items():
            width = Shape.cast(member).width
            values[name] = _unpack_bits(member, planes[..., start:start + width])
            start += width
        return values
    if isinstance(shape, data.ArrayLayout):
        return _unpack_bits(shape.elem_shape,
                            planes.reshape(*planes.shape[:-1], shape.length, -1))
    shape = Shape.cast(shape)
    _require_narrow(shape)
    weights = np.int64(1) << np.arange(shape.width, dtype=np.int64)
    if shape.signed:
        weights[-1] = -weights[-1]
    return planes @ weights


def _require_narrow(shape: Shape) -> None:
    if shape.width > 63:
        raise OverflowError(f"{shape!r} is wider than 63 bits")
