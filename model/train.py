"""Training: full-precision network, ternary twin, integer network.

The full-precision network is trained spiking, or as an ANN that is then converted.

`train` carries out a recipe. It writes no file and uses no global random state: a seed gives the
same result again on the same machine with the same number of threads.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model.augment import Augmenter
from model.checkpoint import Checkpoint
from model.convert import ConversionSettings, balance, make_analog, make_spiking
from model.data import Coding, Dataset, encode
from model.fold import FoldError, FoldReport, RoundingCost, fold, rounding_cost
from model.layers import SpikingNetwork, as_inputs
from model.losses import LossSettings, training_loss
from model.network import IntegerNetwork
from model.prune import PruningSettings, prune
from model.quantise import QuantiserSettings, WeightSettings, describe
from model.recipes import Recipe, RecipeError, Schedule
from model.shrink import shrink

__all__ = ["Compute", "ComputeError", "Progress", "TrainingResult", "convert", "fit", "predict",
           "prune_further", "spike_rate", "train", "train_ann", "train_models"]

WARMUP = 0.05           # share of a schedule over which the learning rate rises
EVALUATION_BATCH = 2000
RATE_BATCH = 1000
PULL = 4.0              # weight of the excess over the spikes that a pruning leaves
LEAST_BUDGET = 1e-6     # of spikes a neuron and step, of a network that has none to lose


class ComputeError(ValueError):
    """A way to compute that is not possible here."""


@dataclass(frozen=True)
class Compute:
    """Where and how a training is computed.

    Parameters
    ----------
    threads : int
        PyTorch's threads meanwhile. More than one help large layers on an idle machine, slow
        training down on a busy one, and change the rounding of sums, thus the result of a seed.
    device : str
        Where gradients are computed, as PyTorch calls it: ``cpu``, ``cuda``. Samples are augmented,
        and networks folded and measured, on the CPU.
    checkpoints : Path, optional
        A folder that keeps the state of each training (`model.checkpoint`) after each epoch: one
        that was stopped goes on from there to the same result, one that was done is not done again.

    Raises
    ------
    ComputeError
        If there are no threads, or no such device.
    """

    threads: int = 1
    device: str = "cpu"
    checkpoints: Path | None = None

    def __post_init__(self):
        if self.threads < 1:
            raise ComputeError(f"Threads must be at least 1, not {self.threads!r}")
        try:
            torch.zeros(1, device=self.device).item()
        # An assertion is what PyTorch has for a kind of device that it was built without.
        except (AssertionError, RuntimeError) as error:
            raise ComputeError(f"Device {self.device!r} can't be used: "
                               f"{str(error).splitlines()[0]}") from error


@dataclass(frozen=True)
class Progress:
    """Where a training is; given to the progress callback after every epoch."""

    stage: str          #: "float", "ANN", "converted", "ternary", "pruned weights" or "... neurons"
    epoch: int          #: epochs done in this stage
    epochs: int
    loss: float         #: mean training loss of the epoch


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a training made; accuracies are shares, 0..1, of the test set."""

    recipe: Recipe
    seed: int
    float_model: SpikingNetwork
    ternary_model: SpikingNetwork
    network: IntegerNetwork
    float_accuracy: float
    ternary_accuracy: float
    integer_accuracy: float
    fold_report: FoldReport         #: widths, and the cost of rounding on training samples
    rounding: RoundingCost          #: the cost of rounding on the test set


@torch.no_grad()
def predict(model: SpikingNetwork, encoded: np.ndarray) -> np.ndarray:
    """Return the classes int64 (samples,) of encoded samples, in inference mode."""
    model.eval()
    batches = range(0, len(encoded), EVALUATION_BATCH)
    classes = [model(as_inputs(encoded[start:start + EVALUATION_BATCH])).logits.argmax(1)
               for start in batches]
    return torch.cat(classes).numpy()


@torch.no_grad()
def spike_rate(model: SpikingNetwork, encoded: np.ndarray) -> float:
    """Return the spikes a neuron and step in inference mode, counts by their size; 0 without any.

    Parameters
    ----------
    encoded : uint8
        Samples, encoded by `model.data.encode`; at least one.
    """
    model.eval()
    total, values = 0.0, 0
    for start in range(0, len(encoded), RATE_BATCH):
        for spikes in model(as_inputs(encoded[start:start + RATE_BATCH])).spikes:
            total += float(spikes.abs().sum())
            values += spikes.numel()
    return total / max(values, 1)


