"""Runs of the core's Verilog: results, sharing between processes, hangs, interrupts, waves."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from hw.parameters import CoreParameters
from mapping.cycles import estimate
from mapping.program import compile_network
from model.golden import execute
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout
from sim import verilator
from sim.compare import compare
from sim.errors import SimulationError
from sim.run import simulate, simulate_many
from tests.networks import CORES
from tests.stages import Difference

pytestmark = pytest.mark.cocotb

CORE = CORES["planes1"]


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def _network(seed: int = 1) -> IntegerNetwork:
    rng = np.random.default_rng(seed)

    def layer(inputs, outputs, readout=None):
        return DenseLayer(
            weights=rng.integers(-1, 2, (outputs, inputs)),
            gain_plus=rng.integers(1, 9, outputs), gain_minus=rng.integers(1, 9, outputs),
            bias=rng.integers(-4, 5, outputs), leak=(3,), membrane_bits=12,
            threshold=np.zeros(outputs, int) if readout else rng.integers(1, 40, outputs),
            readout=readout)

    return IntegerNetwork(input=InputCoding.STATIC, input_bits=4, timesteps=3,
                          layers=(layer(21, 19), layer(19, 5, Readout.SUM)))


NETWORK = _network()
PROGRAM = compile_network(NETWORK, CORE)
INPUTS  = np.random.default_rng(3).integers(0, 16, (12, 21)).astype(np.uint8)
GOLDEN  = execute(NETWORK, INPUTS)


def test_netlist_agrees_with_the_golden_model():
    """What synthesis makes of a small core, in look-up tables and block RAMs, computes the same."""
    core = CoreParameters(
        banks=2, lanes=4, neurons=2, scan=4, queue_depth=8, weight_depth=128, spike_depth=64,
        neuron_depth=64, gain_depth=128, program_depth=4, readout_depth=8, pool_depth=16,
        map_width=4, count_width=6, gain_width=12, current_width=20, membrane_width=14)
    result = simulate(compile_network(NETWORK, core), INPUTS, netlist=True)
    comparison = compare(NETWORK, result, GOLDEN)
    assert (comparison.first, comparison.compared) == (None, 1620)


def test_agrees_with_the_golden_model():
    seen = []
    result = simulate(PROGRAM, INPUTS, progress=seen.append)
    comparison = compare(NETWORK, result, GOLDEN)
    assert comparison.first is None
    assert comparison.compared == 12 * (3 * 19 + 3 * (19 + 5) + 5 + 1)
    assert seen == sorted(seen) and seen[-1] == 12
    assert result.total_cycles == result.cycles.sum()
    assert result.latency_first == result.cycles[0] > result.cycles[1:].max()
    np.testing.assert_array_equal(
        result.cycles, estimate(PROGRAM, INPUTS, GOLDEN.spikes).cycles)


def test_jobs_change_nothing():
    one, three = simulate(PROGRAM, INPUTS), simulate(PROGRAM, INPUTS, jobs=3)
    assert compare(NETWORK, three, GOLDEN).first is None
    np.testing.assert_array_equal(three.cycles, one.cycles)
    assert three.total_cycles == one.total_cycles
    assert three.latency_first == one.latency_first


def test_stalls_change_cycles_only():
    result = simulate(PROGRAM, INPUTS, stalls=0.6, seed=5)
    assert compare(NETWORK, result, GOLDEN).first is None
    again = simulate(PROGRAM, INPUTS, stalls=0.6, seed=5)
    np.testing.assert_array_equal(result.cycles, again.cycles)
    assert result.total_cycles > simulate(PROGRAM, INPUTS).total_cycles
    assert result.seed == 5


def test_without_record():
    """The core without its trace port."""
    result = simulate(PROGRAM, INPUTS[:3], jobs=9, record=False)
    assert result.spikes == result.membranes == ()
    np.testing.assert_array_equal(result.readout, GOLDEN.readout[:3])
    np.testing.assert_array_equal(result.classes, GOLDEN.classes[:3])


def test_networks_one_after_the_other():
    networks = [_network(seed) for seed in (1, 2, 1)]
    runs = [(compile_network(network, CORE), INPUTS[:2 + n]) for n, network in enumerate(networks)]
    for network, (_, inputs), result in zip(networks, runs, simulate_many(runs), strict=True):
        assert compare(network, result, execute(network, inputs)).first is None


def test_hang_names_the_sample():
    """With less patience than a sample takes, the core seems to hang."""
    with pytest.raises(SimulationError, match=r"Core hangs: nothing moved for 4 cycles while "
                                              r"sample 0 was due \(0 of 12 came out; seed 1\)"):
        simulate(PROGRAM, INPUTS, patience=4)


@pytest.mark.parametrize("arguments,message", [
    ({"jobs": 0}, r"Number of jobs must be at least 1, not 0"),
    ({"stalls": 1.0}, r"Share of stalls must be in 0\.\.1, 1 excluded, not 1\.0"),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(PROGRAM, INPUTS, **arguments)


def test_no_samples():
    with pytest.raises(ValueError, match=r"There must be at least one sample to simulate"):
        simulate(PROGRAM, INPUTS[:0])


def test_no_temporary_files_are_left(tmp_path):
    simulate(PROGRAM, INPUTS[:1])
    assert not list(tmp_path.iterdir())


_INTERRUPTED = """
import signal
# A shell's background jobs ignore Ctrl-C, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
from tests.test_sim_run import INPUTS, PROGRAM
from sim.run import simulate
simulate(PROGRAM, np.tile(INPUTS, (1000, 1)), jobs=2, progress=lambda done: print(done, flush=True))
"""


def test_interrupt(tmp_path):
    """Ctrl-C ends the simulators and leaves nothing."""
    simulate(PROGRAM, INPUTS[:1])                    # the simulator is built
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED], cwd=root, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert process.stdout is not None
    while int(process.stdout.readline()) == 0:
        pass
    children = _children(process.pid)
    assert len(children) == 2
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" in errors
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert not list(tmp_path.iterdir())


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_waves(tmp_path):
    """The waveform has the core's blocks, and structs by field."""
    path = tmp_path / "first.vcd"
    simulate(PROGRAM, INPUTS[:1], waves=path)
    text = path.read_text()
    for name in ("fetcher", "readout", "span.weights", "o__payload.winner", "trace__payload.step"):
        assert name in text
    assert [file.name for file in tmp_path.iterdir()] == ["first.vcd"]


