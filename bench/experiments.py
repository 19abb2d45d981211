"""All experiments again: each committed recipe with several seeds, measured from end to end.

``python -m bench.experiments`` trains the shipped recipes and those of ``examples/``, or those that
``--recipe`` names, and runs test samples of each network through the RTL. It writes
``build/experiments/NAME.json`` after each seed, and does not train again what is there; it prints
the tables of all that was measured so far. `bench.results` puts them into ``docs/results.md``.
"""
import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.accuracies import ACCURACIES
from bench.cores import core_of
from bench.ranges import Panel, Row, range_chart
from bench.tables import Table, markdown, show, spread, write_text
from model.data import Dataset, load
from model.quantise import QuantiserSettings
from model.recipe_file import read_recipe
from model.recipes import RECIPES, Recipe, RecipeError
from model.train import Compute
from ternspike import console
from ternspike.cores import parse_core
from ternspike.errors import explain
from ternspike.evaluation import Evaluation, evaluate
from ternspike.samples import test_samples
from ternspike.summary import summarise
from ternspike.training import Changes, choose_recipe, dataset_name, train_network

__all__ = ["ExperimentError", "Setting", "document", "main", "measure", "measured", "names",
           "picture", "published", "recipes", "tables"]

EXAMPLES = Path(__file__).parent.parent / "examples"


class ExperimentError(ValueError):
    """A file of figures that can't be used."""


@dataclass(frozen=True)
class Setting:
    """How an experiment is measured.

    Parameters
    ----------
    core : str
        As `ternspike.cores.parse_core` takes it.
    samples : int
        Test samples that each network runs through the RTL, or all if there are less.
    jobs : int
        Simulators at the same time.
    compute : Compute
        How it is trained.
    """

    core: str
    samples: int
    jobs: int = 1
    compute: Compute = Compute()


def recipes() -> list[str]:
    """Return all committed recipes that can be folded: names, and files of the examples."""
    return [*RECIPES, *(str(file) for file in sorted(EXAMPLES.glob("*.toml"))
                        if isinstance(read_recipe(file).quantiser, QuantiserSettings))]


def names(wanted: Iterable[str]) -> dict[str, str]:
    """Return recipes, known by name or by file, by the names of their experiments.

    Raises
    ------
    RecipeError
        If a recipe is not known, a file is not one, or two experiments would have the same name.
    OSError
        If a file can't be read.
    """
    found: dict[str, str] = {}
    for text in wanted:
        dataset_name(None, Changes(recipe=text))
        name = Path(text).stem if text.endswith(".toml") else text
        if name in found or (text.endswith(".toml") and name in RECIPES):
            raise RecipeError(f"{text}: there is an experiment {name!r} already")
        found[name] = text
    return found


def measure(recipe: Recipe, dataset: Dataset, seed: int, setting: Setting) -> dict[str, Any]:
    """Train a recipe with a seed, and run its network on the core.

    Returns
    -------
    Accuracies 0..1 on the whole test set: ``float``, ``ternary`` and ``integer``; ``loss``, the
    first less the last. Of the integer network: ``density``, the share of weights that are not 0;
    ``codes``, ``packed`` and ``stored``, how many times less memory than in full precision it takes
    with all its parameters. Of its first test samples, a sample: ``spikes`` a neuron and step,
    counts by their size; ``operations``, additions for an event on a weight that is not 0; the
    energies ``ops``, of operations only, and ``memory``, with that of memory (pJ), and how many
    times less they are than in full precision, ``ratio_ops``, ``ratio_ops_wide`` if each product
    were one of 32 bits, and ``ratio_memory``; ``cycles`` of the RTL and ``cycles_model`` of the
    cycle model. ``mismatches`` of so many ``compared`` values.

    Raises
    ------
    RecipeError, FoldError, ConversionError, PruningError
        As `model.train.train`.
    MappingError, SimulationError
        As `ternspike.evaluation.evaluate`.
    """
    with console.training() as progress:
        trained = train_network(recipe, dataset, seed, progress, setting.compute)
    samples = test_samples(trained.network, dataset, min(setting.samples, len(dataset.test_y)),
                           seed)
    with console.counting(len(samples)) as counted:
        ran = evaluate(trained.network, samples, setting.core, parse_core(setting.core),
                       jobs=setting.jobs, seed=seed, progress=counted)
    summary, accuracy = summarise(ran, seed), trained.summary["accuracy"]
    energy, weights = summary["energy"], summary["weights"]
    return {
        "seed": seed, **accuracy, "loss": accuracy["float"] - accuracy["integer"],
        "density": weights["density"], "codes": weights["compression_codes"],
        "packed": weights["compression_packed"], "stored": weights["compression_stored"],
        "spikes": _spikes(ran), "operations": energy["adds"],
        **{name: energy[name]
           for name in ("ops", "memory", "ratio_ops", "ratio_ops_wide", "ratio_memory")},
        "cycles": summary["cycles"]["mean"], "cycles_model": summary["cycles"]["model_mean"],
        "mismatches": summary["mismatches"], "compared": summary["compared"],
    }