def fit(model: SpikingNetwork, dataset: Dataset, recipe: Recipe, schedule: Schedule, *,
        seed: int, teacher: SpikingNetwork | None = None, compute: Compute = Compute(),
        progress: Callable[[int, float], None] | None = None) -> None:
    """Train a network in place; it and its teacher are on the CPU, before and after.

    Parameters
    ----------
    teacher : SpikingNetwork, optional
        Frozen network for `Recipe.calibration`; none: the task's loss alone.
    progress : callable, optional
        Called after every epoch with the epochs done and the mean loss.

    Raises
    ------
    CheckpointError
        If a checkpoint is damaged.
    """
    generator = torch.Generator().manual_seed(seed)
    augment = Augmenter(recipe, generator)
    device = torch.device(compute.device)
    checkpoint = _checkpoint(model, dataset, recipe, schedule, seed, teacher, compute)
    model.to(device)
    samples = torch.from_numpy(np.array(dataset.train_x))
    labels = torch.from_numpy(np.array(dataset.train_y))
    batch = min(recipe.batch, len(samples))
    steps = len(samples) // batch
    matrices = [layer.weight for layer in model.weighted_layers()]
    decayed = {id(weight) for weight in matrices}
    others = [p for p in model.parameters() if id(p) not in decayed and p.requires_grad]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": schedule.decay},
                                   {"params": others, "weight_decay": 0.0}], lr=schedule.rate)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _rate(step / (schedule.epochs * steps)))
    if teacher is not None:
        teacher.to(device).eval()
    done = 0
    if checkpoint is not None and (state := checkpoint.load()) is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        rate.load_state_dict(state["rate"])
        generator.set_state(state["generator"])
        done = state["epochs"]
        if progress is not None:
            progress(done, state["loss"])
    for epoch in range(done, schedule.epochs):
        model.train()
        total = 0.0
        order = torch.randperm(len(samples), generator=generator)
        for step in range(steps):
            chosen = order[step * batch:(step + 1) * batch]
            inputs, wanted = augment(samples[chosen]).to(device), labels[chosen].to(device)
            share = (epoch * steps + step) / (schedule.epochs * steps)
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
                loss = _loss(model, inputs, wanted, recipe, teacher, share)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            total += loss.item()
        if checkpoint is not None:
            checkpoint.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(),
                             "rate": rate.state_dict(), "generator": generator.get_state(),
                             "epochs": epoch + 1, "loss": total / steps})
        if progress is not None:
            progress(epoch + 1, total / steps)
    model.cpu().eval()
    if teacher is not None:
        teacher.cpu()


def _checkpoint(model: SpikingNetwork, dataset: Dataset, recipe: Recipe, schedule: Schedule,
                seed: int, teacher: SpikingNetwork | None, compute: Compute) -> Checkpoint | None:
    """Return the checkpoint of a training: its name tells all that `fit` goes by."""
    if compute.checkpoints is None:
        return None
    settings: list[object] = [
        schedule, seed, recipe.coding, recipe.timesteps, recipe.batch, recipe.shift, recipe.mirror,
        recipe.bfloat16, recipe.loss, compute.device, torch.get_num_threads()]
    taught: list[SpikingNetwork | str] = [] if teacher is None else [
        teacher, repr(recipe.calibration)]
    return Checkpoint(compute.checkpoints, repr(settings), model, *taught,
                      np.asarray(dataset.train_x), np.asarray(dataset.train_y))


def train(recipe: Recipe, dataset: Dataset, *, seed: int = 1, compute: Compute = Compute(),
          progress: Callable[[Progress], None] | None = None) -> TrainingResult:
    """Carry out a recipe.

    The networks are those of the last epoch: the test set decides nothing, it is only measured.

    Parameters
    ----------
    progress : callable, optional
        Called after every epoch. What it raises ends the training.

    Raises
    ------
    CheckpointError
        If a checkpoint is damaged.
    RecipeError
        If the recipe does not fit the data set.
    FoldError
        If the recipe's weights are not ternary, or the network does not fit the integer limits.
    """
    recipe.check(dataset)
    if not isinstance(recipe.quantiser, QuantiserSettings):
        raise FoldError(f"Weights that are {describe(recipe.quantiser)} can't be folded to "
                        f"integers, only ternary ones")
    training = _Training(recipe, dataset, seed, compute, progress)
    with _threads(compute.threads):
        teacher, student = training.models()
        for number in range(len(recipe.pruning)):
            training.prune(student, number, teacher)
        return training.folded(teacher, student)


def prune_further(result: TrainingResult, dataset: Dataset, settings: PruningSettings, *,
                  compute: Compute = Compute(), progress: Callable[[Progress], None] | None = None,
                  ) -> TrainingResult:
    """Prune a trained network once more; what was given stays as it is.

    The result is the one that `train` has for a recipe with this pruning at the end of its own.

    Parameters
    ----------
    dataset : Dataset
        The one that it was trained on.
    compute, progress
        As of `train`.

    Raises
    ------
    FoldError
        If the pruned network does not fit the integer limits.
    """
    recipe = dataclasses.replace(result.recipe, pruning=(*result.recipe.pruning, settings))
    student = copy.deepcopy(result.ternary_model)
    training = _Training(recipe, dataset, result.seed, compute, progress)
    with _threads(compute.threads):
        training.prune(student, len(recipe.pruning) - 1, result.float_model)
        return training.folded(result.float_model, student)


