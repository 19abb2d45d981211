"""What linters say of the generated Verilog, and what of that is waived, and why."""

import json
import subprocess
import tempfile
from pathlib import Path

from sim.errors import SimulationError
from sim.verilator import verilator
from sim.verilog import to_rtlil, to_verilog, yosys

__all__ = ["WAIVERS", "clocks_and_latches", "lint"]

#: Warnings of `verilator -Wall` that are no fault, by their names. All but the first come from how
#: Yosys writes the Verilog of Amaranth's designs.
WAIVERS = {
    "UNUSEDSIGNAL":
        "A field of a struct, or a signal that is named for the reader, is not used by itself.",
    "CASEINCOMPLETE":
        "A priority list without a default: what it assigns has a value before it. That this makes "
        "no latch is checked on its own.",
    "WIDTHEXPAND":
        "Amaranth extends operands by its own rules, and Yosys leaves that to Verilog's.",
    "WIDTHTRUNC":
        "`!` of a vector says that all its bits are 0.",
    "PROCASSINIT":
        "Registers have a value from power-up on, as FPGAs give it to them.",
    "DECLFILENAME":
        "All modules of a design are in one file.",
    "VARHIDDEN":
        "The loop that clears a memory has a variable of its own.",
}


def lint(component, name: str) -> list[str]:
    """Return the warnings of ``verilator -Wall`` on a component's Verilog that nobody waived.

    Parameters
    ----------
    component
        What is looked at.
    name
        Of its module.

    Raises
    ------
    SimulationError
        If a tool is missing, or the Verilog is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="ternspike-lint-") as folder:
        path = Path(folder, f"{name}.v")
        path.write_text(to_verilog(component, name))
        ran = verilator("--lint-only", "-Wall", "-Wno-fatal",
                        *(f"-Wno-{rule}" for rule in WAIVERS), "--top-module", name, str(path))
    if ran.returncode:
        raise SimulationError(f"Verilator refuses {name}: {ran.stderr[-2000:]}")
    return [line for line in ran.stderr.splitlines() if line.startswith("%")]


def clocks_and_latches(component, name: str) -> tuple[set[str], list[str]]:
    """Return the nets that clock a component's registers and memories, and its latches.

    Raises
    ------
    SimulationError
        If there is no Yosys or it fails.
    """
    with tempfile.TemporaryDirectory(prefix="ternspike-lint-") as folder:
        Path(folder, "design.il").write_text(to_rtlil(component, name))
        ran = subprocess.run(
            [yosys(name), "-q", "-p", f"read_rtlil design.il; hierarchy -top {name}; proc; "
                                      "flatten; opt_clean; memory_collect; write_json design.json"],
            cwd=folder, check=False, capture_output=True, text=True)
        if ran.returncode:
            raise SimulationError(f"Yosys refuses {name}: {ran.stderr[-2000:]}")
        module = json.loads(Path(folder, "design.json").read_text())["modules"][name]
    nets = {bit: net for net, bits in module["netnames"].items() for bit in bits["bits"]}
    # The ports last: of a net's names, a port's is the one to tell.
    nets |= {bit: net for net, port in module["ports"].items() for bit in port["bits"]}
    # A port of a memory that needs no clock has a constant there.
    clocks = {nets[bit] for cell in module["cells"].values()
              for pin, bits in cell["connections"].items()
              if pin in ("CLK", "RD_CLK", "WR_CLK") for bit in bits if not isinstance(bit, str)}
    latches = [cell for cell, what in module["cells"].items()
               if "latch" in what["type"] or what["type"] == "$sr"]
    return clocks, latches
