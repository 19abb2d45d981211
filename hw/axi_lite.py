"""Accesses to registers over AXI4-Lite."""
from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AXILite", "ReadData", "Response", "WriteData"]

# Ref: AMBA AXI and ACE Protocol Specification, Arm IHI 0022, chapters A3 and B1.


class Response(enum.Enum, shape=2):
    """What came of an access."""

    #: It was carried out.
    OKAY = 0
    #: It was refused, and changed nothing.
    SLVERR = 2


#: What the channel W carries.
WriteData = data.StructLayout({"data": 32, "strobe": 4})

#: What the channel R carries.
ReadData = data.StructLayout({"data": 32, "response": Response})


class AXILite(wiring.Component):
    """Take accesses one by one, and let whoever has the registers decide on each.

    AW and W may come in any order; an access is taken when both are there, and carried out in the
    cycle after. All outputs of the bus come from registers: no input acts on an output in the
    same cycle. A write can follow every three cycles, a read every two.

    Parameters
    ----------
    address_width : :class:`int`
        Bits of an address in bytes.

    Members
    -------
    aw, ar : :py:`In(stream.Signature(address_width))`
        Addresses to write and to read. The lowest two bits are ignored.
    w : :py:`In(stream.Signature(WriteData))`
        Words to write.
    b : :py:`Out(stream.Signature(Response))`
        What came of the writes.
    r : :py:`Out(stream.Signature(ReadData))`
        What was read.
    write, write_word, write_data : :py:`Out(1)`, :py:`Out(address_width - 2)`, :py:`Out(32)`
        A write to this register, numbered by words.
    write_refused : :py:`In(1)`
        It is not carried out; said in the cycle with ``write``. Writes of a part of a word are
        refused without being asked for.
    read, read_word : :py:`Out(1)`, :py:`Out(address_width - 2)`
        A read of this register.
    read_data, read_refused : :py:`In(32)`, :py:`In(1)`
        Its value, or that it has none; said in the cycle with ``read``.
    refused : :py:`Out(range(3))`
        Accesses that are refused in this cycle.
    """

    aw: stream.Interface
    w: stream.Interface
    b: stream.Interface
    ar: stream.Interface
    r: stream.Interface
    write: Signal
    write_word: Signal
    write_data: Signal
    write_refused: Signal
    read: Signal
    read_word: Signal
    read_data: Signal
    read_refused: Signal
    refused: Signal

    def __init__(self, address_width: int):
        if not isinstance(address_width, int) or address_width < 3:
            raise ValueError(f"Address width must be an integer of at least 3, "
                             f"not {address_width!r}")
        super().__init__({
            "aw":            In(stream.Signature(address_width)),
            "w":             In(stream.Signature(WriteData)),
            "b":             Out(stream.Signature(Response)),
            "ar":            In(stream.Signature(address_width)),
            "r":             Out(stream.Signature(ReadData)),
            "write":         Out(1),
            "write_word":    Out(address_width - 2),
            "write_data":    Out(32),
            "write_refused": In(1),
            "read":          Out(1),
            "read_word":     Out(address_width - 2),
            "read_data":     In(32),
            "read_refused":  In(1),
            "refused":       Out(range(3)),
        })

    def elaborate(self, platform):
        m = Module()

        # A write: taken, then carried out, then answered.
        take   = Signal()
        taken  = Signal()
        whole  = Signal(reset_less=True)
        word   = Signal.like(self.write_word, reset_less=True)
        value  = Signal(32, reset_less=True)
        refuse = Signal()
        m.d.sync += [
            take.eq(self.aw.valid & self.w.valid & ~take & ~taken & (~self.b.valid | self.b.ready)),
            taken.eq(take),
        ]
        with m.If(take):
            m.d.sync += [
                word.eq(self.aw.payload[2:]),
                value.eq(self.w.payload.data),
                whole.eq(self.w.payload.strobe.all()),
            ]
        m.d.comb += [
            self.aw.ready.eq(take),
            self.w.ready.eq(take),
            self.write.eq(taken & whole),
            self.write_word.eq(word),
            self.write_data.eq(value),
            refuse.eq(~whole | self.write_refused),
        ]
        with m.If(self.b.ready):
            m.d.sync += self.b.valid.eq(0)
        with m.If(taken):
            m.d.sync += [
                self.b.valid.eq(1),
                self.b.payload.eq(Mux(refuse, Response.SLVERR, Response.OKAY)),
            ]

        # A read is carried out while it is taken: its value goes into the register of `r`.
        m.d.sync += self.read.eq(self.ar.valid & ~self.read & (~self.r.valid | self.r.ready))
        m.d.comb += [
            self.ar.ready.eq(self.read),
            self.read_word.eq(self.ar.payload[2:]),
        ]
        with m.If(self.r.ready):
            m.d.sync += self.r.valid.eq(0)
        with m.If(self.read):
            m.d.sync += [
                self.r.valid.eq(1),
                self.r.payload.data.eq(Mux(self.read_refused, 0, self.read_data)),
                self.r.payload.response.eq(
                    Mux(self.read_refused, Response.SLVERR, Response.OKAY)),
            ]
        m.d.comb += self.refused.eq((taken & refuse) + (self.read & self.read_refused))
        return m
