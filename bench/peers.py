"""Run the peers' workloads on a core's RTL and put our row beside theirs.

``python -m bench.peers`` simulates W1 and W2 at 5, 10 and 20 % input activity, checks every spike,
membrane and result against the golden model, prints the two tables, and writes ``peers.json``,
``peers.md`` and ``peers.svg`` into ``build/bench``. It fails if any value differs.

The cycles of a sample are counted from its first input beat to its last result, in a core that was
idle: loading the input is included, nothing overlaps. A stream of samples, where the next one loads
while the last one computes, is a row of its own.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np

from bench.bars import Bar, Panel, bar_chart
from bench.published import FLOW, PEERS, Peer
from bench.tables import Table, markdown, show, write_text
from bench.workloads import WORKLOADS, Workload, synaptic_operations
from hw.parameters import PRESETS, CoreParameters
from mapping.cycles import estimate
from mapping.program import Program, compile_network
from model.golden import execute
from sim.compare import compare
from sim.errors import SimulationError
from sim.run import SimulationResult, simulate_many

__all__ = ["area_of", "document", "main", "measure", "panels", "picture", "summarise",
           "tables"]

#: What we hold ourselves to: cycles of a sample at 10 % activity.
TARGETS = {"W1": 800, "W2": 600}

#: The workloads as all share them; our readout of W1 comes on top.
_SIZES = {"W1": "256-256", "W2": "784-128-10"}

_PLACE_FIRST = "Area and clock of the core are not known: run `make place` first"


def measure(workload: Workload, parameters: CoreParameters, *, samples: int, stream: int,
            seed: int) -> dict:
    """Run a workload at each activity.

    Parameters
    ----------
    workload : Workload
    parameters : CoreParameters
    samples : int
        Samples that run alone, for the latency.
    stream : int
        Samples that follow one another, for the throughput.
    seed : int
        Of weights and spikes.

    Returns
    -------
    The workload and, for each activity, mean cycles as measured and as predicted, operations, and
    how many values were compared and differed.

    Raises
    ------
    MappingError
        If the network does not fit the core.
    SimulationError
        If the simulation fails.
    """
    program = compile_network(workload.network(seed), parameters)
    parts = {}
    for percent in workload.spikes:
        alone, together = np.split(workload.samples(percent, samples + stream, seed), [samples])
        parts[percent] = [*np.split(alone, samples), together]
    results = iter(simulate_many([(program, part) for each in parts.values() for part in each]))
    return {"name": workload.name, "arch": workload.arch, "timesteps": workload.timesteps,
            "threshold": workload.threshold,
            "activities": [
                {"percent": percent, "spikes": workload.spikes[percent]}
                | _judge(program, each, [next(results) for _ in each])
                for percent, each in parts.items()]}


def _judge(program: Program, parts: list[np.ndarray], results: list[SimulationResult]) -> dict:
    """Compare runs of single samples, and of a stream as the last, with golden and cycle model."""
    network = program.network
    traces = [execute(network, part) for part in parts]
    comparisons = [compare(network, result, trace)
                   for result, trace in zip(results, traces, strict=True)]
    estimates = [estimate(program, part, trace.spikes)
                 for part, trace in zip(parts, traces, strict=True)]
    alone = [result.latency_first for result in results[:-1]]
    together, predicted = results[-1], estimates[-1]
    return {
        "hidden_activity": float(np.mean(np.concatenate([trace.spikes[0] for trace in traces]))),
        "operations": float(np.mean([synaptic_operations(network.layer(0).weights, part)
                                     for part in parts[:-1]])),
        "cycles": {"mean": float(np.mean(alone)), "min": min(alone), "max": max(alone),
                   "model_mean": float(np.mean([each.cycles[0] for each in estimates[:-1]]))},
        "stream": {"mean": float(together.cycles[1:].mean()),
                   "model_mean": float(predicted.cycles[1:].mean()),
                   "bound_mean": float(predicted.bound[1:].mean())},
        "compared": sum(each.compared for each in comparisons),
        "mismatches": sum(each.mismatches for each in comparisons),
        "first_mismatch": next((str(each.first) for each in comparisons if each.first), None),
    }


def area_of(core: str, parameters: dict, place_file: Path) -> dict | None:
    """Return what place and route said of a core; None if it did not build this very shape."""
    if not place_file.exists():
        return None
    for built in json.loads(place_file.read_text()):
        if built["name"] == core and all(built[name] == parameters[name]
                                         for name in ("banks", "lanes", "planes", "neurons")):
            return built
    return None


def _our_rows(summary: dict) -> list[Peer]:
    """Return our measurements in the form of the peers': each workload alone, and as a stream."""
    area = summary["area"] or {}
    rows = []
    for workload in summary["workloads"]:
        activities = {activity["percent"]: activity for activity in workload["activities"]}
        operations = activities[10]["operations"]
        for kind, note in (("cycles", ""), ("stream", ", stream")):
            cycles = tuple(round(activities[percent][kind]["mean"]) for percent in (5, 10, 20))
            mean = activities[10][kind]["mean"]
            rate = operations / mean * area["fmax"] / area["comb"] * 1000 if area else None
            rows.append(Peer(
                f"Ternspike {summary['core']}", f"{workload['name']} + readout{note}",
                comb=area.get("comb"), lut4=area.get("lut4"), ff=area.get("ff"),
                ram=area.get("ram"), mult=area.get("mult"), fmax=area.get("fmax"),
                cycles=cycles, cycles_per_sop=mean / operations, rate=rate))
    return rows


