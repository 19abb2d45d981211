"""Max pooling of spikes on their way to the memory: the largest of the pixels of a window."""
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.spike_memory import TileWrite

__all__ = ["MaxPool", "PoolStep"]


class PoolStep(data.StructLayout):
    """Which plane of which pixel comes."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "plane":    range(p.pool_depth),    # of all steps
            "first":    1,                      # first pixel of the window
            "last":     1,                      # last pixel of the window
            "begin":    1,                      # first plane of a step
            "negative": 1,                      # the plane counts down
        })


class MaxPool(wiring.Component):
    """Keep the larger of the spikes so far and those of this pixel, lane by lane.

    Counts come plane by plane, the largest weight first, and are such that the larger count has
    the first plane that differs (:func:`model.network.level_weights`); a plane that counts down
    is the other way round. So two bits a lane decide: whether the planes of the step were equal
    so far, and who leads if not. Of binary spikes that is OR.

    Layers without pooling have windows of one pixel, which pass through.

    ::

        cycle 0           1                    2
              step        spikes; memory read  spikes to the spike memory, memory written

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    step, step_en : :py:`In(PoolStep)`, :py:`In(1)`
        What comes in the next cycle; not twice within three cycles.
    i, i_en : :py:`In(TileWrite)`, :py:`In(1)`
        A tile of one plane.
    o, o_en : :py:`Out(TileWrite)`, :py:`Out(1)`
        The pooled spikes of a whole window.
    """

    #: Cycles from a tile to what is written of it.
    latency = 1

    step: data.View
    step_en: Signal
    i: data.View
    i_en: Signal
    o: data.View
    o_en: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "step":    In(PoolStep(p)),
            "step_en": In(1),
            "i":       In(TileWrite(p)),
            "i_en":    In(1),
            "o":       Out(TileWrite(p)),
            "o_en":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        if not p.map_width:                          # there are no windows
            m.d.sync += [self.o.eq(self.i), self.o_en.eq(self.i_en)]
            return m

        m.submodules.planes = planes = memory.Memory(shape=p.lanes, depth=p.pool_depth, init=[])
        read, write = planes.read_port(domain="comb"), planes.write_port()
        old   = Signal(p.lanes, reset_less=True)
        step  = Signal(PoolStep(p), reset_less=True)     # with `i`
        after = Signal(PoolStep(p), reset_less=True)     # with `o`
        equal = Signal(p.lanes, reset_less=True)     # the planes so far were equal
        leads = Signal(p.lanes, reset_less=True)     # if not: this pixel has more
        m.d.comb += [
            read.addr.eq(self.step.plane),
            write.addr.eq(after.plane),
            write.data.eq(self.o.spikes),
        ]
        m.d.sync += [step.eq(self.step), after.eq(step)]
        with m.If(self.step_en & self.step.begin):
            m.d.sync += [equal.eq(~self.step.first.replicate(p.lanes)), leads.eq(-1)]
        # The block RAM's own register. A plane is never read while it is written, but only the
        # comparison lets synthesis see that, and spare the logic for the case that it were.
        with m.If(~(write.en & (after.plane == self.step.plane))):
            m.d.sync += old.eq(read.data)

        spikes = self.i.spikes
        take   = Signal(p.lanes)                     # this pixel's spike, not the old one
        m.d.comb += take.eq((equal & (spikes ^ step.negative.replicate(p.lanes))) |
                            (~equal & leads))
        with m.If(self.i_en):
            m.d.sync += [leads.eq(take), equal.eq(equal & ~(spikes ^ old))]
        moved = Signal()                             # `o` is new
        m.d.sync += [moved.eq(self.i_en), self.o.eq(self.i),
                     self.o.spikes.eq((take & spikes) | (~take & old)),
                     self.o_en.eq(self.i_en & step.last)]
        m.d.comb += write.en.eq(moved)
        return m
