"""The host's side of a device: loading, running, and what can be wrong with a device."""

import struct
import time
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from hw.parameters import PRESETS
from mapping.errors import MappingError
from mapping.program import compile_network
from model.golden import execute
from ternspike import connection, device
from ternspike.device import Device, DeviceError, DeviceStatus
from tests.fake_device import FakeDevice, FakePort, device_on_pty, device_on_socket, table
from tests.networks import CORES
from tests.small_networks import network, samples
from tests.test_connection import FAULTS

CORE = CORES["planes1"]
NETWORK = network(20, 12, 5, input_bits=4)
INPUTS = samples(NETWORK, 30)
GOLDEN = execute(NETWORK, INPUTS)
TABLE = table(NETWORK, CORE, INPUTS)


@pytest.fixture
def attach(monkeypatch):
    """Give a device on a port that the test has made."""
    monkeypatch.setattr(connection, "FALLBACK", 0.01)
    monkeypatch.setattr(connection, "TRIAL", 0.02)

    def attach(fake, faults=MappingProxyType({}), *, seed=1, port="socket://board", timeout=0.02,
               **options):
        line = FakePort(fake, faults, seed=seed)
        monkeypatch.setattr(device, "open_port", lambda name, timeout: line)
        return Device(port, timeout=timeout, **options)
    return attach


def fake(parameters=CORE, **options) -> FakeDevice:
    return FakeDevice(parameters, TABLE, **options)


def agrees(result, golden=GOLDEN):
    assert result.membranes.dtype == np.int32
    np.testing.assert_array_equal(result.membranes, golden.readout)
    np.testing.assert_array_equal(result.classes, golden.classes)


# Opening

def test_what_a_device_is(attach):
    for name, parameters in (PRESETS | CORES).items():
        with attach(FakeDevice(parameters, clock=25_000_000)) as board:
            assert board.parameters == parameters, name
            assert type(board.parameters.single_port) is bool
            assert (board.clock, board.baud, board.port) == (25_000_000, None, "socket://board")


@pytest.mark.parametrize("options, message", [
    ({"magic": b"NONE"}, "no Ternspike device: HELLO begins with b'NONE', not b'TSPK'"),
    ({"version": 3}, "speaks version 3 of the protocol, this program version 1"),
    ({"hello": [1, 2, 3]}, "HELLO has 16 bytes, not as many as it says"),
    ({"hello": [1, 2, 3, 9, 1]}, "HELLO has 24 bytes, not as many as it says"),
    ({"hello": [1, 2, 3, 1, 1]}, "the core has 1 parameters, this program knows 25"),
    ({"hello": [0, 2, 3, 25, *[1] * 25]}, "HELLO tells 0 Hz"),
    ({"hello": [1, 2, 3, 25, *[999] * 25]}, "impossible core: Core parameter banks must be in "
                                            "1..256, not 999"),
    ({"hello": [1, 2, 3, 25, *[*CORE.to_dict().values()][:-1], 7]},
     "Core parameter block_membranes must be a bool, not 7"),
])
def test_device_that_is_none(attach, options, message):
    with pytest.raises(DeviceError, match=f"^socket://board: .*{message}"):
        attach(fake(**options))


def test_nobody_there(attach):
    with pytest.raises(DeviceError, match="socket://board: no answer to HELLO within 0.02 s"):
        attach(fake(), lambda number: "lost")


def test_port_is_given_back(attach, monkeypatch):
    line = FakePort(fake(magic=b"NONE"))
    monkeypatch.setattr(device, "open_port", lambda name, timeout: line)
    with pytest.raises(DeviceError):
        Device("board")
    assert line.closed


# Loading

@pytest.mark.parametrize("name", CORES)
def test_memories_after_loading(attach, name):
    """Every word is where the configuration stream would have put it."""
    core = CORES[name]
    whole = network(20, 30, 12, 5, input_bits=4, timesteps=2)
    program = compile_network(whole, core)
    if program.streams:
        whole = network(20, 8, 5, input_bits=4, timesteps=2)
        program = compile_network(whole, core)
    board = fake(core)
    seen = []
    with attach(board) as opened:
        loaded = opened.load(whole, progress=lambda *words: seen.append(words))
        assert opened.status() == DeviceStatus(True, True, 0, 0, 0, 0)
    assert loaded.memories == program.memories
    writes = dict(program.config_writes())
    assert {address: board.memory[address] for address in writes} == writes
    assert not any(word for address, word in board.memory.items() if address not in writes)
    assert seen[-1][0] == seen[-1][1] and seen == sorted(seen)


def test_writes_are_few():
    program = compile_network(network(400, 200, 5, input_bits=4), PRESETS["tiny"])
    payloads = device.load_requests(program)
    assert max(map(len, payloads)) == 504
    assert sum(map(len, payloads)) < 4.3 * len(program.config_writes()) + 100
    assert len(payloads) < len(program.config_writes()) / 60


