"""Frames of the host link: whatever the pieces, whatever is damaged."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ternspike.framing import MAX_PAYLOAD, Decoder, Frame, encode

END, ESC = 0xC0, 0xDB

# Bytes of which many need an escape.
payloads = st.lists(st.sampled_from([END, ESC, 0xDC, 0xDD, 0, 1, 255]) | st.integers(0, 255),
                    max_size=MAX_PAYLOAD).map(bytes)
frames = st.builds(Frame, st.integers(0, 15), st.integers(0, 15), st.integers(0, 255), payloads)


def encoded(frame):
    return encode(frame.kind, frame.sequence, frame.payload, version=frame.version)


def pieces(line, cuts):
    ends = [0, *sorted(cut % (len(line) + 1) for cut in cuts), len(line)]
    return [line[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]


def test_bytes_of_a_frame():
    """By hand, from the protocol."""
    body = bytes([0x11, 0xC0, 1, 0xDB, 2])
    crc = zlib.crc32(body).to_bytes(4, "little")
    assert not set(crc) & {END, ESC}
    assert encode(1, 0xC0, bytes([1, 0xDB, 2])) == (
        b"\xc0\x11\xdb\xdc\x01\xdb\xdd\x02" + crc + b"\xc0")


@given(st.lists(frames, max_size=4), st.lists(st.integers(0, 1 << 16), max_size=6))
def test_round_trip(sent, cuts):
    """Frames come out as they went in, in pieces of any size."""
    decoder = Decoder()
    line = b"".join(map(encoded, sent))
    assert [frame for piece in pieces(line, cuts) for frame in decoder.feed(piece)] == sent


@given(frames)
def test_one_end_between_frames_is_enough(frame):
    line = encoded(frame)
    assert list(Decoder().feed(line + line[1:])) == [frame, frame]


@given(frames, st.integers(0, 1 << 16), st.integers(1, 255))
def test_damage_is_seen(frame, at, flipped):
    """No byte of a frame may change without notice, and the next frame is whole."""
    line = bytearray(encoded(frame))
    line[at % len(line)] ^= flipped
    heard = [each for each in Decoder().feed(bytes(line) + encoded(frame)) if each is not None]
    # Where an end is damaged the frame itself may be whole.
    assert heard == [frame] or heard == [frame, frame] and at % len(line) in (0, len(line) - 1)


@given(frames, st.integers(0, 1 << 16))
def test_cut_frame(frame, at):
    line = encoded(frame)
    heard = list(Decoder().feed(line[:at % (len(line) - 1)] + encoded(frame)))
    assert heard[-1] == frame and set(heard[:-1]) <= {None}


@given(st.binary(max_size=5).filter(lambda noise: not set(noise) & {END, ESC}), frames)
def test_short_noise_is_dropped(noise, frame):
    assert list(Decoder().feed(noise + encoded(frame))) == [frame]


@given(st.binary(max_size=2000), frames)
def test_frame_after_garbage(garbage, frame):
    heard = list(Decoder().feed(garbage + encoded(frame)))
    assert heard[-1] == frame
    assert set(heard[:-1]) <= {None}


def test_endless_frame_takes_no_memory():
    decoder = Decoder()
    for _ in range(50):
        assert list(decoder.feed(bytes(10_000))) == []
    assert len(decoder._held) <= 512
    assert list(decoder.feed(encode(3, 4))) == [None, Frame(1, 3, 4, b"")]


@pytest.mark.parametrize("line", [
    b"\xc0\x10\x01\x02\x03\x04\x05\xdb\x00\xc0",      # an escape of nothing
    b"\xc0\x10\x01\x02\x03\x04\x05\xdb\xc0",          # an escape at the end
    b"\xc0\x10\x01\x02\x03\x04\x05\xc0",              # a wrong check sum
])
def test_damaged(line):
    assert list(Decoder().feed(line)) == [None]


@pytest.mark.parametrize("arguments, version, message", [
    ((0, 0, bytes(507)), 1, "at most 506 bytes, not 507"),
    ((16, 0), 1, "Kind must be in 0..15, not 16"),
    ((0, 256), 1, "Sequence number must be in 0..255, not 256"),
    ((0, 0), -1, "Version must be in 0..15, not -1"),
])
def test_parts_out_of_range(arguments, version, message):
    with pytest.raises(ValueError, match=message):
        encode(*arguments, version=version)


def test_longest_frame():
    assert list(Decoder().feed(encode(15, 255, bytes(MAX_PAYLOAD)))) == [
        Frame(1, 15, 255, bytes(MAX_PAYLOAD))]
