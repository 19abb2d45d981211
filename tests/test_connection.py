"""Requests over bad lines: each is carried out once, and every wait ends."""

import secrets
import struct
import time
from types import MappingProxyType

import numpy as np
import pytest

from hw.parameters import PRESETS
from hw.protocol import Command, Status
from ternspike import connection
from ternspike.connection import (
    BusyError,
    Connection,
    DeviceError,
    NoAnswerError,
    RefusedError,
    open_port,
    speeds,
)
from tests.fake_device import FakeDevice, FakePort, Faults, device_on_pty, device_on_socket

FAULTS = ["lost", "answer lost", "flipped", "answer flipped", "cut", "answer cut", "garbage",
          "late", "twice"]


def connected(faults: Faults = MappingProxyType({}), *, timeout=0.01, seed=1, **options):
    """Return a connection to a fake device, and the device."""
    device = FakeDevice(PRESETS["tiny"], **options)
    port = FakePort(device, faults, seed=seed)
    return Connection(port, "board", timeout=timeout, line=True), device


def write(link, address, *words, patience=0.0):
    link.request(Command.WRITE, struct.pack(f"<{len(words) + 1}I", address, *words),
                 patience=patience)


def test_request(monkeypatch):
    # With other sequence numbers there may be bytes of the CRC that have to be escaped.
    monkeypatch.setattr(secrets, "randbelow", lambda limit: 0)
    link, device = connected()
    write(link, 0x5000_0003, 7, 8)
    assert device.memory == {0x5000_0003: 7, 0x5000_0004: 8}
    assert link.request(Command.RESULTS) == b""
    assert (link.sent, link.received) == (28, 16)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(8))
def test_fault_is_mended(fault, seed):
    """Of whatever a fault hits, the request is carried out, and once."""
    link, device = connected({2: fault}, seed=seed)
    for number in range(6):
        write(link, 0x4000_0000 + number, number)
    assert device.memory == {0x4000_0000 + number: number for number in range(6)}
    assert len(device.requests) == 6


@pytest.mark.parametrize("seed", range(12))
def test_faults_at_random(seed):
    rng = np.random.default_rng(seed)
    link, device = connected(
        lambda number: rng.choice(FAULTS) if rng.random() < 0.15 else None, seed=seed)
    for number in range(150):
        write(link, 0x4000_0000 + number, number)
    assert [struct.unpack("<2I", payload) for _, payload in device.requests] == [
        (0x4000_0000 + number, number) for number in range(150)]


def test_late_refusal_is_not_believed():
    """The answer BUSY was late, and the repetition of the request was carried out meanwhile."""
    device = FakeDevice(PRESETS["tiny"], stuck={1})
    port = FakePort(device, lambda number: "late" if number == 0 else device.stuck.clear())
    link = Connection(port, "board", timeout=0.01, line=True)
    write(link, 0x4000_0000, 5)
    assert len(device.requests) == 1 and port.writes == 3


def test_nobody_answers():
    link, _ = connected(lambda number: "lost")
    with pytest.raises(NoAnswerError, match=r"board: no answer to HELLO within 0.01 s, asked 5 "
                                            r"times: nothing came"):
        link.request(Command.HELLO)


def test_what_is_said_of_garbage():
    class Babbler(FakePort):
        def read(self, size=1):
            return bytes(200)

    link = Connection(Babbler(FakeDevice(PRESETS["tiny"])), "board", timeout=0.01, line=True)
    with pytest.raises(NoAnswerError, match=r"\d+ bytes came that are no answer"):
        link.request(Command.HELLO)
    begun = time.monotonic()
    link.synchronise()
    assert time.monotonic() - begun < 1


def test_every_request_damaged():
    # A byte more before the end, so that there is always a frame.
    class Noisy(FakePort):
        def write(self, data):
            return super().write(data[:-1] + b"x" + data[-1:])

    link = Connection(Noisy(FakeDevice(PRESETS["tiny"])), "board", timeout=0.01, line=True)
    with pytest.raises(NoAnswerError, match="5 requests arrived damaged"):
        link.request(Command.STATUS)


