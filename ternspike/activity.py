"""How much layers spike, added up over parts of the samples, and what that costs.

`model.energy.energy` takes the spikes of all samples at once. Of many samples of large maps they
do not fit in memory, so here they are counted part by part; the sums are integers, so that they do
not depend on the parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.energy import EnergyReport, layer_energy
from model.events import Activity, activity_of, source_of
from model.network import InputCoding, IntegerNetwork

__all__ = ["LayerActivity", "count", "energy_of"]


@dataclass(frozen=True, eq=False)
class LayerActivity:
    """What a layer's spikes add up to.

    Members
    -------
    samples
        So many they are of.
    events
        int64 (outputs,): set bits of the bit planes, over all steps, as later layers see them.
    bits
        Set bits of all neurons, before pooling.
    spikes
        Spikes, whatever they count.
    total
        What they count together, signs left out.
    """

    samples: int
    events: np.ndarray
    bits: int
    spikes: int
    total: int

    def __add__(self, other: LayerActivity) -> LayerActivity:
        """Return the activity of the samples of both."""
        return LayerActivity(
            self.samples + other.samples, self.events + other.events, self.bits + other.bits,
            self.spikes + other.spikes, self.total + other.total)


def count(network: IntegerNetwork, spikes: Sequence[np.ndarray]) -> tuple[LayerActivity, ...]:
    """Count the spikes (samples, steps, neurons) of each layer that has some."""
    return tuple(_counted(network, number, fired) for number, fired in enumerate(spikes))


def _counted(network: IntegerNetwork, number: int, spikes: np.ndarray) -> LayerActivity:
    """Count the spikes of a layer."""
    means = activity_of(network, number, spikes)
    planes = len(network.plane_weights(number))
    # Means of integers: times what they were divided by, rounded, they are exactly these again.
    return LayerActivity(
        samples=len(spikes),
        events=np.rint(means.events.ravel() * len(spikes)).astype(np.int64),
        bits=round(means.rate * spikes.size * planes),
        spikes=int(np.count_nonzero(spikes)),
        total=int(np.abs(spikes).sum(dtype=np.int64)))


def energy_of(
    network: IntegerNetwork, inputs: np.ndarray, activity: Sequence[LayerActivity],
    float_activity: Sequence[float] | None = None,
) -> EnergyReport:
    """Do as `model.energy.energy` does, with the activity in the place of all spikes.

    Parameters
    ----------
    inputs
        All samples, as `model.golden.execute` takes them.
    activity
        Of each layer that spikes, and of all samples.
    float_activity
        See there.
    """
    static = network.input is InputCoding.STATIC
    activities = {-1: activity_of(network, -1, inputs[:, np.newaxis] if static else inputs)}
    for number, layer in enumerate(activity):
        known = _means(network, number, layer)
        rate = known.rate if float_activity is None else float_activity[number]
        activities[number] = known.at(rate)
    layers = []
    for number in range(len(network.layers)):
        source = source_of(network, number, activities, inputs)
        energy = layer_energy(network, number, source, activities.get(number), None)
        if number < len(activity):
            fired, sizes = activity[number], _values(network, number) * len(inputs)
            energy = replace(energy, spike_rate=fired.spikes / sizes,
                             mean_count=fired.total / sizes, total_count=fired.total / len(inputs))
        layers.append(energy)
    return EnergyReport(tuple(layers), len(inputs))


def _means(network: IntegerNetwork, number: int, layer: LayerActivity) -> Activity:
    """Return a layer's activity as `model.events.activity_of` does."""
    planes = len(network.plane_weights(number))
    events = (layer.events / layer.samples).reshape(network.shape(number))
    rate = layer.bits / (layer.samples * _values(network, number) * planes)
    return Activity(rate, events, events, rate, network.steps(number) * planes)


def _values(network: IntegerNetwork, number: int) -> int:
    """Return how many counts a layer has, a sample: one for each neuron and step."""
    return network.steps(number) * math.prod(network.fired_shape(number))
