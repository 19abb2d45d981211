"""The address space of the configuration stream, and the memories that decode it."""

import random

import pytest
from amaranth.hdl import Shape

from hw.config import ConfigurableMemory
from hw.memory_map import INDEX_WIDTH, PROGRAM_WIDTH, Region, regions
from hw.parameters import PRESETS, CoreParameters
from hw.shapes import FetchLayer, FireLayer, InputFrame
from sim.pysim import simulate

SMALL = CoreParameters(
    banks=3, lanes=24, planes=2, neurons=4, scan=8, weight_depth=5, spike_depth=8,
    neuron_depth=7, program_depth=3, readout_depth=8)


def chunks(region):
    return [(row, chunk, bank) for bank in range(region.banks)
            for row in range(region.depth) for chunk in range(region.chunks)]


def decoded(region, address):
    """Return (row, chunk, bank) of an address, as the module's docstring has it."""
    assert address >> INDEX_WIDTH == region.number
    index = address & (1 << INDEX_WIDTH) - 1
    chunk, index = index % (1 << region.chunk_bits), index >> region.chunk_bits
    bank, row = index % (1 << region.bank_bits), index >> region.bank_bits
    return row, chunk, bank


def test_addresses_are_distinct_and_decode():
    seen = set()
    for region in regions(SMALL).values():
        for place in chunks(region):
            address = region.address(*place)
            assert 0 <= address < 1 << 32
            assert decoded(region, address) == place
            assert address not in seen
            seen.add(address)
    assert len(seen) == sum(len(chunks(region)) for region in regions(SMALL).values())


@pytest.mark.parametrize("name", PRESETS)
def test_geometry_of_presets(name):
    p = PRESETS[name]
    widths = {
        "input": Shape.cast(InputFrame(p)).width, "fetch": PROGRAM_WIDTH, "fire": PROGRAM_WIDTH,
        "weights": 2 * p.lanes,
        "gains": 2 * p.neurons * p.gain_width, "biases": p.neurons * p.current_width,
        "thresholds": p.neurons * p.membrane_width,
    }
    assert set(regions(p)) == set(widths)
    assert len({region.number for region in regions(p).values()}) == len(widths)
    for region in regions(p).values():
        assert 1 <= region.number < 1 << 32 - INDEX_WIDTH
        assert 1 <= region.chunk_width <= 32
        assert widths[region.name] <= region.chunks * region.chunk_width < widths[region.name] + 32
        last = region.address(region.depth - 1, region.chunks - 1, region.banks - 1)
        assert last >> INDEX_WIDTH == region.number
    for name, layout in (("fetch", FetchLayer(p)), ("fire", FireLayer(p))):
        bits = regions(p)[name].depth * PROGRAM_WIDTH
        assert bits >= p.program_depth * Shape.cast(layout).width


def test_writes_reassemble():
    rng = random.Random(1)
    for region in regions(SMALL).values():
        bank, row = region.banks - 1, region.depth - 1
        word = rng.getrandbits(region.chunks * region.chunk_width)
        rebuilt = 0
        for address, part in region.writes(row, word, bank):
            where, chunk, to_bank = decoded(region, address)
            assert (where, to_bank) == (row, bank)
            assert 0 <= part < 1 << region.chunk_width
            rebuilt |= part << chunk * region.chunk_width
        assert rebuilt == word


REGIONS = {
    "one chunk":   Region("m", 3, depth=6, chunks=1, chunk_width=9),
    "wide banked": Region("m", 4, depth=5, chunks=3, chunk_width=32, banks=3),
    "parameters":  Region("m", 5, depth=8, chunks=4, chunk_width=17),
}


async def write(ctx, dut, address, value):
    ctx.set(dut.write, {"address": address, "data": value})
    ctx.set(dut.write_en, 1)
    await ctx.tick()
    ctx.set(dut.write_en, 0)
    ctx.set(dut.write, {"address": 0, "data": 0})
    await ctx.tick()


async def read(ctx, dut, row):
    """Read a row, which is there one cycle later."""
    ctx.set(dut.address, row)
    await ctx.tick()
    return ctx.get(dut.data)


@pytest.mark.parametrize("shared_port", [False, True])
@pytest.mark.parametrize("geometry", REGIONS)
def test_memory_takes_what_is_meant_for_it(geometry, shared_port):
    """Random writes, to this memory and to others, against a list of rows."""
    seed = 11
    print(f"seed {seed}")
    rng = random.Random(seed)
    region = REGIONS[geometry]
    mine = region.banks - 1
    width = region.chunks * region.chunk_width
    rows = [rng.getrandbits(width) for _ in range(region.depth)]
    dut = ConfigurableMemory(region, init=list(rows), bank=mine, shared_port=shared_port)
    other = Region("other", region.number + 1, region.depth, region.chunks, region.chunk_width,
                   region.banks)

    def store(row, chunk, value):
        mask = (1 << region.chunk_width) - 1 << chunk * region.chunk_width
        rows[row] = rows[row] & ~mask | value << chunk * region.chunk_width & mask

    async def testbench(ctx):
        for row, expected in enumerate(rows):
            assert await read(ctx, dut, row) == expected
        for _ in range(60):
            row, chunk = rng.randrange(region.depth), rng.randrange(region.chunks)
            value = rng.getrandbits(32)
            # The read port's address stands at a row that must not change by that.
            ctx.set(dut.address, rng.randrange(region.depth))
            match rng.randrange(5):
                case 0 | 1:
                    await write(ctx, dut, region.address(row, chunk, mine), value)
                    store(row, chunk, value)
                case 2:
                    await write(ctx, dut, other.address(row, chunk, mine), value)
                case 3:
                    bank = rng.randrange(region.banks)
                    await write(ctx, dut, region.address(row, chunk, bank), value)
                    if bank == mine:
                        store(row, chunk, value)
                case 4:                                 # a row that there is not
                    beyond = region.depth + rng.choice([0, 1, 1 << 10, 1 << 20])
                    await write(ctx, dut, region.address(beyond, chunk, mine), value)
            row = rng.randrange(region.depth)
            assert await read(ctx, dut, row) == rows[row]
        for row, expected in enumerate(rows):
            assert await read(ctx, dut, row) == expected

    simulate(dut, testbench)


def test_nothing_is_written_without_enable():
    region = REGIONS["parameters"]
    dut = ConfigurableMemory(region, init=[5] * region.depth)

    async def testbench(ctx):
        for row in range(region.depth):
            ctx.set(dut.write, {"address": region.address(row), "data": 9})
            await ctx.tick()
            assert await read(ctx, dut, row) == 5

    simulate(dut, testbench)
