"""Bundling over time: spikes of one neuron at several steps become one event.

What an event costs are the weights that it fetches, so spikes that share an event save energy. This
is the idea of dynamic spike bundling (B-SNNAP). Two ways to do it are here:

* *Exact*: a core of P planes takes P steps of a layer at once. An event is a neuron that spikes in
  any of them; each step still has sums of its own, and nothing changes but the fetches
  (``bundle`` of `model.energy.energy`).
* *Collapse*: a layer sums what its sources spike in a window of W steps and makes one step of it.
  The order of the spikes within the window is forgotten, so spikes may change. From there on the
  network has W times fewer steps, its neurons are updated so many times less, and its spikes count
  W times as far: a count of 3 is two set bits, not three events.

Where the core takes the planes of a window at once, the collapse saves no fetch of the layer that
sums: the exact bundle has saved them already, and at no loss.

`search` finds the windows that cost no more than a given loss of accuracy.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from model.energy import EnergyReport, energy
from model.integer_layers import INT32_MAX, MAX_LEVELS, MAX_SHIFT
from model.network import (
    IntegerNetwork,
    MergeLayer,
    NetworkError,
    NeuronLayer,
)

if TYPE_CHECKING:
    from model.golden import Trace

__all__ = ["Bundled", "collapse", "measure", "search"]

MAX_MEMBRANE_BITS = 32


def collapse(network: IntegerNetwork, first: int, window: int) -> IntegerNetwork:
    """Return the network with fewer steps from one layer on.

    Layers numbered ``first`` or higher sum ``window`` times as many steps of the sources that come
    before, and have so many times fewer steps. Their neurons do at once what they did step by step:
    biases are added ``window`` times, a leak of factor f becomes the possible one nearest to
    f^window, and spikes count up to ``window`` times as much, at most 15. Of IF neurons without
    leak and with soft reset only the time at which charge arrives changes.

    Parameters
    ----------
    first
        Number of a layer.
    window
        At least 1, a divisor of the steps of each source that comes before.

    Raises
    ------
    NetworkError
        If the steps can't be divided, a layer has sources on both sides, a merge takes binary
        spikes only, or a bias or gain grows beyond its type.
    """
    layers = []
    for number, layer in enumerate(network.layers):
        if number < first or window == 1:
            layers.append(layer)
            continue
        sources = network.sources(number)
        outside = [source < first for source in sources]
        if any(outside) and not all(outside):
            raise NetworkError("has sources before and after the first layer that is collapsed",
                               f"layer {number}", "one side")
        wider = {"z_max": min(MAX_LEVELS, layer.z_max * window) if _fires(layer) else 1,
                 "membrane_bits": min(MAX_MEMBRANE_BITS,
                                      layer.membrane_bits + (window - 1).bit_length())}
        if isinstance(layer, MergeLayer):
            layers.append(replace(layer, **wider))
            continue
        current = {"bias": layer.bias}
        if network.takes_static(number):
            # Its steps are alike, and its window sums none of them: one step takes the current of
            # all.
            current |= {"gain_plus": layer.gain_plus, "gain_minus": layer.gain_minus}
        for name, values in current.items():
            current[name] = values.astype(np.int64) * window
            if np.abs(current[name]).max(initial=0) > INT32_MAX:
                raise NetworkError(f"has a {name} that {window} steps make larger than 2^31",
                                   f"layer {number}", "2^31 - 1")
        layers.append(replace(
            layer, **wider, **current, leak=_leak(layer.leak, window),
            window=layer.window * (window if all(outside) else 1)))
    return replace(network, layers=tuple(layers))


def _fires(layer: NeuronLayer | MergeLayer) -> bool:
    return isinstance(layer, MergeLayer) or layer.readout is None


def _leak(leak: tuple[int, ...], window: int) -> tuple[int, ...]:
    """Return the leak of at most as many terms that is nearest to ``window`` times this one."""
    if not leak:
        return ()
    wanted = (1 - sum(2.0 ** -shift for shift in leak)) ** window
    shifts = range(1, MAX_SHIFT + 1)
    possible = [(a,) for a in shifts]
    if len(leak) == 2:
        possible += [(a, b) for a in shifts for b in shifts if a <= b]
    return min(possible, key=lambda each: abs(1 - sum(2.0 ** -shift for shift in each) - wanted))


@dataclass(frozen=True, eq=False)
class Bundled:
    """A network, and what bundling makes of its costs.

    Members
    -------
    network
        Collapsed, or as it was.
    bundle
        Bit planes that share an event.
    accuracy
        0..1, on the samples that it was measured on.
    costs
        The energy model's, with weight fetches.
    """

    network: IntegerNetwork
    bundle: int
    accuracy: float
    costs: EnergyReport

    @property
    def fetches(self) -> float:
        """Weights fetched, a sample."""
        return self.costs.total("fetches")

    @property
    def energy(self) -> float:
        """Return pJ a sample, by operations and memory."""
        return self.costs.total("memory")


def measure(network: IntegerNetwork, inputs: np.ndarray, labels: np.ndarray, bundle: int = 1, *,
            trace: "Trace | None" = None) -> Bundled:
    """Run a network on samples, and count what it fetches.

    Parameters
    ----------
    inputs
        As `model.golden.execute` takes them; at least one.
    labels
        Their classes.
    bundle
        Bit planes that share an event.
    trace
        What the golden executor gives for them, if it is known.
    """
    if trace is None:
        from model.golden import execute

        trace = execute(network, inputs)
    return Bundled(network, bundle, float(np.mean(trace.classes == labels)),
                   energy(network, inputs, trace, bundle=bundle))


def search(
    network: IntegerNetwork, inputs: np.ndarray, labels: np.ndarray, loss: float, *,
    bundle: int = 1, progress: Callable[[int, int], None] | None = None,
) -> Bundled:
    """Collapse layers as long as the accuracy on calibration samples stays.

    Greedy: of all layers and windows, the one that saves most energy is taken first, then the
    next on what it left, until none saves any.

    Parameters
    ----------
    inputs, labels
        The calibration samples.
    loss
        What the accuracy may fall by, 0..1.
    bundle
        Bit planes that share an event besides.
    progress
        Called with the trials made and the most there are in this round.
    """
    best = measure(network, inputs, labels, bundle)
    least = best.accuracy - loss
    while True:
        trials = list(_trials(best.network))
        found = []
        for number, candidate in enumerate(trials):
            found.append(measure(candidate, inputs, labels, bundle))
            if progress is not None:
                progress(number + 1, len(trials))
        fitting = [each for each in found
                   if each.accuracy >= least and each.energy < best.energy]
        if not fitting:
            return best
        best = min(fitting, key=lambda each: each.energy)


def _trials(network: IntegerNetwork) -> Iterator[IntegerNetwork]:
    """Yield the network collapsed once more, at each layer by each prime factor of its steps."""
    for first in range(len(network.layers)):
        steps = network.steps(first)
        for window in range(2, steps + 1):
            if steps % window or any(window % each == 0 for each in range(2, window)):
                continue
            try:
                yield collapse(network, first, window)
            except NetworkError:
                continue
