"""The fetcher against the rows of its spans, and against the groups of planes that exist."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hw.fetch import Fetcher
from hw.parameters import CoreParameters
from sim.pysim import simulate
from tests.test_hw_spans import LOOPS, packed, random_layer, spans_of, still

CORES = {
    "one plane":    CoreParameters(banks=2, lanes=4, planes=1, neurons=1, scan=4, spike_depth=128,
                                   weight_depth=300),
    "three planes": CoreParameters(banks=2, lanes=8, planes=3, neurons=1, scan=8, spike_depth=100,
                                   weight_depth=256),
    "one column":   CoreParameters(banks=4, lanes=4, planes=2, neurons=1, scan=1, spike_depth=512,
                                   weight_depth=64),
}

#: Cycles from a row's address to its spikes.
LATENCY = 2

#: Cycles from the pulse that completes a group to the address of the row that waits for it.
WAKES = 2

#: Cycles without a row after which the fetcher waits for something.
QUIET = 25

#: The loops of a layer with one place.
SINGLE = ("tile", "group", "line", "part")


@dataclass
class Row:
    """A row as it must come.

    Attributes
    ----------
    address, weights
        Where its spikes lie, and its weights; None if no column is in use.
    mask
        Which of its spikes are in use, of all planes.
    last
        It ends its group of planes.
    releases
        It is the last one that reads the input sample.
    needs
        Groups of planes, of all layers so far, that must be complete.
    half
        Half of the weight memory that its tile of weights comes to; None if it has come before.
    retires
        Groups of planes that this row's layer gives once this row's group has been counted.
    layer
        The layer, of all samples.
    """

    address: int | None
    weights: int | None
    mask: int
    last: bool
    releases: bool
    needs: int
    half: int | None
    retires: int
    layer: int


def mask_of(p: CoreParameters, columns: range, planes: int) -> int:
    """Return the bits of a row, plane after plane, that some columns and planes have."""
    plane = sum(((1 << p.banks) - 1) << column * p.banks for column in columns)
    return sum(plane << n * p.row_width for n in range(planes))


def given(layer: dict[str, Any]) -> int:
    """Return the groups of planes that each tile of a layer gives, or a coarse layer."""
    return layer["gives"] if layer["late"] else layer["last_group"] + 1


def retires_of(rng: random.Random, layer: dict[str, Any]) -> list[int]:
    """Return how many groups a layer gives after each group of planes that it has read.

    A coarse layer gives one, at its end. A late one gives some before it has read all of the tile.
    """
    groups = layer["last_group"] + 1
    tiles = layer["last_tile"] + 1
    if layer["coarse"]:
        places = 1
        for loop in LOOPS[1:5]:
            places *= layer[f"last_{loop}"] + 1
        return [0] * (groups * tiles * places - 1) + [1]
    if not layer["late"]:
        return [1] * (groups * tiles)
    retires = []
    for _ in range(tiles):
        early = [0] * groups
        for _ in range(given(layer) - 1):
            early[rng.choice([rng.randrange(groups), groups - 1])] += 1
        early[-1] += 1
        retires += early
    return retires


def rows_of(rng: random.Random, p: CoreParameters, program: list[dict[str, Any]], *, samples: int,
            stride: int) -> list[Row]:
    """Return all rows of some samples."""
    rows: list[Row] = []
    owed = 0                                  # by the layers so far
    for number in range(samples * len(program)):
        sample, of = divmod(number, len(program))
        layer = program[of]
        base = sample % 2 * stride if layer["input"] else layer["source"]
        retires = retires_of(rng, layer)
        left = iter(retires)
        group = 0                             # of the first tile
        for span in spans_of(p, layer, base):
            needs = 0
            if span["waits"]:
                needs = owed if layer["whole"] else owed - layer["pending"] + group + 1
            for n in range(span["last_row"] + 1):
                ends = n == span["last_row"]
                columns = range(span["first"] if n == 0 else 0,
                                (span["last"] if ends else p.scan - 1) + 1) if (
                                    not span["empty"]) else range(0)
                planes = layer["planes"] if span["last_group"] else p.planes
                last = bool(ends and span["ends_group"])
                rows.append(Row(
                    None if span["empty"] else
                    (span["row"] + n) % (1 << (p.spike_depth - 1).bit_length()),
                    None if span["empty"] else
                    (span["weights"] + n * p.scan) % (1 << (p.weight_depth - 1).bit_length()),
                    mask_of(p, columns, planes), last, bool(ends and span["releases"]), needs,
                    span["half"] if span["streamed"] and n == 0 else None,
                    next(left) if last else 0, number))
            group += span["ends_group"]
        assert next(left, None) is None
        owed += sum(retires)
    return rows


def random_program(rng: random.Random, p: CoreParameters, count: int) -> list[dict[str, Any]]:
    """Return layers that read one another, or the input, as those of networks do."""
    program: list[dict[str, Any]] = []
    for number in range(count):
        before = given(program[-1]) if program and not program[-1]["coarse"] else 0
        whole = before == 0 or before > 8 or rng.random() < 0.3
        coarse, late = rng.choice([(0, 0), (0, 0), (0, 1), (0, 1), (1, 1)])
        layer = random_layer(rng, p, spans=8, rows=12, loops=LOOPS if coarse and whole else SINGLE)
        layer |= {
            "input": int(number == 0 or rng.random() < 0.15), "whole": int(whole),
            "late": late, "coarse": coarse, "release": 0, "last": int(number == count - 1),
        }
        if not whole:
            layer["last_group"] = before - 1
        layer |= {
            "pending": 1 if whole or layer["input"] else before,
            "gives": 1 if coarse else rng.randint(1, 6) if late else layer["last_group"] + 1,
        }
        program.append(layer)
    [layer for layer in program if layer["input"]][-1]["release"] = 1
    return program


class Bench:
    """Gives the fetcher its layers and its rows, and retires groups as the neurons do."""

    def __init__(self, p: CoreParameters, program: list[dict[str, Any]], *, samples: int = 3,
                 seed: int = 1, offers: Callable[[], bool] = lambda: True,
                 fills: Callable[[], bool] = lambda: True,
                 space: Callable[[], bool] = lambda: True,
                 loads: Callable[[], bool] = lambda: True,
                 retires: Callable[[int], bool] = lambda quiet: True):
        rng = random.Random(seed)
        self.p, self.dut, self.program, self.samples = p, Fetcher(p), program, samples
        self.offers, self.fills, self.space = offers, fills, space
        self.loads, self.retires = loads, retires
        self.stride = rng.randrange(p.spike_depth)
        self.rows = rows_of(rng, p, program, samples=samples, stride=self.stride)
        # Mostly ones, so that what is not cleared shows; no two rows are alike.
        width = p.row_width * p.planes
        self.memory = [rng.getrandbits(width) | rng.getrandbits(width)
                       for _ in range(1 << (p.spike_depth - 1).bit_length())]
        self.sent: list[int] = []             # cycle in which each row left the memory
        self.retired: list[int] = []          # cycle of each pulse
        self.tiles: list[int] = []            # cycle in which each tile of weights was taken

    def allowed(self) -> int:
        """Return how many rows may have come by now, if none is in want of anything else."""
        return next((number for number, row in enumerate(self.rows)
                     if row.needs > len(self.retired)), len(self.rows))

    def run(self):
        """Run until all rows have come."""
        simulate(self.dut, self._run, max_cycles=60_000)
        return self

    async def _run(self, ctx):
        dut, rows = self.dut, self.rows
        ctx.set(dut.stride, self.stride)
        waiting = [packed(self.p, layer) for layer in self.program] * self.samples
        taken = 0                             # layers
        filled = freed = 0                    # input samples
        ready = 0                             # groups that the neurons could retire now
        # Tiles of weights come in order, each when the one before it in its half was taken.
        halves = [row.half for row in rows if row.half is not None]
        loaded, there = 0, [False, False]
        address, quiet, cycle = 0, 0, 0
        # What was seen in the cycles in which the rows under way left.
        past: deque[tuple[int, bool, int, int]] = deque(maxlen=LATENCY)
        while len(self.sent) < len(rows) or len(past) < LATENCY or any(
                each[2] for each in past) or ready:
            offered = bool(waiting) and self.offers()
            space = self.space()
            retire = ready > 0 and self.retires(quiet)
            ctx.set(dut.layer_valid, offered)
            if offered:
                ctx.set(dut.layer, waiting[0])
            ctx.set(dut.full, sum(1 << sample % 2 for sample in range(freed, filled)))
            ctx.set(dut.space, space)
            ctx.set(dut.retire, retire)
            ctx.set(dut.tiles, there[0] | there[1] << 1)
            ctx.set(dut.row.as_value(), self.memory[address])
            take = ctx.get(dut.layer_take)
            sample = taken // len(self.program)
            if take:
                # A sample waits for its buffer, its further layers for nothing.
                assert offered and (taken % len(self.program) or freed <= sample < filled)

            valid = ctx.get(dut.valid)
            number = len(self.sent)
            outstanding = number < len(rows) and rows[number].layer < taken
            assert ctx.get(dut.busy) == bool(outstanding or taken % len(self.program))
            if len(past) == LATENCY:
                from_address, had_space, released, retired = past[0]
                assert not valid or had_space, "a row for which there was no space"
                assert bool(released) == bool(valid and rows[number].releases)
                if valid:
                    assert outstanding, "a row of a layer that was not taken"
                    self._check(ctx, rows[number], from_address, retired)
                    self.sent.append(cycle - LATENCY)
                    ready += rows[number].retires
            else:
                assert not valid
            if ctx.get(dut.take):
                half = ctx.get(dut.take_half)
                assert there[half] and half == halves[len(self.tiles)]
                self.tiles.append(cycle)
                there[half] = False
            elif loaded < len(halves) and not there[halves[loaded]] and self.loads():
                there[halves[loaded]] = True
                loaded += 1
            address = ctx.get(dut.address)
            released = ctx.get(dut.release)
            past.append((address, space, released, len(self.retired)))
            freed += released
            await ctx.tick()
            quiet = 0 if valid else quiet + 1
            if retire:
                ready -= 1
                quiet = 0
                self.retired.append(cycle)
            if filled < min(freed + 2, self.samples) and self.fills():
                filled += 1
            if take:
                waiting.pop(0)
                taken += 1
            cycle += 1
        assert not waiting
        assert freed == self.samples
        # A tile of weights is taken after the last row before it, and its own rows come later.
        begins = [number for number, row in enumerate(rows) if row.half is not None]
        for tile, number in zip(self.tiles, begins, strict=True):
            assert number == 0 or self.sent[number - 1] < tile
            assert tile < self.sent[number]
        for _ in range(QUIET):
            ctx.set(dut.layer_valid, 0)
            assert not ctx.get(dut.valid)
            assert not ctx.get(dut.busy)
            await ctx.tick()

    def _check(self, ctx, row: Row, address: int, retired: int):
        """Compare a row that has come; look at what was complete when it left the memory."""
        dut, content = self.dut, 0
        if row.address is not None:
            assert address == row.address, row
            assert ctx.get(dut.tag.weights) == row.weights, row
            content = self.memory[row.address] & row.mask
        assert ctx.get(dut.spikes.as_value()) == content, row
        assert ctx.get(dut.tag.last) == row.last, row
        assert retired >= row.needs, row


@pytest.mark.parametrize("seed", [81, 82, 83])
@pytest.mark.parametrize("core", CORES)
def test_rows_of_random_programs(core, seed):
    """Every row, of layers of all kinds, for several samples, with stalls on all sides.

    Columns beside a span and planes behind the last are cleared, and a row is only read when the
    groups of planes that it reads are complete.
    """
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[core]
    slow = rng.choice([0.05, 0.3, 1.0])       # neurons: many or few groups are owed
    loads = rng.choice([0.02, 1.0])
    stalls = rng.choice([0.0, 0.3])
    bench = Bench(p, random_program(rng, p, 5), seed=seed,
                  offers=lambda: rng.random() >= stalls, fills=lambda: rng.random() < 0.1,
                  space=lambda: rng.random() >= stalls, loads=lambda: rng.random() < loads,
                  retires=lambda quiet: rng.random() < slow)
    bench.run()
    assert len({row.layer for row in bench.rows}) == 15


@pytest.mark.parametrize("seed", [85, 86, 87, 88])
@pytest.mark.parametrize("core", ["one plane", "three planes"])
def test_each_row_waits_for_its_group_and_no_longer(core, seed):
    """One group after the other is retired, each when the fetcher has come to a stop.

    So what it has read is known: all up to the first row whose group is not complete.
    """
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[core]
    stops = set()

    def retires(quiet: int) -> bool:
        if quiet < QUIET:
            return False
        assert len(bench.sent) == bench.allowed()
        stops.add(len(bench.sent))
        return True

    bench = Bench(p, random_program(rng, p, 5), samples=2, seed=seed, retires=retires)
    bench.run()
    assert len(stops) > 2
    for number in stops - {len(bench.rows)}:
        assert bench.sent[number] == bench.retired[bench.rows[number].needs - 1] + WAKES


@pytest.mark.parametrize("core", CORES)
def test_a_row_a_cycle(core):
    """As long as there is space; the walk of the spans and empty ones cost nothing."""
    seed = 91
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[core]
    # Kernels of two lines, one of them below the map in the end, over lines of two rows or less.
    layer = still(p) | {
        "last_tile": 1, "last_y": 3, "last_x": 4, "last_line": 1, "width": p.scan + 1,
        "columns": 5 * p.scan, "pitch": 5 * p.scan, "size": 20 * p.scan, "x_x": p.scan,
        "y_line": 5 * p.scan, "input": 1, "release": 1, "last": 1, "whole": 1, "late": 1,
        "coarse": 1, "gives": 1, "pending": 1}
    spaces: list[bool] = []

    def space() -> bool:
        # At first, long enough for the queue of spans to fill.
        spaces.append(len(spaces) > 40 and rng.random() < 0.8)
        return spaces[-1]

    bench = Bench(p, [layer], samples=1, space=space).run()
    assert any(row.address is None for row in bench.rows)
    assert bench.sent == [cycle for cycle, there in enumerate(spaces) if there][:len(bench.rows)]


def chain(p: CoreParameters, groups: int, **late: int) -> list[dict[str, Any]]:
    """Return a layer of one tile and a layer of two that reads it, a row a group of planes."""
    layer = still(p) | {"last_group": groups - 1, "gives": groups, "pending": groups}
    return [layer | {"input": 1, "release": 1, "pending": 1},
            layer | {"last_tile": 1, "last": 1} | late]


@pytest.mark.parametrize("late", [{}, {"late": 1, "gives": 3}], ids=["plain", "late"])
def test_groups_that_wait_settle(late):
    """A group of a first tile is not compared before the one before it is counted."""
    p = CORES["one plane"]
    late_start = iter([True] + [False] * 60)
    bench = Bench(p, chain(p, 6, **late), samples=1, offers=lambda: next(late_start, True)).run()
    first, second = bench.sent[6:12], bench.sent[12:]
    assert bench.retired[5] < first[0]
    assert [after - row for row, after in zip(first, first[1:], strict=False)] == [
        1 + Fetcher.settling] * 5
    assert [after - row for row, after in zip(second, second[1:], strict=False)] == [1] * 5


def stops_of(p: CoreParameters, program: list[dict[str, Any]]) -> list[int]:
    """Return how many rows have come before each group is retired, one group at a time."""
    stops: list[int] = []

    def retires(quiet: int) -> bool:
        if quiet == QUIET:
            stops.append(len(bench.sent))
        return quiet == QUIET

    bench = Bench(p, program, samples=1, retires=retires)
    bench.run()
    return stops


@pytest.mark.parametrize("late", [{}, {"late": 1, "gives": 2}, {"late": 1, "gives": 9}],
                         ids=["plain", "few", "many"])
def test_a_group_at_a_time(late):
    """What two layers may read after each group that the first of them gives.

    The second layer's own groups are owed as well; and what it gives early is not owed before.
    """
    p = CORES["one plane"]
    seen = stops_of(p, chain(p, 4, **late))
    # Four of the input's; then one for each that is complete, and at last the whole second tile.
    assert seen[:5] == [4, 5, 6, 7, 12]
    assert set(seen[5:]) == {12}


def test_a_whole_layer_waits_for_all():
    """Of all tiles before it, and only once."""
    p = CORES["one plane"]
    first, second = chain(p, 3, whole=1, pending=1)
    assert stops_of(p, [first | {"last_tile": 2}, second]) == [9] * 9 + [15] * 6


def test_a_coarse_layer_gives_one_group_at_its_end():
    p = CORES["one plane"]
    first, second = chain(p, 3, whole=1, pending=1)
    first |= {"last_tile": 1, "last_x": 4, "coarse": 1, "late": 1, "gives": 1}
    assert stops_of(p, [first, second]) == [30] + [36] * 6


def test_no_sample_without_its_buffer():
    """Buffers fill late: each sample waits for its own, and gives it back with its last row."""
    p = CORES["one plane"]
    fills = iter(([False] * 60 + [True]) * 4)
    program = [still(p) | {"last_group": 1, "input": 1, "release": 1, "last": 1, "gives": 2,
                           "pending": 1}]
    bench = Bench(p, program, samples=4, fills=lambda: next(fills, False)).run()
    for sample in range(4):
        assert 0 < bench.sent[2 * sample] - (sample + 1) * 61 < 15


def test_a_tile_waits_for_its_weights():
    """Its first row leaves in the cycle after it has taken them; other rows do not wait."""
    p = CORES["one plane"]
    loads = iter(([False] * 40 + [True]) * 5)
    program = [still(p) | {
        "last_tile": 4, "last_group": 2, "last_line": 1, "streamed": 1, "half": 1, "input": 1,
        "release": 1, "last": 1, "gives": 3, "pending": 1}]
    bench = Bench(p, program, samples=1, loads=lambda: next(loads, False)).run()
    # They are there in the cycle after they were loaded.
    assert bench.tiles == [41 + 42 * tile for tile in range(5)]
    assert bench.sent == [tile + 1 + n for tile in bench.tiles for n in range(6)]


def test_weights_that_are_there_cost_a_cycle():
    p = CORES["one plane"]
    program = [still(p) | {
        "last_tile": 4, "last_group": 5, "streamed": 1, "input": 1, "release": 1, "last": 1,
        "gives": 6, "pending": 1}]
    bench = Bench(p, program, samples=1).run()
    steps = [after - row for row, after in zip(bench.sent, bench.sent[1:], strict=False)]
    assert steps == ([1] * 5 + [2]) * 4 + [1] * 5
