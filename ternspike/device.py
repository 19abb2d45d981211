"""A device: a core behind the host link, as `docs/protocol.md` describes it.

::

    with Device("/dev/ttyUSB0") as device:
        device.load(network)
        print(device.infer(images).classes)
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from hw.parameters import CoreParameters
from hw.protocol import MAGIC, Command
from ternspike.connection import (
    FIRST_BAUD,
    BusyError,
    Connection,
    DeviceError,
    open_port,
    speeds,
)
from ternspike.framing import MAX_PAYLOAD

if TYPE_CHECKING:
    from mapping.program import Program
    from model.network import IntegerNetwork

__all__ = ["Device", "DeviceError", "DeviceStatus", "Inference", "load_requests"]

#: Words of a WRITE at most: its payload is their address and they.
WRITE_WORDS = MAX_PAYLOAD // 4 - 1

#: Words of results that an answer has at most.
RESULTS_WORDS = MAX_PAYLOAD // 4

#: Addresses between two words of a memory that are rather written, too, than a WRITE more is made.
MAX_GAP = 4

#: Samples that are packed at once; all of them might not fit in memory.
PACKED = 64

#: Seconds after which the counter of cycles is read again: of 32 bits, it is round after ten
#: seconds at 400 MHz.
COUNT_EVERY = 2.0

#: Seconds that an answer may take: on a serial line, and over a network or from a simulated board.
LINE_TIMEOUT, SOCKET_TIMEOUT = 1.0, 20.0

#: Seconds that the first answer may take: nobody waits long to hear that nobody is there.
FIRST_TIMEOUT = 3.0

#: Seconds for which the core may be busy, or owe a result.
PATIENCE = 60.0


@dataclass(frozen=True)
class DeviceStatus:
    """What STATUS tells.

    Members
    -------
    idle, loaded
        Whether the core is idle, and whether a network is loaded.
    waiting
        Words of results that nobody has asked for.
    cycles
        In which the core had a whole sample to work on, since the last reset, modulo 2^32.
    samples
        Of which the core has given all results, since the last reset, modulo 2^16.
    refused
        Frames that were not answered with OK, since the last reset, modulo 2^16.
    """

    idle: bool
    loaded: bool
    waiting: int
    cycles: int
    samples: int
    refused: int


@dataclass(frozen=True, eq=False)
class Inference:
    """What a device computed for N samples.

    Members
    -------
    membranes
        int32 (N, outputs): the membranes of the readout, or their sums.
    classes
        int64 (N,): the core's own argmax.
    cycles
        Cycles of the core in which it had a whole sample to work on, for all samples together.
    """

    membranes: np.ndarray
    classes: np.ndarray
    cycles: int


class Device:
    """A core at the other end of a port.

    A context manager; it is open from the beginning.

    Parameters
    ----------
    port
        As pyserial calls it: ``/dev/ttyUSB0``, ``COM3``, ``socket://host:port``, and so on.
    baud
        Speed of a serial line. By default the fastest that both ends bear and that works.
    timeout
        Seconds that an answer may take: by default 1 on a serial line, 20 elsewhere.
    patience
        Seconds for which the core may be busy, or owe a result, before it is given up.

    Members
    -------
    port
        What messages call it.
    parameters : CoreParameters
        The core's.
    clock
        Its clock in Hz.
    baud
        Bits a second of the serial line; None elsewhere.

    Raises
    ------
    DeviceError
        If the port can't be opened, or what is there is no device that this program knows.
    """

    def __init__(self, port: str, *, baud: int | None = None, timeout: float | None = None,
                 patience: float = PATIENCE):
        # Behind a socket is no line of ours: who listens there has set its speed.
        line = not port.lower().startswith("socket://")
        if timeout is None:
            timeout = LINE_TIMEOUT if line else SOCKET_TIMEOUT
        self.port, self.baud = port, FIRST_BAUD if line else None
        self._patience = patience
        self._program: Program | None = None
        self._connection = Connection(open_port(port, timeout), port, timeout=timeout, line=line)
        try:
            self._connection.synchronise()
            hello = self._connection.request(Command.HELLO, timeout=min(timeout, FIRST_TIMEOUT))
            self.clock, self._first_divisor, least, self.parameters = _core(port, hello)
            if line:
                self._choose_speed(least, baud)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Bring the line back to its first speed, and give the port back."""
        if self.baud not in (None, FIRST_BAUD):
            self._connection.leave_speed(self._first_divisor)
            self.baud = FIRST_BAUD
        self._connection.close()

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes that were sent, and received, since the port was opened."""
        return self._connection.sent, self._connection.received

    def load(self, network: IntegerNetwork | Program, *,
             progress: Callable[[int, int], None] | None = None) -> Program:
        """Put a network into the core's memories; samples that it has are dropped.

        Parameters
        ----------
        network
            A network; or a program, which must be for a core of the same parameters.
        progress
            Called with the words that are written, and how many there are.

        Returns
        -------
        The program that is loaded.

        Raises
        ------
        MappingError
            If the network does not fit the core, or not without streamed weights.
        DeviceError
            If the program is for another core, or the device does not do it.
        """
        program = self._fitting(network)
        self._program = None
        self.reset()
        payloads = load_requests(program)
        total, written = sum(map(len, payloads)), 0
        for payload in payloads:
            self._connection.request(Command.WRITE, payload, patience=self._patience)
            written += len(payload)
            if progress is not None:
                progress(written, total)
        self._program = program
        return program

    def infer(self, batch: np.ndarray, *,
              progress: Callable[[int], None] | None = None) -> Inference:
        """Run samples through the network that is loaded.

        Parameters
        ----------
        batch
            Integers of the network's range: (N, inputs) for a static input, otherwise
            (N, steps, inputs).
        progress
            Called with the number of samples whose results are there, now and then.

        Raises
        ------
        ValueError
            If the batch is not of the network's shape, type and range.
        DeviceError
            If no network has been loaded, or the device does not compute.
        """
        if self._program is None:
            raise DeviceError(f"{self.port}: no network has been loaded")
        self.reset()
        return _Run(self, self._connection, self._program, batch, self._patience, progress).run()

    def status(self) -> DeviceStatus:
        """Ask what the core is doing.

        Raises
        ------
        DeviceError
            If the device does not tell.
        """
        answer = self._connection.request(Command.STATUS)
        if len(answer) != 12:
            raise DeviceError(f"{self.port}: STATUS has {len(answer)} bytes, not 12")
        flags, cycles, counters = struct.unpack("<3I", answer)
        return DeviceStatus(bool(flags & 1), bool(flags & 2), flags >> 16, cycles,
                            counters & 0xFFFF, counters >> 16)

    def reset(self) -> None:
        """Drop all samples and results; the network stays.

        Raises
        ------
        DeviceError
            If the device does not do it.
        """
        self._connection.request(Command.RESET, patience=self._patience)

    def _choose_speed(self, least: int, wanted: int | None) -> None:
        """Agree on the fastest speed that works, or on the one that is wanted."""
        if wanted == FIRST_BAUD:
            return
        for divisor, baud in speeds(self.clock, least, None if wanted is None else (wanted,)):
            if self._connection.try_speed(divisor, baud):
                self.baud = baud
                return
        if wanted is not None:
            raise DeviceError(
                f"{self.port}: {wanted:,} baud does not work: the device has {self.clock:,} Hz "
                f"and needs {least} cycles a bit, and not every adapter has every speed")

    def _fitting(self, network: IntegerNetwork | Program) -> Program:
        """Return the program of a network, if the device can run it."""
        from mapping.errors import MappingError
        from mapping.program import Program, compile_network

        program = (network if isinstance(network, Program)
                   else compile_network(network, self.parameters))
        differ = [f"{name} is {value}, not {ours}" for (name, ours), value in zip(
            program.parameters.to_dict().items(), self.parameters.to_dict().values(), strict=True)
            if value != ours]
        if differ:
            raise DeviceError(f"{self.port}: the program is for another core: its "
                              f"{', its '.join(differ)}")
        if program.streams:
            raise MappingError(
                "network", "words of a weight bank (weight_depth), as a device gets no streamed "
                "weights", sum(layer.walk.words for layer in program.plan.layers),
                self.parameters.weight_depth)
        return program


class _Run:
    """Samples on their way through a device.

    The core has two input buffers, and takes samples until it is busy. Results are asked for when
    it is, or when an answer full of them is due: so the line is used for samples most of the time.
    """

    def __init__(self, device: Device, connection: Connection, program: Program, batch: np.ndarray,
                 patience: float, progress: Callable[[int], None] | None):
        self._device, self._connection, self._program = device, connection, program
        self._batch, self._patience = np.asarray(batch), patience
        self._progress = progress
        #: Words of a sample's results.
        self._words = program.network.outputs + 1
        self._given = self._cycles = self._counted = 0
        self._results = bytearray()

    @property
    def _due(self) -> int:
        """Words of results that are still to come of the samples that the core was given."""
        return self._given * self._words - len(self._results) // 4

    def run(self) -> Inference:
        """Run all samples."""
        inputs = self._inputs()
        payload, ends = next(inputs, (b"", False))
        # What a buffer is waited for: that some sample comes out.
        full = False
        moved = counted = time.monotonic()
        while payload or self._due:
            now = time.monotonic()
            if payload and not full and self._due < RESULTS_WORDS:
                try:
                    self._connection.request(Command.INPUT, payload)
                except BusyError:
                    full = True
                else:
                    self._given += ends
                    payload, ends = next(inputs, (b"", False))
                    moved = now
            elif self._fetch():
                full, moved = False, now
            elif not self._due:
                # Busy for a moment only: there is nothing to wait for.
                full = False
            if now - moved > self._patience:
                raise self._stuck()
            if now - counted > COUNT_EVERY:
                self._count()
                counted = now
        self._count()
        results = np.frombuffer(bytes(self._results), "<i4").reshape(-1, self._words)
        return Inference(results[:, :-1].astype(np.int32), results[:, -1].astype(np.int64),
                         self._cycles)

    def _inputs(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the payloads of the requests for all samples, and whether one ends a sample."""
        beat = -(-self._program.parameters.lanes // 8)
        most = MAX_PAYLOAD // beat * beat
        for first in range(0, max(1, len(self._batch)), PACKED):
            for beats in self._program.pack_inputs(self._batch[first:first + PACKED]):
                sample = beats.tobytes()
                for begin in range(0, len(sample), most):
                    yield sample[begin:begin + most], begin + most >= len(sample)

    def _fetch(self) -> bool:
        """Ask for results and tell whether there are any."""
        answer = self._connection.request(Command.RESULTS)
        if len(answer) % 4 or len(answer) // 4 > self._due:
            raise DeviceError(f"{self._device.port}: {len(answer)} bytes of results came, where "
                              f"{self._due} words were due")
        self._results += answer
        if answer and self._progress is not None:
            self._progress(len(self._results) // 4 // self._words)
        return bool(answer)

    def _count(self) -> None:
        """Add up the cycles, whose counter wraps around."""
        cycles = self._device.status().cycles
        self._cycles += (cycles - self._counted) % (1 << 32)
        self._counted = cycles

    def _stuck(self) -> DeviceError:
        """Return what to say when nothing has moved for too long."""
        done = len(self._results) // 4 // self._words
        return DeviceError(
            f"{self._device.port}: the core does not get on: for {self._patience:g} s it has "
            f"neither taken a sample nor given a result; {done} of {len(self._batch)} samples are "
            "done")


def _core(port: str, hello: bytes) -> tuple[int, int, int, CoreParameters]:
    """Return what HELLO tells: Hz, cycles a bit at first and at least, parameters."""
    if hello[:4] != MAGIC:
        raise DeviceError(f"{port}: this is no Ternspike device: HELLO begins with {hello[:4]!r}, "
                          f"not {MAGIC!r}")
    words = np.frombuffer(hello[4:len(hello) // 4 * 4], "<u4").tolist()
    names = fields(CoreParameters)
    if len(hello) % 4 or len(words) < 4 or len(words) != 4 + words[3]:
        raise DeviceError(f"{port}: HELLO has {len(hello)} bytes, not as many as it says")
    clock, first, least, count, *values = words
    if count != len(names):
        raise DeviceError(f"{port}: the core has {count} parameters, this program knows "
                          f"{len(names)}: one of them is older")
    if not (clock and first and least):
        raise DeviceError(f"{port}: HELLO tells {clock} Hz and {first} cycles a bit, {least} at "
                          "least; none of them can be 0")
    try:
        # A flag that is neither 0 nor 1 is refused as a number.
        parameters = CoreParameters(**{
            field.name: bool(value) if field.type is bool and value < 2 else value
            for field, value in zip(names, values, strict=True)})
    except (TypeError, ValueError) as error:
        raise DeviceError(f"{port}: HELLO tells of an impossible core: {error}") from error
    return clock, first, least, parameters


def load_requests(program: Program) -> list[bytes]:
    """Return the payloads of the WRITEs that load a program.

    Words of neighbouring addresses share a WRITE, and those of addresses with a small gap between
    them: what lies there is no memory, or a row that the program does not use.
    """
    from hw.memory_map import INDEX_WIDTH, regions

    words = dict(program.config_writes())
    # The last word of the frame has the flag that there is a network. It is taken away first, and
    # comes last: whatever happens in between, no half of a network runs.
    number = regions(program.parameters)["input"].number
    flag = max(address for address in words if address >> INDEX_WIDTH == number)
    last = words.pop(flag)
    groups: list[list[int]] = []
    before = None
    for address in sorted(words):
        if (before is None or address - before > MAX_GAP or address >> INDEX_WIDTH
                != before >> INDEX_WIDTH or address - groups[-1][0] >= WRITE_WORDS):
            groups.append([address, address])
        groups[-1][1] = before = address
    return [struct.pack("<2I", flag, 0),
            *(struct.pack(f"<{end - begin + 2}I", begin,
                          *(words.get(address, 0) for address in range(begin, end + 1)))
              for begin, end in groups),
            struct.pack("<2I", flag, last)]
