"""The pass walker against loops over tiles, planes and steps."""

import random
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


def random_layer(rng, *, last) -> dict[str, Any]:
    """Return the fields of a layer; rows may wrap around, addresses are only added up."""
    readout = last or rng.random() < 0.2
    return {
        "last_tile": rng.randrange(4), "last_visit": rng.randrange(4),
        "last_step": rng.randrange(5), "last_plane": rng.choice([0, rng.randrange(6)]),
        "last_level": rng.choice([0, rng.randrange(4)]),
        "gains": 4 * rng.randrange(8), "biases": 4 * rng.randrange(4),
        "first_biases": 4 * rng.randrange(4), "thresholds": 4 * rng.randrange(4),
        "destination": rng.randrange(20), "rows": rng.randrange(1, 6),
        "leak": [rng.randrange(5), rng.randrange(5)], "sign_bit": rng.randrange(20),
        "hard": rng.randrange(2), "static": rng.randrange(2), "readout": int(readout),
        "sum": rng.randrange(2), "last_lanes": rng.randrange(3), "last": int(last),
    }


def passes_of(p, number, layer):
    """Yield the fields of a layer's passes, those without a meaning left out."""
    steps, planes, levels = (layer[name] + 1 for name in ("last_step", "last_plane", "last_level"))
    groups = p.lanes // p.neurons
    for tile in range(layer["last_tile"] + 1):
        offset = tile * groups
        last_tile = tile == layer["last_tile"]
        # (step, plane of the source or None, level of the output or None)
        takes = []
        for step in range(steps):
            counts = not layer["static"] or step == 0
            takes += [(step, plane, None) for plane in range(planes - 1) if counts]
            takes += [(step, planes - 1 if counts else None, 0)]
            takes += [(step, None, level) for level in range(1, levels)]
        for step, plane, level in takes:
            fires = level is not None
            last_step = step == steps - 1
            source, output = (step * each + (n or 0)
                              for each, n in ((planes, plane), (levels, level)))
            ends_step = level == levels - 1
            whole = {
                "last_visit": layer["last_visit"] if last_tile else groups - 1,
                "counts": int(plane is not None), "fire": int(fires), "hold": int(bool(level)),
                "layer": number, "tile": tile, "step": step, "level": level or 0,
                "hard": int(layer["hard"] and (level or 0) == levels - 1),
                "leak": [0, 0] if level else layer["leak"],
                "sign_bit": layer["sign_bit"], "last_tile": int(last_tile),
                "retire": int(fires and (output % p.planes == p.planes - 1 or
                                         (last_step and ends_step))),
                "store": int(fires and not layer["readout"]),
                "readout": int(fires and layer["readout"] and (layer["sum"] or last_step)),
                "ends_sample": int(ends_step and last_step and last_tile and layer["last"]),
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
                row, place = divmod(tile, p.row_tiles)
                whole |= {
                    "first_step": int(step == 0 and level == 0), "biases": first + offset,
                    "thresholds": layer["thresholds"] + (tile * levels + level) * groups,
                    "row": layer["destination"] + row + output // p.planes * layer["rows"],
                    "store_slot": output % p.planes, "store_tile": place,
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
    seed = 17
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[planes]
    layers = [random_layer(rng, last=number == 7) for number in range(8)]
    program = list(enumerate(layers))
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


def test_restart_begins_with_the_first_layer():
    """Whatever the walker was at, its next pass is the first one of the layer that it is given."""
    rng = random.Random(3)
    p = CORES[2]
    first, second = (random_layer(rng, last=False) | {"static": 1, "last_plane": 3}
                     for _ in range(2))
    dut = PassWalker(p)

    async def testbench(ctx):
        for passes in range(4):
            ctx.set(dut.layer, packed(p, first))
            ctx.set(dut.layer_valid, 1)
            ctx.set(dut.take, 0)
            for _ in range(passes):
                await ctx.tick().until(dut.valid)
                ctx.set(dut.take, 1)
                await ctx.tick()
                ctx.set(dut.take, 0)
            ctx.set(dut.restart, 1)
            ctx.set(dut.layer_valid, 0)
            await ctx.tick().repeat(2)
            assert not ctx.get(dut.valid)
            ctx.set(dut.restart, 0)
            ctx.set(dut.layer, packed(p, second))
            ctx.set(dut.layer_valid, 1)
            await ctx.tick().until(dut.valid)
            expected = next(passes_of(p, 0, second))
            given = ctx.get(dut.o)
            assert fields(given, expected) == expected
            ctx.set(dut.restart, 1)
            await ctx.tick()
            ctx.set(dut.restart, 0)

    simulate(dut, testbench)
