"""What each option of training does: a data set's recipe with one thing changed, over seeds.

``python -m bench.ablation`` trains every change of `CHANGES` on the digits, or those that are named
by ``--only``, and writes ``build/ablation/DATASET-NAME.json`` for each; ``--dataset mnist --data
DIR`` takes hours. It prints the tables of all that was measured so far.
"""
import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from bench.tables import Table, markdown, show, spread, write_text
from model.checkpoint import CheckpointError
from model.data import DataError, Dataset, encode, load
from model.layers import SpikingNetwork
from model.quantise import QuantiserSettings
from model.recipe_file import changed
from model.recipes import RECIPES, Recipe
from model.train import Compute, predict, spike_rate, train, train_models

__all__ = ["CHANGES", "document", "main", "measure", "tables"]

#: By subject and name, what is changed of the recipe, as a file of a recipe would tell it;
#: None, which no file can tell, leaves weights in full precision. The recipe itself stands first in
#: each table.
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "quantiser": {
        "recipe": {},
        "rule max": {"quantiser": {"rule": "max"}},
        "rule quantile": {"quantiser": {"rule": "quantile"}},
        "rule learned": {"quantiser": {"rule": "learned"}},
        "rule learned, ramps": {"quantiser": {"rule": "learned", "gradient": "ramp"}},
        "one scale": {"quantiser": {"symmetry": "scale"}},
        "one scale, one threshold": {"quantiser": {"symmetry": "all"}},
        "scales learned": {"quantiser": {"scale": "learned"}},
        "scales powers of two": {"quantiser": {"scale": "power"}},
        "by layer": {"quantiser": {"granularity": "layer"}},
        "gradient clipped": {"quantiser": {"gradient": "clipped"}},
        "gradient scaled": {"quantiser": {"gradient": "scaled"}},
        "gradient tanh": {"quantiser": {"gradient": "tanh"}},
        "normalised": {"quantiser": {"normalise": True}},
        "2 bits, learned step": {"quantiser": {"bits": 2}},
        "4 bits, learned step": {"quantiser": {"bits": 4}},
        "not quantised": {"quantiser": None},
    },
    "neuron": {
        "recipe": {},
        "thresholds not trained": {"neuron": {"learn_threshold": False}},
        "thresholds folded exactly": {"fold": {"exact_thresholds": True}},
        "leak 7/8": {"neuron": {"leak": [3]}},
        "leak trained": {"neuron": {"leak": [3], "learn_leak": True}},
        "half a threshold at first": {"neuron": {"v_init": 0.5}},
        "rate gradient": {"neuron": {"rate_gradient": True, "v_init": 0.5}},
        "hard reset": {"neuron": {"reset": "hard"}},
        "counts to 3": {"neuron": {"z_max": 3}},
        "either sign": {"neuron": {"signed": True}},
        "membranes of 12 bits": {"fold": {"membrane_bits": 12}},
        "membranes of 11 bits": {"fold": {"membrane_bits": 11}},
        "membranes of 10 bits": {"fold": {"membrane_bits": 10}},
        "membranes of 10 bits, in training too": {
            "fold": {"membrane_bits": 10}, "neuron": {"saturation": 1.0}},
    },
    "loss": {
        "recipe": {},
        "task alone": {"calibration": {"beta": 0, "distillation": 0, "warm_start": False}},
        "task alone, warm start": {"calibration": {"beta": 0, "distillation": 0}},
        "spikes alone": {"calibration": {"beta": 1, "distillation": 0}},
        "spikes of the last layer": {"calibration": {"beta": 1, "distillation": 0,
                                                     "layers": "last"}},
        "spikes of each step": {"calibration": {"beta": 1, "distillation": 0, "per_step": True}},
        "logits alone": {"calibration": {"beta": 0, "distillation": 1}},
        "outputs of each step": {"calibration": {"beta": 0, "distillation": 1, "stepwise": True}},
        "the same, teacher of 8 steps": {
            "teacher_timesteps": 8,
            "calibration": {"beta": 0, "distillation": 1, "stepwise": True}},
        "cross entropy of each step": {"loss": {"task": "steps"}},
        "budget of 0.1": {"loss": {"activity": 1, "budget": 0.1}},
        "budget of 0.05": {"loss": {"activity": 1, "budget": 0.05}},
    },
}


