"""Names and numbers of the host link's protocol, which ``docs/protocol.md`` explains.

Imported by the hardware and by the host's driver, so that there is one place for each number.
"""
from enum import IntEnum

__all__ = ["VERSION", "MAX_FRAME", "OVERHEAD", "END", "ESC", "ESC_END", "ESC_ESC", "MAGIC",
           "Command", "Status"]

#: Version of the protocol, in every frame.
VERSION = 1

#: Bytes of a frame at most, before escapes: header, payload and CRC.
MAX_FRAME = 512

#: Bytes of a frame beside its payload: command or status, sequence number, CRC-32.
OVERHEAD = 6

#: Framing as in RFC 1055 (SLIP): ends of a frame, and what stands for these two bytes within one.
END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD

#: First four bytes of the answer to HELLO.
MAGIC = b"TSPK"


class Command(IntEnum):
    """What a request asks for: the lower half of its first byte."""

    #: Tell what core this is.
    HELLO = 0
    #: Write consecutive words of the core's memories.
    WRITE = 1
    #: Take beats of an input sample.
    INPUT = 2
    #: Give the results that there are.
    RESULTS = 3
    #: Tell flags and counters.
    STATUS = 4
    #: Drop all samples and results; keep the network.
    RESET = 5
    #: Change the speed of the serial line.
    BAUD = 6


class Status(IntEnum):
    """What came of a request: the lower half of an answer's first byte."""

    #: It was carried out.
    OK = 0
    #: The frame is damaged: CRC or escape.
    BAD_FRAME = 1
    #: The payload is of no length that the command takes, or the frame is too long.
    BAD_LENGTH = 2
    #: The request is of another version of the protocol.
    BAD_VERSION = 3
    #: There is no such command.
    BAD_COMMAND = 4
    #: An address or a value is out of range.
    OUT_OF_RANGE = 5
    #: The core is at work, or both its input buffers are full. Ask again.
    BUSY = 6
    #: No network is loaded.
    NO_PROGRAM = 7
