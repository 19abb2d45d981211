"""Conversion: an ANN becomes a spiking network, all at once or layer by layer.

A neuron without leak, with soft reset, that gets the same current I at each of T steps fires ::

    clamp(floor(T I / threshold + v_init), 0, T z_max)

times (derived; 0 <= v_init < 1). Its rate is the ReLU of I, in thresholds, clipped and rounded down
to 1 / T, so that a network of ReLUs can become one of spikes, if the clipping and the rounding cost
little. What helps against either:

* `Activation.RELU`: the ANN knows of neither; `balance` divides a layer's current by the largest
  activation seen on calibration samples, or a percentile of it that leaves outliers out, and
  multiplies the weights that read the layer by the same. That is the closest formulation of the
  weight-threshold balancing of DCSNN, of which an abstract was read; the percentile of 99.9 is also
  that of the code of progressive tandem learning.
* `Activation.CLIP_FLOOR`: the ANN learns with both, and so learns its thresholds: an activation
  ``clamp(floor(x L / threshold + v_init) / L, 0, z_max)``, the gradient passing straight through
  the floor. With ``v_init`` = 1/2, binary spikes, and their height in the weights behind, it is
  that of HSD's code. It is what the neuron does at a constant current in T = L steps.
* ``v_init`` = 1/2 (`model.neuron.NeuronSettings`): rounding to the nearest instead of down.
* `model.train` trains after each layer that became spiking (`make_spiking`), those above it still
  being analog: progressive, as in tandem learning, whose gradient past a spiking layer, that of its
  analog twin, is here ``rate_gradient``, that of a clipped ReLU. That nothing is frozen, and that a
  stage has a fixed number of epochs, is ours.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from model.architecture import ConvSpec, DenseSpec
from model.layers import SpikingLayer, SpikingNetwork, as_inputs
from model.neuron import NeuronSettings

__all__ = ["Activation", "AnalogLayer", "ConversionError", "ConversionSettings", "balance",
           "make_analog", "make_spiking"]

BATCH = 250


class ConversionError(ValueError):
    """Settings of a conversion that are not possible, or an ANN that can't be converted."""


class Activation(enum.Enum):
    """What the ANN has in place of spiking neurons."""

    RELU = "relu"
    CLIP_FLOOR = "clip-floor"


@dataclass(frozen=True)
class ConversionSettings:
    """Choices of a conversion.

    Parameters
    ----------
    activation : Activation
    percentile : float
        Of a layer's ReLUs, those that are 0 included: what becomes the largest rate. Above 0, up to
        100: the largest activation.
    levels : int
        L of the clip-floor activation: its steps from 0 to the threshold, at least 1.
    samples : int
        Training samples on which ReLUs are balanced, at least 1.
    epochs : int
        Of training after each layer that became spiking; 0: none is trained further.
    rate : float
        Its peak learning rate, as a share of that of the training before, > 0.

    Raises
    ------
    ConversionError
        If a number is out of its range.
    """

    activation: Activation = Activation.RELU
    percentile: float = 99.9
    levels: int = 8
    samples: int = 1000
    epochs: int = 5
    rate: float = 0.3

    def __post_init__(self):
        if not 0 < self.percentile <= 100:
            raise ConversionError(f"Conversion's percentile must be above 0 and at most 100, not "
                                  f"{self.percentile!r}")
        for name, least in (("levels", 1), ("samples", 1), ("epochs", 0)):
            if getattr(self, name) < least:
                raise ConversionError(f"Conversion's {name} must be at least {least}, not "
                                      f"{getattr(self, name)!r}")
        if not self.rate > 0:
            raise ConversionError(f"Conversion's rate must be positive, not {self.rate!r}")


class AnalogLayer(SpikingLayer):
    """What a spiking layer becomes in an ANN: it gives the rate of its spikes, at every step.

    Parameters
    ----------
    neuron : NeuronSettings
        Of the spiking layer.
    levels : int or None
        L of the clip-floor activation; None: a ReLU.
    """

    def __init__(self, spec: DenseSpec | ConvSpec, neuron: NeuronSettings, levels: int | None):
        super().__init__(spec, None, neuron, torch.Generator())
        self.levels = levels
        # What a ReLU is divided by is nothing that the weights above it could not do.
        self.threshold.requires_grad_(neuron.learn_threshold and levels is not None)

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        return f"{super().extra_repr()}, levels={self.levels}"

    def forward(self, source: torch.Tensor, steps: int) -> torch.Tensor:
        """Return rates (steps, samples, *outputs), the same at each step.

        They are those of the mean current, counts a step; a ReLU's may be above `z_max`.
        """
        current = self.current(source)
        if current.dim() == 5:
            current = current.mean(0)
        rates = current / self.firing_threshold()
        if self.levels is None:
            rates = F.relu(rates)
        else:
            rounded = (rates * self.levels + self.neuron.v_init).floor() / self.levels
            rates = (rates + (rounded - rates).detach()).clamp(0, self.neuron.z_max)
        return rates.expand(steps, *rates.shape)


def make_analog(network: SpikingNetwork, settings: ConversionSettings) -> None:
    """Make a full-precision network, a chain of layers, an ANN, in place."""
    levels = settings.levels if settings.activation is Activation.CLIP_FLOOR else None
    for number, layer in enumerate(network.spiking_layers()):
        analog = AnalogLayer(layer.spec, layer.neuron, levels)
        analog.warm_start(layer)
        network.hidden[number] = analog


def make_spiking(network: SpikingNetwork, number: int, neuron: NeuronSettings) -> None:
    """Make a layer of an ANN one of these neurons, in place; 0 is the first."""
    layer = network.spiking_layers()[number]
    spiking = SpikingLayer(layer.spec, None, neuron, torch.Generator())
    spiking.warm_start(layer)
    network.hidden[number] = spiking


@torch.no_grad()
def balance(network: SpikingNetwork, encoded: np.ndarray, percentile: float) -> None:
    """Scale ReLUs so that a percentile of each layer's is the largest rate, in place.

    The network does what it did: what a layer's rates are divided by, the weights that read them
    are multiplied by. Layers that spike, or whose threshold was trained, stay as they are.

    Parameters
    ----------
    encoded : uint8
        Samples as `model.data.encode` returns them; layers that spike already do so meanwhile.
    percentile : float
        Above 0, up to 100.

    Raises
    ------
    ConversionError
        If so many of a layer's rates are 0 that the percentile is.
    """
    network.eval()
    seen = [network(as_inputs(encoded[start:start + BATCH])).spikes
            for start in range(0, len(encoded), BATCH)]
    chain = network.weighted_layers()
    for number, (layer, reader) in enumerate(pairwise(chain)):
        if not isinstance(layer, AnalogLayer) or layer.levels is not None:
            continue
        # Rates are the same at each step.
        rates = torch.cat([batch[number][0].flatten() for batch in seen]).numpy()
        highest = float(np.percentile(rates, percentile))
        if highest == 0:
            raise ConversionError(
                f"Layer {number} of the ANN can't be balanced: percentile {percentile:g} of its "
                f"activations on {len(encoded)} samples is 0, {np.mean(rates > 0):.3%} are not")
        factor = highest / layer.neuron.z_max
        layer.norm.weight.div_(factor)
        layer.norm.bias.div_(factor)
        reader.weight.mul_(factor)
