"""Put the figures under ``build/`` into the documents: no number there is typed by hand.

``python -m bench.results`` replaces what stands between the markers of ``docs/results.md`` for each
section whose figures are there, and says which are not and what makes them. The table of networks
goes to the README, too.
"""
import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench import (
    ablation,
    conversion,
    experiments,
    explore,
    levels,
    peers,
    pins,
    pruning,
    training_speed,
)
from bench.tables import Table, markdown, replace_sections, write_text
from boards.catalogue import BOARDS

__all__ = ["main", "boards_table", "bundling_table", "maps_table", "network_table", "place_table",
           "sections"]

#: Reports of whole networks: folder under ``build/`` and the target that makes it.
_REPORTS = {"demo": "make demo", "mnist": "make mnist", "fashion": "make fashion"}


def place_table(placed: list[dict]) -> Table:
    """Return the table of placed cores."""
    rows = [(each["name"], each["device"], f"{each['banks']} x {each['lanes']} x {each['planes']}",
             str(each["neurons"]), f"{each['lut4']:,}", f"{each['comb']:,}",
             f"{each['ff']:,}" if each["ff"] else "-", str(each["ram"]), str(each["mult"]),
             f"{each['fmax']:.1f}", f"{each['comb_per_slot']:.2f}") for each in placed]
    return Table(("core", "device", "banks x lanes x planes", "neurons", "LUT4 (Yosys)", "COMB",
                  "FF", "block RAM", "MULT", "Fmax MHz", "COMB a slot"), rows,
                 {number for number, each in enumerate(placed) if each["name"] == "medium"})


def network_table(reports: list[dict]) -> Table:
    """Return the table of trained networks, one a column, from their ``report.json``."""
    def percent(share: float | None) -> str:
        return "-" if share is None else f"{100 * share:.2f} %"

    lines: dict[str, Callable[[dict], str]] = {
        "network, steps": lambda r: f"{r['arch']}, {r['timesteps']}",
        "core": lambda r: r["core"]["name"],
        "accuracy, full precision": lambda r: percent(r["accuracy"]["float"]),
        "accuracy, ternary": lambda r: percent(r["accuracy"]["ternary"]),
        "accuracy, integer": lambda r: percent(r["accuracy"]["integer"]),
        "accuracy, RTL": lambda r: percent(r["accuracy"]["rtl"]),
        "samples through the RTL": lambda r: f"{r['samples']:,}",
        "values compared with golden": lambda r: f"{r['compared']:,}",
        "mismatches": lambda r: str(r["mismatches"]),
        "cycles a sample, measured": lambda r: f"{r['cycles']['mean']:,.1f}",
        "cycles a sample, cycle model": lambda r: f"{r['cycles']['model_mean']:,.1f}",
        "measured / bound": lambda r: f"{r['cycles']['mean'] / r['cycles']['bound_mean']:.2f}",
        "density of the weights": lambda r: percent(r["weights"]["density"]),
        "memory below float32, all parameters, 2-bit codes":
            lambda r: f"{r['weights']['compression_codes']:.2f} x",
        "memory below float32, all parameters, five weights a byte":
            lambda r: f"{r['weights']['compression_packed']:.2f} x",
        "memory below float32, all parameters, as stored":
            lambda r: f"{r['weights']['compression_stored']:.2f} x",
        "energy of operations below full precision":
            lambda r: f"{r['energy']['ratio_ops']:.2f} x",
        "the same, every product one of 32 bits":
            lambda r: f"{r['energy']['ratio_ops_wide']:.2f} x",
        "energy with memory below full precision":
            lambda r: f"{r['energy']['ratio_memory']:.2f} x",
    }
    return Table(("", *(report["dataset"] for report in reports)),
                 [(name, *(text(report) for report in reports)) for name, text in lines.items()])


