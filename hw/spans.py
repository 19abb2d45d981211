"""Walks the program: which columns of which map each group of planes reads, span by span."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.parameters import CoreParameters
from hw.shapes import FetchLayer, Span, column_shape

__all__ = ["SpanWalker"]

#: The loops of a layer, the innermost first, as :class:`~hw.shapes.FetchLayer` has them.
_LOOPS = ("part", "line", "group", "pool_x", "pool_y", "x", "y", "tile")


class SpanWalker(wiring.Component):
    """Give out the spans of every layer, ahead of the fetcher that reads their rows.

    ::

        loops -> 1: ends of the span -> 2: clipped to its line -> 3: rows, columns, weight -> o

    Every place is a register of its own at each loop that moves it: when a loop turns, it is the
    loop's register and what a turn adds, and the registers of the loops within follow. So a layer
    of any shape takes one adder for each kind of place.

    A span beyond the border of the map is given as an empty one: a row without columns.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    layer, layer_valid, layer_take : :py:`In(FetchLayer)`, :py:`In(1)`, :py:`Out(1)`
        The next layer of the program, and that it is taken.
    hold : :py:`In(1)`
        Take no layer.
    base : :py:`In(range(spike_depth))`
        First row of its source map, with ``layer``.
    current : :py:`Out(FetchLayer)`
        The layer that was taken last.
    o, valid : :py:`Out(Span)`, :py:`Out(1)`
        A span, and whether there is one in this cycle.
    space : :py:`In(1)`
        ``in_flight`` more spans may come.
    busy : :py:`Out(1)`
        There are spans of the layer that have not come.
    """

    #: Cycles from the taking of a layer to its first span.
    latency = 4

    #: Spans that ``space`` must leave room for: one a cycle until it is seen to have fallen.
    in_flight = 5

    layer: data.View
    layer_valid: Signal
    layer_take: Signal
    hold: Signal
    base: Signal
    current: data.View
    o: data.View
    valid: Signal
    space: Signal
    busy: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        super().__init__({
            "layer":       In(FetchLayer(p)),
            "layer_valid": In(1),
            "layer_take":  Out(1),
            "hold":        In(1),
            "base":        In(range(p.spike_depth)),
            "current":     Out(FetchLayer(p)),
            "o":           Out(Span(p)),
            "valid":       Out(1),
            "space":       In(1),
            "busy":        Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p
        layer   = self.current
        column  = column_shape(p)
        address = range(p.spike_depth)
        weight  = range(p.weight_depth)

        # The loops count down. `turns` says which one turns next: the innermost that is not at its
        # end. Whether it is at its end is a register of its own, so that a span takes one cycle.
        walking = Signal()                           # there is a span to give
        fresh   = Signal()                           # it is the layer's first
        first_tile = Signal()
        fresh_tile = Signal()                        # ... or its tile's first
        half    = Signal()                           # where its weights are, if they are streamed
        advance = Signal()
        ends    = {loop: Signal(name=f"{loop}_ends") for loop in _LOOPS}
        turns   = {loop: Signal(name=f"{loop}_turns") for loop in _LOOPS}
        inner   = Const(1)
        for loop in _LOOPS:
            last  = layer[f"last_{loop}"]
            if not len(last):                        # a loop that the core does not have
                m.d.comb += ends[loop].eq(1)
                continue
            left  = Signal.like(last, name=f"{loop}_left", reset_less=True)
            once  = Signal(name=f"{loop}_once", reset_less=True)
            m.d.comb += turns[loop].eq(inner & ~ends[loop])
            with m.If(advance & inner):
                m.d.sync += [left.eq(Mux(ends[loop], last, left - 1)),
                             ends[loop].eq(Mux(ends[loop], once, left == 1))]
            with m.If(self.layer_take):
                first = self.layer[f"last_{loop}"]
                m.d.sync += [left.eq(first), once.eq(first == 0), ends[loop].eq(first == 0)]
            inner = inner & ends[loop]
        ends_layer = Signal()
        m.d.comb += ends_layer.eq(inner)

        def place(name, shape, start, adds, loaded):
            """Return a place for the innermost loop: a register a loop, one adder for all."""
            adds = {loop: step for loop, step in adds.items() if len(step)}
            if not adds:
                return start
            registers = {loop: Signal(shape, name=f"{name}_{loop}", reset_less=True)
                         for loop in adds}
            before = Signal(shape, name=f"{name}_before")
            added  = Signal(shape, name=f"{name}_added")
            after  = Signal(shape, name=f"{name}_after")
            m.d.comb += after.eq(before + added)
            for n, loop in enumerate(_LOOPS):
                # A loop that does not move the place takes it back to where the next one has it.
                outer = next((each for each in _LOOPS[n:] if each in adds), None)
                with m.If(turns[loop]):
                    m.d.comb += before.eq(registers[outer] if outer else start)
                    if loop in adds:
                        m.d.comb += added.eq(adds[loop])
            for loop, register in registers.items():
                within = _LOOPS[_LOOPS.index(loop):]
                with m.If(advance & Cat(turns[each] for each in within).any()):
                    m.d.sync += register.eq(after)
                with m.If(self.layer_take):
                    m.d.sync += register.eq(loaded)
            return next(iter(registers.values()))

        base   = Signal(address, reset_less=True)
        new    = self.layer
        x      = place("x", column, layer.x, {
            "part": layer.part_x, "pool_x": layer.pool_x, "x": layer.x_x, "tile": layer.tile_x},
            new.x)
        line   = place("line", column, layer.line, {
            "line": layer.pitch, "pool_y": layer.pool_line, "y": layer.y_line}, new.line)
        far    = place("far", column, Const(0), {"part": layer.part_far}, 0)
        row    = place("row", address, base, {"group": layer.group_rows}, self.base)
        weights = place("weights", weight, layer.weights, {
            "part": layer.part_weights, "line": layer.line_weights,
            "pool_x": layer.pool_weights, "tile": layer.tile_weights}, new.weights)

        m.d.comb += self.layer_take.eq(self.layer_valid & ~self.busy & ~self.hold)
        with m.If(self.layer_take):
            m.d.sync += [layer.eq(new), base.eq(self.base), walking.eq(1), fresh.eq(1),
                         first_tile.eq(1), fresh_tile.eq(1), half.eq(new.half)]

        # What is known of a span from its beginning travels with it.
        class Known(data.StructLayout):
            def __init__(self):
                super().__init__({name: shape for name, shape in Span(p).members.items() if name in
                                  ("last_group", "ends_group", "waits", "begins_layer",
                                   "streamed", "half", "gives", "releases", "ends_layer")})

        s1 = Signal(data.StructLayout({
            "x": column, "end": column, "line": column, "far": column, "row": address,
            "weights": weight, "known": Known()}), reset_less=True)
        s2 = Signal(data.StructLayout({
            "first": column, "last": column, "empty": 1, "row": address, "weights": weight,
            "known": Known()}), reset_less=True)
        s1_valid = Signal()
        s2_valid = Signal()
        m.d.sync += [s1_valid.eq(advance), s2_valid.eq(s1_valid), self.valid.eq(s2_valid)]
        m.d.comb += [
            advance.eq(walking & self.space),
            self.busy.eq(walking | s1_valid | s2_valid | self.valid),
        ]

        ends_group = Signal()
        ends_tile  = Signal()
        m.d.comb += [
            ends_group.eq(ends["part"] & ends["line"]),
            ends_tile.eq(ends_group & Cat(ends[loop] for loop in _LOOPS[2:-1]).all()),
        ]
        with m.If(advance & turns["tile"]):
            m.d.sync += [first_tile.eq(0), half.eq(~half)]
        with m.If(advance):
            m.d.sync += [
                walking.eq(~ends_layer), fresh.eq(0), fresh_tile.eq(turns["tile"]),
                s1.x.eq(x), s1.end.eq(x + layer.width), s1.line.eq(line), s1.far.eq(far),
                s1.row.eq(row), s1.weights.eq(weights),
                s1.known.last_group.eq(ends["group"]),
                s1.known.ends_group.eq(ends_group),
                s1.known.waits.eq(~layer.input & Mux(layer.whole, fresh, first_tile)),
                s1.known.begins_layer.eq(fresh),
                s1.known.streamed.eq(layer.streamed & fresh_tile),
                s1.known.half.eq(half),
                s1.known.gives.eq(Mux(layer.coarse, ends_layer,
                                      Mux(layer.late, ends_tile, ends_group))),
                s1.known.releases.eq(ends_layer & layer.release),
                s1.known.ends_layer.eq(ends_layer),
            ]

        # The first and the last column, within the line.
        begin = Signal(column)
        end   = Signal(column)
        there = Signal(column)                       # first column of the line, with `far`
        m.d.comb += [
            begin.eq(Mux(s1.x < 0, 0, s1.x)),
            end.eq(Mux(s1.end > layer.columns, layer.columns, s1.end) if p.map_width else s1.end),
            there.eq(s1.line + s1.far),
        ]
        m.d.sync += [
            s2.first.eq(there + begin),
            s2.last.eq(there + end - 1),
            s2.empty.eq(((s1.line < 0) | (s1.line >= layer.size) | (begin >= end))
                        if p.map_width else 0),
            s2.row.eq(s1.row),
            s2.weights.eq(s1.weights + (begin - s1.x)),
            s2.known.eq(s1.known),
        ]

        # Their rows.
        bits = exact_log2(p.scan)
        m.d.sync += [
            self.o.row.eq(s2.row + (s2.first >> bits)),
            self.o.last_row.eq(Mux(s2.empty, 0, (s2.last >> bits) - (s2.first >> bits))),
            self.o.first.eq(s2.first[:bits]),
            self.o.last.eq(s2.last[:bits]),
            self.o.empty.eq(s2.empty),
            self.o.weights.eq(s2.weights - s2.first[:bits]),
        ]
        for name in Known().members:
            m.d.sync += self.o[name].eq(s2.known[name])
        return m
