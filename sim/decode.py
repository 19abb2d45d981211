"""Records of a core's output and trace, as arrays by sample, step and neuron."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

from hw.parameters import CoreParameters
from hw.shapes import ReadoutBeat, trace_layout
from sim.errors import SimulationError
from sim.layout import bits, unpack, word_bytes
from sim.testbench import record_type

__all__ = ["Readouts", "decode_readouts", "decode_trace", "read_records"]

# Records that are taken apart at once; a bit of them is a byte then.
_BLOCK = 1 << 14


@dataclass(frozen=True)
class Readouts:
    """What a network's samples gave on the output stream.

    Attributes
    ----------
    values
        int64 (samples, outputs).
    classes
        int64 (samples,).
    last
        int64 (samples,): the cycle in which the last result was transferred.
    """

    values:  np.ndarray
    classes: np.ndarray
    last:    np.ndarray


def read_records(path: Path, shape) -> np.ndarray:
    """Return the records of a stream of ``shape`` that a testbench has written."""
    return np.fromfile(path, record_type(word_bytes(shape)))


def decode_readouts(records: np.ndarray, parameters: CoreParameters, outputs: int, *,
                    first: int = 0) -> Readouts:
    """Take the output stream apart.

    Parameters
    ----------
    records
        Of whole samples.
    parameters
        Of the core.
    outputs
        Neurons of the readout layer.
    first
        Number of the first sample in messages.

    Raises
    ------
    SimulationError
        If the beats do not count the neurons, or ``last`` is not where it belongs.
    """
    fields = {name: values.reshape(-1, outputs) for name, values in
              unpack(ReadoutBeat(parameters), records["word"]).items()}
    counting = np.arange(outputs)
    wrong = (fields["neuron"] != counting) | (fields["last"] != (counting == outputs - 1))
    if wrong.any():
        sample, beat = np.argwhere(wrong)[0]
        raise SimulationError(
            f"Output stream: beat {beat} of sample {first + sample} says neuron "
            f"{fields['neuron'][sample, beat]}, last {fields['last'][sample, beat]}, in a "
            f"readout of {outputs} neurons")
    return Readouts(values=fields["membrane"], classes=fields["winner"][:, -1],
                    last=records["cycle"].reshape(-1, outputs)[:, -1])


def decode_trace(records: np.ndarray, parameters: CoreParameters, outputs: Sequence[int],
                 weights: Sequence[Sequence[int]], timesteps: int, samples: int, *, first: int = 0
                 ) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Take the trace apart.

    Parameters
    ----------
    records
        Of whole samples.
    parameters
        Of the core.
    outputs
        Neurons of each layer, readout last.
    weights
        What the planes of each layer's spikes are worth.
    timesteps
        Steps of a sample.
    samples
        Number of samples.
    first
        Number of the first one in messages.

    Returns
    -------
    tuple
        Spikes, uint8 (samples, steps, neurons) for each layer but the last, and membranes, int32
        of the same shape for every layer.

    Raises
    ------
    SimulationError
        If visits are missing, or not in the order of the program.
    """
    lanes, width = parameters.lanes, parameters.neurons
    levels = [len(each) for each in weights]
    expected = np.array(list(_visits(parameters, outputs, levels, timesteps)), np.int64)
    layout = trace_layout(parameters)
    _check_visits(records, layout, expected, samples, first)

    padded = [-(-count // width) for count in outputs]
    spikes = [np.zeros((samples, timesteps, groups, width), np.uint8) for groups in padded]
    membranes = [np.zeros((samples, timesteps, groups, width), np.int32) for groups in padded]
    layers, tiles, steps, level_of, groups = expected.T
    places = tiles * (lanes // width) + groups

    whole = max(1, _BLOCK // len(expected))
    for start in range(0, samples, whole):
        part = slice(start, min(start + whole, samples))
        words = records["word"][start * len(expected):part.stop * len(expected)]
        fired = _field(words, layout, "spikes").reshape(-1, len(expected), width)
        stored = unpack(layout["membranes"].shape, _field(words, layout, "membranes", packed=True))
        stored = stored.reshape(-1, len(expected), width)
        for layer, worth in enumerate(weights):
            for level, weight in enumerate(worth):
                of = np.flatnonzero((layers == layer) & (level_of == level))
                spikes[layer][part, steps[of], places[of]] += fired[:, of] * np.uint8(weight)
                membranes[layer][part, steps[of], places[of]] = stored[:, of]

    def trimmed(arrays):
        return tuple(array.reshape(samples, timesteps, -1)[:, :, :count]
                     for array, count in zip(arrays, outputs, strict=True))

    return trimmed(spikes)[:-1], trimmed(membranes)


def _visits(parameters: CoreParameters, outputs: Sequence[int], levels: Sequence[int],
            timesteps: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (layer, tile, step, level, group) of a sample's visits in the program's order."""
    lanes, width = parameters.lanes, parameters.neurons
    for layer, count in enumerate(outputs):
        for tile in range(-(-count // lanes)):
            groups = -(-min(lanes, count - tile * lanes) // width)
            for step in range(timesteps):
                for level in range(levels[layer]):
                    for group in range(groups):
                        yield layer, tile, step, level, group


def _check_visits(records: np.ndarray, layout: data.StructLayout, expected: np.ndarray,
                  samples: int, first: int) -> None:
    """Raise unless the visits are those of ``samples`` samples."""
    names = ("layer", "tile", "step", "level", "group")
    words = records["word"]
    seen = np.stack([unpack(layout[name].shape, _field(words, layout, name, packed=True))
                     for name in names], axis=1)
    wanted = np.tile(expected, (samples, 1))
    common = min(len(seen), len(wanted))
    wrong = np.flatnonzero((seen[:common] != wanted[:common]).any(axis=1))
    if len(wrong) or len(seen) != len(wanted):
        at = wrong[0] if len(wrong) else common
        found = dict(zip(names, seen[at].tolist(), strict=True)) if at < len(seen) else "nothing"
        right = (dict(zip(names, wanted[at].tolist(), strict=True)) if at < len(wanted)
                 else "nothing more")
        raise SimulationError(
            f"Trace: visit {at % len(expected)} of sample {first + at // len(expected)} is "
            f"{found}, and should be {right}")


def _field(words: np.ndarray, layout: data.StructLayout, name: str, *,
           packed: bool = False) -> np.ndarray:
    """Return a field of each word, as bits or as words of its own."""
    field = layout[name]
    planes = bits(words, field.offset, Shape.cast(field.shape).width)
    return np.packbits(planes, axis=1, bitorder="little") if packed else planes
