"""What a network costs to run, by two models, against a full-precision network of its topology.

Both are models of arithmetic and memory in 45 nm, not measurements, and count no control, clock
or wires. All figures are picojoules a sample, averaged over the samples.

**Operations** (the bookkeeping usual for spiking networks)::

    full precision   4.6 * MAC + 0.9 * SOP
    ternary          0.1 * adds + sum over scalings of (2 * product + 0.2) + 0.1 * biases

``MAC`` are the multiply-accumulates of integer input values: each with all weights that it meets,
once a sample where the input is static. ``SOP`` are those of the events of every layer that takes
spikes, the events being those of the full-precision network, as far as they are known: its rates
with our maps, or evenly spread where ours are empty. An event is a spike; of spikes that count to
more than 1 it is a set bit of a count's *bit planes* (`model.network.level_planes`), in both
networks. Which weights an event meets is counted map by map: one at the border of a convolution
meets fewer, one that a stride passes over none. Where sums over windows come first, each of the
events that are summed counts.

``adds`` are counted likewise: every event, and every set bit of an input value, with every weight
that it meets and that is not 0, is one 32-bit integer addition. (The core counts them with a few
full adders each.) A *scaling* is gain_plus * P - gain_minus * N, added to the current: two products
and two 32-bit additions. The core does one for each neuron, step and bit plane, silent planes too;
where the input is static, its planes are those of one step. ``biases`` are one addition for each
neuron and step. A merge costs its additions only, in both networks: it has no weights, gains and
biases. What both networks do alike (leak, integrate, compare, reset) is counted for neither; that
folding leaves the reference a bias too is not held against it.

A product costs what its factors' widths ask for: those of a gain as the file has it, and of the
largest count that a neuron of the layer can have in a plane, whose weight is a shift. The published
prices, 0.2 for 8 bits and 3.1 for 32, grow with the square of the width; so b bits by c are charged
``0.2 * b / 8 * c / 8``, less than 8 counting as 8. The figures called ``wide`` charge 3.1 for each,
as if every product were one of 32 bits (docs/decisions/0010-products.md).

**Memory** (operations, memory accesses and addressing of events, as in the event-driven model of
Lemaire et al. 2022, "An analytical estimation of spiking neural networks energy efficiency"; its
convolutional form carried over to fully connected layers by us). Each event is read; it reads all
weights that it meets, and each weight that is not 0 (in the reference: each) reads and writes a
membrane; each neuron and step reads and writes its membrane; parameters are read where they are
used, a threshold once for each bit plane of the spikes; each event is written. Events are
addresses, with the number of the plane where there are several;
what max pooling hides is not written.
The sums of a static input wait in registers, in both networks. Widths are the stored ones: 2 bits
a weight, ``membrane_bits``, parameters as the network file has them; 32 bits for all numbers of the
reference, whose input values are bytes. Two prices are put on the same accesses:

``memory``
    Packed words of 64 bits, 10 pJ each, the price of a block of 8 KiB (Horowitz): a number of b
    bits costs ``10 / (64 // b)``, as numbers do not straddle words. This is no part of the paper
    but the alternative that its laboratory's code offers (LEAT-EDGE/qualia-plugin-snn, "new"). One
    price for all sizes favours the reference, which has some 16 times more blocks to choose from;
    that words are always full favours layers with fewer outputs than a core has lanes.
``memory_per_access``
    ``1.09e-5 * words * b + 13.2`` for each number, the paper's. It is pessimistic where words are
    wide: fitted to accesses of 64 bits, it charges nearly the same for a weight of 2 bits as for a
    float32, although one access of the core brings the weights of all its lanes.

The reference does not skip input values of 0, as the first formula has it; ours does by its nature.
The ratios called ``skipping`` grant the reference that too.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model.events import Activity, Source, activity_of, fan_out, source_of
from model.network import InputCoding, IntegerNetwork, MergeLayer, NeuronLayer
from model.network_format import stored_arrays

if TYPE_CHECKING:
    from model.golden import Trace

__all__ = ["EnergyReport", "LayerEnergy", "energy", "layer_energy"]

# Energy of an operation in 45 nm, pJ (Horowitz, "Computing's energy problem", ISSCC 2014).
ADD_FP32, MUL_FP32 = 0.9, 3.7
ADD_INT32, MUL_INT8, MUL_INT32 = 0.1, 0.2, 3.1
# One access to a block of 8 KiB (the same source), and how many bits it moves.
WORD, WORD_BITS = 10.0, 64

# Finding the weights of an event: row times row length, plus base, plus the walk's start.
ADDRESSING = MUL_INT32 + 2 * ADD_INT32


@dataclass(frozen=True)
class LayerEnergy:
    """One layer's activity and energy, each a mean over the samples.

    Members
    -------
    density
        Fraction of weights that are not 0; None for a merge, which has none.
    input_activity
        Set fraction of the bits that it reads: of all bit planes of spikes, or of input values.
    spike_rate
        Spikes a neuron and step, whatever they count; None for a readout layer.
    mean_count
        What they count a neuron and step, signs left out: the same if they are binary; None for a
        readout layer.
    total_count
        What all of them count together, signs left out, a sample; None for a readout layer.
    reference_rate
        Set fraction of the bit planes of the full-precision network's spikes: of binary spikes,
        spikes a neuron and step; None for a readout layer.
    events
        Spikes, or set bits of their counts or of input values, that the layer takes, a sample.
    fetches
        Weights that are fetched, a sample: those that an event meets, or a bundle of events.
    adds
        Integer additions on weights, a sample.
    scalings
        Times that a neuron's counts are multiplied by its gains, a sample.
    bits, bits_reference
        Bits read and written, a sample: ternary; full precision.
    ops, ops_wide, ops_reference, ops_skipping
        pJ by operations: ternary; ternary with products of 32 bits; full precision; full precision
        that skips inputs of 0.
    memory, memory_reference, memory_skipping
        The same by operations and memory, packed words.
    memory_per_access, memory_per_access_reference, memory_per_access_skipping
        The same by operations and memory, each number an access of its own.
    """

    density: float | None
    input_activity: float
    spike_rate: float | None
    mean_count: float | None
    total_count: float | None
    reference_rate: float | None
    events: float
    fetches: float
    adds: float
    scalings: int
    bits: float
    bits_reference: float
    ops: float
    ops_wide: float
    ops_reference: float
    ops_skipping: float
    memory: float
    memory_reference: float
    memory_skipping: float
    memory_per_access: float
    memory_per_access_reference: float
    memory_per_access_skipping: float


@dataclass(frozen=True)
class EnergyReport:
    """The energy of a network, layer by layer, over a number of samples."""

    layers: tuple[LayerEnergy, ...]
    samples: int

    def total(self, member: str) -> float:
        """Return the sum of one member over all layers."""
        return sum(getattr(layer, member) for layer in self.layers)

    def ratio(self, model: str, reference: str = "reference") -> float:
        """Return how many times less than full precision the network takes.

        Parameters
        ----------
        model
            ``ops``, ``memory`` or ``memory_per_access``.
        reference
            ``reference``, or ``skipping``: the reference skips inputs of 0 too.
        """
        return self.total(f"{model}_{reference}") / self.total(model)

    @property
    def ratio_ops(self) -> float:
        """How many times less than full precision, by operations."""
        return self.ratio("ops")

    @property
    def ratio_memory(self) -> float:
        """How many times less than full precision, by operations and packed memory."""
        return self.ratio("memory")

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, energies in pJ a sample."""
        models = ("ops", "memory", "memory_per_access")
        found: dict[str, Any] = {
            "samples": self.samples,
            "layers": [asdict(layer) for layer in self.layers],
        }
        for member in ("adds", "events", "fetches", "scalings", "bits", "bits_reference"):
            found[member] = self.total(member)
        for model in models:
            found[model] = self.total(model)
            found[f"ratio_{model}"] = self.ratio(model)
            for reference in ("reference", "skipping"):
                found[f"{model}_{reference}"] = self.total(f"{model}_{reference}")
            found[f"ratio_{model}_skipping"] = self.ratio(model, "skipping")
        found["ops_wide"] = self.total("ops_wide")
        found["ratio_ops_wide"] = found["ops_reference"] / found["ops_wide"]
        return found


