"""The named shapes of everything that moves between the blocks of a core."""
from amaranth import *
from amaranth.hdl import Shape
from amaranth.lib import data
from amaranth.utils import ceil_log2

from hw.parameters import CoreParameters

__all__ = ["ConfigWrite", "ReadoutBeat", "FetchLayer", "FireLayer", "InputFrame", "Span", "RowTag",
           "BankRow", "Pass", "Visit", "trace_layout", "column_shape",
           "group_width", "PLANE_WIDTH", "LEVEL_WIDTH", "POOL_WIDTH", "LEAK_WIDTH"]

#: Bits of the index of a plane of the source within a step: the bits of an input value, or of the
#: spikes of as many steps of the source as a step covers.
PLANE_WIDTH = 4

#: Bits of the index of an output plane within a step: spikes count up to 15, either way.
LEVEL_WIDTH = 3

#: Bits of a coordinate in a window that is pooled: up to 16 pixels either way.
POOL_WIDTH = 4

#: Bits of a shift of the leak; 0 means that the term is absent.
LEAK_WIDTH = 4


#: One write of a core's configuration, addressed as :mod:`hw.memory_map` says.
ConfigWrite = data.StructLayout({"address": 32, "data": 32})


class InputFrame(data.StructLayout):
    """How the beats of one input sample lie in the spike memory."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "last_plane": p.step_width,          # planes of a sample (steps, or bits), less one
            "last_beat":  p.tile_width,          # beats of `lanes` channels a plane, less one
            "beats":  range(p.spike_depth * p.row_tiles * p.planes + 1),     # beats of a sample
            "rows":   range(p.spike_depth + 1),  # rows a group of planes
            "stride": range(p.spike_depth + 1),  # from one of the two input buffers to the other
            "valid":  1,                         # there is a program
        })


def group_width(p: CoreParameters) -> int:
    """Return the bits of the index of a group of planes, of all steps."""
    return p.step_width + LEVEL_WIDTH


def column_shape(p: CoreParameters) -> Shape:
    """Return the shape of a distance in columns of the spike memory, forth or back."""
    return signed(ceil_log2(p.spike_depth * p.scan) + 2)


def _pool(p: CoreParameters) -> int:
    return POOL_WIDTH if p.map_width else 0


class FetchLayer(data.StructLayout):
    """What the fetcher needs to know of a layer: where its spikes and weights are.

    A map of pixels lies in *columns* of ``banks`` channels, line after line; a *span* of
    consecutive columns is what a line of the kernel covers. All places are running sums: a loop
    says what each of its turns adds to them. Loops end at a stored last index, which takes a
    comparison and no adder.

    ===========  =======================================  =====================================
    loop         a turn is                                adds
    ===========  =======================================  =====================================
    ``tile``     another tile of neurons                  ``tile_x``, ``tile_weights``
    ``y``        the next line of the pooled output       ``y_line``
    ``x``        the next place in it                     ``x_x``
    ``pool_y``   a line of the window that is pooled      ``pool_line``
    ``pool_x``   a pixel of that line                     ``pool_x``, ``pool_weights``
    ``group``    another group of planes                  ``group_rows``
    ``line``     a line of the kernel                     ``pitch``, ``line_weights``
    ``part``     a part of it: of another source, or of   ``part_x``, ``part_far``,
                 another pixel                            ``part_weights``
    ===========  =======================================  =====================================
    """

    def __init__(self, p: CoreParameters):
        column, weight = column_shape(p), range(p.weight_depth)
        rows = range(p.spike_depth + 1)
        # A core without maps has no bits for places in them.
        place, place_weight = (column, weight) if p.map_width else (0, 0)
        pool = _pool(p)
        super().__init__({
            "source":     range(p.spike_depth),       # first row of the source map
            "group_rows": rows,                       # its rows for a group of planes
            "planes":     range(p.planes + 1),        # planes in the last group
            "last_tile":  p.tile_width,               # turns of each loop, less one
            "last_y":     p.map_width,
            "last_x":     p.map_width,
            "last_pool_y": pool,
            "last_pool_x": pool,
            "last_group": group_width(p),
            "last_line":  p.map_width,
            "last_part":  p.map_width,
            "x":          place,                      # first column of a span in its line
            "line":       place,                      # first column of that line in the map
            "width":      column,                     # columns of a span
            "columns":    place,                      # columns of a line that hold pixels
            "pitch":      place,                      # ... from a line to the next
            "size":       place,                      # columns of the map
            "tile_x":     place,
            "x_x":        place,
            "pool_x":     place,
            "part_x":     place,
            "y_line":     place,
            "pool_line":  place,
            "part_far":   place,                      # beyond what the borders of the map clip
            "weights":    weight,                     # first word of the first tile's weights
            "tile_weights": weight,
            "pool_weights": place_weight,
            "line_weights": place_weight,
            "part_weights": place_weight,
            "pending":    group_width(p) + 1,         # groups of planes of the source map
            "gives":      group_width(p) + 1,         # groups that it gives to the next layer
            "late":       1,                          # ... at the end of a tile, not one a group
            "coarse":     1,                          # ... at the end of the layer
            "whole":      1,                          # waits once, for its whole source
            "input":      1,                          # reads the input, not an earlier layer
            "streamed":   1,                          # its tiles of weights come by and by
            "half":       1,                          # ... the first one to this half
            "release":    1,                          # is the last to read it
            "last":       1,                          # ends the program
        })


class FireLayer(data.StructLayout):
    """What the pass walker needs to know of a layer: its steps, neurons and destination."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "last_tile":   p.tile_width,               # tiles, less one
            "last_y":      p.map_width,                # lines of the output map, less one
            "last_x":      p.map_width,                # places in a line, less one
            "last_pool_y": _pool(p),                   # lines of the window pooled, less one
            "last_pool_x": _pool(p),                   # ... pixels of such a line
            "last_visit":  range(p.tile_groups),       # visits a pass in the last tile, less one
            "last_step":   p.step_width,               # steps, less one
            "last_plane":  PLANE_WIDTH,                # planes of the source in a step, less one
            "last_level":  LEVEL_WIDTH,                # planes of the output in a step, less one
            "gains":       range(p.gain_depth),        # first row of the gains
            "biases":      range(p.neuron_depth),      # first row of the biases
            "first_biases": range(p.neuron_depth),     # ... of the biases of the first step
            "thresholds":  range(p.neuron_depth),      # first row of the thresholds
            "destination": range(p.spike_depth),       # first row of the map of output spikes
            "rows":        range(p.spike_depth + 1),   # rows a group of planes of that map
            "slots":       p.tile_width + 1,           # tiles from a place in the map to the next
            "leak":        data.ArrayLayout(LEAK_WIDTH, 2),
            "sign_bit":    range(p.membrane_width),    # membranes saturate at this bit's weight
            "hard":        1,                          # hard reset
            "signed":      1,                          # half of the output planes count down
            "static":      1,                          # the input's current serves every step
            "coarse":      1,                          # the output is complete at the layer's end
            "streamed":    1,                          # its tiles of weights come by and by
            "readout":     1,                          # membranes are given out, no spikes
            "sum":         1,                          # the readout sums the membranes
            "last_lanes":  range(p.neurons + 1),       # neurons of the last visit of a readout
            "last":        1,                          # ends the program
        })


