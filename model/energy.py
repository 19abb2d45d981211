"""What a network costs to run, by two models, against a full-precision network of its topology.

Both are models of arithmetic and memory in 45 nm, not measurements, and count no control, clock
or wires. All figures are picojoules a sample, averaged over the samples.

**Operations** (the bookkeeping usual for spiking networks)::

    full precision   4.6 * MAC_first + 0.9 * SOP
    ternary          0.1 * adds + (2 * 3.1 + 2 * 0.1) * currents

``MAC_first`` are the multiply-accumulates of a static input, inputs * outputs; ``SOP`` are
spikes * outputs of every layer that takes spikes. ``adds`` are counted, not estimated: every spike,
and every set bit of a static input, with every weight of its column that is not 0, is one 32-bit
integer addition. ``currents`` are gain_plus * P - gain_minus * N + bias, one for each neuron and
step; with a static input the first layer needs them once, as the reference needs its products
once. What both do alike (leak, integrate, compare, reset) is counted for neither.

**Memory** (the event-driven model of Lemaire et al. 2022, "An analytical estimation of spiking
neural networks energy efficiency": operations, memory accesses and addressing; its convolutional
form carried over to fully connected layers by us). One access to a memory of n words of b bits
costs ``1.09e-5 * n * b + 13.2``. Each event is read; it reads the weights of all outputs, and each
weight that is not 0 reads and writes a membrane; each neuron and step reads and writes its membrane
and reads its parameters; each spike is written. A static input is summed in registers, in both
networks. Weights are words of 2 bits here and 32 bits there, read one by one in both: no credit is
taken for words that hold many weights.

The reference does not skip inputs of 0 in its first layer, as the first formula has it; ours does
by its nature. The ratios called ``skipping`` grant the reference that too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.network import DenseLayer, InputCoding, IntegerNetwork
from model.network_format import stored_arrays

if TYPE_CHECKING:
    from model.golden import Trace

__all__ = ["EnergyReport", "LayerEnergy", "energy"]

# Energy of an operation in 45 nm, pJ (Horowitz, "Computing's energy problem", ISSCC 2014).
ADD_FP32, MUL_FP32 = 0.9, 3.7
ADD_INT32, MUL_INT32 = 0.1, 3.1

# One current: two products, their difference, the bias.
CURRENT = 2 * MUL_INT32 + 2 * ADD_INT32
# Finding the weights of an event: row times row length, plus base, plus the walk's start.
ADDRESSING = MUL_INT32 + 2 * ADD_INT32


@dataclass(frozen=True)
class LayerEnergy:
    """One layer's activity and energy, each a mean over the samples.

    Members
    -------
    density
        Fraction of weights that are not 0.
    input_activity
        Set fraction of the input's bits: of all spikes that could be, or of a static input's bits.
    spike_rate
        Spikes a neuron and step; None for a readout layer.
    reference_rate
        The same of the full-precision network.
    events
        Spikes or set bits that the layer takes, a sample.
    adds
        Integer additions on weights, a sample.
    ops, ops_reference, ops_skipping
        pJ by operations: ternary; full precision; full precision that skips inputs of 0.
    memory, memory_reference, memory_skipping
        The same by the memory model.
    """

    density: float
    input_activity: float
    spike_rate: float | None
    reference_rate: float | None
    events: float
    adds: float
    ops: float
    ops_reference: float
    ops_skipping: float
    memory: float
    memory_reference: float
    memory_skipping: float


@dataclass(frozen=True)
class EnergyReport:
    """The energy of a network, layer by layer, over a number of samples."""

    layers: tuple[LayerEnergy, ...]
    samples: int

    def total(self, member: str) -> float:
        """Return the sum of one member over all layers."""
        return sum(getattr(layer, member) for layer in self.layers)

    @property
    def ratio_ops(self) -> float:
        """How many times less than full precision, by operations."""
        return self.total("ops_reference") / self.total("ops")

    @property
    def ratio_memory(self) -> float:
        """How many times less than full precision, by the memory model."""
        return self.total("memory_reference") / self.total("memory")

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, energies in pJ a sample."""
        members = ("ops", "ops_reference", "ops_skipping",
                   "memory", "memory_reference", "memory_skipping", "adds", "events")
        return {
            "ratio_ops": self.ratio_ops,
            "ratio_memory": self.ratio_memory,
            "ratio_ops_skipping": self.total("ops_skipping") / self.total("ops"),
            "ratio_memory_skipping": self.total("memory_skipping") / self.total("memory"),
            "samples": self.samples,
            "layers": [asdict(layer) for layer in self.layers],
        } | {member: self.total(member) for member in members}


def energy(
    network: IntegerNetwork, inputs: np.ndarray, trace: "Trace",
    float_activity: Sequence[float] | None = None,
) -> EnergyReport:
    """Estimate the energy of a network and of the full-precision network of its topology.

    Parameters
    ----------
    network
        The ternary network.
    inputs
        The samples, as `model.golden.execute` takes them; at least one.
    trace
        What it recorded for them.
    float_activity
        Spikes a neuron and step of each spiking layer of the full-precision network, each 0..1;
        None takes those of the ternary network.

    Raises
    ------
    ValueError
        If there is no sample, the trace is not of these samples, or the activity is not one rate
        for each spiking layer.
    """
    inputs = np.asarray(inputs)
    spiking = len(network.layers) - 1
    if not len(inputs):
        raise ValueError("Energy needs at least one sample")
    if len(trace.classes) != len(inputs) or len(trace.spikes) != spiking:
        raise ValueError(f"Trace must be recorded, of the {len(inputs)} samples given, not of "
                         f"{len(trace.classes)} with {len(trace.spikes)} layers of spikes")
    rates = [float(spikes.mean()) for spikes in trace.spikes]
    reference = rates if float_activity is None else [float(rate) for rate in float_activity]
    if len(reference) != spiking or not all(0 <= rate <= 1 for rate in reference):
        raise ValueError(f"Activity must be {spiking} rates of 0..1, not {float_activity!r}")

    steps = network.timesteps
    layers = []
    for number, layer in enumerate(network.layers):
        if number:
            source = _Source(
                events=trace.spikes[number - 1].sum(axis=1).mean(axis=0),
                slots=steps, reference_events=reference[number - 1] * steps * layer.inputs)
        else:
            source = _input_source(network, inputs)
        readout = layer.readout is not None
        layers.append(_layer_energy(
            layer, source, steps,
            rate=None if readout else rates[number],
            reference_rate=None if readout else reference[number]))
    return EnergyReport(tuple(layers), len(inputs))


