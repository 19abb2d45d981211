"""Samples as a training sees them: moved, mirrored and encoded anew each time."""

import torch
import torch.nn.functional as F

from model.data import Coding, encode
from model.layers import as_inputs
from model.recipes import Recipe

__all__ = ["Augmenter", "shifted"]


class Augmenter:
    """Turns stored samples into what a network trains on.

    Parameters
    ----------
    generator : torch.Generator
        The random stream that it draws from.
    """

    def __init__(self, recipe: Recipe, generator: torch.Generator):
        self.recipe = recipe
        self.generator = generator

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        """Return network inputs for samples, uint8 (samples, ...) on the CPU."""
        recipe = self.recipe
        if recipe.shift:
            samples = shifted(samples, recipe.shift, self.generator)
        if recipe.mirror:
            chosen = torch.rand(len(samples), generator=self.generator) < 0.5
            flags = chosen.view(-1, *[1] * (samples.dim() - 1))
            samples = torch.where(flags, samples.flip(-1), samples)
        seed = 0
        if recipe.coding is Coding.RATE:
            seed = int(torch.randint(1 << 31, (), generator=self.generator))
        return as_inputs(encode(samples.numpy(), recipe.coding, recipe.timesteps, seed=seed))


def shifted(images: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Return images (samples, ..., height, width), each moved by up to `most` pixels.

    What comes in at the border is 0.
    """
    samples, *_, height, width = images.shape
    maps = images.view(samples, -1, height, width)
    windows = F.pad(maps, (most,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    down, right = torch.randint(2 * most + 1, (2, samples), generator=generator)
    return windows[torch.arange(samples), :, down, right].view(images.shape)
