"""What pruning saves: accuracy against synaptic operations and cycles.

``python -m bench.pruning --dataset digits`` trains a recipe once and prunes its ternary network in
several ways, further and further with some training after each step. It writes
``build/pruning/NAME.json`` and a picture beside it, NAME being that of the recipe, and prints the
table. Accuracies are those of the whole test set, the other figures those of its first samples.
"""
import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.cores import core_of
from bench.curves import Chart, Curve, curve_chart
from bench.tables import Table, show, write_text
from hw.parameters import CoreParameters
from mapping.cycles import estimate
from mapping.errors import MappingError
from mapping.program import compile_network
from model.accounting import arch, energy, memory
from model.architecture import DenseSpec
from model.checkpoint import CheckpointError
from model.data import Coding, DataError, Dataset, load
from model.golden import execute
from model.importance import Score, observe, operations
from model.network import IntegerNetwork
from model.prune import PruningError, PruningSettings, Scope, Unit
from model.recipes import RECIPES, Recipe, RecipeError
from model.train import Compute, TrainingResult, prune_further, train
from ternspike import console
from ternspike.cores import CoreError, parse_core
from ternspike.evaluation import evaluate
from ternspike.samples import test_samples

__all__ = ["Way", "main", "measure", "measure_float", "picture", "table", "ways"]


@dataclass(frozen=True)
class Way:
    """A way to prune: a name, and the settings of each step."""

    name: str
    steps: tuple[PruningSettings, ...]


def ways(recipe: Recipe, core: CoreParameters, epochs: int) -> list[Way]:
    """Return the ways that are compared.

    Whole tiles are so many neurons that they fill the core's lanes. Channels of a convolution fill
    whole columns of its banks: several pixels share the lanes. Amounts are shares of the network
    that was trained, also those of weights after neurons.
    """
    dense = all(isinstance(spec, DenseSpec) for spec in recipe.architecture.hidden)
    align = core.lanes if dense else core.banks

    def by(*amounts: float, **choices) -> tuple[PruningSettings, ...]:
        return tuple(PruningSettings(amount, epochs=epochs, **choices) for amount in amounts)

    weights, neurons = (0.8, 0.9, 0.95, 0.975), (0.5, 0.75, 0.875)
    static = recipe.coding is Coding.STATIC
    inputs = {"input_bits": 4} if static else {}
    of_input = ", 4 bits of the input" if static else ""
    whole = by(0.5, 0.75, unit=Unit.NEURONS, score=Score.RELIEF, align=align)
    return [
        Way("weights by magnitude", by(*weights)),
        Way("weights by magnitude, all layers", by(*weights, scope=Scope.GLOBAL)),
        Way("weights by relief", by(*weights, score=Score.RELIEF)),
        *(Way(f"weights by operations, {share:.0%} of the spikes{of_input}",
              by(amount, scope=Scope.OPERATIONS, spikes=share, rate=1.0, **inputs))
          for amount, share in ((0.5, 0.7), (0.63, 0.5))),
        Way("neurons by membrane", by(*neurons, unit=Unit.NEURONS, score=Score.MEMBRANE)),
        Way("neurons by relief", by(*neurons, unit=Unit.NEURONS, score=Score.RELIEF)),
        Way(f"whole {'tiles' if dense else 'columns'} by relief, then weights",
            whole + by(0.95, 0.97)),
    ]


def measure(result: TrainingResult, core: CoreParameters, source: Dataset, samples: int,
            ) -> dict[str, Any]:
    """Return the figures of a network: those of a sample are means over the first test samples.

    ``ops`` are synaptic operations, an addition for each event and weight that is not 0;
    ``fetches`` the weights that events meet, 0 or not; ``words`` those that the core reads, a word
    for all its lanes; ``cycles`` by the cycle model.
    """
    network = result.network
    inputs = test_samples(network, source, samples, result.seed).inputs
    trace = execute(network, inputs)
    costs, sizes = energy(network, inputs, trace), memory(network)
    found = estimate(compile_network(network, core), inputs, trace.spikes)
    return {
        "arch": arch(network),
        "pruning": [str(each) for each in result.recipe.pruning],
        "accuracy": result.integer_accuracy,
        "weights": sizes.sum("weights"),
        "nonzero": sizes.sum("nonzero"),
        "bytes": sizes.total("packed"),
        "events": costs.total("events"),
        "ops": costs.total("adds"),
        "fetches": costs.total("fetches"),
        "words": float(sum(layer.weight_fetches.mean() for layer in found.layers)),
        "cycles": float(found.cycles.mean()),
    }


