# amaranth: UnusedElaboratable=no
"""Where streamed weights go and when, and networks that are larger than the weight memory."""

import random
from dataclasses import replace

import pytest
from amaranth import ResetInserter, Signal

from hw.core import Core
from hw.memory_map import INDEX_WIDTH, Region
from hw.parameters import CoreParameters
from hw.weight_loader import ROW_WIDTH, WeightLoader
from mapping.errors import MappingError
from mapping.program import compile_network
from model.golden import execute
from sim.pysim import simulate, stream_get_all, stream_put_all
from tests.core_bench import CoreBench
from tests.networks import CORES
from tests.small_networks import network, samples

REGIONS = {
    "several of each": Region("weights", 4, 32, 3, 32, 5),
    "one bank, one chunk": Region("weights", 4, 16, 1, 8, 1),
    "powers of two": Region("weights", 4, 64, 4, 32, 2),
}


def words_of(region, tiles, rng):
    """Return the words of a stream, and the writes that they stand for, tile by tile."""
    words, writes = [], []
    for first, rows in tiles:
        words.append(first << ROW_WIDTH | rows - 1)
        writes.append([])
        for row in range(first, first + rows):
            for bank in range(region.banks):
                for chunk in range(region.chunks):
                    words.append(rng.getrandbits(region.chunk_width))
                    writes[-1].append((region.address(row, chunk, bank), words[-1]))
    return words, writes


