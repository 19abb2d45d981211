# amaranth: UnusedElaboratable=no
"""A serial line, bit by bit."""

import random

import pytest
from amaranth import *

from hw.uart import BREAK_BITS, UartReceiver, UartTransmitter
from sim.pysim import simulate, stream_get, stream_get_all, stream_put_all


async def send(ctx, rx, byte, divisor, *, stop=1):
    """Put a byte on the line; ``divisor`` may be a fraction."""
    time = 0.0
    for bit in (0, *(byte >> n & 1 for n in range(8)), stop):
        ctx.set(rx, bit)
        before, time = round(time), time + divisor
        await ctx.tick().repeat(round(time) - before)


def receiver(divisor, first=104):
    dut = UartReceiver(first)

    async def setup(ctx):
        ctx.set(dut.rx, 1)
        ctx.set(dut.divisor, divisor)
        await ctx.tick().repeat(4)

    return dut, setup


def watch(dut, log, done):
    """Return a testbench that counts the pulses of ``error`` and ``overrun``."""
    async def run(ctx):
        while not done:
            log["error"]   += ctx.get(dut.error)
            log["overrun"] += ctx.get(dut.overrun)
            await ctx.tick()
    return run


@pytest.mark.parametrize(("divisor", "skew"), [
    (4, 1.0), (5, 1.0), (7, 1.0), (16, 1.0), (16, 0.97), (16, 1.03), (104, 0.97), (104, 1.03)])
def test_receiver(divisor, skew):
    """Bytes arrive back to back, also where the other end's clock is 3 % off."""
    dut, setup = receiver(divisor)
    seed = 3
    print(f"seed {seed}")
    data = [0, 255, 0x55, 0xAA, *random.Random(seed).randbytes(12)]

    async def line(ctx):
        await setup(ctx)
        for byte in data:
            await send(ctx, dut.rx, byte, divisor * skew)

    async def read(ctx):
        assert await stream_get_all(ctx, dut.o, len(data)) == data

    simulate(dut, line, read)


def test_a_byte_that_is_not_taken_stays_and_the_next_is_lost():
    divisor = 8
    dut, setup = receiver(divisor)
    log, done = {"error": 0, "overrun": 0}, []

    async def line(ctx):
        await setup(ctx)
        for byte in (0x12, 0x34):
            await send(ctx, dut.rx, byte, divisor)
        await ctx.tick().repeat(10)
        assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload)) == (1, 0x12)
        assert log == {"error": 0, "overrun": 1}
        assert await stream_get(ctx, dut.o) == 0x12
        await ctx.tick().repeat(100)
        assert not ctx.get(dut.o.valid)
        # Taken in the middle of the next one: nothing is lost.
        await send(ctx, dut.rx, 0x56, divisor)
        ctx.set(dut.rx, 0)
        await ctx.tick().repeat(3 * divisor)
        assert await stream_get(ctx, dut.o) == 0x56
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(7 * divisor)
        assert await stream_get(ctx, dut.o) == 0xFC
        assert log == {"error": 0, "overrun": 1}
        await send(ctx, dut.rx, 0x78, divisor)
        assert await stream_get(ctx, dut.o) == 0x78
        done.append(1)

    simulate(dut, line, watch(dut, log, done))


def test_no_stop_bit():
    """The byte is dropped, and no other is seen in what follows before the line is high."""
    divisor = 8
    dut, setup = receiver(divisor)
    log, done = {"error": 0, "overrun": 0}, []

    async def line(ctx):
        await setup(ctx)
        await send(ctx, dut.rx, 0x12, divisor, stop=0)
        await ctx.tick().repeat(15 * divisor)
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(15 * divisor)
        assert not ctx.get(dut.o.valid)
        assert log == {"error": 1, "overrun": 0}
        await send(ctx, dut.rx, 0x34, divisor)
        assert await stream_get(ctx, dut.o) == 0x34
        done.append(1)

    simulate(dut, line, watch(dut, log, done))


def test_a_spike_is_no_start_bit():
    divisor = 16
    dut, setup = receiver(divisor)

    async def line(ctx):
        await setup(ctx)
        for width in (1, 3, 7):
            ctx.set(dut.rx, 0)
            await ctx.tick().repeat(width)
            ctx.set(dut.rx, 1)
            await ctx.tick().repeat(12 * divisor)
            assert not ctx.get(dut.o.valid)
        await send(ctx, dut.rx, 0x9A, divisor)
        assert await stream_get(ctx, dut.o) == 0x9A

    simulate(dut, line)


@pytest.mark.parametrize("first", [4, 9, 16, 31])
def test_break(first):
    """More than 32 bits of the first speed, at whatever speed the line is."""
    dut, setup = receiver(7, first)
    seen = []

    async def line(ctx):
        await setup(ctx)
        for width in (BREAK_BITS * first, BREAK_BITS * first + 1, 3 * BREAK_BITS * first):
            ctx.set(dut.rx, 0)
            found = 0
            for _ in range(width):
                await ctx.tick()
                found |= ctx.get(dut.line_break)
            ctx.set(dut.rx, 1)
            for _ in range(5):
                await ctx.tick()
                found |= ctx.get(dut.line_break)
            assert not ctx.get(dut.line_break)
            assert not ctx.get(dut.o.valid)
            seen.append(found)
            await ctx.tick().repeat(100)

    simulate(dut, line)
    assert seen == [0, 1, 1]


@pytest.mark.parametrize("divisor", [4, 5, 104])
def test_transmitter(divisor):
    """Start bit, data and stop bit of so many cycles each; then it is ready."""
    dut = UartTransmitter()
    data = [0x00, 0xFF, 0xA5]

    async def testbench(ctx):
        ctx.set(dut.divisor, divisor)
        await ctx.tick().repeat(5)
        for byte in data:
            assert ctx.get(dut.tx) and ctx.get(dut.i.ready)
            await stream_put_all(ctx, dut.i, [byte])
            for bit in (0, *(byte >> n & 1 for n in range(8)), 1):
                for _ in range(divisor):
                    assert ctx.get(dut.tx) == bit
                    assert not ctx.get(dut.i.ready)
                    await ctx.tick()

    simulate(dut, testbench)


class Loop(Elaboratable):
    """A transmitter and a receiver on one line."""

    def __init__(self):
        self.transmitter, self.receiver = UartTransmitter(), UartReceiver(50)
        self.divisor = Signal(16, init=50)

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = transmitter = self.transmitter
        m.submodules.receiver    = receiver    = self.receiver
        m.d.comb += [
            receiver.rx.eq(transmitter.tx),
            receiver.divisor.eq(self.divisor),
            transmitter.divisor.eq(self.divisor),
        ]
        return m


def test_the_speed_may_change_while_the_transmitter_is_ready():
    dut = Loop()
    speeds = [50, 4, 300, 17]

    async def testbench(ctx):
        for divisor in speeds:
            ctx.set(dut.divisor, divisor)
            await stream_put_all(ctx, dut.transmitter.i, [0xC3])
            assert await stream_get(ctx, dut.receiver.o) == 0xC3
            await ctx.tick().until(dut.transmitter.i.ready)

    simulate(dut, testbench)


@pytest.mark.parametrize(("divisor", "error", "message"), [
    (3, ValueError, r"Cycles a bit must be in 4\.\.65535, not 3"),
    (1 << 16, ValueError, r"Cycles a bit must be in 4\.\.65535, not 65536"),
    (4.0, TypeError, r"Cycles a bit must be an integer, not 4\.0"),
])
def test_wrong_divisors(divisor, error, message):
    with pytest.raises(error, match=message):
        UartReceiver(divisor)
