"""Simulator processes: a simulator runs a cocotb test module in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cocotb_tools.config as cocotb_config
import find_libpython
from cocotb_tools.check_results import get_results

from sim.errors import SimulationError, tail
from sim.verilator import build, scratch

__all__ = ["SimulatorProcess", "run_cocotb"]

_ROOT = Path(__file__).resolve().parents[1]


class SimulatorProcess:
    """One running simulator.

    Parameters
    ----------
    executable
        From :func:`sim.verilator.build`.
    top
        Name of the top module.
    test_module
        The cocotb tests to run, as Python imports them.
    folder
        Where it runs, and leaves ``run.log`` and ``results.xml``.
    seed
        Seed of the tests' random numbers.
    environment
        More environment variables.
    """

    def __init__(self, executable: Path, *, top: str, test_module: str, folder: Path,
                 seed: int = 1, environment: Mapping[str, str] | None = None):
        self._log = folder / "run.log"
        self._results = folder / "results.xml"
        python = find_libpython.find_libpython()
        if python is None:
            raise SimulationError(f"{sys.executable} has no libpython, which cocotb needs: install "
                                  "a Python with a shared library")
        variables = {
            "COCOTB_TEST_MODULES":          test_module,
            "COCOTB_TOPLEVEL":              top,
            "TOPLEVEL_LANG":                "verilog",
            "COCOTB_RANDOM_SEED":           str(seed),
            "COCOTB_RESULTS_FILE":          str(self._results),
            # Verilator's writes take effect at the right moment without cocotb's scheduler.
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "GPI_USERS":                    f"{python};{cocotb_config.pygpi_entry_point()}",
            "PYGPI_PYTHON_BIN":             sys.executable,
            "PYTHONPATH":                   os.pathsep.join([str(_ROOT), *sys.path]),
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [executable], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=os.environ | variables | dict(environment or {}))

    def running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it ends, but no longer than ``seconds``."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def kill(self) -> None:
        """End it now, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def check(self) -> None:
        """Raise :exc:`SimulationError` unless it has ended and every test passed."""
        status = self._process.wait()
        if status == 0 and self._results.exists():
            tests, failures = get_results(self._results)
            if tests and not failures:
                return
            what = f"{failures} of {tests} tests failed"
        else:
            what = f"the simulator ended with status {status}"
        raise SimulationError(f"Simulation failed: {what}, see {self._log}:\n{tail(self._log)}")


def run_cocotb(component, test_module: str, *, name: str, seed: int = 1,
               environment: Mapping[str, str] | None = None) -> None:
    """Run all cocotb tests of a module on a component.

    Raises
    ------
    SimulationError
        If the simulator can't be built or a test fails; the message names log and seed.
    """
    executable = build(component, name=name)
    with scratch(name) as folder:
        process = SimulatorProcess(executable, top=name, test_module=test_module, folder=folder,
                                   seed=seed, environment=environment)
        try:
            process.check()
        except SimulationError as error:
            raise SimulationError(f"{error}\n    (seed {seed})") from None
        finally:
            process.kill()
