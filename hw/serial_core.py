"""A core on a serial line."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.linked_core import LinkedCore
from hw.parameters import CoreParameters
from hw.uart import DIVISOR_WIDTH, UartReceiver, UartTransmitter

__all__ = ["SerialCore"]


class SerialCore(wiring.Component):
    """A linked core between the two wires of a UART: what a board needs but for its clock.

    ::

        rx -> UartReceiver -> LinkedCore -> UartTransmitter -> tx

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    clock : :class:`int`
        Its clock in Hz.
    divisor : :class:`int`
        Cycles a bit of the serial line at first.
    image : dict
        First contents of the memories, see :class:`~hw.core.Core`.

    Members
    -------
    rx, tx : :py:`In(1)`, :py:`Out(1)`
        The wires. ``rx`` may change at any time.
    divisor : :py:`Out(16)`
        Cycles a bit.
    idle : :py:`Out(1)`
        No sample is in the core, nor a part of one.
    """

    rx: Signal
    tx: Signal
    divisor: Signal
    idle: Signal

    def __init__(self, parameters: CoreParameters, *, clock: int, divisor: int, image=None):
        self._parameters = parameters
        self._clock      = clock
        self._divisor    = divisor
        self._image      = image
        super().__init__({
            "rx":      In(1),
            "tx":      Out(1),
            "divisor": Out(DIVISOR_WIDTH),
            "idle":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = LinkedCore(
            self._parameters, clock=self._clock, divisor=self._divisor, image=self._image)
        m.submodules.receiver = receiver = UartReceiver(self._divisor)
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
