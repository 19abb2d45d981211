"""An integer network as the memory contents of a core."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hw.memory_map import PROGRAM_WIDTH, program_words, regions, weight_lanes
from hw.parameters import CoreParameters
from hw.shapes import FetchLayer, FireLayer, InputFrame
from mapping.errors import MappingError
from mapping.plan import LayerPlan, Plan, make_plan
from model.bounds import bits_needed
from model.network import (
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Readout,
    Reset,
    leak,
    level_weights,
)

__all__ = ["Program", "compile_network"]


@dataclass(frozen=True, eq=False)
class Program:
    """A network, ready for a core.

    Attributes
    ----------
    network : :class:`~model.network.IntegerNetwork`
        What it computes.
    plan : :class:`~mapping.plan.Plan`
        Where everything lies.
    memories : dict of lists of :class:`int`
        Rows by region; for ``weights`` a list a bank.
    """

    network: IntegerNetwork
    plan: Plan
    memories: dict[str, list]

    @property
    def parameters(self) -> CoreParameters:
        """The core that the program is for."""
        return self.plan.parameters

    @property
    def timesteps(self) -> int:
        """Steps of a sample."""
        return self.network.timesteps

    @property
    def outputs(self) -> tuple[int, ...]:
        """Neurons of each layer, the readout last."""
        return tuple(layer.outputs for layer in self.network.layers)

    def image(self) -> dict[str, list]:
        """Return the first contents of a core's memories, for ``Core(..., image=...)``."""
        return self.memories

    def config_writes(self) -> list[tuple[int, int]]:
        """Return the writes ``(address, data)`` of the ``config`` stream that load the program."""
        return list(self._writes())

    def _writes(self) -> Iterator[tuple[int, int]]:
        for name, region in regions(self.parameters).items():
            contents = self.memories[name]
            for bank, rows in enumerate(contents if name == "weights" else [contents]):
                for row, word in enumerate(rows):
                    yield from region.writes(row, word, bank)

    def pack_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Return samples as beats of the stream ``i``.

        Parameters
        ----------
        inputs : integer array
            ``(samples, inputs)`` of ``0 .. 2**input_bits - 1`` for a static input,
            ``(samples, steps, inputs)`` of 0 and 1 for spikes.

        Returns
        -------
        ``uint8 (samples, beats, ceil(lanes / 8))``, each beat little endian.

        Raises
        ------
        :exc:`ValueError`
            If the shape is not the network's, or a value is out of range.
        """
        network, lanes = self.network, self.parameters.lanes
        inputs = np.asarray(inputs)
        if inputs.dtype.kind not in "iub":
            raise ValueError(f"Inputs must be integers, not {inputs.dtype}")
        static = network.input is InputCoding.STATIC
        shape = (network.inputs,) if static else (network.timesteps, network.inputs)
        if inputs.shape[1:] != shape or inputs.ndim != len(shape) + 1:
            raise ValueError(f"Inputs must have the shape (samples, {', '.join(map(str, shape))}), "
                             f"not {inputs.shape}")
        if inputs.size and not (0 <= inputs.min() and inputs.max() <= network.input_max):
            raise ValueError(f"Inputs must be in 0..{network.input_max}, not "
                             f"{inputs.min()}..{inputs.max()}")
        if static:
            bits = np.arange(network.input_bits, dtype=np.uint8)
            planes = (inputs.astype(np.uint8)[:, None, :] >> bits[:, None]) & 1
        else:
            planes = inputs.astype(np.uint8)
        beats = self.plan.frame_beats
        padded = np.zeros((*planes.shape[:2], beats * lanes), np.uint8)
        padded[..., :network.inputs] = planes
        by_beat = padded.reshape(len(inputs), planes.shape[1] * beats, lanes)
        return np.packbits(by_beat, axis=-1, bitorder="little")


def compile_network(network: IntegerNetwork, parameters: CoreParameters) -> Program:
    """Turn a network into a program for a core.

    Raises
    ------
    :exc:`~mapping.errors.MappingError`
        If the network does not fit the core; names layer, quantity, need and limit.
    """
    plan = make_plan(network, parameters)
    p = parameters
    memories: dict[str, list] = {name: [] for name in regions(p)}
    memories["weights"] = [[] for _ in range(p.banks)]
    frame = InputFrame(p).const({
        "last_plane": plan.frame_planes - 1, "last_beat": plan.frame_beats - 1,
        "rows": plan.frame_rows, "stride": plan.frame_stride, "valid": 1})
    memories["input"].append(frame.as_bits())
    for number, (layer, where) in enumerate(zip(network.layers, plan.layers, strict=True)):
        _check(network, number, layer, where, p)
        last = number == len(network.layers) - 1
        memories["fetch"] += _fetch_layer(plan, number, last=last)
        memories["fire"] += _fire_layer(plan, layer, where, last=last)
        _place_weights(memories["weights"], layer, where, p)
        _place_parameters(memories, layer, where, p, _plane_weights(network, number))
    return Program(network, plan, memories)


def _check(network: IntegerNetwork, number: int, layer: DenseLayer, where: LayerPlan,
           p: CoreParameters) -> None:
    """Prove that no sum of the layer leaves its width on the core."""
    def need(quantity, need, limit):
        if need > limit:
            raise MappingError(where.name, quantity, need, limit)

    for sign, gain in ((1, layer.gain_plus), (-1, layer.gain_minus)):
        kind = "plus" if sign > 0 else "minus"
        need(f"bits of a count of {kind} synapses (count_width)",
             int(np.count_nonzero(layer.weights == sign, axis=1).max()).bit_length(),
             p.count_width)
        heaviest = int(max(_plane_weights(network, number)))
        need(f"bits of gain_{kind} with the weight of the highest plane (gain_width)",
             (int(gain.max()) * heaviest).bit_length() + 1, p.gain_width)
    bounds = network.bounds(number)
    low, high = int(bounds.current_low.min()), int(bounds.current_high.max())
    start = int(leak(layer.v_init, layer.leak))
    low, high = min(low, low + start), max(high, high + start)
    need("bits of the input current (current_width)", bits_needed(low, high), p.current_width)
    need("bits of the membrane (membrane_width)", layer.membrane_bits, p.membrane_width)
    need("terms of the leak (leak_terms)", len(layer.leak), p.leak_terms)
    need("shift of the leak (leak_shift_max)", max(layer.leak, default=0), p.leak_shift_max)
    if layer.readout is Readout.SUM:
        need("bits of the summed readout (current_width)",
             bits_needed(layer.membrane_min * network.timesteps,
                         layer.membrane_max * network.timesteps), p.current_width)


def _plane_weights(network: IntegerNetwork, number: int) -> Sequence[int]:
    """Return what the planes of a layer's source in one step are worth."""
    if number > 0:
        return level_weights(network.layers[number - 1].z_max)
    return [1 << bit for bit in range(network.input_bits)]


