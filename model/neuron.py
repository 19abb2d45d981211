"""Leaky integrate-and-fire neurons in floating point, step by step and fused over time.

One step, for a membrane ``v`` and a current ``I`` (`step`)::

    v = leak * v + I              leak = 1 - 2^-k1 - 2^-k2, what the integer machine's shifts do
    z = how many of threshold, 2 threshold, ..., z_max threshold v reaches
    v = v - z * threshold         soft reset;  hard reset: v = 0 where z > 0

The integer machine does the same with floor shifts; `model.fold` turns one into the other. In
training the reset's own dependence on the spike is left out of the gradient (a detached reset).

Spikes that count (z_max > 1) are the idea of "All in one timestep" (arXiv 2510.24637). Their
surrogate gradient is the sum of those of z_max one-step spikes, one at each k * threshold; that is
ours: the paper's text was not available.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from model.network import MAX_LEVELS, Reset
from model.surrogate import Surrogate, derivative, spike

__all__ = ["NeuronSettings", "leak_factor", "run", "step"]

MAX_SHIFT = 15


@dataclass(frozen=True)
class NeuronSettings:
    """Choices of a layer of neurons.

    Parameters
    ----------
    leak : tuple of int
        Shifts 1..15: ``()`` none (IF), ``(k1,)`` or ``(k1, k2)``.
    threshold : float
        Initial threshold, > 0.
    learn_threshold : bool
        Whether the threshold (one a layer) is trained.
    v_init : float
        Membrane before the first step, as a multiple of the threshold.
    surrogate, width
        Shape and width of the surrogate derivative.
    z_max : int
        Largest count of a spike, 1..15; 1: binary spikes.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    leak: tuple[int, ...] = ()
    reset: Reset = Reset.SOFT
    threshold: float = 1.0
    learn_threshold: bool = True
    v_init: float = 0.0
    surrogate: Surrogate = Surrogate.TRIANGLE
    width: float = 1.0
    z_max: int = 1

    def __post_init__(self):
        if len(self.leak) > 2 or not all(1 <= k <= MAX_SHIFT for k in self.leak):
            raise ValueError(f"Leak must be at most two shifts from 1 to {MAX_SHIFT}, "
                             f"not {self.leak!r}")
        for name in ("threshold", "width"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"Neuron's {name} must be positive, not {value!r}")
        if not math.isfinite(self.v_init):
            raise ValueError(f"Neuron's v_init must be finite, not {self.v_init!r}")
        if not 1 <= self.z_max <= MAX_LEVELS:
            raise ValueError(f"Neuron's z_max must be 1 to {MAX_LEVELS}, not {self.z_max!r}")

    @property
    def levels(self) -> range:
        """The counts that a spike can have, 1..z_max."""
        return range(1, self.z_max + 1)


def leak_factor(leak: tuple[int, ...]) -> float:
    """Return what remains of the membrane after one step: 1 - 2^-k1 - 2^-k2."""
    return 1.0 - sum(2.0**-shift for shift in leak)


def step(v: torch.Tensor, current: torch.Tensor, threshold: torch.Tensor,
         settings: NeuronSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Advance neurons by one time step.

    Parameters
    ----------
    v, current : float (..., neurons)
    threshold : float, broadcastable

    Returns
    -------
    spikes, v
        Counts 0.0..z_max, and the membrane after the reset.
    """
    v = leak_factor(settings.leak) * v + current
    spikes = torch.stack([spike(v - k * threshold, settings.surrogate, settings.width)
                          for k in settings.levels]).sum(0)
    fired = spikes.detach()
    v = v - fired * threshold if settings.reset is Reset.SOFT else v * (fired == 0)
    return spikes, v


class _Run(torch.autograd.Function):
    """All steps of a layer of neurons, with a hand-written backward pass.

    Equal to a loop over `step` and several times faster: of each step it keeps only the membrane
    before the reset and the spikes, and works in place.
    """

    @staticmethod
    def forward(ctx, current, threshold, steps, settings):
        static = current.dim() == 2
        leak = leak_factor(settings.leak)
        soft = settings.reset is Reset.SOFT
        shape = current.shape if static else current.shape[1:]
        before = current.new_empty((steps, *shape))
        spikes = current.new_zeros((steps, *shape))
        v = current.new_empty(shape).copy_(settings.v_init * threshold)
        for t in range(steps):
            v.mul_(leak).add_(current if static else current[t])
            before[t] = v
            for k in settings.levels:
                spikes[t] += v >= k * threshold
            if soft:
                v.sub_(spikes[t] * threshold)
            else:
                v.mul_(spikes[t] == 0)
        ctx.save_for_backward(before, spikes, threshold)
        ctx.settings, ctx.static, ctx.leak, ctx.soft = settings, static, leak, soft
        return spikes

    @staticmethod
    def backward(ctx, *grad_outputs):
        before, spikes, threshold = ctx.saved_tensors
        settings, static = ctx.settings, ctx.static
        grad_spikes = grad_outputs[0]
        shape = before.shape[1:]
        grad_current = before.new_zeros(shape) if static else torch.empty_like(before)
        grad_threshold = before.new_zeros(shape)
        grad_v = before.new_zeros(shape)
        for t in reversed(range(len(before))):
            through = [derivative(before[t] - k * threshold, settings.surrogate, settings.width)
                       .mul_(grad_spikes[t]) for k in settings.levels]
            for k, each in zip(settings.levels, through, strict=True):
                grad_threshold.sub_(each, alpha=k)
            if ctx.soft:
                grad_threshold.addcmul_(grad_v, spikes[t], value=-1)
            else:
                grad_v.mul_(spikes[t] == 0)
            for each in through:
                grad_v.add_(each)
            if static:
                grad_current.add_(grad_v)
            else:
                grad_current[t] = grad_v
            grad_v.mul_(ctx.leak)
        grad_threshold.add_(grad_v, alpha=settings.v_init)
        return grad_current, grad_threshold.sum_to_size(threshold.shape), None, None


def run(current: torch.Tensor, threshold: torch.Tensor, steps: int,
        settings: NeuronSettings) -> torch.Tensor:
    """Run a layer of neurons from its initial state over all time steps.

    Parameters
    ----------
    current : float (steps, samples, neurons), or (samples, neurons)
        Input of each step; without the first axis, the same at every step.
    threshold : float, broadcastable to (samples, neurons)
    steps : int

    Returns
    -------
    spikes : float (steps, samples, neurons)
        Counts 0.0..z_max.
    """
    return _Run.apply(current, threshold, steps, settings)
