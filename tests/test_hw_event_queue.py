"""One bank's event queue against a walk over its rows in Python."""

import random

import pytest

from hw.event_queue import EventQueue
from hw.parameters import CoreParameters
from sim.pysim import simulate

CORES = {
    "one plane":    CoreParameters(banks=1, lanes=4, planes=1, neurons=1, scan=8, queue_depth=16,
                                   weight_depth=64),
    "three planes": CoreParameters(banks=1, lanes=2, planes=3, neurons=1, scan=4, queue_depth=8,
                                   weight_depth=64),
    "one column":   CoreParameters(banks=4, lanes=4, planes=2, neurons=1, scan=1, queue_depth=32,
                                   weight_depth=64),
}

# Cycles from the fetcher's look at `space` to the row that it sends for that.
ROW_DELAY = 2


def events_of(p, group):
    """Walk a group's rows, ``[(first weight, planes of each column)]``."""
    return [(weight + column, planes) for weight, row in group
            for column, planes in enumerate(row) if planes]


def random_groups(rng, p, count):
    """Return groups of rows: crowded, thin and silent ones, of one row and of several."""
    groups = []
    for _ in range(count):
        density = rng.choice([0, 0, 0.1, 0.5, 1])
        rows = rng.choice([1, 1, 2, 5])
        groups.append([
            (row * p.scan, [rng.randrange(1, 1 << p.planes) if rng.random() < density else 0
                            for _ in range(p.scan)])
            for row in range(rows)])
    return groups


class Bench:
    """Sends rows as the fetcher does, and closes groups as the core does."""

    def __init__(self, p, groups, *, close=lambda cycle: True, pace=lambda: True):
        self.p, self.dut, self.groups = p, EventQueue(p), groups
        self.close, self.pace = close, pace
        self.rows = [(weight, row, number == len(group) - 1)
                     for group in groups for number, (weight, row) in enumerate(group)]
        self.events: list[list[tuple[int, int]]] = [[]]
        self.closed: list[int] = []           # cycle in which each group closed
        self.sent: list[int] = []             # cycle of each row

    def run(self):
        """Run until all groups have closed."""
        simulate(self.dut, self._run, max_cycles=5000)
        return self

    async def _run(self, ctx):
        dut, phase, cycle = self.dut, 0, 0
        waiting = list(self.rows)
        way: list = [None] * ROW_DELAY
        while len(self.closed) < len(self.groups):
            row = way.pop(0)
            ctx.set(dut.valid, row is not None)
            if row is not None:
                weight, columns, last = row
                ctx.set(dut.row, {"spikes": columns, "tag": {"weights": weight, "last": last}})
                self.sent.append(cycle)
            way.append(waiting.pop(0) if waiting and ctx.get(dut.space) and self.pace() else None)
            if ctx.get(dut.event):
                self.events[-1].append((ctx.get(dut.address), ctx.get(dut.planes)))
            closes = ctx.get(dut.done) and self.close(cycle)
            await ctx.tick()
            if closes:
                self.closed.append(cycle)
                self.events.append([])
                phase ^= 1
                ctx.set(dut.phase, phase)
            cycle += 1
        for _ in range(3):
            assert not ctx.get(dut.event)
            await ctx.tick()
        assert ctx.get(dut.empty)


@pytest.mark.parametrize("close", [1.0, 0.3, 0.05], ids=lambda share: f"close{share}")
@pytest.mark.parametrize("pace", [1.0, 0.2], ids=lambda share: f"pace{share}")
@pytest.mark.parametrize("core", CORES)
def test_events_of_random_groups(core, pace, close):
    """Every event, in order, in its own group, however slow the fetcher and other banks are."""
    seed = 21
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[core]
    groups = random_groups(rng, p, 30)
    bench = Bench(p, groups, close=lambda cycle: rng.random() < close,
                  pace=lambda: rng.random() < pace).run()
    assert bench.events == [*(events_of(p, group) for group in groups), []]


@pytest.mark.parametrize("core", CORES)
def test_full_queue_loses_nothing(core):
    """Groups of one row, each of which takes a place, against a closed door."""
    p = CORES[core]
    groups = [[(number % (p.weight_depth - p.scan), [1] * p.scan)] for number in range(60)]
    opens = 80
    bench = Bench(p, groups, close=lambda cycle: cycle >= opens).run()
    assert bench.events == [*(events_of(p, group) for group in groups), []]
    # It ran ahead as far as it promised, and stopped for want of space, not before.
    ahead = sum(cycle < opens for cycle in bench.sent)
    assert p.queue_depth <= ahead <= p.queue_depth + 2


@pytest.mark.parametrize("core", CORES)
def test_an_event_a_cycle(core):
    """Rows that are there take a cycle an event; an empty group takes one, an empty row none."""
    p = CORES[core]
    none, all_, first = [0] * p.scan, [1] * p.scan, [1] + [0] * (p.scan - 1)
    groups = [[(0, all_), (p.scan, none), (2 * p.scan, first)], [(0, none), (p.scan, none)],
              [(0, first), (p.scan, none)], [(0, none)], [(0, none), (p.scan, all_)]]
    opens = 40
    bench = Bench(p, groups, close=lambda cycle: cycle >= opens).run()
    # While the door is closed the first group's events are over, and the queue waits.
    takes = [max(1, len(events_of(p, group))) for group in groups[1:]]
    assert bench.closed == [opens + sum(takes[:number]) for number in range(len(groups))]


def test_empty_only_when_nothing_is_held():
    """A row without successor waits as the held one, and is not forgotten."""
    p = CORES["one plane"]
    dut = EventQueue(p)

    async def testbench(ctx):
        assert ctx.get(dut.empty)
        ctx.set(dut.row, {"spikes": [1] * p.scan, "tag": {"weights": 0, "last": 0}})
        ctx.set(dut.valid, 1)
        await ctx.tick()
        ctx.set(dut.valid, 0)
        for _ in range(5):
            assert not ctx.get(dut.empty)
            assert not ctx.get(dut.done)
            await ctx.tick()
        # An empty row that ends the group lets it go.
        ctx.set(dut.row, {"spikes": [0] * p.scan, "tag": {"weights": p.scan, "last": 1}})
        ctx.set(dut.valid, 1)
        await ctx.tick()
        ctx.set(dut.valid, 0)
        await ctx.tick().until(dut.done)
        ctx.set(dut.phase, 1)
        await ctx.tick()
        assert ctx.get(dut.empty)

    simulate(dut, testbench)
