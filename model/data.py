"""Data sets as plain 8-bit arrays: those known by name, ``.npz`` files and arrays.

Nothing is downloaded. The digits are the real 8x8 images inside scikit-learn; the other sets are
read from files, see `model.data_files`. Every problem with one is a `DataError` that names it.
"""

from __future__ import annotations

import enum
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data_files import (
    DataError,
    read_arrays,
    read_cifar10,
    read_fsdd,
    read_idx_set,
    read_nmnist,
    read_salinas_a,
)

__all__ = ["Coding", "DataError", "Dataset", "encode", "load"]

#: Where the named sets lie in the data folder, and how many classes they have.
PLACES = {"mnist": ("MNIST/raw", 10), "fashion-mnist": ("FashionMNIST/raw", 10),
          "cifar10": ("cifar-10-batches-bin", 10), "salinas-a": ("salinas_a.npz", 6),
          "fsdd": ("fsdd_8khz_mulaw.npz", 10), "nmnist": ("nmnist_1000_100.npz", 10)}
ARRAYS = ("train_x", "train_y", "test_x", "test_y")
MAX_CLASSES = 1 << 16


class Coding(enum.Enum):
    """How samples become the network's input."""

    STATIC = "static"      #: the 8-bit values themselves, the same at every step (direct coding)
    RATE = "rate"          #: a Bernoulli spike a step, with probability value / 255
    EVENTS = "events"      #: the data are binary already: (samples, steps, ...)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled training and test set.

    Also the way to train on your own arrays: ``Dataset("mine", train_x, train_y, test_x, test_y)``.

    Parameters
    ----------
    name : str
    train_x, test_x : array of integers or booleans (samples, ...), values 0..255
        Stored as read-only ``uint8``.
    train_y, test_y : array of integers (samples,), values 0..classes-1
        Stored as read-only ``int64``.
    classes : int, optional
        Number of classes; the largest training label + 1 if not given.

    Raises
    ------
    DataError
        If an array has a wrong type, shape or range; the message names the array.
    """

    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: int = 0

    def __post_init__(self):
        for part in ("train", "test"):
            values = _samples(getattr(self, f"{part}_x"), f"{self.name}: {part}_x")
            labels = _labels(getattr(self, f"{part}_y"), f"{self.name}: {part}_y", len(values))
            object.__setattr__(self, f"{part}_x", values)
            object.__setattr__(self, f"{part}_y", labels)
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            raise DataError(f"{self.name}: samples of test_x have shape {self.test_x.shape[1:]}, "
                            f"those of train_x {self.train_x.shape[1:]}")
        if not self.classes:
            object.__setattr__(self, "classes", int(self.train_y.max()) + 1)
        if not 2 <= self.classes <= MAX_CLASSES:
            raise DataError(f"{self.name}: {self.classes} classes; 2 to {MAX_CLASSES} are possible")
        for part in ("train", "test"):
            labels = getattr(self, f"{part}_y")
            if labels.min() < 0 or labels.max() >= self.classes:
                raise DataError(f"{self.name}: {part}_y has labels {labels.min()}..{labels.max()}, "
                                f"expected 0..{self.classes - 1}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.train_x.shape[1:]

    def inputs(self, coding: Coding = Coding.STATIC) -> int:
        """Return the inputs of a dense network: values of a sample, or of a step of events."""
        return math.prod(self.shape[1:] if coding is Coding.EVENTS else self.shape)


def encode(samples: np.ndarray, coding: Coding, timesteps: int, *, seed: int = 0) -> np.ndarray:
    """Turn samples into what an `IntegerNetwork` takes.

    Parameters
    ----------
    samples : uint8 (samples, ...)
    seed : int
        Of the spikes of `Coding.RATE`: the same seed and samples give the same spikes.

    Returns
    -------
    uint8
        (samples, inputs) values 0..255 for `Coding.STATIC`, else (samples, timesteps, inputs) 0/1.

    Raises
    ------
    DataError
        If events are not binary or do not have the right number of steps.
    """
    if coding is Coding.STATIC:
        return samples.reshape(len(samples), -1)
    if coding is Coding.RATE:
        flat = samples.reshape(len(samples), 1, -1)
        draws = np.random.default_rng(seed).integers(
            0, 255, (len(flat), timesteps, flat.shape[2]), dtype=np.uint8)
        return (draws < flat).astype(np.uint8)
    if samples.ndim < 3 or samples.shape[1] != timesteps:
        raise DataError(f"Events of {timesteps} steps must have shape (samples, {timesteps}, ...), "
                        f"not {samples.shape}")
    if samples.max() > 1:
        raise DataError(f"Events must be 0 or 1, not up to {samples.max()}")
    return samples.reshape(len(samples), timesteps, -1)


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : str
        ``digits``, ``mnist``, ``fashion-mnist``, ``cifar10``, ``salinas-a``, ``fsdd`` (spoken
        digits), ``nmnist`` (events), or the path of an ``.npz`` file with the arrays ``train_x,
        train_y, test_x, test_y``.
    data_dir : path, optional
        Folder that holds ``MNIST/raw`` and the like; default: the environment variable
        ``TERNSPIKE_DATA``. Not needed for the digits and ``.npz`` files.

    Raises
    ------
    DataError
        Naming the file (or name) and the problem.
    """
    if name == "digits":
        return _digits()
    if name.endswith(".npz"):
        train_x, train_y, test_x, test_y = read_arrays(Path(name), ARRAYS)
        return Dataset(Path(name).stem, train_x, train_y, test_x, test_y)
    if name not in PLACES:
        raise DataError(f"Unknown data set {name!r}; known: digits, {', '.join(PLACES)}, "
                        f"or a path that ends in .npz")
    place, classes = PLACES[name]
    folder = data_dir or os.environ.get("TERNSPIKE_DATA")
    if not folder:
        raise DataError(f"Data set {name!r} needs the folder that holds {place}: "
                        f"give --data DIR or set TERNSPIKE_DATA")
    match name:
        case "cifar10":
            arrays = read_cifar10(Path(folder))
        case "salinas-a":
            arrays = read_salinas_a(Path(folder))
        case "fsdd":
            arrays = read_fsdd(Path(folder))
        case "nmnist":
            arrays = read_nmnist(Path(folder))
        case _:
            arrays = read_idx_set(Path(folder) / place)
    return Dataset(name, *arrays, classes=classes)