class Span(data.StructLayout):
    """Consecutive columns of the source map, as the rows that hold them."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "row":      range(p.spike_depth),       # first row
            "last_row": range(p.spike_depth),       # rows, less one
            "first":    range(p.scan),              # first column in use of the first row
            "last":     range(p.scan),              # last column in use of the last row
            "empty":    1,                          # beyond the border: no column is in use
            "weights":  range(p.weight_depth),      # weight address of the first row's column 0
            "last_group": 1,                        # of the last group of planes
            "ends_group": 1,                        # the last span of its group
            "waits":    1,                          # reads what the layers so far may still owe
            "begins_layer": 1,
            "streamed": 1,                          # begins a tile whose weights come by and by
            "half":     1,                          # ... to this half of the memory
            "gives":    1,                          # spikes of this layer are owed from here on
            "releases": 1,                          # the last span that reads the input sample
            "ends_layer": 1,
        })


class RowTag(data.StructLayout):
    """What goes with a row of spikes on its way to the event queues."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "weights": range(p.weight_depth),   # weight address of the row's first column
            "last":    1,                       # ends the group of planes
        })


class BankRow(data.StructLayout):
    """One bank's share of a row: ``scan`` channels, each with the planes of the group."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "spikes": data.ArrayLayout(p.planes, p.scan),
            "tag":    RowTag(p),
        })


class Pass(data.StructLayout):
    """One pass of the neuron units over the lanes of a tile, for one plane or step."""

    def __init__(self, p: CoreParameters):
        super().__init__(_pass_members(p))


class Visit(data.StructLayout):
    """One visit of a pass: ``neurons`` lanes of the tile."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "group": range(p.tile_groups),      # which lanes of the tile
            "last":  1,                         # the pass ends
            **_pass_members(p),
        })