def _fetch_layer(plan: Plan, number: int, *, last: bool) -> list[int]:
    where, first = plan.layers[number], number == 0
    return _words(FetchLayer(plan.parameters), {
        "source": where.source, "last_row": where.rows - 1, "columns": where.last_columns,
        "last_group": where.groups - 1, "planes": where.last_planes, "last_tile": where.tiles - 1,
        "weights": where.weights, "stride": where.columns,
        "pending": 0 if first else plan.layers[number - 1].output_groups,
        "gives": where.output_groups, "late": where.late, "first": first, "last": last,
    })


def _fire_layer(plan: Plan, layer: DenseLayer, where: LayerPlan, *, last: bool) -> list[int]:
    return _words(FireLayer(plan.parameters), {
        "last_tile": where.tiles - 1, "last_visit": where.last_visits - 1,
        "last_step": plan.timesteps - 1, "last_plane": where.planes - 1,
        "last_level": where.levels - 1,
        "gains": where.gains, "biases": where.biases,
        "first_biases": where.first_biases, "thresholds": where.thresholds,
        "destination": where.destination, "rows": where.output_rows,
        "leak": [*layer.leak, 0, 0][:2], "sign_bit": layer.membrane_bits - 1,
        "hard": layer.reset is Reset.HARD, "static": where.static,
        "readout": layer.readout is not None, "sum": layer.readout is Readout.SUM,
        "last_lanes": where.last_lanes, "last": last,
    })