def maps_table(reports: dict[str, dict]) -> Table:
    """Return the table of convolutional networks, one a line, from what simulations wrote."""
    def percent(share: float | None) -> str:
        return "-" if share is None else f"{100 * share:.2f} %"

    def line(name: str, report: dict) -> tuple[str, ...]:
        accuracy, cycles, energy = report["accuracy"], report["cycles"], report["energy"]
        return (
            f"{name}, T = {report['timesteps']}",
            *(percent(accuracy[stage]) for stage in ("float", "ternary", "rtl")),
            f"{report['mismatches']:,} of {report['compared']:,}", f"{report['samples']:,}",
            f"{energy['events']:,.0f}", f"{cycles['mean']:,.1f}", f"{cycles['model_mean']:,.1f}",
            f"{cycles['mean'] / cycles['bound_mean']:.2f}",
            f"{report['weights']['compression_packed']:.1f} x",
            f"{energy['ops'] / 1000:,.1f} ({energy['ratio_ops']:.2f} x)",
            f"{energy['ops_wide'] / 1000:,.1f} ({energy['ratio_ops_wide']:.2f} x)",
            f"{energy['memory'] / 1000:,.1f} ({energy['ratio_memory']:.2f} x)")

    return Table(("recipe", "full precision", "ternary", "RTL", "mismatches", "samples", "events",
                  "cycles", "cycle model", "measured / bound", "memory, packed",
                  "operations, nJ", "with 32-bit products, nJ",
                  "with memory, nJ"), [line(*each) for each in reports.items()])


def boards_table(built: list[dict]) -> Table:
    """Return the table of bitstreams, one a line, from what ``ternspike build`` wrote."""
    def used(board: dict, site: str) -> str:
        count = board["used"].get(site)
        return "-" if count is None else f"{count['used']:,} of {count['available']:,}"

    def line(board: dict) -> tuple[str, ...]:
        clock = min(board["clocks"], key=lambda clock: clock["margin"])
        return (board["board"], board["chip"], board["core"]["name"],
                *(used(board, site) for site in ("LUT", "FF", "BRAM", "DSP", "SPRAM")),
                f"{clock['wanted']:.1f}", f"{clock['achieved']:.1f}", f"{clock['margin']:+.0%}",
                str(board["seed"]))

    return Table(("board", "chip", "core", "LUT", "FF", "block RAM", "DSP", "SPRAM",
                  "wanted, MHz", "achieved, MHz", "margin", "seed"),
                 [line(board) for board in built])


def bundling_table(found: dict) -> Table:
    """Return the table of ways to bundle a network's spikes over time."""
    def line(row: dict) -> tuple[str, ...]:
        way = "exact" if row["mode"] == "exact" else f"collapse, loss {row['loss']:.1%}"
        return (way, str(row["planes"]), " ".join(map(str, row["steps"])),
                f"{100 * row['accuracy_calibration']:.2f} %", f"{100 * row['accuracy_test']:.2f} %",
                f"{row['fetches']:,.0f}", f"{row['fetches_ratio']:.2f} x",
                f"{row['energy'] / 1000:,.1f}", f"{row['energy_ratio']:.2f} x")

    return Table(("mode", "planes at once", "steps of the layers", "calibration set", "test set",
                  "weight fetches", "fewer", "energy with memory, nJ", "less"),
                 [line(row) for row in found["rows"]], {0})