def _samples(values: object, what: str) -> np.ndarray:
    """Check samples and return them as read-only uint8."""
    array = np.asarray(values)
    if array.dtype.kind not in "iub":
        raise DataError(f"{what} must hold integers 0..255, not {array.dtype}")
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"{what} must have shape (samples, ...) and not be empty, "
                        f"not {array.shape}")
    if array.dtype != np.uint8:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise DataError(f"{what} has values {low}..{high}, expected 0..255")
    return _frozen(array, np.uint8)


def _labels(values: object, what: str, samples: int) -> np.ndarray:
    """Check labels and return them as read-only int64."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise DataError(f"{what} must hold integer labels, not {array.dtype}")
    if array.shape != (samples,):
        raise DataError(f"{what} must have shape ({samples},), a label a sample, "
                        f"not {array.shape}")
    return _frozen(array, np.int64)


def _frozen(array: np.ndarray, dtype: type) -> np.ndarray:
    """Return a contiguous, read-only copy."""
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def _digits() -> Dataset:
    """Return scikit-learn's 1797 digits; every fifth image, counted class by class, is a test one.

    The split is stratified and involves no random generator: 360 test images for ever.
    """
    from sklearn.datasets import load_digits

    values, labels = (np.asarray(part).astype(np.int64) for part in load_digits(return_X_y=True))
    images = (values * 255 // 16).astype(np.uint8).reshape(-1, 8, 8)
    order = np.argsort(labels, kind="stable")
    test = order[::5]
    train = np.setdiff1d(order, test)
    return Dataset("digits", images[train], labels[train], images[test], labels[test], classes=10)
