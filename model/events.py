"""The events that run through a network: where they are, and how many weights they meet.

An event is a spike; of spikes that count to more than 1, and of input values, it is a set bit of a
bit plane. Maps of events are means over the samples, summed over steps and planes.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from model.network import ConvLayer, InputCoding, IntegerNetwork, NeuronLayer, Shape, windows

__all__ = ["Activity", "Source", "activity_of", "fan_out", "source_of"]


@dataclass(frozen=True)
class Activity:
    """The set bits of a layer's spikes, or of the input, a sample.

    Members
    -------
    rate
        Set fraction of the bit planes of the neurons.
    events
        float (C, H, W): of each place that others see, over all steps and planes.
    reference
        The same of the full-precision network.
    reference_rate
        Its rate.
    bits
        How many bits each place has.
    bundles
        float (C, H, W): of each place, groups of bit planes in which a bit is set; None if a group
        is one plane, which makes them the events.
    """

    rate: float
    events: np.ndarray
    reference: np.ndarray
    reference_rate: float
    bits: int
    bundles: np.ndarray | None = None

    def at(self, rate: float) -> "Activity":
        """Return the same with another rate of the reference: our map, made as much stronger."""
        events = (self.events * (rate / self.rate) if self.rate
                  else np.full(self.events.shape, rate * self.bits))
        return replace(self, reference=events, reference_rate=rate)


def activity_of(network: IntegerNetwork, number: int, counts: np.ndarray, bundle: int = 1,
                ) -> Activity:
    """Count the set bits of spikes (N, T, neurons) before max pooling, or of input values.

    Parameters
    ----------
    bundle
        Consecutive bit planes, step after step, whose bits at one place share an event.
    """
    low = network.input_min if number < 0 else -network.layers[number].z_max
    high = network.input_max if number < 0 else network.layers[number].z_max
    bits_of = _bits_of(network, number, low, high)
    steps, planes = counts.shape[1], len(network.plane_weights(number))
    fired, seen = 0, np.zeros(math.prod(network.shape(number)))
    bundles = np.zeros_like(seen)
    # One sample after another: a trace of large maps would not fit in memory several times.
    for sample in counts:
        seen_counts = sample if number < 0 else network.pooled(number, sample)
        fired += int(bits_of[sample.astype(np.int16) - low].sum(dtype=np.int64))
        seen += bits_of[seen_counts.astype(np.int16) - low].sum(axis=0, dtype=np.int64)
        if bundle > 1:
            bundles += _bundles(network.planes(number, seen_counts), bundle)
    rate = fired / (counts.size * planes)
    events, bundles = ((each / len(counts)).reshape(network.shape(number))
                       for each in (seen, bundles))
    return Activity(rate, events, events, rate, steps * planes, bundles if bundle > 1 else None)


def _bundles(planes: np.ndarray, bundle: int) -> np.ndarray:
    """Count the groups of planes with a set bit, (places,), of one sample (T, places, planes)."""
    slots = planes.transpose(0, 2, 1).reshape(-1, planes.shape[1])
    starts = range(0, len(slots), bundle)
    return np.add.reduce([slots[start:start + bundle].any(axis=0) for start in starts])


def _bits_of(network: IntegerNetwork, number: int, low: int, high: int) -> np.ndarray:
    """Return how many planes each count of low..high sets; uint8."""
    counts = np.arange(low, high + 1)
    if number >= 0 and not network.layers[number].signed:
        counts = np.maximum(counts, 0)
    return network.planes(number, counts).sum(axis=-1, dtype=np.uint8)


@dataclass(frozen=True)
class Source:
    """What a layer takes, a sample.

    Members
    -------
    events
        float (C, H, W): set bits at each place that its weights meet.
    bundles
        The same of groups of bit planes, each fetched at once.
    reference, skipping
        The same of the full-precision network: its spikes, or its input values, all of them and
        those that are not 0.
    size
        Values of its sources in a step.
    planes
        Bit planes of a step.
    slots
        Bit planes that are scaled.
    bits
        How many set bits there could be.
    static
        Whether the current is computed once.
    values
        Whether the full-precision network takes numbers, not spikes.
    """

    events: np.ndarray
    bundles: np.ndarray
    reference: np.ndarray
    skipping: np.ndarray
    size: int
    planes: int
    slots: int
    bits: int
    static: bool
    values: bool


def source_of(
    network: IntegerNetwork, number: int, activities: dict[int, Activity], inputs: np.ndarray,
) -> Source:
    """Describe what a layer takes."""
    sources = network.sources(number)
    events, reference = (
        _summed(np.concatenate([getattr(activities[source], name) for source in sources]),
                network.layer(number))
        for name in ("events", "reference"))
    bundles = _summed(np.concatenate([
        each.events if each.bundles is None else each.bundles
        for each in (activities[source] for source in sources)]), network.layer(number))
    skipping = reference
    static = network.takes_static(number)
    values = sources == (-1,) and network.input is not InputCoding.SPIKES
    steps = 1 if static else network.steps(sources[0])
    if values:
        summed = network.summed(number, [inputs.reshape(len(inputs), steps, -1)])
        reference = np.full(network.summed_shape(number), float(summed.shape[1]))
        skipping = np.count_nonzero(summed, axis=1).mean(axis=0)
    # Planes of equal worth of several sources are counted together.
    worths = Counter()
    for source in sources:
        worths |= Counter(network.plane_weights(source))
    planes = worths.total()
    return Source(
        events=events, bundles=bundles, reference=reference, skipping=skipping,
        size=math.prod(network.source_shape(number)), planes=planes, slots=steps * planes,
        bits=sum(activities[source].bits * activities[source].events.size for source in sources),
        static=static, values=values)


def _summed(events: np.ndarray, layer: NeuronLayer) -> np.ndarray:
    """Return the events (C, H, W) of each window that the layer sums."""
    return windows(events, layer.sum_pool).sum(axis=(-3, -1))


def fan_out(layer: NeuronLayer, shape: Shape, fired: Shape, counted: np.ndarray) -> np.ndarray:
    """Return how many weights each place of a map meets.

    Parameters
    ----------
    shape
        Of the map that the weights meet.
    fired
        Of the map of neurons.
    counted
        bool, shaped as the weights: which of them to count.

    Returns
    -------
    np.ndarray
        Integers of that shape.
    """
    if not isinstance(layer, ConvLayer):
        return counted.sum(axis=0).reshape(shape)
    channels, height, width = shape
    parts = counted.reshape(layer.groups, -1, *counted.shape[1:])
    meets = parts.sum(axis=1).reshape(channels, *layer.kernel)
    (down, right), (above, left) = layer.stride, layer.padding
    padded = np.zeros((channels, height + 2 * above, width + 2 * left), np.int64)
    for row in range(layer.kernel[0]):
        for column in range(layer.kernel[1]):
            padded[:, row:row + down * (fired[1] - 1) + 1:down,
                   column:column + right * (fired[2] - 1) + 1:right] += (
                       meets[:, row, column, np.newaxis, np.newaxis])
    return padded[:, above:above + height, left:left + width]
