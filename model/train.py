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
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from model.convert import ConversionSettings, balance, make_analog, make_spiking
from model.data import Coding, Dataset, encode
from model.fold import FoldError, FoldReport, RoundingCost, fold, rounding_cost
from model.layers import SpikingNetwork, as_inputs
from model.losses import training_loss
from model.network import IntegerNetwork
from model.prune import PruningSettings, prune
from model.quantise import QuantiserSettings, WeightSettings, describe
from model.recipes import Recipe, RecipeError, Schedule
from model.shrink import shrink

__all__ = ["Progress", "TrainingResult", "convert", "fit", "predict", "prune_further", "train",
           "train_ann", "train_models"]

#: Makes, of a stage and its epochs, what `fit` calls after each epoch.
_Reporter = Callable[[str, int], Callable[[int, float], None]]

WARMUP = 0.05           # share of a schedule over which the learning rate rises
EVALUATION_BATCH = 2000


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


class _Augmenter:
    """Turns stored samples into what the network trains on, with its own random stream."""

    def __init__(self, recipe: Recipe, generator: torch.Generator):
        self.recipe = recipe
        self.generator = generator

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        """Return network inputs for uint8 samples."""
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


@torch.no_grad()
def predict(model: SpikingNetwork, encoded: np.ndarray) -> np.ndarray:
    """Return the classes int64 (samples,) of encoded samples, in inference mode."""
    model.eval()
    batches = range(0, len(encoded), EVALUATION_BATCH)
    classes = [model(as_inputs(encoded[start:start + EVALUATION_BATCH])).logits.argmax(1)
               for start in batches]
    return torch.cat(classes).numpy()


def fit(model: SpikingNetwork, dataset: Dataset, recipe: Recipe, schedule: Schedule, *,
        seed: int, teacher: SpikingNetwork | None = None,
        progress: Callable[[int, float], None] | None = None) -> None:
    """Train a network in place.

    Parameters
    ----------
    teacher : SpikingNetwork, optional
        Frozen network for `Recipe.calibration`; none: the task's loss alone.
    progress : callable, optional
        Called after every epoch with the epochs done and the mean loss.
    """
    generator = torch.Generator().manual_seed(seed)
    augment = _Augmenter(recipe, generator)
    samples = torch.from_numpy(np.array(dataset.train_x))
    labels = torch.from_numpy(np.array(dataset.train_y))
    batch = min(recipe.batch, len(samples))
    steps = len(samples) // batch
    matrices = [layer.weight for layer in (*model.spiking_layers(), model.readout)]
    decayed = {id(weight) for weight in matrices}
    others = [p for p in model.parameters() if id(p) not in decayed and p.requires_grad]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": schedule.decay},
                                   {"params": others, "weight_decay": 0.0}], lr=schedule.rate)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _rate(step / (schedule.epochs * steps)))
    if teacher is not None:
        teacher.eval()
    for epoch in range(schedule.epochs):
        model.train()
        total = 0.0
        order = torch.randperm(len(samples), generator=generator)
        for step in range(steps):
            chosen = order[step * batch:(step + 1) * batch]
            inputs = augment(samples[chosen])
            done = (epoch * steps + step) / (schedule.epochs * steps)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                loss = _loss(model, inputs, labels[chosen], recipe, teacher, done)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            total += loss.item()
        if progress is not None:
            progress(epoch + 1, total / steps)
    model.eval()


def train(recipe: Recipe, dataset: Dataset, *, seed: int = 1, threads: int = 1,
          progress: Callable[[Progress], None] | None = None) -> TrainingResult:
    """Carry out a recipe.

    The networks are those of the last epoch: the test set decides nothing, it is only measured.

    Parameters
    ----------
    threads : int
        PyTorch's threads meanwhile. More than one help large layers on an idle machine, slow
        training down on a busy one, and change the rounding of sums, thus the result of a seed.
    progress : callable, optional
        Called after every epoch. What it raises ends the training.

    Raises
    ------
    RecipeError
        If the recipe does not fit the data set.
    FoldError
        If the recipe's weights are not ternary, or the network does not fit the integer limits.
    """
    recipe.check(dataset)
    if not isinstance(recipe.quantiser, QuantiserSettings):
        raise FoldError(f"Weights that are {describe(recipe.quantiser)} can't be folded to "
                        f"integers, only ternary ones")
    with _threads(threads):
        return _train(recipe, dataset, seed, progress)


