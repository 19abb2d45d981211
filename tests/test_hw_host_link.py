# amaranth: UnusedElaboratable=no
"""The link alone: what it answers, what it does, and what it does once only."""

import random
import struct

import pytest

from hw.core import Core
from hw.memory_map import regions
from hw.parameters import PRESETS, CoreParameters
from hw.protocol import Status
from tests.link_bench import (
    BAUD,
    HELLO,
    INPUT,
    RESET,
    RESULTS,
    STATUS,
    WRITE,
    LinkBench,
    answer,
    decode,
    encode,
    frame,
    write,
)

OK, BAD_FRAME, BAD_LENGTH, BAD_VERSION, BAD_COMMAND, OUT_OF_RANGE, BUSY, NO_PROGRAM = range(8)

TINY = PRESETS["tiny"]

#: One with beats of three bytes, and with memories whose rows have three chunks or five banks.
ODD = CoreParameters(banks=5, lanes=20, neurons=4, scan=4, weight_depth=24, spike_depth=64,
                     gain_depth=6, neuron_depth=8, program_depth=3, current_width=24)

WEIGHTS = regions(TINY)["weights"]


def words_of(payload, form="i"):
    return list(struct.unpack(f"<{len(payload) // 4}{form}", payload))


def test_numbers_of_the_protocol():
    assert [Status(number).name for number in range(8)] == [
        "OK", "BAD_FRAME", "BAD_LENGTH", "BAD_VERSION", "BAD_COMMAND", "OUT_OF_RANGE", "BUSY",
        "NO_PROGRAM"]


@pytest.mark.parametrize("p", [TINY, ODD, PRESETS["large"]])
def test_hello_tells_what_core_it_is(p):
    bench = LinkBench(p)

    async def testbench(ctx):
        status, number, payload = await bench.host.ask(ctx, HELLO, 0xDB)
        assert (status, number, payload[:4]) == (OK, 0xDB, b"TSPK")
        values = [int(value) for value in p.to_dict().values()]
        assert words_of(payload[4:], "I") == [12_000_000, 104, 4, len(values), *values]

    bench.run(testbench)


# WRITE

def test_write():
    bench = LinkBench(TINY)
    rng = random.Random(3)

    async def testbench(ctx):
        expected = []
        for number, (first, count) in enumerate([(0, 1), (5, 2), (1000, 125), (32767 - 124, 125)]):
            words = [rng.getrandbits(32) for _ in range(count)]
            address = WEIGHTS.number << 28 | first
            assert (await bench.host.ask(ctx, WRITE, number, write(address, *words))
                    == answer(OK, number))
            expected += [(address + n, word) for n, word in enumerate(words)]
            assert bench.writes == expected

    bench.run(testbench)


def test_write_waits_for_the_core():
    """Whatever the core's pace is: each word is written once."""
    bench = LinkBench(TINY)
    rng = random.Random(4)
    expected = [(0x4000_0000 + n, rng.getrandbits(32)) for n in range(40)]

    async def testbench(ctx):
        await bench.host.send(ctx, encode(frame(
            WRITE, 1, write(expected[0][0], *(word for _, word in expected)))))
        while len(bench.writes) < len(expected):
            bench.set_core(ctx, ready=rng.random() < 0.3)
            await ctx.tick()
        assert await bench.host.hear(ctx) == answer(OK, 1)

    bench.run(testbench)
    assert bench.writes == expected


