"""One bank's event queue: walks the bits of its rows and emits an event a cycle."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.row_queue import RowQueue
from hw.shapes import BankRow

__all__ = ["EventQueue"]


class EventQueue(wiring.Component):
    r"""Turn rows of spikes into events (weight address, planes), zeros skipped.

    ::

        row -> held row -> queue of rows with spikes -> current row -> event
                 \_ empty rows vanish here; an empty last row marks the held one as last

    The queue runs ahead of the other banks, into the next groups of planes; ``phase`` tells
    which group the adder trees count. A bank whose current row is of another phase has no event.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    row, valid : :py:`In(BankRow)`, :py:`In(1)`
        A row. There must be ``space``, less the rows that were under way when it fell.
    space : :py:`Out(1)`
        At least ``in_flight`` more rows fit.
    phase : :py:`In(1)`
        Toggles with each group of planes.
    address, planes, event : :py:`Out(range(weight_depth))`, :py:`Out(planes)`, :py:`Out(1)`
        The event of this cycle.
    done : :py:`Out(1)`
        No event of this phase is left after this cycle.
    empty : :py:`Out(1)`
        Nothing is held, queued or current.
    """

    #: Rows that ``space`` must leave room for: the held one, three on the way from the fetcher,
    #: and the one that it sends now.
    in_flight = 5

    row: data.View
    valid: Signal
    space: Signal
    phase: Signal
    address: Signal
    planes: Signal
    event: Signal
    done: Signal
    empty: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "row":     In(BankRow(p)),
            "valid":   In(1),
            "space":   Out(1),
            "phase":   In(1),
            "address": Out(range(p.weight_depth)),
            "planes":  Out(p.planes),
            "event":   Out(1),
            "done":    Out(1),
            "empty":   Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p
        layout = BankRow(p)

        # The held row waits for the row behind it, to learn whether it is the group's last
        # one with spikes. So only groups without any spike need a row without spikes.
        held       = Signal(layout, reset_less=True)
        held_valid = Signal()
        arrives    = Signal()        # a row that is kept
        closes     = Signal()        # an empty last row: the held one becomes the last
        m.submodules.queue = queue = RowQueue(
            width=layout.size, depth=p.queue_depth, margin=self.in_flight)
        with m.If(self.valid):
            with m.If(self.row.spikes.as_value().any()):
                m.d.comb += arrives.eq(1)
            with m.Elif(self.row.tag.last):
                m.d.comb += [
                    closes.eq(held_valid & ~held.tag.last),
                    arrives.eq(~closes),
                ]
        m.d.comb += [
            queue.w_data.eq(held.as_value()),
            queue.w_en.eq(held_valid & (arrives | held.tag.last)),
        ]
        with m.If(queue.w_en):
            m.d.sync += held_valid.eq(0)
        with m.If(arrives):
            m.d.sync += [held.eq(self.row), held_valid.eq(1)]
        with m.If(closes):
            m.d.sync += held.tag.last.eq(1)
        m.d.comb += self.space.eq(queue.space)

        # The current row loses its lowest column with each event.
        head     = Signal(layout)
        current  = Signal(layout, reset_less=True)
        occupied = Signal()
        phase    = Signal()          # of the current row, or the next one
        columns  = Signal(p.scan)    # columns with a spike in any plane
        rest     = Signal(p.scan)    # ... without the lowest
        column   = Signal(range(p.scan))
        ends     = Signal()          # the current row has no column after this cycle
        m.d.comb += [
            head.as_value().eq(queue.r_data),
            columns.eq(Cat(current.spikes[n].any() for n in range(p.scan))),
            rest.eq(Cat(columns[n] & columns[:n].any() for n in range(p.scan))),
        ]
        for n in reversed(range(p.scan)):
            with m.If(columns[n]):
                m.d.comb += [column.eq(n), self.planes.eq(current.spikes[n])]
        turn = Signal()
        m.d.comb += [
            turn.eq(occupied & (phase == self.phase)),
            self.event.eq(turn & columns.any()),
            self.address.eq(current.tag.weights + column),
            ends.eq(~occupied | (turn & ~rest.any())),
            self.done.eq((phase != self.phase) | (turn & current.tag.last & ~rest.any())),
            queue.r_en.eq(ends),
            self.empty.eq(~held_valid & queue.empty & ~occupied),
        ]
        with m.If(turn):
            for n in range(p.scan):
                m.d.sync += current.spikes[n].eq(Mux(rest[n], current.spikes[n], 0))
        with m.If(ends):
            m.d.sync += occupied.eq(0)
            with m.If(occupied):
                m.d.sync += phase.eq(phase ^ current.tag.last)
            with m.If(queue.r_rdy):
                m.d.sync += [current.eq(head), occupied.eq(1)]
        return m