def _spikes(ran: Evaluation) -> float:
    """Return the spikes a neuron and step, counts by their size."""
    network = ran.network
    values = [network.steps(number) * math.prod(network.fired_shape(number)) * layer.samples
              for number, layer in enumerate(ran.activity)]
    return sum(layer.total for layer in ran.activity) / max(sum(values), 1)


def tables(found: Iterable[Mapping[str, Any]]) -> dict[str, Table]:
    """Return what the seeds of experiments give, by what it is about: accuracy, and cost.

    What an experiment of an earlier release did not measure is a dash.
    """
    accuracy, cost = [], []
    for each in found:
        def over(member: str, form: str, scale: float = 1, seeds: list = each["seeds"]) -> str:
            values = [one.get(member) for one in seeds]
            return "-" if None in values else spread([scale * value for value in values], form)

        accuracy.append((
            each["name"], f"{each['arch']}, {each['timesteps']}", str(len(each["seeds"])),
            *(over(stage, ".2%") for stage in ("float", "ternary", "integer")),
            over("loss", "+.2f", 100), f"{each['samples']:,} of {each['test_samples']:,}",
            "{:,} of {:,}".format(*(sum(one[member] for one in each["seeds"])
                                    for member in ("mismatches", "compared")))))
        cost.append((
            each["name"], over("density", ".1%"), over("spikes", ".3f"), over("operations", ",.0f"),
            over("ops", ",.1f", 1e-3), over("ratio_ops", ".2f"), over("ratio_ops_wide", ".2f"),
            over("memory", ",.1f", 1e-3), over("ratio_memory", ".2f"),
            *(over(member, ".2f") for member in ("codes", "packed", "stored")),
            over("cycles", ",.1f")))
    return {
        "accuracy": Table(("experiment", "network, steps", "seeds", "full precision", "ternary",
                           "integer", "points lost", "test samples through the RTL",
                           "mismatches"), accuracy),
        "cost": Table(("experiment", "weights not 0", "spikes a neuron and step",
                       "synaptic operations", "operations, nJ", "times less",
                       "with 32-bit products", "with memory, nJ", "times less",
                       "memory: times less, 2-bit codes", "packed", "as stored", "cycles"), cost)}


def published(found: Iterable[Mapping[str, Any]]) -> Table | None:
    """Return our accuracies beside published ones of the same sets, if there are any of these."""
    rows, ours = [], set()
    datasets = {each["dataset"]: [] for each in found}
    for each in found:
        datasets[each["dataset"]].append(each)
    for dataset, experiments in datasets.items():
        others = [each for each in ACCURACIES if each.dataset == dataset]
        for each in experiments if others else ():
            ours.add(len(rows))
            rows.append((dataset, f"ours, {each['name']}, integer",
                         f"{each['arch']}, T = {each['timesteps']}",
                         spread([one["integer"] for one in each["seeds"]]), "measured"))
        rows += [(each.whole or dataset, each.work, each.network, f"{each.share:.2%}", each.read)
                 for each in others]
    return Table(("set", "work", "network", "accuracy", "read"), rows, ours) if rows else None


def picture(found: Iterable[Mapping[str, Any]]) -> str:
    """Return the accuracies as SVG, a panel for each data set."""
    panels: dict[str, list[Row]] = {}
    for each in found:
        panels.setdefault(each["dataset"], []).append(Row(each["name"], tuple(
            [one[stage] for one in each["seeds"]] for stage in ("float", "integer"))))
    return range_chart("Accuracy on the test set: mean, lowest and highest of the seeds",
                       ("full precision", "integer"),
                       [Panel(dataset, tuple(rows)) for dataset, rows in panels.items()])


def measured(folder: Path) -> list[dict[str, Any]]:
    """Return the experiments that are there: by data set, and then in the order of `recipes`.

    What is not known there stands at the end.

    Raises
    ------
    ExperimentError
        If a file does not hold an experiment.
    """
    sets, order = [recipe.dataset for recipe in RECIPES.values()], list(names(recipes()))

    def place(each: Mapping[str, Any]) -> tuple[int, ...]:
        return tuple(among.index(item) if item in among else len(among)
                     for among, item in ((sets, each["dataset"]), (order, each["name"])))

    found = [_read(file) for file in sorted(folder.glob("*.json"))]
    return sorted((each for each in found if each["seeds"]), key=place)


