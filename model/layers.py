"""Trainable dense spiking networks, full-precision or ternary.

A layer is ``weights -> batch norm -> neurons``; the last layer's neurons only integrate and their
membrane is the result. With `Coding.STATIC` the first layer's current is computed once and used at
every step, as the integer machine does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from model.network import Readout
from model.neuron import NeuronSettings, leak_factor, run
from model.quantise import QuantiserSettings, TernaryQuantiser

__all__ = ["Activity", "Dense", "ReadoutLayer", "SpikingLayer", "SpikingNetwork", "as_inputs"]

SMALLEST_THRESHOLD = 0.05


class Activity(NamedTuple):
    """What a network did with a batch."""

    logits: torch.Tensor                    #: (samples, classes), readout divided by the steps
    spikes: tuple[torch.Tensor, ...]        #: counts (steps, samples, neurons), each spiking layer


def as_inputs(encoded: np.ndarray) -> torch.Tensor:
    """Turn encoded samples into a float network's input.

    Static values (samples, inputs) become 0..1; spikes (samples, steps, inputs) become
    (steps, samples, inputs).
    """
    values = torch.as_tensor(np.array(encoded)).float()
    return values / 255 if values.dim() == 2 else values.transpose(0, 1)


class Dense(nn.Module):
    """Weights and batch norm: counts of spikes, or pixels, in, current out.

    Parameters
    ----------
    quantiser : QuantiserSettings or None
        Ternary weights, or full-precision ones.
    generator : torch.Generator
        Source of the initial weights.
    """

    def __init__(self, inputs: int, outputs: int, quantiser: QuantiserSettings | None,
                 generator: torch.Generator):
        super().__init__()
        start = torch.randn((outputs, inputs), generator=generator) * (2 / inputs) ** 0.5
        self.weight = nn.Parameter(start)
        self.norm = nn.BatchNorm1d(outputs)
        self.quantiser = TernaryQuantiser(quantiser, start) if quantiser else None

    def current(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the current (..., outputs) that inputs (..., inputs) cause."""
        weight = self.weight if self.quantiser is None else self.quantiser(self.weight)
        current = F.linear(inputs, weight)
        return self.norm(current.flatten(0, -2)).reshape(current.shape)

    @torch.no_grad()
    def warm_start(self, other: Dense) -> None:
        """Copy weights and batch norm; the quantiser starts anew from the copied weights."""
        self.weight.copy_(other.weight)
        self.norm.load_state_dict(other.norm.state_dict())
        if self.quantiser is not None:
            self.quantiser = TernaryQuantiser(self.quantiser.settings, self.weight)


class SpikingLayer(Dense):
    """A dense layer of spiking neurons with one threshold."""

    def __init__(self, inputs: int, outputs: int, quantiser: QuantiserSettings | None,
                 neuron: NeuronSettings, generator: torch.Generator):
        super().__init__(inputs, outputs, quantiser, generator)
        self.neuron = neuron
        self.threshold = nn.Parameter(torch.tensor(neuron.threshold),
                                      requires_grad=neuron.learn_threshold)

    def firing_threshold(self) -> torch.Tensor:
        """Return the threshold in force, a positive scalar."""
        return self.threshold.clamp(min=SMALLEST_THRESHOLD)

    def forward(self, inputs: torch.Tensor, steps: int) -> torch.Tensor:
        """Return spikes (steps, samples, outputs) for inputs (steps or none, samples, inputs)."""
        return run(self.current(inputs), self.firing_threshold(), steps, self.neuron)

    @torch.no_grad()
    def warm_start(self, other: Dense) -> None:
        """Copy weights, batch norm and threshold."""
        super().warm_start(other)
        if isinstance(other, SpikingLayer):
            self.threshold.copy_(other.threshold)


class ReadoutLayer(Dense):
    """A dense layer whose neurons integrate and never fire; their membrane is read."""

    def __init__(self, inputs: int, outputs: int, quantiser: QuantiserSettings | None,
                 leak: tuple[int, ...], readout: Readout, generator: torch.Generator):
        super().__init__(inputs, outputs, quantiser, generator)
        self.leak, self.readout = leak, readout

    def forward(self, inputs: torch.Tensor, steps: int) -> torch.Tensor:
        """Return the readout (samples, outputs): the last membrane, or the membranes' sum."""
        current = self.current(inputs)
        v = total = torch.zeros_like(current if current.dim() == 2 else current[0])
        for t in range(steps):
            v = leak_factor(self.leak) * v + (current if current.dim() == 2 else current[t])
            total = total + v
        return v if self.readout is Readout.LAST else total


class SpikingNetwork(nn.Module):
    """Dense spiking layers and a readout layer.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden layers, classes.
    quantiser : QuantiserSettings or None
        For ternary weights in all layers.
    seed : int
        Of the initial weights.
    """

    def __init__(self, sizes: tuple[int, ...], timesteps: int, *, neuron: NeuronSettings,
                 quantiser: QuantiserSettings | None = None, readout: Readout = Readout.LAST,
                 readout_leak: tuple[int, ...] = (), seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.sizes, self.timesteps = tuple(sizes), timesteps
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.hidden = nn.ModuleList(SpikingLayer(inputs, outputs, quantiser, neuron, generator)
                                    for inputs, outputs in pairs[:-1])
        self.readout = ReadoutLayer(*pairs[-1], quantiser, readout_leak, readout, generator)

    def spiking_layers(self) -> list[SpikingLayer]:
        """Return the layers that fire, first to last."""
        return [layer for layer in self.hidden if isinstance(layer, SpikingLayer)]

    def forward(self, inputs: torch.Tensor) -> Activity:
        """Run all steps.

        Parameters
        ----------
        inputs : float
            (samples, inputs), static values in 0..1, or (steps, samples, inputs) spikes.
        """
        activity, spikes = inputs, []
        for layer in self.spiking_layers():
            activity = layer(activity, self.timesteps)
            spikes.append(activity)
        return Activity(self.readout(activity, self.timesteps) / self.timesteps, tuple(spikes))

    def warm_start(self, other: SpikingNetwork) -> None:
        """Start from the parameters of a network of the same topology."""
        for layer, source in zip(self.spiking_layers(), other.spiking_layers(), strict=True):
            layer.warm_start(source)
        self.readout.warm_start(other.readout)
