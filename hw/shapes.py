"""The named shapes of everything that moves between the blocks of a core."""
from amaranth import *
from amaranth.lib import data

from hw.parameters import CoreParameters

__all__ = ["ConfigWrite", "ReadoutBeat", "FetchLayer", "FireLayer", "InputFrame", "RowTag",
           "BankRow", "Pass", "Visit", "trace_layout",
           "STEP_WIDTH", "GROUP_WIDTH", "PLANE_WIDTH", "LEVEL_WIDTH", "TILE_WIDTH", "LEAK_WIDTH"]

#: Bits of a step's index: networks run up to 4,096 steps.
STEP_WIDTH = 12

#: Bits of the index of a plane within a step: inputs have up to 8 bits.
PLANE_WIDTH = 3

#: Bits of the index of an output plane within a step: spikes count up to 15.
LEVEL_WIDTH = 2

#: Bits of the index of a group of planes: of all steps.
GROUP_WIDTH = STEP_WIDTH + LEVEL_WIDTH

#: Bits of a tile's index: layers have up to 4,096 tiles.
TILE_WIDTH = 12

#: Bits of a shift of the leak; 0 means that the term is absent.
LEAK_WIDTH = 4


#: One write of a core's configuration, addressed as :mod:`hw.memory_map` says.
ConfigWrite = data.StructLayout({"address": 32, "data": 32})


class InputFrame(data.StructLayout):
    """How the beats of one input sample lie in the spike memory."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "last_plane": STEP_WIDTH,       # planes of a sample (steps, or bits), less one
            "last_beat":  TILE_WIDTH,       # beats of `lanes` channels a plane, less one
            "rows":   range(p.spike_depth + 1),  # rows a group of planes
            "stride": range(p.spike_depth + 1),  # from one of the two input buffers to the other
            "valid":  1,                    # there is a program
        })


class FetchLayer(data.StructLayout):
    """What the fetcher needs to know of a layer: where its spikes and weights are.

    Loops end at a stored last index, which takes a comparison and no adder.
    """

    def __init__(self, p: CoreParameters):
        super().__init__({
            "source":     range(p.spike_depth),       # first row of the source map
            "last_row":   range(p.spike_depth),       # rows a group of planes, less one
            "columns":    range(p.scan + 1),          # columns in use in the last of these rows
            "last_group": GROUP_WIDTH,                # groups of planes, less one
            "planes":     range(p.planes + 1),        # planes in the last group
            "last_tile":  TILE_WIDTH,                 # tiles, less one
            "weights":    range(p.weight_depth),      # first word of the first tile's weights
            "stride":     range(p.weight_depth + 1),  # words of a tile's weights
            "pending":    GROUP_WIDTH + 1,            # groups of planes of the source map
            "gives":      GROUP_WIDTH + 1,            # groups that a tile gives to the next layer
            "late":       1,                          # ... all after its last group, not one each
            "first":      1,                          # reads the input, not the layer before
            "last":       1,                          # ends the program
        })


class FireLayer(data.StructLayout):
    """What the pass walker needs to know of a layer: its steps, neurons and destination."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "last_tile":   TILE_WIDTH,                 # tiles, less one
            "last_visit":  range(p.tile_groups),       # visits a pass in the last tile, less one
            "last_step":   STEP_WIDTH,                 # steps, less one
            "last_plane":  PLANE_WIDTH,                # planes of the source in a step, less one
            "last_level":  LEVEL_WIDTH,                # planes of the output in a step, less one
            "gains":       range(p.gain_depth),        # first row of the gains
            "biases":      range(p.neuron_depth),      # first row of the biases
            "first_biases": range(p.neuron_depth),     # ... of the biases of the first step
            "thresholds":  range(p.neuron_depth),      # first row of the thresholds
            "destination": range(p.spike_depth),       # first row of the map of output spikes
            "rows":        range(p.spike_depth + 1),   # rows a group of planes of that map
            "leak":        data.ArrayLayout(LEAK_WIDTH, 2),
            "sign_bit":    range(p.membrane_width),    # membranes saturate at this bit's weight
            "hard":        1,                          # hard reset
            "static":      1,                          # the input's current serves every step
            "readout":     1,                          # membranes are given out, no spikes
            "sum":         1,                          # the readout sums the membranes
            "last_lanes":  range(p.neurons + 1),       # neurons of the last visit of a readout
            "last":        1,                          # ends the program
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
        "leak":        data.ArrayLayout(LEAK_WIDTH, 2),
        "sign_bit":    range(p.membrane_width),
        "hard":        1,
        "store":       1,      # write the tile's spikes
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
        "layer":       range(p.program_depth),
        "tile":        TILE_WIDTH,
        "step":        STEP_WIDTH,
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
        "tile":      TILE_WIDTH,
        "step":      STEP_WIDTH,
        "level":     LEVEL_WIDTH,
        "group":     range(p.tile_groups),
        "spikes":    p.neurons,
        "membranes": data.ArrayLayout(signed(p.membrane_width), p.neurons),
    })
