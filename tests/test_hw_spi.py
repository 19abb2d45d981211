"""An SPI peripheral, edge by edge."""

import random

import pytest

from hw.spi import SpiPeripheral
from sim.pysim import simulate, stream_get, stream_get_all, stream_put_all

END = 0xC0


class Controller:
    """The other end: ``half`` cycles for each half of its clock."""

    def __init__(self, dut, half):
        self.dut, self.half = dut, half

    async def start(self, ctx):
        """Deselect, until that is seen."""
        ctx.set(self.dut.cs, 1)
        await ctx.tick().repeat(4)

    async def select(self, ctx, selected=True):
        ctx.set(self.dut.cs, not selected)
        await ctx.tick().repeat(self.half)

    async def exchange(self, ctx, byte, bits=8):
        """Return what comes while ``byte`` goes out."""
        found = 0
        for bit in range(bits):
            ctx.set(self.dut.copi, byte >> 7 - bit & 1)
            await ctx.tick().repeat(self.half)
            found = found << 1 | ctx.get(self.dut.cipo)
            ctx.set(self.dut.sclk, 1)
            await ctx.tick().repeat(self.half)
            ctx.set(self.dut.sclk, 0)
        return found


@pytest.mark.parametrize("half", [4, 5, 11])
def test_both_directions(half):
    dut = SpiPeripheral()
    controller = Controller(dut, half)
    seed = 4
    print(f"seed {seed}")
    rng = random.Random(seed)
    sent, answers = list(rng.randbytes(20)), [byte | 1 for byte in rng.randbytes(12)]
    found = []

    async def run(ctx):
        await controller.start(ctx)
        await controller.select(ctx)
        assert ctx.get(dut.selected)
        for byte in sent:
            found.append(await controller.exchange(ctx, byte))
        await controller.select(ctx, False)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.selected)

    async def feed(ctx):
        await stream_put_all(ctx, dut.i, answers[:5])
        await ctx.tick().repeat(9 * half)
        await stream_put_all(ctx, dut.i, answers[5:])

    async def read(ctx):
        assert await stream_get_all(ctx, dut.o, len(sent)) == sent

    simulate(dut, run, feed, read)
    assert [byte for byte in found if byte != END] == answers
    assert found.count(END) == len(sent) - len(answers)


def test_a_part_of_a_byte_is_dropped_and_what_went_out_is_sent_again():
    dut = SpiPeripheral()
    controller = Controller(dut, 4)
    found = []

    async def run(ctx):
        await controller.start(ctx)
        for bits in (1, 3, 7):
            await controller.select(ctx)
            await controller.exchange(ctx, 0xFF, bits)
            await controller.select(ctx, False)
        await controller.select(ctx)
        for byte in (0x12, 0x34):
            found.append(await controller.exchange(ctx, byte))
            # Between two bytes nothing is lost.
            await controller.select(ctx, False)
            await controller.select(ctx)

    async def feed(ctx):
        await stream_put_all(ctx, dut.i, [0x56, 0x79])

    async def read(ctx):
        assert await stream_get_all(ctx, dut.o, 2) == [0x12, 0x34]

    simulate(dut, run, feed, read)
    assert found == [0x56, 0x79]


def test_a_byte_that_is_not_taken_stays_and_the_next_is_lost():
    dut = SpiPeripheral()
    controller = Controller(dut, 4)
    lost = []

    async def run(ctx):
        await controller.start(ctx)
        await controller.select(ctx)
        for byte in (0x12, 0x34):
            await controller.exchange(ctx, byte)
        assert await stream_get(ctx, dut.o) == 0x12
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.o.valid)
        await controller.exchange(ctx, 0x56)
        assert await stream_get(ctx, dut.o) == 0x56
        lost.append(None)

    async def watch(ctx):
        while None not in lost:
            if ctx.get(dut.overrun):
                lost.append(1)
            await ctx.tick()

    simulate(dut, run, watch)
    assert lost == [1, None]


def test_ready_where_nothing_is_offered():
    """Who has been sent all says so, even if the clock rests."""
    dut = SpiPeripheral()

    async def testbench(ctx):
        assert ctx.get(dut.i.ready)
        ctx.set(dut.i.valid, 1)
        for _ in range(9):
            assert not ctx.get(dut.i.ready)
            await ctx.tick()

    simulate(dut, testbench)
