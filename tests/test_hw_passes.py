"""The pass walker against loops over tiles, pixels, planes and steps."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from hw.parameters import CoreParameters
from hw.passes import PassWalker
from hw.shapes import FireLayer
from sim.pysim import simulate

CORES = {
    planes: CoreParameters(banks=4, lanes=8, planes=planes, neurons=2, scan=4, neuron_depth=256,
                           gain_depth=256, spike_depth=128, program_depth=8, readout_depth=32)
    for planes in (1, 2, 3)}


#: The loops over pixels, the outermost first.
PIXELS = ("y", "x", "pool_y", "pool_x")

#: Passes of a random layer, so that tests stay short.
MOST_PASSES = 120


def random_layer(rng, *, last) -> dict[str, Any]:
    """Return the fields of a layer; rows may wrap around, addresses are only added up."""
    readout = last or rng.random() < 0.2
    layer = {
        "last_tile": rng.randrange(4), "last_visit": rng.randrange(4),
        "last_step": rng.randrange(5), "last_plane": rng.choice([0, rng.randrange(6)]),
        "last_level": rng.choice([0, rng.randrange(4), rng.randrange(8)]),
        "gains": 4 * rng.randrange(8), "biases": 4 * rng.randrange(4),
        "first_biases": 4 * rng.randrange(4), "thresholds": 4 * rng.randrange(4),
        "destination": rng.randrange(20), "rows": rng.randrange(1, 6),
        "leak": [rng.randrange(5), rng.randrange(5)], "sign_bit": rng.randrange(20),
        "hard": rng.randrange(2), "static": rng.randrange(2), "readout": int(readout),
        "sum": rng.randrange(2), "last_lanes": rng.randrange(3), "last": int(last),
        "streamed": rng.randrange(2),
    }
    # Signed spikes have as many planes above zero as below.
    layer["signed"] = rng.randrange(2) if layer["last_level"] % 2 else 0
    layer |= dict.fromkeys((f"last_{loop}" for loop in PIXELS), 0)
    while not readout and rng.random() < 0.9:
        more = layer | {f"last_{loop}": rng.choice([0, 0, 1, 2, 4]) for loop in PIXELS}
        if passes_at_most(more) <= MOST_PASSES:
            layer = more
    pixels = any(layer[f"last_{loop}"] for loop in PIXELS)
    return layer | {
        # Only a layer of one pixel completes its output group by group.
        "coarse": int(pixels or rng.random() < 0.2),
        "slots": rng.choice([layer["last_tile"] + 1, rng.randrange(1, 6)]),
    }


def passes_at_most(layer) -> int:
    """Return no less than the passes of a layer."""
    passes = layer["last_plane"] + layer["last_level"] + 1
    for name in ("tile", "step", *PIXELS):
        passes *= layer[f"last_{name}"] + 1
    return passes


def passes_of(p, number, layer) -> Iterator[dict[str, Any]]:
    """Yield the fields of a layer's passes, those without a meaning left out."""
    steps, planes, levels = (layer[name] + 1 for name in ("last_step", "last_plane", "last_level"))
    groups = p.lanes // p.neurons
    # (step, plane of the source or None, level of the output or None)
    takes = []
    for step in range(steps):
        counts = not layer["static"] or step == 0
        takes += [(step, plane, None) for plane in range(planes - 1) if counts]
        takes += [(step, planes - 1 if counts else None, 0)]
        takes += [(step, None, level) for level in range(1, levels)]
    ends = tuple(layer[f"last_{loop}"] for loop in PIXELS)
    pixels = list(itertools.product(*(range(end + 1) for end in ends)))
    for tile, pixel, (step, plane, level) in itertools.product(
            range(layer["last_tile"] + 1), pixels, takes):
        offset = tile * groups
        last_tile = tile == layer["last_tile"]
        fires = level is not None
        last_step = step == steps - 1
        source, output = (step * each + (n or 0)
                          for each, n in ((planes, plane), (levels, level)))
        ends_pixel = level == levels - 1 and last_step
        ends_tile  = ends_pixel and pixel == ends
        ends_layer = ends_tile and last_tile
        whole = {
            "last_visit": layer["last_visit"] if last_tile else groups - 1,
            "counts": int(plane is not None), "fire": int(fires), "hold": int(bool(level)),
            "layer": number, "tile": tile, "step": step, "level": level or 0,
            "hard": int(layer["hard"] and (level or 0) == levels - 1),
            "leak": [0, 0] if level else layer["leak"],
            "sign_bit": layer["sign_bit"], "last_tile": int(last_tile),
            "retire": int(ends_layer if layer["coarse"] else
                          fires and (output % p.planes == p.planes - 1 or ends_pixel)),
            "store": int(fires and not layer["readout"]),
            "readout": int(fires and layer["readout"] and (layer["sum"] or last_step)),
            "ends_sample": int(ends_layer and layer["last"]),
            "frees": int(ends_tile and layer["streamed"]),
        }
        if plane is None:
            whole |= {"keep": 1}
        else:
            whole |= {
                "slot": source % p.planes, "keep": int(plane > 0),
                "gains": layer["gains"] + (tile * planes + plane) * groups,
                "ends_counts": int(source % p.planes == p.planes - 1 or (
                    plane == planes - 1 and (layer["static"] or last_step))),
            }
        if fires:
            first = layer["first_biases"] if step == 0 else layer["biases"]
            # Places follow one another, and have as many slots as the map has tiles at one.
            y, x, *_ = pixel
            row, place = divmod(tile + (y * (layer["last_x"] + 1) + x) * layer["slots"],
                                p.row_tiles)
            row += layer["destination"] + output // p.planes * layer["rows"]
            whole |= {
                "first_step": int(step == 0 and level == 0), "biases": first + offset,
                "thresholds": layer["thresholds"] + (tile * levels + level) * groups,
                "negative": int(layer["signed"] and level >= levels // 2),
                "row": row % p.spike_depth, "store_slot": output % p.planes, "store_tile": place,
                "pool": output, "pool_begin": int(level == 0),
                "pool_first": int(pixel[2:] == (0, 0)), "pool_last": int(pixel[2:] == ends[2:]),
            }
        if whole["readout"]:
            whole |= {
                "readout_first": int(not layer["sum"] or step == 0),
                "readout_emit": int(last_step),
                "readout_base": offset * p.neurons % p.readout_depth,
                "last_lanes": layer["last_lanes"] if last_tile else p.neurons,
            }
        yield whole


def packed(p, layer: Any):
    """Return a layer as the walker takes it."""
    return FireLayer(p).const(layer)


def fields(given, names):
    """Return some fields of a pass."""
    return {name: list(given.leak) if name == "leak" else getattr(given, name) for name in names}


@pytest.mark.parametrize("stalls", [0.0, 0.7])
@pytest.mark.parametrize("planes", CORES)
def test_passes_in_program_order(planes, stalls):
    """Of random layers, for two samples, whenever the layers come and the passes are taken."""
    seed = 7
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[planes]
    layers = [random_layer(rng, last=number == 7) for number in range(8)]
    program = list(enumerate(layers))
    # Random layers are worth something only if they do all of it.
    for name in ("last_tile", "last_step", "last_plane", "last_level", "static", "signed", "coarse",
                 "hard", "readout", "sum", "streamed",
                 *(f"last_{loop}" for loop in PIXELS)):
        assert {bool(layer[name]) for layer in layers} == {False, True}, name
    expected = [whole for number, layer in program * 2 for whole in passes_of(p, number, layer)]
    dut = PassWalker(p)

    async def testbench(ctx):
        waiting = [layer for _, layer in program * 2]
        for number, whole in enumerate(expected):
            for _ in range(200):
                offered = bool(waiting) and rng.random() >= stalls
                ctx.set(dut.layer_valid, offered)
                if offered:
                    ctx.set(dut.layer, packed(p, waiting[0]))
                take = bool(ctx.get(dut.valid)) and rng.random() >= stalls
                ctx.set(dut.take, take)
                given = ctx.get(dut.o) if take else None
                if ctx.get(dut.layer_take):
                    waiting.pop(0)
                await ctx.tick()
                if given is not None:
                    break
            else:
                raise AssertionError(f"pass {number} did not come")
            assert fields(given, whole) == whole, f"pass {number}"
        assert not waiting

    simulate(dut, testbench)


@pytest.mark.parametrize("passes", [0, 1, 2, 8, 50, 100, 160])
def test_restart_begins_with_the_first_layer(passes):
    """Wherever the walker was, it walks the layer that it is given, from the beginning."""
    seed = 18
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[2]
    first, second = (
        random_layer(rng, last=False) |
        {"last_tile": 1, "last_y": 1, "last_x": 1, "last_pool_y": 1, "last_pool_x": 2,
         "last_step": 1, "last_plane": 1, "last_level": 1, "readout": 0, "coarse": 1}
        for _ in range(2))
    assert passes < len(list(passes_of(p, 0, first)))
    dut = PassWalker(p)

    async def testbench(ctx):
        async def take():
            ctx.set(dut.take, 0)
            await ctx.tick().until(dut.valid)
            ctx.set(dut.take, 1)
            given = ctx.get(dut.o)
            await ctx.tick()
            ctx.set(dut.take, 0)
            return given

        ctx.set(dut.layer, packed(p, first))
        ctx.set(dut.layer_valid, 1)
        # Some passes of the second walk, so that the index of the layer counts as well.
        for _ in range(passes + len(list(passes_of(p, 0, first)))):
            await take()
        ctx.set(dut.restart, 1)
        ctx.set(dut.layer_valid, 0)
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.valid)
        ctx.set(dut.restart, 0)
        ctx.set(dut.layer, packed(p, second))
        ctx.set(dut.layer_valid, 1)
        for number, expected in enumerate(passes_of(p, 0, second)):
            assert fields(await take(), expected) == expected, f"pass {number}"

    simulate(dut, testbench)


