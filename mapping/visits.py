"""The visits of the neuron units that a layer takes, in order, and whose neurons they are."""
from dataclasses import dataclass

import numpy as np

from hw.parameters import CoreParameters
from mapping.plan import LayerPlan

__all__ = ["Visits", "visits_of"]


@dataclass(frozen=True, eq=False)
class Visits:
    """The visits of one layer and sample, in the order of the program.

    Attributes
    ----------
    tile, step, level, group : :class:`numpy.ndarray`
        int64 ``(visits,)``: which tile, step, plane of the output in the step, and which lanes.
    neuron : :class:`numpy.ndarray`
        int64 ``(visits, neurons)``: the neuron at each unit, numbered by channel, line and pixel of
        the map before pooling; -1 for none.
    """

    tile: np.ndarray
    step: np.ndarray
    level: np.ndarray
    group: np.ndarray
    neuron: np.ndarray


def visits_of(layer: LayerPlan, fired_shape: tuple[int, int, int], p: CoreParameters) -> Visits:
    """Return the visits of a layer.

    Parameters
    ----------
    layer
        Where it lies.
    fired_shape
        Channels, lines and pixels of its neurons.
    p
        The core.
    """
    walk, (_, height, width) = layer.walk, fired_shape
    pool_y, pool_x = walk.pool
    parts = []
    for tile in range(walk.tiles):
        groups = layer.last_visits if tile == walk.tiles - 1 else p.tile_groups
        y, x, down, across, step, level, group = (
            each.ravel() for each in np.indices(
                (walk.lines, walk.places, pool_y, pool_x, layer.steps, len(layer.levels), groups)))
        lane = group[:, None] * p.neurons + np.arange(p.neurons)
        channel = walk.channel[tile][lane]
        pixel = x[:, None] * walk.pixels + walk.pixel[tile][lane]
        line = (y * pool_y + down)[:, None]
        neuron = (channel * height + line) * width + pixel * pool_x + across[:, None]
        parts.append((np.full(len(step), tile), step, level, group,
                      np.where((channel < 0) | (pixel * pool_x >= width), -1, neuron)))
    return Visits(*(np.concatenate(each) for each in zip(*parts, strict=True)))
