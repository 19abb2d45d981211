"""A device in Python, written from docs/protocol.md, and ports to it that lose and damage bytes.

The device computes nothing: a table says what comes out of a sample.
"""

import contextlib
import os
import pty
import select
import socket
import struct
import termios
import threading
import tty
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import serial

from hw.memory_map import regions
from hw.parameters import CoreParameters
from hw.shapes import InputFrame
from mapping.program import compile_network
from model.golden import execute

__all__ = ["FakeDevice", "FakePort", "Faults", "device_on_pty", "device_on_socket", "table"]

OK, BAD_FRAME, BAD_LENGTH, BAD_VERSION, BAD_COMMAND, OUT_OF_RANGE, BUSY, NO_PROGRAM = range(8)
HELLO, WRITE, INPUT, RESULTS, STATUS, RESET, BAUD = range(7)

#: What befalls each request, by its number.
Faults = Mapping[int, str] | Callable[[int], str | None]


def table(network, parameters, inputs) -> dict[bytes, list[int]]:
    """Return the results of samples by their beats, from the golden executor."""
    golden = execute(network, inputs, record=False)
    beats = compile_network(network, parameters).pack_inputs(inputs)
    return {sample.tobytes(): [*readout.tolist(), int(winner)]
            for sample, readout, winner in zip(beats, golden.readout, golden.classes,
                                               strict=True)}