@pytest.mark.parametrize("command, payload, status", [
    (Command.WRITE, bytes(4), Status.BAD_LENGTH),
    (Command.WRITE, struct.pack("<2I", 0x7FFF_FFFF, 0), Status.OUT_OF_RANGE),
    (Command.INPUT, bytes(1), Status.NO_PROGRAM),
    (Command.BAUD, bytes(2), Status.OUT_OF_RANGE),
])
def test_refusal(command, payload, status):
    link, device = connected()
    with pytest.raises(RefusedError, match=f"board: the device refuses {command.name}: "
                                           f"{status.name}") as error:
        link.request(command, payload)
    assert error.value.status is status
    assert device.requests == []


def test_busy_for_ever():
    link, device = connected(stuck={1})
    with pytest.raises(BusyError, match="board: the device is too busy for WRITE$"):
        write(link, 0x4000_0000, 1)
    begun = time.monotonic()
    with pytest.raises(BusyError, match="board: the device is too busy for WRITE for 0.1 s"):
        write(link, 0x4000_0000, 1, patience=0.1)
    assert 0.1 <= time.monotonic() - begun < 1
    device.stuck.clear()
    write(link, 0x4000_0000, 1)


def test_other_version():
    link, _ = connected(version=2)
    with pytest.raises(DeviceError, match="board: the device speaks version 2 of the protocol, "
                                          "this program version 1"):
        link.request(Command.HELLO)


def test_unknown_status():
    class Newer(FakePort):
        def write(self, data):
            self._waiting += FakeDevice._framed(bytes([0x1F, data[2]]))
            return len(data)

    link = Connection(Newer(FakeDevice(PRESETS["tiny"])), "board", timeout=0.01, line=True)
    link._sequence = 4
    with pytest.raises(DeviceError, match="status 15, which the protocol has not"):
        link.request(Command.HELLO)


def test_unplugged():
    link, _ = connected({3: "gone"})
    for _ in range(3):
        link.request(Command.STATUS)
    with pytest.raises(DeviceError, match="board: the connection broke at STATUS: device reports"):
        link.request(Command.STATUS)
    with pytest.raises(DeviceError, match="board: the connection broke at the first bytes"):
        link.synchronise()


def test_old_answers_are_not_taken():
    """What another host left on the line, with a number that comes again."""
    device = FakeDevice(PRESETS["tiny"])
    port = FakePort(device)
    port._waiting = device.receive(b"".join(
        device._framed(bytes([0x13, number])) for number in range(256)))
    link = Connection(port, "board", timeout=0.01, line=True)
    link.synchronise()
    assert port.breaks == 1
    assert link.request(Command.HELLO)[:4] == b"TSPK"


def test_frame_that_was_left_half_sent():
    link, device = connected()
    device.receive(b"\xc0\x11\x02\x03\x04\x05\x06\x07\x08")
    link.synchronise()
    assert link.request(Command.HELLO)[:4] == b"TSPK"


# Speeds

def test_speeds():
    assert list(speeds(12_000_000, 4)) == [
        (4, 3_000_000), (6, 2_000_000), (12, 1_000_000), (13, 921_600), (26, 460_800),
        (52, 230_400)]
    # 25 MHz / 8 is 4 % above 3 MHz, 25 MHz / 12 too much above 2 MHz.
    assert list(speeds(25_000_000, 4))[0] == (25, 1_000_000)
    assert list(speeds(12_000_000, 13))[0] == (13, 921_600)
    assert list(speeds(1000, 1)) == []
    assert list(speeds(12_000_000, 4, [500_000])) == [(24, 500_000)]
    # No more than 16 bits of divisor.
    assert list(speeds(1 << 40, 4)) == []


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(connection, "FALLBACK", 0.01)
    monkeypatch.setattr(connection, "TRIAL", 0.02)