def train_ann(recipe: Recipe, dataset: Dataset, *, seed: int = 1, compute: Compute = Compute(),
              progress: Callable[[Progress], None] | None = None) -> SpikingNetwork:
    """Train the ANN of a recipe with a conversion.

    Parameters, and the ANN of a seed, are those of `train`.

    Raises
    ------
    RecipeError
        If the recipe does not fit the data set, or has no conversion.
    """
    recipe.check(dataset)
    with _threads(compute.threads):
        return _Training(recipe, dataset, seed, compute, progress).ann()


def convert(ann: SpikingNetwork, recipe: Recipe, dataset: Dataset, *, seed: int = 1,
            compute: Compute = Compute(), progress: Callable[[Progress], None] | None = None,
            ) -> SpikingNetwork:
    """Return an ANN as the full-precision spiking network of a recipe; it stays as it is.

    Parameters
    ----------
    ann : SpikingNetwork
        As `train_ann` returns it, for a recipe of the same architecture, neurons and activation.
    dataset, seed, compute, progress
        As of `train`.

    Raises
    ------
    RecipeError
        If the recipe has no conversion.
    ConversionError
        If the activations of a layer can't be balanced.
    """
    with _threads(compute.threads):
        return _Training(recipe, dataset, seed, compute, progress).converted(ann)


def train_models(recipe: Recipe, dataset: Dataset, *, seed: int = 1, compute: Compute = Compute(),
                 progress: Callable[[Progress], None] | None = None,
                 ) -> tuple[SpikingNetwork, SpikingNetwork]:
    """Train the full-precision and the quantised network of a recipe, and fold nothing.

    Weights need not be ternary. Parameters, and the networks of a seed, are those of `train`.

    Raises
    ------
    RecipeError
        If the recipe does not fit the data set.
    """
    recipe.check(dataset)
    with _threads(compute.threads):
        return _Training(recipe, dataset, seed, compute, progress).models()