@dataclass(frozen=True)
class _Source:
    """What a layer takes.

    Members
    -------
    events
        float (inputs,): spikes or set bits of each input, a sample.
    slots
        How many there could be of each input.
    reference_events
        Spikes of the full-precision network, a sample; of a static input: inputs that are not 0.
    static
        Whether the current is computed once, from multi-bit inputs.
    """

    events: np.ndarray
    slots: int
    reference_events: float
    static: bool = False


def _input_source(network: IntegerNetwork, inputs: np.ndarray) -> _Source:
    """Describe the network's input."""
    if network.input is InputCoding.STATIC:
        values = inputs.astype(np.uint8)
        return _Source(
            events=np.bitwise_count(values).mean(axis=0), slots=network.input_bits,
            reference_events=float(np.count_nonzero(values, axis=1).mean()), static=True)
    events = inputs.sum(axis=1, dtype=np.int64).mean(axis=0)
    return _Source(events=events, slots=network.timesteps, reference_events=float(events.sum()))


def _layer_energy(
    layer: DenseLayer, source: _Source, steps: int,
    rate: float | None, reference_rate: float | None,
) -> LayerEnergy:
    """Count one layer by both models."""
    events = float(source.events.sum())
    adds = float(source.events @ np.count_nonzero(layer.weights, axis=0))
    currents = layer.outputs * (1 if source.static else steps)
    spikes_out = (rate or 0.0) * steps * layer.outputs
    reference_spikes_out = (reference_rate or 0.0) * steps * layer.outputs

    ops = adds * ADD_INT32 + currents * CURRENT
    skipping_ops, skipping_memory = _reference(
        layer, source, source.reference_events, steps, reference_spikes_out)
    dense_events = float(layer.inputs) if source.static else source.reference_events
    reference_ops, reference_memory = _reference(
        layer, source, dense_events, steps, reference_spikes_out)
    return LayerEnergy(
        density=np.count_nonzero(layer.weights) / layer.weights.size,
        input_activity=events / (layer.inputs * source.slots),
        spike_rate=rate,
        reference_rate=reference_rate,
        events=events,
        adds=adds,
        ops=ops,
        ops_reference=reference_ops,
        ops_skipping=skipping_ops,
        memory=ops + _memory(layer, source, events, adds, currents, steps, spikes_out),
        memory_reference=reference_memory,
        memory_skipping=skipping_memory,
    )


def _memory(
    layer: DenseLayer, source: _Source, events: float, adds: float, currents: int, steps: int,
    spikes_out: float,
) -> float:
    """Return what the memory model adds to the operations of the ternary layer."""
    neuron_steps = steps * layer.outputs
    parameters = {name: _access(array.size, 8 * array.itemsize)
                  for name, array in stored_arrays(layer).items() if name != "weights"}
    thresholds = neuron_steps * parameters.pop("threshold", 0.0)
    membrane = 2 * _access(layer.outputs, layer.membrane_bits)
    # A set bit of a static input is an input's address and the number of the bit.
    event_bits = _address_bits(layer.inputs) + (_address_bits(source.slots) if source.static else 0)
    return (
        events * (_access(layer.inputs, event_bits) + ADDRESSING)
        + events * layer.outputs * _access(layer.weights.size, 2)
        + (0.0 if source.static else adds * membrane)
        + neuron_steps * (membrane + ADD_INT32 * (1 + len(layer.leak)))
        + currents * sum(parameters.values()) + thresholds
        + spikes_out * (_access(layer.outputs, _address_bits(layer.outputs)) + ADD_INT32)
    )


def _reference(
    layer: DenseLayer, source: _Source, events: float, steps: int, spikes_out: float,
) -> tuple[float, float]:
    """Return the full-precision layer's pJ by operations and by the memory model."""
    synapses = events * layer.outputs
    neuron_steps = steps * layer.outputs
    membrane = 2 * _access(layer.outputs, 32)
    event_bits = 8 if source.static else _address_bits(layer.inputs)
    ops = synapses * (MUL_FP32 + ADD_FP32 if source.static else ADD_FP32)
    return ops, (
        ops
        + events * (_access(layer.inputs, event_bits) + ADDRESSING)
        + synapses * _access(layer.weights.size, 32)
        + (0.0 if source.static else synapses * membrane)
        + neuron_steps * (membrane + ADD_FP32 + (MUL_FP32 if layer.leak else 0.0))
        + (layer.outputs if source.static else neuron_steps) * (
            _access(layer.outputs, 32) + ADD_FP32)
        + spikes_out * (_access(layer.outputs, _address_bits(layer.outputs)) + ADD_FP32)
    )


def _access(words: int, bits: int) -> float:
    """Return the energy of one access to a memory of that size, pJ (Lemaire et al. 2022)."""
    return 1.09e-5 * words * bits + 13.2


def _address_bits(words: int) -> int:
    """Return the width of an address of that many words."""
    return max(1, (words - 1).bit_length())
