"""Counting ones with full adders."""

import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.adder_tree import count_ones
from sim.pysim import simulate


class Counter(wiring.Component):
    """`count_ones` and a register."""

    bits: Signal
    count: Signal

    def __init__(self, width):
        super().__init__({"bits": In(width), "count": Out(width.bit_length() + 1)})

    def elaborate(self, platform):
        m = Module()
        count = count_ones(m, list(self.bits), name="count")
        assert len(count) == len(self.bits).bit_length()
        m.d.sync += self.count.eq(count)
        return m


@pytest.mark.parametrize("width", [*range(1, 21), 31, 32, 63])
def test_count_ones(width):
    """All values of up to 8 bits, random ones and the extremes of more."""
    rng = random.Random(width)
    dut = Counter(width)
    values = (range(1 << width) if width <= 8 else
              [0, (1 << width) - 1, *(rng.getrandbits(width) for _ in range(100))])

    async def testbench(ctx):
        for value in values:
            ctx.set(dut.bits, value)
            await ctx.tick()
            assert ctx.get(dut.count) == value.bit_count()

    simulate(dut, testbench)