def measure_float(result: TrainingResult, source: Dataset, samples: int) -> dict[str, Any]:
    """Return what the full-precision network does with the same samples: no weight of it is 0."""
    inputs = test_samples(result.network, source, samples, result.seed).inputs
    layers = result.float_model.weighted_layers()
    costs = operations(result.float_model, observe(result.float_model, inputs))
    sizes = [layer.weight.numel() for layer in layers]
    return {"weights": sum(sizes),
            "ops": sum(cost * size for cost, size in zip(costs, sizes, strict=True))}


def table(found: dict[str, Any]) -> Table:
    """Return the figures, those of the networks that are not pruned first."""
    base, whole = found["base"], found.get("float")

    def line(name: str, each: dict[str, Any]) -> tuple[str, ...]:
        def less(member: str) -> str:
            return f"{each[member]:,.0f} ({base[member] / each[member]:.1f} x)"

        rtl = each.get("rtl")
        return (name, f"{100 * each['amount']:.4g} %", str(each["epochs"]), each["arch"],
                f"{100 * each['accuracy']:.2f} %", f"{each['nonzero']:,}", less("ops"),
                less("words"), less("cycles"), less("bytes"),
                "-" if rtl is None else f"{rtl['cycles']:,.1f}, {rtl['model']:,.1f}; "
                                        f"{rtl['mismatches']} of {rtl['compared']:,}")

    rows = [line("not pruned", base)]
    if whole is not None:
        rows.append(("full precision", "0 %", "0", base["arch"],
                     f"{100 * found['float_accuracy']:.2f} %", f"{whole['weights']:,}",
                     f"{whole['ops']:,.0f} ({base['ops'] / whole['ops']:.1f} x)", *"----"))
    for way in found["ways"]:
        rows += [line(way["name"], each) for each in way["points"]]
    return Table(("pruned", "amount", "epochs", "layers", "accuracy", "weights not 0",
                  "synaptic operations", "weight words read", "cycles", "bytes",
                  "RTL: cycles, model; mismatches"), rows, {0})


def picture(found: dict[str, Any]) -> str:
    """Return the curves as SVG."""
    base = found["base"]

    def curves(member: str) -> tuple[Curve, ...]:
        return tuple(Curve(way["name"], tuple((each[member], each["accuracy"])
                                              for each in (base, *way["points"])))
                     for way in found["ways"])

    reference = f"not pruned, {base['accuracy']:.2%}", base["accuracy"]
    return curve_chart(f"{found['name']}, pruned", [
        Chart("Accuracy, higher is better", "synaptic operations a sample", curves("ops"),
              reference),
        Chart("Accuracy, higher is better", f"cycles a sample on {found['core']}",
              curves("cycles"), reference)])


def _chosen(ways: list[Way], names: list[str] | None, steps: int | None) -> list[Way]:
    """Return the first steps of the ways whose names begin so; all where nothing is given."""
    ways = [replace(way, steps=way.steps[:steps]) for way in ways]
    if names is None:
        return ways
    for name in names:
        if not any(way.name.startswith(name) for way in ways):
            raise PruningError(f"Unknown way {name!r}; known: "
                               f"{', '.join(way.name for way in ways)}")
    return [way for way in ways if any(way.name.startswith(name) for name in names)]


def _rtl(network: IntegerNetwork, source: Dataset, core: str, samples: int) -> dict[str, Any]:
    """Run samples through the RTL."""
    ran = evaluate(network, test_samples(network, source, samples), core, parse_core(core))
    return {"samples": samples, "cycles": float(ran.simulation.cycles.mean()),
            "model": float(ran.estimate.cycles.mean()),
            "mismatches": ran.comparison.mismatches, "compared": ran.comparison.compared}


