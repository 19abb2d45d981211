"""Surrogate gradients: what backpropagation sees in place of the step function's derivative.

Every curve has unit area and falls off symmetrically from the threshold; `width` is in the units of
the membrane. ``TRIANGLE`` with width 1 is what the code of SpQuant-SNN, Q-SNN and the TET family
uses.
"""

from __future__ import annotations

import enum
import math

import torch

__all__ = ["Surrogate", "derivative", "spike"]


class Surrogate(enum.Enum):
    """Shape of the surrogate derivative, for ``x = v - threshold`` and width g."""

    TRIANGLE = "triangle"      #: max(0, g - abs(x)) / g^2
    RECTANGLE = "rectangle"    #: 1 / g where abs(x) < g / 2
    SIGMOID = "sigmoid"        #: s (1 - s) / g with s = 1 / (1 + exp(-x / g))
    ATAN = "atan"              #: 1 / (g (1 + (pi x / g)^2))


def derivative(x: torch.Tensor, surrogate: Surrogate, width: float) -> torch.Tensor:
    """Return the surrogate derivative of the spike at distance `x` from the threshold."""
    match surrogate:
        case Surrogate.TRIANGLE:
            return x.abs().neg_().add_(width).clamp_(min=0).mul_(1 / width**2)
        case Surrogate.RECTANGLE:
            return (x.abs() < width / 2).to(x.dtype).div_(width)
        case Surrogate.SIGMOID:
            s = torch.sigmoid(x / width)
            return s * (1 - s) / width
        case Surrogate.ATAN:
            return x.mul(math.pi / width).square_().add_(1).mul_(width).reciprocal_()


class _Spike(torch.autograd.Function):
    """Heaviside step forward, surrogate derivative backward."""

    @staticmethod
    def forward(ctx, x, surrogate, width):
        ctx.save_for_backward(x)
        ctx.surrogate, ctx.width = surrogate, width
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, *grad_outputs):
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * derivative(x, ctx.surrogate, ctx.width), None, None


def spike(x: torch.Tensor, surrogate: Surrogate = Surrogate.TRIANGLE,
          width: float = 1.0) -> torch.Tensor:
    """Return 1 where ``x >= 0``, else 0, differentiable through the surrogate."""
    return _Spike.apply(x, surrogate, width)