def _pass_members(p: CoreParameters) -> dict:
    return {
        "last_visit":  range(p.tile_groups),      # visits, less one
        "slot":        range(p.planes),           # which of the planes counted at once
        "gains":       range(p.gain_depth),       # rows of the first visit's parameters
        "biases":      range(p.neuron_depth),
        "thresholds":  range(p.neuron_depth),
        "counts":      1,      # add the counts of the shadow registers to the current
        "keep":        1,      # ... and to the current that the planes before left
        "ends_counts": 1,      # the counts are not needed after this pass
        "fire":        1,      # advance the membranes by one step
        "first_step":  1,      # ... from zero
        "hold":        1,      # ... or go on with the step: no leak, no current
        "negative":    1,      # fire below zero
        "leak":        data.ArrayLayout(LEAK_WIDTH, 2),
        "sign_bit":    range(p.membrane_width),
        "hard":        1,
        "store":       1,      # write the tile's spikes
        "pool":        range(p.pool_depth),       # which plane of a pooled window
        "pool_first":  1,      # the first pixel of the window
        "pool_last":   1,      # the last one: only then are the spikes written
        "pool_begin":  1,      # first plane of a step
        "row":         range(p.spike_depth),      # ... to this row
        "store_slot":  range(p.planes),           # ... as this plane
        "store_tile":  range(p.row_tiles),        # ... at this place in the row
        "retire":      1,      # the group of planes of the output is complete
        "readout":     1,      # give the membranes to the readout
        "readout_first": 1,    # ... first step that the readout sums
        "readout_emit":  1,    # ... last step: results
        "readout_base":  range(p.readout_depth),  # neuron of the first lane
        "last_lanes":  range(p.neurons + 1),      # neurons of the last visit
        "last_tile":   1,
        "ends_sample": 1,
        "frees":       1,                         # the last one that needs its tile of weights
        "layer":       range(p.program_depth),
        "tile":        p.tile_width,
        "step":        p.step_width,
        "level":       LEVEL_WIDTH,
    }


class ReadoutBeat(data.StructLayout):
    """One readout neuron's result; with the last one, the winner of them all."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "membrane": signed(p.current_width),
            "neuron":   range(p.readout_depth),
            "last":     1,
            "winner":   range(p.readout_depth),
        })


def trace_layout(p: CoreParameters) -> data.StructLayout:
    """Return the payload of the trace port: one visit's spikes and the membranes it stores."""
    return data.StructLayout({
        "layer":     range(p.program_depth),
        "tile":      p.tile_width,
        "step":      p.step_width,
        "level":     LEVEL_WIDTH,
        "group":     range(p.tile_groups),
        "spikes":    p.neurons,
        "membranes": data.ArrayLayout(signed(p.membrane_width), p.neurons),
    })
