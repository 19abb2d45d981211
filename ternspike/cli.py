"""The command line: options and help; what the commands do is in `ternspike.commands`.

PyTorch, Amaranth and NumPy are imported by the commands that use them, so that ``--help`` is quick.
"""

import enum
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ternspike import __version__, console
from ternspike.errors import explain

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train spiking networks with ternary weights, and run them on the Ternspike core.",
    no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class CodingName(enum.StrEnum):
    """How samples become a network's input: the values of `model.data.Coding`."""

    STATIC = "static"
    RATE = "rate"
    EVENTS = "events"


class TopName(enum.StrEnum):
    """What `ternspike verilog` writes: the values of `ternspike.commands.MODULES`."""

    CORE = "core"
    AXI = "axi"


Network = Annotated[Path, typer.Argument(
    metavar="NETWORK", help="Network file, as `ternspike train` writes it.")]
TrainingSet = Annotated[str | None, typer.Option(
    "--dataset", metavar="NAME", show_default=False,
    help="digits, mnist, fashion-mnist, cifar10, salinas-a, fsdd, nmnist, or an .npz file with "
         "train_x, train_y, test_x, test_y. Default: the recipe's, or digits.")]
RecipeName = Annotated[str | None, typer.Option(
    "--recipe", metavar="NAME", show_default=False,
    help="How to train, such as mnist-conv or cifar10-conv, or a .toml file. Default: as the data "
         "set is called.")]
TestSet = Annotated[str | None, typer.Option(
    "--dataset", metavar="NAME", show_default=False,
    help="As for train. Default: the one that the network was trained on.")]
Data = Annotated[Path | None, typer.Option(
    "--data", metavar="DIR", show_default=False,
    help="Folder of MNIST/raw and the other sets. Default: $TERNSPIKE_DATA.")]
Samples = Annotated[int | None, typer.Option(
    "--samples", min=1, show_default=False, help="First so many test samples. Default: all.")]
Core = Annotated[str, typer.Option(
    "--core", metavar="CORE",
    help="tiny, small, medium or large; with changes, as medium,planes=2.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Simulators at the same time.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of everything that is random.")]
Json = Annotated[Path | None, typer.Option(
    "--json", metavar="FILE", show_default=False, help="Write the result as JSON, too.")]
Arch = Annotated[str | None, typer.Option(
    "--arch", metavar="LAYERS", show_default=False,
    help="Inputs, hidden layers, classes, as 784-256-10 or 1x28x28-16C5S2-64C3S2-10. Default: the "
         "recipe's.")]
Timesteps = Annotated[int | None, typer.Option(
    "--timesteps", min=1, show_default=False, help="Steps of a sample. Default: the recipe's.")]
Levels = Annotated[int | None, typer.Option(
    "--levels", min=1, max=15, show_default=False,
    help="Largest count of a spike; 1: binary spikes. Default: the recipe's.")]
Signed = Annotated[bool | None, typer.Option(
    "--signed/--unsigned", show_default=False,
    help="Whether spikes count below 0 too. Default: the recipe's.")]
Coding = Annotated[CodingName | None, typer.Option(
    "--coding", show_default=False,
    help="static: 8-bit values; rate: random spikes; events: spikes. Default: the recipe's.")]
Calibration = Annotated[bool, typer.Option(
    "--calibration/--no-calibration",
    help="Teach the ternary network by its full-precision twin.")]
Epochs = Annotated[int | None, typer.Option(
    "--epochs", min=1, show_default=False, help="Of each training. Default: the recipe's.")]
Threads = Annotated[int, typer.Option(
    "--threads", min=1, help="Of a training: more help large layers on an idle machine.")]
Device = Annotated[str, typer.Option(
    "--device", metavar="NAME", help="Where PyTorch trains: cpu, cuda.")]
Checkpoints = Annotated[Path | None, typer.Option(
    "--checkpoints", metavar="DIR", show_default=False,
    help="Keep a training here after each epoch, and go on with one that was stopped.")]
