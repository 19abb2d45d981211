"""What the commands do: check, compute, write files, print a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data import DataError, Dataset, load
from model.files import atomic_write
from model.network import InputCoding, IntegerNetwork
from ternspike import console, tables
from ternspike.cores import parse_core
from ternspike.outputs import check_outputs, write_json, write_text
from ternspike.samples import Samples, test_samples

if TYPE_CHECKING:
    from hw.parameters import CoreParameters
    from model.recipes import Recipe
    from ternspike.evaluation import Evaluation
    from ternspike.training import Changes, Trained

__all__ = ["MismatchError", "demo", "estimate", "info", "simulate", "train", "verilog"]

#: Random samples of an estimate for which there is no data set.
RANDOM_SAMPLES = 64

#: The name of the core in Verilog.
MODULE = "ternspike_core"


class MismatchError(RuntimeError):
    """The RTL and the golden model disagree."""


def demo(
    dataset: str | None, data: Path | None, changes: Changes, *, core: str, count: int | None,
    jobs: int, seed: int, folder: Path, json: Path | None,
) -> None:
    """Train, simulate, report; all results go to ``folder``."""
    from ternspike.training import choose_recipe, dataset_name

    folder.mkdir(parents=True, exist_ok=True)
    network_file, report, numbers = (
        folder / name for name in ("network.safetensors", "report.html", "report.json"))
    check_outputs(network_file, report, numbers, json)
    parameters = parse_core(core)
    dataset = dataset_name(dataset, changes)
    samples = load(dataset, data)
    recipe = choose_recipe(samples, changes)
    _check_size(recipe, parameters)
    console.note(f"Train {recipe.arch} on {samples.name}, in full precision and ternary.")
    trained = _train(recipe, samples, seed)
    trained.network.save(network_file)
    console.note(f"Run it on the RTL of {core}, and compare with the golden model.")
    evaluation = _evaluate(trained.network, test_samples(trained.network, samples, count, seed),
                           core, parameters, jobs=jobs, seed=seed)
    summary = _summary(evaluation, seed) | {"fold": trained.summary["fold"]}
    write_json(numbers, summary)
    write_json(json, summary)
    command = _demo_command(dataset, recipe, summary, changes)
    write_text(report, _report(evaluation, summary, command))
    tables.evaluation(summary)
    console.note(f"Report: {report}")
    _require_equal(summary)


def train(
    dataset: str | None, data: Path | None, changes: Changes, *, seed: int, output: Path,
    json: Path | None,
) -> None:
    """Train a network and write it."""
    from ternspike.training import choose_recipe, dataset_name

    check_outputs(output, json)
    samples = load(dataset_name(dataset, changes), data)
    trained = _train(choose_recipe(samples, changes), samples, seed)
    trained.network.save(output)
    write_json(json, trained.summary)
    tables.training(trained.summary)
    console.note(f"Network: {output}")


def simulate(
    network_file: Path, dataset: str | None, data: Path | None, *, core: str, count: int | None,
    jobs: int, seed: int, stalls: float, dump: Path | None, waves: Path | None,
    report: Path | None, json: Path | None,
) -> None:
    """Run samples through the RTL and compare."""
    check_outputs(dump, waves, report, json)
    parameters = parse_core(core)
    network = IntegerNetwork.load(network_file)
    samples = test_samples(network, load(_dataset_name(network, dataset), data), count, seed)
    evaluation = _evaluate(network, samples, core, parameters, jobs=jobs, seed=seed,
                           stalls=stalls, waves=waves)
    summary = _summary(evaluation, seed)
    write_json(json, summary)
    if dump is not None:
        _dump(dump, evaluation)
    if report is not None:
        command = (f"ternspike simulate {network_file.name} --dataset {samples.dataset} --data DIR "
                   f"--core {core} --samples {len(samples)} --seed {seed}")
        write_text(report, _report(evaluation, summary, command))
    tables.evaluation(summary)
    _require_equal(summary)


def estimate(
    network_file: Path, dataset: str | None, data: Path | None, *, core: str, count: int | None,
    seed: int, json: Path | None,
) -> None:
    """Predict cycles, fetches and energy."""
    check_outputs(json)
    parameters = parse_core(core)
    network = IntegerNetwork.load(network_file)
    samples = _estimate_samples(network, dataset, data, count, seed)
    from ternspike.evaluation import predict
    from ternspike.summary import summarise_prediction

    summary = summarise_prediction(predict(network, samples, core, parameters))
    write_json(json, summary)
    tables.estimate(summary)


def info(network_file: Path, *, json: Path | None) -> None:
    """Show what a network is made of."""
    from model.accounting import summary

    check_outputs(json)
    content = summary(IntegerNetwork.load(network_file))
    write_json(json, content)
    tables.info(content)


def verilog(core: str, network_file: Path | None, *, output: Path, json: Path | None) -> None:
    """Write the Verilog of a core."""
    from hw.core import Core
    from sim.verilog import component_ports, to_verilog

    check_outputs(output, json)
    parameters, image = parse_core(core), None
    if network_file is not None:
        from mapping.program import compile_network
        image = compile_network(IntegerNetwork.load(network_file), parameters).image()
    component = Core(parameters, image=image)
    text = to_verilog(component, MODULE)
    write_text(output, text)
    summary = {
        "core": {"name": core} | parameters.to_dict(),
        "module": MODULE,
        "lines": text.count("\n"),
        "ports": {port.name: len(port) for port in component_ports(component)},
    }
    write_json(json, summary)
    console.note(f"{output}: module {MODULE}, {summary['lines']} lines")


def _train(recipe: Recipe, dataset: Dataset, seed: int) -> Trained:
    """Train under a progress display."""
    from ternspike.training import train_network

    with console.training() as progress:
        return train_network(recipe, dataset, seed, progress)


def _evaluate(
    network: IntegerNetwork, samples: Samples, core: str, parameters: CoreParameters, *,
    jobs: int, seed: int, stalls: float = 0.0, waves: Path | None = None,
) -> Evaluation:
    """Simulate under a progress display."""
    from ternspike.evaluation import evaluate

    with console.counting("Simulate the RTL", len(samples)) as progress:
        return evaluate(network, samples, core, parameters, jobs=jobs, seed=seed, stalls=stalls,
                        waves=waves, progress=progress)


def _summary(evaluation: Evaluation, seed: int) -> dict[str, Any]:
    """Return the numbers of an evaluation."""
    from ternspike.summary import summarise

    return summarise(evaluation, seed)


def _report(evaluation: Evaluation, summary: dict[str, Any], command: str) -> str:
    """Return the report's page."""
    from ternspike.report import render

    return render(evaluation, summary, command)


