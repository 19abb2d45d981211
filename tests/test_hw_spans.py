"""The span walker against nested loops in Python."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from hw.parameters import CoreParameters
from hw.shapes import FetchLayer, Span
from hw.spans import SpanWalker
from sim.pysim import simulate

CORES = {
    "one column":    CoreParameters(banks=4, lanes=4, neurons=1, scan=1, spike_depth=512,
                                    weight_depth=64),
    "four columns":  CoreParameters(banks=2, lanes=4, neurons=1, scan=4, spike_depth=256,
                                    weight_depth=300),
    "eight columns": CoreParameters(banks=2, lanes=8, neurons=1, scan=8, spike_depth=100,
                                    weight_depth=512),
}

#: The loops of a layer, the outermost first.
LOOPS = ("tile", "y", "x", "pool_y", "pool_x", "group", "line", "part")

#: What each loop adds to which place.
ADDS = {
    "x":       {"tile": "tile_x", "x": "x_x", "pool_x": "pool_x", "part": "part_x"},
    "line":    {"y": "y_line", "pool_y": "pool_line", "line": "pitch"},
    "far":     {"part": "part_far"},
    "row":     {"group": "group_rows"},
    "weights": {"tile": "tile_weights", "pool_x": "pool_weights", "line": "line_weights",
                "part": "part_weights"},
}

FLAGS = ("input", "release", "whole", "late", "coarse", "streamed", "half")


def place(layer: dict[str, Any], name: str, at: dict[str, int]) -> int:
    """Return how far the turns of the loops have moved a place."""
    return sum(at[loop] * layer[add] for loop, add in ADDS[name].items())


def spans_of(p: CoreParameters, layer: dict[str, Any], base: int) -> Iterator[dict[str, int]]:
    """Yield the fields of a layer's spans, those without a meaning left out."""
    ends = tuple(layer[f"last_{loop}"] for loop in LOOPS)
    for turns in itertools.product(*(range(end + 1) for end in ends)):
        at: dict[str, int] = dict(zip(LOOPS, turns, strict=True))
        begin = layer["x"] + place(layer, "x", at)
        line  = layer["line"] + place(layer, "line", at)
        inside = [x for x in range(begin, begin + layer["width"]) if 0 <= x < layer["columns"]]
        empty = not inside or not 0 <= line < layer["size"]
        ends_group, ends_layer = turns[-2:] == ends[-2:], turns == ends
        span = {
            "empty": int(empty), "last_row": 0,
            "last_group": int(at["group"] == layer["last_group"]), "ends_group": int(ends_group),
            "waits": int(not layer["input"] and
                         (turns == (0,) * len(LOOPS) if layer["whole"] else at["tile"] == 0)),
            "begins_layer": int(not any(turns)), "ends_layer": int(ends_layer),
            "gives": int(ends_layer if layer["coarse"] else
                         turns[1:] == ends[1:] if layer["late"] else ends_group),
            "releases": int(ends_layer and layer["release"]),
            "streamed": int(layer["streamed"] and not any(turns[1:])),
        }
        if layer["streamed"]:
            span |= {"half": (layer["half"] + at["tile"]) % 2}
        if not empty:
            far = place(layer, "far", at)
            first, last = line + far + inside[0], line + far + inside[-1]
            word = layer["weights"] + place(layer, "weights", at) + inside[0] - begin
            row  = base + place(layer, "row", at) + first // p.scan
            span |= {
                "row": row % (1 << (p.spike_depth - 1).bit_length()),
                "last_row": last // p.scan - first // p.scan,
                "first": first % p.scan, "last": last % p.scan,
                # Of column 0 of the row, whether it is in use or not.
                "weights": (word - first % p.scan) % (1 << (p.weight_depth - 1).bit_length()),
            }
        yield span


