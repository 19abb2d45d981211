"""A board in simulation: a core on a serial line, at the address of a socket.

It is a process of its own, in C++: nothing of Python is in its loop, so it runs some hundred
thousand cycles a second, and while it has nothing to do it takes no time.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from amaranth.lib import wiring

from hw.parameters import CoreParameters
from hw.serial_core import SerialCore
from sim.errors import SimulationError
from sim.verilator import build

__all__ = ["CLOCK", "DIVISOR", "serve", "simulated_board"]

#: What the simulated board says of its clock, in Hz.
CLOCK = 12_000_000

#: Cycles a bit: few, so that a byte is soon there; as of a line of 1 Mbaud.
DIVISOR = 12

#: Seconds that a simulator may take to begin, and to end.
_PATIENCE = 30

_HARNESS = Path(__file__).with_suffix(".cpp")


@contextlib.contextmanager
def simulated_board(parameters: CoreParameters) -> Iterator[str]:
    """Give the address of a simulated board with a core, as ``socket://host:port``.

    It serves one client, and ends with the context or when the client leaves.

    Raises
    ------
    SimulationError
        If the simulator can't be built or does not begin.
    """
    top = SerialCore(parameters, clock=CLOCK, divisor=DIVISOR)
    with serve(top, name="board") as url:
        yield url


@contextlib.contextmanager
def serve(top: wiring.Component, *, name: str) -> Iterator[str]:
    """Give the address of a component that has the ports of :class:`~hw.serial_core.SerialCore`.

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
