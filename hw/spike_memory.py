"""The memory of spikes: bit maps, one row of all banks at a time."""
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters

__all__ = ["SpikeMemory", "TileWrite"]


class TileWrite(data.StructLayout):
    """The spikes of one tile in one plane, and where they go."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "row":    range(p.spike_depth),
            "slot":   range(p.planes),
            "tile":   range(p.row_tiles),
            "spikes": p.lanes,
        })


class SpikeMemory(wiring.Component):
    """Spikes of all planes, ``banks * scan`` channels of ``planes`` planes a row.

    ::

        row:  plane 0 [ tile 0 | tile 1 | .. ]  plane 1 [ tile 0 | .. ]  ..
              tile = `lanes` consecutive channels; channel c of a row belongs to bank c % banks

    A tile of one plane is written at a time and a whole row is read. A row that is written in the
    same cycle is not read: the data are those of the read before.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    write, write_en : :py:`In(TileWrite)`, :py:`In(1)`
        A tile to write in this cycle.
    read_row : :py:`In(range(spike_depth))`
        Row to read.
    read_data : :py:`Out(ArrayLayout(row_width, planes))`
        The row, one cycle later.
    """

    write: data.View
    write_en: Signal
    read_row: Signal
    read_data: data.View

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "write":     In(TileWrite(p)),
            "write_en":  In(1),
            "read_row":  In(range(p.spike_depth)),
            "read_data": Out(data.ArrayLayout(p.row_width, p.planes)),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        m.submodules.mem = mem = memory.Memory(
            shape=data.ArrayLayout(p.lanes, p.planes * p.row_tiles), depth=p.spike_depth, init=[])
        write_port = mem.write_port(granularity=1)
        read_port  = mem.read_port(domain="comb")
        m.d.comb += [write_port.addr.eq(self.write.row), read_port.addr.eq(self.read_row)]
        # Synthesis merges this register with the block RAM. A comparison of addresses shows it
        # that no read meets a write, and is less than the bypass that it would build else.
        with m.If(~(self.write_en & (self.write.row == self.read_row))):
            m.d.sync += self.read_data.eq(read_port.data)
        for slot in range(p.planes):
            for tile in range(p.row_tiles):
                n = slot * p.row_tiles + tile
                m.d.comb += [
                    write_port.en[n].eq(self.write_en & (self.write.slot == slot) &
                                        (self.write.tile == tile)),
                    write_port.data[n].eq(self.write.spikes),
                ]
        return m