def _demo_command(dataset: str, recipe: Recipe, summary: Mapping[str, Any],
                  changes: Changes) -> str:
    """Return what to type to see the same numbers again."""
    named = f" --recipe {changes.recipe}" if changes.recipe else ""
    epochs = f" --epochs {changes.epochs}" if changes.epochs else ""
    return (f"ternspike demo --dataset {dataset}{'' if dataset == 'digits' else ' --data DIR'}"
            f"{named} --core {summary['core']['name']} --samples {summary['samples']} "
            f"--arch {quote(recipe.arch)} --timesteps {summary['timesteps']}{epochs} "
            f"--seed {summary['seed']}")


def _require_equal(summary: Mapping[str, Any]) -> None:
    """Fail, after everything is written, if the RTL is not the golden model."""
    if summary["mismatches"]:
        raise MismatchError(f"{summary['mismatches']} of {summary['compared']} values differ from "
                            f"the golden model, the first: {summary['first_mismatch']}")


def _check_size(recipe: Recipe, parameters: CoreParameters) -> None:
    """Raise before the training if no network of the recipe's shape fits the core."""
    from mapping.program import compile_network
    from model.fold import blank

    compile_network(blank(recipe.architecture, recipe.timesteps, recipe.coding, recipe.neuron),
                    parameters)


def _dataset_name(network: IntegerNetwork, given: str | None) -> str:
    """Return the data set that was asked for, or the network's own."""
    name = given or network.metadata.get("dataset")
    if not name:
        raise DataError("The network file names no data set: give --dataset")
    return name


def _estimate_samples(
    network: IntegerNetwork, dataset: str | None, data: Path | None, count: int | None, seed: int,
) -> Samples:
    """Return samples of the data set, or random ones if none is asked for and none is at hand."""
    if dataset is None:
        try:
            return test_samples(network, load(_dataset_name(network, None), data), count, seed)
        except DataError as error:
            if data is not None:
                raise
            console.note(f"Inputs are random. {error}")
    else:
        return test_samples(network, load(dataset, data), count, seed)
    shape = (count or RANDOM_SAMPLES, network.inputs)
    if network.input is InputCoding.SPIKES:
        shape = (shape[0], network.timesteps, network.inputs)
    inputs = np.random.default_rng(seed).integers(0, network.input_max + 1, shape, np.uint8)
    return Samples("random", inputs, np.zeros(len(inputs), np.int64), inputs)


def _dump(path: Path, evaluation: Evaluation) -> None:
    """Write all that the simulation recorded."""
    simulation = evaluation.simulation
    arrays = {"labels": evaluation.samples.labels, "classes": simulation.classes,
              "readout": simulation.readout, "cycles": simulation.cycles}
    for kind, recorded in (("spikes", simulation.spikes), ("membranes", simulation.membranes)):
        arrays |= {f"{kind}_{number}": array for number, array in enumerate(recorded)}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
