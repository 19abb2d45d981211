# amaranth: UnusedElaboratable=no
"""The row queue against a list, under stalls on both sides."""

import random
from collections.abc import Callable

import pytest

from hw.row_queue import RowQueue
from sim.pysim import simulate

WIDTH = 16

#: Depths and margins: the smallest, the largest margin of a depth, and those of the core.
SHAPES = [(4, 1), (4, 2), (8, 6), (8, 5), (16, 5), (16, 14), (64, 5)]


class Bench:
    """Writes and reads, and looks at the queue in every cycle.

    The writer knows what ``space`` says of the cycle before and what it has written since: it
    counts how many entries fit at least, and uses that up.
    """

    def __init__(self, depth: int, margin: int, entries: list[int], *,
                 writes: Callable[[], bool] = lambda: True,
                 reads: Callable[[], bool] = lambda: True):
        self.dut = RowQueue(width=WIDTH, depth=depth, margin=margin)
        self.depth, self.margin, self.entries = depth, margin, entries
        self.writes, self.reads = writes, reads
        self.written: list[int] = []          # cycle of each entry
        self.read: list[tuple[int, int]] = []                 # cycle and entry
        self.most = 0                         # entries in the memory

    def run(self, *, cycles: int | None = None):
        """Run until all entries have been read, or for some cycles."""
        self.cycles = cycles
        simulate(self.dut, self._run, max_cycles=20_000)
        return self

    async def _run(self, ctx):
        dut, waiting = self.dut, list(self.entries)
        memory: list[int] = []
        front: int | None = None              # the entry behind the memory
        free = self.depth - 1                 # in the cycle before
        budget, wrote, cycle = 0, False, 0
        noise = random.Random(74)
        while cycle != self.cycles and (self.cycles or waiting or memory or front is not None):
            assert ctx.get(dut.r_rdy) == (front is not None)
            assert ctx.get(dut.empty) == (front is None and not memory)
            if cycle:
                assert ctx.get(dut.space) == (free >= self.margin)
            if front is not None:
                assert ctx.get(dut.r_data) == front
            if ctx.get(dut.space):
                budget = self.margin
            budget -= wrote
            write = bool(waiting) and budget > 0 and self.writes()
            # What is on the bus means nothing unless it is written.
            ctx.set(dut.w_en, write)
            ctx.set(dut.w_data, waiting[0] if write else noise.randrange(1 << WIDTH))
            # The reader may ask when there is nothing, and gets nothing.
            read = self.reads()
            ctx.set(dut.r_en, read)
            self.most = max(self.most, len(memory))
            assert len(memory) < self.depth
            free = self.depth - 1 - len(memory)
            await ctx.tick()
            if read and front is not None:
                self.read.append((cycle, front))
                front = None
            if front is None and memory:
                front = memory.pop(0)
            if write:
                self.written.append(cycle)
                memory.append(waiting.pop(0))
            wrote = write
            cycle += 1


def random_entries(rng: random.Random, count: int) -> list[int]:
    """Return entries that are all different, so that a lost or repeated one shows."""
    return rng.sample(range(1 << WIDTH), count)


@pytest.mark.parametrize("reads", [1.0, 0.5, 0.1], ids=lambda share: f"reads{share}")
@pytest.mark.parametrize("writes", [1.0, 0.5, 0.1], ids=lambda share: f"writes{share}")
@pytest.mark.parametrize("depth, margin", SHAPES)
def test_what_goes_in_comes_out(depth, margin, writes, reads):
    """Every entry, once, in order; and what the queue says of itself is so in every cycle."""
    seed = 71
    print(f"seed {seed}")
    rng = random.Random(seed)
    entries = random_entries(rng, 3 * depth + 20)
    bench = Bench(depth, margin, entries, writes=lambda: rng.random() < writes,
                  reads=lambda: rng.random() < reads).run()
    assert [entry for _, entry in bench.read] == entries


@pytest.mark.parametrize("depth, margin", SHAPES)
def test_full_queue_loses_nothing(depth, margin):
    """A closed door: the writer fills the memory to the last place that it promised."""
    rng = random.Random(72)
    entries = random_entries(rng, 3 * depth)
    opens = iter([False] * 2 * depth)
    bench = Bench(depth, margin, entries, reads=lambda: next(opens, True)).run()
    assert [entry for _, entry in bench.read] == entries
    assert bench.most == depth - 1
    # One more waits behind the memory.
    assert sum(cycle < 2 * depth for cycle in bench.written) == depth


@pytest.mark.parametrize("depth, margin", SHAPES)
def test_an_entry_can_be_read_two_cycles_later(depth, margin):
    """Whatever went through the queue before, and if the reader keeps up, one each cycle."""
    rng = random.Random(73)
    entries = random_entries(rng, 3 * depth)
    bench = Bench(depth, margin, entries).run()
    assert [cycle - 2 for cycle, _ in bench.read] == bench.written
    if margin > 1:
        assert bench.written == list(range(bench.written[0], bench.written[0] + len(entries)))


def test_nothing_comes_of_nothing():
    bench = Bench(8, 5, []).run(cycles=40)
    assert bench.read == []


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 6, 12])
def test_depth_is_a_power_of_two(depth):
    with pytest.raises(ValueError, match=rf"power of two from 4 on, not {depth}"):
        RowQueue(width=WIDTH, depth=depth, margin=1)


@pytest.mark.parametrize("margin", [-1, 0, 7, 8])
def test_margin_fits_the_depth(margin):
    with pytest.raises(ValueError, match=rf"in 1\.\.6, not {margin}"):
        RowQueue(width=WIDTH, depth=8, margin=margin)
