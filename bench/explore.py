"""Try core shapes on the cycle model and an area estimate: the table that decides the presets.

``python -m bench.explore [--data FOLDER]`` predicts the cycles of W1 and W2 at 10 % activity and,
if the trained network and the data set are there, of MNIST images, for every shape of a grid. A
shape's merit is its COMB times the geometric mean of the cycles: the smaller, the more it does for
its area. (The clock is not predicted: place and route says it for the presets.) Writes the cycles
to ``build/bench/explore.json``; ``python -m bench.results`` joins them with the areas of the cores
that were placed, and puts the tables into ``docs/results.md``. A few minutes.
"""
import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from bench.area import COMPONENTS, AreaModel, block_rams, fit, multipliers
from bench.place import ECP5, SHAPES
from bench.tables import Table, markdown, show, write_text
from bench.workloads import WORKLOADS
from hw.parameters import PRESETS, CoreParameters
from mapping.cycles import estimate
from mapping.program import compile_network
from model.data import load
from model.golden import execute
from model.network import IntegerNetwork

__all__ = ["Load", "Shape", "area_model", "candidates", "document", "evaluate", "front", "loads",
           "main", "neighbours", "tables"]

#: What is tried; combinations that do not go together are left out.
GRID = {
    "banks":   (4, 8, 16, 32),
    "lanes":   (8, 16, 32, 64, 128),
    "planes":  (1, 2, 4),
    "neurons": (1, 2, 4, 8, 16, 32),
    "scan":    (4, 8, 16),
}
#: Samples of a load; all but the first, which meets an idle core, are counted.
_SAMPLES = 3
#: Fewer slots are for other devices; visits a step: fewer or more leave one side waiting.
_LEAST_SLOTS, _VISITS = 128, (2, 16)
#: Memories and numbers as large as it takes: they have no influence on cycles.
_ROOMY = {"weight_depth": 1 << 16, "neuron_depth": 1 << 16, "gain_depth": 1 << 16,
          "spike_depth": 1 << 16, "count_width": 24, "gain_width": 18, "current_width": 32,
          "membrane_width": 32, "leak_terms": 2, "leak_shift_max": 15}
#: Block RAMs of the LFE5U-85.
_BLOCK_RAMS = 208
#: Bits of weights a cycle: four SPRAMs of an iCE40 UP5K.
_SPRAM_BITS = 64


@dataclass(frozen=True, eq=False)
class Load:
    """A network and its samples, and the hidden spikes that they make."""

    name: str
    network: IntegerNetwork
    inputs: np.ndarray
    spikes: tuple[np.ndarray, ...]


def loads(network_file: Path, data: Path | None, seed: int) -> list[Load]:
    """Return W1 and W2 at 10 % activity and, if both files are there, MNIST test images."""
    found = [(workload.name, workload.network(seed), workload.samples(10, _SAMPLES, seed))
             for workload in WORKLOADS]
    if data is not None and network_file.exists():
        network = IntegerNetwork.load(network_file)
        images = load("mnist", data).test_x[:_SAMPLES]
        found.append(("MNIST", network, images.reshape(_SAMPLES, -1)))
    return [Load(name, network, inputs, execute(network, inputs).spikes)
            for name, network, inputs in found]


def candidates() -> Iterator[CoreParameters]:
    """Yield the shapes of the grid that are cores, neither tiny nor plainly out of balance."""
    for values in product(*GRID.values()):
        shape = dict(zip(GRID, values, strict=True))
        if (shape["lanes"] % shape["banks"] == 0 and shape["lanes"] % shape["neurons"] == 0
                and shape["banks"] * shape["scan"] % shape["lanes"] == 0):
            p = CoreParameters(**shape)
            if p.slots >= _LEAST_SLOTS and _VISITS[0] <= p.tile_groups <= _VISITS[1]:
                yield p


def neighbours(p: CoreParameters) -> Iterator[CoreParameters]:
    """Yield a core and those that differ from it in one parameter, by a factor of 2 (planes: 4)."""
    yield p
    for name in GRID:
        for factor in (0.5, 2, 4) if name == "planes" else (0.5, 2):
            changed = {name: int(getattr(p, name) * factor)}
            # A row of the spike memory holds whole tiles, a tile whole columns.
            if name == "lanes" and changed[name] > p.row_width:
                changed["scan"] = changed[name] // p.banks
            if changed[name] >= 1:
                yield replace(p, **changed)


