"""Recipes: everything that decides a training, in one immutable value, and the ones that ship."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from model.architecture import Architecture, ArchitectureError, parse
from model.calibrate import CalibrationSettings
from model.convert import ConversionSettings
from model.data import Coding, Dataset
from model.fold import FoldSettings
from model.layers import INPUT_BITS
from model.losses import LossSettings
from model.network import MAX_LEVELS, Merge, Readout, Reset
from model.neuron import NeuronSettings
from model.prune import PruningSettings
from model.quantise import QuantiserSettings, WeightSettings
from model.surrogate import Surrogate

__all__ = ["COUNTS", "RECIPES", "Recipe", "RecipeError", "Schedule"]

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
    dataset : str
        The data set that it is for, as `model.data.load` calls it.
    arch : str
        The layers, as ``784-256-10``: see `model.architecture`.
    timesteps : int
    teacher, student : Schedule
        Of the full-precision and of the ternary network.
    coding, readout, readout_leak, neuron, quantiser, calibration, loss, fold
        See the classes. A quantiser that is None leaves the weights of the second network in full
        precision: what the first one would be, trained as long. Both networks have the same neurons
        and the same loss, to which the calibration adds what the teacher teaches.
    conversion : ConversionSettings, optional
        The full-precision network is an ANN, trained as `teacher` says, and then converted; not
        given: it is trained spiking. For neurons without leak, with a soft reset and spikes from 0,
        in layers that see one layer each.
    teacher_timesteps : int, optional
        Steps of the full-precision network, a multiple of `timesteps`, with static inputs; as many
        if not given.
    batch : int
        Samples a step of the optimiser.
    shift : int
        Augmentation: images move by up to so many pixels, both ways, each time they are seen; of
        events, those of all steps alike.
    mirror : bool
        Augmentation: half of the images are mirrored left to right.
    bfloat16 : bool
        Whether training computes currents and membranes in 16 bits: faster for convolutions where
        the processor can do it. Weights, folding and accuracies stay in 32 bits.
    pruning : tuple of PruningSettings
        What the ternary network loses after its training, one after the other; then all neurons
        that change nothing vanish from the integer network.
    """

    dataset: str
    arch: str
    timesteps: int
    teacher: Schedule
    student: Schedule
    coding: Coding = Coding.STATIC
    neuron: NeuronSettings = NeuronSettings()
    readout: Readout = Readout.LAST
    readout_leak: tuple[int, ...] = ()
    quantiser: WeightSettings | None = QuantiserSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    loss: LossSettings = LossSettings()
    conversion: ConversionSettings | None = None
    teacher_timesteps: int | None = None
    fold: FoldSettings = field(default_factory=FoldSettings)
    batch: int = 256
    shift: int = 0
    mirror: bool = False
    bfloat16: bool = False
    pruning: tuple[PruningSettings, ...] = ()

    def __post_init__(self):
        try:
            merges = self.architecture.merges
        except ArchitectureError as error:
            raise RecipeError(str(error)) from None
        binary = self.neuron.z_max == 1 and not self.neuron.signed
        for merge in merges:
            if merge.merge is not Merge.ADD and not binary:
                raise RecipeError(f"Architecture {self.arch} merges by {merge.merge.value}, which "
                                  f"takes binary spikes, not counts of {self.neuron.levels}")
            if (merge.levels or 1) > MAX_LEVELS:
                raise RecipeError(f"Architecture {self.arch} merges into counts of up to "
                                  f"{merge.levels}, more than {MAX_LEVELS}")
        if not 1 <= self.timesteps <= MAX_TIMESTEPS:
            raise RecipeError(f"Time steps must be 1 to {MAX_TIMESTEPS}, not {self.timesteps!r}")
        steps = self.steps_of_teacher
        if not self.timesteps <= steps <= MAX_TIMESTEPS or steps % self.timesteps:
            raise RecipeError(f"The teacher's time steps must be a multiple of {self.timesteps} up "
                              f"to {MAX_TIMESTEPS}, not {steps!r}")
        if steps != self.timesteps and self.coding is not Coding.STATIC:
            raise RecipeError(f"A teacher of {steps} steps and a student of {self.timesteps} can't "
                              f"share {self.coding.value} inputs, only static ones")
        if self.coding is not Coding.STATIC and any(each.input_bits < INPUT_BITS
                                                    for each in self.pruning):
            raise RecipeError(f"Pruning's input_bits are those of static inputs, not of "
                              f"{self.coding.value}")
        if self.conversion is not None:
            self._check_conversion()
        if self.batch < 2:
            raise RecipeError(f"Batch must be at least 2, not {self.batch!r}")
        if self.shift < 0:
            raise RecipeError(f"Shift must not be negative, not {self.shift!r}")

    @property
    def architecture(self) -> Architecture:
        """What `arch` says."""
        return parse(self.arch)

    @property
    def steps_of_teacher(self) -> int:
        """Steps of the full-precision network."""
        return self.timesteps if self.teacher_timesteps is None else self.teacher_timesteps

    def _check_conversion(self) -> None:
        """Raise `RecipeError` unless the rates of the neurons are those of an ANN."""
        neuron = self.neuron
        if neuron.leak or neuron.learn_leak or neuron.signed or neuron.reset is not Reset.SOFT:
            raise RecipeError("A conversion needs neurons without leak, with a soft reset and "
                              "spikes from 0: only their rates are those of an ANN")
        for number, layer in enumerate(self.architecture.layers):
            if len(layer.sources) > 1:
                raise RecipeError(f"Architecture {self.arch} can't be converted: layer {number} "
                                  f"sees layers {layer.sources}, whose rates have a scale each")

    def check(self, dataset: Dataset) -> None:
        """Raise `RecipeError` unless the recipe fits the data set."""
        architecture, classes = self.architecture, dataset.classes
        shape = dataset.shape[1:] if self.coding is Coding.EVENTS else dataset.shape
        if architecture.inputs != math.prod(shape):
            raise RecipeError(f"Architecture {self.arch} has {architecture.inputs} inputs, but "
                              f"samples of {dataset.name} have {math.prod(shape)} values "
                              f"{dataset.shape}")
        if not architecture.takes(shape):
            raise RecipeError(f"Architecture {self.arch} takes maps {architecture.shape}, but "
                              f"samples of {dataset.name} have shape {dataset.shape}")
        if architecture.classes != classes:
            raise RecipeError(f"Architecture {self.arch} has {architecture.classes} outputs, but "
                              f"{dataset.name} has {classes} classes")
        if len(dataset.train_x) < 2:
            raise RecipeError(f"{dataset.name} has one training sample; batch norm needs two")
        if self.coding is Coding.EVENTS and dataset.shape[0] != self.timesteps:
            raise RecipeError(f"The recipe has {self.timesteps} time steps, but the events of "
                              f"{dataset.name} have {dataset.shape[0]}")
        if (self.shift or self.mirror) and len(shape) not in (2, 3):
            raise RecipeError(f"Shifting and mirroring need images (height, width) or (channels, "
                              f"height, width), but samples of {dataset.name} have shape "
                              f"{dataset.shape}")


