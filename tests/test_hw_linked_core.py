# amaranth: UnusedElaboratable=no
"""A core through bytes alone: networks in, samples in, results out."""

import struct

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.linked_core import LinkedCore
from hw.parameters import CoreParameters
from hw.uart import UartReceiver, UartTransmitter
from mapping.program import compile_network
from model.golden import execute
from sim.pysim import simulate
from tests.link_bench import (
    BAUD,
    HELLO,
    INPUT,
    RESET,
    RESULTS,
    STATUS,
    WRITE,
    Host,
    encode,
    frame,
    write,
)
from tests.small_networks import network, samples

OK, BUSY, NO_PROGRAM = 0, 6, 7

CORE = CoreParameters(banks=2, lanes=4, neurons=2, scan=4, weight_depth=256, spike_depth=128,
                      neuron_depth=64, gain_depth=64, program_depth=4, readout_depth=16)

FIRST  = network(9, 8, 3, timesteps=2)
SECOND = network(12, 5, 4, seed=2, input_bits=2)


class Session:
    """A host that loads networks and runs samples."""

    def __init__(self, dut, host=None):
        self.host = host or Host(dut)
        self.number = 0

    async def request(self, ctx, command, payload=b"", *, statuses=(OK,)):
        """Return the status and the payload of an answer."""
        self.number = (self.number + 1) % 256
        found = await self.host.ask(ctx, command, self.number, payload)
        assert found[0] in statuses and found[1] == self.number
        return found[0], found[2]

    async def load(self, ctx, program):
        """Write a network, runs of consecutive addresses at a time."""
        runs: list[tuple[int, list[int]]] = []
        for address, word in sorted(program.config_writes()):
            if not runs or address != runs[-1][0] + len(runs[-1][1]) or len(runs[-1][1]) == 125:
                runs.append((address, []))
            runs[-1][1].append(word)
        # What says that there is a program lies in the first region, and is written last.
        for address, words in [*runs[1:], runs[0]]:
            await self.request(ctx, WRITE, write(address, *words))

    async def run(self, ctx, network, program, inputs):
        """Run samples and compare their results with the golden executor's."""
        golden = execute(network, inputs)
        waiting = [beats.tobytes() for beats in program.pack_inputs(inputs)]
        words, found = sum(map(len, golden.readout)) + len(inputs), b""
        begun = b""
        while len(found) < 4 * words:
            if waiting:
                part = begun or waiting[0]
                status, _ = await self.request(ctx, INPUT, part[:7], statuses=(OK, BUSY))
                if status == OK:
                    begun = part[7:]
                    if not begun:
                        waiting.pop(0)
            if not waiting or status == BUSY:
                found += (await self.request(ctx, RESULTS))[1]
        expected = [value for readout, winner in zip(golden.readout, golden.classes, strict=True)
                    for value in (*readout.tolist(), int(winner))]
        assert list(struct.unpack(f"<{words}i", found)) == expected


def test_networks_one_after_the_other():
    """A second network without a reset, and the first again."""
    dut = LinkedCore(CORE, clock=12_000_000, divisor=104)
    session = Session(dut)

    async def testbench(ctx):
        await session.request(ctx, HELLO)
        await session.request(ctx, INPUT, b"\0", statuses=(NO_PROGRAM,))
        count = 0
        for net, number in ((FIRST, 4), (SECOND, 3), (FIRST, 2)):
            program, inputs = compile_network(net, CORE), samples(net, number)
            await session.load(ctx, program)
            await session.run(ctx, net, program, inputs)
            count += number
            _, status = await session.request(ctx, STATUS)
            flags, cycles, counters = struct.unpack("<3I", status)
            assert (flags, counters & 0xFFFF) == (3, count)
            assert cycles

    simulate(dut, testbench, max_cycles=400_000)