@pytest.mark.parametrize("loop, last", [
    ("tile", 60), ("y", 850), ("x", 850), ("pool_y", 15), ("pool_x", 15), ("step", 300),
    ("plane", 15), ("level", 7)])
def test_each_loop_turns_as_often_as_it_can_say(loop, last):
    """Long loops: their counters are as wide as their last indices."""
    rng = random.Random(19)
    p = CoreParameters(banks=4, lanes=8, planes=2, neurons=4, scan=4, neuron_depth=256,
                       gain_depth=256, spike_depth=4096, program_depth=8, pool_depth=512)
    layer = random_layer(rng, last=False) | {f"last_{name}": 0 for name in (
        "tile", "step", "plane", "level", *PIXELS)}
    layer |= {f"last_{loop}": last, "slots": 5, "readout": 0, "coarse": 1,
              "signed": int(loop == "level")}
    dut = PassWalker(p)

    async def testbench(ctx):
        ctx.set(dut.layer, packed(p, layer))
        ctx.set(dut.layer_valid, 1)
        ctx.set(dut.take, 1)
        for number, expected in enumerate(passes_of(p, 0, layer)):
            given, = await ctx.tick().sample(dut.o).until(dut.valid)
            assert fields(given, expected) == expected, f"pass {number}"

    simulate(dut, testbench)


def test_period():
    """A pass every ``period`` cycles if each is taken at once, the first after its layer's."""
    rng = random.Random(20)
    p = CORES[2]
    layer = random_layer(rng, last=False) | {"last_y": 2, "readout": 0, "coarse": 1}
    passes = len(list(passes_of(p, 0, layer)))
    dut = PassWalker(p)

    async def testbench(ctx):
        ctx.set(dut.layer, packed(p, layer))
        ctx.set(dut.layer_valid, 1)
        ctx.set(dut.take, 1)
        taken, given = [], []
        for cycle in range(3 * PassWalker.period * passes):
            if ctx.get(dut.layer_take):
                taken.append(cycle)
            if ctx.get(dut.valid):
                given.append(cycle)
            await ctx.tick()
        first = taken[0] + PassWalker.period + 1
        assert given[:passes] == list(range(first, first + passes * PassWalker.period,
                                            PassWalker.period))
        assert taken[1] == given[passes - 1]

    simulate(dut, testbench)
