"""Samples for a network: from the data set that it was trained on, or from another one."""

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
        uint8 (N, inputs) static, or (N, T, inputs) of 0 and 1.
    """

    dataset: str
    images: np.ndarray
    labels: np.ndarray
    inputs: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def coding_of(network: IntegerNetwork, dataset: Dataset) -> Coding:
    """Return how samples of a data set become the network's input.

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
    """
    coding = coding_of(network, dataset)
    if dataset.inputs(coding) != network.inputs:
        raise DataError(f"{dataset.name}: samples have {dataset.inputs(coding)} values "
                        f"{dataset.shape}, but the network takes {network.inputs} inputs")
    if dataset.classes > network.outputs:
        raise DataError(f"{dataset.name}: {dataset.classes} classes, but the network tells "
                        f"{network.outputs} apart")
    available = len(dataset.test_y)
    if count is not None and not 1 <= count <= available:
        raise DataError(f"{dataset.name}: {count} test samples are wanted, 1..{available} exist")
    images, labels = dataset.test_x[:count], dataset.test_y[:count]
    return Samples(dataset.name, images, labels,
                   encode(images, coding, network.timesteps, seed=seed))