class _Training:
    """The stages of a recipe that is carried out, each with a random stream of its own."""

    def __init__(self, recipe: Recipe, dataset: Dataset, seed: int, compute: Compute,
                 progress: Callable[[Progress], None] | None):
        self.recipe, self.dataset, self.seed = recipe, dataset, seed
        self.compute, self.progress = compute, progress
        # Initial weights and batches of either network.
        self.streams = _streams(np.random.SeedSequence(seed), 4)

    def models(self) -> tuple[SpikingNetwork, SpikingNetwork]:
        """Train teacher and student."""
        recipe = self.recipe
        if recipe.conversion is None:
            teacher = self._network(recipe.steps_of_teacher, None, self.streams[0])
            self._fit(teacher, "float", recipe.teacher, [self.streams[1]])
        else:
            teacher = self.converted(self.ann())
        student = self._network(recipe.timesteps, recipe.quantiser, self.streams[2])
        if recipe.calibration.warm_start:
            student.warm_start(teacher)
        self._fit(student, "ternary", recipe.student, [self.streams[3]], teacher)
        return teacher, student

    def ann(self) -> SpikingNetwork:
        """Train the ANN that is to be converted."""
        recipe, settings = self.recipe, self._conversion()
        # Of a static input an ANN makes the same at each step.
        steps = 1 if recipe.coding is Coding.STATIC else recipe.timesteps
        ann = self._network(steps, None, self.streams[0])
        make_analog(ann, settings)
        self._fit(ann, "ANN", recipe.teacher, [self.streams[1]])
        return ann

    def converted(self, ann: SpikingNetwork) -> SpikingNetwork:
        """Make the layers of a copy spiking, first to last, with training after each."""
        recipe, settings, network = self.recipe, self._conversion(), copy.deepcopy(ann)
        network.timesteps = recipe.steps_of_teacher
        inputs = self._training_samples(settings.samples)
        streams = _streams(np.random.SeedSequence(self.streams[1]), len(network.hidden))
        schedule = None if not settings.epochs else Schedule(
            settings.epochs, recipe.teacher.rate * settings.rate, recipe.teacher.decay)
        for number in range(len(streams)):
            balance(network, inputs, settings.percentile)
            make_spiking(network, number, recipe.neuron)
            if schedule is not None:
                self._fit(network, "converted", schedule, streams, stage=number)
        return network.eval()

    def prune(self, student: SpikingNetwork, number: int, teacher: SpikingNetwork) -> None:
        """Carry out a pruning of the recipe in place: rounds of masking and of training."""
        recipe, settings = self.recipe, self.recipe.pruning[number]
        schedule = Schedule(settings.epochs, recipe.student.rate * settings.rate,
                            recipe.student.decay)
        inputs = self._training_samples(settings.samples)
        losses = recipe.loss
        if settings.spikes < 1:
            budget = settings.spikes * spike_rate(student, inputs)
            losses = dataclasses.replace(losses, activity=PULL, budget=max(budget, LEAST_BUDGET))
        # A stream of its own, so that the trainings before are what they are without a pruning.
        streams = _streams(np.random.SeedSequence(self.seed, spawn_key=(number,)), settings.rounds)
        for stage, amount in enumerate(settings.amounts):
            prune(student, inputs, settings, amount)
            self._fit(student, f"pruned {settings.unit.value}", schedule, streams, teacher, stage,
                      losses)

    def folded(self, teacher: SpikingNetwork, student: SpikingNetwork) -> TrainingResult:
        """Fold what was trained, and measure on the test set."""
        recipe, dataset = self.recipe, self.dataset
        test = encode(dataset.test_x, recipe.coding, recipe.timesteps)
        network, fold_report = fold(
            student, recipe.coding, self._training_samples(recipe.fold.samples),
            _spread(dataset.train_y, recipe.fold.samples), recipe.fold,
            metadata={"dataset": dataset.name, "arch": recipe.arch,
                      "levels": str(recipe.neuron.z_max), "seed": str(self.seed)})
        rounding = rounding_cost(student, network, test, dataset.test_y)
        if recipe.pruning:
            network = shrink(network)
        return TrainingResult(
            recipe, self.seed, teacher, student, network,
            float_accuracy=float(np.mean(predict(teacher, test) == dataset.test_y)),
            ternary_accuracy=rounding.float_accuracy, integer_accuracy=rounding.integer_accuracy,
            fold_report=fold_report, rounding=rounding)

    def _fit(self, model: SpikingNetwork, name: str, schedule: Schedule, streams: Sequence[int],
             teacher: SpikingNetwork | None = None, stage: int = 0,
             losses: LossSettings | None = None) -> None:
        """Train one of as many stages as there are streams, by the recipe's losses if not given."""
        recipe = dataclasses.replace(self.recipe, loss=losses or self.recipe.loss)

        def tell(epoch: int, loss: float) -> None:
            if self.progress is not None:
                self.progress(Progress(name, stage * schedule.epochs + epoch,
                                       len(streams) * schedule.epochs, loss))

        fit(model, self.dataset, recipe, schedule, seed=streams[stage], teacher=teacher,
            compute=self.compute, progress=tell)

    def _training_samples(self, most: int) -> np.ndarray:
        """Return at most so many encoded training samples, evenly spread."""
        return encode(_spread(self.dataset.train_x, most), self.recipe.coding,
                      self.recipe.timesteps)

    def _conversion(self) -> ConversionSettings:
        """Return the settings of the conversion."""
        if self.recipe.conversion is None:
            raise RecipeError("The recipe has no conversion")
        return self.recipe.conversion

    def _network(self, steps: int, quantiser: WeightSettings | None, seed: int) -> SpikingNetwork:
        """Return a network that is not trained."""
        recipe = self.recipe
        return SpikingNetwork(recipe.architecture, steps, neuron=recipe.neuron,
                              quantiser=quantiser, readout=recipe.readout,
                              readout_leak=recipe.readout_leak, seed=seed)


def _streams(seeds: np.random.SeedSequence, number: int) -> list[int]:
    """Return the seeds of so many independent streams."""
    return [int(each) for each in seeds.generate_state(number)]


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let PyTorch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rate(done: float) -> float:
    """Return the learning rate's factor after a share of the schedule: warm-up, then cosine."""
    if done < WARMUP:
        return max(done / WARMUP, 1e-2)
    return 0.5 * (1 + math.cos(math.pi * min((done - WARMUP) / (1 - WARMUP), 1.0)))


def _loss(model: SpikingNetwork, inputs: torch.Tensor, labels: torch.Tensor, recipe: Recipe,
          teacher: SpikingNetwork | None, done: float) -> torch.Tensor:
    """Return the training loss of a batch; `done` is the share of the schedule behind it."""
    target = None
    if teacher is not None and recipe.calibration.needs_teacher:
        with torch.no_grad():
            target = teacher(inputs)
    return training_loss(model(inputs), labels, recipe.loss, recipe.calibration, target, done)


def _spread(array: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` elements, evenly spread."""
    return array[np.linspace(0, len(array) - 1, min(most, len(array))).astype(int)]
