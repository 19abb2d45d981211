"""The core as a block of a system on chip: AXI4-Lite registers, AXI4-Stream samples and results."""
from amaranth import *
from amaranth.hdl import ValueLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.axi_lite import AXILite
from hw.core import Core
from hw.memory_map import INDEX_WIDTH, Region, regions
from hw.parameters import CoreParameters
from hw.protocol import MAGIC
from hw.registers import (
    ADDRESS_WIDTH,
    PARAMETER_PREFIX,
    REGISTERS,
    RESET,
    VERSION,
    WORD_BYTES,
)
from hw.result_words import ResultWords

__all__ = ["TernspikeAXI"]


class TernspikeAXI(wiring.Component):
    """A core behind the buses of a system on chip.

    ::

        s_axil ---------> AXILite -- registers -- config -+
                                                          v
        s_axis_input ------------------------------> i  Core  o -> ResultWords -> m_axis_result
        s_axis_weights ----------------------------> w

    :mod:`hw.registers` says what the registers are. Accesses that can't be carried out are
    answered with SLVERR and change nothing: those of an offset without a register, writes to what
    can only be read and the reverse, writes of a part of a word, and configuration that the core
    doesn't take.

    A top level: the ports have the names that tools know AXI by, and the clock is one of
    them. ``aresetn`` may be as short as a cycle; the core's own reset lasts as long as it must.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    image : dict
        First contents of the memories, see :class:`~hw.core.Core`.

    Members
    -------
    aclk, aresetn : :py:`In(1)`
        Clock of everything; reset, low, synchronous.
    s_axil_* : AXI4-Lite
        The registers.
    s_axis_input_* : AXI4-Stream
        Beats of input samples, each in whole bytes, the first lane in the lowest bit. A sample has
        as many beats as its program says; ``tlast`` is ignored.
    s_axis_weights_* : AXI4-Stream
        Tiles of weights, see :class:`~hw.weight_loader.WeightLoader`; ``tlast`` is ignored.
    m_axis_result_* : AXI4-Stream
        Of each sample the membranes of the readout, then the number of the largest, with
        ``tlast``; see :class:`~hw.result_words.ResultWords`.
    """

    aclk: Signal
    aresetn: Signal
    s_axil_awaddr: Signal
    s_axil_awprot: Signal
    s_axil_awvalid: Signal
    s_axil_awready: Signal
    s_axil_wdata: Signal
    s_axil_wstrb: Signal
    s_axil_wvalid: Signal
    s_axil_wready: Signal
    s_axil_bresp: Signal
    s_axil_bvalid: Signal
    s_axil_bready: Signal
    s_axil_araddr: Signal
    s_axil_arprot: Signal
    s_axil_arvalid: Signal
    s_axil_arready: Signal
    s_axil_rdata: Signal
    s_axil_rresp: Signal
    s_axil_rvalid: Signal
    s_axil_rready: Signal
    s_axis_input_tdata: Signal
    s_axis_input_tlast: Signal
    s_axis_input_tvalid: Signal
    s_axis_input_tready: Signal
    s_axis_weights_tdata: Signal
    s_axis_weights_tlast: Signal
    s_axis_weights_tvalid: Signal
    s_axis_weights_tready: Signal
    m_axis_result_tdata: Signal
    m_axis_result_tlast: Signal
    m_axis_result_tvalid: Signal
    m_axis_result_tready: Signal

    def __init__(self, parameters: CoreParameters, *, image=None):
        if not isinstance(parameters, CoreParameters):
            raise TypeError(f"Core parameters must be CoreParameters, not {parameters!r}")
        self._p = parameters
        self._image = image
        super().__init__({
            "aclk":    In(1),
            "aresetn": In(1),
            "s_axil_awaddr":  In(ADDRESS_WIDTH),
            "s_axil_awprot":  In(3),
            "s_axil_awvalid": In(1),
            "s_axil_awready": Out(1),
            "s_axil_wdata":   In(32),
            "s_axil_wstrb":   In(4),
            "s_axil_wvalid":  In(1),
            "s_axil_wready":  Out(1),
            "s_axil_bresp":   Out(2),
            "s_axil_bvalid":  Out(1),
            "s_axil_bready":  In(1),
            "s_axil_araddr":  In(ADDRESS_WIDTH),
            "s_axil_arprot":  In(3),
            "s_axil_arvalid": In(1),
            "s_axil_arready": Out(1),
            "s_axil_rdata":   Out(32),
            "s_axil_rresp":   Out(2),
            "s_axil_rvalid":  Out(1),
            "s_axil_rready":  In(1),
            **_stream("s_axis_input", In, Out, -(-parameters.lanes // 8) * 8),
            **_stream("s_axis_weights", In, Out, 32),
            **_stream("m_axis_result", Out, In, 32),
        })

    @property
    def parameters(self) -> CoreParameters:
        """The parameters that the core was made with."""
        return self._p

    def elaborate(self, platform):
        m = Module()
        p = self._p

        # The core's domain has the same clock and a reset of its own.
        m.domains.sync = ClockDomain(local=True)
        m.domains.core = ClockDomain(local=True)
        m.d.comb += [
            ClockSignal("sync").eq(self.aclk),
            ClockSignal("core").eq(self.aclk),
            ResetSignal("sync").eq(~self.aresetn),
        ]

        core = Core(p, image=self._image)
        m.submodules.core    = DomainRenamer("core")(core)
        m.submodules.bus     = bus     = AXILite(ADDRESS_WIDTH)
        m.submodules.results = results = ResultWords(p)

        m.d.comb += [
            bus.aw.payload.eq(self.s_axil_awaddr),
            bus.aw.valid.eq(self.s_axil_awvalid),
            self.s_axil_awready.eq(bus.aw.ready),
            bus.w.payload.data.eq(self.s_axil_wdata),
            bus.w.payload.strobe.eq(self.s_axil_wstrb),
            bus.w.valid.eq(self.s_axil_wvalid),
            self.s_axil_wready.eq(bus.w.ready),
            self.s_axil_bresp.eq(bus.b.payload),
            self.s_axil_bvalid.eq(bus.b.valid),
            bus.b.ready.eq(self.s_axil_bready),
            bus.ar.payload.eq(self.s_axil_araddr),
            bus.ar.valid.eq(self.s_axil_arvalid),
            self.s_axil_arready.eq(bus.ar.ready),
            self.s_axil_rdata.eq(bus.r.payload.data),
            self.s_axil_rresp.eq(bus.r.payload.response),
            self.s_axil_rvalid.eq(bus.r.valid),
            bus.r.ready.eq(self.s_axil_rready),
        ]

        # Reset: of the core when the whole block is reset, too, and then as long as it needs. Only
        # while software asks for it are words dropped: what others send after `aresetn` waits.
        asked   = Signal()
        left    = Signal(range(Core.reset_cycles + 1), init=Core.reset_cycles)
        resets  = Signal(init=1)
        m.d.sync += resets.eq(asked | (left != 0))
        with m.If(asked):
            m.d.sync += left.eq(Core.reset_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        away = Signal()                              # the core is, or will be in a cycle
        m.d.comb += [ResetSignal("core").eq(resets), away.eq(asked | resets)]

        # Streams.
        wiring.connect(m, core.o, results.i)
        m.d.comb += [
            core.i.payload.eq(self.s_axis_input_tdata),
            core.i.valid.eq(self.s_axis_input_tvalid & ~away),
            self.s_axis_input_tready.eq(asked | (core.i.ready & ~away)),
            core.w.payload.eq(self.s_axis_weights_tdata),
            core.w.valid.eq(self.s_axis_weights_tvalid & ~away),
            self.s_axis_weights_tready.eq(asked | (core.w.ready & ~away)),
            results.drop.eq(away),
            self.m_axis_result_tdata.eq(results.o.payload.data),
            self.m_axis_result_tlast.eq(results.o.payload.last),
            self.m_axis_result_tvalid.eq(results.o.valid),
            results.o.ready.eq(self.m_axis_result_tready),
        ]

        # Configuration. Whether the core has a word at the address is known before data can come.
        address = Signal(32)
        known   = Signal()
        m.d.sync += known.eq(_known(address, p))
        m.d.comb += [
            core.config.payload.address.eq(address),
            core.config.payload.data.eq(bus.write_data),
        ]

        # Counters.
        beat    = Signal.like(core.frame.beats)
        cycles  = Signal(32)
        samples = Signal(32)
        given   = Signal(32)
        refused = Signal(32)
        m.d.sync += [
            cycles.eq(cycles + core.busy),
            refused.eq(refused + bus.refused),
        ]
        with m.If(core.i.valid & core.i.ready):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat + 1 == core.frame.beats):
                m.d.sync += [beat.eq(0), samples.eq(samples + 1)]
        with m.If(core.o.valid & core.o.ready & core.o.payload.last):
            m.d.sync += given.eq(given + 1)
        with m.If(away):
            m.d.sync += [counter.eq(0) for counter in (beat, cycles, samples, given, refused)]

        # Registers that are read.
        idle = Signal()
        m.d.comb += idle.eq(core.idle & ~away)
        values: dict[str, dict[str, ValueLike]] = {
            "ID":             {"MAGIC": int.from_bytes(MAGIC, "little")},
            "VERSION":        {"VALUE": VERSION},
            "CONTROL":        {"RESET": away},
            "STATUS":         {"IDLE": idle, "BUSY": core.busy, "PROGRAM": core.frame.valid},
            "CONFIG_ADDRESS": {"ADDRESS": address},
            "SAMPLE_BEATS":   {"VALUE": core.frame.beats},
            "CYCLES":         {"COUNT": cycles},
            "SAMPLES_IN":     {"COUNT": samples},
            "RESULTS_OUT":    {"COUNT": given},
            "REFUSED":        {"COUNT": refused},
            **{f"{PARAMETER_PREFIX}{name.upper()}": {"VALUE": int(value)}
               for name, value in p.to_dict().items()},
        }
        with m.Switch(bus.read_word):
            for register in REGISTERS:
                if register.access.readable:
                    with m.Case(register.offset // WORD_BYTES):
                        for field in register.fields:
                            m.d.comb += bus.read_data[field.low:][:field.width].eq(
                                values[register.name][field.name])
            with m.Default():
                m.d.comb += bus.read_refused.eq(1)

        # Registers that are written.
        written = {register.name: Signal(name=f"write_{register.name.lower()}")
                   for register in REGISTERS if register.access.writable}
        with m.Switch(bus.write_word):
            for register in REGISTERS:
                if register.access.writable:
                    with m.Case(register.offset // WORD_BYTES):
                        m.d.comb += written[register.name].eq(bus.write)
            with m.Default():
                m.d.comb += bus.write_refused.eq(1)
        with m.If(written["CONTROL"]):
            m.d.sync += asked.eq(bus.write_data[RESET.low])
        with m.If(written["CONFIG_ADDRESS"]):
            m.d.sync += address.eq(bus.write_data)
        with m.If(written["CONFIG_DATA"]):
            m.d.comb += [
                core.config.valid.eq(known & idle),
                bus.write_refused.eq(~(known & idle)),
            ]
        with m.If(core.config.valid):
            m.d.sync += address.eq(address + 1)
        return m


def _stream(name: str, forth: wiring.Flow, back: wiring.Flow, width: int) -> dict:
    """Return the ports of an AXI4-Stream."""
    return {
        f"{name}_tdata":  forth(width),
        f"{name}_tlast":  forth(1),
        f"{name}_tvalid": forth(1),
        f"{name}_tready": back(1),
    }


def _known(address: Value, p: CoreParameters) -> Value:
    """Return whether one of the core's memories has a word at this address."""
    def has(region: Region) -> Value:
        chunk = address[:region.chunk_bits]
        bank  = address[region.chunk_bits:][:region.bank_bits]
        row   = address[region.chunk_bits + region.bank_bits:INDEX_WIDTH]
        # Short comparisons: the bits that no row has are only looked at for being 0.
        row_bits = bits_for(region.depth - 1)
        return ((address[INDEX_WIDTH:] == region.number) & (chunk < region.chunks) &
                (bank < region.banks) & (row[:row_bits] < region.depth) & ~row[row_bits:].any())

    return Cat(has(region) for region in regions(p).values()).any()