def evaluate(p: CoreParameters, loads: list[Load]) -> dict:
    """Return a shape, its cycles for each load, and the rows of memory that the loads need."""
    roomy = replace(p, **_ROOMY)
    cycles, weights, gains, rows = {}, 0, 0, 0
    for each in loads:
        program = compile_network(each.network, roomy)
        result = estimate(program, each.inputs, each.spikes)
        cycles[each.name] = float(result.cycles[1:].mean())
        used = program.plan.used
        weights = max(weights, used["weights"])
        gains = max(gains, used["gains"])
        rows = max(rows, used["biases"], used["thresholds"])
    return {"parameters": {key: getattr(p, key) for key in GRID}, "cycles": cycles,
            "weight_rows": weights, "gain_rows": gains, "neuron_rows": rows}


@dataclass(frozen=True)
class Shape:
    """A core's cycles beside what it costs; areas are estimates, memories as deep as needed."""

    parameters: CoreParameters
    cycles: dict[str, float]
    comb: int
    ram: int
    mult: int

    @classmethod
    def of(cls, evaluated: dict, area: AreaModel) -> "Shape":
        """Return what :func:`evaluate` gave, with its cost."""
        p = CoreParameters(**evaluated["parameters"])
        return cls(p, evaluated["cycles"], area.comb(p),
                   block_rams(p, evaluated["weight_rows"], evaluated["gain_rows"],
                              evaluated["neuron_rows"]), multipliers(p))

    @property
    def mean(self) -> float:
        """Geometric mean of the cycles."""
        return float(np.exp(np.mean(np.log(list(self.cycles.values())))))

    @property
    def merit(self) -> float:
        """Cycles times COMB: less is better."""
        return self.mean * self.comb

    @property
    def preset(self) -> str | None:
        """The preset that has these parameters, memories aside."""
        for name, p in PRESETS.items():
            if all(getattr(p, key) == getattr(self.parameters, key) for key in GRID):
                return name
        return None


def front(shapes: list[Shape]) -> list[Shape]:
    """Return the shapes that no other one beats in both area and mean cycles, smallest first."""
    best, kept = np.inf, []
    for shape in sorted(shapes, key=lambda each: (each.comb, each.mean)):
        if shape.mean < best:
            best = shape.mean
            kept.append(shape)
    return kept


def _table(shapes: list[Shape], unit: float) -> Table:
    """Return shapes as a table; ``unit`` is the merit that is written as 1."""
    loads = list(shapes[0].cycles)
    rows = []
    for shape in shapes:
        p = shape.parameters
        name = f"{p.banks} x {p.lanes} x {p.planes}" + (f", {shape.preset}" if shape.preset else "")
        rows.append((name, str(p.neurons), str(p.scan), f"{shape.comb:,}", str(shape.ram),
                     str(shape.mult), *(f"{shape.cycles[load]:,.0f}" for load in loads),
                     f"{shape.merit / unit:.2f}"))
    return Table(("banks x lanes x planes", "neurons", "scan", "COMB, estimate", "DP16KD", "MULT18",
                  *loads, "cycles x COMB"), rows,
                 {number for number, shape in enumerate(shapes) if shape.preset})


def tables(summary: dict, area: AreaModel) -> dict[str, Table]:
    """Return the tables by their captions."""
    presets, medium, spram, shapes = (
        [Shape.of(each, area) for each in summary[key]]
        for key in ("presets", "medium", "spram", "shapes"))
    unit = medium[0].merit
    fitting = [shape for shape in shapes if shape.ram <= _BLOCK_RAMS]

    def best(some: list[Shape]) -> Table:
        return _table(sorted(some, key=lambda shape: shape.merit)[:8], unit)

    return {
        "The presets": _table(presets, unit),
        "The best of the shapes whose memories fit the LFE5U-85, by cycles x COMB": best(fitting),
        "Of these, the shapes that no other one beats in both COMB and cycles":
            _table(front(fitting), unit),
        "`medium`, and what differs from it in one parameter": _table(medium, unit),
        f"Shapes that take {_SPRAM_BITS} bits of weights a cycle, as the iCE40 UP5K's SPRAM gives":
            best(spram),
    }


