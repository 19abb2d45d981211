"""Sends the neuron units from visit to visit, as soon as there are counts for them."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.neuron import NeuronUnit
from hw.parameters import CoreParameters
from hw.shapes import Pass, Visit

__all__ = ["FireSequencer"]


class FireSequencer(wiring.Component):
    """Make the visits of each pass: the lanes of a tile, ``neurons`` at a time.

    Nothing but the pulse ``closed`` has to travel with the counts, because passes come in the
    order in which the fetcher sends their spikes.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    next, next_valid, next_take : :py:`In(Pass)`, :py:`In(1)`, :py:`Out(1)`
        The pass to make, until its last visit takes it.
    closed : :py:`In(1)`
        Pulse: from the next cycle on, the shadow registers hold the next group's counts.
    credit : :py:`Out(1)`
        Pulse: the synapses may close another group.
    readout_free : :py:`In(1)`
        Pulse: the readout has given out what it took.
    visit, valid : :py:`Out(Visit)`, :py:`Out(1)`
        A visit for the neuron units.
    busy : :py:`Out(1)`
        There are counts that have not been fired, or a sample's passes are being made.
    """

    #: Cycles from ``credit`` to the earliest change of the shadow registers, less those from a
    #: visit to its reading of them.
    lead = 4

    next: data.View
    next_valid: Signal
    next_take: Signal
    closed: Signal
    credit: Signal
    readout_free: Signal
    visit: data.View
    valid: Signal
    busy: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "next":         In(Pass(p)),
            "next_valid":   In(1),
            "next_take":    Out(1),
            "closed":       In(1),
            "credit":       Out(1),
            "readout_free": In(1),
            "visit":        Out(Visit(p)),
            "valid":        Out(1),
            "busy":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        group     = Signal(range(p.tile_groups))     # which lanes of the tile
        last      = Signal()                         # the pass ends with this visit
        spacing   = Signal(range(NeuronUnit.turnaround(p)))  # cycles until a pass may begin
        counted   = Signal()                         # the shadow registers wait for us
        returned  = Signal()                         # credit for these counts has been given
        readout   = Signal(init=1)                   # the readout can take a visit
        in_sample = Signal()
        m.d.comb += [
            last.eq(group == self.next.last_visit),
            # Visits that feed the readout may wait in mid-pass, others never do.
            self.valid.eq(self.next_valid & (~self.next.readout | readout) &
                          ((group != 0) |
                           ((spacing == 0) & (~self.next.counts | counted | self.closed)))),
            self.next_take.eq(self.valid & last),
            self.credit.eq(self.valid & self.next.counts & self.next.ends_counts & ~returned &
                           (last | (~self.next.readout &
                                    (group + self.lead >= self.next.last_visit)))),
            self.busy.eq(in_sample | counted | self.closed),
        ]
        with m.If(self.closed):
            m.d.sync += counted.eq(1)
        with m.If(spacing != 0):
            m.d.sync += spacing.eq(spacing - 1)
        with m.If(self.readout_free):
            m.d.sync += readout.eq(1)
        with m.If(self.valid):
            m.d.sync += [group.eq(group + 1), in_sample.eq(1)]
            with m.If(group == 0):
                m.d.sync += spacing.eq(NeuronUnit.turnaround(p) - 1)
            with m.If(self.next.readout):
                m.d.sync += readout.eq(0)
            with m.If(self.credit):
                m.d.sync += returned.eq(1)
            with m.If(last):
                m.d.sync += [group.eq(0), in_sample.eq(~self.next.ends_sample)]
                with m.If(self.next.counts & self.next.ends_counts):
                    m.d.sync += [counted.eq(0), returned.eq(0)]

        m.d.comb += [self.visit.group.eq(group), self.visit.last.eq(last)]
        for name, _ in Pass(p):
            m.d.comb += self.visit[name].eq(self.next[name])
        return m