#: Neurons of convolutional networks of one step: all is in the counts, and batch norm alone decides
#: how much of a current a threshold is. Their surrogate is the fastest.
COUNTS = NeuronSettings(z_max=3, learn_threshold=False, surrogate=Surrogate.RECTANGLE)

#: A loss that does not ask for certainty.
SMOOTHED = LossSettings(label_smoothing=0.1)

#: The shipped recipes: one named after each data set, and the convolutional ones.
RECIPES = {
    "digits": Recipe(
        dataset="digits", arch="64-256-256-10", timesteps=4, batch=128, loss=SMOOTHED,
        teacher=Schedule(epochs=60, rate=6e-3, decay=0.1),
        student=Schedule(epochs=60, rate=6e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    ),
    "mnist": Recipe(
        dataset="mnist", arch="784-256-10", timesteps=4, batch=512, shift=2, loss=SMOOTHED,
        teacher=Schedule(epochs=20, rate=6e-3, decay=0.1),
        student=Schedule(epochs=60, rate=6e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    ),
    "fashion-mnist": Recipe(
        dataset="fashion-mnist", arch="784-256-10", timesteps=4, batch=512, shift=1, mirror=True,
        loss=SMOOTHED,
        teacher=Schedule(epochs=20, rate=6e-3, decay=0.1),
        student=Schedule(epochs=60, rate=6e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    ),
    "mnist-conv": Recipe(
        dataset="mnist", arch="1x28x28-16C5S2-64C3S2-64C3S2-10", timesteps=1, neuron=COUNTS,
        shift=2, loss=SMOOTHED,
        teacher=Schedule(epochs=8, rate=5e-3, decay=0.1),
        student=Schedule(epochs=16, rate=5e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    ),
    "cifar10-conv": Recipe(
        dataset="cifar10", arch="3x32x32-32C3-64C3S2-64C3-128C3S2-128C3-256C3S2-10", timesteps=1,
        neuron=COUNTS, batch=128, shift=2, mirror=True, bfloat16=True,
        teacher=Schedule(epochs=14, rate=3e-3, decay=0.05),
        student=Schedule(epochs=14, rate=3e-3, decay=0.05),
        calibration=CalibrationSettings(beta=0, distillation=1.0),
        fold=FoldSettings(samples=1000),
    ),
    "fashion-conv": Recipe(
        dataset="fashion-mnist", arch="1x28x28-32C5S2-64C3S2-128C3S2-10", timesteps=1,
        neuron=COUNTS, shift=1, mirror=True, loss=SMOOTHED,
        teacher=Schedule(epochs=8, rate=5e-3, decay=0.1),
        student=Schedule(epochs=20, rate=5e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    ),
    "salinas-a": Recipe(
        dataset="salinas-a", arch="28x7x7-8C3D7/3-64C3S2-64C3S2-6", timesteps=1, neuron=COUNTS,
        batch=64, mirror=True,
        teacher=Schedule(epochs=15, rate=3e-3, decay=0.1),
        student=Schedule(epochs=30, rate=3e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    ),
    "fsdd": Recipe(
        dataset="fsdd", arch="24x1x32-64C1x5S1x2-128C1x3S1x2-10", timesteps=1, neuron=COUNTS,
        batch=64, loss=SMOOTHED,
        teacher=Schedule(epochs=16, rate=5e-3, decay=0.1),
        student=Schedule(epochs=32, rate=5e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    ),
    "nmnist": Recipe(
        dataset="nmnist", arch="2x34x34-8C5S2P2-32C3S2-64C3S2-10", timesteps=3,
        coding=Coding.EVENTS, batch=50, shift=1, loss=SMOOTHED,
        teacher=Schedule(epochs=20, rate=5e-3, decay=0.1),
        student=Schedule(epochs=30, rate=5e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=1000),
    ),
}

#: The same network with binary spikes over four steps, to be held against counts in one.
RECIPES["mnist-conv-t4"] = replace(RECIPES["mnist-conv"], timesteps=4,
                                   neuron=replace(COUNTS, z_max=1))

#: Thirteen layers, trained once with each merge: ``mnist-residual-or`` and so on. Sums reach 3, so
#: that of 2 at most are cut, or wait.
for merge in ("add2", "barrier2", "or", "iand"):
    RECIPES[f"mnist-residual-{merge}"] = Recipe(
        dataset="mnist", arch=f"1x28x28-16C5S2-R32S2({merge})-R64S2({merge})-R64({merge})-10",
        timesteps=2, shift=2, loss=SMOOTHED,
        teacher=Schedule(epochs=3, rate=5e-3, decay=0.1),
        student=Schedule(epochs=5, rate=5e-3, decay=0.1),
        calibration=CalibrationSettings(beta=0.1, distillation=0.1),
        fold=FoldSettings(samples=2000),
    )