Prune = Annotated[list[str] | None, typer.Option(
    "--prune", metavar="UNIT,OPTION=VALUE...", show_default=False,
    help="Prune the ternary network: weights,amount=0.8 or neurons,amount=0.5, with options such "
         "as score=relief,rounds=4,align=64; once or more. Default: the recipe's.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 could not be done, 2 not understood."""
    try:
        app(arguments)
    except (OSError, RuntimeError, ValueError) as error:
        message = explain(error)
        if message is None:
            raise
        console.error(message)
        sys.exit(1)


def _version(wanted: bool) -> None:
    """Print the version and stop, if that is what is wanted."""
    if wanted:
        typer.echo(f"ternspike {__version__}")
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def demo(
    dataset: TrainingSet = None, data: Data = None, recipe: RecipeName = None,
    core: Core = "medium", samples: Samples = None, jobs: Jobs = 2, seed: Seed = 1,
    arch: Arch = None, timesteps: Timesteps = None, levels: Levels = None, signed: Signed = None,
    epochs: Epochs = None, coding: Coding = None, calibration: Calibration = True,
    prune: Prune = None,
    output: Annotated[Path, typer.Option(
        "--output", "-o", metavar="DIR", help="Folder of the results.")] = Path("build/demo"),
    json: Json = None,
) -> None:
    """Do it all: train, fold, run the test set through the RTL, compare, write a report."""
    from ternspike import commands
    from ternspike.training import Changes

    changes = Changes(recipe, arch, timesteps, epochs, coding and coding.value, calibration,
                      levels, signed, tuple(prune) if prune else None)
    commands.demo(dataset, data, changes, core=core, count=samples, jobs=jobs, seed=seed,
                  folder=output, json=json)


@app.command()
def train(
    output: Annotated[Path, typer.Option(
        "--output", "-o", metavar="FILE", help="The network file to write.")],
    dataset: TrainingSet = None, data: Data = None, recipe: RecipeName = None, arch: Arch = None,
    timesteps: Timesteps = None, levels: Levels = None, signed: Signed = None,
    epochs: Epochs = None, coding: Coding = None, calibration: Calibration = True,
    prune: Prune = None, seed: Seed = 1, threads: Threads = 1, device: Device = "cpu",
    checkpoints: Checkpoints = None, json: Json = None,
) -> None:
    """Train a full-precision network and its ternary twin, and fold the latter to integers."""
    from ternspike import commands
    from ternspike.training import Changes

    changes = Changes(recipe, arch, timesteps, epochs, coding and coding.value, calibration,
                      levels, signed, tuple(prune) if prune else None)
    commands.train(dataset, data, changes, seed=seed, threads=threads, device=device,
                   checkpoints=checkpoints, output=output, json=json)


@app.command()
def simulate(
    network: Network, dataset: TestSet = None, data: Data = None, samples: Samples = None,
    core: Core = "medium", jobs: Jobs = 2, seed: Seed = 1,
    stalls: Annotated[float, typer.Option(
        "--stalls", min=0.0, max=0.99,
        help="Share of the cycles in which each stream is held up at random.")] = 0.0,
    netlist: Annotated[bool, typer.Option(
        "--netlist", help="Run what synthesis for an iCE40 makes of the core: slow, for small "
                          "cores.")] = False,
    dump: Annotated[Path | None, typer.Option(
        "--dump", metavar="FILE", show_default=False,
        help="Write all spikes, membranes, results and cycles as .npz.")] = None,
    waves: Annotated[Path | None, typer.Option(
        "--waves", metavar="FILE", show_default=False,
        help="Write the waveform of the first sample as .vcd.")] = None,
    report: Annotated[Path | None, typer.Option(
        "--report", metavar="FILE", show_default=False,
        help="Write the report as .html.")] = None,
    json: Json = None,
) -> None:
    """Run test samples through the Verilog of a core; compare all of it with the golden model."""
    from ternspike import commands

    commands.simulate(network, dataset, data, core=core, count=samples, jobs=jobs, seed=seed,
                      stalls=stalls, netlist=netlist, dump=dump, waves=waves, report=report,
                      json=json)


@app.command()
def run(
    network: Network,
    port: Annotated[str, typer.Option(
        "--port", metavar="PORT",
        help="Where the device is: /dev/ttyUSB0, COM3, socket://host:port; or sim, which simulates "
             "a board.")],
    core: Annotated[str | None, typer.Option(
        "--core", metavar="CORE", show_default=False,
        help="Of the simulated board, as for simulate; a device has its own. Default: medium.",
    )] = None,
    dataset: TestSet = None, data: Data = None, samples: Samples = None, seed: Seed = 1,
    json: Json = None,
) -> None:
    """Run test samples on a device; compare all results with the golden model."""
    from ternspike import commands

    if core is not None and port != "sim":
        raise typer.BadParameter("only a simulated board (--port sim) is made with a core; a "
                                 "device has its own", param_hint="--core")
    commands.run(network, dataset, data, port=port, core=core or "medium", count=samples,
                 seed=seed, json=json)


@app.command()
def estimate(
    network: Network, core: Core = "medium", dataset: TestSet = None, data: Data = None,
    samples: Samples = None, seed: Seed = 1, json: Json = None,
) -> None:
    """Tell cycles, weight fetches and energy on a core without simulating it.

    Without a data set at hand the inputs are random.
    """
    from ternspike import commands

    commands.estimate(network, dataset, data, core=core, count=samples, seed=seed, json=json)


@app.command()
def bundle(
    network: Network,
    losses: Annotated[list[float] | None, typer.Option(
        "--loss", metavar="SHARE", min=0.0, max=1.0, show_default=False,
        help="What the accuracy on training samples may fall by; may be given several times. "
             "Default: 0.001 and 0.01.")] = None,
    samples: Annotated[int, typer.Option(
        "--samples", min=1, help="Training samples, and test samples, at most.")] = 500,
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", metavar="FILE", show_default=False,
        help="Write the network that the last loss allows.")] = None,
    dataset: TestSet = None, data: Data = None, seed: Seed = 1, json: Json = None,
) -> None:
    """Tell what bundling over time saves; search windows that collapse within a loss."""
    from ternspike import commands

    commands.bundle(network, dataset, data, losses=losses or [0.001, 0.01], count=samples,
                    seed=seed, output=output, json=json)


