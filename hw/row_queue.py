"""A queue that is cheap enough to have one for each bank."""
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RowQueue"]


class RowQueue(wiring.Component):
    """First in, first out; the oldest entry waits in the register behind the memory.

    What :class:`amaranth.lib.fifo.SyncFIFOBuffered` does, in a third of its logic: the writer
    looks at ``space`` and leaves a margin for what is on its way, so that the queue is never
    full, and pointers and their distance are a few LUTs instead of five carry chains.

    Parameters
    ----------
    width : :class:`int`
        Bits of an entry.
    depth : :class:`int`
        Entries of the memory, a power of two. It holds one less, and one more waits behind it.
    margin : :class:`int`
        Entries that were free a cycle before ``space`` is seen; what is written in that cycle and
        in this one is not counted yet.

    Members
    -------
    w_data, w_en : :py:`In(width)`, :py:`In(1)`
        An entry to append; it can be read two cycles later.
    r_data, r_rdy, r_en : :py:`Out(width)`, :py:`Out(1)`, :py:`In(1)`
        The oldest entry, whether there is one, and to drop it.
    space : :py:`Out(1)`
        A cycle ago, ``margin`` entries were free.
    empty : :py:`Out(1)`
        There is no entry.
    """

    w_data: Signal
    w_en: Signal
    r_data: Signal
    r_rdy: Signal
    r_en: Signal
    space: Signal
    empty: Signal

    def __init__(self, *, width: int, depth: int, margin: int):
        if depth < 4 or depth & depth - 1:
            raise ValueError(f"Queue depth must be a power of two from 4 on, not {depth!r}")
        if not 0 < margin < depth - 1:
            raise ValueError(f"Queue margin must be in 1..{depth - 2}, not {margin!r}")
        self._width  = width
        self._depth  = depth
        self._margin = margin
        super().__init__({
            "w_data": In(width),
            "w_en":   In(1),
            "r_data": Out(width),
            "r_rdy":  Out(1),
            "r_en":   In(1),
            "space":  Out(1),
            "empty":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.entries = entries = memory.Memory(
            shape=self._width, depth=self._depth, init=[])
        write_port, read_port = entries.write_port(), entries.read_port()
        write = Signal(range(self._depth))
        read  = Signal(range(self._depth))
        move  = Signal()                     # from the memory to the register behind it
        m.d.comb += [
            move.eq((write != read) & (~self.r_rdy | self.r_en)),
            write_port.addr.eq(write),
            write_port.data.eq(self.w_data),
            write_port.en.eq(self.w_en),
            read_port.addr.eq(read),
            read_port.en.eq(move),
            self.r_data.eq(read_port.data),
            self.empty.eq((write == read) & ~self.r_rdy),
        ]

        def next_of(pointer):
            return Cat(pointer[n] ^ pointer[:n].all() for n in range(len(pointer)))

        with m.If(self.w_en):
            m.d.sync += write.eq(next_of(write))
        with m.If(move):
            m.d.sync += [read.eq(next_of(read)), self.r_rdy.eq(1)]
        with m.Elif(self.r_en):
            m.d.sync += self.r_rdy.eq(0)

        # write - read, by borrows: adders this small do not pay for a carry chain.
        level  = Signal(range(self._depth))
        borrow = Const(0, 1)
        for n in range(len(level)):
            m.d.comb += level[n].eq(write[n] ^ read[n] ^ borrow)
            lends  = Signal(name=f"borrow{n}")
            m.d.comb += lends.eq((~write[n] & (read[n] | borrow)) | (read[n] & borrow))
            borrow = lends
        m.d.sync += self.space.eq(
            Cat(level == n for n in range(self._depth - self._margin)).any())
        return m
