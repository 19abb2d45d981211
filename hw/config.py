"""A memory that the configuration stream writes, chunk by chunk, and a block reads."""
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.memory_map import INDEX_WIDTH, Region
from hw.shapes import ConfigWrite

__all__ = ["ConfigurableMemory"]


class ConfigurableMemory(wiring.Component):
    """A memory with one read port, written by configuration writes to its region.

    A write is carried out one cycle after it came, so that its wires may be long.

    Parameters
    ----------
    region : :class:`~hw.memory_map.Region`
        Geometry and addresses.
    init : sequence of :class:`int`
        First contents, a row each.
    bank : :class:`int`
        Which of the region's banks this is.
    shared_port : :class:`bool`
        Give reads and writes the same address, so that a single-port memory will do.
    concurrent : :class:`bool`
        Rows are read while others are written. Whoever writes a row sees to it that it is not read.
    style : :class:`str` or None
        The kind of memory that synthesis is to take, if it is not to choose.

    Members
    -------
    write : :py:`In(ConfigWrite)`
        A configuration write, meant for this memory or another.
    write_en : :py:`In(1)`
        It is valid.
    writing : :py:`Out(1)`
        A write to this memory or another is carried out.
    address : :py:`In(range(depth))`
        Row to read; nothing is read in a cycle with ``writing``, unless ``concurrent``.
    clear : :py:`In(1)`
        Read zeros.
    data : :py:`Out(row_width)`
        The row, one cycle later.
    """

    write: data.View
    write_en: Signal
    writing: Signal
    address: Signal
    clear: Signal
    data: Signal

    def __init__(self, region: Region, *, init=(), bank: int = 0, shared_port: bool = False,
                 concurrent: bool = False, style: str | None = None):
        self._region = region
        self._bank   = bank
        self._init   = init
        self._shared = shared_port
        self._concurrent = concurrent
        self._style  = style
        super().__init__({
            "write":    In(ConfigWrite),
            "write_en": In(1),
            "writing":  Out(1),
            "address":  In(range(region.depth)),
            "clear":    In(1),
            "data":     Out(region.chunks * region.chunk_width),
        })

    def elaborate(self, platform):
        m = Module()
        region = self._region

        shape = data.ArrayLayout(region.chunk_width, region.chunks)
        mask  = (1 << region.chunk_width) - 1
        rows: list = [[row >> n * region.chunk_width & mask for n in range(region.chunks)]
                      for row in self._init]
        attributes: dict = {"ram_style": self._style} if self._style else {}
        if self._concurrent:
            attributes["no_rw_check"] = 1            # no row is read that is being written
        m.submodules.mem = mem = memory.Memory(
            shape=shape, depth=region.depth, init=rows, attrs=attributes)
        write_port = mem.write_port(granularity=1)
        read_port  = mem.read_port(domain="comb")

        # One idea of the address: {region, row, bank, chunk}.
        address = self.write.address
        chunk   = address[:region.chunk_bits]
        bank    = address[region.chunk_bits:][:region.bank_bits]
        row     = address[region.chunk_bits + region.bank_bits:INDEX_WIDTH]
        # Only depths that are no power of two need a comparison.
        row_bits = ceil_log2(region.depth)
        inside   = ~row[row_bits:].any() & (
            Const(1) if 1 << row_bits == region.depth else row < region.depth)
        hit = Signal()
        m.d.comb += hit.eq(self.write_en & (address[INDEX_WIDTH:] == region.number) &
                           (bank == self._bank) & inside)

        # The registers of row and word are the same for all memories: synthesis shares them.
        write_row  = Signal(range(region.depth), reset_less=True)
        write_word = Signal(region.chunk_width, reset_less=True)
        m.d.sync += [
            write_row.eq(row),
            write_word.eq(self.write.data),
            self.writing.eq(self.write_en),
        ]
        for n in range(region.chunks):
            enable = Signal(name=f"enable{n}")
            m.d.sync += enable.eq(hit & (chunk == n))
            m.d.comb += [
                # Only with `writing` can synthesis see that no read meets a write.
                write_port.en[n].eq(enable & self.writing),
                write_port.data[n].eq(write_word),
            ]
        if self._shared:
            shared_address = Signal(range(region.depth))
            m.d.comb += [
                shared_address.eq(Mux(self.writing, write_row, self.address)),
                write_port.addr.eq(shared_address),
                read_port.addr.eq(shared_address),
            ]
        else:
            m.d.comb += [write_port.addr.eq(write_row), read_port.addr.eq(self.address)]
        # Synthesis makes this register the block RAM's own. Only so does it see that no read meets
        # a write, and leaves out the logic that would give the old word in that case.
        with m.If(self.clear):
            m.d.sync += self.data.eq(0)
        with m.Elif(~self.writing | self._concurrent):
            m.d.sync += self.data.eq(read_port.data)
        return m
