# amaranth: UnusedElaboratable=no
"""The core in Amaranth's simulator, with networks, samples and stalls."""

import itertools
import random

from hw.core import Core
from mapping.program import compile_network
from model.golden import execute
from model.network import level_weights
from sim.pysim import simulate, stream_put_all

__all__ = ["CoreBench"]


class CoreBench:
    """Loads programs into a core one after the other, and runs each one's samples.

    Parameters
    ----------
    p
        The core.
    runs
        Networks and their inputs.
    stalls
        Share of the cycles in which each end of each stream is unwilling.
    seed
        Seed of the stalls.
    image
        First contents of the core; the first network is then not loaded.
    settle
        Cycles between a network and its first sample, in which the core reads the first layer.

    Attributes
    ----------
    results
        The output beats of each run: (membrane, neuron, last, winner).
    cycles
        Of each run's samples: from the last result of the sample before, or from the first input
        beat, to the sample's own.
    """

    def __init__(self, p, runs, *, stalls=0.0, seed=1, image=None, settle=0):
        self.core = Core(p, trace=True, image=image)
        self.runs = [(compile_network(whole, p), inputs) for whole, inputs in runs]
        self.stalls, self.seed, self.image, self.settle = stalls, seed, image, settle
        self.results: list[list] = []
        self.cycles: list[list[int]] = []
        self.visits: list[dict] = [{}]
        self.order: list[list] = [[]]

    def run(self):
        """Run to the end, and see the core at rest."""
        simulate(self.core, self._work, self._watch)
        return self

    async def _work(self, ctx):
        core = self.core
        for number, (program, inputs) in enumerate(self.runs):
            if self.image is None or number:
                await stream_put_all(
                    ctx, core.config, [{"address": address, "data": value}
                                       for address, value in program.config_writes()],
                    stalls=self.stalls / 3, seed=self.seed)
                for _ in range(self.settle):
                    await ctx.tick()
            self.results.append(await self._samples(ctx, program, inputs))
            for _ in range(4):
                await ctx.tick()
            assert ctx.get(core.idle)
            self.visits.append({})
            self.order.append([])

    async def _samples(self, ctx, program, inputs):
        """Feed samples and collect results, both in this one coroutine."""
        core, rng = self.core, random.Random(self.seed)
        words = [int.from_bytes(beat.tobytes(), "little")
                 for sample in program.pack_inputs(inputs) for beat in sample]
        results, valid, cycle, begin = [], 0, 0, -1        # -1: no beat was taken yet
        self.cycles.append([])
        while len(results) < len(inputs) * program.network.outputs:
            valid = valid or (bool(words) and rng.random() >= self.stalls)
            ctx.set(core.i.valid, valid)
            if valid:
                ctx.set(core.i.payload, words[0])
            ready = rng.random() >= self.stalls
            ctx.set(core.o.ready, ready)
            if ctx.get(core.o.valid) and ready:
                beat = ctx.get(core.o.payload)
                results.append((beat.membrane, beat.neuron, beat.last, beat.winner))
                if beat.last:
                    self.cycles[-1].append(cycle - begin - sum(self.cycles[-1]))
            if valid and ctx.get(core.i.ready):
                words.pop(0)
                valid = 0
                begin = cycle if begin < 0 else begin
            await ctx.tick()
            cycle += 1
        assert not words
        ctx.set(core.o.ready, 0)
        return results

    async def _watch(self, ctx):
        trace = self.core.trace
        while len(self.results) < len(self.runs):
            _, _, valid, visit = await ctx.tick().sample(trace.valid, trace.payload)
            if valid:
                place = (visit.layer, visit.tile, visit.step, visit.level, visit.group)
                self.order[-1].append(place)
                self.visits[-1].setdefault(place, []).append(
                    (visit.spikes, list(visit.membranes)))

    def check(self):
        """Compare every result, spike and membrane with the golden executor's."""
        for number, (program, inputs) in enumerate(self.runs):
            trace = execute(program.network, inputs)
            outputs = program.network.outputs
            expected = [
                (int(value), neuron, int(neuron == outputs - 1))
                for sample in trace.readout for neuron, value in enumerate(sample)]
            assert [beat[:3] for beat in self.results[number]] == expected
            assert [beat[3] for beat in self.results[number] if beat[2]] == trace.classes.tolist()
            self._check_visits(program, trace, self.visits[number])
            assert self.order[number] == self._program_order(program) * len(inputs)

    def _program_order(self, program):
        p, plan = program.parameters, program.plan
        return [place for number, layer in enumerate(plan.layers)
                for tile in range(layer.tiles)
                for place in itertools.product(
                    [number], [tile], range(plan.timesteps), range(layer.levels),
                    range(layer.last_visits if tile == layer.tiles - 1 else p.tile_groups))]

    def _check_visits(self, program, trace, visits):
        p = program.parameters
        for number, layer in enumerate(program.network.layers):
            mine = {place[1:]: each for place, each in visits.items() if place[0] == number}
            weights = level_weights(layer.z_max)
            for (tile, step, level, group), each in mine.items():
                first = tile * p.lanes + group * p.neurons
                used = range(first, min(first + p.neurons, layer.outputs))
                for sample, (spikes, membranes) in enumerate(each):
                    place = (f"sample {sample}, layer {number}, step {step}, level {level}, "
                             f"neurons {used}")
                    if level == len(weights) - 1:
                        assert membranes[:len(used)] == (
                            trace.membranes[number][sample, step, used].tolist()), place
                    if layer.readout is None:
                        counts = trace.spikes[number][sample, step, used].astype(int)
                        for weight in weights[:level]:
                            counts -= weight * (counts >= weight)
                        assert spikes == sum(int(count >= weights[level]) << n
                                             for n, count in enumerate(counts)), place
