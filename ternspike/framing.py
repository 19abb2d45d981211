"""Frames of the host link: bytes between two ends, with a check sum; see `docs/protocol.md`."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from hw.protocol import END, ESC, ESC_END, ESC_ESC, MAX_FRAME, OVERHEAD, VERSION

__all__ = ["MAX_PAYLOAD", "Decoder", "Frame", "encode"]

#: Bytes of a payload at most.
MAX_PAYLOAD = MAX_FRAME - OVERHEAD

_CRC_BYTES = 4
_END, _ESC = bytes([END]), bytes([ESC])
_ESCAPED_END, _ESCAPED_ESC = bytes([ESC, ESC_END]), bytes([ESC, ESC_ESC])


@dataclass(frozen=True)
class Frame:
    """A frame whose check sum is right.

    Members
    -------
    version
        Of the protocol, 0..15.
    kind
        The number of a command or of a status, 0..15.
    sequence
        0..255.
    payload
        0..506 bytes.
    """

    version: int
    kind: int
    sequence: int
    payload: bytes


def encode(kind: int, sequence: int, payload: bytes = b"", *, version: int = VERSION) -> bytes:
    """Return a frame as the bytes of the line, an end before and behind it.

    Raises
    ------
    ValueError
        If the payload is too long, or another part is not of its range.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"Payload must have at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    for name, value, limit in (("Version", version, 15), ("Kind", kind, 15),
                               ("Sequence number", sequence, 255)):
        if not 0 <= value <= limit:
            raise ValueError(f"{name} must be in 0..{limit}, not {value}")
    body = bytes([version << 4 | kind, sequence]) + payload
    frame = body + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")
    # The escape first, as the other replacement makes new ones. The end before the frame closes
    # whatever noise there was on the line.
    return _END + frame.replace(_ESC, _ESCAPED_ESC).replace(_END, _ESCAPED_END) + _END


class Decoder:
    """Find the frames in a stream of bytes that comes in pieces of any size."""

    def __init__(self):
        self._held = bytearray()
        self._escaped = False
        self._damaged = False

    def feed(self, data: bytes) -> Iterator[Frame | None]:
        """Yield the frames that end in ``data``, and None for each that is damaged.

        Fewer bytes between two ends than the shortest frame has are noise, and nothing is yielded
        for them.
        """
        for byte in data:
            if byte == END:
                yield from self._end()
            elif self._escaped:
                self._escaped = False
                self._damaged |= byte not in (ESC_END, ESC_ESC)
                self._hold(END if byte == ESC_END else ESC)
            elif byte == ESC:
                self._escaped = True
            else:
                self._hold(byte)

    def _hold(self, byte: int) -> None:
        """Keep a byte of the frame, but no more than a frame has: a line may babble for hours."""
        if len(self._held) < MAX_FRAME:
            self._held.append(byte)
        else:
            self._damaged = True

    def _end(self) -> Iterator[Frame | None]:
        """Yield what the bytes that are held are, and forget them."""
        frame, damaged = bytes(self._held), self._damaged or self._escaped
        self._held.clear()
        self._escaped = self._damaged = False
        if len(frame) < OVERHEAD:
            return
        body, crc = frame[:-_CRC_BYTES], int.from_bytes(frame[-_CRC_BYTES:], "little")
        if damaged or zlib.crc32(body) != crc:
            yield None
        else:
            yield Frame(body[0] >> 4, body[0] & 15, body[1], body[2:])
