"""Recipes: everything that decides a training, in one immutable value, and the ones that ship."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from model.calibrate import CalibrationSettings
from model.data import Coding, Dataset
from model.fold import FoldSettings
from model.network import Readout
from model.neuron import NeuronSettings
from model.quantise import QuantiserSettings

__all__ = ["RECIPES", "Recipe", "RecipeError", "Schedule", "parse_arch"]

MAX_TIMESTEPS = 4096


class RecipeError(ValueError):
    """A recipe that can't be carried out, on its own or on a given data set."""


@dataclass(frozen=True)
class Schedule:
    """One training run: AdamW under a cosine learning rate with a short linear warm-up.

    Parameters
    ----------
    epochs : int
    rate : float
        Peak learning rate.
    decay : float
        Weight decay (of the weight matrices only).
    """

    epochs: int
    rate: float
    decay: float = 0.0

    def __post_init__(self):
        if self.epochs < 1:
            raise RecipeError(f"Epochs must be at least 1, not {self.epochs!r}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise RecipeError(f"Learning rate must be positive, not {self.rate!r}")
        if not self.decay >= 0:
            raise RecipeError(f"Weight decay must not be negative, not {self.decay!r}")


@dataclass(frozen=True)
class Recipe:
    """How to train a full-precision network, its ternary twin, and fold the latter to integers.

    Parameters
    ----------
    arch : str
        Sizes from input to classes, as ``784-256-10``.
    timesteps : int
    teacher, student : Schedule
        Of the full-precision and of the ternary network.
    coding, readout, readout_leak, neuron, quantiser, calibration, fold
        See the classes.
    batch : int
        Samples a step of the optimiser.
    label_smoothing : float
    shift : int
        Augmentation: images move by up to so many pixels, both ways, each time they are seen.
    mirror : bool
        Augmentation: half of the images are mirrored left to right.
    """

    arch: str
    timesteps: int
    teacher: Schedule
    student: Schedule
    coding: Coding = Coding.STATIC
    neuron: NeuronSettings = NeuronSettings()
    readout: Readout = Readout.LAST
    readout_leak: tuple[int, ...] = ()
    quantiser: QuantiserSettings = QuantiserSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    fold: FoldSettings = field(default_factory=FoldSettings)
    batch: int = 256
    label_smoothing: float = 0.0
    shift: int = 0
    mirror: bool = False

    def __post_init__(self):
        parse_arch(self.arch)
        if not 1 <= self.timesteps <= MAX_TIMESTEPS:
            raise RecipeError(f"Time steps must be 1 to {MAX_TIMESTEPS}, not {self.timesteps!r}")
        if self.batch < 2:
            raise RecipeError(f"Batch must be at least 2, not {self.batch!r}")
        if not 0 <= self.label_smoothing < 1:
            raise RecipeError(f"Label smoothing must be within 0..1, not {self.label_smoothing!r}")
        if self.shift < 0:
            raise RecipeError(f"Shift must not be negative, not {self.shift!r}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of `arch`."""
        return parse_arch(self.arch)

    def check(self, dataset: Dataset) -> None:
        """Raise `RecipeError` unless the recipe fits the data set."""
        inputs, classes = dataset.inputs(self.coding), dataset.classes
        if self.sizes[0] != inputs:
            raise RecipeError(f"Architecture {self.arch} has {self.sizes[0]} inputs, but samples "
                              f"of {dataset.name} have {inputs} values {dataset.shape}")
        if self.sizes[-1] != classes:
            raise RecipeError(f"Architecture {self.arch} has {self.sizes[-1]} outputs, but "
                              f"{dataset.name} has {classes} classes")
        if len(dataset.train_x) < 2:
            raise RecipeError(f"{dataset.name} has one training sample; batch norm needs two")
        if self.coding is Coding.EVENTS and dataset.shape[0] != self.timesteps:
            raise RecipeError(f"The recipe has {self.timesteps} time steps, but the events of "
                              f"{dataset.name} have {dataset.shape[0]}")
        if (self.shift or self.mirror) and len(dataset.shape) != 2:
            raise RecipeError(f"Shifting and mirroring need images (height, width), but samples "
                              f"of {dataset.name} have shape {dataset.shape}")


def parse_arch(arch: str) -> tuple[int, ...]:
    """Return the sizes of an architecture such as ``784-256-10``.

    Raises
    ------
    RecipeError
        If there are fewer than two sizes or one is not a positive integer.
    """
    parts = arch.split("-")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() and int(part) > 0
                                 for part in parts):
        raise RecipeError(f"Architecture must be positive sizes from input to classes, such as "
                          f"784-256-10, not {arch!r}")
    return tuple(int(part) for part in parts)


#: The shipped recipes, named after the data set that each is for.
RECIPES = {
    "digits": Recipe(
        arch="64-256-256-10", timesteps=4, batch=128, label_smoothing=0.1,
        teacher=Schedule(epochs=60, rate=6e-3, decay=0.1),
        student=Schedule(epochs=60, rate=6e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
    ),
    "mnist": Recipe(
        arch="784-256-10", timesteps=4, batch=512, shift=2, label_smoothing=0.1,
        teacher=Schedule(epochs=20, rate=6e-3, decay=0.1),
        student=Schedule(epochs=60, rate=6e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
    ),
    "fashion-mnist": Recipe(
        arch="784-256-10", timesteps=4, batch=512, shift=1, mirror=True, label_smoothing=0.1,
        teacher=Schedule(epochs=20, rate=6e-3, decay=0.1),
        student=Schedule(epochs=60, rate=6e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
    ),
}