@pytest.mark.parametrize("stalls", [0.0, 0.6])
@pytest.mark.parametrize("name", REGIONS)
def test_tiles_in_turn(name, stalls):
    """Each chunk goes where it belongs; no half is written before its tile has been released."""
    seed = 41
    print(f"seed {seed}")
    rng, region = random.Random(seed), REGIONS[name]
    half = region.depth // 2
    # Mostly in turn, but now and then twice to the same half.
    parity, tiles = 0, []
    for _ in range(12):
        rows = rng.randint(1, min(4, half))
        tiles.append((parity * half + rng.randint(0, half - rows), rows))
        parity ^= rng.random() < 0.8
    words, expected = words_of(region, tiles, rng)
    dut = WeightLoader(region)
    written, taken, released = [], [], []

    async def feed(ctx):
        await stream_put_all(ctx, dut.i, words, stalls=stalls, seed=seed)

    async def read(ctx):
        while len(released) < len(tiles):
            ready = ctx.get(dut.ready)
            number = len(taken)
            part = tiles[number][0] // half if number < len(tiles) else 0
            # Two tiles may be under way; readers take and release them in order.
            take = number < len(tiles) and ready >> part & 1 and rng.random() < 0.3
            release = len(released) < number and rng.random() < 0.1
            ctx.set(dut.take, bool(take))
            ctx.set(dut.take_half, part)
            ctx.set(dut.release, release)
            ctx.set(dut.hold, rng.random() < stalls / 2)
            if take:
                assert len(written) >= sum(map(len, expected[:number + 1]))
                taken.append(number)
            if ctx.get(dut.write_en):
                write = ctx.get(dut.write)
                tile = next(n for n in range(len(tiles))
                            if len(written) < sum(map(len, expected[:n + 1])))
                # What was there before has been released, in an earlier cycle.
                earlier = [n for n in range(tile)
                           if tiles[n][0] // half == tiles[tile][0] // half]
                assert not earlier or earlier[-1] < len(released)
                written.append((write.address, write.data & (1 << region.chunk_width) - 1))
            if release:
                released.append(len(released))
            await ctx.tick()

    simulate(dut, feed, read)
    assert written == [write for tile in expected for write in tile]
    assert all(address >> INDEX_WIDTH == region.number for address, _ in written)


def test_restart_forgets_all_tiles():
    """In the middle of a tile and with two full halves: the next word is a header."""
    region = REGIONS["one bank, one chunk"]
    dut = WeightLoader(region)
    rng = random.Random(1)

    async def testbench(ctx):
        for tiles, cut in (([(0, 3), (8, 3)], 8), ([(0, 3)], 2), ([(9, 4)], 5)):
            words, _ = words_of(region, tiles, rng)
            await stream_put_all(ctx, dut.i, words[:cut])
            ctx.set(dut.restart, 1)
            await ctx.tick()
            ctx.set(dut.restart, 0)
            assert ctx.get(dut.ready) == 0
        await stream_put_all(ctx, dut.i, words_of(region, [(1, 2)], rng)[0])
        assert ctx.get(dut.ready) == 1

    simulate(dut, testbench)


# In the core

LARGE = network(30, 40, 24, 9, timesteps=3, input_bits=2)


def small(depth: int, **changes) -> CoreParameters:
    """Return a core of so many weight words a bank; the network takes 159."""
    return replace(CORES["planes1"], weight_depth=depth, **changes)


@pytest.mark.parametrize("stalls", [0.0, 0.4])
@pytest.mark.parametrize(("depth", "streamed"), [(256, []), (128, [0, 1]), (64, [0, 1, 2])])
def test_streamed_networks(depth, streamed, stalls):
    """The largest layers are streamed, as many as must be; the cycle model counts their words."""
    p, inputs = small(depth), samples(LARGE, 4)
    other = network(12, 9, 4, timesteps=2)
    bench = CoreBench(p, [(LARGE, inputs), (other, samples(other, 2)), (LARGE, inputs)],
                      stalls=stalls)
    program = bench.runs[0][0]
    assert [n for n, layer in enumerate(program.plan.layers) if layer.streamed] == streamed
    bench.run().check()
    if not stalls:
        from mapping.cycles import estimate

        predicted = estimate(program, inputs, execute(LARGE, inputs).spikes).cycles.tolist()
        assert bench.cycles[0] == bench.cycles[2] == predicted


def test_buffers_and_layers_that_stay_share_no_word():
    """Each half of the banks: layers that stay, then the buffer of the widest tile."""
    program = compile_network(LARGE, small(128))
    seen: dict[int, str] = {}
    buffers = set()
    for layer in program.plan.layers:
        if layer.streamed:
            for tile in range(layer.tiles):
                first = (layer.weights + tile * 64) % 128
                assert first // 64 == (first + layer.tile_words - 1) // 64
                buffers |= set(range(first, first + layer.tile_words))
            continue
        for word in range(layer.weights, layer.weights + layer.walk.words):
            assert word not in seen
            seen[word] = layer.name
    assert seen and not buffers & set(seen)


def test_tiles_alternate_over_the_layers():
    """The first tile of a layer goes to the half that the last one of the layer before did not."""
    program = compile_network(LARGE, small(64))
    words, halves, at = program.stream_words().tolist(), [], 0
    each = program.parameters.banks          # one chunk a bank
    while at < len(words):
        first, rows = words[at] >> ROW_WIDTH, (words[at] & (1 << ROW_WIDTH) - 1) + 1
        halves.append(first // 32)
        at += 1 + rows * each
    assert at == len(words)
    assert halves == [n % 2 for n in range(sum(layer.tiles for layer in program.plan.layers))]


@pytest.mark.parametrize(("p", "message"), [
    (small(16), r"layer 1 \(40-24\): words of a weight bank for a tile of streamed weights \(half "
                r"of weight_depth\): needs 20, the core has 8"),
    (small(96), r"layer 1 \(40-24\): words of a weight bank up to here \(weight_depth; a core with "
                r"single_port, .*\): needs 135, the core has 96"),
    (small(128, single_port=True), r"layer 1 \(40-24\): words of a weight bank up to here "
                                          r"\(weight_depth; .*needs 135, the core has 128"),
])
def test_what_can_not_be_streamed_is_refused(p, message):
    with pytest.raises(MappingError, match=message):
        compile_network(LARGE, p)


def test_reset_in_the_middle_of_a_stream():
    """After a reset the stream begins with the first tile again."""
    p = small(64)
    program = compile_network(LARGE, p)
    inputs = samples(LARGE, 1)
    expected = execute(LARGE, inputs).readout[0].tolist()
    beats = [int.from_bytes(beat.tobytes(), "little") for beat in program.pack_inputs(inputs)[0]]
    weights = program.stream_words().tolist()
    core, reset = Core(p), Signal()

    async def testbench(ctx):
        await stream_put_all(ctx, core.config, [{"address": address, "data": value}
                                                for address, value in program.config_writes()])
        for count in (1, 40, 70):
            await stream_put_all(ctx, core.i, beats)
            await stream_put_all(ctx, core.w, weights[:count])
            ctx.set(reset, 1)
            await ctx.tick().repeat(Core.reset_cycles)
            ctx.set(reset, 0)
        await stream_put_all(ctx, core.i, beats)
        await stream_put_all(ctx, core.w, weights)
        found = await stream_get_all(ctx, core.o, len(expected))
        assert [beat.membrane for beat in found] == expected

    simulate(ResetInserter(reset)(core), testbench)


def test_a_core_with_a_shared_port_takes_no_stream():
    core = Core(replace(CORES["planes2"]))

    async def testbench(ctx):
        ctx.set(core.w.valid, 1)
        for _ in range(20):
            assert not ctx.get(core.w.ready)
            await ctx.tick()

    simulate(core, testbench)