def prune_further(result: TrainingResult, dataset: Dataset, settings: PruningSettings, *,
                  threads: int = 1, progress: Callable[[Progress], None] | None = None,
                  ) -> TrainingResult:
    """Prune a trained network once more; what was given stays as it is.

    The result is the one that `train` has for a recipe with this pruning at the end of its own.

    Parameters
    ----------
    dataset : Dataset
        The one that it was trained on.
    threads, progress
        As of `train`.

    Raises
    ------
    FoldError
        If the pruned network does not fit the integer limits.
    """
    recipe = dataclasses.replace(result.recipe, pruning=(*result.recipe.pruning, settings))
    student = copy.deepcopy(result.ternary_model)
    with _threads(threads):
        _prune(student, dataset, recipe, len(recipe.pruning) - 1, result.seed, result.float_model,
               _reporter(progress))
        return _folded(recipe, dataset, result.seed, result.float_model, student)


def train_ann(recipe: Recipe, dataset: Dataset, *, seed: int = 1, threads: int = 1,
              progress: Callable[[Progress], None] | None = None) -> SpikingNetwork:
    """Train the ANN of a recipe with a conversion.

    Parameters, and the ANN of a seed, are those of `train`.

    Raises
    ------
    RecipeError
        If the recipe does not fit the data set, or has no conversion.
    """
    recipe.check(dataset)
    with _threads(threads):
        return _train_ann(recipe, dataset, _seeds(seed), _reporter(progress))


def convert(ann: SpikingNetwork, recipe: Recipe, dataset: Dataset, *, seed: int = 1,
            threads: int = 1, progress: Callable[[Progress], None] | None = None,
            ) -> SpikingNetwork:
    """Return an ANN as the full-precision spiking network of a recipe; it stays as it is.

    Parameters
    ----------
    ann : SpikingNetwork
        As `train_ann` returns it, for a recipe of the same architecture, neurons and activation.
    dataset, seed, threads, progress
        As of `train`.

    Raises
    ------
    RecipeError
        If the recipe has no conversion.
    ConversionError
        If the activations of a layer can't be balanced.
    """
    with _threads(threads):
        return _convert(ann, recipe, dataset, _seeds(seed), _reporter(progress))


