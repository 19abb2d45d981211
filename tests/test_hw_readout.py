"""The readout: sums, results in order and the winner, against plain Python."""

import random

import pytest

from hw.parameters import CoreParameters
from hw.readout import Readout
from sim.pysim import simulate, stream_get_all

CORES = {
    "four units": CoreParameters(banks=1, lanes=4, neurons=4, scan=4, readout_depth=16,
                                 membrane_width=8, current_width=12),
    "three units": CoreParameters(banks=3, lanes=3, neurons=3, scan=2, readout_depth=11,
                                  membrane_width=6, current_width=8),
    "one unit":   CoreParameters(banks=1, lanes=2, neurons=1, scan=2, readout_depth=5,
                                 membrane_width=8, current_width=12),
}


def rows_of(p, steps, *, sums):
    """Return the rows that carry ``steps``, a list of the membranes of all neurons each.

    Only the last step is sent if nothing is summed.
    """
    rows = []
    for number, membranes in enumerate(steps):
        last_step = number == len(steps) - 1
        if not sums and not last_step:
            continue
        for base in range(0, len(membranes), p.neurons):
            part = membranes[base:base + p.neurons]
            rows.append({
                # Units beyond the last neuron hold anything.
                "membranes": part + [-1] * (p.neurons - len(part)),
                "lanes": len(part), "base": base, "first": not sums or number == 0,
                "emit": last_step, "end": base + p.neurons >= len(membranes)})
    return rows


def reference(steps, *, sums):
    """Return ``[(membrane, neuron, last, winner)]``; the winner counts at the last only."""
    values = [sum(each) for each in zip(*steps, strict=True)] if sums else steps[-1]
    winner = values.index(max(values))
    last = len(values) - 1
    return [(value, neuron, int(neuron == last), winner if neuron == last else None)
            for neuron, value in enumerate(values)]


def run(p, samples, *, sums, stalls=0.0, seed=1):
    """Send samples, each row as soon as the one before is done with; return the beats."""
    dut = Readout(p)
    rows = [row for steps in samples for row in rows_of(p, steps, sums=sums)]
    beats = []

    async def send(ctx):
        assert not ctx.get(dut.busy)
        for row in rows:
            ctx.set(dut.row, row)
            ctx.set(dut.row_en, 1)
            await ctx.tick()
            ctx.set(dut.row_en, 0)
            ctx.set(dut.row, {"membranes": [1] * p.neurons, "base": 0})
            assert ctx.get(dut.busy)
            await ctx.tick().until(dut.free)

    async def receive(ctx):
        beats.extend(await stream_get_all(ctx, dut.o, sum(len(steps[0]) for steps in samples),
                                          stalls=stalls, seed=seed))
        assert not ctx.get(dut.busy)

    simulate(dut, send, receive)
    return [(beat.membrane, beat.neuron, beat.last, beat.winner if beat.last else None)
            for beat in beats]


@pytest.mark.parametrize("stalls", [0.0, 0.6])
@pytest.mark.parametrize("sums", [False, True], ids=["last", "sum"])
@pytest.mark.parametrize("core", CORES)
def test_random_samples(core, sums, stalls):
    """Full-range membranes of any number of neurons; the winner forgets the sample before."""
    seed = 51
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[core]
    half = 1 << p.membrane_width - 1
    most_steps = 1 << p.current_width - p.membrane_width
    samples = []
    for _ in range(12):
        low, high = rng.choice([(-half, half - 1), (-half, -1), (0, 2), (-half, -half)])
        neurons = rng.randint(1, p.readout_depth)
        samples.append([[rng.randint(low, high) for _ in range(neurons)]
                        for _ in range(rng.randint(1, most_steps))])
    expected = [beat for steps in samples for beat in reference(steps, sums=sums)]
    assert run(p, samples, sums=sums, stalls=stalls, seed=seed) == expected


@pytest.mark.parametrize(("membranes", "winner"), [
    ([3, 7, 7, 7, 1], 1), ([0, 0, 0, 0, 0], 0), ([-5, -9, -5, -4, -4], 3), ([-1, -2, -3, 0, 0], 3),
    ([-128] * 5, 0), ([-128, -127, 127, 127, -128], 2), ([9], 0),
])
def test_lowest_of_equal_winners(membranes, winner):
    for core in ("four units", "one unit"):
        *_, (_, _, last, found) = run(CORES[core], [[membranes]], sums=False)
        assert last
        assert found == winner


@pytest.mark.parametrize("end", [-128, 127])
def test_sums_reach_both_ends(end):
    """As many steps as the width of a sum allows."""
    p = CORES["four units"]
    steps = 1 << p.current_width - p.membrane_width
    beats = run(p, [[[end] * 3] * steps], sums=True)
    assert [membrane for membrane, *_ in beats] == [end * steps] * 3


def test_beats_hold_while_the_sink_is_not_ready():
    p = CORES["four units"]
    dut = Readout(p)
    row, = rows_of(p, [[4, 9, -3]], sums=False)

    async def testbench(ctx):
        ctx.set(dut.row, row)
        ctx.set(dut.row_en, 1)
        await ctx.tick()
        ctx.set(dut.row_en, 0)
        await ctx.tick().until(dut.o.valid)
        for _ in range(6):
            assert ctx.get(dut.o.valid)
            beat = ctx.get(dut.o.payload)
            assert (beat.membrane, beat.neuron, beat.last) == (4, 0, 0)
            await ctx.tick()
        ctx.set(dut.o.ready, 1)
        for membrane in (9, -3):
            await ctx.tick()
            assert ctx.get(dut.o.valid)
            assert ctx.get(dut.o.payload).membrane == membrane
        await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, testbench)
