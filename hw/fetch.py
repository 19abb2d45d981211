"""Walks the program and reads the spikes of each group of planes, row by row."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.shapes import GROUP_WIDTH, FetchLayer, RowTag

__all__ = ["Fetcher"]


class Fetcher(wiring.Component):
    """Read the rows of every layer's source map, for every tile and group of planes.

    One row a cycle goes to all event queues at once, as long as each of them has space. A row of
    the first tile of a layer waits until the layer before has given the spikes it reads:
    ``pending`` counts the groups of planes that the layers so far owe.

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
        Pulse: a sample's first layer has read all of its buffer.
    stride : :py:`In(range(spike_depth + 1))`
        Rows from the first input buffer to the second.
    retire : :py:`In(1)`
        Pulse: a group of planes of a layer's output is complete in the spike memory.
    address : :py:`Out(range(spike_depth))`
        Row to read.
    row : :py:`In(ArrayLayout(row_width, planes))`
        The row, one cycle later.
    space : :py:`In(1)`
        Each event queue can take the rows under way and one more.
    spikes, tag, valid : :py:`Out(ArrayLayout(row_width, planes))`, :py:`Out(RowTag)`, :py:`Out(1)`
        A row for the event queues, channels and planes beyond the layer's cleared.
    busy : :py:`Out(1)`
        A sample's program is being walked, or a row is on its way to the queues.
    """

    #: Cycles after a group's last row in which it is not yet counted as pending.
    settling = 2

    #: Groups that may be pending.
    most_pending = (1 << GROUP_WIDTH + 2) - 1

    layer: data.View
    layer_valid: Signal
    layer_take: Signal
    full: Signal
    release: Signal
    stride: Signal
    retire: Signal
    address: Signal
    row: data.View
    space: Signal
    spikes: data.View
    tag: data.View
    valid: Signal
    busy: Signal

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

        layer  = Signal(FetchLayer(p), reset_less=True)
        buffer = Signal()                            # input buffer of this sample
        source = Signal(range(p.spike_depth))        # first row of the source map
        row    = Signal.like(layer.last_row)
        group  = Signal(GROUP_WIDTH)
        tile   = Signal.like(layer.last_tile)
        base   = Signal(range(p.weight_depth))       # first weight of the tile
        weight = Signal(range(p.weight_depth))       # weight of the row's first column
        addr   = Signal(range(p.spike_depth))

        # Groups that the layers so far will give but have not given. When group g of a layer's
        # first tile starts, the last tile of the layer before may still owe its groups after g.
        # This tile owes those before g, so that fewer than all groups of the source are pending;
        # or, if it gives late, owes none, and fewer may be pending with each group. What it gives
        # before all is counted makes the number negative; then the source is complete. The count
        # and the comparison take a cycle each, so a row waits until the group before has settled.
        pending     = Signal(signed(GROUP_WIDTH + 3))
        pending_add = Signal(GROUP_WIDTH + 1)
        allowed     = Signal(GROUP_WIDTH + 1)
        pending_new = Signal.like(pending_add)       # a cycle later
        enough      = Signal()
        settling    = Signal(self.settling)
        m.d.sync += [
            pending_new.eq(pending_add),
            pending.eq(pending + pending_new - self.retire),
            enough.eq(pending < allowed),
            settling.eq(settling[1:]),
        ]

        last_row   = Signal()
        last_group = Signal()
        last_tile  = Signal()
        supplied   = Signal()
        issue      = Signal()
        walking    = Signal()
        m.d.comb += [
            last_row.eq(row == layer.last_row),
            last_group.eq(group == layer.last_group),
            last_tile.eq(tile == layer.last_tile),
            supplied.eq(layer.first | (tile != 0) | (enough & ~settling.any())),
            self.address.eq(addr),
        ]

        with m.FSM(name="fetch"):
            with m.State("WAIT"):                    # for a sample
                with m.If(self.full.bit_select(buffer, 1)):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += [walking.eq(1), self.layer_take.eq(self.layer_valid)]
                first_row = Mux(self.layer.first, Mux(buffer, self.stride, 0), self.layer.source)
                m.d.sync += [
                    layer.eq(self.layer),
                    row.eq(0), group.eq(0), tile.eq(0),
                    base.eq(self.layer.weights), weight.eq(self.layer.weights),
                    source.eq(first_row), addr.eq(first_row), allowed.eq(self.layer.pending),
                ]
                with m.If(self.layer_valid):
                    m.d.sync += settling.eq(settling[1:] | 1)    # `enough` follows the layer
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += [walking.eq(1), issue.eq(self.space & supplied)]
                with m.If(issue):
                    m.d.sync += [row.eq(row + 1), addr.eq(addr + 1), weight.eq(weight + p.scan)]
                    with m.If(last_row):
                        m.d.sync += [row.eq(0), group.eq(group + 1), weight.eq(base)]
                        m.d.sync += settling.eq(-1)
                        m.d.comb += pending_add.eq(
                            Mux(layer.late, Mux(last_group, layer.gives, 0), 1))
                        with m.If(layer.late):
                            m.d.sync += allowed.eq(allowed - 1)
                        with m.If(last_group):
                            m.d.sync += [group.eq(0), tile.eq(tile + 1), addr.eq(source),
                                         base.eq(base + layer.stride),
                                         weight.eq(base + layer.stride)]
                            with m.If(last_tile):
                                m.d.comb += self.release.eq(layer.first)
                                with m.If(layer.first):
                                    m.d.sync += buffer.eq(~buffer)
                                with m.If(layer.last):
                                    m.next = "WAIT"
                                with m.Else():
                                    m.next = "LOAD"

        # The last row of a map ends within the row, and its last group of planes within the
        # group. What lies behind is cleared by the reset of the registers that take the row.
        r_valid   = Signal()
        r_tag     = Signal(RowTag(p), reset_less=True)
        r_columns = Signal(p.scan, init=-1)          # columns in use
        r_planes  = Signal(p.planes, init=-1)        # planes in use
        m.d.comb += self.busy.eq(walking | r_valid | self.valid)
        m.d.sync += [
            r_valid.eq(issue),
            r_tag.weights.eq(weight),
            r_tag.last.eq(last_row),
            r_columns.eq(Mux(last_row, Cat(n < layer.columns for n in range(p.scan)), -1)),
            r_planes.eq(Mux(last_group, Cat(n < layer.planes for n in range(p.planes)), -1)),
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