def _words(layout, fields: dict) -> list[int]:
    """Return a layer as words of the program."""
    bits = layout.const(fields).as_bits()
    return [bits >> n * PROGRAM_WIDTH & (1 << PROGRAM_WIDTH) - 1
            for n in range(program_words(layout))]


def _place_weights(banks: list[list[int]], layer: DenseLayer, where: LayerPlan,
                   p: CoreParameters) -> None:
    """Append the words of each bank: tile by tile, a word a column."""
    padded = np.zeros((where.tiles * p.lanes, where.columns * p.banks), np.int8)
    padded[:layer.outputs, :layer.inputs] = layer.weights
    # (tile, lane, column, bank) -> (bank, tile, column, lane)
    tiles = padded.reshape(where.tiles, p.lanes, where.columns, p.banks).transpose(3, 0, 2, 1)
    tiles = tiles[..., weight_lanes(p)]
    bits = np.stack([tiles == 1, tiles == -1], axis=-1).reshape(*tiles.shape[:3], -1)
    packed = np.packbits(bits, axis=-1, bitorder="little")
    for bank, words in enumerate(packed.reshape(p.banks, where.tiles * where.columns, -1)):
        banks[bank].extend(int.from_bytes(word.tobytes(), "little") for word in words)


def _place_parameters(memories: dict[str, list], layer: DenseLayer, where: LayerPlan,
                      p: CoreParameters, plane_weights: Sequence[int]) -> None:
    """Append the rows of gains, biases and thresholds: ``neurons`` of a tile a row."""
    def rows(fill: int, width: int, *values: np.ndarray) -> list[int]:
        """Pad to whole tiles; pack the values of ``neurons`` neurons, ``width`` bits each."""
        padded = np.full((where.tiles * p.lanes, len(values)), fill, np.int64)
        padded[:layer.outputs] = np.stack(values, axis=-1)
        mask = (1 << width) - 1
        return [sum((value & mask) << n * width for n, value in enumerate(row))
                for row in padded.reshape(-1, p.neurons * len(values)).tolist()]

    def by_tile(planes: list[list[int]]) -> list[int]:
        """Return the rows of all planes of the first tile, then those of the second, and so on."""
        return [row for first in range(0, where.tiles * p.tile_groups, p.tile_groups)
                for plane in planes for row in plane[first:first + p.tile_groups]]

    # The gains carry the weight of the plane, so that the neuron units add planes up without
    # knowing what they are.
    gains = np.stack([layer.gain_plus, layer.gain_minus]).astype(np.int64)
    memories["gains"] += by_tile(
        [rows(0, p.gain_width, *(gains * weight)) for weight in plane_weights])

    biases = layer.bias.astype(np.int64)
    memories["biases"] += rows(0, p.current_width, biases)
    if layer.v_init:
        # The first step starts from zero, with the leaked v_init as further current.
        memories["biases"] += rows(0, p.current_width,
                                   biases + int(leak(layer.v_init, layer.leak)))

    # Neurons that a tile has too many, readouts, and those whose threshold is above every
    # membrane have one that is never reached.
    never = 1 << p.membrane_width - 1
    memories["thresholds"] += by_tile([
        rows(never, p.membrane_width, np.full(layer.outputs, never) if layer.readout
             else np.minimum(layer.threshold.astype(np.int64) * weight, never))
        for weight in level_weights(layer.z_max)])