def test_waves_that_can_not_be_written(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        simulate(PROGRAM, INPUTS[:1], waves=tmp_path / "nowhere" / "first.vcd")


def test_build_that_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("TERNSPIKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(verilator, "to_verilog", lambda component, name: "module broken(")
    with pytest.raises(SimulationError, match=r"(?s)Simulator of difference can't be built: "
                                              r"verilator_bin failed with status 1, see "
                                              r"\S+build\.log:.*syntax error"):
        verilator.build(Difference(), name="difference")
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("TERNSPIKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulationError, match=r"g\+\+ is not installed"):
        verilator.build(Difference(), name="difference")


def test_killed_build_is_built_again(tmp_path, monkeypatch):
    """A killed build leaves nothing that looks finished; spaces in paths are no trouble."""
    cache = tmp_path / "a cache"
    builder = subprocess.Popen(
        [sys.executable, "-c", "from sim.verilator import build; from tests.stages import *; "
                               "build(Difference(), name='difference')"],
        cwd=Path(__file__).parents[1], env=os.environ | {"TERNSPIKE_CACHE": str(cache)})
    while not list(cache.glob("*.lock")):
        time.sleep(0.01)
    builder.kill()
    builder.wait()
    assert all(file.suffix == ".lock" for file in cache.iterdir())

    monkeypatch.setenv("TERNSPIKE_CACHE", str(cache))
    first = verilator.build(Difference(), name="difference")
    built = first.stat().st_mtime_ns
    assert verilator.build(Difference(), name="difference") == first
    assert first.stat().st_mtime_ns == built
