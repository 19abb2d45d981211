"""The host's side of the link in a few lines, and a core that computes nothing.

Written from docs/protocol.md: frames as RFC 1055 has them, with zlib's CRC-32.
"""

import struct
import zlib
from collections import deque
from typing import Any

from amaranth import *

from hw.host_link import HostLink
from sim.pysim import simulate

__all__ = ["BAUD", "HELLO", "INPUT", "RESET", "RESULTS", "STATUS", "WRITE", "Host", "LinkBench",
           "answer", "decode", "encode", "frame", "write"]

HELLO, WRITE, INPUT, RESULTS, STATUS, RESET, BAUD = range(7)


def frame(command, number, payload=b"", *, version=1) -> bytes:
    """Return a frame before framing."""
    body = bytes([version << 4 | command, number]) + payload
    return body + zlib.crc32(body).to_bytes(4, "little")


def encode(unframed: bytes | bytearray) -> bytes:
    """Return the bytes of the line that stand for a frame."""
    escaped = bytes(unframed).replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
    return b"\xc0" + escaped + b"\xc0"


def decode(line: bytes) -> bytes:
    """Return the frame of some bytes of the line; KeyError if an escape is broken."""
    assert line[0] == line[-1] == 0xC0 and 0xC0 not in line[1:-1]
    whole, rest = bytearray(), iter(line[1:-1])
    for byte in rest:
        whole.append({0xDC: 0xC0, 0xDD: 0xDB}[next(rest, -1)] if byte == 0xDB else byte)
    return bytes(whole)


def answer(status, number, payload=b"") -> tuple[int, int, bytes]:
    """Return an answer as :meth:`Host.ask` does."""
    return status, number, payload


def write(address, *words) -> bytes:
    """Return the payload of a WRITE."""
    return struct.pack(f"<{1 + len(words)}I", address, *words)


class Host:
    """Asks, and takes answers, at a component with the streams ``i`` and ``o`` of bytes."""

    def __init__(self, dut, *, patience: int = 6000, stall=None):
        self._dut = dut
        self._patience = patience
        self._stall = stall or (lambda: 0)

    async def send(self, ctx, line: bytes) -> None:
        """Send bytes of the line."""
        i = self._dut.i
        ctx.set(i.valid, 1)
        for byte in line:
            if idle := self._stall():
                ctx.set(i.valid, 0)
                await ctx.tick().repeat(idle)
                ctx.set(i.valid, 1)
            ctx.set(i.payload, byte)
            await ctx.tick().until(i.ready)
        ctx.set(i.valid, 0)

    async def receive(self, ctx) -> bytes | None:
        """Return the next bytes of the line between two ENDs, or None if none come."""
        o, line, waited = self._dut.o, b"", 0
        while waited < self._patience:
            ready = not self._stall()
            ctx.set(o.ready, ready)
            _, _, byte, valid = await ctx.tick().sample(o.payload, o.valid)
            waited += 1
            if valid and ready:
                line += bytes([byte])
                waited = 0
                if len(line) > 1 and byte == 0xC0:
                    break
        # What has nothing to send is ready.
        ctx.set(o.ready, 1)
        return line or None

    async def hear(self, ctx) -> Any:
        """Return an answer: status, number, payload; or None if none comes."""
        line = await self.receive(ctx)
        await ctx.tick().repeat(2)
        if line is None:
            return None
        whole = decode(line)
        assert whole == frame(whole[0] & 15, whole[1], whole[2:-4])
        return whole[0] & 15, whole[1], whole[2:-4]

    async def ask(self, ctx, command, number, payload=b"", **options):
        """Make a request and return its answer."""
        await self.send(ctx, encode(frame(command, number, payload, **options)))
        return await self.hear(ctx)


class _Noted(Elaboratable):
    """A link, and what it did in the cycle before."""

    def __init__(self, dut):
        self.dut = dut
        self.any, self.reset, self.taken = Signal(), Signal(), Signal()
        self.written, self.write = Signal(), Signal.like(dut.config.payload)
        self.sampled, self.beat  = Signal(), Signal.like(dut.samples.payload)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.sync += [
            self.reset.eq(dut.core_reset),
            self.taken.eq(dut.results.valid & dut.results.ready),
            self.written.eq(dut.config.valid & dut.config.ready),
            self.write.eq(dut.config.payload),
            self.sampled.eq(dut.samples.valid & dut.samples.ready),
            self.beat.eq(dut.samples.payload),
        ]
        m.d.comb += self.any.eq(self.reset | self.taken | self.written | self.sampled)
        return m


class LinkBench:
    """A link with what stands for its core: it notes what it gets, and gives what it is told to.

    Parameters
    ----------
    beats
        Of a sample; None: there is no network.
    """

    def __init__(self, parameters, *, beats=5, fallback=3000, stall=None,
                 patience=6000):
        self.parameters = parameters
        self.dut = HostLink(parameters, clock=12_000_000, divisor=104, fallback=fallback)
        self.host = Host(self.dut, stall=stall, patience=patience)
        self.beats = beats
        self.writes: list[tuple[int, int]] = []
        self.samples: list[int] = []
        self.results: deque[dict] = deque()
        self.taken = 0
        self.resets = 0

    def add_results(self, *samples, winner=0) -> None:
        """Have the core give these membranes."""
        for membranes in samples:
            for neuron, membrane in enumerate(membranes):
                self.results.append({"membrane": membrane, "neuron": neuron, "winner": winner,
                                     "last": neuron == len(membranes) - 1})

    def run(self, testbench, *, max_cycles=400_000):
        """Simulate until the testbench ends."""
        done = False

        async def host(ctx):
            nonlocal done
            self.set_core(ctx, idle=1, busy=0, ready=1)
            self.set_frame(ctx, self.beats)
            ctx.set(self.dut.o.ready, 1)
            await testbench(ctx)
            done = True

        async def core(ctx):
            while not done:
                if ctx.get(noted.any):
                    if ctx.get(noted.reset):
                        self.resets += 1
                        self.results.clear()
                    elif ctx.get(noted.taken):
                        self.taken += 1
                        self.results.popleft()
                    if ctx.get(noted.written):
                        write = ctx.get(noted.write)
                        self.writes.append((write.address, write.data))
                    if ctx.get(noted.sampled):
                        self.samples.append(ctx.get(noted.beat))
                if bool(self.results) != ctx.get(self.dut.results.valid) or self.results:
                    ctx.set(self.dut.results.valid, bool(self.results))
                    if self.results:
                        ctx.set(self.dut.results.payload, self.results[0])
                await ctx.tick()

        noted = _Noted(self.dut)
        simulate(noted, host, core, max_cycles=max_cycles)

    def set_core(self, ctx, *, idle=None, busy=None, ready=None):
        """Set what the core says of itself, and whether it takes writes and beats."""
        for signal, value in ((self.dut.idle, idle), (self.dut.busy, busy),
                              (self.dut.samples.ready, ready), (self.dut.config.ready, ready)):
            if value is not None:
                ctx.set(signal, value)

    def set_frame(self, ctx, beats):
        """Load a network with so many beats a sample, or none."""
        ctx.set(self.dut.frame, {"beats": beats or 0, "valid": beats is not None})