def test_busy_and_reset():
    """Samples that nobody takes out fill the link, the core and its buffers; a reset drops all."""
    dut = LinkedCore(CORE, clock=12_000_000, divisor=104)
    session = Session(dut)
    program, inputs = compile_network(FIRST, CORE), samples(FIRST, 3)
    beats = [each.tobytes() for each in program.pack_inputs(inputs)]

    async def testbench(ctx):
        await session.load(ctx, program)
        taken, refused = 0, 0
        while refused < 30:
            status, _ = await session.request(ctx, INPUT, beats[0], statuses=(OK, BUSY))
            taken, refused = (taken + 1, 0) if status == OK else (taken, refused + 1)
        # 31 samples of four words fill the link, and half of another; more are in the core.
        assert taken >= 31 + 3
        await session.request(ctx, WRITE, write(0x1000_0000, 1), statuses=(BUSY,))
        _, status = await session.request(ctx, STATUS)
        assert struct.unpack("<I", status[:4]) == (126 << 16 | 2,)
        await session.request(ctx, RESET)
        assert struct.unpack("<3I", (await session.request(ctx, STATUS))[1]) == (3, 0, 0)
        await session.run(ctx, FIRST, program, inputs)
        # In the middle of a sample.
        await session.request(ctx, INPUT, beats[1][:1])
        await session.request(ctx, WRITE, write(0x1000_0000, 1), statuses=(BUSY,))
        await session.request(ctx, RESET)
        await session.run(ctx, FIRST, program, inputs)

    simulate(dut, testbench, max_cycles=400_000)


def test_an_image_runs_at_once():
    program, inputs = compile_network(SECOND, CORE), samples(SECOND, 2)
    dut = LinkedCore(CORE, clock=12_000_000, divisor=104, image=program.image())
    session = Session(dut)

    async def testbench(ctx):
        assert ctx.get(dut.idle)
        await session.run(ctx, SECOND, program, inputs)

    simulate(dut, testbench, max_cycles=100_000)


class Serial(wiring.Component):
    """A linked core at a serial line, and a host's end of the line with a speed of its own."""

    i: stream.Interface
    o: stream.Interface
    divisor: Signal
    low: Signal
    speed: Signal

    def __init__(self):
        super().__init__({
            "i":       In(stream.Signature(8)),
            "o":       Out(stream.Signature(8)),
            "divisor": In(16),
            "low":     In(1),
            "speed":   Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        # Half a second is 10,000 cycles.
        m.submodules.link        = link        = LinkedCore(CORE, clock=20_000, divisor=8)
        m.submodules.receiver    = receiver    = UartReceiver(8)
        m.submodules.transmitter = transmitter = UartTransmitter()
        m.submodules.host_receiver    = host_receiver    = UartReceiver(8)
        m.submodules.host_transmitter = host_transmitter = UartTransmitter()
        wiring.connect(m, receiver.o, link.i)
        wiring.connect(m, link.o, transmitter.i)
        wiring.connect(m, wiring.flipped(self.i), host_transmitter.i)
        wiring.connect(m, host_receiver.o, wiring.flipped(self.o))
        m.d.comb += [
            receiver.rx.eq(host_transmitter.tx & ~self.low),
            host_receiver.rx.eq(transmitter.tx),
            receiver.divisor.eq(link.divisor),
            transmitter.divisor.eq(link.divisor),
            link.line_break.eq(receiver.line_break),
            host_transmitter.divisor.eq(self.divisor),
            host_receiver.divisor.eq(self.divisor),
            self.speed.eq(link.divisor),
        ]
        return m


def test_serial_line():
    """Another speed, the way back by a break and by silence."""
    dut = Serial()
    session = Session(dut, Host(dut, patience=3000))

    async def testbench(ctx):
        async def change(divisor):
            await session.request(ctx, BAUD, struct.pack("<H", divisor))
            ctx.set(dut.divisor, divisor)
            await ctx.tick().repeat(20)
            assert ctx.get(dut.speed) == divisor

        ctx.set(dut.divisor, 8)
        await session.request(ctx, HELLO)
        for divisor in (4, 5, 20):
            await change(divisor)
            await session.request(ctx, HELLO)
        ctx.set(dut.low, 1)
        await ctx.tick().repeat(300)
        ctx.set(dut.low, 0)
        assert ctx.get(dut.speed) == 8
        ctx.set(dut.divisor, 8)
        await session.request(ctx, HELLO)
        # Nobody follows to the new speed.
        await change(4)
        ctx.set(dut.divisor, 8)
        await session.host.send(ctx, encode(frame(HELLO, 1)))
        assert await session.host.hear(ctx) is None
        await ctx.tick().repeat(10_000)
        assert ctx.get(dut.speed) == 8
        assert (await session.host.ask(ctx, STATUS, 1))[0] == OK

    simulate(dut, testbench, max_cycles=200_000)
