"""Where the beats of input samples go, and when they are taken."""

import random

import numpy as np
import pytest

from hw.input_loader import InputLoader
from hw.parameters import CoreParameters
from mapping.program import compile_network
from model.network import InputCoding
from sim.pysim import simulate, stream_put_all
from tests.small_networks import network, samples

ONE = CoreParameters(banks=4, lanes=4, planes=1, neurons=2, scan=2)      # 2 tiles a row
THREE = CoreParameters(banks=2, lanes=4, planes=3, neurons=2, scan=8)    # 4 tiles a row

CASES = {
    "one beat":           (ONE, network(3, 2, timesteps=1)),
    "one row, in part":   (ONE, network(7, 2, timesteps=3)),
    "rows, in part":      (ONE, network(29, 2, timesteps=2)),
    "static bits":        (ONE, network(24, 2, input_bits=4)),
    "whole groups":       (THREE, network(12, 2, timesteps=6)),
    "groups, in part":    (THREE, network(17, 2, timesteps=4)),
    "static groups":      (THREE, network(13, 2, input_bits=8)),
}


def planes_of(whole, sample):
    """Return a sample's planes, ``(planes, channels)``."""
    if whole.input is InputCoding.STATIC:
        return np.array([sample >> bit & 1 for bit in range(whole.input_bits)])
    return sample


def reference(program, sample, buffer):
    """Return ``{(row, slot, tile): spikes}`` of a sample in one of the two buffers."""
    p, plan = program.parameters, program.plan
    tiles = {}
    for number, plane in enumerate(planes_of(program.network, sample)):
        group, slot = divmod(number, p.planes)
        for channel, spike in enumerate(plane):
            column = channel % p.row_width
            place = (buffer * plan.frame_stride + group * plan.input.rows + channel // p.row_width,
                     slot, column // p.lanes)
            tiles[place] = tiles.get(place, 0) | int(spike) << channel % p.lanes
    return tiles


def beats(program, inputs):
    """Return the words of the stream, sample by sample."""
    return [int.from_bytes(beat.tobytes(), "little")
            for sample in program.pack_inputs(inputs) for beat in sample]


class Bench:
    """Feeds samples, and releases buffers when a reader would."""

    def __init__(self, case, count, *, busy=0.0, stalls=0.0, hold=lambda: 0, seed=1):
        p, whole = CASES[case]
        self.program = compile_network(whole, p)
        self.inputs = samples(whole, count, seed=seed)
        self.busy, self.stalls, self.hold, self.seed = busy, stalls, hold, seed
        self.dut = InputLoader(p)
        self.loaded: list[dict] = []       # the writes of each sample
        self.both_full = 0                 # cycles

    def run(self):
        """Run until all samples are loaded and released."""
        simulate(self.dut, self._feed, self._watch, max_cycles=20_000)
        return self

    async def _feed(self, ctx):
        await stream_put_all(ctx, self.dut.i, beats(self.program, self.inputs),
                             stalls=self.stalls, seed=self.seed)

    async def _watch(self, ctx):
        dut, rng = self.dut, random.Random(self.seed)
        ctx.set(dut.frame.as_value(), self.program.memories["input"][0])
        writes, filling, full, wait = {}, 0, [], self.hold()
        released = 0
        while released < len(self.inputs):
            ctx.set(dut.write_ready, rng.random() >= self.busy)
            # The older of two full buffers is released some time after it has filled.
            release = bool(full) and wait == 0
            ctx.set(dut.release, release)
            await ctx.delay(1e-10)                     # the feeder sets its beat as well
            assert ctx.get(dut.full) == sum(1 << buffer for buffer in full)
            enabled = ctx.get(dut.write_en)
            assert not enabled or (ctx.get(dut.write_ready) and len(full) < 2)
            assert ctx.get(dut.partial) == bool(writes)
            self.both_full += len(full) == 2
            if enabled:
                write = ctx.get(dut.write)
                place = (write.row, write.slot, write.tile)
                assert place not in writes
                writes[place] = write.spikes
            await ctx.tick()
            if release:
                full.pop(0)
                released += 1
                wait = self.hold()
            elif full and wait:
                wait -= 1
            if len(writes) == self.program.plan.frame_beats * self.program.plan.frame_planes:
                self.loaded.append(writes)
                full.append(filling)
                writes, filling = {}, 1 - filling

    def check(self):
        """Compare what was written with the reference."""
        assert self.loaded == [reference(self.program, sample, number % 2)
                               for number, sample in enumerate(self.inputs)]


@pytest.mark.parametrize("case", CASES)
def test_samples_fill_the_buffers_in_turn(case):
    Bench(case, 4).run().check()


@pytest.mark.parametrize("case", ["rows, in part", "groups, in part"])
def test_stalls_on_both_sides(case):
    """A host that pauses, a memory that is busy, a reader of any speed."""
    seed = 41
    print(f"seed {seed}")
    rng = random.Random(seed)
    bench = Bench(case, 8, busy=0.4, stalls=0.3, hold=lambda: rng.choice([0, 0, 60]), seed=seed)
    bench.run().check()


def test_waits_when_both_buffers_are_full():
    bench = Bench("rows, in part", 5, hold=lambda: 50).run()
    bench.check()
    assert bench.both_full > 50


def test_takes_nothing_without_a_frame():
    """Before a program is loaded the geometry is not valid."""
    dut = InputLoader(ONE)

    async def testbench(ctx):
        ctx.set(dut.write_ready, 1)
        ctx.set(dut.i.valid, 1)
        for _ in range(4):
            assert not ctx.get(dut.i.ready)
            assert not ctx.get(dut.write_en)
            await ctx.tick()

    simulate(dut, testbench)


def test_takes_a_beat_a_cycle():
    """Full throughput, from one sample to the next as well."""
    p, whole = CASES["groups, in part"]
    program = compile_network(whole, p)
    dut = InputLoader(p)
    words = beats(program, samples(whole, 2))

    async def testbench(ctx):
        ctx.set(dut.frame.as_value(), program.memories["input"][0])
        ctx.set(dut.write_ready, 1)
        ctx.set(dut.i.valid, 1)
        for word in words:
            ctx.set(dut.i.payload, word)
            assert ctx.get(dut.i.ready)
            await ctx.tick()
        assert ctx.get(dut.full) == 0b11
        assert not ctx.get(dut.i.ready)

    simulate(dut, testbench)
