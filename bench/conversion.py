"""What a conversion keeps: an ANN, the spiking network it becomes, ternary weights, integers.

``python -m bench.conversion`` trains ANNs on the digits and converts them by each of `WAYS` to
networks of 1 to 16 steps; writes ``build/conversion/DATASET.json`` and prints the table. The
recipe's own full-precision network, which was never an ANN, stands beside them.
"""
import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from bench.tables import Table, show, write_text
from model.convert import ConversionError
from model.data import DataError, Dataset, encode, load
from model.layers import SpikingNetwork
from model.recipe_file import changed
from model.recipes import RECIPES, Recipe, RecipeError
from model.train import TrainingResult, convert, predict, train, train_ann

__all__ = ["STEPS", "WAYS", "main", "measure", "table"]

STEPS = (1, 2, 4, 8, 16)

#: By name, what is changed of the recipe, as a file of a recipe would tell it.
WAYS: dict[str, dict[str, Any]] = {
    "ReLU, largest": {"percentile": 100},
    "ReLU, percentile 99.9": {"percentile": 99.9},
    "ReLU, percentile 99": {"percentile": 99},
    "clip-floor, L = 8": {"activation": "clip-floor", "levels": 8},
}


def measure(recipe: Recipe, dataset: Dataset, seeds: int) -> list[dict[str, Any]]:
    """Train and convert with the seeds 1, 2, ...

    Returns
    -------
    A line for each network: ``way``, its name or None for no conversion; ``start``, the membrane at
    first in thresholds; ``network``; accuracies on the test set, lists of each seed: ``ann`` and,
    for each of `STEPS`, ``accuracy``.
    """
    lines = _three(None, recipe.neuron.v_init, [], [
        [train(replace(recipe, timesteps=steps), dataset, seed=seed)
         for seed in range(1, seeds + 1)] for steps in STEPS])
    for way, settings in WAYS.items():
        for start in (0.0, 0.5):
            print(f"{way}, {start:g} thresholds at first ...", flush=True)
            lines += _converted(way, start, changed(
                recipe, {"neuron": {"v_init": start, "rate_gradient": True},
                         "conversion": settings}, way), dataset, seeds)
    return lines


def _converted(way: str, start: float, recipe: Recipe, dataset: Dataset,
               seeds: int) -> list[dict[str, Any]]:
    """Return the lines of a conversion: all at once and, from half a threshold, what follows."""
    recipes = [replace(recipe, timesteps=steps) for steps in STEPS]
    anns = [train_ann(recipe, dataset, seed=seed) for seed in range(1, seeds + 1)]
    accuracies = [_accuracy(ann, recipe, dataset) for ann in anns]
    at_once = [[_accuracy(convert(ann, changed(each, {"conversion": {"epochs": 0}}, way), dataset),
                          each, dataset) for ann in anns] for each in recipes]
    lines = [_line(way, start, "all at once", accuracies, at_once)]
    if start:
        lines += _three(way, start, accuracies, [
            [train(each, dataset, seed=seed) for seed in range(1, seeds + 1)] for each in recipes])
    return lines


def _three(way: str | None, start: float, anns: list[float],
           results: list[list[TrainingResult]]) -> list[dict[str, Any]]:
    """Return the lines of the networks that trainings, by steps and seeds, end with."""
    return [_line(way, start, network, anns,
                  [[getattr(result, f"{stage}_accuracy") for result in each] for each in results])
            for network, stage in (("full precision" if way is None else "layer by layer", "float"),
                                   ("then ternary", "ternary"), ("then integer", "integer"))]


def _line(way: str | None, start: float, network: str, anns: list[float],
          accuracy: list[list[float]]) -> dict[str, Any]:
    """Return a line."""
    return {"way": way, "start": start, "network": network, "ann": anns,
            "accuracy": {str(steps): each for steps, each in zip(STEPS, accuracy, strict=True)}}


def _accuracy(model: SpikingNetwork, recipe: Recipe, dataset: Dataset) -> float:
    """Return the accuracy on the test set."""
    test = encode(dataset.test_x, recipe.coding, recipe.timesteps)
    return float(np.mean(predict(model, test) == dataset.test_y))


def table(found: Mapping[str, Any]) -> Table:
    """Return the means over the seeds, the recipe without a conversion first."""
    def percent(values: list[float]) -> str:
        return f"{mean(values):.2%}" if values else "-"

    rows = [(line["way"] or "no conversion", f"{line['start']:g}", line["network"],
             percent(line["ann"]), *map(percent, line["accuracy"].values()))
            for line in found["lines"]]
    steps = found["lines"][0]["accuracy"]
    return Table(("conversion", "at first", "network", "ANN", *(f"T = {each}" for each in steps)),
                 rows, {number for number, line in enumerate(found["lines"])
                        if line["way"] is None})


def main(arguments: list[str] | None = None) -> int:
    """Measure all ways; return 1 if data can't be read or the recipe can't be converted."""
    parser = argparse.ArgumentParser(prog="python -m bench.conversion",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits", choices=list(RECIPES), metavar="RECIPE",
                        help="a shipped recipe, by its name (default digits)")
    parser.add_argument("--data", type=Path, help="the folder of its data")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (default 3)")
    parser.add_argument("--epochs", type=int, help="of each training (default the recipe's)")
    parser.add_argument("--folder", type=Path, default=Path("build/conversion"))
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error("there must be at least 1 seed")
    recipe = RECIPES[options.dataset]
    try:
        if options.epochs is not None:
            recipe = changed(recipe, {stage: {"epochs": options.epochs}
                                      for stage in ("teacher", "student")}, "--epochs")
        source = load(recipe.dataset, options.data)
        found = {"dataset": options.dataset, "seeds": options.seeds,
                 "epochs": recipe.student.epochs, "lines": measure(recipe, source, options.seeds)}
        write_text(options.folder / f"{options.dataset}.json", json.dumps(found, indent=1) + "\n")
    except (ConversionError, DataError, OSError, RecipeError) as error:
        print(f"bench.conversion: {error}", file=sys.stderr)
        return 1
    show(table(found), f"{options.dataset}: converted, means of {options.seeds} seeds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
