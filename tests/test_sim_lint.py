# amaranth: UnusedElaboratable=no
"""The generated Verilog: no warning that nobody waived, no latch, one clock."""

import re

import pytest
from amaranth import *
from amaranth.hdl import Instance
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core import Core
from hw.linked_core import LinkedCore
from hw.parameters import CoreParameters
from sim.errors import SimulationError
from sim.lint import WAIVERS, clocks_and_latches, lint
from tests.networks import CORES

pytestmark = pytest.mark.cocotb

COMPONENTS = {
    "core":        lambda: Core(CORES["planes1"]),
    "traced core": lambda: Core(CORES["planes4"], trace=True),
    "linked core": lambda: LinkedCore(CORES["planes2"], clock=12_000_000, divisor=104),
    "no maps":     lambda: Core(CoreParameters(
        banks=2, lanes=4, neurons=1, scan=4, map_width=0, single_port=True, block_membranes=True)),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_no_warnings(name):
    assert lint(COMPONENTS[name](), "top") == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_one_clock_and_no_latches(name):
    assert clocks_and_latches(COMPONENTS[name](), "top") == ({"clk"}, [])


class Odd(wiring.Component):
    """A latch, and a flip-flop on a clock of its own making."""

    a: Signal
    b: Signal
    latched: Signal
    divided: Signal

    def __init__(self):
        super().__init__({"a": In(1), "b": In(1), "latched": Out(1), "divided": Out(1)})

    def elaborate(self, platform):
        m = Module()
        half = Signal()
        m.d.sync += half.eq(~half)
        m.domains.half = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal("half").eq(half)
        m.d.half += self.divided.eq(self.a)
        m.submodules.latch = Instance(
            "$dlatch", p_WIDTH=1, p_EN_POLARITY=1, i_EN=self.a, i_D=self.b, o_Q=self.latched)
        return m


def test_latches_and_clocks_are_found():
    clocks, latches = clocks_and_latches(Odd(), "top")
    assert len(clocks) == 2 and "clk" in clocks
    assert len(latches) == 1


def test_warnings_are_found(monkeypatch):
    monkeypatch.delitem(WAIVERS, "PROCASSINIT")
    warnings = lint(COMPONENTS["core"](), "top")
    assert warnings and all(re.match(r"%Warning-PROCASSINIT: ", line) for line in warnings)


def test_tools_that_are_missing(monkeypatch):
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    with pytest.raises(SimulationError, match=r"/nowhere/yosys is not installed"):
        clocks_and_latches(COMPONENTS["core"](), "top")