def document(folder: Path) -> str:
    """Return all that is there as Markdown, and what is not; empty if nothing is."""
    if not (found := measured(folder)):
        return ""
    parts = [markdown(table) for table in tables(found).values()]
    parts.append("![The accuracies as ranges, each set on its own axis](experiments.svg)\n")
    if beside := published(found):
        parts.append(markdown(beside))
    there = {each["name"] for each in found}
    if missing := [f"`{name}`" for name in names(recipes()) if name not in there]:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    return "\n".join(parts)


def _read(file: Path) -> dict[str, Any]:
    """Return the experiment of a file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found["seeds"], list):
            return found
    except (KeyError, TypeError, ValueError):
        pass
    raise ExperimentError(f"{file} does not hold an experiment; remove it, and it is made again")


def _run(name: str, text: str, seeds: range, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the seeds of an experiment that its file does not have; write it after each."""
    changes = Changes(recipe=text, epochs=options.epochs)
    dataset = load(dataset_name(None, changes), options.data)
    recipe = choose_recipe(dataset, changes)
    setting = Setting(options.core or core_of(name), options.samples, options.jobs,
                      Compute(checkpoints=options.checkpoints))
    found: dict[str, Any] = {
        "name": name, "dataset": dataset.name, "arch": recipe.arch,
        "timesteps": recipe.timesteps, "core": setting.core,
        "samples": min(setting.samples, len(dataset.test_y)),
        "test_samples": len(dataset.test_y), "recipe": repr(recipe)}
    file, done = options.folder / f"{name}.json", []
    if file.exists():
        before = _read(file)
        if found == {key: value for key, value in before.items() if key != "seeds"}:
            done = before["seeds"]
        else:
            print(f"{name}: what is there is of another recipe, core or number of samples; "
                  "it is replaced")
    for seed in seeds:
        if any(one["seed"] == seed for one in done):
            print(f"{name}, seed {seed}: is there", flush=True)
            continue
        print(f"{name}, seed {seed} ...", flush=True)
        done = sorted([*done, measure(recipe, dataset, seed, setting)],
                      key=lambda one: one["seed"])
        write_text(file, json.dumps(found | {"seeds": done}, indent=1) + "\n")
    return found | {"seeds": done}


def main(arguments: list[str] | None = None) -> int:
    """Measure experiments; return 1 if one of them could not be, or the RTL differs."""
    parser = argparse.ArgumentParser(prog="python -m bench.experiments",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", nargs="+", metavar="RECIPE",
                        help="shipped recipes by name, or TOML files (default all that are "
                             "committed)")
    parser.add_argument("--data", type=Path, help="the folder of the data sets")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--samples", type=int, default=100,
                        help="through the RTL a network (default 100)")
    parser.add_argument("--core", help="default medium, or one that holds the network")
    parser.add_argument("--jobs", type=int, default=1, help="simulators at once (default 1)")
    parser.add_argument("--epochs", type=int, help="of each training (default the recipe's)")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR",
                        help="keep trainings here after each epoch, and go on with those that "
                             "were stopped")
    parser.add_argument("--folder", type=Path, default=Path("build/experiments"))
    options = parser.parse_args(arguments)
    for name, least in (("seeds", 1), ("seed", 0), ("samples", 1), ("jobs", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}, not {getattr(options, name)}")
    failed = False
    try:
        for name, text in names(options.recipe or recipes()).items():
            try:
                found = _run(name, text, range(options.seed, options.seed + options.seeds),
                             options)
                if differing := [str(one["seed"]) for one in found["seeds"] if one["mismatches"]]:
                    failed = _tell(f"{name}: the RTL differs from the golden model with seed "
                                   f"{', '.join(differing)}")
            except (OSError, RuntimeError, ValueError) as error:
                failed = _tell(f"{name}: {_message(error)}")
        for title, table in tables(measured(options.folder)).items():
            show(table, f"Experiments, {title}")
    except (OSError, ValueError) as error:
        return _tell(_message(error))
    return failed


def _tell(text: str) -> bool:
    """Print what is wrong; return that something is."""
    print(f"bench.experiments: {text}", file=sys.stderr)
    return True


def _message(error: Exception) -> str:
    """Return what an error says to the user, or raise it if it is a fault of the program."""
    message = str(error) if isinstance(error, ExperimentError) else explain(error)
    if message is None:
        raise error
    return message


if __name__ == "__main__":
    sys.exit(main())
