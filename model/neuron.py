"""Leaky integrate-and-fire neurons in floating point, step by step and fused over time.

One step, for a membrane ``v`` and a current ``I`` (`step`)::

    v = leak * v + I              leak = 1 - 2^-k1 - 2^-k2, what the integer machine's shifts do
    v = clamp(v, -s threshold, s threshold)       where membranes saturate, at s thresholds
    z = how many of threshold, 2 threshold, ..., z_max threshold v reaches
    v = v - z * threshold         soft reset;  hard reset: v = 0 where z is not 0

Signed spikes also count, below 0, how many of -threshold, -2 threshold, ... v has passed. The
integer machine does the same with floor shifts; `model.fold` turns one into the other. In
training the reset's own dependence on the spike is left out of the gradient (a detached reset).

A leak that is trained is a number in full precision, of which the forward pass, as the integer
machine, sees the nearest one that shifts can make (`nearest_leak`); the gradient passes straight
through. A threshold that is trained is any number: folding rounds it with all else of a neuron, or
keeps it exact (`model.fold.FoldSettings`).

Membranes that saturate are narrow ones in training: where one is clamped no gradient passes. The
integer machine, which saturates at powers of two, gets the narrowest width that holds as much
(`model.fold`). SpQuant-SNN clamps what it stores, and rounds it to whole thresholds, which our
machine does not.

Instead of through time, gradients can pass through firing rates (`NeuronSettings.rate_gradient`):
differentiation on spike representation, DSR.

Spikes that count (z_max > 1) are the idea of "All in one timestep" (arXiv 2510.24637). Their
surrogate gradient is the sum of those of z_max one-step spikes, one at each k * threshold; that is
ours: the paper's text was not available.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from model.network import MAX_LEVELS, Reset
from model.surrogate import Surrogate, derivative, spike

__all__ = ["NeuronSettings", "leak_factor", "nearest_leak", "run", "step"]

MAX_SHIFT = 15
CACHED = 1 << 16       # neurons whose few arrays stay in a core's own cache


@dataclass(frozen=True)
class NeuronSettings:
    """Choices of a layer of neurons.

    Parameters
    ----------
    leak : tuple of int
        Shifts 1..15: ``()`` none (IF), ``(k1,)`` or ``(k1, k2)``. What a trained leak starts from.
    learn_leak : bool
        Whether the leak (one a layer) is trained.
    leak_terms, leak_shift_max : int
        How many shifts a trained leak may have, 1 or 2, and the largest of them, 1..15: what the
        core is made for. Every preset of the core has the defaults.
    threshold : float
        Initial threshold, > 0.
    learn_threshold : bool
        Whether the threshold (one a layer) is trained.
    v_init : float
        Membrane before the first step, as a multiple of the threshold.
    saturation : float, optional
        At how many thresholds, either side of 0, membranes saturate: at least `z_max`. None: never.
    surrogate, width
        Shape and width of the surrogate derivative.
    z_max : int
        Largest count of a spike, 1..15; 1: binary spikes.
    signed : bool
        Whether spikes count -z_max..z_max.
    rate_gradient : bool
        Whether gradients pass through firing rates instead of through time. Needs a soft reset and
        no leak.

    Raises
    ------
    ValueError
        If a number is out of its range, or settings contradict one another.
    """

    leak: tuple[int, ...] = ()
    learn_leak: bool = False
    leak_terms: int = 1
    leak_shift_max: int = 4
    reset: Reset = Reset.SOFT
    threshold: float = 1.0
    learn_threshold: bool = True
    v_init: float = 0.0
    saturation: float | None = None
    surrogate: Surrogate = Surrogate.TRIANGLE
    width: float = 1.0
    z_max: int = 1
    signed: bool = False
    rate_gradient: bool = False

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
        if self.leak_terms not in (1, 2):
            raise ValueError(f"Neuron's leak_terms must be 1 or 2, not {self.leak_terms!r}")
        if not 1 <= self.leak_shift_max <= MAX_SHIFT:
            raise ValueError(f"Neuron's leak_shift_max must be 1 to {MAX_SHIFT}, not "
                             f"{self.leak_shift_max!r}")
        if self.saturation is not None and not self.z_max <= self.saturation < math.inf:
            raise ValueError(f"Neuron's saturation must be at least z_max, {self.z_max}, not "
                             f"{self.saturation!r}: nothing would count as much")
        if self.saturation is not None and not abs(self.v_init) <= self.saturation:
            raise ValueError(f"Neuron's v_init must be within its saturation of "
                             f"{self.saturation!r}, not {self.v_init!r}")
        if self.learn_leak and self.leak not in self.leaks:
            raise ValueError(f"A trained leak must start from at most {self.leak_terms} different "
                             f"shifts of at most {self.leak_shift_max}, the smallest first, not "
                             f"{self.leak!r}")
        if self.rate_gradient and (self.leak or self.learn_leak or self.reset is not Reset.SOFT
                                   or self.saturation is not None):
            raise ValueError("The rate gradient needs neurons with a soft reset, without leak and "
                             "without saturation")

    @property
    def levels(self) -> list[int]:
        """The counts that a spike can have, without 0."""
        return [k for k in range(-self.z_max if self.signed else 1, self.z_max + 1) if k]

    @property
    def leaks(self) -> list[tuple[int, ...]]:
        """The leaks that can be trained, without two shifts that are as one or leave nothing."""
        shifts = range(1, self.leak_shift_max + 1)
        return [leak for terms in range(self.leak_terms + 1)
                for leak in itertools.combinations(shifts, terms)]

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


def nearest_leak(factor: float, settings: NeuronSettings) -> tuple[int, ...]:
    """Return the shifts, of those that may be trained, that leave nearest to `factor`.

    Of two that are as near the one that comes first in `NeuronSettings.leaks`.
    """
    return min(settings.leaks, key=lambda leak: abs(leak_factor(leak) - factor))


def step(v: torch.Tensor, current: torch.Tensor, threshold: torch.Tensor, settings: NeuronSettings,
         leak: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Advance neurons by one time step.

    Parameters
    ----------
    v, current : float (..., neurons)
    threshold : float, broadcastable
    leak : float scalar, optional
        What remains of the membrane, if not what the settings say.

    Returns
    -------
    spikes, v
        Counts, and the membrane after the reset.
    """
    v = (leak_factor(settings.leak) if leak is None else leak) * v + current
    if settings.saturation is not None:
        limit = settings.saturation * threshold.detach()
        v = torch.where(v.abs() < limit, v, torch.clamp(v.detach(), -limit, limit))
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
    def forward(ctx, current, threshold, trained_leak, steps, settings):
        static = current.dim() == 2
        leak = leak_factor(settings.leak) if trained_leak is None else trained_leak.item()
        soft = settings.reset is Reset.SOFT
        limit = None if settings.saturation is None else settings.saturation * threshold
        shape = current.shape if static else current.shape[1:]
        before = current.new_empty((steps, *shape))
        spikes = current.new_empty((steps, *shape))
        for part in _parts(current):
            v = settings.v_init * threshold
            for t in range(steps):
                drive = current[part] if static else current[t, part]
                stored = v if leak == 1 else v * leak
                membrane = torch.add(drive, stored, out=before[t, part])
                if limit is not None:
                    membrane.clamp_(-limit, limit)
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
        grad_leak = before.new_zeros(()) if ctx.needs_input_grad[2] else None
        for part in _parts(before):
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
                if settings.saturation is not None:
                    grad_v.mul_(before[t, part].abs() < settings.saturation * threshold)
                if static:
                    grad_current[part].add_(grad_v)
                else:
                    grad_current[t, part] = grad_v
                if grad_leak is not None:
                    grad_leak += (grad_v * _stored(before, spikes, t, part, threshold,
                                                   settings)).sum()
                if ctx.leak != 1:
                    grad_v.mul_(ctx.leak)
            if grad_threshold is not None:
                grad_threshold[part].add_(grad_v, alpha=settings.v_init)
        if grad_threshold is not None:
            grad_threshold = grad_threshold.sum_to_size(threshold.shape)
        return grad_current, grad_threshold, grad_leak, None, None