def _cell(peer: Peer, name: str, digits: str = ",") -> str:
    value = getattr(peer, name)
    return "-" if value is None else peer.forms.get(name, "{}").format(format(value, digits))


def tables(summary: dict) -> tuple[Table, Table]:
    """Return the table of areas and the table of cycles and rates, the peers first."""
    ours = _our_rows(summary)
    everyone = [*PEERS, *ours]
    names = ("comb", "lut4", "ff", "ram", "mult")
    area = Table(
        ("accelerator", "COMB", "LUT4 (Yosys)", "FF", "DP16KD", "MULT18", "Fmax MHz"),
        [(peer.name, *(_cell(peer, name) for name in names), _cell(peer, "fmax", ".1f"))
         for peer in [*PEERS, ours[0]]], {len(PEERS)})
    timed = [peer for peer in everyone if peer.cycles_per_sop]
    speed = Table(
        ("accelerator (workload)", "cycles 5 %", "cycles 10 %", "cycles 20 %",
         "cycles / SOP, 10 %", "time at Fmax, 10 %", "M SOP/s per kCOMB"),
        [(f"{peer.name} ({peer.workload})",
          *("-" if cycles is None else f"{cycles:,}" for cycles in peer.cycles),
          _cell(peer, "cycles_per_sop", ".2g" if (peer.cycles_per_sop or 1) < 1 else ".2f"),
          "-" if peer.milliseconds is None else _time(peer.milliseconds),
          _cell(peer, "rate", ",.0f" if (peer.rate or 0) >= 18 else ".1f")) for peer in timed],
        {number for number, peer in enumerate(timed) if peer in ours})
    return area, speed


def _time(milliseconds: float) -> str:
    if milliseconds < 0.1:
        return f"{milliseconds * 1000:.2f} us"
    return f"{milliseconds:.2f} ms" if milliseconds >= 1 else f"{milliseconds:.3f} ms"


def panels(summary: dict) -> list[Panel]:
    """Return the bars of the picture: cycles of both workloads, and the rate for the area."""
    ours = _our_rows(summary)
    everyone = [*PEERS, *ours]
    panels = []
    for name in TARGETS:
        bars = [Bar(peer.name, peer.cycles[1], f"{peer.cycles[1]:,}", ours=peer in ours)
                for peer in everyone if peer.workload.startswith(name) and peer.cycles[1]
                and not peer.workload.endswith("stream")]
        panels.append(Panel(f"{name} ({_SIZES[name]}), 10 % activity: clock cycles a sample, "
                            "fewer is better", tuple(bars)))
    if summary["area"]:
        bars = [Bar(f"{peer.name}, {peer.workload[:2]}" if peer.cycles[1] else peer.name, peer.rate,
                    _cell(peer, "rate", ",.0f" if peer.rate >= 18 else ".1f"), ours=peer in ours)
                for peer in everyone if peer.rate and not peer.workload.endswith("stream")]
        panels.append(Panel("Synaptic operations a second for the area, at Fmax: millions per "
                            "1,000 COMB, more is better", tuple(bars)))
    return panels