@app.command()
def info(network: Network, json: Json = None) -> None:
    """Show the layers of a network, their numbers and bounds, and what it takes to store."""
    from ternspike import commands

    commands.info(network, json=json)


@app.command()
def verilog(
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", metavar="FILE", show_default=False,
        help="The Verilog file to write.")] = None,
    soc: Annotated[Path | None, typer.Option(
        "--soc", metavar="DIR", show_default=False,
        help="Write into this folder instead, with --top axi: the Verilog, C header, SystemRDL, "
             "FuseSoC core file and an example of an instance.")] = None,
    top: Annotated[TopName | None, typer.Option(
        "--top", show_default=False,
        help="core: the core, with its streams; axi: with AXI4-Lite registers and AXI4-Stream. "
             "Default: core, or axi with --soc.")] = None,
    core: Core = "medium",
    network: Annotated[Path | None, typer.Option(
        "--network", metavar="NETWORK", show_default=False,
        help="Put this network into the memories, so that none needs to be loaded.")] = None,
    json: Json = None,
) -> None:
    """Write the Verilog of a core, or all that a system on chip takes to have one."""
    from ternspike import commands

    if (output is None) == (soc is None):
        raise typer.BadParameter("Say where to write, with either --output or --soc.")
    if soc is not None:
        if top is TopName.CORE:
            raise typer.BadParameter("--soc writes --top axi, not core.")
        commands.soc(core, network, folder=soc, json=json)
    elif output is not None:
        commands.verilog(core, network, top=(top or TopName.CORE).value, output=output, json=json)


@app.command()
def build(
    board: Annotated[str | None, typer.Option(
        "--board", metavar="NAME", show_default=False, help="Whose bitstream; see --list.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the boards and stop.")] = False,
    core: Annotated[str | None, typer.Option(
        "--core", metavar="CORE", show_default=False,
        help="As for simulate. Default: the board's.")] = None,
    network: Annotated[Path | None, typer.Option(
        "--network", metavar="NETWORK", show_default=False,
        help="Put this network into the memories, so that the board starts with it.")] = None,
    freq: Annotated[float | None, typer.Option(
        "--freq", metavar="MHZ", min=1.0, max=1000.0, show_default=False,
        help="The core's clock. Default: the board's.")] = None,
    seeds: Annotated[int, typer.Option(
        "--seeds", min=1, max=100, help="Seeds of place and route, of which the best wins.")] = 1,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Seeds at the same time.")] = 1,
    limit: Annotated[float, typer.Option(
        "--limit", metavar="MINUTES", min=0.1, help="What a seed may take.")] = 120,
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", metavar="DIR", show_default=False,
        help="Folder of the results. Default: build/boards/NAME.")] = None,
    json: Json = None,
) -> None:
    """Make the bitstream of a board, a report and a picture of it."""
    from ternspike import building

    if listing:
        building.show_boards()
    elif board is None:
        raise typer.BadParameter("which board? `ternspike build --list` shows them",
                                 param_hint="--board")
    else:
        building.build(board, core=core, network_file=network, freq=freq, seeds=seeds, jobs=jobs,
                       limit=limit, json=json, folder=output)


@app.command()
def program(
    board: Annotated[str, typer.Option(
        "--board", metavar="NAME", help="Into which; see `ternspike build --list`.")],
    bitstream: Annotated[Path | None, typer.Option(
        "--bitstream", metavar="FILE", show_default=False,
        help="Default: the last one that was built for the board.")] = None,
    cable: Annotated[str | None, typer.Option(
        "--cable", metavar="NAME", show_default=False,
        help="As openFPGALoader calls it. Default: the board's.")] = None,
) -> None:
    """Load a bitstream into a board with openFPGALoader."""
    from ternspike import building

    building.program(board, bitstream, cable)
