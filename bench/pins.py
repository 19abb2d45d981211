"""Networks one after another on a simulated board, at the pins of its UART.

``python -m bench.pins --board icebreaker NETWORK [NETWORK ...]`` starts the top of a board with
the core that the board is built with, loads the networks in turn through the host's driver, runs
samples on each, and at last the first network again; nothing is reset between them. It writes
``build/bench/pins-BOARD.json``, and fails if a value differs from the golden model.
"""
import argparse
import json
import sys
from pathlib import Path

from bench.tables import Table, show, write_text
from boards.catalogue import find_board
from boards.errors import BoardError
from mapping.errors import MappingError
from model.checks import NetworkError
from model.data import DataError, load
from model.network import IntegerNetwork
from sim.board import simulated_board
from sim.errors import SimulationError
from ternspike import console
from ternspike.connection import DeviceError
from ternspike.cores import parse_core
from ternspike.device import Device
from ternspike.running import measure, summarise_run
from ternspike.samples import Samples, test_samples

__all__ = ["main", "run", "table"]


def run(board: str, networks: list[tuple[IntegerNetwork, Samples]], *, seed: int) -> dict:
    """Load each network and run its samples, then the first again.

    Parameters
    ----------
    board : str
        Name of the board whose core it is.
    networks : list
        Networks, and the samples of each.
    seed : int
        Of the samples, for the record.

    Returns
    -------
    The board, its core, and a row for each load: that of ``ternspike run``.
    """
    core = find_board(board).core
    parameters = parse_core(core)
    rows = []
    with simulated_board(parameters) as url, Device(url) as device:
        for network, samples in [*networks, networks[0]]:
            with console.searching() as progress:
                measured = measure(device, network, samples, progress)
            rows.append(summarise_run("sim", device, network, samples, measured, seed))
    return {"board": board, "core": core, "rows": rows}


def table(found: dict) -> Table:
    """Return the table of what :func:`run` found."""
    return Table(
        ("network", "samples", "accuracy", "values that differ", "cycles",
         "bytes to the board", "from it"),
        [(f"{row['dataset']} {row['arch']}, T = {row['timesteps']}", f"{row['samples']:,}",
          f"{100 * row['accuracy']['device']:.2f} %",
          f"{row['mismatches']:,} of {row['compared']:,}", f"{row['cycles']['mean']:,.1f}",
          f"{row['bytes']['sent']:,}", f"{row['bytes']['received']:,}") for row in found["rows"]])


def main(arguments: list[str] | None = None) -> int:
    """Run them; return 1 if a value differs or something can't be run."""
    parser = argparse.ArgumentParser(prog="python -m bench.pins",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="+", type=Path, help="files of networks")
    parser.add_argument("--board", required=True, help="whose core runs them")
    parser.add_argument("--data", type=Path,
                        help="folder of the data sets (default: TERNSPIKE_DATA)")
    parser.add_argument("--samples", type=int, default=100, help="of each (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the samples (default 1)")
    parser.add_argument("--output", type=Path, help="default: build/bench/pins-BOARD.json")
    options = parser.parse_args(arguments)
    output = options.output or Path("build/bench") / f"pins-{options.board}.json"
    try:
        find_board(options.board)
        networks = []
        for file in options.networks:
            network = IntegerNetwork.load(file)
            dataset = load(network.metadata["dataset"], options.data)
            networks.append((network,
                             test_samples(network, dataset, options.samples, options.seed)))
        found = run(options.board, networks, seed=options.seed)
    except (BoardError, DataError, NetworkError, MappingError, DeviceError, SimulationError,
            OSError) as error:
        print(f"bench.pins: {error}", file=sys.stderr)
        return 1
    write_text(output, json.dumps(found, indent=1) + "\n")
    show(table(found), f"{options.board}, core {found['core']}")
    return int(any(row["mismatches"] for row in found["rows"]))


if __name__ == "__main__":
    sys.exit(main())
