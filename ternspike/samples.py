"""Samples for a network: from the data set that it was trained on, or from another one."""

import math
from dataclasses import dataclass

import numpy as np

from model.data import Coding, DataError, Dataset, encode
from model.network import InputCoding, IntegerNetwork

__all__ = ["Samples", "coding_of", "test_samples"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Labelled test samples, as they are and as the network takes them.

    Parameters
    ----------
    dataset
        The name of the data set.
    images
        uint8 (N, ...): as stored.
    labels
        int64 (N,).
    inputs
        uint8, or int8 if they may be below 0, (N, inputs) static, otherwise (N, T, inputs).
    available
        Samples of the whole test set.
    """

    dataset: str
    images: np.ndarray
    labels: np.ndarray
    inputs: np.ndarray
    available: int

    def __len__(self) -> int:
        return len(self.labels)


def coding_of(network: IntegerNetwork, dataset: Dataset) -> Coding:
    """Return how samples of a data set become the network's input, static or spikes.

    Spikes are the data's own if a sample has the network's time steps as its first axis and only
    0 and 1 in it; otherwise they are drawn.
    """
    if network.input is InputCoding.STATIC:
        return Coding.STATIC
    events = (len(dataset.shape) >= 2 and dataset.shape[0] == network.timesteps
              and dataset.test_x.max() <= 1)
    return Coding.EVENTS if events else Coding.RATE


def test_samples(
    network: IntegerNetwork, dataset: Dataset, count: int | None = None, seed: int = 1,
) -> Samples:
    """Return the first ``count`` samples of the test set, or all.

    Parameters
    ----------
    seed
        Of the spikes of a rate-coded input.

    Raises
    ------
    DataError
        If the samples are not of the network's shape, or fewer than wanted.

    Notes
    -----
    A network that takes values of each step reads them from the first axis of a sample.
    """
    steps = network.input is InputCoding.SAMPLES
    coding = Coding.STATIC if steps else coding_of(network, dataset)
    shape = dataset.shape[1:] if steps or coding is Coding.EVENTS else dataset.shape
    if steps and dataset.shape[:1] != (network.timesteps,):
        raise DataError(f"{dataset.name}: samples have the shape {dataset.shape}, but the network "
                        f"takes values of {network.timesteps} steps")
    if not _fits(shape, network):
        raise DataError(f"{dataset.name}: samples have {math.prod(shape)} values {shape}, but the "
                        f"network takes {network.inputs} inputs{_map(network)}")
    if dataset.classes > network.outputs:
        raise DataError(f"{dataset.name}: {dataset.classes} classes, but the network tells "
                        f"{network.outputs} apart")
    available = len(dataset.test_y)
    if count is not None and not 1 <= count <= available:
        raise DataError(f"{dataset.name}: {count} test samples are wanted, 1..{available} exist")
    images, labels = dataset.test_x[:count], dataset.test_y[:count]
    inputs = (images.reshape(len(images), network.timesteps, -1) if steps
              else encode(images, coding, network.timesteps, seed=seed) >> _input_shift(network))
    return Samples(dataset.name, images, labels, inputs, available)


def _input_shift(network: IntegerNetwork) -> int:
    """Return how many low bits of 8-bit data the network was trained without, by its metadata."""
    text = network.metadata.get("input_shift", "0")
    if text not in map(str, range(8)):
        raise DataError(f"The network's metadata have input_shift {text!r}, expected 0..7")
    return int(text)


def _fits(shape: tuple[int, ...], network: IntegerNetwork) -> bool:
    """Return whether samples are the network's map, or as many values as its vector takes."""
    if network.shape(-1)[1:] == (1, 1):
        return math.prod(shape) == network.inputs
    return (1,) * (3 - len(shape)) + shape == network.shape(-1)


def _map(network: IntegerNetwork) -> str:
    """Return what to add of a network that takes maps."""
    shape = network.shape(-1)
    return "" if shape[1:] == (1, 1) else f" {shape}"
