"""Reads the spikes of each group of planes, row by row."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.row_queue import RowQueue
from hw.shapes import FetchLayer, RowTag, Span, group_width
from hw.spans import SpanWalker

__all__ = ["Fetcher"]


class Fetcher(wiring.Component):
    """Read the rows of the spans of every layer, for every tile, pixel and group of planes.

    One row a cycle goes to all event queues at once, as long as each of them has space. ``pending``
    counts the groups of planes that the layers so far owe. A row waits until the layers before
    have given the spikes it reads: a layer that is ``whole`` waits once, until nothing is pending;
    any other one waits with each group of its first tile for the group that it reads. A tile whose
    weights are streamed waits for them.

    Timing: a row leaves ``address`` in cycle t, its spikes are at ``spikes`` in t + 2, with
    ``tag`` and ``valid``.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    layer, layer_valid, layer_take : :py:`In(FetchLayer)`, :py:`In(1)`, :py:`Out(1)`
        The next layer of the program, and that it is taken.
    full : :py:`In(2)`
        Input buffers that hold a sample.
    release : :py:`Out(1)`
        Pulse: all of a sample's buffer has been read.
    stride : :py:`In(range(spike_depth + 1))`
        Rows from the first input buffer to the second.
    retire : :py:`In(1)`
        Pulse: a group of planes of a layer's output is complete in the spike memory.
    tiles : :py:`In(2)`
        For each half of the weight memory: it holds a tile of weights that has not been taken.
    take, take_half : :py:`Out(1)`, :py:`Out(1)`
        Pulse: the tile in this half is taken.
    address : :py:`Out(range(spike_depth))`
        Row to read.
    row : :py:`In(ArrayLayout(row_width, planes))`
        The row, one cycle later.
    space : :py:`In(1)`
        Each event queue can take the rows under way and one more.
    spikes, tag, valid : :py:`Out(ArrayLayout(row_width, planes))`, :py:`Out(RowTag)`, :py:`Out(1)`
        A row for the event queues, columns beyond the span and planes beyond the layer's cleared.
    busy : :py:`Out(1)`
        A sample's program is being walked, or a row is on its way to the queues.
    """

    #: Cycles after a group's last row in which it is not yet counted as pending.
    settling = 2

    #: Spans that the walker runs ahead of the rows. So many that it never makes a row wait.
    span_depth = 16

    layer: data.View
    layer_valid: Signal
    layer_take: Signal
    full: Signal
    release: Signal
    stride: Signal
    retire: Signal
    tiles: Signal
    take: Signal
    take_half: Signal
    address: Signal
    row: data.View
    space: Signal
    spikes: data.View
    tag: data.View
    valid: Signal
    busy: Signal

    @staticmethod
    def most_pending(p: CoreParameters) -> int:
        """Return the groups that may be pending."""
        return (1 << group_width(p) + 2) - 1

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        row_layout = data.ArrayLayout(p.row_width, p.planes)
        super().__init__({
            "layer":   In(FetchLayer(p)),
            "layer_valid": In(1),
            "layer_take":  Out(1),
            "full":    In(2),
            "release": Out(1),
            "stride":  In(range(p.spike_depth + 1)),
            "retire":  In(1),
            "tiles":   In(2),
            "take":      Out(1),
            "take_half": Out(1),
            "address": Out(range(p.spike_depth)),
            "row":     In(row_layout),
            "space":   In(1),
            "spikes":  Out(row_layout),
            "tag":     Out(RowTag(p)),
            "valid":   Out(1),
            "busy":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p

        # A sample's first layer waits for its input; the layers after it follow by themselves.
        m.submodules.spans = spans = SpanWalker(p)
        m.submodules.queue = queue = RowQueue(width=Span(p).size, depth=self.span_depth,
                                              margin=SpanWalker.in_flight)
        in_sample = Signal()
        buffer    = Signal()                         # input buffer of this sample
        m.d.comb += [
            spans.layer.eq(self.layer),
            spans.layer_valid.eq(self.layer_valid &
                                 (in_sample | self.full.bit_select(buffer, 1))),
            spans.base.eq(Mux(self.layer.input, Mux(buffer, self.stride, 0), self.layer.source)),
            self.layer_take.eq(spans.layer_take),
            # What is kept of the layer is that of the spans in the queue.
            spans.hold.eq(~queue.empty),
            spans.space.eq(queue.space),
            queue.w_data.eq(spans.o),
            queue.w_en.eq(spans.valid),
        ]
        with m.If(spans.layer_take):
            m.d.sync += in_sample.eq(~self.layer.last)
            with m.If(self.layer.last):
                m.d.sync += buffer.eq(~buffer)

        # The span whose rows are read.
        next_span = Signal(Span(p))
        span    = Signal(Span(p), reset_less=True)
        reading = Signal()
        first   = Signal()                           # its first row
        lacks   = Signal()                           # its tile of weights is not there
        row     = Signal(range(p.spike_depth), reset_less=True)
        left    = Signal(range(p.spike_depth), reset_less=True)
        weight  = Signal(range(p.weight_depth), reset_less=True)
        planes  = Signal(range(p.planes + 1), reset_less=True)      # in the last group
        gives   = Signal(group_width(p) + 1, reset_less=True)
        late    = Signal(reset_less=True)

        # Groups that the layers so far will give but have not given. When group g of a layer's
        # first tile starts, the last tile of the layer before may still owe its groups after g.
        # This tile owes those before g, so that fewer than all groups of the source are pending;
        # or, if it gives late, owes none, and fewer may be pending with each group. What it gives
        # before all is counted makes the number negative; then the source is complete. The count
        # and the comparison take a cycle each, so a row waits until the group before has settled.
        pending     = Signal(signed(group_width(p) + 3))
        pending_add = Signal(group_width(p) + 1)
        allowed     = Signal(group_width(p) + 1)
        pending_new = Signal.like(pending_add)       # a cycle later
        enough      = Signal()
        settling    = Signal(self.settling)
        m.d.sync += [
            pending_new.eq(pending_add),
            pending.eq(pending + pending_new - self.retire),
            enough.eq(pending < allowed),
            settling.eq(settling[1:]),
        ]

        issue    = Signal()
        last_row = Signal()
        ends_group = Signal()
        m.d.comb += [
            issue.eq(reading & ~lacks & self.space &
                     (~span.waits | (enough & ~settling.any()))),
            self.take.eq(lacks & self.tiles.bit_select(span.half, 1)),
            self.take_half.eq(span.half),
            last_row.eq(left == 0),
            ends_group.eq(last_row & span.ends_group),
            next_span.eq(queue.r_data),
            queue.r_en.eq(queue.r_rdy & (~reading | (issue & last_row))),
            self.address.eq(row),
            self.release.eq(issue & last_row & span.releases),
        ]
        with m.If(issue):
            m.d.sync += [first.eq(0), row.eq(row + 1), left.eq(left - 1),
                         weight.eq(weight + p.scan)]
            with m.If(last_row):
                m.d.sync += reading.eq(0)
            with m.If(ends_group):
                m.d.sync += settling.eq(-1)
                with m.If(late):
                    m.d.sync += allowed.eq(allowed - 1)
            with m.If(last_row & span.gives):
                m.d.comb += pending_add.eq(Mux(late, gives, 1))
        with m.If(self.take):
            m.d.sync += lacks.eq(0)
        with m.If(queue.r_en):
            layer = spans.current
            m.d.sync += [
                reading.eq(1), first.eq(1), lacks.eq(next_span.streamed), span.eq(next_span),
                row.eq(next_span.row), left.eq(next_span.last_row), weight.eq(next_span.weights),
                planes.eq(layer.planes), gives.eq(layer.gives), late.eq(layer.late),
            ]
            with m.If(next_span.begins_layer):
                m.d.sync += [allowed.eq(layer.pending), settling.eq(settling[1:] | 1)]
                with m.If(ends_group & issue):
                    m.d.sync += settling.eq(-1)

        # What lies beside the span is cleared by the reset of the registers that take the row,
        # and so are planes behind those of the last group.
        r_valid   = Signal()
        r_tag     = Signal(RowTag(p), reset_less=True)
        r_columns = Signal(p.scan, init=-1)          # columns in use
        r_planes  = Signal(p.planes, init=-1)        # planes in use
        from_first = Signal(p.scan)                  # columns of the span in its first row
        to_last    = Signal(p.scan)                  # ... and in its last one
        m.d.comb += [
            from_first.eq(Const(-1, p.scan) << span.first),
            to_last.eq(~(Const(-2, p.scan) << span.last)),
        ]
        m.d.comb += self.busy.eq(in_sample | spans.busy | ~queue.empty | reading | r_valid |
                                 self.valid)
        m.d.sync += [
            r_valid.eq(issue),
            r_tag.weights.eq(weight),
            r_tag.last.eq(ends_group),
            r_columns.eq(~span.empty.replicate(p.scan) & (from_first | ~first.replicate(p.scan)) &
                         (to_last | ~last_row.replicate(p.scan))),
            r_planes.eq(Mux(span.last_group, Cat(n < planes for n in range(p.planes)), -1)),
            self.valid.eq(r_valid),
            self.tag.eq(r_tag),
        ]
        for plane in range(p.planes):
            for column in range(p.scan):
                part = slice(column * p.banks, (column + 1) * p.banks)
                with m.If(r_columns[column] & r_planes[plane]):
                    m.d.sync += self.spikes[plane][part].eq(self.row[plane][part])
                with m.Else():
                    m.d.sync += self.spikes[plane][part].eq(0)
        return m