def test_speed_is_changed(quick):
    link, device = connected()
    assert link.try_speed(12, 1_000_000)
    assert device.speed == 12 and link._port.baudrate == 1_000_000
    link.leave_speed(104)
    assert device.speed == 104


@pytest.mark.parametrize("faults", [
    {0: "lost"}, {0: "answer lost"}, {1: "lost"}, {4: "answer flipped"}])
def test_speed_that_does_not_work(quick, faults):
    """Whatever is lost: both ends are at the first speed again, and go on."""
    link, device = connected(faults)
    assert not link.try_speed(12, 1_000_000)
    assert device.speed == 104 and link._port.baudrate == 115_200
    assert link.request(Command.HELLO)


def test_speed_that_is_refused(quick):
    link, device = connected()
    assert not link.try_speed(2, 6_000_000)
    assert device.speed == 104


def test_speed_that_the_port_has_not(quick):
    class Slow(FakePort):
        @property
        def baudrate(self):
            return 115_200

        @baudrate.setter
        def baudrate(self, baud):
            if baud > 500_000:
                raise ValueError(f"Invalid baud rate: {baud}")

    device = FakeDevice(PRESETS["tiny"])
    link = Connection(Slow(device), "board", timeout=0.01, line=True)
    assert not link.try_speed(12, 1_000_000)
    assert device.speed == 104


def test_port_without_breaks():
    class Unbroken(FakePort):
        def send_break(self, duration=0.25):
            raise OSError(22, "Invalid argument")

    link = Connection(Unbroken(FakeDevice(PRESETS["tiny"])), "board", timeout=0.01, line=True)
    link.synchronise()
    assert link.request(Command.HELLO)


# Real ports

@pytest.mark.parametrize("name, words", [
    ("none", "No such file or directory"),
    ("", "Is a directory"),
    ("socket://127.0.0.1:1", "Connection refused"),
    ("socket://127.0.0.1", "can't be opened"),
    ("bla://x", "protocol 'bla' not known"),
])
def test_port_that_cannot_be_opened(tmp_path, name, words):
    name = name if "://" in name else str(tmp_path / name)
    with pytest.raises(DeviceError, match=f"{name.rstrip('/')}/? can't be opened") as error:
        open_port(name, 1.0)
    assert words in str(error.value)


def test_terminal():
    device = FakeDevice(PRESETS["tiny"])
    with device_on_pty(device) as path:
        port = open_port(path, 1.0)
        link = Connection(port, path, timeout=1.0, line=True)
        link.synchronise()
        write(link, 0x4000_0000, *range(125))
        assert len(device.memory) == 125
        # A second host is kept out.
        with pytest.raises(DeviceError, match=f"{path} can't be opened: another program uses it"):
            open_port(path, 1.0)
        link.close()


def test_terminal_that_is_unplugged():
    with device_on_pty(FakeDevice(PRESETS["tiny"]), hang_up_after=100) as path:
        port = open_port(path, 1.0)
        link = Connection(port, path, timeout=1.0, line=True)
        with pytest.raises(DeviceError, match=f"{path}: the connection broke at WRITE: "):
            for _ in range(20):
                write(link, 0x4000_0000, 1)
        link.close()


def test_socket():
    device = FakeDevice(PRESETS["tiny"])
    with device_on_socket(device) as url:
        link = Connection(open_port(url, 1.0), url, timeout=1.0, line=False)
        link.synchronise()
        write(link, 0x4000_0000, *range(125))
        assert len(device.memory) == 125
        link.close()


def test_socket_that_hangs_up():
    with device_on_socket(FakeDevice(PRESETS["tiny"]), hang_up_after=100) as url:
        link = Connection(open_port(url, 1.0), url, timeout=1.0, line=False)
        with pytest.raises(DeviceError, match=f"{url}: the connection broke at WRITE"):
            for _ in range(20):
                write(link, 0x4000_0000, 1)
        link.close()
