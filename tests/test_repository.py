"""The rules that the repository sets itself."""

import ast
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from hw.parameters import PRESETS, CoreParameters

ROOT = Path(__file__).parent.parent

#: What the modules of a package may import, besides the standard library and the package itself.
ALLOWED = {
    "hw": {"amaranth"},
    "model": {"numpy", "torch", "safetensors", "sklearn", "PIL"},
    "mapping": {"numpy", "amaranth", "hw", "model.network", "model.bounds"},
    "sim": {"numpy", "amaranth", "cocotb", "cocotb_tools", "find_libpython", "hw", "mapping",
            "model.network", "model.files"},
    "boards": {"amaranth", "amaranth_boards", "hw", "mapping", "sim"},
    "ternspike": {"numpy", "torch", "rich", "typer", "jinja2", "markupsafe", "serial",
                  "hw", "mapping", "model", "sim", "boards"},
}


def imported(path):
    """Yield the names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tracked():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    allowed = ALLOWED[package] | {package}
    for path in (ROOT / package).glob("**/*.py"):
        for name in imported(path):
            if name.split(".")[0] in sys.stdlib_module_names:
                continue
            parents = [name.rsplit(".", count)[0] for count in range(name.count(".") + 1)]
            assert allowed & set(parents), f"{path.relative_to(ROOT)} imports {name}"


def test_importing_is_cheap():
    """Only what trains or executes loads PyTorch, and only what simulates loads cocotb."""
    modules = ["model", "model.network", "model.data", "model.accounting", "model.energy",
               "hw.core", "mapping.program", "mapping.cycles", "sim.run", "sim.compare",
               "ternspike.cli", "ternspike.commands", "ternspike.device", "ternspike.report",
               "ternspike.running", "ternspike.summary"]
    script = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout
    assert output == "False\n"


def test_no_shortcuts_in_the_code():
    wanted = re.compile(r"#\s*no" r"qa|type:\s*ig" r"nore|\bTO" r"DO\b|\bFIX" r"ME\b"
                        r"|except Exc" r"eption\b|exc" r"ept:")
    for path in tracked():
        if path.suffix == ".py":
            found = wanted.search(path.read_text())
            assert found is None, f"{path.relative_to(ROOT)} has {found}"


def test_no_paths_of_one_machine():
    wanted = re.compile(r"(?<![\w.])/(home|work|root|Users)/\w")
    for path in tracked():
        if path.suffix in (".py", ".md", ".toml", ".yml", ".jinja", ".css", ""):
            found = wanted.search(path.read_text())
            assert found is None, f"{path.relative_to(ROOT)} has {found}"


def test_no_large_or_made_files():
    for path in tracked():
        assert path.stat().st_size < 300_000, path
        assert path.suffix not in {".v", ".vcd", ".pt", ".npz", ".bit", ".gz"}, path


def test_make_lists_its_targets():
    output = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout
    for target in ("demo", "test", "lint", "types", "bench", "mnist", "fashion", "place",
                   "campaign", "clean"):
        assert f"make {target} " in output


def test_links_in_the_documents_lead_somewhere():
    for path in tracked():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_readme_shows_the_presets():
    rows = (ROOT / "README.md").read_text().splitlines()
    for field in fields(CoreParameters):
        values = [str(getattr(preset, field.name)).lower() for preset in PRESETS.values()]
        end = f" | {' | '.join(values)} |"
        assert any(row.startswith(f"| `{field.name}` | ") and row.endswith(end) for row in rows), (
            f"README.md should say: {field.name}{end}")
