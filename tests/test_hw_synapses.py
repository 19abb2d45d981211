"""The synapses against sums in Python."""

import random

import pytest

from hw.memory_map import regions
from hw.parameters import CoreParameters
from hw.synapses import Synapses
from sim.pysim import simulate

CORES = {
    "one plane":    CoreParameters(banks=4, lanes=4, planes=1, neurons=1, scan=1,
                                   weight_depth=16, count_width=10),
    "three planes": CoreParameters(banks=3, lanes=3, planes=3, neurons=3, scan=1,
                                   weight_depth=8, count_width=10),
    "one bank":     CoreParameters(banks=1, lanes=2, planes=2, neurons=1, scan=2,
                                   weight_depth=8, count_width=10),
    "one port":     CoreParameters(banks=2, lanes=2, planes=1, neurons=1, scan=1,
                                   weight_depth=8, count_width=10, single_port=True),
}


def random_weights(rng, p):
    """Return the trits ``[bank][address][lane]``, and the words that stand for them."""
    trits = [[[rng.choice((-1, 0, 1)) for _ in range(p.lanes)] for _ in range(p.weight_depth)]
             for _ in range(p.banks)]
    words = [[sum(((trit == 1) | (trit == -1) << 1) << 2 * place(p, lane)
                  for lane, trit in enumerate(row)) for row in bank] for bank in trits]
    return trits, words


def place(p, lane):
    """Return a lane's place in a weight word: lanes of the same neuron unit side by side."""
    group, unit = divmod(lane, p.neurons)
    return unit * (p.lanes // p.neurons) + group


def sums(p, trits, bundles):
    """Count a group's bundles: ``{(lane, plane, sign): spikes}``."""
    return {(lane, plane, sign): sum(
                trits[bank][address][lane] == sign and planes >> plane & 1
                for bundle in bundles for bank, (address, planes) in enumerate(bundle))
            for lane in range(p.lanes) for plane in range(p.planes) for sign in (1, -1)}


def counts(ctx, dut, p):
    """Read the shadow registers in the same form."""
    return {(lane, plane, sign): ctx.get(getattr(dut.counts[lane], name)[plane])
            for lane in range(p.lanes) for plane in range(p.planes)
            for sign, name in ((1, "plus"), (-1, "minus"))}


async def offer(ctx, dut, bundle, last=0):
    """Set a bundle for this cycle."""
    for bank, (address, planes) in enumerate(bundle):
        ctx.set(dut.address[bank], address)
        ctx.set(dut.planes[bank], planes)
    ctx.set(dut.last, last)


def run_groups(dut, p, groups):
    """Send groups of bundles back to back; return the counts of each, as they are closed."""
    results, closed_at, last_at = [], [], []
    silence = [(0, 0)] * p.banks

    async def testbench(ctx):
        cycle = 0
        stream = [(bundle, number == len(group) - 1)
                  for group in groups for number, bundle in enumerate(group)]
        stream += [(silence, False)] * (dut.latency + 2)
        for bundle, last in stream:
            if ctx.get(dut.closed):
                closed_at.append(cycle)
            if last:
                last_at.append(cycle)
            await offer(ctx, dut, bundle, last)
            await ctx.tick()
            cycle += 1
            # The counts of a group are there from the cycle after `closed` on.
            if closed_at and closed_at[-1] == cycle - 1:
                results.append(counts(ctx, dut, p))

    simulate(dut, testbench)
    assert [at + dut.latency for at in last_at] == closed_at
    return results


@pytest.mark.parametrize("core", CORES)
def test_synapses_count_groups_without_a_pause(core):
    """Random bundles, banks without events, groups of a single bundle, one right after another."""
    seed = 5
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[core]
    trits, words = random_weights(rng, p)

    def bundle(silent):
        return [(rng.randrange(p.weight_depth),
                 0 if rng.random() < silent else rng.randrange(1, 1 << p.planes))
                for _ in range(p.banks)]

    groups = [[bundle(rng.choice([0, 0.3, 1])) for _ in range(rng.choice([1, 1, 2, 7]))]
              for _ in range(25)]
    results = run_groups(Synapses(p, weights=words), p, groups)
    assert results == [sums(p, trits, group) for group in groups]


def test_counts_reach_the_full_width():
    """As many ones as the accumulators hold, in all lanes, and the next group starts from zero."""
    p = CoreParameters(banks=4, lanes=4, planes=1, neurons=1, scan=1, weight_depth=2, count_width=5)
    words = [[0x55, 0xaa] for _ in range(p.banks)]
    most = (1 << p.count_width) - 1                      # 31: seven bundles of 4 ones, one of 3
    group = [[(0, 1)] * p.banks] * 7 + [[(0, 1)] * 3 + [(0, 0)]]
    group += [[(1, 1)] * p.banks] * 7 + [[(1, 0)] + [(1, 1)] * 3]
    full, after = run_groups(Synapses(p, weights=words), p, [group, [[(0, 1)] * p.banks]])
    assert set(full.values()) == {most}
    assert after == {(lane, 0, sign): 4 if sign == 1 else 0
                     for lane in range(p.lanes) for sign in (1, -1)}


def test_weights_arrive_by_configuration():
    """Each bank takes its own words."""
    p = CORES["one port"]
    trits, words = random_weights(random.Random(3), p)
    region = regions(p)["weights"]
    dut = Synapses(p)
    group = [[(address, 1)] * p.banks for address in range(p.weight_depth)]

    async def testbench(ctx):
        for bank, rows in enumerate(words):
            for row, word in enumerate(rows):
                for address, part in region.writes(row, word, bank):
                    ctx.set(dut.write, {"address": address, "data": part})
                    ctx.set(dut.write_en, 1)
                    await ctx.tick()
        ctx.set(dut.write_en, 0)
        await ctx.tick().repeat(p.banks)
        for number, bundle in enumerate(group):
            await offer(ctx, dut, bundle, number == len(group) - 1)
            await ctx.tick()
        await offer(ctx, dut, [(0, 0)] * p.banks)
        await ctx.tick().until(dut.closed)
        await ctx.tick()
        assert counts(ctx, dut, p) == sums(p, trits, group)

    simulate(dut, testbench)
