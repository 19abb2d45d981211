"""A board in simulation: a linked core behind the pins of a UART, at the address of a socket.

It is a process of its own, in C++: nothing of Python is in its loop, so it runs some hundred
thousand cycles a second, and while it has nothing to do it takes no time.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.linked_core import LinkedCore
from hw.parameters import CoreParameters
from hw.uart import DIVISOR_WIDTH, UartReceiver, UartTransmitter
from sim.errors import SimulationError
from sim.verilator import build

__all__ = ["CLOCK", "DIVISOR", "SimulatedTop", "serve", "simulated_board"]

#: What the simulated board says of its clock, in Hz.
CLOCK = 12_000_000

#: Cycles a bit: few, so that a byte is soon there; as of a line of 1 Mbaud.
DIVISOR = 12

#: Seconds that a simulator may take to begin, and to end.
_PATIENCE = 30

_HARNESS = Path(__file__).with_suffix(".cpp")


class SimulatedTop(wiring.Component):
    """A linked core between the pins of a UART.

    ::

        pin rx -> UartReceiver -> LinkedCore -> UartTransmitter -> pin tx

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    rx, tx : :py:`In(1, init=1)`, :py:`Out(1)`
        The pins.
    divisor : :py:`Out(16)`
        Cycles a bit.
    idle : :py:`Out(1)`
        The core has nothing to do.
    """

    rx: Signal
    tx: Signal
    divisor: Signal
    idle: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = parameters
        super().__init__({
            "rx":      In(1),
            "tx":      Out(1),
            "divisor": Out(DIVISOR_WIDTH),
            "idle":    Out(1),
        })

    def elaborate(self, platform):
        """Join them."""
        m = Module()
        m.submodules.link = link = LinkedCore(self._p, clock=CLOCK, divisor=DIVISOR)
        m.submodules.receiver = receiver = UartReceiver(DIVISOR)
        m.submodules.transmitter = transmitter = UartTransmitter()
        wiring.connect(m, receiver.o, link.i)
        wiring.connect(m, link.o, transmitter.i)
        m.d.comb += [
            receiver.divisor.eq(link.divisor),
            transmitter.divisor.eq(link.divisor),
            receiver.rx.eq(self.rx),
            link.line_break.eq(receiver.line_break),
            self.tx.eq(transmitter.tx),
            self.divisor.eq(link.divisor),
            self.idle.eq(link.idle),
        ]
        return m


@contextlib.contextmanager
def simulated_board(parameters: CoreParameters) -> Iterator[str]:
    """Give the address of a simulated board with a core, as ``socket://host:port``.

    It serves one client, and ends with the context or when the client leaves.

    Raises
    ------
    SimulationError
        If the simulator can't be built or does not begin.
    """
    with serve(SimulatedTop(parameters), name="board") as url:
        yield url


@contextlib.contextmanager
def serve(top: wiring.Component, *, name: str) -> Iterator[str]:
    """Give the address of a component that has the ports of :class:`SimulatedTop`.

    Raises
    ------
    SimulationError
        If the simulator can't be built or does not begin.
    """
    executable = build(top, name=name, harness=_HARNESS)
    # In a group of its own, so that an interrupt from the keyboard does not end it before the host
    # has ended.
    with subprocess.Popen([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            port = process.stdout.readline().strip()
            if not port:
                raise SimulationError(f"The simulated board does not begin: "
                                      f"{process.stderr.read().strip()}")
            yield f"socket://127.0.0.1:{port}"
        finally:
            # It sees that its standard input is closed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_PATIENCE)
            process.kill()