def _reports(folder: Path) -> dict[str, dict]:
    """Return the files of a folder by name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def sections(build: Path) -> tuple[dict[str, str], list[str]]:
    """Return the sections that can be made, and a line for each figure that is missing."""
    made, missing = {}, []
    area_file = build / "place" / "place.json"

    if area_file.exists():
        made["place"] = markdown(place_table(json.loads(area_file.read_text())))
    else:
        missing.append("areas and clocks: make place")

    built = [json.loads(file.read_text()) for name in BOARDS
             if (file := build / "boards" / name / f"{name}.json").exists()]
    if built:
        made["boards"] = markdown(boards_table(built))
    else:
        missing.append("bitstreams: make boards")
    if loaded := [json.loads(file.read_text())
                  for file in sorted((build / "bench").glob("pins-*.json"))]:
        made["pins"] = "\n".join(f"{each['board']}, core `{each['core']}`:\n\n"
                                 f"{markdown(pins.table(each))}" for each in loaded)
    else:
        missing.append("networks over the link: make pins")

    peers_file = build / "bench" / "peers.json"
    if peers_file.exists():
        summary = json.loads(peers_file.read_text())
        # Place and route may have been run since.
        summary["area"] = peers.area_of(summary["core"], summary["parameters"], area_file)
        made["peers"] = peers.document(summary) + "\n![Bars of the same figures](peers.svg)\n"
        write_text(build / "bench" / "peers.svg", peers.picture(summary))
    else:
        missing.append("comparison with the peers: make bench")

    if shown := experiments.document(build / "experiments"):
        made["experiments"] = shown
        write_text(build / "experiments" / "accuracy.svg",
                   experiments.picture(experiments.measured(build / "experiments")))
    else:
        missing.append("experiments: make experiments")

    reports = []
    for folder, command in _REPORTS.items():
        file = build / folder / "report.json"
        if file.exists():
            reports.append(json.loads(file.read_text()))
        else:
            missing.append(f"network: {command}")
    if reports:
        made["networks"] = markdown(network_table(reports))

    if maps := _reports(build / "maps"):
        made["maps"] = markdown(maps_table(maps))
    else:
        missing.append("convolutional networks: make maps")
    if bundled := _reports(build / "bundling"):
        made["bundling"] = "\n".join(
            f"{name}, {each['samples']:,} samples:\n\n{markdown(bundling_table(each))}"
            for name, each in bundled.items())
    else:
        missing.append("bundling over time: make bundling")

    found = [json.loads(file.read_text())
             for file in sorted((build / "bench").glob("levels-*.json"))]
    if found:
        made["levels"] = "\n".join(f"{each['dataset']}:\n\n{markdown(levels.table(each))}"
                                   for each in found)
    else:
        missing.append("spikes that count: python -m bench.levels")

    if compared := ablation.document(build / "ablation"):
        made["ablation"] = compared
    else:
        missing.append("options of training: python -m bench.ablation")

    if converted := _reports(build / "conversion"):
        made["conversion"] = "\n".join(
            f"{name}, {each['epochs']} epochs, {each['seeds']} seeds:\n\n"
            f"{markdown(conversion.table(each))}" for name, each in converted.items())
    else:
        missing.append("conversion: python -m bench.conversion")

    if pruned := _reports(build / "pruning"):
        made["pruning"] = "\n".join(
            f"{name}: the network that is not pruned has {100 * each['float_accuracy']:.2f} % in "
            f"full precision; epochs are those of training after a step.\n\n"
            f"{markdown(pruning.table(each))}\n![The same as curves](pruning-{name}.svg)\n"
            for name, each in pruned.items())
        for name, each in pruned.items():
            write_text(build / "pruning" / f"{name}.svg", pruning.picture(each))
    else:
        missing.append("pruning: python -m bench.pruning")

    speed_file = build / "bench" / "training_speed.json"
    if speed_file.exists():
        summary = json.loads(speed_file.read_text())
        made["speed"] = training_speed.document(summary)
        write_text(build / "bench" / "training-speed.svg", training_speed.picture(summary))
    else:
        missing.append("speed of training: python -m bench.training_speed")

    explore_file = build / "bench" / "explore.json"
    if explore_file.exists():
        made["presets"] = explore.document(json.loads(explore_file.read_text()),
                                           explore.area_model(area_file))
    else:
        missing.append("presets: python -m bench.explore")
    return made, missing


def main(arguments: list[str] | None = None) -> int:
    """Update the file; return 1 if it or a source can't be read or written."""
    parser = argparse.ArgumentParser(prog="python -m bench.results",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--output", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--readme", type=Path, default=Path("README.md"),
                        help="whose table of networks is replaced, too")
    options = parser.parse_args(arguments)
    try:
        made, missing = sections(options.build)
        text = replace_sections(options.output.read_text(encoding="utf-8"), made)
        for section, file, name in (
                ("peers", "bench/peers.svg", "peers.svg"),
                ("experiments", "experiments/accuracy.svg", "experiments.svg"),
                ("speed", "bench/training-speed.svg", "training-speed.svg")):
            if section in made:
                write_text(options.output.parent / name,
                           (options.build / file).read_text(encoding="utf-8"))
        if "pruning" in made:
            for file in sorted((options.build / "pruning").glob("*.svg")):
                write_text(options.output.parent / f"pruning-{file.name}",
                           file.read_text(encoding="utf-8"))
        readme = replace_sections(options.readme.read_text(encoding="utf-8"),
                                  {name: made[name] for name in ("networks",) if name in made})
        write_text(options.output, text)
        write_text(options.readme, readme)
    except (KeyError, ValueError, OSError) as error:
        print(f"bench.results: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}, {options.readme}: {', '.join(made) or 'nothing'}")
    for line in missing:
        print(f"Left as it is, {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