def test_no_half_of_a_network_runs(attach):
    """Wherever loading stops, what is left is no network; not even with one from before."""
    board = fake()
    with attach(board) as opened:
        opened.load(NETWORK)
        agrees(opened.infer(INPUTS[:2]), replace(
            GOLDEN, readout=GOLDEN.readout[:2], classes=GOLDEN.classes[:2]))
    writes = sum(command == 1 for command, _ in board.requests)
    for stop in range(1, writes):
        with attach(board, {3 + stop: "gone"}) as opened:
            with pytest.raises(DeviceError, match="the connection broke at WRITE"):
                opened.load(NETWORK)
            assert not board.frame.valid
            with pytest.raises(DeviceError, match="no network has been loaded"):
                opened.infer(INPUTS)


def test_program_for_another_core(attach):
    program = compile_network(NETWORK, CORES["planes2"])
    board = fake()
    with attach(board) as opened, pytest.raises(
            DeviceError, match=r"for another core: its banks is 2, not 3, its lanes is 8, not 6"):
        opened.load(program)
    assert len(board.requests) == 1
    with attach(board) as opened:
        assert opened.load(compile_network(NETWORK, CORE)).parameters == CORE


def test_network_that_does_not_fit(attach):
    with attach(fake()) as opened, pytest.raises(MappingError, match="readout_depth"):
        opened.load(network(20, 300, input_bits=4))


def test_network_that_streams_weights(attach):
    core = CORES["planes4"]
    whole = network(40, 40, 20, input_bits=4)
    assert compile_network(whole, core).streams
    with attach(FakeDevice(core)) as opened, pytest.raises(
            MappingError, match=r"weight_depth\), as a device gets no streamed weights: needs "
                                r"\d+, the core has 64"):
        opened.load(whole)


def test_device_that_stays_busy(attach):
    with attach(fake(stuck={1}), patience=0.05) as opened, pytest.raises(
            DeviceError, match="socket://board: the device is too busy for WRITE for 0.05 s"):
        opened.load(NETWORK)


# Running

@pytest.mark.parametrize("work, room, slice", [
    (0, 140, 126), (1, 6, 126), (3, 140, 4), (9, 12, 1), (2, 140, 5)])
def test_results(attach, work, room, slice):
    """Whether the core is quick or slow, and wherever an answer ends."""
    board = fake(work=work, room=room, slice=slice)
    seen = []
    with attach(board) as opened:
        opened.load(NETWORK)
        result = opened.infer(INPUTS, progress=seen.append)
        assert opened.status().samples == len(INPUTS)
        agrees(result)
        assert result.cycles == 100 * len(INPUTS)
        agrees(opened.infer(INPUTS))
    assert seen == sorted(seen) and seen[-1] == len(INPUTS)


def test_both_buffers_are_kept_full(attach):
    """The core never waits for a sample while there are some."""
    board = fake(work=4)
    full = []
    answer = board._command_3
    board._command_3 = lambda payload: (full.append(len(board.full)), answer(payload))[1]
    with attach(board) as opened:
        opened.load(NETWORK)
        opened.infer(INPUTS)
    assert min(full[:-10]) >= 1 and np.mean(full[:-10]) > 1.4


def test_samples_of_several_requests(attach):
    """A sample of more bytes than a request has."""
    whole = network(784, 5, input_bits=8)
    inputs = samples(whole, 5)
    board = FakeDevice(PRESETS["tiny"], table(whole, PRESETS["tiny"], inputs))
    with attach(board) as opened:
        opened.load(whole)
        agrees(opened.infer(inputs), execute(whole, inputs))
    assert [len(payload) for command, payload in board.requests if command == 2] == [506, 278] * 5


def test_spike_trains(attach):
    whole = network(20, 12, 5)
    inputs = samples(whole, 70)
    board = FakeDevice(CORE, table(whole, CORE, inputs))
    with attach(board) as opened:
        opened.load(whole)
        agrees(opened.infer(inputs), execute(whole, inputs))


def test_no_samples(attach):
    with attach(fake()) as opened:
        opened.load(NETWORK)
        result = opened.infer(INPUTS[:0])
    assert result.membranes.shape == (0, 5) and result.classes.shape == (0,)


def test_wrong_samples(attach):
    with attach(fake()) as opened:
        opened.load(NETWORK)
        with pytest.raises(ValueError, match=r"shape \(samples, 20\), not \(30, 3\)"):
            opened.infer(INPUTS[:, :3])
        with pytest.raises(ValueError, match="must be in 0..15, not 16..16"):
            opened.infer(np.full((2, 20), 16))
        agrees(opened.infer(INPUTS))


def test_without_a_network(attach):
    with attach(fake()) as opened, pytest.raises(DeviceError, match="no network has been loaded"):
        opened.infer(INPUTS)


def test_counter_of_cycles_wraps_around(attach, monkeypatch):
    monkeypatch.setattr(device, "COUNT_EVERY", 0.0)
    board = fake(cycles_a_sample=1_500_000_000)
    with attach(board) as opened:
        opened.load(NETWORK)
        assert opened.infer(INPUTS).cycles == 1_500_000_000 * len(INPUTS)


