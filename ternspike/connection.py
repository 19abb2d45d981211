"""Requests to a device over a serial line or a socket, one at a time.

Whatever is lost or damaged on the way is asked again, and the device carries each request out once,
see `docs/protocol.md`. Every wait ends: whatever a port does, or does not do, a request comes back
with its answer or with a :exc:`DeviceError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import serial

from hw.protocol import END, VERSION, Command, Status
from ternspike.framing import Decoder, encode

try:
    # What pyserial lets through where it asks the terminal itself.
    from termios import error as TerminalError
except ImportError:
    TerminalError = OSError

__all__ = ["FIRST_BAUD", "BusyError", "Connection", "DeviceError", "NoAnswerError", "Port",
           "RefusedError", "open_port", "speeds"]

#: Bits a second of a serial line until another speed is agreed on.
FIRST_BAUD = 115_200

#: Speeds that serial adapters have, the fastest first.
SPEEDS = (3_000_000, 2_000_000, 1_000_000, 921_600, 460_800, 230_400)

#: What the two ends may be apart: half a bit at the end of the ten bits of a byte is 5 %, of which
#: the samplers of both ends take their part.
MAX_SPEED_ERROR = 0.02

#: How often a request is made at most.
ATTEMPTS = 5

#: Seconds that a read waits for a byte at most. So long a silence after a damaged frame says that
#: nothing is on its way any more.
POLL = 0.05

#: Seconds between two requests that were answered with BUSY.
PAUSE = 0.002

#: Seconds in which a device at a new speed must answer; it waits half a second for a good frame.
TRIAL = 0.2

#: Answers that must come at a new speed, without a repetition, before it is trusted.
TRIALS = 4

#: Seconds after which a device that heard nothing at the new speed is back at the first.
FALLBACK = 0.6


#: What a port of pyserial raises when it is gone.
_FAILURES = (serial.SerialException, OSError, TerminalError)

_STATUSES = frozenset(Status)


class DeviceError(RuntimeError):
    """A device that does not answer, or not as it should."""


class NoAnswerError(DeviceError):
    """No good answer came, however often the request was made."""


class RefusedError(DeviceError):
    """The device will not do what is asked for.

    Members
    -------
    status
        Why not.
    """

    def __init__(self, message: str, status: Status):
        super().__init__(message)
        self.status = status


class BusyError(RefusedError):
    """The device can't do it now."""


