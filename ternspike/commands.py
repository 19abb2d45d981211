"""What the commands do: check, compute, write files, print a table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data import DataError, Dataset, load
from model.network import InputCoding, IntegerNetwork
from ternspike import console, tables
from ternspike.cores import parse_core
from ternspike.outputs import check_outputs, write_json, write_text
from ternspike.samples import Samples, test_samples

if TYPE_CHECKING:
    from hw.axi import TernspikeAXI
    from hw.core import Core
    from hw.parameters import CoreParameters
    from model.recipes import Recipe
    from model.train import Compute
    from sim.run import SimulationResult
    from ternspike.evaluation import Evaluation
    from ternspike.training import Changes, Trained

__all__ = ["MismatchError", "bundle", "demo", "estimate", "info", "run", "simulate", "soc",
           "train", "verilog"]

#: Random samples of an estimate for which there is no data set.
RANDOM_SAMPLES = 64

#: The names in Verilog of the core, and of the core behind AXI.
MODULES = {"core": "ternspike_core", "axi": "ternspike_axi"}


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
    dataset: str | None, data: Path | None, changes: Changes, *, seed: int, threads: int,
    device: str, checkpoints: Path | None, output: Path, json: Path | None,
) -> None:
    """Train a network and write it."""
    from model.train import Compute
    from ternspike.training import choose_recipe, dataset_name

    check_outputs(output, json)
    compute = Compute(threads, device, checkpoints)
    samples = load(dataset_name(dataset, changes), data)
    trained = _train(choose_recipe(samples, changes), samples, seed, compute)
    trained.network.save(output)
    write_json(json, trained.summary)
    tables.training(trained.summary)
    console.note(f"Network: {output}")


def simulate(
    network_file: Path, dataset: str | None, data: Path | None, *, core: str, count: int | None,
    jobs: int, seed: int, stalls: float, netlist: bool, dump: Path | None, waves: Path | None,
    report: Path | None, json: Path | None,
) -> None:
    """Run samples through the RTL and compare."""
    from ternspike.dump import Dump

    check_outputs(dump, waves, report, json)
    parameters = parse_core(core)
    network = IntegerNetwork.load(network_file)
    dataset = _dataset_name(network, dataset)
    samples = test_samples(network, load(dataset, data), count, seed)
    with contextlib.ExitStack() as stack:
        dumped = None if dump is None else stack.enter_context(Dump(dump, len(samples)))
        evaluation = _evaluate(network, samples, core, parameters, jobs=jobs, seed=seed,
                               stalls=stalls, netlist=netlist, waves=waves,
                               record=dumped and dumped.add)
        summary = _summary(evaluation, seed)
        write_json(json, summary)
        if dumped is not None:
            dumped.write(samples.labels, evaluation.simulation)
    if report is not None:
        # Random stalls come at other times where other simulators share the samples.
        command = _command("simulate", dataset, quote(network_file.name), core=core,
                           samples=len(samples), stalls=stalls or None,
                           jobs=jobs if stalls else None, seed=seed)
        write_text(report, _report(evaluation, summary, command))
    tables.evaluation(summary)
    _require_equal(summary)


def run(
    network_file: Path, dataset: str | None, data: Path | None, *, port: str, core: str,
    count: int | None, seed: int, json: Path | None,
) -> None:
    """Run samples on a device and compare."""
    from ternspike.running import device_at, measure, summarise_run

    check_outputs(json)
    parameters = parse_core(core)
    network = IntegerNetwork.load(network_file)
    samples = test_samples(network, load(_dataset_name(network, dataset), data), count, seed)
    with device_at(port, network, parameters) as device:
        with console.searching() as progress:
            measured = measure(device, network, samples, progress)
        summary = summarise_run(port, device, network, samples, measured, seed)
    write_json(json, summary)
    tables.run(summary)
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

    with console.counting(len(samples)) as progress:
        prediction = predict(network, samples, core, parameters, progress=progress)
    summary = summarise_prediction(prediction)
    write_json(json, summary)
    tables.estimate(summary)


def bundle(
    network_file: Path, dataset: str | None, data: Path | None, *, losses: Sequence[float],
    count: int, seed: int, output: Path | None, json: Path | None,
) -> None:
    """Measure what bundling saves; write the network that it makes."""
    check_outputs(output, json)
    network = IntegerNetwork.load(network_file)
    samples = load(_dataset_name(network, dataset), data)
    from model.accounting import arch
    from ternspike.bundling import bundling, summarise_bundling

    with console.searching() as progress:
        rows = bundling(network, samples, losses, count=count, seed=seed, progress=progress)
    summary = {"dataset": samples.name, "arch": arch(network), "timesteps": network.timesteps,
               "samples": count, "seed": seed, "rows": summarise_bundling(rows)}
    write_json(json, summary)
    tables.bundling(summary)
    if output is not None:
        collapsed = min((row for row in rows if row.loss == losses[-1]),
                        key=lambda row: row.test.energy)
        collapsed.test.network.save(output)
        console.note(f"Network: {output}")


def info(network_file: Path, *, json: Path | None) -> None:
    """Show what a network is made of."""
    from model.accounting import summary

    check_outputs(json)
    content = summary(IntegerNetwork.load(network_file))
    write_json(json, content)
    tables.info(content)


def verilog(
    core: str, network_file: Path | None, *, top: str, output: Path, json: Path | None,
) -> None:
    """Write the Verilog of a core, bare or behind AXI."""
    from hw.axi import TernspikeAXI
    from hw.core import Core
    from sim.verilog import to_verilog

    check_outputs(output, json)
    parameters, image = _parameters(core, network_file)
    component = {"core": Core, "axi": TernspikeAXI}[top](parameters, image=image)
    text = to_verilog(component, MODULES[top])
    write_text(output, text)
    _summarise_verilog(core, component, text, MODULES[top], output=output, json=json)


def soc(core: str, network_file: Path | None, *, folder: Path, json: Path | None) -> None:
    """Write a core behind AXI, and what tools and software want to know of it."""
    from hw.axi import TernspikeAXI
    from sim.verilog import to_verilog
    from ternspike.soc import COMPANIONS, companions

    module = MODULES["axi"]
    output = folder / f"{module}.v"
    folder.mkdir(parents=True, exist_ok=True)
    check_outputs(output, *(folder / name for name in COMPANIONS), json)
    parameters, image = _parameters(core, network_file)
    component = TernspikeAXI(parameters, image=image)
    text = to_verilog(component, module)
    for name, content in ({output.name: text} | companions(component, module)).items():
        write_text(folder / name, content)
    _summarise_verilog(core, component, text, module, output=output, json=json)
    console.note(f"{folder}: {', '.join(COMPANIONS)}")


def _parameters(core: str, network_file: Path | None) -> tuple[CoreParameters, dict | None]:
    """Return the parameters of a core, and the contents of its memories if there is a network."""
    parameters = parse_core(core)
    if network_file is None:
        return parameters, None
    from mapping.program import compile_network

    return parameters, compile_network(IntegerNetwork.load(network_file), parameters).image()


def _summarise_verilog(
    core: str, component: Core | TernspikeAXI, text: str, module: str, *, output: Path,
    json: Path | None,
) -> None:
    """Tell what was written."""
    from sim.verilog import component_ports

    summary = {
        "core": {"name": core} | component.parameters.to_dict(),
        "module": module,
        "lines": text.count("\n"),
        "ports": {port.name: len(port) for port in component_ports(component)},
    }
    write_json(json, summary)
    console.note(f"{output}: module {module}, {summary['lines']} lines")


def _train(recipe: Recipe, dataset: Dataset, seed: int,
           compute: Compute | None = None) -> Trained:
    """Train under a progress display."""
    from ternspike.training import train_network

    with console.training() as progress:
        return train_network(recipe, dataset, seed, progress, compute)


def _evaluate(
    network: IntegerNetwork, samples: Samples, core: str, parameters: CoreParameters, *,
    jobs: int, seed: int, stalls: float = 0.0, netlist: bool = False, waves: Path | None = None,
    record: Callable[[int, SimulationResult], None] | None = None,
) -> Evaluation:
    """Simulate under a progress display."""
    from ternspike.evaluation import evaluate

    with console.counting(len(samples)) as progress:
        return evaluate(network, samples, core, parameters, jobs=jobs, seed=seed, stalls=stalls,
                        netlist=netlist, waves=waves, progress=progress, record=record)


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
    """Return what to type to see the same numbers again.

    The layers and steps are told even where they are the recipe's: they may change there.
    """
    signed = {None: None, True: "--signed", False: "--unsigned"}[changes.signed]
    pruning = [f"--prune {quote(each)}" for each in changes.prune or ()]
    return _command(
        "demo", dataset, signed, None if changes.calibrate else "--no-calibration", *pruning,
        recipe=changes.recipe, arch=recipe.arch, timesteps=recipe.timesteps,
        levels=changes.levels, coding=changes.coding, epochs=changes.epochs,
        core=summary["core"]["name"], samples=summary["samples"], seed=summary["seed"])


def _command(name: str, dataset: str, *words: str | None, **options: object) -> str:
    """Return a command line for a POSIX shell; what is None is not in it.

    The folder of the data is where the reader has it.
    """
    folder = None if dataset == "digits" or dataset.endswith(".npz") else "DIR"
    told = [f"--{option} {quote(str(value))}"
            for option, value in {"dataset": dataset, "data": folder, **options}.items()
            if value is not None]
    return " ".join(["ternspike", name, *(word for word in words if word is not None), *told])


def _require_equal(summary: Mapping[str, Any]) -> None:
    """Fail, after everything is written, if the RTL is not the golden model."""
    if summary["mismatches"]:
        raise MismatchError(f"{summary['mismatches']} of {summary['compared']} values differ from "
                            f"the golden model, the first: {summary['first_mismatch']}")


def _check_size(recipe: Recipe, parameters: CoreParameters) -> None:
    """Raise before the training if no network of the recipe's shape fits the core.

    What a pruning leaves of it is not known before.
    """
    from mapping.program import compile_network
    from model.fold import blank

    if not recipe.pruning:
        compile_network(blank(recipe.architecture, recipe.timesteps, recipe.coding,
                              recipe.neuron), parameters)


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
    steps = () if network.input is InputCoding.STATIC else (network.timesteps,)
    inputs = np.random.default_rng(seed).integers(
        network.input_min, network.input_max + 1, (count or RANDOM_SAMPLES, *steps, network.inputs),
        np.int8 if network.input_signed else np.uint8)
    return Samples("random", inputs, np.zeros(len(inputs), np.int64), inputs, len(inputs))
