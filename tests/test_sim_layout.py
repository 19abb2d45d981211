# amaranth: UnusedElaboratable=no
"""Words of streams, against Amaranth's own packing."""

import random

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from sim.layout import bits, pack, unpack, word_bytes

PAIR = data.StructLayout({"tag": unsigned(3), "value": signed(6)})

LAYOUT = data.StructLayout({
    "tag":   unsigned(3),
    "value": signed(20),
    "lanes": data.ArrayLayout(signed(5), 3),
    "flag":  1,
})


def _random_fields(rng: random.Random) -> dict:
    return {
        "tag":   rng.randrange(8),
        "value": rng.choice([-(1 << 19), -1, 0, (1 << 19) - 1, rng.randrange(1 << 19)]),
        "lanes": [rng.randrange(-16, 16) for _ in range(3)],
        "flag":  rng.randrange(2),
    }


def test_agrees_with_amaranth():
    rng = random.Random(1)
    cases = [_random_fields(rng) for _ in range(100)]
    words = pack(LAYOUT, {name: np.array([case[name] for case in cases]) for name in cases[0]})
    assert words.shape == (100, word_bytes(LAYOUT)) == (100, 5)
    assert words.dtype == np.uint8
    assert [int.from_bytes(word.tobytes(), "little") for word in words] == \
        [LAYOUT.const(case).as_bits() for case in cases]

    fields = unpack(LAYOUT, words)
    for name in LAYOUT.members:
        np.testing.assert_array_equal(fields[name], [case[name] for case in cases])


def test_small_struct_and_plain_shape():
    words = pack(PAIR, {"tag": [5, 0], "value": [-32, 31]})
    assert [int.from_bytes(word.tobytes(), "little") for word in words] == [0b100000101, 0b11111000]
    assert unpack(PAIR, words)["value"].tolist() == [-32, 31]
    assert unpack(signed(4), pack(signed(4), [-8, 7])).tolist() == [-8, 7]


def test_bits_of_a_wide_field():
    word = np.arange(16, dtype=np.uint8)[None]
    value = int.from_bytes(word.tobytes(), "little")
    assert bits(word, 5, 90)[0].tolist() == [value >> n & 1 for n in range(5, 95)]


@pytest.mark.parametrize("value", [-9, 8])
def test_value_that_does_not_fit(value):
    with pytest.raises(OverflowError, match=r"Values -?\d\.\.-?\d do not fit signed\(4\)"):
        pack(signed(4), [value])


def test_wide_shape():
    with pytest.raises(OverflowError, match=r"unsigned\(64\) is wider than 63 bits"):
        unpack(unsigned(64), np.zeros((1, 8), np.uint8))


def test_wrong_fields():
    with pytest.raises(TypeError, match=r"Fields must be tag, value, not"):
        pack(PAIR, {"tag": [1]})