def measure(recipe: Recipe, dataset: Dataset, seeds: int, compute: Compute) -> dict[str, Any]:
    """Train a recipe with the seeds 1, 2, ...

    Returns
    -------
    Lists of each seed: accuracies ``float``, ``quantised`` and ``integer`` (empty if the weights
    are not ternary) on the test set; there, of the quantised network, ``density``, the share of
    weights that are not 0, and ``spikes`` a neuron and step, counts by their size.
    """
    found: dict[str, list[float]] = {name: [] for name in (
        "float", "quantised", "integer", "density", "spikes")}
    test = encode(dataset.test_x, recipe.coding, recipe.timesteps)
    for seed in range(1, seeds + 1):
        if isinstance(recipe.quantiser, QuantiserSettings):
            result = train(recipe, dataset, seed=seed, compute=compute)
            teacher, student = result.float_model, result.ternary_model
            found["integer"].append(result.integer_accuracy)
        else:
            teacher, student = train_models(recipe, dataset, seed=seed, compute=compute)
        found["float"].append(float(np.mean(predict(teacher, test) == dataset.test_y)))
        found["quantised"].append(float(np.mean(predict(student, test) == dataset.test_y)))
        found["density"].append(_density(student))
        found["spikes"].append(spike_rate(student, test))
    return found


@torch.no_grad()
def _density(model: SpikingNetwork) -> float:
    """Return the share of all weights that are not 0."""
    weights = []
    for layer in model.weighted_layers():
        rows = layer.unpruned(layer.weight).flatten(1)
        weights.append(rows if layer.quantiser is None else layer.quantiser(rows))
    return (sum(int(each.count_nonzero()) for each in weights)
            / sum(each.numel() for each in weights))


def tables(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Table]:
    """Return a table for each subject of which something was measured, by name of the change."""
    def line(name: str, each: Mapping[str, Any]) -> tuple[str, ...]:
        last = each["integer"] or each["quantised"]
        return (name, *(spread(each[stage]) if each[stage] else "-"
                        for stage in ("float", "quantised", "integer")),
                f"{100 * (mean(each['float']) - mean(last)):+.2f}", f"{mean(each['density']):.1%}",
                f"{mean(each['spikes']):.3f}")

    header = ("changed", "full precision", "quantised", "integer", "points lost", "density",
              "spikes a neuron and step")
    made = {}
    for subject, changes in CHANGES.items():
        rows = [line(name, found[name]) for name in changes if name in found]
        if any(row[0] != "recipe" for row in rows):
            made[subject] = Table(header, rows,
                                  {number for number, row in enumerate(rows) if row[0] == "recipe"})
    return made


def _file(folder: Path, dataset: str, name: str) -> Path:
    """Return where the figures of a change are."""
    return folder / f"{dataset}-{name.replace(',', '').replace(' ', '-').replace('/', '-')}.json"


def _measured(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the figures that are there, by recipe and by name of the change."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        each = json.loads(file.read_text())
        found.setdefault(each["dataset"], {})[each["name"]] = each
    return found


def _epochs(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many epochs the ternary networks were trained."""
    return " or ".join(map(str, sorted({each["epochs"] for each in found.values()})))


def document(folder: Path) -> str:
    """Return the tables of all that is there as Markdown; empty if nothing is."""
    return "\n".join(f"{dataset}, {_epochs(found)} epochs, {subject}:\n\n{markdown(table)}"
                     for dataset, found in _measured(folder).items()
                     for subject, table in tables(found).items())


def main(arguments: list[str] | None = None) -> int:
    """Measure changes; return 1 if the data can't be read."""
    names = list(dict.fromkeys(name for group in CHANGES.values() for name in group))
    parser = argparse.ArgumentParser(prog="python -m bench.ablation",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits", choices=list(RECIPES), metavar="RECIPE",
                        help="a shipped recipe, by its name (default digits)")
    parser.add_argument("--data", type=Path, help="the folder of its data")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME",
                        help=f"of {', '.join(names)} (default all)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings a change (default 3)")
    parser.add_argument("--epochs", type=int, help="of each training (default the recipe's)")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR",
                        help="keep trainings here after each epoch; go on with those that were "
                             "stopped, and train what changes share only once")
    parser.add_argument("--folder", type=Path, default=Path("build/ablation"))
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error("there must be at least 1 seed")

    base = RECIPES[options.dataset]
    if options.epochs is not None:
        base = changed(base, {stage: {"epochs": options.epochs}
                              for stage in ("teacher", "student")}, "--epochs")
    wanted = {name: changes for group in CHANGES.values() for name, changes in group.items()
              if options.only is None or name in options.only}
    try:
        source = load(base.dataset, options.data)
        for name, changes in wanted.items():
            print(f"{name} ...", flush=True)
            found = measure(changed(base, changes, name), source, options.seeds,
                            Compute(checkpoints=options.checkpoints))
            write_text(_file(options.folder, options.dataset, name),
                       json.dumps({"dataset": options.dataset, "name": name,
                                   "epochs": base.student.epochs, **found}, indent=1) + "\n")
    except (CheckpointError, DataError, OSError) as error:
        print(f"bench.ablation: {error}", file=sys.stderr)
        return 1
    for subject, table in tables(_measured(options.folder)[options.dataset]).items():
        show(table, f"{options.dataset}, {subject}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
