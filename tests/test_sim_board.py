"""A simulated board: bytes through the pins of a UART, and when its process ends."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.protocol import Command
from hw.uart import UartReceiver, UartTransmitter
from model.golden import execute
from sim import board, verilator
from sim.board import serve, simulated_board
from sim.errors import SimulationError
from sim.verilog import to_rtlil
from ternspike import connection
from ternspike.cli import main
from ternspike.connection import Connection, open_port
from ternspike.device import Device
from tests.networks import CORES
from tests.small_networks import network, samples

pytestmark = pytest.mark.cocotb

DIVISOR = 5

# The command line's name of a core that other tests simulate, too.
SMALL = "tiny," + ",".join(
    f"{name}={str(value).lower()}" for name, value in CORES["planes1"].to_dict().items())


class Echo(wiring.Component):
    """Sends each byte back, when there is time for it."""

    rx: Signal
    tx: Signal
    divisor: Signal
    idle: Signal

    def __init__(self):
        super().__init__({"rx": In(1), "tx": Out(1), "divisor": Out(16), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(DIVISOR)
        m.submodules.transmitter = transmitter = UartTransmitter()
        m.submodules.bytes = buffer = SyncFIFOBuffered(width=8, depth=4096)
        m.d.comb += [
            buffer.w_data.eq(receiver.o.payload),
            buffer.w_en.eq(receiver.o.valid),
            receiver.o.ready.eq(buffer.w_rdy),
            transmitter.i.payload.eq(buffer.r_data),
            transmitter.i.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(transmitter.i.ready),
        ]
        m.d.comb += [
            receiver.divisor.eq(DIVISOR),
            transmitter.divisor.eq(DIVISOR),
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.divisor.eq(DIVISOR),
            self.idle.eq(1),
        ]
        return m


ROOT = Path(__file__).parent.parent


@pytest.fixture
def port():
    with ExitStack() as stack:
        yield serial.serial_for_url(stack.enter_context(serve(Echo(), name="echo")), timeout=5)


def children(process: int) -> list[int]:
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def ended(process: int) -> bool:
    """Whether it ends soon; one that nobody has waited for counts."""
    stat = Path(f"/proc/{process}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_bytes_there_and_back(port):
    for data in (b"x", bytes(range(256)), bytes(4000), b"\xff" * 4000):
        port.write(data)
        assert port.read(len(data)) == data
    port.close()


def test_idle_board_takes_no_time(port):
    port.write(b"x" * 1000)
    assert port.read(1000) == b"x" * 1000
    time.sleep(0.1)
    process, = children(os.getpid())
    before = processor_seconds(process)
    time.sleep(0.5)
    assert processor_seconds(process) - before < 0.05
    port.close()


def test_ends_when_the_client_leaves(port):
    process, = children(os.getpid())
    port.write(b"x" * 4000)
    port.close()
    assert ended(process)


def test_ends_without_a_client():
    with serve(Echo(), name="echo"):
        begun = time.monotonic()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("connected", [False, True])
def test_ends_with_its_parent(tmp_path, connected):
    """Even if that one is killed, and cleans nothing up."""
    script = f"""if True:
        import socket, sys
        from tests.test_sim_board import Echo
        from sim.board import serve
        with serve(Echo(), name="echo") as url:
            if {connected}:
                client = socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1])))
            print("ready", flush=True)
            sys.stdin.read()
        """
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        process, = children(parent.pid)
        parent.send_signal(signal.SIGKILL)
    assert ended(process)


def test_one_client_only(port):
    port.write(b"x")
    assert port.read(1) == b"x"
    with pytest.raises(serial.SerialException, match="refused"):
        serial.serial_for_url(port.port)
    port.close()


def test_board_that_does_not_begin(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no sockets here >&2\n")
    broken.chmod(0o755)
    monkeypatch.setattr(board, "build", lambda top, **options: to_rtlil(top, "echo") and broken)
    with pytest.raises(SimulationError, match="board does not begin: no sockets here"), \
            serve(Echo(), name="echo"):
        pass


def test_harness_is_part_of_the_key(tmp_path, monkeypatch):
    """Another harness is another simulator."""
    made = []
    monkeypatch.setenv("TERNSPIKE_CACHE", str(tmp_path))
    monkeypatch.setattr(verilator, "_compile",
                        lambda component, name, executable, **options: made.append(executable))
    first, second = tmp_path / "first.cpp", tmp_path / "second.cpp"
    first.write_text("// one")
    second.write_text("// two")
    for harness in (None, first, second, first):
        verilator.build(Echo(), name="echo", harness=harness)
    assert len(set(made)) == 3 and made[1] == made[3]


# A core behind it

def test_network_on_a_simulated_board():
    """Through all of it: the frames, the pins, the link, the core; several networks, one board."""
    core = CORES["planes1"]
    with simulated_board(core) as url, Device(url) as device:
        assert device.parameters == core
        assert device.clock == board.CLOCK and device.baud is None
        for whole, count in ((network(20, 12, 5, input_bits=4), 40), (network(30, 9), 7),
                             (network(70, 8, 20, 12, input_bits=8), 9)):
            inputs = samples(whole, count)
            golden = execute(whole, inputs)
            device.load(whole)
            for _ in range(2):
                result = device.infer(inputs)
                np.testing.assert_array_equal(result.membranes, golden.readout)
                np.testing.assert_array_equal(result.classes, golden.classes)
                assert result.cycles > 0
            status = device.status()
            assert status.idle and status.loaded
            assert (status.waiting, status.samples) == (0, count)


def test_speed_of_a_simulated_board(monkeypatch):
    """The pins of the other end follow the device's speed, so that it can be changed."""
    monkeypatch.setattr(connection, "TRIAL", 10.0)
    with simulated_board(CORES["planes1"]) as url:
        link = Connection(open_port(url, 10.0), url, timeout=20.0, line=True)
        link.synchronise()
        before = link.request(Command.HELLO)
        for divisor in (40, 16, board.DIVISOR):
            assert link.try_speed(divisor, board.CLOCK // divisor)
            assert link.request(Command.HELLO) == before
        link.close()


def test_digits_on_a_simulated_board(tmp_path):
    """The whole command, as a user types it."""
    path, numbers = tmp_path / "net.safetensors", tmp_path / "numbers.json"
    whole = network(64, 12, 10, input_bits=8)
    replace(whole, metadata={"dataset": "digits"}).save(path)
    with pytest.raises(SystemExit) as exit:
        main(["run", str(path), "--port", "sim", "--core", SMALL, "--samples", "20", "--json",
              str(numbers)])
    assert exit.value.code == 0
    summary = json.loads(numbers.read_text())
    assert summary["mismatches"] == 0 and summary["compared"] == 20 * 11
    assert summary["device"] == {"port": "sim", "clock": board.CLOCK, "baud": None}
    assert summary["cycles"]["mean"] > 0