def notes(summary: dict, area: AreaModel) -> list[str]:
    """Return what a reader of the tables must know, a line each."""
    fitted = "from components synthesised alone; no core is placed yet"
    if area.errors:
        factors = ", ".join(f"{name} {factor:.2f}" for name, factor
                            in zip(COMPONENTS, area.factors, strict=True))
        fitted = (f"components synthesised alone, times factors fitted to {', '.join(area.errors)} "
                  f"as placed ({factors}; largest error "
                  f"{100 * max(map(abs, area.errors.values())):.0f} %)")
    mnist = f"; MNIST: {summary['mnist']}, test images" if summary["mnist"] else ""
    return [f"{len(summary['shapes'])} shapes. Cycles: mean of samples in a stream, by the cycle "
            f"model. W1, W2: 10 % activity{mnist}.",
            f"COMB: {fitted}.",
            "DP16KD: for memories as deep as these networks need (the iCE40 has SPRAM instead).",
            "cycles x COMB: geometric mean of the cycles times COMB, `medium` = 1; less is better."]


def document(summary: dict, area: AreaModel) -> str:
    """Return notes and tables as Markdown."""
    return ("".join(f"* {line}\n" for line in notes(summary, area)) + "".join(
        f"\n{caption}:\n\n{markdown(table)}"
        for caption, table in tables(summary, area).items()))


def area_model(place_file: Path) -> AreaModel:
    """Return the area estimate, fitted to those cores on an ECP5 that still are what they were."""
    if not place_file.exists():
        return fit([])
    known = {**PRESETS, **SHAPES}
    return fit([(each["name"], known[each["name"]], each["comb"])
            for each in json.loads(place_file.read_text())
            if each["device"] == ECP5.name and each["name"] in known and all(
                each[key] == getattr(known[each["name"]], key)
                for key in ("banks", "lanes", "planes", "neurons"))])


def main(arguments: list[str] | None = None) -> int:
    """Evaluate the grid; return 1 if a file can't be read or written."""
    parser = argparse.ArgumentParser(prog="python -m bench.explore",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TERNSPIKE_DATA"),
                        help="folder with MNIST/raw (default: TERNSPIKE_DATA)")
    parser.add_argument("--network", type=Path, default=Path("build/mnist/network.safetensors"),
                        help="of `make mnist`")
    parser.add_argument("--place", type=Path, default=Path("build/place/place.json"),
                        help="figures of `make place`")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    try:
        tried = loads(options.network, options.data, options.seed)
        summary = {
            "mnist": next((f"{each.network.inputs}-" + "-".join(
                str(each.network.shape(number)[0]) for number in range(len(each.network.layers)))
                + f", T = {each.network.timesteps}, {each.network.input_bits}-bit input"
                for each in tried if each.name == "MNIST"), None),
            "presets": [evaluate(p, tried) for p in PRESETS.values()],
            "medium": [evaluate(p, tried) for p in neighbours(PRESETS["medium"])],
            "spram": [evaluate(p, tried) for p in _spram_shapes()],
            "shapes": [evaluate(p, tried) for p in track(
                list(candidates()), "Shapes", console=Console(stderr=True), transient=True)],
        }
        write_text(options.folder / "explore.json", json.dumps(summary) + "\n")
        area = area_model(options.place)
    except (ValueError, OSError) as error:
        print(f"bench.explore: {error}", file=sys.stderr)
        return 1
    for caption, table in tables(summary, area).items():
        show(table, caption)
    for line in notes(summary, area):
        print(line)
    if summary["mnist"] is None:
        print("MNIST is left out: it takes --data FOLDER, and the network of `make mnist`")
    return 0


def _spram_shapes() -> Iterator[CoreParameters]:
    """Yield shapes with as many bits of weights a cycle as the UP5K's SPRAM gives."""
    for banks, planes, neurons, scan in product((1, 2, 4), (1, 2, 4), (1, 2), (8, 16, 32)):
        lanes = _SPRAM_BITS // 2 // banks
        if banks * scan % lanes == 0:
            yield replace(PRESETS["tiny"], banks=banks, lanes=lanes, planes=planes,
                          neurons=neurons, scan=scan)


if __name__ == "__main__":
    sys.exit(main())
