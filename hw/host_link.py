"""The device's end of the host link, which ``docs/protocol.md`` describes."""
import struct
from typing import Any

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.core import Core
from hw.line_speed import LineSpeed
from hw.link_status import LinkStatus
from hw.memory_map import INDEX_WIDTH, Region, regions
from hw.parameters import CoreParameters
from hw.protocol import MAGIC, MAX_FRAME, OVERHEAD, VERSION, Command, Status
from hw.result_pages import ResultPages
from hw.shapes import ConfigWrite, InputFrame, ReadoutBeat
from hw.slip import SlipDecoder, SlipEncoder
from hw.uart import DIVISOR_WIDTH, MIN_DIVISOR, check_divisor

__all__ = ["HostLink", "hello"]

#: Bytes of a frame before its payload: command or status, sequence number.
_HEADER = 2

#: Words of results in an answer at most.
_RESULT_WORDS = (MAX_FRAME - OVERHEAD) // 4

#: Cycles of a reset: the counters need two rounds.
_RESET_CYCLES = max(Core.reset_cycles, 2 * LinkStatus.round_cycles)


def hello(parameters: CoreParameters, clock: int, divisor: int) -> bytes:
    """Return the payload of the answer to HELLO."""
    values = [int(value) for value in parameters.to_dict().values()]
    words  = [clock, divisor, MIN_DIVISOR, len(values), *values]
    return MAGIC + struct.pack(f"<{len(words)}I", *words)


def _index_width(region: Region) -> int:
    return ceil_log2(region.depth) + region.bank_bits + region.chunk_bits


def _has(region: Region, index) -> Value:
    """Return whether the region has an index."""
    def below(part, limit):
        # Only numbers that are no power of two need a comparison.
        bits = ceil_log2(limit)
        inside = ~part[bits:].any()
        return inside if limit == 1 << bits else inside & (part[:bits] < limit)

    chunk = index[:region.chunk_bits]
    bank  = index[region.chunk_bits:][:region.bank_bits]
    row   = index[region.chunk_bits + region.bank_bits:]
    return below(chunk, region.chunks) & below(bank, region.banks) & below(row, region.depth)