def _stored(before: torch.Tensor, spikes: torch.Tensor, t: int, part: slice,
            threshold: torch.Tensor, settings: NeuronSettings) -> torch.Tensor:
    """Return the membranes of some samples that step `t` starts from."""
    if t == 0:
        return settings.v_init * threshold
    v, fired = before[t - 1, part], spikes[t - 1, part]
    return v - fired * threshold if settings.reset is Reset.SOFT else v * (fired == 0)


class _RateRun(torch.autograd.Function):
    """All steps of a layer of neurons without leak, differentiated by their firing rates.

    Forward they spike. Backward the mean of their spikes is taken for that of their currents, in
    thresholds, clamped to what can be fired: ``rate = clamp(mean(I) / threshold, 0, z_max)``. For
    z_max = 1 that is DSR as its authors' code has it, whose spikes are as high as the threshold;
    here that height is in the weights behind. Counts and signs are ours.
    """

    @staticmethod
    def forward(ctx, current, threshold, steps, settings):
        static = current.dim() == 2
        ctx.save_for_backward(current if static else current.mean(0), threshold)
        ctx.steps, ctx.static, ctx.settings = steps, static, settings
        return _Run.apply(current, threshold, None, steps, settings)

    @staticmethod
    def backward(ctx, *grad_outputs):
        mean, threshold = ctx.saved_tensors
        highest = ctx.settings.z_max * threshold
        lowest = -highest if ctx.settings.signed else torch.zeros_like(highest)
        inside = (mean >= lowest) & (mean <= highest)
        grad_mean = grad_outputs[0].sum(0) * inside / threshold
        grad_threshold = None
        if ctx.needs_input_grad[1]:
            grad_threshold = -(grad_mean * mean / threshold).sum_to_size(threshold.shape)
        if ctx.static:
            return grad_mean, grad_threshold, None, None
        shape = (ctx.steps, *grad_mean.shape)
        return (grad_mean / ctx.steps).expand(shape), grad_threshold, None, None


