"""Leaky integrate-and-fire neurons in floating point, step by step and fused over time.

One step, for a membrane ``v`` and a current ``I`` (`step`)::

    v = leak * v + I              leak = 1 - 2^-k1 - 2^-k2, what the integer machine's shifts do
    z = how many of threshold, 2 threshold, ..., z_max threshold v reaches
    v = v - z * threshold         soft reset;  hard reset: v = 0 where z is not 0

Signed spikes also count, below 0, how many of -threshold, -2 threshold, ... v has passed. The
integer machine does the same with floor shifts; `model.fold` turns one into the other. In
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
CACHED = 1 << 16       # neurons whose few arrays stay in a core's own cache


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
    signed : bool
        Whether spikes count -z_max..z_max.

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
    signed: bool = False

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
    def levels(self) -> list[int]:
        """The counts that a spike can have, without 0."""
        return [k for k in range(-self.z_max if self.signed else 1, self.z_max + 1) if k]

    @property
    def joined(self) -> bool:
        """Whether the surrogate derivatives of all levels are rectangles side by side: one range.

        Then counting is as cheap as a binary spike. Only a threshold that is not trained stays as
        wide as they are.
        """
        return (self.surrogate is Surrogate.RECTANGLE and self.width == self.threshold
                and not self.learn_threshold and not self.signed)


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
        Counts, and the membrane after the reset.
    """
    v = leak_factor(settings.leak) * v + current
    spikes = torch.stack([spike(v - k * threshold, settings.surrogate, settings.width)
                          for k in settings.levels]).sum(0)
    if settings.signed:
        spikes = spikes - settings.z_max
    fired = spikes.detach()
    v = v - fired * threshold if settings.reset is Reset.SOFT else v * (fired == 0)
    return spikes, v


def _count(v: torch.Tensor, threshold: torch.Tensor, settings: NeuronSettings, *,
           out: torch.Tensor) -> torch.Tensor:
    """Return the spikes of membranes as `step` counts them, in `out`."""
    if settings.z_max == 1 and not settings.signed:
        return torch.ge(v, threshold, out=out)
    torch.div(v, threshold, out=out).floor_()
    if settings.signed:
        out.add_(v < 0)
    return out.clamp_(-settings.z_max if settings.signed else 0, settings.z_max)


class _Run(torch.autograd.Function):
    """All steps of a layer of neurons, with a hand-written backward pass.

    Equal to a loop over `step` and several times faster: of each step it keeps only the membrane
    before the reset and the spikes, works in place, and on few samples at a time, so that they
    stay in the cache through all steps.
    """

    @staticmethod
    def forward(ctx, current, threshold, steps, settings):
        static = current.dim() == 2
        leak = leak_factor(settings.leak)
        soft = settings.reset is Reset.SOFT
        shape = current.shape if static else current.shape[1:]
        before = current.new_empty((steps, *shape))
        spikes = current.new_empty((steps, *shape))
        for part in _parts(shape):
            v = settings.v_init * threshold
            for t in range(steps):
                drive = current[part] if static else current[t, part]
                membrane = torch.add(drive, v * leak, out=before[t, part])
                fired = _count(membrane, threshold, settings, out=spikes[t, part])
                if t + 1 < steps:
                    v = membrane - fired * threshold if soft else membrane * (fired == 0)
        ctx.save_for_backward(before, spikes, threshold)
        ctx.settings, ctx.static, ctx.leak, ctx.soft = settings, static, leak, soft
        return spikes

    @staticmethod
    def backward(ctx, *grad_outputs):
        before, spikes, threshold = ctx.saved_tensors
        settings, static = ctx.settings, ctx.static
        grad_spikes = grad_outputs[0]
        shape = before.shape[1:]
        grad_current = torch.empty_like(before[0] if static else before)
        grad_threshold = before.new_zeros(shape) if ctx.needs_input_grad[1] else None
        for part in _parts(shape):
            grad_v = torch.zeros_like(before[0, part])
            if static:
                grad_current[part] = 0
            for t in reversed(range(len(before))):
                through = _through(before[t, part], grad_spikes[t, part], threshold, settings)
                if grad_threshold is not None:
                    for k, each in zip(settings.levels, through, strict=True):
                        grad_threshold[part].sub_(each, alpha=k)
                    if ctx.soft:
                        grad_threshold[part].addcmul_(grad_v, spikes[t, part], value=-1)
                if not ctx.soft:
                    grad_v.mul_(spikes[t, part] == 0)
                for each in through:
                    grad_v.add_(each)
                if static:
                    grad_current[part].add_(grad_v)
                else:
                    grad_current[t, part] = grad_v
                grad_v.mul_(ctx.leak)
            if grad_threshold is not None:
                grad_threshold[part].add_(grad_v, alpha=settings.v_init)
        if grad_threshold is not None:
            grad_threshold = grad_threshold.sum_to_size(threshold.shape)
        return grad_current, grad_threshold, None, None


def _through(v: torch.Tensor, grad: torch.Tensor, threshold: torch.Tensor,
             settings: NeuronSettings) -> list[torch.Tensor]:
    """Return what passes from spikes to membranes at each level, or at all of them together."""
    if settings.joined:
        low, high = (settings.threshold * (end - 0.5) for end in (1, settings.z_max + 1))
        return [v.clamp(low, high).eq_(v).mul_(grad).div_(settings.width)]
    return [derivative(v - k * threshold, settings.surrogate, settings.width).mul_(grad)
            for k in settings.levels]


def _parts(shape: torch.Size) -> list[slice]:
    """Cut (samples, neurons) into slices of samples that are small enough for a cache."""
    samples, neurons = shape
    size = max(CACHED // neurons, 1)
    return [slice(start, start + size) for start in range(0, samples, size)]


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
        Counts.
    """
    return _Run.apply(current, threshold, steps, settings)
