"""The table of published systems: all that it names exists, and the page is what it says."""

import ast
import functools
import re
from pathlib import Path

import pytest

from bench import systems
from bench.systems import SYSTEMS, Extent, System
from model.recipes import RECIPES

ROOT = Path(__file__).parent.parent


@functools.cache
def functions_in(file: str) -> set[str]:
    """Return the names of the functions that a file defines."""
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def fault(item: str) -> str | None:
    """Return what is wrong with something that shows a system, or None."""
    if match := re.fullmatch(r"(tests/test_\w+\.py)::(test_\w+)", item):
        file, test = match.groups()
        if not (ROOT / file).is_file():
            return f"there is no file {file}"
        return None if test in functions_in(file) else f"{file} defines no {test}"
    if match := re.fullmatch(r"recipe ([\w-]+)", item):
        return None if match[1] in RECIPES else f"there is no recipe {match[1]}"
    if match := re.fullmatch(r"make (\w+)", item):
        rules = (ROOT / "Makefile").read_text(encoding="utf-8")
        found = re.search(rf"^{match[1]}:.*##", rules, re.MULTILINE)
        return None if found else f"the Makefile has no target {match[1]}"
    if match := re.fullmatch(r"python -m bench\.(\w+)", item):
        return None if (ROOT / "bench" / f"{match[1]}.py").is_file() else (
            f"there is no bench/{match[1]}.py")
    return "it is neither a test, nor a recipe, nor a command"


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_what_shows_a_system_exists(system):
    assert len(set(system.shown_by)) == len(system.shown_by), "something is named twice"
    for item in system.shown_by:
        wrong = fault(item)
        assert wrong is None, f"bench/systems.py, {system.name}, {item}: {wrong}"


@pytest.mark.parametrize("item", [
    "tests/test_fold.py::test_no_such", "tests/test_none.py::test_one", "tests/test_fold.py",
    "tests/test_fold.py::spikes", "recipe none", "make nothing", "python -m bench.none", "make",
])
def test_what_does_not_exist_is_found(item):
    assert fault(item)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_what_the_text_names_exists(system):
    """Whatever stands in backquotes with a dot is a module, and the page links to its file."""
    for text in (system.covered, system.missing):
        for name in re.findall(r"recipe `([^`]*)`", text):
            assert name in RECIPES, f"bench/systems.py, {system.name}: no recipe {name}"
        for name in re.findall(r"`([\w.]*\.[\w.]*)`", text):
            path = Path(*name.split(".")).with_suffix(".py")
            assert (ROOT / path).is_file(), f"bench/systems.py, {system.name}: no module {name}"
            assert f"[`{name}`](../{path.as_posix()})" in systems.document([system])


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_a_row_is_whole(system):
    """Something is shown if and only if something is here, and always is something missing."""
    here = system.extent is not Extent.NONE
    assert bool(system.covered) == bool(system.shown_by) == here
    for text in (system.source, system.covered, system.missing):
        assert not text or text.endswith(".")
    assert system.subject and system.read and system.missing
    assert not any(field.endswith(".") for field in (system.name, system.subject, system.read))


def test_no_system_twice():
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS) == 33


def test_page_of_two_systems():
    one = System("One", "first", "arXiv 1.", "the abstract", Extent.PART, "Half, `model.fold`.",
                 ("tests/test_a.py::test_b", "recipe mnist", "make demo"), "The other half.")
    other = System("Other", "second", "", "the code", Extent.NONE, "", (), "All.")
    page = systems.document([one, other])
    assert "* **Part**, some of what is its own is built (1): One.\n" in page
    assert "* **All**, every part of the method that could be read is built (0): -.\n" in page
    assert page.endswith(
        "\n## One\n\nFirst. arXiv 1. Read: the abstract.\n\n"
        "* **Here:** *part.* Half, [`model.fold`](../model/fold.py).\n"
        "* **Shown by:** [test_a: test_b](../tests/test_a.py), "
        "[recipe mnist](../model/recipes.py), `make demo`.\n"
        "* **Missing:** The other half.\n"
        "\n## Other\n\nSecond. Read: the code.\n\n"
        "* **Here:** *none.*\n"
        "* **Missing:** All.\n")


def test_page_is_what_the_table_says():
    file = ROOT / "docs" / "systems.md"
    page = file.read_text(encoding="utf-8") if file.is_file() else ""
    assert page == systems.document(), (
        "docs/systems.md is not what bench/systems.py says: run python -m bench.systems")


def test_writes_the_page(tmp_path, capsys):
    file = tmp_path / "docs" / "systems.md"
    assert systems.main(["--output", str(file)]) == 0
    assert file.read_text(encoding="utf-8") == systems.document()
    assert systems.main(["--output", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
