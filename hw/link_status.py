"""Counts what STATUS tells, a byte a cycle."""
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LinkStatus"]


class LinkStatus(wiring.Component):
    """The answer to STATUS, as bytes that come round and round, one in every cycle.

    The counters lie in a memory, and there is one adder of eight bits for all of them. What is to
    be counted is gathered for a round.

    Parameters
    ----------
    words : :class:`int`
        Words of results that can wait.

    Members
    -------
    idle, loaded, waiting : :py:`In(1)`, :py:`In(1)`, :py:`In(range(words + 1))`
        Flags: the core is idle; a network is loaded; words of results that wait.
    busy, sample, refused : :py:`In(1)`
        To be counted: a cycle of work, a sample whose results are out, a refused request.
    clear : :py:`In(1)`
        The counters begin at 0 again; for two rounds at least.
    slot : :py:`Out(4)`
        Number of the byte: 12 to 15 for the flags, 0 to 3 for the cycles, 4 and 5 for samples, 6
        and 7 for refused requests. A round ends at 11.
    byte : :py:`Out(8)`
        The byte.
    """

    #: Cycles of a round.
    round_cycles = 16

    idle: Signal
    loaded: Signal
    waiting: Signal
    busy: Signal
    sample: Signal
    refused: Signal
    clear: Signal
    slot: Signal
    byte: Signal

    def __init__(self, words: int):
        super().__init__({
            "idle":    In(1),
            "loaded":  In(1),
            "waiting": In(range(words + 1)),
            "busy":    In(1),
            "sample":  In(1),
            "refused": In(1),
            "clear":   In(1),
            "slot":    Out(4),
            "byte":    Out(8),
        })

    def elaborate(self, platform):
        m = Module()

        # A byte is read while the one before it is written.
        attributes: dict = {"no_rw_check": 1, "ram_style": "block"}
        m.submodules.mem = mem = memory.Memory(
            shape=8, depth=self.round_cycles, init=[], attrs=attributes)
        write_port, read_port = mem.write_port(), mem.read_port(domain="comb")
        slot  = Signal.like(self.slot, init=1)               # that is read
        old   = Signal(8, reset_less=True)
        carry = Signal()
        m.d.sync += [slot.eq(slot + 1), self.slot.eq(slot), old.eq(read_port.data)]

        # What comes to the bytes: the flags to bytes that are always 0. A result takes a cycle,
        # and a sample two results at least.
        waiting = Signal(16)
        cycles  = Signal(range(self.round_cycles + 1))
        samples = Signal(range(self.round_cycles // 2 + 1))
        refused = Signal()
        addend  = Signal(8)
        total   = Signal(9)
        m.d.comb += waiting.eq(self.waiting)
        m.d.sync += [
            cycles.eq(cycles + self.busy),
            samples.eq(samples + self.sample),
            refused.eq(refused | self.refused),
        ]
        with m.Switch(self.slot):
            with m.Case(0):
                m.d.comb += addend.eq(cycles)
                m.d.sync += cycles.eq(self.busy)
            with m.Case(4):
                m.d.comb += addend.eq(samples)
                m.d.sync += samples.eq(self.sample)
            with m.Case(6):
                m.d.comb += addend.eq(refused)
                m.d.sync += refused.eq(self.refused)
            with m.Case(12):
                m.d.comb += addend.eq(Cat(self.idle, self.loaded))
            with m.Case(14):
                m.d.comb += addend.eq(waiting[:8])
            with m.Case(15):
                m.d.comb += addend.eq(waiting[8:])
        # None goes from one counter to the next.
        begins = (self.slot[:2] == 0) | (self.slot == 6)
        m.d.comb += [
            total.eq(old + addend + (carry & ~begins)),
            self.byte.eq(total),
            read_port.addr.eq(slot),
            write_port.addr.eq(self.slot),
            write_port.data.eq(Mux(self.clear, 0, total)),
            write_port.en.eq(~self.slot[3]),
        ]
        m.d.sync += carry.eq(total[8])
        with m.If(self.clear):
            m.d.sync += [cycles.eq(0), samples.eq(0), refused.eq(0)]
        return m
