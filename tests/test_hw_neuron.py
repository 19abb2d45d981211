"""One neuron unit against the equations of the integer network."""

import random
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from amaranth.lib.wiring import In

from hw.neuron import NeuronUnit
from hw.parameters import CoreParameters
from model.network import leak
from sim.pysim import simulate


def core(*, groups=4, **changes):
    return CoreParameters(**{
        "banks": groups, "lanes": groups, "neurons": 1, "scan": 1, "count_width": 6,
        "gain_width": 9, "current_width": 18, "membrane_width": 12, "leak_terms": 2,
        "leak_shift_max": 11, **changes})


CORES = {
    "two terms":   core(),
    "one term":    core(groups=3, leak_terms=1, leak_shift_max=4),
    "no leak":     core(leak_terms=0, current_width=12),
    "membranes in blocks": core(block_membranes=True),
    "one lane":    core(groups=1, membrane_width=18, gain_width=18, count_width=3),
    "wide":        core(groups=2, membrane_width=32, current_width=32, gain_width=18,
                        count_width=14, leak_shift_max=15),
}


@dataclass
class Visit:
    """What the neuron array gives a unit for one lane."""

    group: int = 0
    plus: int = 0
    minus: int = 0
    gain_plus: int = 1
    gain_minus: int = 1
    counts: int = 1
    keep: int = 0
    bias: int = 0
    first_step: int = 0
    hold: int = 0
    leak: tuple[int, ...] = ()
    limit: int = 0
    threshold: int = 1
    negative: int = 0
    hard: int = 0
    fire: int = 1
    valid: int = 1


def wrap(value, bits):
    """Return a number as two's complement of some bits holds it."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def reference(p, visits, bins=None):
    """Return ``(spike, membrane)`` of each visit, None for those that are no step."""
    current, membrane, fired, results = {}, {}, {}, []
    bins = Counter() if bins is None else bins
    for visit in visits:
        new = visit.gain_plus * visit.plus - visit.gain_minus * visit.minus if visit.counts else 0
        old = current[visit.group] if visit.keep else 0
        current[visit.group] = wrap(old + new, p.current_width)
        if not visit.fire:
            results.append(None)
            continue
        v = 0 if visit.first_step else membrane[visit.group]
        if not visit.hold:
            v = leak(v, visit.leak) + wrap(current[visit.group] + visit.bias, p.current_width)
        bins.update(high=v > visit.limit, low=v < ~visit.limit,
                    top=v == visit.limit, bottom=v == ~visit.limit)
        v = max(~visit.limit, min(visit.limit, v))
        spike = v < -visit.threshold if visit.negative else v >= visit.threshold
        if spike:
            v += visit.threshold if visit.negative else -visit.threshold
        bins.update(late_reset=visit.hard and visit.hold and fired[visit.group] and not spike)
        fired[visit.group] = spike or (visit.hold and fired[visit.group])
        if visit.hard and fired[visit.group]:
            v = 0
        bins.update(spike=spike, negative=v < 0, below=spike and visit.negative)
        membrane[visit.group] = v
        results.append((int(spike), v))
    return results


def value_of(visit, field):
    """Return a visit's field as a member of the unit takes it."""
    if field == "leak":
        return [*visit.leak, 0, 0][:2]
    if field == "threshold":                           # what a spike adds
        return visit.threshold if visit.negative else -visit.threshold
    return getattr(visit, field)


def run(p, visits, gaps):
    """Send visits, each some idle cycles after the one before; return what `reference` does.

    Between visits, and at stages that hold none, all inputs are noise.
    """
    start, starts, used = 0, [], {}
    for visit, gap in zip(visits, gaps, strict=True):
        start = max(start + 1 + gap, used.get(visit.group, -9) + NeuronUnit.turnaround(p))
        used[visit.group] = start
        starts.append(start)
    at = dict(zip(starts, visits, strict=True))
    results = {}
    rng = random.Random(len(visits))
    dut = NeuronUnit(p)

    def noise():
        return Visit(rng.randrange(p.tile_groups), rng.getrandbits(p.count_width),
                     rng.getrandbits(p.count_width), 3, 3, rng.getrandbits(1), rng.getrandbits(1),
                     7, 0, rng.getrandbits(1), (), 5, 2, rng.getrandbits(1), rng.getrandbits(1),
                     fire=0, valid=0)

    async def testbench(ctx):
        for cycle in range(1, starts[-1] + 11):
            stage = [at.get(cycle - n) or noise() for n in range(10)]
            for name, member in dut.signature.members.items():
                if member.flow is In:                  # sN_field: what the visit says, N later
                    visit, field = stage[int(name[1])], name[3:]
                    ctx.set(getattr(dut, name), value_of(visit, field))
            if cycle - 9 in at:
                results[cycle - 9] = ctx.get(dut.s9_spike), ctx.get(dut.s9_membrane)
            await ctx.tick()

    simulate(dut, testbench)
    return [results[start] if visit.fire else None
            for start, visit in zip(starts, visits, strict=True)]


