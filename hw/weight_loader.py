"""Takes the weights of networks that are larger than the weight memory, tile by tile."""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.memory_map import INDEX_WIDTH, Region
from hw.shapes import ConfigWrite

__all__ = ["ROW_WIDTH", "WeightLoader"]

#: Bits of a row, and of a number of rows, in the header of a tile.
ROW_WIDTH = 16


class WeightLoader(wiring.Component):
    """Write tiles of weights into one half of the weight memory while the core reads the other.

    A tile is a *header*, ``{first row: 16 bits, rows less one: 16 bits}``, and its words as chunks
    of at most 32 bits: row by row, of each row bank by bank, of each bank the lowest chunk first.
    All rows of a tile lie in one half of the memory, the one that the highest bit of the row says.
    A tile waits until the one before it in its half has been released.

    Parameters
    ----------
    region : :class:`~hw.memory_map.Region`
        The weight memory.

    Members
    -------
    i : :py:`In(stream.Signature(32))`
        Headers and chunks.
    hold : :py:`In(1)`
        Take none.
    restart : :py:`In(1)`
        The network changes: forget all tiles, and a header comes next.
    take, take_half : :py:`In(1)`, :py:`In(1)`
        The tile in this half is being read from now on. Only if it is ``ready``.
    release : :py:`In(1)`
        The tile that was taken first has been read.
    ready : :py:`Out(2)`
        For each half: it holds a tile that has not been taken.
    write, write_en : :py:`Out(ConfigWrite)`, :py:`Out(1)`
        A write to the weight memory.
    """

    i: stream.Interface
    hold: Signal
    restart: Signal
    take: Signal
    take_half: Signal
    release: Signal
    ready: Signal
    write: data.View
    write_en: Signal

    def __init__(self, region: Region):
        self._region = region
        super().__init__({
            "i":         In(stream.Signature(32)),
            "hold":      In(1),
            "restart":   In(1),
            "take":      In(1),
            "take_half": In(1),
            "release":   In(1),
            "ready":     Out(2),
            "write":     Out(ConfigWrite),
            "write_en":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        region = self._region

        in_tile = Signal()
        row     = Signal(ROW_WIDTH)
        left    = Signal(ROW_WIDTH)                  # rows after this one
        bank    = Signal(ceil_log2(region.banks))
        chunk   = Signal(ceil_log2(region.chunks))
        full    = Signal(2)                          # a tile in this half is not yet read
        oldest  = Signal()                           # half of the tile that is released next

        index = Signal(INDEX_WIDTH)                  # of the chunk, as in every address
        half  = Signal()
        ends_bank = Signal()
        ends_row  = Signal()
        transfer  = Signal()
        m.d.comb += [
            half.eq(row[ceil_log2(region.depth) - 1]),
            ends_bank.eq(chunk == region.chunks - 1),
            ends_row.eq(ends_bank & (bank == region.banks - 1)),
            self.i.ready.eq(~self.hold & ~(in_tile & full.bit_select(half, 1))),
            transfer.eq(self.i.valid & self.i.ready),
            self.write_en.eq(transfer & in_tile),
            index.eq(Cat(chunk, bank, row)),
            self.write.address.eq(Cat(index, Const(region.number, 32 - INDEX_WIDTH))),
            self.write.data.eq(self.i.payload),
        ]
        with m.If(self.release):
            m.d.sync += [full.bit_select(oldest, 1).eq(0), oldest.eq(~oldest)]
        with m.If(self.take):
            m.d.sync += self.ready.bit_select(self.take_half, 1).eq(0)
        with m.If(transfer & ~in_tile):
            m.d.sync += [in_tile.eq(1), left.eq(self.i.payload[:ROW_WIDTH]),
                         row.eq(self.i.payload[ROW_WIDTH:])]
        with m.If(transfer & in_tile):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(ends_bank):
                m.d.sync += [chunk.eq(0), bank.eq(bank + 1)]
            with m.If(ends_row):
                m.d.sync += [bank.eq(0), row.eq(row + 1), left.eq(left - 1)]
                with m.If(left == 0):
                    m.d.sync += [in_tile.eq(0), full.bit_select(half, 1).eq(1),
                                 self.ready.bit_select(half, 1).eq(1)]
                    # The other half is older if it is still to be released after this cycle.
                    with m.If(~full.bit_select(~half, 1) | (self.release & (oldest != half))):
                        m.d.sync += oldest.eq(half)
        with m.If(self.restart):
            m.d.sync += [in_tile.eq(0), bank.eq(0), chunk.eq(0), full.eq(0), self.ready.eq(0)]
        return m
