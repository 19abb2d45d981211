"""Training from the command line: a recipe with the user's changes, and a network that tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model import accounting
from model.data import Coding, Dataset, encode
from model.network import IntegerNetwork, level_planes

if TYPE_CHECKING:
    from model.recipes import Recipe
    from model.train import Compute, Progress, TrainingResult

__all__ = ["Changes", "Trained", "choose_recipe", "dataset_name", "train_network"]

#: The recipe for data sets that have none, and the hidden layer that they get.
DEFAULT_RECIPE = "digits"
DEFAULT_HIDDEN = 128


@dataclass(frozen=True)
class Changes:
    """Which recipe a user wants, and what is changed of it; None leaves it as it is.

    ``prune`` are texts as `model.prune.PruningSettings.parse` takes them.
    """

    recipe: str | None = None
    arch: str | None = None
    timesteps: int | None = None
    epochs: int | None = None
    coding: str | None = None
    calibrate: bool = True
    levels: int | None = None
    signed: bool | None = None
    prune: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network with its origins in the metadata, and the numbers of its training."""

    network: IntegerNetwork
    summary: dict[str, Any]


def dataset_name(given: str | None, changes: Changes) -> str:
    """Return the data set that is given, or the one that the wanted recipe is for.

    Raises
    ------
    RecipeError
        If there is no such recipe.
    """
    return given or _recipe(changes.recipe or DEFAULT_RECIPE).dataset


def choose_recipe(dataset: Dataset, changes: Changes) -> Recipe:
    """Return the wanted recipe, the data set's, or the general one, with the changes.

    Raises
    ------
    RecipeError
        If there is no such recipe, a change is not possible, or the recipe does not fit the data
        set.
    PruningError
        If a pruning is not understood or not possible.
    """
    from model.prune import PruningSettings
    from model.recipes import RECIPES

    known = changes.recipe is not None or dataset.name in RECIPES
    recipe = _recipe(changes.recipe or (dataset.name if known else DEFAULT_RECIPE))
    coding = recipe.coding if changes.coding is None else Coding(changes.coding)
    arch = changes.arch
    if arch is None and not known:
        arch = f"{dataset.inputs(coding)}-{DEFAULT_HIDDEN}-{dataset.classes}"
    if changes.epochs is not None:
        recipe = replace(recipe, teacher=replace(recipe.teacher, epochs=changes.epochs),
                         student=replace(recipe.student, epochs=changes.epochs))
    if not changes.calibrate:
        recipe = replace(recipe, calibration=replace(
            recipe.calibration, beta=0.0, distillation=0.0, warm_start=False))
    neuron = replace(
        recipe.neuron, z_max=changes.levels or recipe.neuron.z_max,
        signed=recipe.neuron.signed if changes.signed is None else changes.signed)
    recipe = replace(recipe, arch=arch or recipe.arch, coding=coding, neuron=neuron,
                     timesteps=changes.timesteps or recipe.timesteps)
    if changes.prune is not None:
        recipe = replace(recipe, pruning=tuple(map(PruningSettings.parse, changes.prune)))
    recipe.check(dataset)
    return recipe


def _recipe(name: str) -> Recipe:
    """Return a recipe by its name, or that of a file."""
    from model.recipe_file import read_recipe
    from model.recipes import RECIPES, RecipeError

    if name.endswith(".toml"):
        return read_recipe(name)
    if name not in RECIPES:
        raise RecipeError(f"Unknown recipe {name!r}; known: {', '.join(RECIPES)}; or name a .toml "
                          f"file")
    return RECIPES[name]


def train_network(
    recipe: Recipe, dataset: Dataset, seed: int, progress: Callable[[Progress], None] | None = None,
    compute: Compute | None = None,
) -> Trained:
    """Carry out a recipe; write accuracies and the teacher's activity into the network."""
    from model.train import Compute, train

    result = train(recipe, dataset, seed=seed, compute=compute or Compute(), progress=progress)
    activity = _float_activity(result, dataset)
    pruned = {"pruning": " ".join(map(str, recipe.pruning))} if recipe.pruning else {}
    network = replace(result.network, metadata=dict(result.network.metadata) | pruned | {
        "accuracy_float": repr(result.float_accuracy),
        "accuracy_ternary": repr(result.ternary_accuracy),
        "accuracy_integer": repr(result.integer_accuracy),
        "activity_float": " ".join(f"{rate:.6f}" for rate in activity),
    })
    cost = result.fold_report.calibration
    return Trained(network, {
        "dataset": dataset.name,
        "arch": recipe.arch,
        "timesteps": recipe.timesteps,
        "levels": recipe.neuron.z_max,
        "seed": seed,
        "accuracy": {
            "float": result.float_accuracy,
            "ternary": result.ternary_accuracy,
            "integer": result.integer_accuracy,
        },
        "fold": {
            "shifts": [layer.shift for layer in result.fold_report.layers],
            "membrane_bits": [layer.membrane_bits for layer in result.fold_report.layers],
            "spikes_compared": int(sum(cost.compared)),
            "spike_mismatches": int(sum(cost.mismatches)),
            "samples": cost.samples,
            "class_changes": cost.class_changes,
        },
        "pruned": None if not recipe.pruning else {
            "pruning": [str(each) for each in recipe.pruning],
            "arch": accounting.arch(network),
            "density": accounting.memory(network).density,
        },
    })


def _float_activity(result: TrainingResult, dataset: Dataset) -> list[float]:
    """Return the activity of the full-precision network's layers on test data.

    It is the set fraction of the bit planes of their spikes: of binary ones, spikes a neuron and
    step.
    """
    import torch

    from model.layers import as_inputs

    recipe = result.recipe
    encoded = encode(dataset.test_x, recipe.coding, recipe.timesteps)
    batches = np.array_split(np.arange(len(encoded)), max(len(encoded) // 1000, 1))
    totals = []
    with torch.no_grad():
        for batch in batches:
            spikes = result.float_model(as_inputs(encoded[batch])).spikes
            totals.append([
                level_planes(fired.numpy(), layer.neuron.z_max, layer.neuron.signed).mean()
                * len(batch)
                for layer, fired in zip(result.float_model.firing_layers(), spikes, strict=True)])
    return [float(total) for total in np.sum(totals, axis=0) / len(encoded)]
