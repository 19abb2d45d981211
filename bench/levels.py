"""Spikes that count in few steps against binary spikes in many.

``python -m bench.levels --dataset mnist --data DIR`` trains a data set's recipe for every pair of
steps and largest count, runs test samples of each network through the RTL, and compares accuracy,
events, energy and cycles. It writes ``build/bench/levels-DATASET.json`` and prints the table.
"""
import argparse
import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from bench.tables import Table, show, spread, write_text
from hw.parameters import PRESETS
from model.data import DataError, load
from ternspike.evaluation import evaluate
from ternspike.samples import test_samples
from ternspike.summary import summarise
from ternspike.training import Changes, choose_recipe, train_network

__all__ = ["SETTINGS", "main", "measure", "table"]

#: (steps, largest count of a spike); the first is what the others are compared with.
SETTINGS = ((4, 1), (2, 1), (1, 1), (2, 3), (1, 3), (1, 7))
_CORE = "medium"


def measure(dataset: str, data: Path | None, setting: tuple[int, int], *, seeds: int,
            samples: int | None, epochs: int | None = None) -> dict[str, Any]:
    """Train and run one setting.

    Parameters
    ----------
    dataset, data
        As for ``ternspike train``.
    setting
        Steps, and the largest count of a spike.
    seeds
        Trainings; their seeds are 1, 2, ...
    samples
        Test samples that each network runs through the RTL; None for all.
    epochs
        Of each training, if not the recipe's.

    Returns
    -------
    Accuracies of each seed on the whole test set, ``integer`` being the RTL's as far as it was run;
    ``mismatches`` and ``compared`` of all seeds; means over the seeds of ``events``, ``cycles`` and
    of the energies ``ops`` and ``memory`` (pJ), all a sample.
    """
    steps, z_max = setting
    source = load(dataset, data)
    recipe = choose_recipe(source, Changes(timesteps=steps, levels=z_max, epochs=epochs))
    trained, ran = [], []
    for seed in range(1, seeds + 1):
        trained.append(train_network(recipe, source, seed))
        network = trained[-1].network
        ran.append(summarise(evaluate(network, test_samples(network, source, samples, seed), _CORE,
                                      PRESETS[_CORE], seed=seed), seed))
    accuracies = [each.summary["accuracy"] for each in trained]
    return {
        "timesteps": steps, "z_max": z_max, "seeds": seeds, "samples": ran[0]["samples"],
        "accuracy": {stage: [each[stage] for each in accuracies] for stage in accuracies[0]},
        "mismatches": sum(each["mismatches"] for each in ran),
        "compared": sum(each["compared"] for each in ran),
        "events": mean(each["energy"]["events"] for each in ran),
        "cycles": mean(each["cycles"]["mean"] for each in ran),
        "ops": mean(each["energy"]["ops"] for each in ran),
        "memory": mean(each["energy"]["memory"] for each in ran),
    }


def table(found: dict[str, Any]) -> Table:
    """Return the settings side by side."""
    first = found["settings"][0]
    rows = [(f"T = {each['timesteps']}, 0..{each['z_max']}", spread(each["accuracy"]["float"]),
             spread(each["accuracy"]["integer"]), f"{each['mismatches']} of {each['compared']:,}",
             f"{each['events']:,.0f}", f"{each['cycles']:,.1f}",
             f"{each['ops'] / 1000:,.1f} ({first['ops'] / each['ops']:.2f} x)",
             f"{each['memory'] / 1000:,.1f} ({first['memory'] / each['memory']:.2f} x)")
            for each in found["settings"]]
    return Table(("spikes", "full precision", "integer", "RTL mismatches", "events", "cycles",
                  "operations, nJ", "with memory, nJ"), rows, {0})


def main(arguments: list[str] | None = None) -> int:
    """Measure all settings of a data set; return 1 if the data can't be read."""
    parser = argparse.ArgumentParser(prog="python -m bench.levels",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data", type=Path, help="its folder")
    parser.add_argument("--seeds", type=int, default=3, help="trainings a setting (default 3)")
    parser.add_argument("--samples", type=int, help="through the RTL a network (default all)")
    parser.add_argument("--epochs", type=int, help="of each training (default the recipe's)")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error("there must be at least 1 seed")

    found: dict[str, Any] = {"dataset": options.dataset, "core": _CORE, "settings": []}
    file = options.folder / f"levels-{options.dataset}.json"
    try:
        for setting in SETTINGS:
            print(f"T = {setting[0]}, counts to {setting[1]} ...", flush=True)
            found["settings"].append(measure(
                options.dataset, options.data, setting, seeds=options.seeds,
                samples=options.samples, epochs=options.epochs))
            write_text(file, json.dumps(found, indent=1) + "\n")
    except (DataError, OSError) as error:
        print(f"bench.levels: {error}", file=sys.stderr)
        return 1
    show(table(found), f"{options.dataset} on {_CORE}: spikes that count in few steps")
    print(f"Written: {file}")
    return 1 if any(each["mismatches"] for each in found["settings"]) else 0


if __name__ == "__main__":
    sys.exit(main())
