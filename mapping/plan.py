"""Where each layer of a network lies in the memories of a core.

The plan is geometry only: tiles, rows, addresses. :mod:`mapping.program` turns it into memory
contents, :mod:`mapping.cycles` into cycles.
"""
from dataclasses import dataclass

from hw.event_queue import EventQueue
from hw.fetch import Fetcher
from hw.parameters import CoreParameters
from hw.shapes import TILE_WIDTH
from mapping.errors import MappingError
from model.network import InputCoding, IntegerNetwork, Readout, level_weights

__all__ = ["LayerPlan", "Plan", "make_plan"]


def _ceil(value: int, divisor: int) -> int:
    return -(-value // divisor)


@dataclass(frozen=True)
class LayerPlan:
    """One layer on one core.

    Attributes
    ----------
    name : :class:`str`
        The layer in messages.
    static : :class:`bool`
        The source is a static input: its planes are those of the first step alone.
    planes : :class:`int`
        Planes of the source in a step: bits of a static input, or of a count of spikes.
    levels : :class:`int`
        Planes of the output in a step.
    groups, last_planes : :class:`int`
        Groups of planes of the source in all steps, and planes in the last one.
    output_groups : :class:`int`
        The same of the output.
    columns : :class:`int`
        Channels of the source in one bank; also words of a tile's weights.
    rows, last_columns : :class:`int`
        Rows of the spike memory for one group, and columns in the last one.
    source, destination : :class:`int`
        First rows of the maps of input and output spikes.
    output_rows : :class:`int`
        Rows of the output map for one group.
    tiles, last_visits, last_lanes : :class:`int`
        Tiles of ``lanes`` neurons; visits of the last tile; neurons of its last visit.
    weights : :class:`int`
        First word in the weight banks.
    gains, biases, first_biases, thresholds : :class:`int`
        First rows in the parameter memories.
    readout : :class:`~model.network.Readout` or None
        How the layer's membranes are given out; None for a layer that fires.
    """

    name: str
    static: bool
    planes: int
    levels: int
    groups: int
    last_planes: int
    output_groups: int
    columns: int
    rows: int
    last_columns: int
    source: int
    destination: int
    output_rows: int
    tiles: int
    last_visits: int
    last_lanes: int
    weights: int
    gains: int
    biases: int
    first_biases: int
    thresholds: int
    readout: Readout | None

    @property
    def late(self) -> bool:
        """Groups read and groups given do not correspond: all are given at the end of a tile."""
        return self.static or self.planes > 1 or self.levels > 1


@dataclass(frozen=True)
class Plan:
    """A network on a core.

    Attributes
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        The core.
    timesteps : :class:`int`
        Steps of a sample.
    layers : tuple of :class:`LayerPlan`
        The layers in order.
    frame_rows, frame_stride, frame_beats, frame_planes : :class:`int`
        The input: rows a group, rows a buffer, beats a plane, planes.
    used : dict of :class:`int`
        Rows in use of each memory, by its region's name (``spikes`` for the spike memory).
    """

    parameters: CoreParameters
    timesteps: int
    layers: tuple[LayerPlan, ...]
    frame_rows: int
    frame_stride: int
    frame_beats: int
    frame_planes: int
    used: dict[str, int]


def make_plan(network: IntegerNetwork, p: CoreParameters) -> Plan:
    """Lay a network out on a core.

    Raises
    ------
    :exc:`~mapping.errors.MappingError`
        If a memory or a counter of the core is too small; names layer, quantity, need and limit.
    """
    steps = network.timesteps
    static = network.input is InputCoding.STATIC
    frame_planes = network.input_bits if static else steps
    frame_rows = _ceil(network.inputs, p.row_width)
    frame_stride = frame_rows * _ceil(frame_planes, p.planes)

    # Rows: two buffers of input, then two maps that the hidden layers take in turns.
    levels = [len(level_weights(layer.z_max)) for layer in network.layers]
    output_groups = [_ceil(steps * planes, p.planes) for planes in levels]
    map_rows = [_ceil(layer.outputs, p.row_width) * groups
                for layer, groups in zip(network.layers[:-1], output_groups, strict=False)]
    maps = [2 * frame_stride, 2 * frame_stride + max(map_rows[0::2], default=0)]
    used = {
        "spikes": maps[1] + max(map_rows[1::2], default=0),
        "weights": 0, "gains": 0, "biases": 0, "thresholds": 0,
        "fetch": len(network.layers), "fire": len(network.layers),
    }
    _need("network", "layers (program_depth)", len(network.layers), p.program_depth)
    _need("network", f"rows of spikes (spike_depth; 2 x {frame_stride} for the input of "
          f"{network.inputs} channels in {frame_planes} planes, the rest for hidden spikes over "
          f"{steps} steps)", used["spikes"], p.spike_depth)

    layers = []
    for number, layer in enumerate(network.layers):
        name = f"layer {number} ({layer.inputs}-{layer.outputs})"
        layer_static = static and number == 0
        planes = levels[number - 1] if number else network.input_bits
        columns = _ceil(layer.inputs, p.banks)
        rows = _ceil(layer.inputs, p.row_width)
        tiles = _ceil(layer.outputs, p.lanes)
        last_lanes = layer.outputs - (tiles - 1) * p.lanes
        last_visits = _ceil(last_lanes, p.neurons)
        source_planes = planes * (1 if layer_static else steps)
        groups = _ceil(source_planes, p.planes)
        neuron_rows = tiles * p.tile_groups
        plan = LayerPlan(
            name=name, static=layer_static, planes=planes, levels=levels[number], groups=groups,
            last_planes=source_planes - (groups - 1) * p.planes,
            output_groups=output_groups[number],
            columns=columns, rows=rows, last_columns=columns - (rows - 1) * p.scan,
            source=0 if number == 0 else maps[(number - 1) % 2],
            destination=0 if layer.readout else maps[number % 2],
            output_rows=0 if layer.readout else _ceil(layer.outputs, p.row_width),
            tiles=tiles, last_visits=last_visits,
            last_lanes=last_lanes - (last_visits - 1) * p.neurons,
            weights=used["weights"], gains=used["gains"], biases=used["biases"],
            # A first step that starts from v_init has biases of its own.
            first_biases=used["biases"] + (neuron_rows if layer.v_init else 0),
            thresholds=used["thresholds"], readout=layer.readout)
        layers.append(plan)
        used["weights"] += tiles * columns
        used["gains"] += neuron_rows * planes
        used["biases"] += neuron_rows * (2 if layer.v_init else 1)
        used["thresholds"] += neuron_rows * levels[number]
        _need(name, "tiles of neurons", tiles, 1 << TILE_WIDTH)
        if plan.late:
            # The fetcher counts them for each tile that it is ahead, a row of the queues at least.
            _need(name, "groups of output planes in all steps", output_groups[number],
                  Fetcher.most_pending // (p.queue_depth + EventQueue.in_flight))
        _need(name, "words of a weight bank up to here (weight_depth)",
              used["weights"], p.weight_depth)
        _need(name, "rows of gains up to here (gain_depth)", used["gains"], p.gain_depth)
        for memory in ("biases", "thresholds"):
            _need(name, f"rows of {memory} up to here (neuron_depth)",
                  used[memory], p.neuron_depth)
        if layer.readout is not None:
            _need(name, "readout neurons (readout_depth)", layer.outputs, p.readout_depth)
    return Plan(p, steps, tuple(layers), frame_rows, frame_stride,
                _ceil(network.inputs, p.lanes), frame_planes, used)


def _need(where: str, quantity: str, need: int, limit: int) -> None:
    if need > limit:
        raise MappingError(where, quantity, need, limit)