def energy(
    network: IntegerNetwork, inputs: np.ndarray, trace: "Trace",
    float_activity: Sequence[float] | None = None, *, bundle: int = 1,
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
        Set fraction of the bit planes of each spiking layer's spikes in the full-precision network
        (of binary ones, spikes a neuron and step), each 0..1; None takes those of the ternary
        network.
    bundle
        Consecutive bit planes of a layer's sources whose bits at one place share an event: its
        weights are fetched once for all of them, as a core of so many planes does.

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
    static = network.input is InputCoding.STATIC
    activities = {-1: activity_of(network, -1, inputs[:, np.newaxis] if static else inputs, bundle)}
    for number, spikes in enumerate(trace.spikes):
        activities[number] = activity_of(network, number, spikes, bundle)
    rates = [activities[number].rate for number in range(spiking)]
    reference = rates if float_activity is None else [float(rate) for rate in float_activity]
    if len(reference) != spiking or not all(0 <= rate <= 1 for rate in reference):
        raise ValueError(f"Activity must be {spiking} rates of 0..1, not {float_activity!r}")
    for number, rate in enumerate(reference):
        activities[number] = activities[number].at(rate)
    layers = [
        layer_energy(network, number, source_of(network, number, activities, inputs),
                      activities.get(number), trace.spikes[number] if number < spiking else None)
        for number in range(len(network.layers))
    ]
    return EnergyReport(tuple(layers), len(inputs))


class _Accesses(NamedTuple):
    """Accesses, a sample, to a memory of so many words of so many bits."""

    count: float
    words: int
    bits: int


@dataclass(frozen=True)
class _Cost:
    """What a layer does with a sample.

    Members
    -------
    ops
        pJ of the operations.
    overhead
        pJ of arithmetic that only the memory models count: addressing, integration, leak.
    accesses
        What it reads and writes.
    """

    ops: float
    overhead: float
    accesses: tuple[_Accesses, ...]

    @property
    def bits(self) -> float:
        """Bits that move."""
        return sum(access.count * access.bits for access in self.accesses)

    @property
    def memory(self) -> float:
        """Return pJ, packed words."""
        return self.ops + self.overhead + sum(
            access.count * WORD / (WORD_BITS // access.bits) for access in self.accesses)

    @property
    def memory_per_access(self) -> float:
        """Return pJ, each number an access of its own (fit of Lemaire et al. 2022)."""
        return self.ops + self.overhead + sum(
            access.count * (1.09e-5 * access.words * access.bits + 13.2)
            for access in self.accesses)


@dataclass(frozen=True)
class _Size:
    """What a layer consists of.

    Members
    -------
    layer
        Its neurons; of a merge, those of the convolution that it is.
    merge
        Whether it is a merge, without weights and parameters.
    neurons, outputs
        Its neurons, and how many values others see of them.
    steps
        Its steps.
    planes
        Bit planes of its spikes; 0 of a readout layer.
    """

    layer: NeuronLayer
    merge: bool
    neurons: int
    outputs: int
    steps: int
    planes: int

    @property
    def neuron_steps(self) -> int:
        """How often a neuron is updated, a sample."""
        return self.neurons * self.steps

    @property
    def event_bits(self) -> int:
        """The width of an event that it writes."""
        return _address_bits(self.outputs) + _plane_bits(self.planes)


def layer_energy(
    network: IntegerNetwork, number: int, source: Source, activity: Activity | None,
    spikes: np.ndarray | None,
) -> LayerEnergy:
    """Count one layer by both models; a readout layer has no activity and no spikes."""
    layer, merge = network.layer(number), isinstance(network.layers[number], MergeLayer)
    size = _Size(
        layer, merge, math.prod(network.fired_shape(number)), math.prod(network.shape(number)),
        network.steps(number), 0 if activity is None else len(network.plane_weights(number)))
    # A merge has no zeros: its convolution's are not there.
    zeros_count = not merge
    nonzero, weights = (
        fan_out(layer, network.summed_shape(number), network.fired_shape(number), counted)
        for counted in (layer.weights != 0, (layer.weights != 0) | zeros_count))
    events, adds = (float((source.events * meets).sum()) for meets in (1, nonzero))
    bundles, fetches = (float((source.bundles * meets).sum()) for meets in (1, weights))
    scalings = 0 if merge else size.neurons * source.slots
    events_out, events_out_reference = (
        (0.0, 0.0) if activity is None
        else (float(activity.events.sum()), float(activity.reference.sum())))
    own = _ternary(size, source, bundles, 0.0 if merge else fetches, adds, scalings, events_out)
    reference, skipping = (
        _full_precision(size, source, float(taken.sum()), float((taken * weights).sum()),
                        events_out_reference)
        for taken in (source.reference, source.skipping))
    return LayerEnergy(
        density=None if merge else np.count_nonzero(layer.weights) / layer.weights.size,
        input_activity=events / source.bits,
        spike_rate=None if spikes is None else np.count_nonzero(spikes) / spikes.size,
        mean_count=None if spikes is None else _magnitude(spikes) / spikes.size,
        total_count=None if spikes is None else _magnitude(spikes) / len(spikes),
        reference_rate=None if activity is None else activity.reference_rate,
        events=events,
        fetches=0.0 if merge else fetches,
        adds=adds,
        scalings=scalings,
        bits=own.bits,
        bits_reference=reference.bits,
        ops=own.ops,
        ops_wide=own.ops + scalings * (_scaling(MUL_INT32) - _scaling(_product(layer))),
        ops_reference=reference.ops,
        ops_skipping=skipping.ops,
        memory=own.memory,
        memory_reference=reference.memory,
        memory_skipping=skipping.memory,
        memory_per_access=own.memory_per_access,
        memory_per_access_reference=reference.memory_per_access,
        memory_per_access_skipping=skipping.memory_per_access,
    )


def _magnitude(spikes: np.ndarray) -> int:
    """Return what spikes count together, signs left out."""
    return int(np.abs(spikes).sum(dtype=np.int64))


def _ternary(
    size: _Size, source: Source, events: float, fetches: float, adds: float, scalings: int,
    events_out: float,
) -> _Cost:
    """Return what the ternary layer does with so many events that fetch so many weights."""
    layer, neuron_steps = size.layer, size.neuron_steps
    biases = 0 if size.merge else neuron_steps
    # A set bit of a static input is an input's address and the number of the bit.
    event_bits = _address_bits(source.size) + (
        _address_bits(source.planes) if source.static else _plane_bits(source.planes))
    uses = {"gain_plus": scalings, "gain_minus": scalings,
            "bias": biases, "threshold": neuron_steps * size.planes}
    parameters = () if size.merge else tuple(
        _Accesses(uses[name], array.size, 8 * array.itemsize)
        for name, array in stored_arrays(layer).items() if name != "weights")
    integrations = neuron_steps + (0.0 if source.static else adds)
    return _Cost(
        ops=(adds + biases) * ADD_INT32 + scalings * _scaling(_product(layer)),
        overhead=(events * ADDRESSING + neuron_steps * ADD_INT32 * (1 + len(layer.leak))
                  + events_out * ADD_INT32),
        accesses=(
            _Accesses(events, source.size, event_bits),
            _Accesses(fetches, layer.weights.size, 2),
            _Accesses(2 * integrations, size.neurons, layer.membrane_bits),
            *parameters,
            _Accesses(events_out, size.outputs, size.event_bits),
        ))


def _scaling(product: float) -> float:
    """Return what a scaling costs: two products, their difference, its addition to the current."""
    return 2 * product + 2 * ADD_INT32


def _product(layer: NeuronLayer) -> float:
    """Return what a gain times a count costs, for the widest of the layer."""
    stored = stored_arrays(layer)
    gain = max(8 * stored[name].itemsize for name in ("gain_plus", "gain_minus"))
    weights = np.count_nonzero(layer.weights.reshape(layer.outputs, -1), axis=1)
    count = (int(weights.max()) * math.prod(layer.sum_pool)).bit_length()
    return MUL_INT8 * gain / 8 * max(count, 8) / 8


def _full_precision(
    size: _Size, source: Source, events: float, synapses: float, events_out: float,
) -> _Cost:
    """Return what the full-precision layer does."""
    layer, neuron_steps = size.layer, size.neuron_steps
    # With a static input, products, bias and their sum are the same in every step.
    biases = 0 if size.merge else size.neurons if source.static else neuron_steps
    integrations = neuron_steps + (0.0 if source.static else synapses)
    event_bits = 8 if source.values else _address_bits(source.size) + _plane_bits(source.planes)
    return _Cost(
        ops=synapses * (MUL_FP32 + ADD_FP32 if source.values else ADD_FP32),
        overhead=(events * ADDRESSING + biases * ADD_FP32
                  + neuron_steps * (ADD_FP32 + (MUL_FP32 if layer.leak else 0.0))
                  + events_out * ADD_FP32),
        accesses=(
            _Accesses(events, source.size, event_bits),
            _Accesses(0 if size.merge else synapses, layer.weights.size, 32),
            _Accesses(2 * integrations, size.neurons, 32),
            _Accesses(biases, layer.outputs, 32),
            _Accesses(events_out, size.outputs, size.event_bits),
        ))


def _plane_bits(planes: int) -> int:
    """Return the width of a plane's number: 0 if there is only one plane."""
    return max(planes - 1, 0).bit_length()


def _address_bits(words: int) -> int:
    """Return the width of an address of that many words."""
    return max(1, (words - 1).bit_length())
