"""Max pooling of planes against the largest of the counts that they spell."""

import random
from typing import Any

import numpy as np
import pytest

from hw.max_pool import MaxPool
from hw.parameters import CoreParameters
from model.spikes import level_planes
from sim.pysim import simulate

CORE = CoreParameters(banks=4, lanes=16, planes=3, neurons=2, scan=8, spike_depth=64, pool_depth=24)

#: Largest count of the spikes, and whether there are counts below 0.
CODINGS = {"binary": (1, False), "to 3": (3, False), "to 6": (6, False), "to 12": (12, False),
           "signed": (1, True), "signed to 3": (3, True), "signed to 5": (5, True)}

#: Cycles from a plane to the next one, at least.
SPACING = 3


def word(spikes: np.ndarray) -> int:
    """Return the spikes of all lanes as the hardware has them."""
    return sum(int(spike) << lane for lane, spike in enumerate(spikes))


class Bench:
    """Sends the planes of windows as the neuron array does; keeps what comes of them."""

    def __init__(self, *, seed: int, pause: float = 0.0):
        self.p, self.dut = CORE, MaxPool(CORE)
        self.rng, self.pause = random.Random(seed), pause
        # What comes, and what it writes; a pass that only counts writes nothing.
        self.planes: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
        self.expected: list[dict[str, Any]] = []
        self.written: list[dict[str, Any]] = []

    def random_write(self) -> dict[str, Any]:
        """Return a place in the spike memory, and spikes for it."""
        rng, p = self.rng, self.p
        return {"row": rng.randrange(p.spike_depth), "slot": rng.randrange(p.planes),
                "tile": rng.randrange(p.row_tiles), "spikes": rng.getrandbits(p.lanes)}

    def random_step(self) -> dict[str, Any]:
        """Return the fields of any step."""
        return {"plane": self.rng.randrange(self.p.pool_depth)} | {
            name: self.rng.randrange(2) for name in ("first", "last", "begin", "negative")}

    def window(self, counts: np.ndarray, z_max: int, is_signed: bool, *, silent: int = 0):
        """Send the counts of a tile's lanes in a window, ``(pixels, steps, lanes)``.

        Before each step there are ``silent`` passes that only count.
        """
        planes  = level_planes(counts, z_max, is_signed)
        largest = level_planes(counts.max(axis=0), z_max, is_signed)
        pixels, steps, _, levels = planes.shape
        for pixel in range(pixels):
            for step in range(steps):
                for level in [*[None] * silent, *range(levels)]:
                    fields = {
                        "plane": step * levels + (level or 0), "first": int(pixel == 0),
                        "last": int(pixel == pixels - 1), "begin": int(not level),
                        "negative": int(is_signed and (level or 0) >= levels // 2),
                    }
                    if level is None:
                        self.planes.append((fields, None))
                        continue
                    write = self.random_write() | {"spikes": word(planes[pixel, step, :, level])}
                    self.planes.append((fields, write))
                    if pixel == pixels - 1:
                        self.expected.append(write | {"spikes": word(largest[step, :, level])})

    def run(self):
        """Send all planes, and check what comes of them, and when."""
        simulate(self.dut, self._run, max_cycles=30_000)
        assert self.written == self.expected
        return self

    async def _run(self, ctx):
        dut, rng = self.dut, self.rng
        wait, before, due = 0, None, False
        planes = iter(self.planes)
        # A plane's spikes come a cycle after it, and what is written of them another one later.
        for _ in range(30_000):
            step = next(planes, None) if wait == 0 and rng.random() >= self.pause else None
            if step is None and wait == 0 and len(self.written) == len(self.expected):
                break
            wait = SPACING - 1 if step else max(0, wait - 1)
            # In the cycles between there may be anything.
            ctx.set(dut.step_en, step is not None)
            ctx.set(dut.step, step[0] if step else self.random_step())
            write = before[1] if before else None
            ctx.set(dut.i_en, write is not None)
            ctx.set(dut.i, write or self.random_write())
            assert ctx.get(dut.o_en) == due
            if due:
                given = ctx.get(dut.o)
                self.written.append({name: getattr(given, name)
                                     for name in ("row", "slot", "tile", "spikes")})
                number = len(self.written) - 1
                assert self.written[number] == self.expected[number], f"write {number}"
            due = bool(before and write and before[0]["last"])
            before = step
            await ctx.tick()


def random_counts(rng: np.random.Generator, pixels: int, steps: int, z_max: int,
                  is_signed: bool) -> np.ndarray:
    """Return counts that are often equal, so that later planes decide as well."""
    counts = rng.integers(-z_max if is_signed else 0, z_max + 1, (pixels, steps, CORE.lanes))
    same = rng.random(counts.shape) < 0.3
    return np.where(same, np.roll(counts, 1, axis=0), counts)


@pytest.mark.parametrize("pause", [0.0, 0.5])
@pytest.mark.parametrize("coding", CODINGS)
def test_largest_count_of_each_window(coding, pause):
    """Of windows of 1 to 9 pixels, one after the other, for several steps."""
    seed = 101
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    z_max, is_signed = CODINGS[coding]
    bench = Bench(seed=seed, pause=pause)
    for pixels in [1, 2, 4, 9, 1, 3, 6]:
        steps = int(rng.integers(1, 4))
        bench.window(random_counts(rng, pixels, steps, z_max, is_signed), z_max, is_signed,
                     silent=int(rng.integers(3)))
    bench.run()


@pytest.mark.parametrize("coding", ["to 3", "signed to 3"])
def test_all_pairs_of_counts(coding):
    """The larger of two, whichever comes first: each lane has a pair of its own."""
    z_max, is_signed = CODINGS[coding]
    values = range(-z_max if is_signed else 0, z_max + 1)
    pairs = np.array([(a, b) for a in values for b in values])
    steps = -(-len(pairs) // CORE.lanes)
    counts = np.resize(pairs, (steps * CORE.lanes, 2)).T.reshape(2, steps, CORE.lanes)
    bench = Bench(seed=1)
    bench.window(counts, z_max, is_signed)
    bench.run()


def test_binary_spikes_are_or_ed():
    """By hand: two steps of four pixels."""
    bench = Bench(seed=2)
    spikes = [[0b0001, 0b1000], [0b0010, 0b1000], [0b0000, 0b0100], [0b0010, 0b0000]]
    counts = np.array([[[int(each) >> lane & 1 for lane in range(CORE.lanes)] for each in pixel]
                       for pixel in spikes])
    bench.window(counts, 1, False)
    bench.run()
    assert [each["spikes"] for each in bench.written] == [0b0011, 0b1100]


def test_windows_of_one_pixel_pass_through():
    """A cycle after the tile, as it is, whatever windows there were."""
    rng = np.random.default_rng(3)
    bench = Bench(seed=3)
    for _ in range(10):
        bench.window(random_counts(rng, 1, 2, 3, False), 3, False)
    bench.run()
    assert bench.written == [write for _, write in bench.planes]
    assert MaxPool.latency == 1


def test_every_plane_has_a_place():
    """As many planes as the core has room for, and each pixel of a window comes back to its own."""
    seed = 104
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    bench = Bench(seed=seed)
    for _ in range(2):
        bench.window(random_counts(rng, 3, CORE.pool_depth // 4, 3, True), 3, True)
    assert len(bench.expected) == 2 * CORE.pool_depth
    bench.run()
