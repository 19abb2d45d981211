"""Reads a program from its memory, a layer ahead of its use."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import ConfigurableMemory
from hw.memory_map import PROGRAM_WIDTH, Region, program_words
from hw.shapes import ConfigWrite

__all__ = ["ProgramReader"]


class ProgramReader(wiring.Component):
    """Give the layers of a program in order, and from the first one again after the last.

    The memory is ``PROGRAM_WIDTH`` bits wide and a layer takes several words: block RAMs are deep
    rather than wide. The next layer is read while its user works on the one that it took.

    Parameters
    ----------
    region : :class:`~hw.memory_map.Region`
        The program's memory.
    layout : :class:`amaranth.lib.data.StructLayout`
        Of a layer; with a field ``last`` that ends the program.
    init : sequence of :class:`int`
        First contents, a word each.

    Members
    -------
    layer, valid : :py:`Out(layout)`, :py:`Out(1)`
        The next layer, and whether it is complete.
    take : :py:`In(1)`
        Go on to the layer after it; with ``valid`` only. It comes ``latency`` cycles later.
    write, write_en : :py:`In(ConfigWrite)`, :py:`In(1)`
        Configuration, after which the program begins again.
    """

    layer: data.View
    valid: Signal
    take: Signal
    write: data.View
    write_en: Signal

    def __init__(self, region: Region, layout: data.StructLayout, *, init=()):
        self._region = region
        self._layout = layout
        self._init   = init
        super().__init__({
            "layer":    Out(layout),
            "valid":    Out(1),
            "take":     In(1),
            "write":    In(ConfigWrite),
            "write_en": In(1),
        })

    @staticmethod
    def latency(layout: data.StructLayout) -> int:
        """Return the cycles from ``take`` to the next ``valid``."""
        return program_words(layout) + 2

    def elaborate(self, platform):
        m = Module()
        words = program_words(self._layout)

        m.submodules.words = memory = ConfigurableMemory(
            self._region, init=self._init, style="block")
        address = Signal(range(self._region.depth))
        asked   = Signal(range(words + 1))           # words of the layer asked for
        comes   = Signal()                           # the memory gives one of them
        shift   = Signal(words * PROGRAM_WIDTH, reset_less=True)     # the last word is the highest
        m.d.comb += [
            memory.write.eq(self.write),
            memory.write_en.eq(self.write_en),
            memory.address.eq(address),
            self.layer.as_value().eq(shift),
        ]
        m.d.sync += comes.eq(asked != words)
        with m.If(asked != words):
            m.d.sync += [asked.eq(asked + 1), address.eq(address + 1)]
        with m.If(comes):
            m.d.sync += [shift.eq(Cat(shift[PROGRAM_WIDTH:], memory.data)),
                         self.valid.eq(asked == words)]
        with m.If(self.take):
            m.d.sync += [asked.eq(0), self.valid.eq(0)]
            with m.If(self.layer.last):
                m.d.sync += address.eq(0)
        with m.If(memory.writing):
            m.d.sync += [asked.eq(0), address.eq(0), comes.eq(0), self.valid.eq(0)]
        return m
