"""Gives the readout's membranes out, one a cycle, and names the largest."""
from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.neuron_array import ReadoutRow
from hw.parameters import CoreParameters
from hw.shapes import ReadoutBeat

__all__ = ["Readout"]


class Readout(wiring.Component):
    """Take the membranes of one visit at a time; sum them over steps, or give them out.

    A lane a cycle; its result leaves ``latency`` cycles later.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    row, row_en : :py:`In(ReadoutRow)`, :py:`In(1)`
        The membranes of a visit; not before ``free``.
    free : :py:`Out(1)`
        Pulse: another row may come.
    o : :py:`Out(stream.Signature(ReadoutBeat))`
        Results, a neuron a beat, in order.
    busy : :py:`Out(1)`
        There are membranes that have not been given out.
    """

    #: Cycles from a lane's turn to its beat.
    latency = 3

    row: data.View
    row_en: Signal
    free: Signal
    o: stream.Interface
    busy: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "row":    In(ReadoutRow(p)),
            "row_en": In(1),
            "free":   Out(1),
            "o":      Out(stream.Signature(ReadoutBeat(p))),
            "busy":   Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        # Stage a: a lane of the row, and its sum so far is read. Stage b: the two are added.
        # Stage c: the result is compared with the largest before it.
        row      = Signal(ReadoutRow(p), reset_less=True)
        a_valid  = Signal()
        a_lane   = Signal(range(p.neurons))
        a_neuron = Signal(range(p.readout_depth))
        a_last   = Signal()
        b_valid  = Signal()
        b_membrane = Signal(signed(p.membrane_width), reset_less=True)
        b_neuron = Signal(range(p.readout_depth), reset_less=True)
        b_first  = Signal(reset_less=True)
        b_emit   = Signal(reset_less=True)
        b_end    = Signal(reset_less=True)
        b_moves  = Signal()
        b_sum    = Signal(signed(p.current_width))
        b_before = Signal(signed(p.current_width), reset_less=True)
        c_valid  = Signal()
        c_moves  = Signal()
        c_sum    = Signal(signed(p.current_width), reset_less=True)
        c_neuron = Signal(range(p.readout_depth), reset_less=True)
        c_end    = Signal(reset_less=True)

        m.submodules.sums = sums = memory.Memory(
            shape=signed(p.current_width), depth=p.readout_depth, init=[])
        sum_read, sum_write = sums.read_port(domain="comb"), sums.write_port()

        m.d.comb += [
            a_neuron.eq(row.base + a_lane),
            a_last.eq(a_lane + 1 == row.lanes),
            c_moves.eq(c_valid & (~self.o.valid | self.o.ready)),
            b_moves.eq(b_valid & (~b_emit | ~c_valid | c_moves)),
            b_sum.eq(b_membrane + Mux(b_first, 0, b_before)),
            sum_read.addr.eq(a_neuron),
            sum_write.addr.eq(b_neuron),
            sum_write.data.eq(b_sum),
            sum_write.en.eq(b_moves & ~b_emit),
            self.busy.eq(a_valid | b_valid | c_valid | self.o.valid),
        ]
        # The block RAM's own register. A sum is never read while it is written, but only the
        # comparison lets synthesis see that, and spare the logic for the case that it were.
        with m.If((~b_valid | b_moves) & ~(sum_write.en & (a_neuron == b_neuron))):
            m.d.sync += b_before.eq(sum_read.data)
        with m.If(self.row_en):
            m.d.sync += [row.eq(self.row), a_valid.eq(1), a_lane.eq(0)]
        with m.If(~b_valid | b_moves):
            m.d.sync += b_valid.eq(a_valid)
            with m.If(a_valid):
                m.d.sync += [
                    b_membrane.eq(Array(row.membranes[n] for n in range(p.neurons))[a_lane]
                                  if p.neurons > 1 else row.membranes[0]),
                    b_neuron.eq(a_neuron),
                    b_first.eq(row.first),
                    b_emit.eq(row.emit),
                    b_end.eq(row.end & a_last),
                    a_lane.eq(a_lane + 1),
                ]
                with m.If(a_last):
                    m.d.sync += a_valid.eq(0)
                    m.d.comb += self.free.eq(1)

        with m.If(c_moves):
            m.d.sync += c_valid.eq(0)
        with m.If(b_moves & b_emit):
            m.d.sync += [c_valid.eq(1), c_sum.eq(b_sum), c_neuron.eq(b_neuron), c_end.eq(b_end)]

        # The first of equal membranes wins.
        best        = Signal(signed(p.current_width), reset_less=True)
        best_neuron = Signal(range(p.readout_depth), reset_less=True)
        better      = Signal()
        winner      = Signal(range(p.readout_depth))
        m.d.comb += [
            better.eq((c_neuron == 0) | (c_sum > best)),
            winner.eq(Mux(better, c_neuron, best_neuron)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(c_moves):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.membrane.eq(c_sum),
                self.o.payload.neuron.eq(c_neuron),
                self.o.payload.last.eq(c_end),
                self.o.payload.winner.eq(winner),
                best_neuron.eq(winner),
            ]
            with m.If(better):
                m.d.sync += best.eq(c_sum)
        return m
