"""Framing, against frames in bytes as docs/protocol.md has them."""

import random

import pytest

from hw.slip import SlipDecoder, SlipEncoder
from sim.pysim import simulate, stream_get_all, stream_put_all
from tests.link_bench import decode, encode

CASES = {
    "nothing special":  [b"abc", b"d"],
    "a byte":           [b"\xc0", b"\xdb", b"\xdc", b"\xdd", b"\0"],
    "all to be escaped": [b"\xc0" * 5 + b"\xdb" * 5, b"\xdb\xdc\xdb\xdd", b"\xc0\xdb\xc0"],
    "every byte":       [bytes(range(256))],
    "at random":        [random.Random(2).choices(b"\xc0\xdb\xdc\xdd\x00", k=40)],
}


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_encoder(name, stalls):
    frames = [bytes(each) for each in CASES[name]]
    dut = SlipEncoder()
    expected = b"".join(map(encode, frames))
    beats = [{"data": byte, "last": at == len(each) - 1}
             for each in frames for at, byte in enumerate(each)]

    async def feed(ctx):
        assert not ctx.get(dut.busy)
        await stream_put_all(ctx, dut.i, beats, stalls=stalls, seed=1)

    async def read(ctx):
        found = await stream_get_all(ctx, dut.o, len(expected), stalls=stalls, seed=2)
        assert bytes(found) == expected
        assert not ctx.get(dut.busy)

    simulate(dut, feed, read)


def test_encoder_is_busy_from_the_first_byte_to_the_last():
    dut = SlipEncoder()

    async def testbench(ctx):
        await stream_put_all(ctx, dut.i, [])
        ctx.set(dut.i.payload, {"data": 1, "last": 1})
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        for _ in range(2):
            await ctx.tick().repeat(5)
            assert ctx.get(dut.busy)
            await stream_get_all(ctx, dut.o, 1)
            ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(5)
        assert ctx.get(dut.busy)
        await stream_get_all(ctx, dut.o, 1)
        assert not ctx.get(dut.busy)

    simulate(dut, testbench)


def run_decoder(line: bytes, stalls: float) -> list[bytes | None]:
    """Return the frames of a line; None where one is marked."""
    dut = SlipDecoder()
    frames, count = [], line.count(b"\xc0")

    async def feed(ctx):
        await stream_put_all(ctx, dut.i, line, stalls=stalls, seed=3)

    async def read(ctx):
        frame = b""
        while len(frames) < count:
            beat, = await stream_get_all(ctx, dut.o, 1, stalls=stalls, seed=len(frames))
            if beat.end:
                frames.append(None if beat.error else frame)
                frame = b""
            else:
                frame += bytes([beat.data])

    simulate(dut, feed, read)
    return frames


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_decoder(name, stalls):
    frames = [bytes(each) for each in CASES[name]]
    line = b"".join(map(encode, frames))
    assert [decode(encode(each)) for each in frames] == frames
    assert run_decoder(line, stalls) == [part for each in frames for part in (b"", each)]


@pytest.mark.parametrize("broken", [
    b"a\xdb", b"\xdb\0b", b"\xdb\xdb\xdc", b"\xdb\xde", b"\xdb\xdb"])
def test_broken_escapes(broken):
    """They mark their frame, and no other."""
    line = b"good\xc0" + broken + b"\xc0good\xdb\xdc\xc0"
    assert run_decoder(line, 0.0) == [b"good", None, b"good\xc0"]


def test_decoder_at_random():
    seed = 7
    print(f"seed {seed}")
    rng = random.Random(seed)
    line = bytes(rng.choices(b"\xc0\xdb\xdc\xdd\x01", weights=(1, 2, 2, 2, 2), k=3000)) + b"\xc0"
    expected = []
    for part in line.split(b"\xc0")[:-1]:
        try:
            expected.append(decode(b"\xc0" + part + b"\xc0"))
        except (KeyError, IndexError):
            expected.append(None)
    found = run_decoder(line, 0.0)
    assert found == expected
    assert sum(each is None for each in found) > 50 and sum(map(bool, found)) > 50