@dataclass
class FakeDevice:
    """What answers requests.

    Attributes
    ----------
    results
        Membranes and class of each sample, by its beats.
    work
        Requests that it takes to compute a sample.
    room
        Words of results that have a place; the core stops when there is none.
    slice
        Words of results in an answer at most.
    stuck
        Commands that are answered with BUSY for ever.
    """

    parameters: CoreParameters
    results: dict[bytes, list[int]] = field(default_factory=dict)
    clock: int = 12_000_000
    divisor: int = 104
    least: int = 4
    work: int = 2
    room: int = 140
    slice: int = 126
    cycles_a_sample: int = 100
    stuck: set[int] = field(default_factory=set)
    version: int = 1
    magic: bytes = b"TSPK"
    hello: list[int] | None = None

    def __post_init__(self):
        self.memory: dict[int, int] = {}
        self.requests: list[tuple[int, bytes]] = []     # that were carried out
        self.speed = self.divisor
        self.refused = 0
        self._frame = bytearray()
        self._last: tuple[int, bytes] | None = None
        self._clear()

    def _clear(self) -> None:
        self.partial = b""
        self.full: deque[bytes] = deque()
        self.given: deque[int] = deque()
        self.ticks = self.cycles = self.samples = self.refused = 0

    # Frames

    def receive(self, line: bytes) -> bytes:
        """Take bytes and return the answers."""
        answers = b""
        for byte in line:
            if byte == 0xC0:
                frame, self._frame = bytes(self._frame), bytearray()
                answer = self._answer(frame)
                if answer is not None:
                    answers += self._framed(answer)
            else:
                self._frame.append(byte)
        return answers

    @staticmethod
    def _framed(body: bytes) -> bytes:
        frame = body + zlib.crc32(body).to_bytes(4, "little")
        return b"\xc0" + frame.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"

    def _answer(self, escaped: bytes) -> bytes | None:
        frame, bad, rest = bytearray(), False, iter(escaped)
        for byte in rest:
            if byte == 0xDB:
                after = next(rest, None)
                bad |= after not in (0xDC, 0xDD)
                if after is None:                      # right before the end it stands for nothing
                    break
                byte = {0xDC: 0xC0, 0xDD: 0xDB}.get(after, after)
            frame.append(byte)
        if len(frame) < 6:
            return None
        sequence, payload = frame[1], bytes(frame[2:-4])
        if bad or zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "little"):
            status, answer = BAD_FRAME, b""
        elif len(frame) > 512:
            status, answer = BAD_LENGTH, b""
        elif frame[0] >> 4 != self.version:
            status, answer = BAD_VERSION, b""
        else:
            command = frame[0] & 15
            self.tick()
            if (self._last is not None and self._last[0] == sequence
                    and command not in (HELLO, STATUS, BAUD)):
                status, answer = OK, self._last[1]
            else:
                status, answer = self._carry_out(command, payload)
                if status == OK:
                    self._last = None if command == HELLO else (sequence, answer)
        self.refused += status != OK
        return bytes([self.version << 4 | status, sequence]) + (answer if status == OK else b"")

    def remember(self, sequence: int, answer: bytes) -> None:
        """Take a request for carried out."""
        self._last = sequence, answer

    # Commands

    def _carry_out(self, command: int, payload: bytes) -> tuple[int, bytes]:
        size = len(payload)
        beat = -(-self.parameters.lanes // 8)
        right = {
            HELLO: not size, RESULTS: not size, STATUS: not size, RESET: not size,
            BAUD: size == 2, WRITE: size % 4 == 0 and 8 <= size <= 504,
            INPUT: size % beat == 0 and size,
        }
        if command not in right:
            return BAD_COMMAND, b""
        if not right[command]:
            return BAD_LENGTH, b""
        status, answer = getattr(self, f"_command_{command}")(payload)
        if status == OK:
            self.requests.append((command, payload))
        return status, answer

    def _command_0(self, payload):
        values = [int(value) for value in self.parameters.to_dict().values()]
        words = self.hello or [self.clock, self.divisor, self.least, len(values), *values]
        return OK, self.magic + struct.pack(f"<{len(words)}I", *words)

    def _command_1(self, payload):
        address, *words = struct.unpack(f"<{len(payload) // 4}I", payload)
        if not (self._has(address) and self._has(address + len(words) - 1)
                and address >> 28 == address + len(words) - 1 >> 28):
            return OUT_OF_RANGE, b""
        if not self.idle or WRITE in self.stuck:
            return BUSY, b""
        self.memory |= {address + number: word for number, word in enumerate(words)
                        if self._has(address + number)}
        return OK, b""

    def _command_2(self, payload):
        frame = self.frame
        if not frame.valid:
            return NO_PROGRAM, b""
        size = int(frame.beats) * -(-self.parameters.lanes // 8)
        if len(self.partial) + len(payload) > size:
            return BAD_LENGTH, b""
        if not self.partial and (len(self.full) == 2 or INPUT in self.stuck):
            return BUSY, b""
        self.partial += payload
        if len(self.partial) == size:
            self.full.append(self.partial)
            self.partial = b""
        return OK, b""

    def _command_3(self, payload):
        if RESULTS in self.stuck:
            return OK, b""
        words = [self.given.popleft() for _ in range(min(self.slice, len(self.given)))]
        return OK, struct.pack(f"<{len(words)}i", *words)

    def _command_4(self, payload):
        flags = self.idle | int(self.frame.valid) << 1 | len(self.given) << 16
        return OK, struct.pack("<3I", flags, self.cycles % (1 << 32),
                               self.samples % (1 << 16) | self.refused % (1 << 16) << 16)

    def _command_5(self, payload):
        self._clear()
        return OK, b""

    def _command_6(self, payload):
        divisor = int.from_bytes(payload, "little")
        if divisor < self.least:
            return OUT_OF_RANGE, b""
        self.speed = divisor
        return OK, b""

    # The core

    @property
    def idle(self) -> bool:
        return not self.full and not self.partial

    @property
    def frame(self):
        region = regions(self.parameters)["input"]
        value = sum(self.memory.get(region.address(0, chunk), 0) << 32 * chunk
                    for chunk in range(region.chunks))
        return InputFrame(self.parameters).from_bits(value)

    def _has(self, address: int) -> bool:
        for region in regions(self.parameters).values():
            index = address & (1 << 28) - 1
            chunk = index & (1 << region.chunk_bits) - 1
            bank = index >> region.chunk_bits & (1 << region.bank_bits) - 1
            row = index >> region.chunk_bits + region.bank_bits
            if address >> 28 == region.number:
                return chunk < region.chunks and bank < region.banks and row < region.depth
        return False

    def tick(self) -> None:
        """Compute for as long as a request takes."""
        if not self.full:
            return
        self.ticks += 1
        results = self.results[self.full[0]]
        if self.ticks >= self.work and len(self.given) + len(results) <= self.room:
            self.full.popleft()
            self.given.extend(results)
            self.ticks = 0
            self.cycles += self.cycles_a_sample
            self.samples += 1


class FakePort:
    """A port of pyserial to a device, in the same thread.

    Parameters
    ----------
    faults
        What befalls the requests and their answers, by the number of the write: ``lost``,
        ``answer lost``, ``flipped``, ``answer flipped``, ``cut``, ``answer cut``, ``garbage``
        before the answer, ``late`` for one that comes with the next, ``twice``, ``gone`` for a
        port that fails from then on; or a function that returns one, or None.
    """

    def __init__(self, device: FakeDevice, faults: Faults = MappingProxyType({}), *,
                 seed: int = 1):
        self.device = device
        self._faults = faults.get if isinstance(faults, Mapping) else faults
        self._rng = np.random.default_rng(seed)
        self._waiting = b""
        self._late = b""
        self.writes = 0
        self.gone = self.closed = False
        self.baudrate = 115_200
        self.breaks = 0

    @property
    def in_waiting(self) -> int:
        self._check()
        return len(self._waiting)

    def read(self, size: int = 1) -> bytes:
        self._check()
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data

    def write(self, data: bytes) -> int:
        fault = self._faults(self.writes)
        self.writes += 1
        self.gone |= fault == "gone"
        self._check()
        self._waiting += self._late
        self._late = b""
        request = {"lost": b"", "flipped": self._flipped(data), "cut": self._cut(data)}.get(
            fault or "", data)
        answer = self.device.receive(request)
        if fault == "late":
            self._late = answer
        elif fault == "twice":
            self._waiting += answer + answer
        elif fault == "garbage":
            self._waiting += self._rng.bytes(int(self._rng.integers(1, 700))) + answer
        elif fault != "answer lost":
            self._waiting += {"answer flipped": self._flipped(answer),
                              "answer cut": self._cut(answer)}.get(fault or "", answer)
        return len(data)

    def send_break(self, duration: float = 0.25) -> None:
        self._check()
        self.breaks += 1
        self.device.speed = self.device.divisor

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.gone:
            raise serial.SerialException("device reports readiness to read but returned no data")

    def _flipped(self, data: bytes) -> bytes:
        """Return the bytes with a few bits of them changed."""
        damaged = bytearray(data)
        for _ in range(int(self._rng.integers(1, 4)) if data else 0):
            damaged[self._rng.integers(len(data))] ^= 1 << self._rng.integers(8)
        return bytes(damaged)

    def _cut(self, data: bytes) -> bytes:
        return data[:self._rng.integers(len(data))] if data else b""


@contextlib.contextmanager
def device_on_socket(device: FakeDevice, *, hang_up_after: int | None = None):
    """Give the address of a device that one client may connect to.

    ``hang_up_after`` is the number of bytes from the client after which the device is gone.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            with contextlib.suppress(OSError), server.accept()[0] as client:
                heard = 0
                while data := client.recv(4096):
                    heard += len(data)
                    if hang_up_after is not None and heard > hang_up_after:
                        return
                    client.sendall(device.receive(data))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            # Wakes an accept that nobody came to.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


#: Bits a second by the number that a terminal has for them.
BAUDS = {getattr(termios, name): int(name[1:]) for name in dir(termios)
         if name.startswith("B") and name[1:].isdigit()}


@contextlib.contextmanager
def device_on_pty(device: FakeDevice, *, fastest: int = 10_000_000, silent: bool = False,
                  hang_up_after: int | None = None):
    """Give the path of a terminal with a device behind it.

    The device hears noise if its speed is not the terminal's, or above ``fastest``, and returns to
    its first speed then; ``silent`` is one that does not answer. It is unplugged after the number
    of bytes ``hang_up_after``.
    """
    master, slave = pty.openpty()
    tty.setraw(slave)
    stop, stopped = os.pipe()

    def serve():
        heard = 0
        while stop not in select.select([master, stop], [], [])[0]:
            with contextlib.suppress(OSError):
                data = os.read(master, 4096)
                heard += len(data)
                if hang_up_after is not None and heard > hang_up_after:
                    return
                baud = BAUDS[termios.tcgetattr(master)[4]]
                speed = device.clock / device.speed
                if silent:
                    continue
                if abs(speed / baud - 1) > 0.04 or baud > fastest:
                    device.speed = device.divisor
                else:
                    os.write(master, device.receive(data))

    def serve_and_unplug():
        serve()
        os.close(master)

    thread = threading.Thread(target=serve_and_unplug)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        os.write(stopped, b"x")
        thread.join()
        for descriptor in (slave, stop, stopped):
            os.close(descriptor)
