"""Records of a core's output and trace, as arrays by sample, step and neuron."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

from hw.parameters import CoreParameters
from hw.shapes import ReadoutBeat, trace_layout
from mapping.program import Program
from mapping.visits import visits_of
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


def decode_trace(records: np.ndarray, program: Program, samples: int, *, first: int = 0
                 ) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Take the trace apart.

    Parameters
    ----------
    records
        Of whole samples.
    program
        What the core ran.
    samples
        Number of samples.
    first
        Number of the first one in messages.

    Returns
    -------
    tuple
        Spikes, uint8 or int8 (samples, steps, neurons) for each layer but the last, and membranes,
        int32 of the same shape for every layer. Neurons are numbered by channel, line and pixel of
        the map before pooling.

    Raises
    ------
    SimulationError
        If visits are missing, or not in the order of the program.
    """
    network, parameters = program.network, program.parameters
    width, layout = parameters.neurons, trace_layout(parameters)
    shapes = [network.fired_shape(number) for number in range(len(network.layers))]
    visits = [visits_of(where, shape, parameters)
              for where, shape in zip(program.plan.layers, shapes, strict=True)]
    expected = np.concatenate([np.stack([np.full(len(each.tile), number), each.tile, each.step,
                                         each.level, each.group], axis=1)
                               for number, each in enumerate(visits)])
    _check_visits(records, layout, expected, samples, first)

    # One neuron more than there are takes what lanes without a neuron give.
    spikes = [np.zeros((samples, where.steps, math.prod(shape) + 1),
                       np.int8 if network.layers[number].signed else np.uint8)
              for number, (where, shape) in enumerate(zip(program.plan.layers, shapes,
                                                          strict=True))]
    membranes = [np.zeros(each.shape, np.int32) for each in spikes]
    whole = max(1, _BLOCK // len(expected))
    for start in range(0, samples, whole):
        part = slice(start, min(start + whole, samples))
        words = records["word"][start * len(expected):part.stop * len(expected)]
        fired = _field(words, layout, "spikes").reshape(-1, len(expected), width)
        stored = unpack(layout["membranes"].shape, _field(words, layout, "membranes", packed=True))
        stored = stored.reshape(-1, len(expected), width)
        behind = 0
        for number, where in enumerate(program.plan.layers):
            order = visits[number]
            before, behind = behind, behind + len(order.tile)
            for level, worth in enumerate(where.levels):
                of = np.flatnonzero(order.level == level)
                place = (slice(None), order.step[of, None], order.neuron[of])
                # The spikes of a neuron and step come once for each level.
                spikes[number][part][place] += (
                    fired[:, before + of].astype(spikes[number].dtype) * worth)
                membranes[number][part][place] = stored[:, before + of]

    return (tuple(each[:, :, :-1] for each in spikes[:-1]),
            tuple(each[:, :, :-1] for each in membranes))


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
