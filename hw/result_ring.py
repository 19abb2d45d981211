"""Keeps results for a host that may ask for the same ones twice."""
from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.parameters import CoreParameters
from hw.shapes import ReadoutBeat

__all__ = ["ResultRing"]


class ResultRing(wiring.Component):
    """Each sample's membranes in order, then the number of the largest, a word each.

    Words are given out in *rounds*: of the words that are there when one begins, as many as are
    taken. They keep their places until the next round begins, so that a round can be repeated.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    words : :class:`int`
        Words that have a place; a power of two.

    Members
    -------
    i : :py:`In(stream.Signature(ReadoutBeat))`
        Results, a readout neuron a beat.
    clear : :py:`In(1)`
        Drop everything.
    begin : :py:`In(1)`
        A round begins.
    again : :py:`In(1)`
        The last round is repeated.
    word : :py:`Out(32)`
        The next word of the round, two cycles after ``begin``, ``again`` and ``take``.
    empty : :py:`Out(1)`
        There is none.
    take : :py:`In(1)`
        Go on to the one behind it.
    waiting : :py:`Out(range(words + 1))`
        Words that have not been given out.
    """

    i: stream.Interface
    clear: Signal
    begin: Signal
    again: Signal
    word: Signal
    empty: Signal
    take: Signal
    waiting: Signal

    def __init__(self, parameters: CoreParameters, words: int):
        if not isinstance(words, int) or isinstance(words, bool):
            raise TypeError(f"Words of results must be an integer, not {words!r}")
        if not 2 <= words < 1 << 16 or words & words - 1:
            raise ValueError(f"Words of results must be a power of two in 2..32768, not {words!r}")
        self._p = p = parameters
        self._words = words
        super().__init__({
            "i":       In(stream.Signature(ReadoutBeat(p))),
            "clear":   In(1),
            "begin":   In(1),
            "again":   In(1),
            "word":    Out(32),
            "empty":   Out(1),
            "take":    In(1),
            "waiting": Out(range(words + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        # A place, and a bit that tells full from empty.
        pointer = ceil_log2(self._words) + 1
        first = Signal(pointer)                     # of the last round
        next_ = Signal(pointer, name="next")        # of this one
        stop  = Signal(pointer)                     # behind the last of this one
        write = Signal(pointer)
        full  = Signal()

        # The width of a membrane; the winner has no sign.
        shape = signed(max(p.current_width, ceil_log2(p.readout_depth) + 1))
        # Nobody looks at a word in the cycle after it has been written: synthesis need not give
        # the old one.
        m.submodules.mem = mem = memory.Memory(shape=shape, depth=self._words, init=[],
                                               attrs={"no_rw_check": 1})
        write_port, read_port = mem.write_port(), mem.read_port(domain="comb")
        read_data = Signal(shape, reset_less=True)
        m.d.sync += read_data.eq(read_port.data)

        beat   = self.i.payload
        winner = Signal()                           # the winner's turn, after the last membrane
        m.d.comb += [
            full.eq((write ^ first) == self._words),
            self.i.ready.eq(~full & (~beat.last | winner)),
            write_port.addr.eq(write),
            write_port.data.eq(Mux(winner, beat.winner, beat.membrane)),
            write_port.en.eq(self.i.valid & ~full),
            read_port.addr.eq(next_),
            self.word.eq(read_data),
            self.empty.eq(next_ == stop),
            self.waiting.eq(write - next_),
        ]
        with m.If(write_port.en):
            m.d.sync += [write.eq(write + 1), winner.eq(beat.last & ~winner)]
        with m.If(self.take):
            m.d.sync += next_.eq(next_ + 1)
        with m.If(self.begin):
            m.d.sync += [first.eq(next_), stop.eq(write)]
        with m.If(self.again):
            m.d.sync += next_.eq(first)
        with m.If(self.clear):
            m.d.sync += [pointer.eq(0) for pointer in (first, next_, stop, write, winner)]
        return m
