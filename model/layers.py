"""Trainable spiking networks of dense and convolutional layers, full-precision or ternary.

A layer is ``weights -> batch norm -> neurons``; the last layer's neurons only integrate and their
membrane is the result. A merge joins the spikes of two layers. With `Coding.STATIC` the first
layer's current is computed once and used at every step, as the integer machine does.

Activity is (steps, samples, channels, height, width), of dense layers with maps of 1 by 1; in
memory the channels come last, where they are next to one another for convolution and batch norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from model.architecture import Architecture, ConvSpec, DenseSpec, MergeSpec
from model.network import Merge, Readout, Reset
from model.neuron import NeuronSettings, leak_factor, nearest_leak, run
from model.quantise import TernaryCodes, TernaryQuantiser, WeightSettings, make_quantiser

__all__ = ["INPUT_BITS", "INPUT_MAX", "Activity", "MergeNeurons", "ReadoutLayer", "SpikingLayer",
           "SpikingNetwork", "Synapses", "as_inputs"]

SMALLEST_THRESHOLD = 0.05
INPUT_BITS = 8                       # of a static input value; a network in training sees 0..1
INPUT_MAX = (1 << INPUT_BITS) - 1


class Activity(NamedTuple):
    """What a network did with a batch."""

    #: (samples, classes), readout divided by the steps
    logits: torch.Tensor
    #: (steps, samples, classes), the readout's currents: without leak the logits are their mean
    outputs: torch.Tensor
    #: counts (steps, samples, channels, height, width) of each layer that fires, before its pooling
    spikes: tuple[torch.Tensor, ...]


def as_inputs(encoded: np.ndarray) -> torch.Tensor:
    """Turn encoded samples into a float network's input.

    Static values (samples, inputs) become 0..1; spikes (samples, steps, inputs) become
    (steps, samples, inputs).
    """
    values = torch.as_tensor(np.array(encoded)).float()
    return values / INPUT_MAX if values.dim() == 2 else values.transpose(0, 1)


class Synapses(nn.Module):
    """Weights and batch norm: counts of spikes, or pixels, in, current out.

    Parameters
    ----------
    quantiser : QuantiserSettings, StepSettings or None
        Ternary weights, b-bit ones, or full-precision ones.
    generator : torch.Generator
        Source of the initial weights.

    Members
    -------
    weight : parameter, of the specification's `weight_shape`
    mask : buffer of the same shape, or None
        1 where there is a weight, 0 where it was pruned; None: none was.
    norm : BatchNorm1d
        Of the channels, or neurons.
    """

    def __init__(self, spec: DenseSpec | ConvSpec, quantiser: WeightSettings | None,
                 generator: torch.Generator):
        super().__init__()
        self.spec = spec
        start = torch.randn(spec.weight_shape, generator=generator)
        start *= (2 / start[0].numel()) ** 0.5
        self.weight = nn.Parameter(start)
        self.mask: torch.Tensor | None
        self.register_buffer("mask", None)
        self.norm = nn.BatchNorm1d(spec.outputs[0])
        self.quantiser = make_quantiser(quantiser, start.flatten(1)) if quantiser else None

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        return f"{self.spec}"

    def current(self, source: torch.Tensor) -> torch.Tensor:
        """Return the current (..., *outputs) that counts (..., channels, height, width) cause."""
        spec, weight = self.spec, self.unpruned(self.weight)
        if self.quantiser is not None:
            # A rule that moves weights must not bring one back.
            weight = self.unpruned(self.quantiser(weight.flatten(1)).view_as(weight))
        maps = source.flatten(0, -4)
        if spec.sum_pool != (1, 1):
            maps = F.avg_pool2d(maps, spec.sum_pool)
        if isinstance(spec, DenseSpec):
            normed = self.norm(F.linear(maps.flatten(1), weight))
            return normed.view(*source.shape[:-3], *spec.outputs)
        weight = _lowered(weight, spec).contiguous(memory_format=torch.channels_last)
        maps = _channels_last(maps)
        sums = F.conv2d(maps, weight, None, spec.stride, spec.padding, groups=spec.groups)
        # What fills no window of the pool is no neuron.
        _, height, width = spec.outputs
        sums = sums[..., :height, :width].movedim(1, -1)
        normed = self.norm(sums.reshape(-1, sums.shape[-1])).view(sums.shape)
        return normed.movedim(-1, 1).unflatten(0, source.shape[:-3])

    @torch.no_grad()
    def codes(self) -> TernaryCodes | None:
        """Return what a convolution, its depth unrolled, or a matrix is in signs and scales.

        Signs are int8 (outputs, ...) as an integer layer has its weights; None if the weights are
        not ternary.
        """
        if not isinstance(self.quantiser, TernaryQuantiser):
            return None
        signs, *scales = self.quantiser.codes(self.unpruned(self.weight).flatten(1))
        signs = _lowered(self.unpruned(signs.view_as(self.weight)), self.spec)
        positions = len(signs) // len(self.weight)
        return TernaryCodes(signs, *(scale.repeat_interleave(positions) for scale in scales))

    def unpruned(self, weight: torch.Tensor) -> torch.Tensor:
        """Return weights, shaped as the layer's, with 0 where they were pruned."""
        return weight if self.mask is None else weight * self.mask.to(weight.dtype)

    @torch.no_grad()
    def warm_start(self, other: Synapses) -> None:
        """Copy weights, mask and batch norm; the quantiser starts anew from the copied weights."""
        self.weight.copy_(other.weight)
        self.mask = None if other.mask is None else other.mask.clone()
        self.norm.load_state_dict(other.norm.state_dict())
        if self.quantiser is not None:
            self.quantiser = make_quantiser(self.quantiser.settings,
                                            self.unpruned(self.weight).flatten(1))