@pytest.mark.parametrize("p", [TINY, ODD])
def test_what_may_be_written(p):
    """First and last address must exist, in one memory; those between need not."""
    bench = LinkBench(p)
    exists = {region.address(row, chunk, bank)
              for region in regions(p).values() for row in range(region.depth)
              for chunk in range(region.chunks) for bank in range(region.banks)}
    tries = [(0, 1), (0x0FFF_FFFF, 1), (0x8000_0000, 1), (0xFFFF_FFFF, 2), (0xF400_0000, 1),
             (0x4010_0000, 1), (0xC000_0000, 1)]
    for region in regions(p).values():
        end = region.address(region.depth - 1, region.chunks - 1, region.banks - 1) + 1
        tries += [(region.address(0) - 1, 1), (region.address(0) - 1, 2), (region.address(0), 1),
                  (end - 1, 1), (end - 1, 2), (end, 1), (end - 5, 5), (end - 5, 6), (end + 99, 1)]
        tries += [(region.address(0) + (1 << bit), 1) for bit in range(0, 28, 3)]
        tries += [(region.address(0) + first, count) for first in range(1, 9, 2)
                  for count in (1, 3)]
    found = set()

    async def testbench(ctx):
        for attempt, (address, count) in enumerate(tries):
            last = address + count - 1
            right = address in exists and last in exists and address >> 28 == last >> 28
            bench.writes.clear()
            assert (await bench.host.ask(ctx, WRITE, attempt % 256, write(address, *range(count)))
                    == answer(OK if right else OUT_OF_RANGE, attempt % 256)), (hex(address), count)
            assert len(bench.writes) == (count if right else 0)
            found.add((right, address in exists, last in exists))

    bench.run(testbench, max_cycles=1_000_000)
    assert found >= {(True, True, True), (False, False, False), (False, True, False),
                     (False, False, True)}


# INPUT