def still(p: CoreParameters) -> dict[str, Any]:
    """Return a layer whose loops turn once and add nothing: one span of one column."""
    return dict.fromkeys(FetchLayer(p).members, 0) | {
        "width": 1, "columns": 1, "pitch": 1, "size": 1, "planes": p.planes}


def random_layer(rng: random.Random, p: CoreParameters, *, spans: int = 60, rows: int = 1000,
                 loops: Sequence[str] = LOOPS) -> dict[str, Any]:
    """Return the fields of a layer; its spans lie within its map, across its borders, and beyond.

    Only some of its loops turn. Places move at random, as long as every column has a number.
    """
    columns = p.spike_depth * p.scan
    layer = still(p)
    turns = 1
    for loop in rng.choices(loops, k=rng.randrange(13)):
        more = turns // (layer[f"last_{loop}"] + 1) * (layer[f"last_{loop}"] + 2)
        if more <= spans:
            turns = more
            layer[f"last_{loop}"] += 1
    layer |= {name: rng.randrange(2) for name in FLAGS} | {
        "source": rng.randrange(p.spike_depth), "group_rows": rng.randrange(p.spike_depth + 1),
        "planes": rng.randrange(1, p.planes + 1), "pending": rng.randrange(1, 100),
        "gives": rng.randrange(1, 100), "last": rng.randrange(2),
    } | {name: rng.randrange(p.weight_depth) for name in ("weights", *ADDS["weights"].values())}
    if rng.random() < 0.2:
        # One line, and of that all of each span.
        columns = min(rows, p.spike_depth) * p.scan
        return layer | {"width": columns, "columns": columns, "pitch": columns,
                        "size": columns, "last_line": 0}
    pitch  = rng.choice([1, 2, 5, 16, 23])
    height = rng.randrange(1, min(6, columns // pitch) + 1)
    layer |= {
        "columns": pitch - rng.choice([0, 0, pitch // 4]), "pitch": pitch,
        "size": pitch * height, "width": rng.randrange(1, pitch + 6),
        "x": rng.randint(-pitch, pitch), "line": pitch * rng.randint(-2, height),
        "part_far": rng.choice([0, 0, p.scan * rng.randint(-20, 20), rng.randint(-50, 50)]),
    }
    layer |= {name: rng.choice([0, 1, rng.randint(-pitch, pitch)]) for name in ADDS["x"].values()}
    layer |= {name: pitch * rng.choice([0, 1, 1, 2, -1]) for name in ("y_line", "pool_line")}
    return layer


def packed(p: CoreParameters, layer: Any):
    """Return a layer as the walker takes it."""
    return FetchLayer(p).const(layer)


class Bench:
    """Offers layers to a walker, and looks at it in every cycle."""

    def __init__(self, p: CoreParameters, layers: list[dict[str, Any]], *,
                 offers: Callable[[], bool] = lambda: True,
                 hold: Callable[[], bool] = lambda: False,
                 space: Callable[[int], bool] = lambda spans: True, bases: list[int]):
        self.p, self.dut = p, SpanWalker(p)
        self.layers, self.bases = layers, bases
        self.offers, self.hold, self.space = offers, hold, space
        self.expected = [list(spans_of(p, *each)) for each in zip(layers, bases, strict=True)]
        self.taken: list[int] = []            # cycle in which each layer was taken
        self.given: list[int] = []            # cycle of each span

    def run(self):
        """Run until all spans have come."""
        simulate(self.dut, self._run, max_cycles=20_000)
        return self

    async def _run(self, ctx):
        dut, p = self.dut, self.p
        waiting = [(packed(p, layer), base, list(spans))
                   for layer, base, spans in zip(self.layers, self.bases, self.expected,
                                                 strict=True)]
        current = FetchLayer(p).const({}).as_bits()
        spans, sent = [], 0                   # of the layer that was taken
        # Between the loops and the output there are as many spans as the latency says.
        way = [False] * (SpanWalker.latency - 1)
        cycle = 0
        while waiting or spans:
            offered, hold = bool(waiting) and self.offers(), self.hold()
            space = self.space(len(self.given))
            ctx.set(dut.layer_valid, offered)
            ctx.set(dut.hold, hold)
            ctx.set(dut.space, space)
            if offered:
                ctx.set(dut.layer, waiting[0][0])
                ctx.set(dut.base, waiting[0][1])
            assert ctx.get(dut.busy) == bool(spans)
            assert ctx.get(dut.layer_take) == (offered and not hold and not spans)
            assert ctx.get(dut.current.as_value()) == current
            way.append(space and sent < len(spans))
            sent += way[-1]
            assert ctx.get(dut.valid) == way.pop(0), f"cycle {cycle}"
            if ctx.get(dut.valid):
                given, expected = ctx.get(dut.o), spans.pop(0)
                sent -= 1
                # Together with a mistake, show where it is.
                found = {name: getattr(given, name) for name in expected}
                assert found == expected, f"span {len(self.given)}, {len(self.taken)} layers taken"
                self.given.append(cycle)
            if ctx.get(dut.layer_take):
                layer, _, spans = waiting.pop(0)
                current, sent = layer.as_bits(), 0
                self.taken.append(cycle)
            await ctx.tick()
            cycle += 1
        for _ in range(SpanWalker.latency + 1):
            assert not ctx.get(dut.valid)
            assert not ctx.get(dut.busy)
            await ctx.tick()


def random_bench(rng: random.Random, p: CoreParameters, layers: list[dict[str, Any]],
                 **options) -> Bench:
    """Return a bench with the layers' maps anywhere."""
    return Bench(p, layers, bases=[rng.randrange(p.spike_depth) for _ in layers], **options)


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("core", CORES)
def test_spans_of_random_layers(core, stalls):
    """Every field of every span, in its cycle, of layers one after the other."""
    seed = 61
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[core]
    layers = [random_layer(rng, p) for _ in range(30)]
    bench = random_bench(rng, p, layers, offers=lambda: rng.random() >= stalls,
                         hold=lambda: rng.random() < stalls,
                         space=lambda spans: rng.random() >= stalls).run()
    spans = [span for each in bench.expected for span in each]
    # Random layers are worth something only if they do all of it.
    for loop in LOOPS:
        assert any(layer[f"last_{loop}"] for layer in layers), loop
    for name in ("empty", "waits", "gives", "releases", "last_row", "streamed"):
        assert {bool(span[name]) for span in spans} == {False, True}, name
    assert len(bench.given) == len(spans) > 500


def test_every_field_of_a_span_is_compared():
    p = CORES["four columns"]
    span, = spans_of(p, still(p) | {"streamed": 1}, 0)
    assert set(span) == set(Span(p).members)


def test_spans_at_all_borders():
    """By hand: a map of 3 lines of 5 columns, kernels of 3 by 3 with a border of one."""
    p = CORES["four columns"]
    layer = still(p) | {
        "last_y": 2, "last_x": 4, "last_line": 2, "x": -1, "line": -5, "width": 3, "columns": 5,
        "pitch": 5, "size": 15, "x_x": 1, "y_line": 5, "weights": 10, "line_weights": 3,
    }
    spans = list(spans_of(p, layer, 100))
    named = [[span.get(name) for name in ("row", "last_row", "first", "last", "weights")]
             for span in spans]
    assert len(spans) == 3 * 5 * 3
    # Line 0: above it is nothing. Its first pixel has nothing on its left, and word 1 of a line's
    # three weighs column 0.
    assert spans[0]["empty"]
    assert named[1:3] == [[100, 0, 0, 1, 10 + 3 + 1], [101, 0, 1, 2, 10 + 6 + 1 - 1]]
    # Its third pixel: columns 1 to 3, and 6 to 8, of two rows.
    assert named[7:9] == [[100, 0, 1, 3, 10 + 3 - 1], [101, 1, 2, 0, 10 + 6 - 2]]
    # The last pixel of all: columns 8 and 9, 13 and 14, and nothing below.
    assert named[-3:-1] == [[102, 0, 0, 1, 10], [103, 0, 1, 2, 10 + 3 - 1]]
    assert spans[-1]["empty"]
    assert sum(span["empty"] for span in spans) == 10
    Bench(p, [layer], bases=[100]).run()


@pytest.mark.parametrize("scan", ["one column", "eight columns"])
def test_two_sources_at_a_distance(scan):
    """The second source has the columns of the first, clipped alike, wherever it lies."""
    p = CORES[scan]
    for rows in (7, -7):
        layer = still(p) | {
            "last_part": 1, "last_x": 3, "last_group": 1, "group_rows": 2, "x": -2, "x_x": 2,
            "width": 3, "columns": 4, "pitch": 4, "size": 4, "part_far": rows * p.scan,
            "weights": 20, "part_weights": 3}
        spans = [span for span in spans_of(p, layer, 40) if not span["empty"]]
        for near, away in zip(spans[::2], spans[1::2], strict=True):
            assert away == near | {"row": near["row"] + rows, "weights": near["weights"] + 3,
                                   "ends_group": 1, "gives": 1,
                                   "ends_layer": away["ends_layer"], "begins_layer": 0}
        assert len(spans) == 12
        Bench(p, [layer], bases=[40]).run()


def test_each_loop_turns_as_often_as_it_can_say():
    """Loops of hundreds of turns: their counters are as wide as their last indices."""
    seed = 62
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES["four columns"]
    layers = []
    for loop in LOOPS:
        most = (1 << FetchLayer(p)[f"last_{loop}"].width) - 1
        layers.append(random_layer(rng, p, spans=1) |
                      {name: rng.choice([0, 1]) for name in ADDS["x"].values()} |
                      {f"last_{loop}": min(most, rng.randrange(250, 300)),
                       "part_far": 1, "y_line": 1, "pool_line": 1, "columns": 3, "pitch": 3,
                       "size": 50, "width": 30, "line": 0})
    random_bench(rng, p, layers).run()


def test_a_span_a_cycle():
    """The first one `latency` cycles after its layer was taken, the next layer after the last."""
    seed = 63
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES["four columns"]
    bench = random_bench(rng, p, [random_layer(rng, p) for _ in range(10)]).run()
    cycle, given = 0, []
    for taken, spans in zip(bench.taken, bench.expected, strict=True):
        assert taken == cycle
        given += range(cycle + SpanWalker.latency, cycle + SpanWalker.latency + len(spans))
        cycle = given[-1] + 1
    assert bench.given == given


def test_no_layer_while_held():
    p = CORES["one column"]
    holds = iter([True] * 20)
    bench = Bench(p, [still(p), still(p)], bases=[3, 4], hold=lambda: next(holds, False)).run()
    assert bench.taken == [20, 20 + SpanWalker.latency + 1]


@pytest.mark.parametrize("drain", [0.1, 0.6, 0.95], ids=lambda share: f"drain{share}")
def test_as_many_spans_come_as_space_must_leave_room_for(drain):
    """A queue that says in a cycle what was free in the one before is filled, never too full."""
    seed = 64
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES["four columns"]
    room, level, before, most = 12, 0, 0, 0
    said = [True]

    def space(given: int) -> bool:
        """Look at the queue in a cycle: spans that came in earlier ones are in it."""
        nonlocal level, before, most
        level += given - before
        before = given
        most = max(most, level)
        assert level <= room
        answer = said.pop()
        said.append(room - level >= SpanWalker.in_flight)
        if level and rng.random() < drain:
            level -= 1
        return answer

    layers = [random_layer(rng, p) for _ in range(12)]
    random_bench(rng, p, layers, space=space).run()
    assert drain > 0.5 or most == room