class SpikingLayer(Synapses):
    """A layer of spiking neurons with one threshold and one leak.

    Members
    -------
    threshold : parameter, scalar
    leak : parameter, scalar, or None
        What remains of a membrane after a step, where that is trained. The forward pass rounds it.
    """

    def __init__(self, spec: DenseSpec | ConvSpec, quantiser: WeightSettings | None,
                 neuron: NeuronSettings, generator: torch.Generator):
        super().__init__(spec, quantiser, generator)
        self.neuron = neuron
        self.threshold = nn.Parameter(torch.tensor(neuron.threshold),
                                      requires_grad=neuron.learn_threshold)
        start = torch.tensor(leak_factor(neuron.leak))
        self.leak = nn.Parameter(start) if neuron.learn_leak else None

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        return f"{self.spec}, {self.neuron}"

    def firing_threshold(self) -> torch.Tensor:
        """Return the threshold in force, a positive scalar."""
        return self.threshold.clamp(min=SMALLEST_THRESHOLD)

    def leak_shifts(self) -> tuple[int, ...]:
        """Return the shifts of the leak in force."""
        if self.leak is None:
            return self.neuron.leak
        return nearest_leak(self.leak.item(), self.neuron)

    def _trained_leak(self) -> torch.Tensor | None:
        """Return the leak in force, with the gradient of the one that it was rounded from."""
        if self.leak is None:
            return None
        if self.training:
            # Beyond the largest and the smallest leak nothing would change but the way back.
            factors = [leak_factor(shifts) for shifts in self.neuron.leaks]
            with torch.no_grad():
                self.leak.clamp_(min(factors), max(factors))
        return self.leak + (leak_factor(self.leak_shifts()) - self.leak).detach()

    def forward(self, source: torch.Tensor, steps: int) -> torch.Tensor:
        """Return spikes (steps, samples, *outputs) for a source of as many steps, or static."""
        current = self.current(source).movedim(-3, -1)
        spikes = run(current.flatten(-3), self.firing_threshold(), steps, self.neuron,
                     self._trained_leak())
        return spikes.unflatten(-1, current.shape[-3:]).movedim(-1, -3)

    @torch.no_grad()
    def warm_start(self, other: Synapses) -> None:
        """Copy weights, batch norm, threshold and leak."""
        super().warm_start(other)
        if isinstance(other, SpikingLayer):
            self.threshold.copy_(other.threshold)
            if self.leak is not None and other.leak is not None:
                self.leak.copy_(other.leak)


