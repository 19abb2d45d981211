"""Results as words of 32 bits, for whoever moves words."""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.shapes import ReadoutBeat

__all__ = ["ResultWord", "ResultWords"]

#: One word of a sample's results; the last one ends them.
ResultWord = data.StructLayout({"data": 32, "last": 1})


class ResultWords(wiring.Component):
    """Give each sample's membranes, sign-extended and in order, then the number of the largest.

    A word a cycle.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    i : :py:`In(stream.Signature(ReadoutBeat))`
        Results, a readout neuron a beat.
    drop : :py:`In(1)`
        Take none, and forget what has not been offered. What is offered stays, and where it leaves
        a sample without its end, a word 0 with ``last`` follows.
    o : :py:`Out(stream.Signature(ResultWord))`
        Words.
    """

    i: stream.Interface
    drop: Signal
    o: stream.Interface

    def __init__(self, parameters: CoreParameters):
        super().__init__({
            "i":    In(stream.Signature(ReadoutBeat(parameters))),
            "drop": In(1),
            "o":    Out(stream.Signature(ResultWord)),
        })

    def elaborate(self, platform):
        m = Module()

        free   = Signal()                            # the register of `o` is, after this cycle
        winner = Signal()                            # the winner's turn, after the last membrane
        begun  = Signal()                            # a sample's words have, and have not ended
        broken = Signal()                            # ... and the rest was dropped
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(free & ~broken & ~self.drop & (~self.i.payload.last | winner)),
        ]
        with m.If(self.drop):
            m.d.sync += winner.eq(0)
            with m.If(begun):
                m.d.sync += broken.eq(1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(free & broken):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.data.eq(0),
                self.o.payload.last.eq(1),
                begun.eq(0),
                broken.eq(0),
            ]
        with m.Elif(free & self.i.valid & ~self.drop):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.data.eq(Mux(winner, self.i.payload.winner, self.i.payload.membrane)),
                self.o.payload.last.eq(winner),
                begun.eq(~winner),
                winner.eq(self.i.payload.last & ~winner),
            ]
        return m