class HostLink(wiring.Component):
    """Carry out a host's requests, one at a time, and answer them.

    ::

        i -> SlipDecoder -> buffer -> word -> config, samples
                              |         ^
                              |    ResultPages <- results
                              v         v
        o <- SlipEncoder <- bytes of the answer

    A request lies in the buffer when it is looked at. Its payload is walked through twice: first
    nothing is done, but the payload counted and checked; then it is carried out. A byte of ``i`` is
    taken in eight cycles, as the CRC takes it bit by bit. While a request is being carried out and
    answered, bytes are taken at once, and dropped.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    clock : :class:`int`
        The core's clock in Hz.
    divisor : :class:`int`
        Cycles a bit of the serial line at first.
    fallback : :class:`int`
        Cycles in which a good frame must come at another speed; half a second if it is not given.

    Members
    -------
    i, o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of the line. When nothing is offered, ``o.ready`` says that all has been sent.
    config : :py:`Out(stream.Signature(ConfigWrite))`
        Writes to the core's memories.
    samples : :py:`Out(stream.Signature(lanes))`
        Beats of input samples.
    results : :py:`In(stream.Signature(ReadoutBeat))`
        Results of the samples.
    idle, busy, frame : :py:`In(1)`, :py:`In(1)`, :py:`In(InputFrame)`
        The core's outputs of these names.
    core_reset : :py:`Out(1)`
        Reset the core.
    divisor : :py:`Out(16)`
        Cycles a bit of the serial line.
    line_break : :py:`In(1)`
        The host asks for the first speed.
    """

    i: stream.Interface
    o: stream.Interface
    config: stream.Interface
    samples: stream.Interface
    results: stream.Interface
    idle: Signal
    busy: Signal
    frame: data.View
    core_reset: Signal
    divisor: Signal
    line_break: Signal

    def __init__(self, parameters: CoreParameters, *, clock: int, divisor: int,
                 fallback: int | None = None):
        if not isinstance(clock, int) or isinstance(clock, bool):
            raise TypeError(f"Clock must be an integer, not {clock!r}")
        if not 0 < clock < 1 << 32:
            raise ValueError(f"Clock must be in 1..{(1 << 32) - 1}, not {clock!r}")
        check_divisor(divisor)
        self._p = p = parameters
        self._hello = hello(p, clock, divisor)
        self._divisor  = divisor
        self._fallback = clock // 2 if fallback is None else fallback
        super().__init__({
            "i":          In(stream.Signature(8)),
            "o":          Out(stream.Signature(8)),
            "config":     Out(stream.Signature(ConfigWrite)),
            "samples":    Out(stream.Signature(p.lanes)),
            "results":    In(stream.Signature(ReadoutBeat(p))),
            "idle":       In(1),
            "busy":       In(1),
            "frame":      In(InputFrame(p)),
            "core_reset": Out(1),
            "divisor":    Out(DIVISOR_WIDTH),
            "line_break": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.encoder = encoder = SlipEncoder()
        m.submodules.pages   = pages   = ResultPages(p, _RESULT_WORDS)
        m.submodules.line    = line    = LineSpeed(self._divisor, self._fallback)
        m.submodules.status  = told_status = LinkStatus(_RESULT_WORDS)
        crc: Any = CRC32_ISO_HDLC(1).create()                # Any: the stubs lack it
        m.submodules.crc = crc
        wiring.connect(m, wiring.flipped(self.i), decoder.i)
        wiring.connect(m, encoder.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.results), pages.i)
        m.d.comb += [
            line.line_break.eq(self.line_break),
            self.divisor.eq(line.divisor),
            pages.clear.eq(self.core_reset),
        ]

        # The core may lie far away, and answers to what a request did long before the next.
        idle, busy, room, sample = Signal(), Signal(), Signal(), Signal()
        frame = Signal.like(self.frame)
        m.d.sync += [
            idle.eq(self.idle),
            busy.eq(self.busy),
            room.eq(self.samples.ready),
            sample.eq(self.results.valid & self.results.ready & self.results.payload.last),
            frame.eq(self.frame),
        ]

        # Where a byte stands in its frame, less OVERHEAD: of a whole frame, the length of the
        # payload. The header's bytes are the only ones below -4, and a word of the payload begins
        # wherever the two lowest bits are 0.
        position  = Signal(signed(ceil_log2(MAX_FRAME) + 1), init=-OVERHEAD)
        payload   = _HEADER - OVERHEAD                       # where it begins
        in_header = Signal()
        word_end  = Signal()
        m.d.comb += [
            in_header.eq(position[-1] & ~position[2]),
            word_end.eq(position[:2].all()),
        ]
        # A byte ahead, as the word must be there when its first byte's turn comes.
        m.d.comb += pages.number.eq((position - payload + 1)[2:])
        # Where the CRC stands: four bytes behind while a frame comes in.
        end = Signal.like(position, init=position.init - 4)

        advance = Signal()
        rewind  = Signal()
        with m.If(advance):
            m.d.sync += position.eq(position + 1)
        with m.If(rewind):
            m.d.sync += position.eq(position.init)

        # Where the buffer is written, it is not read: synthesis need not give the old byte.
        attributes: dict = {"no_rw_check": 1, "ram_style": "block"}
        m.submodules.buffer = buffer = memory.Memory(
            shape=8, depth=MAX_FRAME, init=[], attrs=attributes)
        buffer_write, buffer_read = buffer.write_port(), buffer.read_port(domain="comb")
        # Block RAM is slow to give what it has read: it is decided upon a cycle later.
        stored = Signal(8, reset_less=True)                  # at the position of the cycle before
        byte   = Signal(8, reset_less=True)                  # at that of two cycles before
        m.d.sync += [stored.eq(buffer_read.data), byte.eq(stored)]
        # What HELLO and STATUS tell. The rows are turned so that the first byte of HELLO lies at
        # the payload's position. STATUS has the second half, as it was when the request came.
        half = MAX_FRAME // 2
        rom  = list(self._hello.ljust(half, b"\0"))
        m.submodules.told = told = memory.Memory(
            shape=8, depth=MAX_FRAME, init=rom[-payload:] + rom[:-payload], attrs=attributes)
        told_write, told_read = told.write_port(), told.read_port(domain="comb")
        told_byte = Signal(8, reset_less=True)
        m.d.sync += told_byte.eq(told_read.data)
        m.d.comb += [
            buffer_write.addr.eq(position),
            buffer_write.data.eq(decoder.o.payload.data),
            buffer_read.addr.eq(position),
        ]

        # The request.
        command  = Signal(Command)
        status   = Signal(Status)
        number   = Signal(8, reset_less=True)                # of the last that was carried out
        known    = Signal()                                  # there was one
        acts     = Signal()                                  # second time through the payload
        closing  = Signal()                                  # the CRC of the answer is sent
        dropped  = Signal()                                  # the frame that comes in is
        too_long = Signal()

        # Bytes come in at its upper end: words of a payload, or beats of a sample. Bytes of the
        # answer leave it at its lower end.
        beat_bytes = -(-p.lanes // 8)
        word = Signal(max(32, 8 * beat_bytes), reset_less=True)
        write_data = word[-32:]
        beat       = word[-8 * beat_bytes:][:p.lanes]
        shift      = word.eq(Cat(word[8:], byte))

        # WRITE: the index is wide enough for every memory, and for what is added to it.
        memories = list(regions(p).values())
        index_width = max(map(_index_width, memories))
        region = Signal(range(max(region.number for region in memories) + 1), reset_less=True)
        base   = Signal(index_width, reset_less=True)
        index  = Signal(index_width + 1)
        exists = Signal()
        in_range = Signal()                                  # the first address is
        last_in_range = Signal(reset_less=True)              # the one before is
        m.d.comb += [
            index.eq(base + position[2:-1]),
            exists.eq(Cat((region == each.number) & _has(each, index)
                          for each in memories).any()),
            self.config.payload.address.eq(
                Cat(index[:-1], Const(0, INDEX_WIDTH - index_width), region)),
            self.config.payload.data.eq(write_data),
            self.samples.payload.eq(beat),
        ]

        # INPUT: how much of a sample is there.
        part  = Signal(range(beat_bytes))                    # byte in the beat
        beats = Signal(range(MAX_FRAME - OVERHEAD + 1))      # of the request
        some  = Signal()                                     # there is a beat, or a word to write
        left  = Signal.like(frame.beats)                     # beats of the sample that are missing
        sample_begins = Signal()
        left_after    = Signal(signed(max(len(left), len(beats)) + 1))
        m.d.comb += [
            sample_begins.eq(left == 0),
            left_after.eq(Mux(sample_begins, frame.beats, left) - beats),
        ]

        # STATUS
        receiving = Signal()
        open_     = Signal(name="open")                      # the round's bytes go to the memory
        with m.If(told_status.slot == 11):
            m.d.sync += open_.eq(receiving)
        m.d.comb += [
            told_status.idle.eq(idle),
            told_status.loaded.eq(frame.valid),
            told_status.waiting.eq(pages.waiting),
            told_status.busy.eq(busy),
            told_status.sample.eq(sample),
            told_status.clear.eq(self.core_reset),
            told_write.addr.eq(Cat(told_status.slot, told_status.slot[3].replicate(4), 1)),
            told_write.data.eq(told_status.byte),
            told_write.en.eq(open_),
            told_read.addr.eq(Cat(position[:8], command == Command.STATUS)),
        ]

        # Bytes of frames, and of answers.
        received = decoder.o.payload
        bit      = Signal(3)
        answer   = Signal(8, reset_less=True)
        checked  = Signal(8)
        m.d.comb += [
            decoder.o.ready.eq(~receiving | dropped | received.end | bit.all()),
            checked.eq(Mux(receiving, received.data, answer)),
            # A CRC that takes itself in has nothing but zeros behind it: its next byte comes to the
            # lower end.
            crc.data.eq(Mux(closing, ~crc.crc[0], checked.bit_select(bit, 1))),
            encoder.i.payload.data.eq(answer),
            encoder.i.payload.last.eq(closing & word_end),
        ]
        with m.If(crc.valid):
            m.d.sync += bit.eq(bit + 1)
        with m.If(decoder.o.valid & decoder.o.ready):
            with m.If(received.end):
                m.d.sync += dropped.eq(0)
            with m.Elif(~receiving):
                m.d.sync += dropped.eq(1)

        with m.FSM(name="link"):
            with m.State("RECEIVE"):
                m.d.comb += receiving.eq(1)
                m.d.sync += [acts.eq(0), part.eq(0), beats.eq(0), some.eq(0)]
                with m.If(decoder.o.valid & ~dropped & ~received.end):
                    m.d.comb += crc.valid.eq(1)
                    with m.If(bit.all()):
                        with m.If(position == MAX_FRAME - OVERHEAD):
                            m.d.sync += too_long.eq(1)
                        with m.Else():
                            m.d.comb += [buffer_write.en.eq(1), advance.eq(1)]
                            m.d.sync += end.eq(end + 1)
                with m.If(decoder.o.valid & ~dropped & received.end):
                    m.d.comb += rewind.eq(1)
                    m.d.sync += too_long.eq(0)
                    with m.If(position >= 0):
                        m.next = "FETCH"
                        with m.If(received.error | ~crc.match_detected):
                            m.d.sync += status.eq(Status.BAD_FRAME)
                        with m.Else():
                            m.d.sync += status.eq(Mux(too_long, Status.BAD_LENGTH, Status.OK))
                            m.d.comb += line.good.eq(1)
                    with m.Else():
                        m.d.comb += crc.start.eq(1)
                        m.d.sync += end.eq(end.init)

            # The request, byte by byte.
            with m.State("FETCH"):
                m.next = "WAIT"
                with m.If(position == end):
                    m.next = "DECIDE"
                    with m.If(acts):
                        m.d.comb += rewind.eq(1)
                        m.next = "LOOK"
            with m.State("WAIT"):
                m.next = "BYTE"
            with m.State("BYTE"):
                m.next = "FETCH"
                m.d.comb += advance.eq(1)
                with m.If(~in_header):
                    m.d.sync += shift
                    with m.If((command == Command.WRITE) & word_end):
                        m.d.comb += advance.eq(0)
                        m.next = "WORD"
                    with m.If(command == Command.INPUT):
                        m.d.sync += part.eq(part + 1)
                        with m.If(part == beat_bytes - 1):
                            m.d.comb += advance.eq(0)
                            m.d.sync += part.eq(0)
                            m.next = "WORD"
                with m.Elif(~position[0]):
                    m.d.sync += command.eq(byte[:4])
                    with m.If(status == Status.OK):
                        with m.If(byte[4:] != VERSION):
                            m.d.sync += status.eq(Status.BAD_VERSION)
                        with m.Elif(byte[:4] > max(Command)):
                            m.d.sync += status.eq(Status.BAD_COMMAND)
                with m.Else():
                    again = known & (byte == number) & (command != Command.BAUD)
                    with m.If(again | (status != Status.OK)):
                        m.d.comb += rewind.eq(1)
                        m.next = "LOOK"
            with m.State("WORD"):
                m.next = "FETCH"
                m.d.comb += advance.eq(1)
                with m.If(command == Command.INPUT):
                    with m.If(acts):
                        m.d.comb += [self.samples.valid.eq(1), advance.eq(self.samples.ready)]
                    with m.Else():
                        m.d.sync += [beats.eq(beats + 1), some.eq(1)]
                with m.Elif(position[-1]):
                    m.d.sync += [
                        base.eq(write_data),
                        region.eq(write_data[INDEX_WIDTH:]),
                        in_range.eq(~write_data[index_width:INDEX_WIDTH].any() &
                                    ~write_data[INDEX_WIDTH + len(region):].any()),
                    ]
                with m.Elif(acts):
                    m.d.comb += [self.config.valid.eq(1), advance.eq(self.config.ready)]
                with m.Else():
                    m.d.sync += [last_in_range.eq(exists), some.eq(1)]
                    with m.If(~some):
                        m.d.sync += in_range.eq(in_range & exists)
                with m.If(~advance):
                    m.next = "WORD"

            # All that may be refused, in the order of the protocol.
            with m.State("DECIDE"):
                m.d.comb += rewind.eq(1)
                m.next = "LOOK"

                bad_length = Signal()
                with m.Switch(command):
                    with m.Case(Command.WRITE):
                        m.d.comb += bad_length.eq(~some | position[:2].any())
                    with m.Case(Command.INPUT):
                        m.d.comb += bad_length.eq(~some | (part != 0))
                    with m.Case(Command.BAUD):
                        m.d.comb += bad_length.eq(position != payload + DIVISOR_WIDTH // 8)
                    with m.Default():
                        m.d.comb += bad_length.eq(position != payload)
                with m.If(bad_length):
                    m.d.sync += status.eq(Status.BAD_LENGTH)
                with m.Elif((command == Command.INPUT) & ~frame.valid):
                    m.d.sync += status.eq(Status.NO_PROGRAM)
                with m.Elif((command == Command.INPUT) & (left_after < 0)):
                    m.d.sync += status.eq(Status.BAD_LENGTH)
                with m.Elif(((command == Command.WRITE) & ~(in_range & last_in_range)) |
                            ((command == Command.BAUD) & (line.to < MIN_DIVISOR))):
                    m.d.sync += status.eq(Status.OUT_OF_RANGE)
                with m.Elif(((command == Command.WRITE) & ~idle) |
                            ((command == Command.INPUT) & sample_begins & ~room)):
                    m.d.sync += status.eq(Status.BUSY)
                with m.Else():
                    with m.Switch(command):
                        with m.Case(Command.WRITE):
                            m.d.sync += acts.eq(1)
                            m.next = "FETCH"
                        with m.Case(Command.INPUT):
                            m.d.sync += [acts.eq(1), left.eq(left_after)]
                            m.next = "FETCH"
                        with m.Case(Command.RESULTS):
                            m.d.comb += pages.turn.eq(1)
                        with m.Case(Command.RESET):
                            m.d.comb += rewind.eq(0)
                            m.next = "RESET"

            with m.State("RESET"):
                m.d.comb += [self.core_reset.eq(1), advance.eq(1)]
                m.d.sync += left.eq(0)
                with m.If(position == payload + _RESET_CYCLES - 1):
                    m.d.comb += rewind.eq(1)
                    m.next = "LOOK"

            # The answer, byte by byte: what is next, taken, offered, into its CRC.
            with m.State("LOOK"):
                m.next = "TAKE"
                with m.If(in_header & ~position[0]):
                    m.d.comb += crc.start.eq(1)
                with m.If(~in_header & (position[:2] == 0)):
                    end_of = {
                        Command.HELLO:   position == payload + len(self._hello),
                        Command.STATUS:  position == payload + 12,
                        Command.RESULTS: pages.number == pages.given,
                    }
                    ends = Signal()
                    with m.Switch(command):
                        for each, condition in end_of.items():
                            with m.Case(each):
                                m.d.comb += ends.eq(condition)
                        with m.Default():
                            m.d.comb += ends.eq(1)
                    with m.If(ends | (status != Status.OK)):
                        m.d.sync += closing.eq(1)
                    with m.Elif(command == Command.RESULTS):
                        m.d.sync += word.eq(pages.word)
            with m.State("TAKE"):
                m.next = "OFFER"
                with m.If(closing):
                    m.d.sync += answer.eq(crc.crc[:8])
                with m.Elif(in_header):
                    m.d.sync += answer.eq(Mux(position[0], stored, VERSION << 4 | status))
                with m.Else():
                    m.d.sync += answer.eq(Mux(command == Command.RESULTS, word[:8], told_byte))
            with m.State("OFFER"):
                m.d.comb += encoder.i.valid.eq(1)
                with m.If(in_header & position[0] & (status == Status.OK)):
                    m.d.sync += [number.eq(byte), known.eq(command != Command.HELLO)]
                with m.If(encoder.i.ready):
                    m.next = "CHECK"
                    with m.If(encoder.i.payload.last):
                        m.next = "FINISH"
            with m.State("CHECK"):
                m.d.comb += crc.valid.eq(1)
                with m.If(bit.all()):
                    m.d.comb += advance.eq(1)
                    m.next = "LOOK"
                    with m.If(~in_header & ~closing):
                        m.d.sync += shift
            with m.State("FINISH"):
                with m.If(~encoder.busy & self.o.ready):
                    m.d.comb += [
                        crc.start.eq(1),
                        line.change.eq((command == Command.BAUD) & (status == Status.OK)),
                    ]
                    m.d.comb += rewind.eq(1)
                    m.d.sync += [end.eq(end.init), closing.eq(0)]
                    m.d.comb += told_status.refused.eq(status != Status.OK)
                    m.next = "RECEIVE"
        m.d.comb += line.to.eq(word[-DIVISOR_WIDTH:])
        return m