def _through(v: torch.Tensor, grad: torch.Tensor, threshold: torch.Tensor,
             settings: NeuronSettings) -> list[torch.Tensor]:
    """Return what passes from spikes to membranes at each level, or at all of them together."""
    if settings.joined:
        low, high = (settings.threshold * (end - 0.5) for end in (1, settings.z_max + 1))
        return [v.clamp(low, high).eq_(v).mul_(grad).div_(settings.width)]
    return [derivative(v - k * threshold, settings.surrogate, settings.width).mul_(grad)
            for k in settings.levels]


def _parts(array: torch.Tensor) -> list[slice]:
    """Cut (..., samples, neurons) into slices of samples that fit in a CPU's cache."""
    samples, neurons = array.shape[-2:]
    size = max(CACHED // neurons, 1) if array.device.type == "cpu" else max(samples, 1)
    return [slice(start, start + size) for start in range(0, samples, size)]


def run(current: torch.Tensor, threshold: torch.Tensor, steps: int, settings: NeuronSettings,
        leak: torch.Tensor | None = None) -> torch.Tensor:
    """Run a layer of neurons from its initial state over all time steps.

    Parameters
    ----------
    current : float (steps, samples, neurons), or (samples, neurons)
        Input of each step; without the first axis, the same at every step.
    threshold : float, broadcastable to (samples, neurons)
    steps : int
    leak : float scalar, optional
        What remains of a membrane after a step, if not what the settings say; differentiable.

    Returns
    -------
    spikes : float (steps, samples, neurons)
        Counts.
    """
    if settings.rate_gradient:
        return _RateRun.apply(current, threshold, steps, settings)
    return _Run.apply(current, threshold, leak, steps, settings)