def train_models(recipe: Recipe, dataset: Dataset, *, seed: int = 1, threads: int = 1,
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
    with _threads(threads):
        return _train_models(recipe, dataset, seed, _reporter(progress))


def _train(recipe: Recipe, dataset: Dataset, seed: int,
           progress: Callable[[Progress], None] | None) -> TrainingResult:
    """Train teacher and student, fold, and measure on the test set."""
    report = _reporter(progress)
    teacher, student = _train_models(recipe, dataset, seed, report)
    for number in range(len(recipe.pruning)):
        _prune(student, dataset, recipe, number, seed, teacher, report)
    return _folded(recipe, dataset, seed, teacher, student)


def _folded(recipe: Recipe, dataset: Dataset, seed: int, teacher: SpikingNetwork,
            student: SpikingNetwork) -> TrainingResult:
    """Fold what was trained, and measure on the test set."""
    test = encode(dataset.test_x, recipe.coding, recipe.timesteps)
    calibration = encode(_spread(dataset.train_x, recipe.fold.samples), recipe.coding,
                         recipe.timesteps)
    labels = _spread(dataset.train_y, recipe.fold.samples)
    network, fold_report = fold(student, recipe.coding, calibration, labels, recipe.fold,
                                metadata={"dataset": dataset.name, "arch": recipe.arch,
                                          "levels": str(recipe.neuron.z_max), "seed": str(seed)})
    rounding = rounding_cost(student, network, test, dataset.test_y)
    if recipe.pruning:
        network = shrink(network)
    return TrainingResult(
        recipe, seed, teacher, student, network,
        float_accuracy=float(np.mean(predict(teacher, test) == dataset.test_y)),
        ternary_accuracy=rounding.float_accuracy, integer_accuracy=rounding.integer_accuracy,
        fold_report=fold_report, rounding=rounding)


def _prune(student: SpikingNetwork, dataset: Dataset, recipe: Recipe, number: int, seed: int,
           teacher: SpikingNetwork, report: _Reporter) -> None:
    """Carry out a pruning of the recipe in place: rounds of masking and of training."""
    settings = recipe.pruning[number]
    progress = report(f"pruned {settings.unit.value}", settings.rounds * settings.epochs)
    schedule = Schedule(settings.epochs, recipe.student.rate * settings.rate, recipe.student.decay)
    inputs = encode(_spread(dataset.train_x, settings.samples), recipe.coding, recipe.timesteps)
    # A stream of its own, so that the trainings before are what they are without a pruning.
    streams = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(settings.rounds)
    for done, (amount, stream) in enumerate(zip(settings.amounts, streams, strict=True)):
        def tell(epoch: int, loss: float, before: int = done * settings.epochs) -> None:
            progress(before + epoch, loss)

        prune(student, inputs, settings, amount)
        fit(student, dataset, recipe, schedule, seed=int(stream), teacher=teacher, progress=tell)


def _train_models(recipe: Recipe, dataset: Dataset, seed: int,
                  report: _Reporter) -> tuple[SpikingNetwork, SpikingNetwork]:
    """Train teacher and student."""
    seeds = _seeds(seed)
    if recipe.conversion is None:
        teacher = _network(recipe, recipe.steps_of_teacher, None, seeds[0])
        fit(teacher, dataset, recipe, recipe.teacher, seed=seeds[1],
            progress=report("float", recipe.teacher.epochs))
    else:
        teacher = _convert(_train_ann(recipe, dataset, seeds, report), recipe, dataset, seeds,
                           report)
    student = _network(recipe, recipe.timesteps, recipe.quantiser, seeds[2])
    if recipe.calibration.warm_start:
        student.warm_start(teacher)
    fit(student, dataset, recipe, recipe.student, seed=seeds[3], teacher=teacher,
        progress=report("ternary", recipe.student.epochs))
    return teacher, student


def _train_ann(recipe: Recipe, dataset: Dataset, seeds: list[int],
               report: _Reporter) -> SpikingNetwork:
    """Train the ANN that is to be converted."""
    settings = _conversion(recipe)
    # Of a static input an ANN makes the same at each step.
    steps = 1 if recipe.coding is Coding.STATIC else recipe.timesteps
    ann = _network(recipe, steps, None, seeds[0])
    make_analog(ann, settings)
    fit(ann, dataset, recipe, recipe.teacher, seed=seeds[1],
        progress=report("ANN", recipe.teacher.epochs))
    return ann


def _convert(ann: SpikingNetwork, recipe: Recipe, dataset: Dataset, seeds: list[int],
             report: _Reporter) -> SpikingNetwork:
    """Make the layers of a copy spiking, first to last, with training after each."""
    settings, network = _conversion(recipe), copy.deepcopy(ann)
    network.timesteps = recipe.steps_of_teacher
    layers = len(network.hidden)
    progress = report("converted", layers * settings.epochs)
    inputs = encode(_spread(dataset.train_x, settings.samples), recipe.coding, recipe.timesteps)
    streams = np.random.SeedSequence(seeds[1]).generate_state(layers)
    for number, stream in enumerate(streams):
        def tell(epoch: int, loss: float, before: int = number * settings.epochs) -> None:
            progress(before + epoch, loss)

        balance(network, inputs, settings.percentile)
        make_spiking(network, number, recipe.neuron)
        if settings.epochs:
            schedule = Schedule(settings.epochs, recipe.teacher.rate * settings.rate,
                                recipe.teacher.decay)
            fit(network, dataset, recipe, schedule, seed=int(stream), progress=tell)
    return network.eval()


def _conversion(recipe: Recipe) -> ConversionSettings:
    """Return the settings of a recipe's conversion."""
    if recipe.conversion is None:
        raise RecipeError("The recipe has no conversion")
    return recipe.conversion


def _network(recipe: Recipe, steps: int, quantiser: WeightSettings | None,
             seed: int) -> SpikingNetwork:
    """Return a network of a recipe that is not trained."""
    return SpikingNetwork(recipe.architecture, steps, neuron=recipe.neuron, quantiser=quantiser,
                          readout=recipe.readout, readout_leak=recipe.readout_leak, seed=seed)


def _seeds(seed: int) -> list[int]:
    """Return the seeds of independent streams: initial weights and batches of either network."""
    return [int(each) for each in np.random.SeedSequence(seed).generate_state(4)]


def _reporter(progress: Callable[[Progress], None] | None) -> _Reporter:
    """Return what makes, of a stage and its epochs, a callback for `fit`."""
    def report(stage: str, epochs: int) -> Callable[[int, float], None]:
        def tell(epoch: int, loss: float) -> None:
            if progress is not None:
                progress(Progress(stage, epoch, epochs, loss))
        return tell
    return report


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
