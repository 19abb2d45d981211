# amaranth: UnusedElaboratable=no
"""The whole core in Amaranth's simulator against the golden executor."""

from dataclasses import replace
from typing import Any

import pytest
from amaranth import ResetInserter, Signal

from hw.core import Core
from hw.parameters import CoreParameters
from mapping.cycles import estimate
from mapping.program import compile_network
from model.golden import execute
from model.network import Readout, Reset
from sim.pysim import simulate, stream_get_all, stream_put_all
from tests.core_bench import CoreBench
from tests.option_networks import OPTIONS, option_samples
from tests.small_networks import network, samples

ONE = CoreParameters(
    banks=2, lanes=4, planes=1, neurons=2, scan=4, queue_depth=8, weight_depth=64, spike_depth=32,
    neuron_depth=64, program_depth=4, readout_depth=8, count_width=5, gain_width=10,
    current_width=18, membrane_width=14, leak_terms=2, leak_shift_max=4)
TWO = CoreParameters(
    banks=3, lanes=3, planes=2, neurons=1, scan=2, queue_depth=8, weight_depth=64, spike_depth=32,
    neuron_depth=128, program_depth=4, readout_depth=8, count_width=5, gain_width=10,
    current_width=18, membrane_width=14, leak_terms=1, leak_shift_max=3, single_port=True)
#: What the options of maps take.
ROOM: dict[str, Any] = dict(
    weight_depth=256, spike_depth=256, neuron_depth=256, gain_depth=256, program_depth=8,
    count_width=7, gain_width=12)

NETWORKS = {
    "static": network(11, 9, 6, 5, input_bits=3, timesteps=3, leak=(2,)),
    "spikes": network(7, 10, 3, timesteps=5, reset=Reset.HARD, readout=Readout.SUM, v_init=5),
    "counted": network(9, 10, 7, 4, timesteps=2, z_max=5, threshold=7, gain=15, bias=30),
    "counted, hard": network(6, 8, 5, 3, input_bits=2, timesteps=3, z_max=2, threshold=5, gain=20,
                             reset=Reset.HARD, leak=(1,), readout=Readout.SUM),
    "counted in one step": network(7, 9, 3, timesteps=1, z_max=15, threshold=3, gain=25, v_init=20),
    "one layer": network(5, 4, timesteps=1),
    # Each layer is read in a few cycles, less than the next one takes to arrive.
    "short layers": network(3, 4, 2, 3, timesteps=1, density=0.8, threshold=3),
}


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("p", [ONE, TWO], ids=["planes1", "planes2"])
def test_core_equals_golden_executor(p, stalls):
    """Every result, spike and membrane, in program order, whatever the streams' pace is.

    Networks of other shapes are loaded one after the other without a reset, and find nothing of
    those before.
    """
    runs = []
    for whole in [*NETWORKS.values(), NETWORKS["static"]]:
        inputs = samples(whole, 3)
        inputs[1], inputs[2] = 0, whole.input_max
        runs.append((whole, inputs))
    CoreBench(p, runs, stalls=stalls, seed=61).run().check()


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize(("p", "count"), [(ONE, 2), (TWO, 1)], ids=["planes1", "planes2"])
def test_every_option(p, count, part):
    """Results, spikes, membranes and cycles of networks of one option each."""
    names = list(OPTIONS)[part::4]
    runs = [(OPTIONS[name], option_samples(OPTIONS[name], count)) for name in names]
    bench = CoreBench(replace(p, **ROOM), runs).run()
    traces = [execute(whole, inputs) for whole, inputs in runs]
    results = [[beat[0] for beat in beats] for beats in bench.results]
    assert dict(zip(names, results, strict=True)) == {
        name: trace.readout.ravel().tolist() for name, trace in zip(names, traces, strict=True)}
    bench.check()
    predicted = [estimate(program, inputs, trace.spikes).cycles.tolist()
                 for (program, inputs), trace in zip(bench.runs, traces, strict=True)]
    assert dict(zip(names, bench.cycles, strict=True)) == dict(zip(names, predicted, strict=True))


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_alive(name):
    """Each layer spikes and is silent, and counts as far as it can, in both directions."""
    whole = OPTIONS[name]
    trace = execute(whole, option_samples(whole))
    for layer, spikes in zip(whole.layers, trace.spikes, strict=False):
        assert (spikes == 0).any()
        assert (spikes != 0).any()
        assert spikes.max() == layer.z_max
        assert spikes.min() == (-layer.z_max if layer.signed else 0)
    assert len(trace.spikes) == len(whole.layers) - 1


@pytest.mark.parametrize("p", [ONE, TWO], ids=["planes1", "planes2"])
def test_core_without_maps(p):
    """Dense layers run as on a core that has them; only programs are read sooner."""
    runs = [(NETWORKS[name], samples(NETWORKS[name], 2))
            for name in ("static", "counted, hard", "short layers")]
    benches = [CoreBench(replace(p, map_width=width), runs).run() for width in (0, 10)]
    benches[0].check()
    without, whole = ([each[1:] for each in bench.cycles] for bench in benches)
    assert without == whole


