"""Population counts as trees of full adders."""
from amaranth import *

__all__ = ["count_ones"]


def count_ones(m: Module, bits, *, name: str) -> Value:
    """Count the ones of ``bits``, combinationally.

    A tree of 3:2 counters (full adders): on LUT4s each bit that vanishes takes two LUTs, which is
    less than a balanced tree of carry-propagate adders or of 4-bit tables takes. ``2**n - 1`` bits
    leave one bit of each weight; other numbers of bits need a short adder at the end.

    Parameters
    ----------
    m : :class:`amaranth.hdl.Module`
        Where the logic is added.
    bits : iterable of 1-bit values
        What is counted.
    name : :class:`str`
        Prefix of the names of the counters' outputs.

    Returns
    -------
    :class:`amaranth.hdl.Value`
        The count, unsigned, ``len(bits).bit_length()`` bits wide.
    """
    bits = list(bits)
    columns = {0: bits}              # by weight
    counters = 0
    while any(len(column) > 2 for column in columns.values()):
        reduced = {}
        for weight, column in sorted(columns.items()):
            whole = len(column) // 3 * 3
            for n in range(0, whole, 3):
                a, b, c = column[n:n + 3]
                total = Signal(name=f"{name}_s{counters}")
                carry = Signal(name=f"{name}_c{counters}")
                counters += 1
                m.d.comb += [total.eq(a ^ b ^ c), carry.eq((a & b) | (c & (a ^ b)))]
                reduced.setdefault(weight, []).append(total)
                reduced.setdefault(weight + 1, []).append(carry)
            reduced.setdefault(weight, []).extend(column[whole:])
        columns = reduced
    first  = Cat(column[0] if column else Const(0, 1) for _, column in sorted(columns.items()))
    second = Cat(column[1] if len(column) > 1 else Const(0, 1)
                 for _, column in sorted(columns.items()))
    if all(len(column) < 2 for column in columns.values()):
        return first[:len(bits).bit_length()]
    return (first + second)[:len(bits).bit_length()]
