# amaranth: UnusedElaboratable=no
"""The core in Amaranth's simulator, with networks, samples and stalls."""

import random

import numpy as np

from hw.core import Core
from mapping.program import compile_network
from mapping.visits import visits_of
from model.golden import execute
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

    Attributes
    ----------
    results
        The output beats of each run: (membrane, neuron, last, winner).
    cycles
        Of each run's samples: from the last result of the sample before, or from the first input
        beat, to the sample's own.
    """

    def __init__(self, p, runs, *, stalls=0.0, seed=1, image=None):
        self.core = Core(p, trace=True, image=image)
        self.runs = [(compile_network(whole, p), inputs) for whole, inputs in runs]
        self.stalls, self.seed, self.image = stalls, seed, image
        self.results: list[list] = []
        self.cycles: list[list[int]] = []
        self.visits: list[dict] = [{}]

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
            self.results.append(await self._samples(ctx, program, inputs))
            for _ in range(4):
                await ctx.tick()
            assert ctx.get(core.idle)
            self.visits.append({})

    async def _samples(self, ctx, program, inputs):
        """Feed samples and collect results, both in this one coroutine."""
        core, rng = self.core, random.Random(self.seed)
        words = [int.from_bytes(beat.tobytes(), "little")
                 for sample in program.pack_inputs(inputs) for beat in sample]
        weights = program.stream_words().tolist() * len(inputs)
        streams = 0
        results, valid, cycle, begin = [], 0, 0, -1        # -1: no beat was taken yet
        self.cycles.append([])
        while len(results) < len(inputs) * program.network.outputs:
            valid = valid or (bool(words) and rng.random() >= self.stalls)
            ctx.set(core.i.valid, valid)
            if valid:
                ctx.set(core.i.payload, words[0])
            ready = rng.random() >= self.stalls
            ctx.set(core.o.ready, ready)
            streams = streams or (bool(weights) and rng.random() >= self.stalls)
            ctx.set(core.w.valid, streams)
            if streams:
                ctx.set(core.w.payload, weights[0])
            if ctx.get(core.o.valid) and ready:
                beat = ctx.get(core.o.payload)
                results.append((beat.membrane, beat.neuron, beat.last, beat.winner))
                if beat.last:
                    self.cycles[-1].append(cycle - begin - sum(self.cycles[-1]))
            if valid and ctx.get(core.i.ready):
                words.pop(0)
                valid = 0
                begin = cycle if begin < 0 else begin
            if streams and ctx.get(core.w.ready):
                weights.pop(0)
                streams = 0
            await ctx.tick()
            cycle += 1
        assert not words and not weights
        ctx.set(core.o.ready, 0)
        return results

    async def _watch(self, ctx):
        trace = self.core.trace
        while len(self.results) < len(self.runs):
            _, _, valid, visit = await ctx.tick().sample(trace.valid, trace.payload)
            if valid:
                self.visits[-1].setdefault(visit.layer, []).append(
                    ((visit.tile, visit.step, visit.level, visit.group),
                     visit.spikes, list(visit.membranes)))

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

    def _check_visits(self, program, trace, visits):
        network, p = program.network, program.parameters
        for number, where in enumerate(program.plan.layers):
            expected = visits_of(where, network.fired_shape(number), p)
            seen = visits[number]
            assert len(seen) == len(trace.classes) * len(expected.tile)
            if where.readout is None:
                planes = network.planes(number, trace.spikes[number])
            for n, (place, spikes, membranes) in enumerate(seen):
                sample, n = divmod(n, len(expected.tile))
                step, level = int(expected.step[n]), int(expected.level[n])
                name = f"sample {sample}, layer {number}, step {step}, level {level}"
                assert place == (expected.tile[n], step, level, expected.group[n]), name
                plane = np.count_nonzero(where.levels[:level])
                for unit, neuron in enumerate(expected.neuron[n]):
                    name = f"{name}, neuron {neuron}"
                    if neuron >= 0 and level == len(where.levels) - 1:
                        expects = trace.membranes[number][sample, step, neuron]
                        assert membranes[unit] == expects, name
                    if neuron >= 0 and where.readout is None:
                        fires = where.levels[level] and planes[sample, step, neuron, plane]
                        assert (spikes >> unit & 1) == fires, name