@pytest.mark.parametrize("seed", range(10))
def test_bad_line(attach, seed):
    """Requests and answers that are lost, damaged, late: the results are the same."""
    rng = np.random.default_rng(seed)
    board = fake(work=int(rng.integers(0, 5)), slice=int(rng.integers(1, 127)))
    with attach(board, lambda number: rng.choice(FAULTS) if rng.random() < 0.1 else None,
                seed=seed) as opened:
        opened.load(NETWORK)
        agrees(opened.infer(INPUTS))
    assert board.samples == len(INPUTS)


@pytest.mark.parametrize("stuck, words", [
    ({2}, "neither taken a sample nor given a result; 0 of 30 samples are done"),
    ({3}, "neither taken a sample nor given a result; 0 of 30 samples are done"),
])
def test_core_that_hangs(attach, stuck, words):
    with attach(fake(stuck=stuck), patience=0.05) as opened:
        opened.load(NETWORK)
        begun = time.monotonic()
        with pytest.raises(DeviceError, match=f"socket://board: .* for 0.05 s .*{words}"):
            opened.infer(INPUTS)
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("answer, words", [
    (bytes(7), "7 bytes of results came, where"),
    (bytes(504), "504 bytes of results came, where"),
])
def test_results_that_cannot_be(attach, answer, words):
    board = fake()
    with attach(board) as opened:
        opened.load(NETWORK)
        board._command_3 = lambda payload: (0, answer)
        with pytest.raises(DeviceError, match=words):
            opened.infer(INPUTS)


def test_status_that_cannot_be(attach):
    board = fake()
    with attach(board) as opened:
        board._command_4 = lambda payload: (0, bytes(8))
        with pytest.raises(DeviceError, match="STATUS has 8 bytes, not 12"):
            opened.status()


def test_status(attach):
    board = fake(work=10**6)
    with attach(board) as opened:
        opened.load(NETWORK)
        board.given.extend(range(9))
        board.cycles, board.samples, board.refused = (1 << 32) + 5, 70_000, 3
        assert opened.status() == DeviceStatus(True, True, 9, 5, 70_000 % 65536, 3)
        opened.reset()
        assert opened.status() == DeviceStatus(True, True, 0, 0, 0, 0)


def test_device_that_is_switched_off_and_on(attach):
    """It has lost its network in the middle of a run."""
    board = fake()
    with attach(board) as opened:
        opened.load(NETWORK)
        board.memory.clear()
        with pytest.raises(DeviceError, match="the device refuses INPUT: NO_PROGRAM"):
            opened.infer(INPUTS)


# Lines

def test_fastest_speed(attach):
    board = fake()
    with attach(board, port="board") as opened:
        assert opened.baud == 3_000_000 and board.speed == 4
        opened.load(NETWORK)
        agrees(opened.infer(INPUTS))
    assert board.speed == board.divisor


@pytest.mark.parametrize("wanted, divisor", [(115_200, 104), (1_000_000, 12), (500_000, 24)])
def test_speed_that_is_wanted(attach, wanted, divisor):
    board = fake()
    with attach(board, port="board", baud=wanted) as opened:
        assert opened.baud == wanted and board.speed == divisor


def test_speed_that_cannot_be(attach):
    with pytest.raises(DeviceError, match="board: 7,000,000 baud does not work: the device has "
                                          "12,000,000 Hz and needs 4 cycles a bit"):
        attach(fake(), port="board", baud=7_000_000)


def test_speed_on_a_terminal(monkeypatch):
    """Of an adapter that is not as fast as it says."""
    monkeypatch.setattr(connection, "FALLBACK", 0.02)
    monkeypatch.setattr(connection, "TRIAL", 0.06)
    board = fake()
    with device_on_pty(board, fastest=1_500_000) as path, Device(path, timeout=0.3) as opened:
        assert opened.baud == 1_000_000 and board.speed == 12
        opened.load(NETWORK)
        agrees(opened.infer(INPUTS))


def test_silent_terminal():
    with device_on_pty(fake(), silent=True) as path:
        begun = time.monotonic()
        with pytest.raises(DeviceError, match=f"{path}: no answer to HELLO within 0.1 s, asked 5 "
                                              "times: nothing came"):
            Device(path, timeout=0.1)
        assert time.monotonic() - begun < 5


def test_socket():
    with device_on_socket(fake()) as url, Device(url) as opened:
        assert opened.baud is None
        opened.load(NETWORK)
        agrees(opened.infer(INPUTS))
        sent, received = opened.traffic
        assert sent > received > len(INPUTS) * 6 * 4


def test_socket_that_hangs_up():
    with device_on_socket(fake(), hang_up_after=2000) as url, Device(url) as opened:
        with pytest.raises(DeviceError, match=f"{url}: the connection broke at "):
            opened.load(NETWORK)
            for _ in range(100):
                opened.infer(INPUTS)


def test_hello_is_as_the_protocol_says():
    """The fake device's own bytes, by hand."""
    values = list(CORE.to_dict().values())
    _, answer = FakeDevice(CORE)._command_0(b"")
    assert answer == b"TSPK" + struct.pack("<29I", 12_000_000, 104, 4, 25, *values)