class ReadoutLayer(Synapses):
    """A layer whose neurons integrate and never fire; their membrane is read."""

    def __init__(self, spec: DenseSpec, quantiser: WeightSettings | None,
                 leak: tuple[int, ...], readout: Readout, generator: torch.Generator):
        super().__init__(spec, quantiser, generator)
        self.leak, self.readout = leak, readout

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        return f"{self.spec}, leak={self.leak}, {self.readout}"

    def forward(self, source: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the readout and the currents that it comes from.

        Returns
        -------
        readout : (samples, outputs)
            The last membrane, or the membranes' sum.
        current : (steps, samples, outputs)
        """
        current = self.current(source).flatten(-3)
        if current.dim() == 2:
            current = current.expand(steps, *current.shape)
        v = total = torch.zeros_like(current[0])
        for t in range(steps):
            v = leak_factor(self.leak) * v + current[t]
            total = total + v
        return v if self.readout is Readout.LAST else total, current


class MergeNeurons(nn.Module):
    """Joins the spikes of two layers; it has no parameters.

    An addition counts what it can. What is too much is lost; with a soft reset (a barrier) it waits
    in a neuron of threshold 1 for the next step. The gradient passes as if all were counted, so
    that the way around a block keeps it.

    Parameters
    ----------
    neuron : NeuronSettings
        Of the layers that it joins; its z_max and sign hold for the merge.
    """

    def __init__(self, spec: MergeSpec, neuron: NeuronSettings):
        super().__init__()
        self.spec = spec
        self.neuron = NeuronSettings(reset=spec.reset, z_max=spec.levels or neuron.z_max,
                                     signed=neuron.signed)

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        return f"{self.spec}, {self.neuron}"

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the spikes for two of the same shape."""
        match self.spec.merge:
            case Merge.OR:
                return a + b - a * b
            case Merge.AND_NOT:
                return (1 - a) * b
            case Merge.ADD:
                total = a + b
                return total + (self._counted(total.detach()) - total.detach())

    def _counted(self, total: torch.Tensor) -> torch.Tensor:
        """Return what is counted of sums (steps, ...)."""
        if self.neuron.reset is Reset.SOFT:
            flat = total.flatten(2)
            return run(flat, flat.new_ones(()), len(flat), self.neuron).view(total.shape)
        return total.clamp(-self.neuron.z_max if self.neuron.signed else 0, self.neuron.z_max)


class SpikingNetwork(nn.Module):
    """The layers of an architecture, the last of which is read out.

    Parameters
    ----------
    quantiser : QuantiserSettings, StepSettings or None
        For ternary, or b-bit, weights in all layers.
    seed : int
        Of the initial weights.

    Attributes
    ----------
    input_bits : int
        The highest bits, 1..8, of static input values that are seen; 8 until a pruning takes some.
    """

    def __init__(self, architecture: Architecture, timesteps: int, *, neuron: NeuronSettings,
                 quantiser: WeightSettings | None = None, readout: Readout = Readout.LAST,
                 readout_leak: tuple[int, ...] = (), seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.architecture, self.timesteps = architecture, timesteps
        self.input_bits = INPUT_BITS
        self.hidden = nn.ModuleList(
            MergeNeurons(spec, neuron) if isinstance(spec, MergeSpec)
            else SpikingLayer(spec, quantiser, neuron, generator) for spec in architecture.hidden)
        self.readout = ReadoutLayer(architecture.readout, quantiser, readout_leak, readout,
                                    generator)

    @property
    def input_shift(self) -> int:
        """How many low bits of static 8-bit input values are not seen."""
        return INPUT_BITS - self.input_bits

    def extra_repr(self) -> str:
        """Return the settings, for a description of the module."""
        fewer = f", input_bits={self.input_bits}" if self.input_shift else ""
        return f"timesteps={self.timesteps}{fewer}"

    def firing_layers(self) -> list[SpikingLayer | MergeNeurons]:
        """Return the layers that fire, merges too, first to last."""
        return [layer for layer in self.hidden if isinstance(layer, SpikingLayer | MergeNeurons)]

    def spiking_layers(self) -> list[SpikingLayer]:
        """Return the layers that have weights and fire, first to last."""
        return [layer for layer in self.hidden if isinstance(layer, SpikingLayer)]

    def weighted_layers(self) -> list[SpikingLayer | ReadoutLayer]:
        """Return the layers that have weights, the readout last."""
        return [*self.spiking_layers(), self.readout]

    def forward(self, inputs: torch.Tensor) -> Activity:
        """Run all steps.

        Parameters
        ----------
        inputs : float
            (samples, inputs), static values in 0..1, or (steps, samples, inputs) spikes.
        """
        if inputs.dim() == 2 and self.input_shift:
            inputs = _without_low_bits(inputs, self.input_shift)
        spikes, seen = [], [inputs.unflatten(-1, self.architecture.shape)]

        def joined(sources: Sequence[int]) -> torch.Tensor:
            parts = [seen[source + 1] for source in sources]
            return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-3)

        for layer in self.firing_layers():
            spec = layer.spec
            if isinstance(layer, MergeNeurons):
                a, b = spec.sources
                fired = layer(seen[a + 1], seen[b + 1])
            else:
                fired = layer(joined(spec.sources), self.timesteps)
            spikes.append(fired)
            seen.append(_max_pooled(fired, spec.pool) if isinstance(spec, ConvSpec) else fired)
        logits, outputs = self.readout(joined(self.readout.spec.sources), self.timesteps)
        return Activity(logits / self.timesteps, outputs, tuple(spikes))

    def warm_start(self, other: SpikingNetwork) -> None:
        """Start from the parameters of a network of the same architecture."""
        self.input_bits = other.input_bits
        for layer, source in zip(self.spiking_layers(), other.spiking_layers(), strict=True):
            layer.warm_start(source)
        self.readout.warm_start(other.readout)


def _without_low_bits(inputs: torch.Tensor, bits: int) -> torch.Tensor:
    """Return static inputs, 0..1 of 8 bits, with 0 in so many of their lowest bits."""
    step = 1 << bits
    return torch.div((inputs * INPUT_MAX).round(), step, rounding_mode="floor") * (step / INPUT_MAX)


def _lowered(weight: torch.Tensor, spec: DenseSpec | ConvSpec) -> torch.Tensor:
    """Return 3-D kernels as 2-D ones, one for each position along the depth; others as they are.

    A 2-D kernel sees all channels, with zeros where the 3-D one would not be.
    """
    if isinstance(spec, DenseSpec) or spec.depth is None:
        return weight
    unrolled = weight.new_zeros((len(weight), spec.positions, spec.source[0], *spec.kernel))
    for position in range(spec.positions):
        start = position * spec.step
        unrolled[:, position, start:start + spec.depth] = weight
    return unrolled.flatten(0, 1)


def _channels_last(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (samples, channels, height, width) with the channels last in memory.

    A single channel needs no moving, but strides that say so: without them what a convolution
    returns, and its gradient, would have the channels first and be copied into order.
    """
    if maps.shape[1] == 1:
        return maps.contiguous().squeeze(1)[..., None].movedim(-1, 1)
    return maps.contiguous(memory_format=torch.channels_last)


def _max_pooled(spikes: torch.Tensor, pool: tuple[int, int]) -> torch.Tensor:
    """Return the largest of each window of the maps."""
    if pool == (1, 1):
        return spikes
    return F.max_pool2d(spikes.flatten(0, 1), pool).unflatten(0, spikes.shape[:2])
