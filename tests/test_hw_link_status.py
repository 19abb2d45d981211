"""The bytes of the answer to STATUS, as they come round."""

from amaranth import *

from hw.link_status import LinkStatus
from sim.pysim import simulate


class Counting(Elaboratable):
    """Counters that have work in every cycle; samples come in every other one, and only then."""

    def __init__(self):
        self.dut = LinkStatus(300)
        self.run = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        odd = Signal()
        m.d.sync += odd.eq(~odd & self.run)
        m.d.comb += [dut.busy.eq(self.run), dut.sample.eq(odd & self.run)]
        return m


async def words(ctx, dut) -> list[int]:
    """Return the words of one round, which begins after the cycle."""
    while ctx.get(dut.slot) != 12:
        await ctx.tick()
    found = bytearray()
    for _ in range(16):
        if ctx.get(dut.slot) >= 12 or ctx.get(dut.slot) < 8:
            found.append(ctx.get(dut.byte))
        await ctx.tick()
    return [int.from_bytes(found[at:at + 4], "little") for at in (0, 4, 8)]


def test_counters():
    """Each counts all that there is, wraps around, and gives nothing to the next."""
    bench = Counting()
    dut = bench.dut

    async def testbench(ctx):
        assert await words(ctx, dut) == [0, 0, 0]
        ctx.set(dut.idle, 1)
        ctx.set(dut.waiting, 299)
        cycles = 0
        for count in (1, 7, 16, 250, 3000, 129_000):
            ctx.set(bench.run, 1)
            await ctx.tick().repeat(count)
            ctx.set(bench.run, 0)
            cycles += count
            await ctx.tick()
            ctx.set(dut.refused, 1)
            await ctx.tick()
            ctx.set(dut.refused, 0)
            await words(ctx, dut)
            found = await words(ctx, dut)
            assert found[0] == 299 << 16 | 1
            assert found[1] == cycles
        # From each run the whole half.
        samples = sum(count // 2 for count in (1, 7, 16, 250, 3000, 129_000))
        assert samples > 1 << 16
        assert found[2] == samples % (1 << 16) | 6 << 16
        ctx.set(dut.clear, 1)
        await ctx.tick().repeat(2 * LinkStatus.round_cycles)
        ctx.set(dut.clear, 0)
        ctx.set(dut.loaded, 1)
        await words(ctx, dut)
        assert await words(ctx, dut) == [299 << 16 | 3, 0, 0]

    simulate(bench, testbench, max_cycles=200_000)