@pytest.mark.parametrize("p", [TINY, ODD, PRESETS["small"], PRESETS["large"]])
def test_input(p):
    """Beats come in any number a request, but none goes beyond the end of a sample."""
    bench = LinkBench(p, beats=7)
    size = -(-p.lanes // 8)
    rng = random.Random(5)

    async def testbench(ctx):
        expected = []
        left, number, refused = 7, 0, 0
        while len(expected) < 30:
            count = rng.randint(1, 4)
            beats = [rng.getrandbits(p.lanes) for _ in range(count)]
            number += 1
            payload = b"".join(beat.to_bytes(size, "little") for beat in beats)
            found = await bench.host.ask(ctx, INPUT, number, payload)
            if count > left:
                assert found == answer(BAD_LENGTH, number)
                refused += 1
            else:
                assert found == answer(OK, number)
                expected += beats
                left = left - count or 7
            assert bench.samples == expected
        assert refused

    bench.run(testbench)


def test_input_of_the_longest_frame():
    bench = LinkBench(TINY, beats=600)
    beats = random.Random(6).randbytes(600)

    async def testbench(ctx):
        assert await bench.host.ask(ctx, INPUT, 1, beats[:506]) == answer(OK, 1)
        assert await bench.host.ask(ctx, INPUT, 2, beats[506:] + b"\0") == answer(BAD_LENGTH, 2)
        assert await bench.host.ask(ctx, INPUT, 3, beats[506:]) == answer(OK, 3)

    bench.run(testbench)
    assert bytes(bench.samples) == beats


def test_input_waits_in_the_middle_of_a_sample():
    """BUSY is only said where a sample begins."""
    bench = LinkBench(TINY, beats=4)
    rng = random.Random(7)

    async def testbench(ctx):
        bench.set_core(ctx, ready=0)
        assert await bench.host.ask(ctx, INPUT, 1, b"\1") == answer(BUSY, 1)
        assert bench.samples == []
        bench.set_core(ctx, ready=1)
        assert await bench.host.ask(ctx, INPUT, 1, b"\1") == answer(OK, 1)
        bench.set_core(ctx, ready=0)
        await bench.host.send(ctx, encode(frame(INPUT, 2, b"\2\3\4")))
        while len(bench.samples) < 4:
            bench.set_core(ctx, ready=rng.random() < 0.1)
            await ctx.tick()
        assert await bench.host.hear(ctx) == answer(OK, 2)
        bench.set_core(ctx, ready=0)
        assert await bench.host.ask(ctx, INPUT, 3, b"\5") == answer(BUSY, 3)

    bench.run(testbench)
    assert bench.samples == [1, 2, 3, 4]


# RESULTS

def test_results():
    bench = LinkBench(TINY)
    samples = [[-(1 << 21), (1 << 21) - 1, -1], [0, 5, -7], [3]]
    expected = [word for sample in samples for word in [*sample, 2]]

    async def testbench(ctx):
        assert await bench.host.ask(ctx, RESULTS, 1) == answer(OK, 1)
        bench.add_results(*samples, winner=2)
        await ctx.tick().repeat(30)
        status, number, payload = await bench.host.ask(ctx, RESULTS, 2)
        assert (status, number, words_of(payload)) == (OK, 2, expected)
        assert await bench.host.ask(ctx, RESULTS, 3) == answer(OK, 3)

    bench.run(testbench)


def test_results_of_wide_cores():
    """32-bit membranes; and a winner of more bits than a membrane has."""
    wide = CoreParameters(banks=2, lanes=2, neurons=1, scan=2, current_width=32)
    narrow = CoreParameters(banks=2, lanes=2, neurons=1, scan=2, current_width=8,
                            membrane_width=8, readout_depth=1024)
    for p, sample, winner in ((wide, [-(1 << 31), (1 << 31) - 1], 200), (narrow, [-128, 127], 900)):
        bench = LinkBench(p)

        async def testbench(ctx, bench=bench, sample=sample, winner=winner):
            bench.add_results(sample, winner=winner)
            await ctx.tick().repeat(10)
            _, _, payload = await bench.host.ask(ctx, RESULTS, 1)
            assert words_of(payload) == [*sample, winner]

        bench.run(testbench)


def test_results_are_held_back_and_split():
    """126 words have a place, as many as an answer has. What is repeated is the same."""
    bench = LinkBench(TINY)
    samples = [[100 * n + neuron for neuron in range(10)] for n in range(60)]
    expected = [word for sample in samples for word in [*sample, 9]]

    async def testbench(ctx):
        bench.add_results(*samples, winner=9)
        await ctx.tick().repeat(400)
        # Of the twelfth sample there are places for five membranes.
        assert bench.taken == 11 * 10 + 5
        found, number = [], 0
        while len(found) < len(expected):
            number += 1
            once = await bench.host.ask(ctx, RESULTS, number)
            assert once == await bench.host.ask(ctx, RESULTS, number)
            assert len(once[2]) == 4 * min(126, len(expected) - len(found))
            found += words_of(once[2])
        assert found == expected

    bench.run(testbench)


def test_a_repeated_answer_does_not_grow():
    bench = LinkBench(TINY)

    async def testbench(ctx):
        bench.add_results([1, 2])
        await ctx.tick().repeat(10)
        once = await bench.host.ask(ctx, RESULTS, 1)
        bench.add_results([3, 4])
        await ctx.tick().repeat(10)
        assert await bench.host.ask(ctx, RESULTS, 1) == once
        # A refused request does not end the time in which it can be repeated.
        assert await bench.host.ask(ctx, 9, 2) == answer(BAD_COMMAND, 2)
        assert await bench.host.ask(ctx, RESULTS, 1) == once
        assert words_of((await bench.host.ask(ctx, STATUS, 2))[2])[0] == 3 << 16 | 3
        assert words_of((await bench.host.ask(ctx, RESULTS, 3))[2]) == [3, 4, 0]

    bench.run(testbench)


# STATUS and RESET

def test_status():
    bench = LinkBench(TINY)

    async def status(ctx, number):
        found, again, payload = await bench.host.ask(ctx, STATUS, number)
        assert (found, again) == (OK, number)
        return words_of(payload, "I")

    async def testbench(ctx):
        assert await status(ctx, 1) == [3, 0, 0]
        bench.set_core(ctx, idle=0, busy=1)
        await ctx.tick().repeat(3_001)
        bench.set_core(ctx, busy=0)
        bench.add_results([1, 2], [3, 4], winner=1)
        await ctx.tick().repeat(20)
        assert await bench.host.ask(ctx, 15, 2) == answer(BAD_COMMAND, 2)
        bench.set_frame(ctx, None)
        assert await status(ctx, 1) == [6 << 16, 3_001, 1 << 16 | 2]
        await bench.host.ask(ctx, RESET, 3)
        assert await status(ctx, 4) == [0, 0, 0]

    bench.run(testbench)


def test_cycles_are_read_at_once():
    """However slowly the answer leaves."""
    bench = LinkBench(TINY)

    async def testbench(ctx):
        bench.set_core(ctx, busy=1)
        before = 0
        for number in range(40):
            _, _, payload = await bench.host.ask(ctx, STATUS, number)
            cycles = words_of(payload, "I")[1]
            assert before < cycles < before + 1000
            before = cycles

    bench.run(testbench)


def test_reset():
    bench = LinkBench(TINY, beats=4)

    async def testbench(ctx):
        bench.add_results([1, 2], [3, 4])
        await bench.host.ask(ctx, INPUT, 1, b"\1\2\3")
        assert await bench.host.ask(ctx, RESET, 2) == answer(OK, 2)
        assert bench.resets >= Core.reset_cycles
        assert await bench.host.ask(ctx, RESULTS, 3) == answer(OK, 3)
        # It is a sample's first beat that comes next.
        assert await bench.host.ask(ctx, INPUT, 4, b"\4\5\6\7") == answer(OK, 4)
        assert await bench.host.ask(ctx, INPUT, 5, b"\4\5\6\7\7") == answer(BAD_LENGTH, 5)

    bench.run(testbench)
    assert bench.samples == [1, 2, 3, 4, 5, 6, 7]


# BAUD

def test_speed():
    bench = LinkBench(TINY, fallback=3000)
    dut = bench.dut

    async def testbench(ctx):
        async def change(number, divisor):
            return await bench.host.ask(ctx, BAUD, number, struct.pack("<H", divisor))

        assert ctx.get(dut.divisor) == 104
        for number, divisor in enumerate((0, 1, 2, 3)):
            assert await change(number, divisor) == answer(OUT_OF_RANGE, number)
        assert await change(4, 4) == answer(OK, 4)
        assert ctx.get(dut.divisor) == 4
        # A good frame makes it stay.
        assert await bench.host.ask(ctx, HELLO, 5)
        await ctx.tick().repeat(4000)
        assert ctx.get(dut.divisor) == 4
        assert await change(6, 0xC0DB) == answer(OK, 6)
        assert ctx.get(dut.divisor) == 0xC0DB
        # A damaged one does not, and one that is refused does.
        damaged = bytearray(frame(HELLO, 9))
        damaged[1] ^= 1
        await bench.host.send(ctx, encode(damaged))
        assert await bench.host.hear(ctx) == answer(BAD_FRAME, 8)
        await ctx.tick().repeat(2500)
        assert ctx.get(dut.divisor) == 0xC0DB
        await ctx.tick().repeat(500)
        assert ctx.get(dut.divisor) == 104
        # Asked again, it is carried out again: the line may have gone back meanwhile.
        assert await change(6, 5) == answer(OK, 6)
        assert ctx.get(dut.divisor) == 5
        assert await bench.host.ask(ctx, 14, 7) == answer(BAD_COMMAND, 7)
        await ctx.tick().repeat(4000)
        assert ctx.get(dut.divisor) == 5
        ctx.set(dut.line_break, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.line_break, 0)
        assert ctx.get(dut.divisor) == 104
        assert await change(8, 104) == answer(OK, 8)

    bench.run(testbench)


def test_speed_changes_after_the_answer_has_been_sent():
    bench = LinkBench(TINY)
    dut = bench.dut

    async def testbench(ctx):
        await bench.host.send(ctx, encode(frame(BAUD, 1, struct.pack("<H", 20))))
        assert await bench.host.receive(ctx)
        ctx.set(dut.o.ready, 0)
        await ctx.tick().repeat(500)
        assert ctx.get(dut.divisor) == 104
        ctx.set(dut.o.ready, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.divisor) == 20

    bench.run(testbench)


# What is refused, and in which order

RIGHT = {HELLO: b"", WRITE: write(0x4000_0000, 1), INPUT: b"\1", RESULTS: b"", STATUS: b"",
         RESET: b"", BAUD: b"\x68\0"}


@pytest.mark.parametrize("command", RIGHT)
def test_lengths(command):
    bench = LinkBench(TINY, beats=100)
    right = {HELLO: {0}, WRITE: set(range(8, 505, 4)), INPUT: set(range(1, 101)), RESULTS: {0},
             STATUS: {0}, RESET: {0}, BAUD: {2}}[command]
    lengths = [*range(14), 102, 499, 500, 501, 503, 504, 505, 506]

    async def testbench(ctx):
        for number, length in enumerate(lengths):
            payload = (RIGHT[command] + bytes(length))[:length]
            found = await bench.host.ask(ctx, command, number, payload)
            assert found[0] == (OK if length in right else BAD_LENGTH), length
            if command == INPUT:
                await bench.host.ask(ctx, RESET, 200 + number)

    bench.run(testbench)


@pytest.mark.parametrize("p", [ODD, PRESETS["large"]])
def test_lengths_of_beats(p):
    bench = LinkBench(p, beats=100)
    size = -(-p.lanes // 8)

    async def testbench(ctx):
        for number, length in enumerate([*range(3 * size + 1)]):
            found = await bench.host.ask(ctx, INPUT, number, bytes(length))
            assert found[0] == (OK if length and length % size == 0 else BAD_LENGTH), length
        # More of them than the core can count.
        assert await bench.host.ask(ctx, INPUT, 99, bytes(504 // size * size)) == answer(
            BAD_LENGTH if 504 // size > 100 else OK, 99)

    bench.run(testbench)


def faulty(faults: set[str]) -> bytes:
    """Return a request with so many things wrong with it."""
    command = WRITE if "write" in faults else INPUT
    payload = write(0x0400_0000 if "range" in faults else 0x4000_0000, 1)
    if command == INPUT:
        payload = bytes(9 if "beyond" in faults else 1)
    if "length" in faults:
        payload = payload[:-1]
    if "too long" in faults:
        payload += bytes(507 - len(payload))
    whole = bytearray(frame(9 if "command" in faults else command, 77, payload,
                            version=2 if "version" in faults else 1))
    if "frame" in faults:
        whole[-1] ^= 1
    return encode(whole)


def test_order_of_the_checks():
    """Of two things that are wrong, the one that is checked first is named."""
    orders = [
        ({"write"}, [("frame", BAD_FRAME), ("too long", BAD_LENGTH), ("version", BAD_VERSION),
                     ("command", BAD_COMMAND), ("length", BAD_LENGTH), ("range", OUT_OF_RANGE),
                     ("busy", BUSY)]),
        (set(), [("frame", BAD_FRAME), ("too long", BAD_LENGTH), ("version", BAD_VERSION),
                 ("command", BAD_COMMAND), ("length", BAD_LENGTH), ("no program", NO_PROGRAM),
                 ("beyond", BAD_LENGTH), ("busy", BUSY)]),
    ]
    bench = LinkBench(TINY)

    async def testbench(ctx):
        for base, order in orders:
            for index, (first, status) in enumerate(order):
                for second, _ in order[index:]:
                    faults = {first, second}
                    busy = "busy" in faults
                    bench.set_core(ctx, idle=not busy, ready=not busy)
                    bench.set_frame(ctx, None if "no program" in faults else 5)
                    await bench.host.send(ctx, faulty(base | faults))
                    assert await bench.host.hear(ctx) == answer(status, 77), faults

    bench.run(testbench)
    assert not bench.writes and not bench.samples


@pytest.mark.parametrize("version", [0, 2, 9, 15])
def test_other_versions(version):
    bench = LinkBench(TINY)

    async def testbench(ctx):
        assert (await bench.host.ask(ctx, STATUS, 9, version=version) == answer(BAD_VERSION, 9))

    bench.run(testbench)


# What is no good request

def test_short_frames_are_dropped():
    bench = LinkBench(TINY, patience=600)

    async def testbench(ctx):
        for length in range(6):
            await bench.host.send(ctx, encode(frame(HELLO, 1)[:length]))
            assert await bench.host.hear(ctx) is None
        await bench.host.send(ctx, encode(bytes(6)))
        assert await bench.host.hear(ctx) == answer(BAD_FRAME, 0)
        assert (await bench.host.ask(ctx, STATUS, 1))[0] == OK

    bench.run(testbench)


def test_one_end_between_two_frames():
    """END ends a frame and also begins one; more of them are nothing."""
    bench = LinkBench(TINY)

    async def testbench(ctx):
        for line in (encode(frame(STATUS, 1))[1:], encode(frame(STATUS, 1))[1:],
                     b"\xc0" * 9 + encode(frame(STATUS, 1))):
            await bench.host.send(ctx, line)
            assert (await bench.host.hear(ctx))[0] == OK

    bench.run(testbench)


@pytest.mark.parametrize("broken", [b"\xdb", b"\xdb\0", b"\xdb\xdb", b"\xdb\xdb\xdc"])
def test_broken_escapes(broken):
    """Even where the CRC is right, as nobody checks what a broken escape stands for."""
    bench = LinkBench(TINY)
    whole = frame(STATUS, 5)

    async def testbench(ctx):
        for at in (2, len(whole)):
            await bench.host.send(ctx, b"\xc0" + whole[:at] + broken + whole[at:] + b"\xc0")
            assert await bench.host.hear(ctx) == answer(BAD_FRAME, 5)
            assert (await bench.host.ask(ctx, STATUS, 1))[0] == OK

    bench.run(testbench)


@pytest.mark.parametrize(("extra", "good", "status"), [
    (1, True, BAD_LENGTH), (1, False, BAD_FRAME), (513, True, BAD_LENGTH), (600, False, BAD_FRAME),
])
def test_too_long_frames(extra, good, status):
    bench = LinkBench(TINY, beats=600)
    whole = frame(INPUT, 3, bytes(506 + extra))

    async def testbench(ctx):
        await bench.host.send(ctx, encode(whole[:-1] + bytes([whole[-1] ^ (not good)])))
        assert await bench.host.hear(ctx) == answer(status, 3)
        assert await bench.host.ask(ctx, INPUT, 3, bytes(506)) == answer(OK, 3)

    bench.run(testbench)
    assert len(bench.samples) == 506


def test_a_frame_that_comes_while_another_is_answered():
    """A single byte of it is enough to drop all of it; END is no byte of a frame."""
    bench = LinkBench(TINY, patience=600)
    dut = bench.dut

    async def testbench(ctx):
        for early in (1, 5, None):
            line = encode(frame(RESET, 2))
            ctx.set(dut.o.ready, 0)
            await bench.host.send(ctx, encode(frame(STATUS, 1)))
            await bench.host.send(ctx, line[:early])
            assert (await bench.host.hear(ctx))[1] == 1
            await bench.host.send(ctx, line[early:] if early else b"")
            found = await bench.host.hear(ctx)
            assert found == (answer(OK, 2) if early == 1 else None)
            assert (await bench.host.ask(ctx, STATUS, 3))[0] == OK

    bench.run(testbench)
    assert bench.resets >= Core.reset_cycles


# Each request is carried out once

@pytest.mark.parametrize(("command", "payload"), [
    (WRITE, write(0x4000_0000, 1, 2)), (INPUT, b"\1\2"), (RESET, b"")])
def test_what_is_repeated_is_not_carried_out(command, payload):
    bench = LinkBench(TINY, beats=3)

    async def testbench(ctx):
        def done():
            return len(bench.writes), len(bench.samples), bench.resets

        assert await bench.host.ask(ctx, command, 0, payload) == answer(OK, 0)
        once = done()
        assert any(once)
        # Not even what would be refused now.
        bench.set_core(ctx, idle=0, ready=0)
        for _ in range(3):
            assert await bench.host.ask(ctx, command, 0, payload) == answer(OK, 0)
        bench.set_core(ctx, idle=1, ready=1)
        bench.set_frame(ctx, None)
        assert await bench.host.ask(ctx, command, 0, payload) == answer(OK, 0)
        bench.set_frame(ctx, 3)
        assert await bench.host.ask(ctx, 9, 1) == answer(BAD_COMMAND, 1)
        assert await bench.host.ask(ctx, command, 0, payload) == answer(OK, 0)
        assert done() == once
        # HELLO makes it forget the number.
        assert (await bench.host.ask(ctx, HELLO, 0))[0] == OK
        await bench.host.ask(ctx, RESET, 1)
        once = done()
        assert await bench.host.ask(ctx, command, 0, payload) == answer(OK, 0)
        assert done() != once

    bench.run(testbench)


def test_what_was_refused_is_carried_out_when_it_comes_again():
    bench = LinkBench(TINY)

    async def testbench(ctx):
        bench.set_core(ctx, idle=0)
        assert await bench.host.ask(ctx, WRITE, 4, RIGHT[WRITE]) == answer(BUSY, 4)
        bench.set_core(ctx, idle=1)
        assert await bench.host.ask(ctx, WRITE, 4, RIGHT[WRITE]) == answer(OK, 4)
        damaged = bytearray(frame(WRITE, 5, RIGHT[WRITE]))
        damaged[7] ^= 16
        await bench.host.send(ctx, encode(damaged))
        assert await bench.host.hear(ctx) == answer(BAD_FRAME, 5)
        assert len(bench.writes) == 1
        assert await bench.host.ask(ctx, WRITE, 5, RIGHT[WRITE]) == answer(OK, 5)
        assert len(bench.writes) == 2

    bench.run(testbench)


# Everything at random

@pytest.mark.parametrize("seed", [
    0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
def test_corrupted_frames(seed):
    """Nothing that is damaged changes anything, and a clean frame works at once."""
    print(f"seed {seed}")
    count = 150
    rng = random.Random(seed)
    stalls = random.Random(seed + 1)
    bench = LinkBench(TINY, beats=8, patience=300,
                      stall=lambda: stalls.randrange(5) if stalls.random() < 0.1 else 0)
    heard = set()

    def damaged() -> bytes:
        command = rng.choice([WRITE, INPUT, RESULTS, RESET, BAUD])
        line = bytearray(encode(frame(command, rng.randrange(256), RIGHT[command])))
        kind = rng.randrange(6)
        at = rng.randrange(1, len(line) - 1)
        if kind == 0:
            line[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del line[at]
        elif kind == 2:
            line.insert(at, rng.choice([0xC0, 0xDB, rng.randrange(256)]))
        elif kind == 3:
            line[at:at + rng.randint(1, 9)] = rng.randbytes(rng.randrange(9))
        elif kind == 4:
            line[:] = rng.randbytes(rng.randrange(40))
        else:
            line = line[:at] + line
        return bytes(line)

    def harmless(line) -> bool:
        """Tell whether no frame of the line is right."""
        return not any(decodes(b"\xc0" + part + b"\xc0") for part in line.split(b"\xc0"))

    def decodes(line) -> bool:
        try:
            whole = decode(line)
        except KeyError:
            return False
        return len(whole) >= 6 and whole == frame(whole[0] & 15, whole[1], whole[2:-4],
                                                  version=whole[0] >> 4)

    async def testbench(ctx):
        for attempt in range(count):
            before = len(bench.writes), len(bench.samples), bench.resets
            line = damaged()
            await bench.host.send(ctx, line)
            # END, and what is being answered; then a clean frame.
            await bench.host.send(ctx, b"\xc0")
            found = await bench.host.receive(ctx)
            heard.add(found and found[:2])
            while await bench.host.receive(ctx):
                pass
            if harmless(line):
                assert before == (len(bench.writes), len(bench.samples), bench.resets), line
            number = rng.randrange(256)
            assert (await bench.host.ask(ctx, HELLO, number))[:2] == (OK, number)
            command = rng.choice([RESULTS, WRITE])
            assert await bench.host.ask(ctx, command, 1, RIGHT[command]) == answer(OK, 1), attempt

    bench.run(testbench, max_cycles=count * 4000)
    assert {None, b"\xc0\x11"} <= heard
