"""Keeps results for a host that may ask for the same ones twice."""
from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.parameters import CoreParameters
from hw.shapes import ReadoutBeat

__all__ = ["ResultPages"]


class ResultPages(wiring.Component):
    """Each sample's membranes in order, then the number of the largest, a word each, in two pages.

    One page is filled. The other is given out, as often as it is asked for; :attr:`turn` makes it
    the one that is filled, from its beginning, and the one that was filled is given out.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    words : :class:`int`
        Words of a page.

    Members
    -------
    i : :py:`In(stream.Signature(ReadoutBeat))`
        Results, a readout neuron a beat.
    clear : :py:`In(1)`
        Empty both pages.
    turn : :py:`In(1)`
        Turn the pages over.
    number : :py:`In(range(words + 1))`
        A word of the page that is given out.
    word : :py:`Out(32)`
        The word, one cycle later.
    given : :py:`Out(range(words + 1))`
        Words on that page.
    waiting : :py:`Out(range(words + 1))`
        Words on the other one.
    """

    i: stream.Interface
    clear: Signal
    turn: Signal
    number: Signal
    word: Signal
    given: Signal
    waiting: Signal

    def __init__(self, parameters: CoreParameters, words: int):
        self._p = p = parameters
        self._words = words
        super().__init__({
            "i":       In(stream.Signature(ReadoutBeat(p))),
            "clear":   In(1),
            "turn":    In(1),
            "number":  In(range(words + 1)),
            "word":    Out(32),
            "given":   Out(range(words + 1)),
            "waiting": Out(range(words + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        page   = Signal()                           # that is filled
        winner = Signal()                           # the winner's turn, after the last membrane
        room   = Signal()

        # Of a winner, the bits above it are cleared when it is read.
        winner_width = ceil_log2(p.readout_depth)
        row = data.StructLayout({
            "value": signed(max(p.current_width, winner_width)), "winner": 1})
        # The page that is read is not written: synthesis need not give the old word.
        attributes: dict = {"no_rw_check": 1}
        m.submodules.mem = mem = memory.Memory(
            shape=row, depth=2 << ceil_log2(self._words + 1), init=[], attrs=attributes)
        write_port, read_port = mem.write_port(), mem.read_port(domain="comb")
        read = Signal(row, reset_less=True)
        m.d.sync += read.eq(read_port.data)

        beat = self.i.payload
        membrane = Signal.like(read.value)
        m.d.comb += [
            membrane.eq(beat.membrane),
            room.eq(self.waiting != self._words),
            self.i.ready.eq(room & (~beat.last | winner)),
            write_port.addr.eq(Cat(self.waiting, page)),
            write_port.data.value.eq(Cat(
                Mux(winner, beat.winner, membrane[:winner_width]), membrane[winner_width:])),
            write_port.data.winner.eq(winner),
            write_port.en.eq(self.i.valid & room),
            read_port.addr.eq(Cat(self.number, ~page)),
            self.word.eq(read.value),
        ]
        with m.If(read.winner):
            m.d.comb += self.word.eq(read.value[:winner_width])
        with m.If(write_port.en):
            m.d.sync += [self.waiting.eq(self.waiting + 1), winner.eq(beat.last & ~winner)]
        with m.If(self.turn):
            m.d.comb += room.eq(0)
            m.d.sync += [page.eq(~page), self.given.eq(self.waiting), self.waiting.eq(0)]
        with m.If(self.clear):
            m.d.sync += [self.given.eq(0), self.waiting.eq(0), winner.eq(0)]
        return m