def notes(summary: dict) -> list[str]:
    """Return what a reader of the tables must know, a line each."""
    lines = [f"Flow: {FLOW}. Spiker+ has 6-bit weights and 8-bit states, its area is of an older "
             "Yosys; YANA lost some of its memories in synthesis, so its area is a lower bound.",
             "W1: 256-256, 10 steps, 13 / 26 / 51 spikes a step. W2: 784-128-10, 11 steps, "
             "39 / 78 / 157 spikes a step. Weights are -1 and +1 with probability 1/4 each.",
             "SOP: (spike, target neuron) pairs with a non-zero weight; dense: with any weight. "
             "Only those of the first layer count, but the cycles of the whole network do."]
    for workload in summary["workloads"]:
        fires = " / ".join(f"{100 * activity['hidden_activity']:.1f}"
                           for activity in workload["activities"])
        lines.append(f"{workload['name']} on Ternspike is {workload['arch']}; hidden threshold "
                     f"{workload['threshold']}, gains 1, leak v/16: {fires} % of the hidden "
                     "neurons fire in a step.")
    lines.append("Cycles: from the first input beat to the last result of one sample in an idle "
                 "core, input loading included; in a stream, from one sample's last result to the "
                 "next one's.")
    return lines


def verdicts(summary: dict) -> list[str]:
    """Return a line for each target, and one for the values compared."""
    lines = []
    for workload in summary["workloads"]:
        activity = next(each for each in workload["activities"] if each["percent"] == 10)
        most, target = activity["cycles"]["max"], TARGETS[workload["name"]]
        lines.append(f"{workload['name']} at 10 %: at most {most} cycles, target below {target}: "
                     f"{'met' if most < target else 'MISSED'}")
    lines.append(f"{summary['compared']:,} spikes, membranes and results compared with the golden "
                 f"model, {summary['mismatches']} differ")
    return lines


def document(summary: dict) -> str:
    """Return tables, notes and verdicts as Markdown."""
    area, speed = tables(summary)
    return (markdown(area) + "\n" + markdown(speed) + "\n"
            + "".join(f"* {line}\n" for line in notes(summary)) + "\n"
            + "".join(f"* {line}.\n" for line in verdicts(summary)))


def main(arguments: list[str] | None = None) -> int:
    """Run the workloads; return 1 if a value differs or the simulation fails."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--core", choices=PRESETS, default="medium")
    parser.add_argument("--samples", type=int, default=4, help="samples run alone (default 4)")
    parser.add_argument("--stream", type=int, default=12, help="samples in a row (default 12)")
    parser.add_argument("--seed", type=int, default=1, help="of weights and spikes (default 1)")
    parser.add_argument("--place", type=Path, default=Path("build/place/place.json"),
                        help="figures of `make place`")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    options = parser.parse_args(arguments)
    if options.samples < 1 or options.stream < 2:
        parser.error("there must be at least 1 sample alone and 2 in a stream")

    parameters = PRESETS[options.core]
    try:
        workloads = [measure(workload, parameters, samples=options.samples, stream=options.stream,
                             seed=options.seed) for workload in WORKLOADS]
        summary = summarise(options.core, workloads, options.seed,
                            area_of(options.core, parameters.to_dict(), options.place))
        write_text(options.folder / "peers.json", json.dumps(summary, indent=1) + "\n")
        write_text(options.folder / "peers.md", document(summary))
        write_text(options.folder / "peers.svg", picture(summary))
    except (SimulationError, ValueError, OSError) as error:
        print(f"bench.peers: {error}", file=sys.stderr)
        return 1

    area, speed = tables(summary)
    show(area, "Area")
    show(speed, "Speed")
    for line in [*notes(summary), *verdicts(summary)]:
        print(line)
    if summary["area"] is None:
        print(_PLACE_FIRST)
    print(f"Written: {', '.join(f'peers.{kind}' for kind in ('json', 'md', 'svg'))} in "
          f"{options.folder}")
    return 1 if summary["mismatches"] else 0


def summarise(core: str, workloads: list[dict], seed: int, area: dict | None) -> dict:
    """Return the content of ``peers.json``."""
    activities = [activity for workload in workloads for activity in workload["activities"]]
    return {
        "core": core, "parameters": PRESETS[core].to_dict(), "seed": seed, "area": area,
        "compared": sum(activity["compared"] for activity in activities),
        "mismatches": sum(activity["mismatches"] for activity in activities),
        "workloads": workloads,
    }


def picture(summary: dict) -> str:
    """Return the bars as an SVG file."""
    return bar_chart(f"Ternspike {summary['core']} beside open spiking accelerators",
                     panels(summary))


if __name__ == "__main__":
    sys.exit(main())
