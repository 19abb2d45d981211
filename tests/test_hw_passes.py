"""The pass walker against loops over tiles, planes and steps."""

import random

import pytest

from hw.parameters import CoreParameters
from hw.passes import PassWalker
from hw.shapes import FireLayer
from sim.pysim import simulate

CORES = {
    planes: CoreParameters(banks=4, lanes=8, planes=planes, neurons=2, scan=4, neuron_depth=128,
                           gain_depth=128, spike_depth=64, program_depth=8, readout_depth=32)
    for planes in (1, 2, 3)}


def random_layer(rng, *, last):
    """Return the fields of a layer; rows may wrap around, addresses are only added up."""
    readout = last or rng.random() < 0.2
    return {
        "last_tile": rng.randrange(4), "last_visit": rng.randrange(4),
        "last_step": rng.randrange(5), "last_plane": rng.randrange(6),
        "gains": 4 * rng.randrange(8), "biases": 4 * rng.randrange(4),
        "first_biases": 4 * rng.randrange(4), "thresholds": 4 * rng.randrange(4),
        "destination": rng.randrange(20), "rows": rng.randrange(1, 6),
        "leak": [rng.randrange(5), rng.randrange(5)], "sign_bit": rng.randrange(20),
        "hard": rng.randrange(2), "static": rng.randrange(2), "readout": int(readout),
        "sum": rng.randrange(2), "last_lanes": rng.randrange(3), "last": int(last),
    }


def passes_of(p, number, layer):
    """Yield the fields of a layer's passes, those without a meaning left out."""
    steps = layer["last_step"] + 1
    groups = p.lanes // p.neurons
    for tile in range(layer["last_tile"] + 1):
        offset = tile * groups
        last_tile = tile == layer["last_tile"]
        if layer["static"]:
            planes = layer["last_plane"] + 1
            takes = [(plane, plane, 0 if plane == planes - 1 else None) for plane in range(planes)]
            takes += [(None, None, step) for step in range(1, steps)]
            rows_of_gains = planes * groups
        else:
            planes = steps
            takes = [(step, 0, step) for step in range(steps)]
            rows_of_gains = groups
        for plane, gain_row, step in takes:
            fires = step is not None
            whole = {
                "last_visit": layer["last_visit"] if last_tile else groups - 1,
                "counts": int(plane is not None), "fire": int(fires),
                "layer": number, "tile": tile, "hard": layer["hard"],
                "sign_bit": layer["sign_bit"], "last_tile": int(last_tile),
                "retire": int(fires and (step % p.planes == p.planes - 1 or step == steps - 1)),
                "store": int(fires and not layer["readout"]),
                "readout": int(fires and layer["readout"] and (
                    layer["sum"] or step == steps - 1)),
                "ends_sample": int(fires and step == steps - 1 and last_tile and layer["last"]),
            }
            if plane is not None:
                whole |= {
                    "slot": plane % p.planes,
                    "gains": layer["gains"] + tile * rows_of_gains + gain_row * groups,
                    "keep": int(layer["static"] and plane > 0),
                    "ends_counts": int(plane % p.planes == p.planes - 1 or plane == planes - 1),
                }
            if fires:
                first = layer["first_biases"] if step == 0 else layer["biases"]
                row, place = divmod(tile, p.row_tiles)
                whole |= {
                    "step": step, "first_step": int(step == 0), "biases": first + offset,
                    "thresholds": layer["thresholds"] + offset,
                    "row": layer["destination"] + row + step // p.planes * layer["rows"],
                    "store_slot": step % p.planes, "store_tile": place,
                }
            if whole["readout"]:
                whole |= {
                    "readout_first": int(not layer["sum"] or step == 0),
                    "readout_emit": int(step == steps - 1),
                    "readout_base": offset * p.neurons % p.readout_depth,
                    "last_lanes": layer["last_lanes"] if last_tile else p.neurons,
                }
            yield whole


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
                    ctx.set(dut.layer, FireLayer(p).const(waiting[0]))
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
            assert {name: getattr(given, name) for name in whole} == whole, f"pass {number}"
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
            ctx.set(dut.layer, FireLayer(p).const(first))
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
            ctx.set(dut.layer, FireLayer(p).const(second))
            ctx.set(dut.layer_valid, 1)
            await ctx.tick().until(dut.valid)
            expected = next(passes_of(p, 0, second))
            given = ctx.get(dut.o)
            assert {name: getattr(given, name) for name in expected} == expected
            ctx.set(dut.restart, 1)
            await ctx.tick()
            ctx.set(dut.restart, 0)

    simulate(dut, testbench)
