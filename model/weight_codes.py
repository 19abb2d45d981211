"""How ternary weights are stored: five to a byte, or a bitmap of what is not 0 and signs.

``docs/network-format.md`` describes the bits.
"""

import math

import numpy as np

from model.network import NetworkError

__all__ = ["pack_sparse", "pack_trits", "sparse_bytes", "trit_bytes", "unpack_sparse",
           "unpack_trits"]

TRITS_PER_BYTE = 5
_PLACES = np.array([1, 3, 9, 27, 81], np.uint8)


def trit_bytes(weights: int) -> int:
    """Return how many bytes so many weights take, five to a byte."""
    return -(-weights // TRITS_PER_BYTE)


def sparse_bytes(weights: int, nonzero: int) -> int:
    """Return how many bytes a bitmap of so many weights takes, with the signs of those not 0."""
    return -(-(weights + nonzero) // 8)


def pack_trits(weights: np.ndarray) -> np.ndarray:
    """Pack -1, 0, +1 five to a byte.

    Byte j is the sum of ``(weight[5j+i] mod 3) * 3^i``, the weights taken in row-major order and
    continued by zeros to a multiple of five.

    Parameters
    ----------
    weights
        int8, any shape.

    Returns
    -------
    np.ndarray
        uint8 (ceil(weights / 5),), each 0..242.
    """
    digits = np.zeros(trit_bytes(weights.size) * TRITS_PER_BYTE, np.uint8)
    digits[:weights.size] = weights.ravel() % 3
    return (digits.reshape(-1, TRITS_PER_BYTE) * _PLACES).sum(axis=1, dtype=np.uint8)


def unpack_trits(packed: np.ndarray, *shape: int) -> np.ndarray:
    """Undo `pack_trits`, giving int8 of that shape.

    Raises
    ------
    NetworkError
        If a byte is above 242, or a weight beyond the last is not 0.
    """
    if packed.max(initial=0) >= 3 ** TRITS_PER_BYTE:
        raise NetworkError(f"holds the byte {packed.max()}", "weights", 3 ** TRITS_PER_BYTE - 1)
    codes = np.arange(3 ** TRITS_PER_BYTE)[:, np.newaxis] // _PLACES % 3
    trits = np.where(codes == 2, -1, codes).astype(np.int8)[packed].ravel()
    weights = math.prod(shape)
    _no_padding(trits[weights:])
    return trits[:weights].reshape(shape)


def pack_sparse(weights: np.ndarray) -> np.ndarray:
    """Pack -1, 0, +1 as a bitmap and signs: 1 + density bits a weight.

    First a bit for each weight in row-major order, set if it is not 0; then a bit for each of those
    that are not, set if it is negative. Bits fill bytes from the lowest; the last byte is filled by
    zeros.

    Parameters
    ----------
    weights
        int8, any shape.

    Returns
    -------
    np.ndarray
        uint8 (ceil((weights + nonzero) / 8),).
    """
    flat = weights.ravel()
    bits = np.concatenate([flat != 0, flat[flat != 0] < 0])
    return np.packbits(bits, bitorder="little")


def unpack_sparse(packed: np.ndarray, nonzero: int, *shape: int) -> np.ndarray:
    """Undo `pack_sparse`, giving int8 of that shape.

    Parameters
    ----------
    packed
        uint8 (ceil((weights + nonzero) / 8),).

    Raises
    ------
    NetworkError
        If the bitmap has not so many bits set, or a bit beyond the last is set.
    """
    bits = np.unpackbits(packed, bitorder="little").astype(bool)
    count = math.prod(shape)
    bitmap, negative = bits[:count], bits[count:count + nonzero]
    if (found := np.count_nonzero(bitmap)) != nonzero:
        raise NetworkError(f"has {found} that are not 0", "weights", nonzero)
    _no_padding(bits[count + nonzero:])
    weights = np.zeros(count, np.int8)
    weights[bitmap] = np.where(negative, -1, 1)
    return weights.reshape(shape)


def _no_padding(rest: np.ndarray) -> None:
    """Raise if what fills the last byte is not 0."""
    if rest.any():
        raise NetworkError("has padding that is not 0", "weights")
