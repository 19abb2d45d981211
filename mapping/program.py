"""An integer network as the memory contents of a core."""
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Shape

from hw.memory_map import PROGRAM_WIDTH, program_words, regions, weight_lanes
from hw.parameters import CoreParameters
from hw.shapes import FetchLayer, FireLayer, InputFrame
from hw.weight_loader import ROW_WIDTH
from mapping.errors import MappingError
from mapping.plan import LayerPlan, Plan, make_plan
from model.bounds import bits_needed
from model.network import (
    InputCoding,
    IntegerNetwork,
    NeuronLayer,
    Readout,
    Reset,
    leak,
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
            ``(samples, inputs)`` for a static input, ``(samples, steps, inputs)`` otherwise, of
            ``input_min .. input_max``.

        Returns
        -------
        ``uint8 (samples, beats, ceil(lanes / 8))``, each beat little endian.

        Raises
        ------
        :exc:`ValueError`
            If the shape is not the network's, or a value is out of range.
        """
        network, p, where = self.network, self.parameters, self.plan.input
        inputs = np.asarray(inputs)
        if inputs.dtype.kind not in "iub":
            raise ValueError(f"Inputs must be integers, not {inputs.dtype}")
        static = network.input is InputCoding.STATIC
        shape = (network.inputs,) if static else (network.timesteps, network.inputs)
        if inputs.shape[1:] != shape or inputs.ndim != len(shape) + 1:
            raise ValueError(f"Inputs must have the shape (samples, {', '.join(map(str, shape))}), "
                             f"not {inputs.shape}")
        if inputs.size and not (network.input_min <= inputs.min() and
                                inputs.max() <= network.input_max):
            raise ValueError(f"Inputs must be in {network.input_min}..{network.input_max}, not "
                             f"{inputs.min()}..{inputs.max()}")
        planes = self.input_planes(inputs)
        placed = where.placed(planes.astype(np.uint8), p.banks)
        beats = self.plan.frame_beats
        padded = np.zeros((*placed.shape[:2], beats * p.lanes), np.uint8)
        padded[..., :placed.shape[2]] = placed
        by_beat = padded.reshape(len(inputs), self.plan.frame_planes * beats, p.lanes)
        return np.packbits(by_beat, axis=-1, bitorder="little")

    @property
    def streams(self) -> bool:
        """Whether some weights come over the stream ``w``."""
        return any(layer.streamed for layer in self.plan.layers)

    def stream_words(self) -> np.ndarray:
        """Return what goes into the stream ``w`` for every sample: uint32 ``(words,)``.

        See :class:`~hw.weight_loader.WeightLoader`.
        """
        p, half = self.parameters, self.parameters.weight_depth // 2
        region = regions(p)["weights"]
        words: list[int] = []
        for layer in self.plan.layers:
            if not layer.streamed:
                continue
            banks = _bank_words(layer, p)
            for tile in range(layer.tiles):
                first = layer.weights % half + layer.half(tile, p) * half
                words.append(first << ROW_WIDTH | layer.tile_words - 1)
                for row in range(tile * layer.tile_words, (tile + 1) * layer.tile_words):
                    words += [chunk for bank in banks
                              for _, chunk in region.writes(0, bank[row])]
        return np.array(words, np.uint32)

    def input_planes(self, inputs: np.ndarray) -> np.ndarray:
        """Return the bit planes of samples: bool ``(samples, planes, inputs)``."""
        planes = np.moveaxis(self.network.planes(-1, np.asarray(inputs)), -1, -2)
        return planes.reshape(len(inputs), self.plan.frame_planes, self.network.inputs)


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
        "beats": plan.frame_planes * plan.frame_beats,
        "rows": plan.input.rows, "stride": plan.frame_stride, "valid": 1})
    memories["input"].append(frame.as_bits())
    for number, where in enumerate(plan.layers):
        layer = network.layer(number)
        _check(network, number, layer, where, p)
        last = number == len(plan.layers) - 1
        memories["fetch"] += _fetch_layer(plan, number, last=last)
        memories["fire"] += _fire_layer(plan, layer, where, last=last)
        if not where.streamed:
            _place_weights(memories["weights"], where, p)
        _place_parameters(memories, layer, where, p)
    return Program(network, plan, memories)


def _check(network: IntegerNetwork, number: int, layer: NeuronLayer, where: LayerPlan,
           p: CoreParameters) -> None:
    """Prove that no sum of the layer leaves its width on the core."""
    def need(quantity, need, limit):
        if need > limit:
            raise MappingError(where.name, quantity, need, limit)

    heaviest = max(abs(worth) for worth in where.sources[0].coding)
    area = math.prod(layer.sum_pool)
    for sign, gain in ((1, layer.gain_plus), (-1, layer.gain_minus)):
        kind = "plus" if sign > 0 else "minus"
        synapses = np.count_nonzero(layer.weights.reshape(layer.outputs, -1) == sign, axis=1)
        need(f"bits of a count of {kind} synapses (count_width)",
             (int(synapses.max()) * area).bit_length(), p.count_width)
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
             bits_needed(layer.membrane_min * where.steps, layer.membrane_max * where.steps),
             p.current_width)


def _fetch_layer(plan: Plan, number: int, *, last: bool) -> list[int]:
    where = plan.layers[number]
    source, read = where.sources[0], where.source_numbers[0]
    p = plan.parameters
    # What a layer waits for: the groups of the layer before, or that nothing is owed.
    pending = 1 if where.whole or read < 0 else plan.layers[read].output_groups
    layers = enumerate(plan.layers)
    return _words(where.name, FetchLayer(p), {
        **where.walk.loops,
        # Streamed tiles lie in turn in the two halves: half the depth, once more, is none.
        **({"tile_weights": p.weight_depth // 2} if where.streamed else {}),
        "source": source.base, "group_rows": source.rows, "planes": source.last_planes,
        "last_group": where.groups - 1, "weights": where.weights,
        "pending": pending, "gives": where.output_groups, "late": where.late,
        "coarse": where.coarse, "whole": where.whole, "input": read < 0,
        "streamed": where.streamed, "half": where.streamed and where.half(0, p),
        "release": number == max(n for n, each in layers if -1 in each.source_numbers),
        "last": last,
    })


def _fire_layer(plan: Plan, layer: NeuronLayer, where: LayerPlan, *,
                last: bool) -> list[int]:
    loops, output = where.walk.loops, where.output
    return _words(where.name, FireLayer(plan.parameters), {
        **{name: loops[name] for name in ("last_tile", "last_y", "last_x", "last_pool_y",
                                          "last_pool_x")},
        "last_visit": where.last_visits - 1,
        "last_step": where.steps - 1, "last_plane": where.planes - 1,
        "last_level": len(where.levels) - 1,
        "gains": where.gains, "biases": where.biases,
        "first_biases": where.first_biases, "thresholds": where.thresholds,
        "destination": output.base, "rows": output.rows,
        "slots": where.tiles,
        "leak": [*layer.leak, 0, 0][:2], "sign_bit": layer.membrane_bits - 1,
        "hard": layer.reset is Reset.HARD, "signed": min(output.coding) < 0,
        "static": where.static, "coarse": where.coarse, "streamed": where.streamed,
        "readout": layer.readout is not None, "sum": layer.readout is Readout.SUM,
        "last_lanes": where.last_lanes, "last": last,
    })


def _words(where: str, layout, fields: dict) -> list[int]:
    """Return a layer as words of the program; a number that its field can't hold is refused."""
    values = {}
    for name, value in fields.items():
        shape = Shape.cast(layout[name].shape)
        values[name] = value
        if not shape.width:
            values[name] = 0                         # the plan has seen that none is needed
        elif name.endswith("_weights"):
            # Steps of addresses wrap around with the addresses.
            values[name] = int(value) & (1 << shape.width) - 1
        elif not isinstance(value, list):
            low, high = -(1 << shape.width - 1) if shape.signed else 0, (1 << shape.width) - 1
            high >>= shape.signed
            if not low <= value <= high:
                raise MappingError(where, f"magnitude of the program's field {name}",
                                   abs(int(value)), high if value > high else -low)
    bits = layout.const(values).as_bits()
    return [bits >> n * PROGRAM_WIDTH & (1 << PROGRAM_WIDTH) - 1
            for n in range(program_words(layout))]


def _place_weights(banks: list[list[int]], where: LayerPlan, p: CoreParameters) -> None:
    """Put the words of each bank in their place."""
    for bank, words in zip(banks, _bank_words(where, p), strict=True):
        bank.extend([0] * (where.weights + len(words) - len(bank)))
        bank[where.weights:where.weights + len(words)] = words


def _bank_words(where: LayerPlan, p: CoreParameters) -> list[list[int]]:
    """Return the words of each bank, tile by tile."""
    weights = where.walk.weights.transpose(1, 0, 2)[..., weight_lanes(p)]    # bank, word, lane
    bits = np.stack([weights == 1, weights == -1], axis=-1).reshape(*weights.shape[:2], -1)
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return [[int.from_bytes(word.tobytes(), "little") for word in words] for words in packed]


def _place_parameters(memories: dict[str, list], layer: NeuronLayer, where: LayerPlan,
                      p: CoreParameters) -> None:
    """Append the rows of gains, biases and thresholds: ``neurons`` of a tile a row."""
    channel = where.walk.channel.ravel()

    def rows(fill: int, width: int, *values: np.ndarray) -> list[int]:
        """Give each lane its channel's values; pack those of ``neurons`` lanes."""
        lanes = np.where(channel[:, None] < 0, fill, np.stack(values, axis=-1)[channel])
        mask = (1 << width) - 1
        return [sum((value & mask) << n * width for n, value in enumerate(row))
                for row in lanes.reshape(-1, p.neurons * len(values)).tolist()]

    def by_tile(planes: list[list[int]]) -> list[int]:
        """Return the rows of all planes of the first tile, then those of the second, and so on."""
        return [row for first in range(0, where.tiles * p.tile_groups, p.tile_groups)
                for plane in planes for row in plane[first:first + p.tile_groups]]

    # The gains carry the weight of the plane, so that the neuron units add planes up without
    # knowing what they are.
    gains = np.stack([layer.gain_plus, layer.gain_minus]).astype(np.int64)
    coding = where.sources[0].coding
    memories["gains"] += by_tile(
        [rows(0, p.gain_width, *(gains * worth))
         for worth in coding * (where.planes // len(coding))])

    biases = layer.bias.astype(np.int64)
    memories["biases"] += rows(0, p.current_width, biases)
    if layer.v_init:
        # The first step starts from zero, with the leaked v_init as further current.
        memories["biases"] += rows(0, p.current_width,
                                   biases + int(leak(layer.v_init, layer.leak)))

    # What a spike adds to the membrane: the threshold, downwards from above. Lanes that a tile has
    # too many, readouts, planes that the layer never sets, and neurons whose threshold is above
    # every membrane have one that is never reached.
    never = 1 << p.membrane_width - 1

    def level(plane: int, worth: int) -> list[int]:
        """Return the rows of a plane, which this layer may never set."""
        sign = -1 if plane > 0 else 1
        reached = layer.threshold.astype(np.int64) * abs(worth)
        none = layer.readout or not worth
        return rows(sign * never, p.membrane_width + 1,
                    sign * (np.full(layer.outputs, never) if none else np.minimum(reached, never)))

    memories["thresholds"] += by_tile(
        [level(*each) for each in zip(where.output.coding, where.levels, strict=True)])
