"""A core that is loaded and used through bytes."""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core import Core
from hw.host_link import HostLink
from hw.parameters import CoreParameters
from hw.uart import DIVISOR_WIDTH

__all__ = ["LinkedCore"]


class LinkedCore(wiring.Component):
    """A core behind a host link.

    It takes no streamed weights: a network must fit the core's memories.

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
    i, o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of the line, see :class:`~hw.host_link.HostLink`.
    divisor : :py:`Out(16)`
        Cycles a bit of the serial line.
    line_break : :py:`In(1)`
        The host asks for the first speed.
    idle : :py:`Out(1)`
        No sample is in the core, nor a part of one.
    """

    i: stream.Interface
    o: stream.Interface
    divisor: Signal
    line_break: Signal
    idle: Signal

    def __init__(self, parameters: CoreParameters, *, clock: int, divisor: int, image=None):
        self._parameters = parameters
        self._clock      = clock
        self._divisor    = divisor
        self._image      = image
        super().__init__({
            "i":          In(stream.Signature(8)),
            "o":          Out(stream.Signature(8)),
            "divisor":    Out(DIVISOR_WIDTH),
            "line_break": In(1),
            "idle":       Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        core = Core(self._parameters, image=self._image)

        m.submodules.link = link = HostLink(
            self._parameters, clock=self._clock, divisor=self._divisor)
        m.submodules.core = ResetInserter(link.core_reset)(core)
        wiring.connect(m, wiring.flipped(self.i), link.i)
        wiring.connect(m, link.o, wiring.flipped(self.o))
        wiring.connect(m, link.config, core.config)
        wiring.connect(m, link.samples, core.i)
        wiring.connect(m, core.o, link.results)
        m.d.comb += [
            link.idle.eq(core.idle),
            link.busy.eq(core.busy),
            link.frame.eq(core.frame),
            link.line_break.eq(self.line_break),
            self.divisor.eq(link.divisor),
            self.idle.eq(core.idle),
        ]
        return m