class Port(Protocol):
    """What is used of a port of pyserial."""

    @property
    def baudrate(self) -> int:
        """Bits a second."""
        ...

    @baudrate.setter
    def baudrate(self, baud: int, /) -> None:
        ...

    @property
    def in_waiting(self) -> int:
        """At least 1 if there is a byte."""
        ...

    def read(self, size: int = 1, /) -> bytes:
        """Return up to so many bytes; fewer, or none, when :data:`POLL` has passed."""
        ...

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""
        ...

    def send_break(self, duration: float = 0.25) -> None:
        """Hold the line low."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


class Connection:
    """One end of the host link.

    Parameters
    ----------
    port
        An open port, at :data:`FIRST_BAUD` if it has a speed.
    name
        What messages call it.
    timeout
        Seconds that an answer may take, the transfer of 2 KiB included.
    line
        Whether it is a serial line: with a speed to agree on, and with breaks.

    Members
    -------
    sent, received
        Bytes so far.
    """

    def __init__(self, port: Port, name: str, *, timeout: float, line: bool):
        self._port, self.name = port, name
        self._timeout, self._line = timeout, line
        self._decoder = Decoder()
        # Any: an answer to whoever had the port before is not taken for one to us.
        self._sequence = secrets.randbelow(256)
        self.sent = self.received = 0

    def request(self, command: Command, payload: bytes = b"", *, patience: float = 0.0,
                timeout: float | None = None) -> bytes:
        """Make a request and return the payload of its answer.

        Parameters
        ----------
        patience
            Seconds for which it is made again while the device is busy.
        timeout
            Seconds that this answer may take, if not as many as any.

        Raises
        ------
        BusyError
            If the device is busy still.
        RefusedError
            If it refuses.
        NoAnswerError
            If there is no good answer.
        DeviceError
            If the port fails, or the device speaks another version of the protocol.
        """
        deadline = time.monotonic() + patience
        self._sequence = (self._sequence + 1) % 256
        while True:
            status, answer = self._ask(command, payload, ATTEMPTS,
                                       self._timeout if timeout is None else timeout)
            if status is Status.OK:
                return answer
            if status is not Status.BUSY:
                raise RefusedError(f"{self.name}: the device refuses {command.name}: {status.name}",
                                   status)
            if time.monotonic() >= deadline:
                since = f" for {patience:g} s" if patience else ""
                raise BusyError(f"{self.name}: the device is too busy for {command.name}{since}",
                                status)
            # With the same number: the request may have been carried out nonetheless, and this
            # answer be a late one.
            time.sleep(PAUSE)

    def synchronise(self) -> None:
        """Bring both ends to the first speed, with nothing on its way between them."""
        with self._named("the first bytes"):
            if self._line:
                # Not all adapters can; if the port is gone, the next bytes will tell.
                with contextlib.suppress(*_FAILURES):
                    self._port.send_break()
            self._send(bytes([END]))
            self._drain()

    def try_speed(self, divisor: int, baud: int) -> bool:
        """Change the speed of the line and tell whether the device answers at it.

        If not, both ends are at the first speed again.

        Parameters
        ----------
        divisor, baud
            The device's cycles a bit, and bits a second.

        Raises
        ------
        DeviceError
            If the device does not come back, or the port fails.
        """
        # Each once only: if the answer to BAUD is lost, the device is at the new speed, and what
        # is said to it at the old one is noise.
        if (self._once(Command.BAUD, self._timeout, divisor) and self._set_speed(baud)
                and all(self._once(Command.HELLO, TRIAL) for _ in range(TRIALS))):
            return True
        self._set_speed(FIRST_BAUD)
        time.sleep(FALLBACK)
        self.synchronise()
        self.request(Command.HELLO)
        return False

    def leave_speed(self, divisor: int) -> None:
        """Bring the device back to its first speed, for a next host whose port has no breaks.

        Parameters
        ----------
        divisor
            Its cycles a bit at first.
        """
        with contextlib.suppress(DeviceError):
            self._once(Command.BAUD, TRIAL, divisor)

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    def _set_speed(self, baud: int) -> bool:
        """Change the speed of this end and tell whether it has such a speed."""
        try:
            self._port.baudrate = baud
        except (ValueError, *_FAILURES):
            return False
        return True

    def _once(self, command: Command, timeout: float, divisor: int | None = None) -> bool:
        """Make a request a single time and tell whether it was carried out."""
        self._sequence = (self._sequence + 1) % 256
        payload = b"" if divisor is None else divisor.to_bytes(2, "little")
        try:
            return self._ask(command, payload, 1, timeout)[0] is Status.OK
        except NoAnswerError:
            return False

    def _ask(self, command: Command, payload: bytes, attempts: int,
             timeout: float) -> tuple[Status, bytes]:
        """Send a request until it is answered."""
        frame = encode(command, self._sequence, payload)
        unheard, damaged, before = False, 0, self.received
        with self._named(command.name):
            for _ in range(attempts):
                self._send(frame)
                answer = self._hear(timeout)
                if answer is None or answer[0] is Status.BAD_FRAME:
                    damaged += answer is not None
                    unheard |= answer is None
                elif answer[0] is not Status.OK and unheard:
                    # Of the first request, perhaps, of which the answer was given up too early, and
                    # the repetition was carried out. If so, the device says OK once more.
                    unheard = False
                    self._drain()
                else:
                    return answer
        times = "once" if attempts == 1 else f"{attempts} times"
        heard = self.received - before
        what = (f"{damaged} requests arrived damaged" if damaged else
                f"{heard} bytes came that are no answer" if heard else "nothing came")
        raise NoAnswerError(f"{self.name}: no answer to {command.name} within {timeout:g} s, "
                            f"asked {times}: {what}")

    def _hear(self, timeout: float) -> tuple[Status, bytes] | None:
        """Return the answer to the request that was made last, or None if there is no good one."""
        deadline = time.monotonic() + timeout
        damaged = False
        while time.monotonic() < deadline:
            data = self._read()
            if not data and damaged:
                return None
            for frame in self._decoder.feed(data):
                if frame is None:
                    damaged = True
                elif frame.version != VERSION:
                    raise DeviceError(f"{self.name}: the device speaks version {frame.version} of "
                                      f"the protocol, this program version {VERSION}")
                elif frame.kind == Status.BAD_FRAME:
                    return Status.BAD_FRAME, b""
                elif frame.sequence != self._sequence:
                    # A late answer; or one to two requests of which the line made a long one.
                    if frame.kind == Status.BAD_LENGTH:
                        return Status.BAD_FRAME, b""
                elif frame.kind not in _STATUSES:
                    raise DeviceError(f"{self.name}: the device answers with status {frame.kind}, "
                                      "which the protocol has not")
                else:
                    return Status(frame.kind), frame.payload
        return None

    def _send(self, data: bytes) -> None:
        self._port.write(data)
        self.sent += len(data)

    def _read(self) -> bytes:
        """Return what is there, or what comes within :data:`POLL`."""
        data = self._port.read(max(1, self._port.in_waiting))
        self.received += len(data)
        return data

    def _drain(self) -> None:
        """Drop all that comes until nothing does; a device that never stops is not waited for."""
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline and self._read():
            pass
        self._decoder = Decoder()

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Name the port, and what was being done, if it fails."""
        try:
            yield
        except _FAILURES as error:
            raise DeviceError(f"{self.name}: the connection broke at {what}: {_reason(error)}"
                              ) from error


def open_port(name: str, timeout: float) -> Port:
    """Open a port as pyserial calls it: a serial device, ``socket://host:port``, and so on.

    Parameters
    ----------
    timeout
        Seconds that a write may take.

    Raises
    ------
    DeviceError
        If it can't be opened.
    """
    try:
        # Exclusively: two hosts at one device would take each other's answers.
        port: Any = serial.serial_for_url(name, baudrate=FIRST_BAUD, timeout=POLL,
                                          write_timeout=timeout, exclusive=True)
    except (ValueError, *_FAILURES) as error:
        raise DeviceError(f"{name} can't be opened: {_reason(error)}") from error
    return port


def speeds(clock: int, least: int,
           wanted: Sequence[int] | None = None) -> Iterator[tuple[int, int]]:
    """Yield the speeds that a device can have: cycles a bit, bits a second.

    Parameters
    ----------
    clock
        Hz of the device.
    least
        Cycles a bit that it needs.
    wanted
        Those to choose from; by default :data:`SPEEDS`.
    """
    for baud in SPEEDS if wanted is None else wanted:
        divisor = round(clock / baud)
        if least <= divisor < 1 << 16 and abs(clock / divisor / baud - 1) <= MAX_SPEED_ERROR:
            yield divisor, baud


def _reason(error: Exception) -> str:
    """Return what went wrong, in the words of the system if it has some."""
    number = error.args[0] if error.args else None
    if number == errno.EAGAIN:
        return "another program uses it"            # it holds the lock
    return os.strerror(number) if isinstance(number, int) else str(error)