def test_initial_contents_instead_of_configuration():
    """The image that a program gives makes the same core; it can be loaded anew afterwards."""
    whole, other = NETWORKS["static"], NETWORKS["spikes"]
    image = compile_network(whole, TWO).image()
    runs = [(whole, samples(whole, 2)), (other, samples(other, 2))]
    CoreBench(TWO, runs, image=image).run().check()


def test_configuration_waits_while_the_core_is_busy():
    """A write offered with a sample in the core is taken after the last result, not before."""
    whole = NETWORKS["spikes"]
    program = compile_network(whole, ONE)
    inputs = samples(whole, 2)
    expected = execute(whole, inputs)
    core = Core(ONE, image=program.image())
    words = [int.from_bytes(beat.tobytes(), "little")
             for sample in program.pack_inputs(inputs) for beat in sample]

    async def testbench(ctx):
        assert ctx.get(core.idle)
        assert ctx.get(core.config.ready)
        await stream_put_all(ctx, core.i, words[:1])
        # From now on: a write to a weight that is used, never taken while samples are there.
        address, _ = next((address, value) for address, value in program.config_writes()
                          if address >> 28 == 4)
        ctx.set(core.config.payload, {"address": address, "data": 0xff})
        ctx.set(core.config.valid, 1)
        results, rest = [], words[1:]
        ctx.set(core.o.ready, 1)
        while len(results) < len(inputs):
            ctx.set(core.i.valid, bool(rest))
            if rest:
                ctx.set(core.i.payload, rest[0])
                if ctx.get(core.i.ready):
                    rest.pop(0)
            assert not ctx.get(core.idle)
            assert not ctx.get(core.config.ready)
            if ctx.get(core.o.valid) and ctx.get(core.o.payload).last:
                results.append(ctx.get(core.o.payload).winner)
            await ctx.tick()
        assert results == expected.classes.tolist()
        for _ in range(20):
            if ctx.get(core.config.ready):
                break
            await ctx.tick()
        assert ctx.get(core.config.ready)
        assert ctx.get(core.idle)

    simulate(core, testbench)


def test_reset_drops_samples_and_keeps_the_network():
    """Whatever the core was doing, the next sample is computed as the first one was."""
    whole = NETWORKS["static"]
    program = compile_network(whole, ONE)
    inputs = samples(whole, 1)
    expected = execute(whole, inputs).readout[0].tolist()
    beats, = program.pack_inputs(inputs)
    words = [int.from_bytes(beat.tobytes(), "little") for beat in beats]
    core  = Core(ONE)
    reset = Signal()

    async def testbench(ctx):
        await stream_put_all(ctx, core.config, [{"address": address, "data": value}
                                                for address, value in program.config_writes()])
        for cycles in range(1, 200, 3):
            await stream_put_all(ctx, core.i, words)
            await ctx.tick().repeat(cycles)
            ctx.set(reset, 1)
            await ctx.tick().repeat(core.reset_cycles)
            ctx.set(reset, 0)
            assert ctx.get(core.idle)
            assert not ctx.get(core.o.valid)
        await stream_put_all(ctx, core.i, words)
        beats = await stream_get_all(ctx, core.o, whole.outputs)
        assert [beat.membrane for beat in beats] == expected

    simulate(ResetInserter(reset)(core), testbench)


def test_writes_beyond_the_memories_change_nothing():
    """An address with a bit that no region has is not another address."""
    whole = NETWORKS["spikes"]
    program = compile_network(whole, ONE)
    inputs = samples(whole, 1)
    core = Core(ONE)
    writes = [{"address": address, "data": value} for address, value in program.config_writes()]
    wrong = [{"address": write["address"] | 1 << bit, "data": ~write["data"] & 0xffff_ffff}
             for write in writes for bit in (16, 27)]
    words = [int.from_bytes(beat.tobytes(), "little") for beat in program.pack_inputs(inputs)[0]]

    async def testbench(ctx):
        await stream_put_all(ctx, core.config, writes + wrong)
        await stream_put_all(ctx, core.i, words)
        beats = await stream_get_all(ctx, core.o, whole.outputs)
        assert [beat.membrane for beat in beats] == execute(whole, inputs).readout[0].tolist()

    simulate(core, testbench)


def test_idle_until_a_sample_begins():
    """Without a program no beat is taken, and the core stays idle."""
    core = Core(ONE)

    async def testbench(ctx):
        ctx.set(core.i.valid, 1)
        for _ in range(5):
            assert ctx.get(core.idle)
            assert not ctx.get(core.i.ready)
            assert not ctx.get(core.o.valid)
            await ctx.tick()

    simulate(core, testbench)


@pytest.mark.parametrize("wrong", [None, "medium", ONE.to_dict()])
def test_parameters_of_the_wrong_type(wrong):
    with pytest.raises(TypeError, match="Core parameters must be CoreParameters, not "):
        Core(wrong)


def test_trace_only_on_request():
    assert "trace" not in Core(ONE).signature.members
    assert "trace" in Core(ONE, trace=True).signature.members
    assert Core(ONE).parameters is ONE