def main(arguments: list[str] | None = None) -> int:
    """Prune in all ways; return 1 if data can't be read or a network does not fit."""
    parser = argparse.ArgumentParser(prog="python -m bench.pruning",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits", help="default digits")
    parser.add_argument("--data", type=Path, help="its folder")
    parser.add_argument("--recipe", help="default: as the data set is called, or its -conv")
    parser.add_argument("--core", help="default medium, or one that holds the recipe")
    parser.add_argument("--epochs", type=int, default=12, help="after each step (default 12)")
    parser.add_argument("--train-epochs", type=int, help="of each training before (default: the "
                        "recipe's)")
    parser.add_argument("--only", nargs="+", metavar="WAY", help="ways by their names, or how they "
                        "begin (default: all)")
    parser.add_argument("--steps", type=int, help="of each way, the first so many (default all)")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR",
                        help="keep trainings here after each epoch, and go on with those that "
                             "were stopped")
    parser.add_argument("--samples", type=int, default=300,
                        help="test samples whose events and cycles are counted (default 300)")
    parser.add_argument("--rtl", type=int, default=0, metavar="SAMPLES",
                        help="through the RTL, of each network (default none)")
    parser.add_argument("--add", action="store_true", help="keep the other ways that the folder's "
                        "file has, of the same network and samples")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("build/pruning"))
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps must be at least 1, not {options.steps}")
    name = options.recipe or (options.dataset if options.dataset in RECIPES
                              else f"{options.dataset}-conv")
    if name not in RECIPES:
        parser.error(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    try:
        found = _run(name, options)
    except (CheckpointError, CoreError, DataError, MappingError, OSError, PruningError,
            RecipeError) as error:
        print(f"bench.pruning: {error}", file=sys.stderr)
        return 1
    show(table(found), f"{name} on {found['core']}: pruned, {found['samples']} samples")
    print(f"Written: {options.folder / name}.json, .svg")
    return 1 if any(each["rtl"]["mismatches"] for each in _all(found) if "rtl" in each) else 0


def _run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train, prune and measure; write what is found after each step."""
    recipe, source = RECIPES[name], load(options.dataset, options.data)
    if options.train_epochs is not None:
        recipe = replace(recipe, teacher=replace(recipe.teacher, epochs=options.train_epochs),
                         student=replace(recipe.student, epochs=options.train_epochs))
    core = options.core or core_of(name)
    parameters = parse_core(core)
    chosen = _chosen(ways(recipe, parameters, options.epochs), options.only,
                     options.steps)
    # Before the long work: it may not be there.
    path = options.folder / f"{name}.json"
    before = json.loads(path.read_text()) if options.add else None
    print(f"Train {recipe.arch} ...", flush=True)
    compute = Compute(checkpoints=options.checkpoints)
    with console.training() as progress:
        start = train(recipe, source, seed=options.seed, compute=compute, progress=progress)
    samples = min(options.samples, len(source.test_y))
    base = {"amount": 0.0, "epochs": 0} | measure(start, parameters, source, samples)
    if options.rtl:
        base["rtl"] = _rtl(start.network, source, core, options.rtl)
    found: dict[str, Any] = {
        "name": name, "core": core, "timesteps": recipe.timesteps, "seed": options.seed,
        "samples": samples, "test_samples": len(source.test_y),
        "float_accuracy": start.float_accuracy, "float": measure_float(start, source, samples),
        "base": base, "ways": []}
    if before is not None:
        found["ways"] = _others(before, found, chosen)
    for way in chosen:
        found["ways"].append({"name": way.name, "points": []})
        result = start
        for number, settings in enumerate(way.steps, 1):
            print(f"{way.name}, {number} of {len(way.steps)} ...", flush=True)
            with console.training() as progress:
                result = prune_further(result, source, settings, compute=compute,
                                       progress=progress)
            point = {"amount": settings.amount, "epochs": settings.epochs} | measure(
                result, parameters, source, samples)
            if options.rtl:
                point["rtl"] = _rtl(result.network, source, core, options.rtl)
            found["ways"][-1]["points"].append(point)
            write_text(path, json.dumps(found, indent=1) + "\n")
            write_text(options.folder / f"{name}.svg", picture(found))
    return found


def _others(before: dict[str, Any], found: dict[str, Any], chosen: list[Way],
            ) -> list[dict[str, Any]]:
    """Return the ways of an earlier run that are not run again, if its base is the same."""
    different = [member for member, value in found.items()
                 if member != "ways" and value != before.get(member)]
    if different:
        raise PruningError(f"The ways that are there were measured from another network, or "
                           f"otherwise: {', '.join(different)} differ")
    names = {way.name for way in chosen}
    return [way for way in before["ways"] if way["name"] not in names]


def _all(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of all networks."""
    return [found["base"], *(each for way in found["ways"] for each in way["points"])]


if __name__ == "__main__":
    sys.exit(main())