def spread(rng, low, high):
    """Draw from a range: small numbers and the ends as often as any number."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice([low, high])
    if kind == 1:
        return rng.randint(low, high)
    return max(low, min(high, rng.randint(-20, 20)))


def random_visits(rng, p, count):
    """Return visits of all lanes in random order; the first of each is a first step."""
    half = 1 << p.membrane_width - 1
    limits = [(1 << rng.randint(1, p.membrane_width - 1)) - 1 for _ in range(p.tile_groups)]
    visits, begun = [], set()
    for _ in range(count):
        group = rng.randrange(p.tile_groups)
        new = group not in begun
        begun.add(group)
        bias = 1 << p.current_width - 1
        first_step = new or rng.random() < 0.1
        hold = not first_step and rng.random() < 0.3
        visits.append(Visit(
            group=group, plus=spread(rng, 0, (1 << p.count_width) - 1),
            minus=spread(rng, 0, (1 << p.count_width) - 1),
            gain_plus=spread(rng, 0, (1 << p.gain_width - 1) - 1),
            gain_minus=spread(rng, 0, (1 << p.gain_width - 1) - 1),
            counts=rng.random() < 0.8, keep=not new and rng.random() < 0.4,
            bias=spread(rng, -bias, bias - 1), first_step=first_step, hold=hold,
            leak=() if hold else tuple(rng.randint(1, p.leak_shift_max)
                                       for _ in range(rng.randint(0, p.leak_terms))),
            limit=limits[group],
            threshold=rng.choice([1, rng.randint(1, half), limits[group], half]),
            negative=rng.randrange(2), hard=rng.randrange(2), fire=new or rng.random() < 0.7))
    return visits


@pytest.mark.parametrize("name", CORES)
def test_random_visits(name):
    """Full-range operands, all options, lanes as soon again as they may be."""
    seed = 31
    print(f"seed {seed}")
    rng = random.Random(seed)
    p = CORES[name]
    visits = random_visits(rng, p, 500)
    bins = Counter()
    expected = reference(p, visits, bins)
    assert run(p, visits, [rng.choice([0, 0, 0, 3]) for _ in visits]) == expected
    assert all(bins[bin] >= 5 for bin in ("high", "low", "spike", "negative", "below",
                                             "late_reset")), bins


@pytest.mark.parametrize("bits", [2, 3, 8, 11, 12])
def test_saturation_at_both_ends(bits):
    """One below, at and one above each end of the range."""
    p = CORES["two terms"]
    limit = (1 << bits - 1) - 1
    visits = [Visit(counts=0, first_step=1, limit=limit, threshold=1 << p.membrane_width - 1,
                    bias=end + step) for end in (limit, ~limit) for step in (-1, 0, 1)]
    far = [replace(visits[0], bias=bias) for bias in (-(1 << p.current_width - 1),
                                                     (1 << p.current_width - 1) - 1)]
    membranes = [limit - 1, limit, limit, ~limit, ~limit, ~limit + 1, ~limit, limit]
    assert run(p, visits + far, [0] * 8) == [(0, membrane) for membrane in membranes]


def test_saturated_membrane_stays_until_driven_back():
    """Saturation is of the membrane that is kept, step after step."""
    p = CORES["no leak"]
    most = (1 << p.membrane_width - 1) - 1
    visits = [Visit(counts=0, bias=bias, first_step=n == 0, limit=most, threshold=most + 1)
              for n, bias in enumerate([most, most, -5, -most, -most - 1, -most - 1, 7])]
    membranes = [most, most, most - 5, -5, ~most, ~most, ~most + 7]
    assert run(p, visits, [0] * len(visits)) == [(0, membrane) for membrane in membranes]


def test_threshold_that_is_never_reached():
    p = CORES["one lane"]
    most = (1 << p.membrane_width - 1) - 1
    never, reached = most + 1, most
    visits = [Visit(counts=0, bias=most, first_step=1, limit=most, threshold=threshold, hard=hard)
              for threshold in (never, reached) for hard in (0, 1)]
    assert run(p, visits, [0] * 4) == [(0, most), (0, most), (1, 0), (1, 0)]


@pytest.mark.parametrize(("shifts", "before", "after"), [
    ((), -1000, -1000), ((1,), -1001, -500), ((1,), 1001, 501), ((3,), -1, 0), ((3,), 7, 7),
    ((1, 1), -1000, 0), ((1, 2), 1003, 252), ((2, 1), 1003, 252), ((11,), 2047, 2047),
    ((11,), -2048, -2047),
])
def test_leak_rounds_down(shifts, before, after):
    """The terms ``v >> k`` round towards minus infinity, both of the membrane before the leak."""
    p = CORES["two terms"]
    first = Visit(counts=0, bias=before, first_step=1, limit=2047, threshold=2048)
    visits = [first, replace(first, bias=0, first_step=0, leak=shifts)]
    assert after == leak(before, shifts)
    assert run(p, visits, [0, 0])[1] == (0, after)


def test_planes_add_up():
    """Visits that keep the current sum planes; the membrane waits, and steps may follow."""
    p = CORES["one lane"]
    plane = Visit(plus=5, minus=2, gain_plus=10, gain_minus=7, fire=0, limit=1023, threshold=1023)
    visits = [plane, replace(plane, keep=1, gain_plus=20, gain_minus=14),
              replace(plane, keep=1, gain_plus=40, gain_minus=28, fire=1, first_step=1, bias=-3),
              replace(plane, keep=1, counts=0, fire=1, bias=-3)]
    current = (10 + 20 + 40) * 5 - (7 + 14 + 28) * 2
    assert run(p, visits, [0] * 4) == [None, None, (0, current - 3), (0, 2 * (current - 3))]


@pytest.mark.parametrize("hard", [0, 1])
def test_counted_spike(hard):
    """Planes of a count take visits of their own, and a hard reset waits for the last one."""
    p = CORES["one lane"]
    first = Visit(counts=0, bias=23, first_step=1, limit=1023, threshold=20)
    more = replace(first, first_step=0, hold=1)
    visits = [first, replace(more, threshold=10), replace(more, threshold=5, hard=hard),
              replace(first, first_step=0, bias=-40, threshold=20),
              replace(more, threshold=5, hard=hard)]
    left = 0 if hard else 3
    assert run(p, visits, [0] * 5) == [(1, 3), (0, 3), (0, left), (0, left - 40), (0, left - 40)]


@pytest.mark.parametrize("hard", [0, 1])
@pytest.mark.parametrize(("membrane", "spikes", "left"), [
    (23, (1, 0, 0, 0), 3), (12, (0, 1, 0, 0), 2), (9, (0, 0, 0, 0), 9), (-10, (0, 0, 0, 0), -10),
    (-11, (0, 0, 0, 1), -1), (-20, (0, 0, 0, 1), -10), (-21, (0, 0, 1, 0), -1),
    (-40, (0, 0, 1, 1), -10),
])
def test_signed_spike(hard, membrane, spikes, left):
    """Planes worth 2, 1, -2 and -1 thresholds of 10; below zero a membrane must be beyond."""
    p = CORES["one lane"]
    first = Visit(counts=0, bias=membrane, first_step=1, limit=1023, threshold=20)
    more = replace(first, first_step=0, hold=1)
    visits = [first, replace(more, threshold=10), replace(more, threshold=20, negative=1),
              replace(more, threshold=10, negative=1, hard=hard)]
    found = [each for each in run(p, visits, [0] * 4) if each]
    assert tuple(spike for spike, _ in found) == spikes
    assert found[-1][1] == (0 if hard and any(spikes) else left)


@pytest.mark.parametrize("end", [1, -1])
def test_signed_threshold_that_is_never_reached(end):
    """A magnitude above every membrane, on both sides."""
    p = CORES["one lane"]
    most = (1 << p.membrane_width - 1) - 1
    bias = most if end > 0 else ~most
    visits = [Visit(counts=0, bias=bias, first_step=1, limit=most, threshold=most + 1),
              Visit(counts=0, hold=1, limit=most, threshold=most + 1, negative=1)]
    assert run(p, visits, [0, 0]) == [(0, bias), (0, bias)]
