"""Helpers for Amaranth's own simulator, for unit tests of single blocks."""

import random
from collections.abc import Iterable
from pathlib import Path

from amaranth.sim import Simulator

__all__ = ["simulate", "stream_get", "stream_put", "stream_put_all", "stream_get_all"]

_PERIOD = 1e-8  # seconds; Amaranth's simulator counts time, its users count cycles


async def stream_put(ctx, stream, payload) -> None:
    """Offer ``payload`` (an integer or a mapping of fields) until ``stream`` has taken it."""
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    await ctx.tick().until(stream.ready)
    ctx.set(stream.valid, 0)


async def stream_get(ctx, stream):
    """Return the next payload of ``stream``."""
    ctx.set(stream.ready, 1)
    payload, = await ctx.tick().sample(stream.payload).until(stream.valid)
    ctx.set(stream.ready, 0)
    return payload


async def stream_put_all(ctx, stream, payloads: Iterable, *, stalls: float = 0.0, seed: int = 1):
    """Offer ``payloads`` one after the other, idle in a random share ``stalls`` of the cycles."""
    rng = random.Random(seed)
    for payload in payloads:
        await _stall(ctx, rng, stalls)
        await stream_put(ctx, stream, payload)


async def stream_get_all(ctx, stream, count: int, *, stalls: float = 0.0, seed: int = 1) -> list:
    """Return the next ``count`` payloads, not ready in a random share ``stalls`` of the cycles."""
    rng = random.Random(seed)
    payloads = []
    for _ in range(count):
        await _stall(ctx, rng, stalls)
        payloads.append(await stream_get(ctx, stream))
    return payloads


async def _stall(ctx, rng: random.Random, stalls: float) -> None:
    while rng.random() < stalls:
        await ctx.tick()


def simulate(dut, *testbenches, max_cycles: int = 100_000, vcd: Path | None = None) -> None:
    """Run ``testbenches`` on ``dut`` until all of them have ended.

    Parameters
    ----------
    dut
        The component; its clock domain is ``sync``.
    testbenches
        Coroutine functions that take the simulator's context.
    max_cycles
        Longest run.
    vcd
        Where to write the waveform, if anywhere: enums by name, structs by field.

    Raises
    ------
    TimeoutError
        If a testbench has not ended after ``max_cycles``.
    """
    simulator = Simulator(dut)
    simulator.add_clock(_PERIOD)
    running = len(testbenches)

    def counted(testbench):
        async def run(ctx):
            nonlocal running
            await testbench(ctx)
            running -= 1
        return run

    async def watchdog(ctx):
        await ctx.delay(max_cycles * _PERIOD)
        raise TimeoutError(f"{running} testbench(es) still running after {max_cycles} cycles")

    for testbench in testbenches:
        simulator.add_testbench(counted(testbench))
    simulator.add_testbench(watchdog, background=True)
    if vcd is None:
        simulator.run()
    else:
        with simulator.write_vcd(str(vcd)):
            simulator.run()
