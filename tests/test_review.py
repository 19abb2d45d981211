# amaranth: UnusedElaboratable=no
"""The reviewer's guide: up to date, complete, its picture drawn from what was simulated."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from amaranth.lib import wiring

import hw
from bench import review
from bench.waveform import Row, draw, read

DOCS = Path(__file__).resolve().parents[1] / "docs"

VCD = """\
$scope module bench $end
$scope module top $end
$var wire 1 ! clk $end
$var wire 4 " level $end
$upscope $end
$upscope $end
$enddefinitions $end
0!
b0011 "
#1
1!
b0101 "
#2
0!
#3
1!
b1000 "
"""


def test_page_is_up_to_date():
    assert (DOCS / "review.md").read_text() == review.document(), "run python -m bench.review"


def test_every_component_has_a_section():
    modules = [importlib.import_module(f"hw.{info.name}")
               for info in pkgutil.iter_modules(hw.__path__)]
    components = {
        value for module in modules for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, wiring.Component)
        and value.__module__ == module.__name__}
    assert components == set(review.BLOCKS)


def test_picture_shows_the_way_of_a_span():
    assert (DOCS / "review.svg").read_text() == review.picture(), "run python -m bench.review"


def test_values_are_those_before_a_clock_edge(tmp_path):
    path = tmp_path / "waves.vcd"
    path.write_text(VCD)
    assert read(path, ["bench.top.level"]) == {"bench.top.level": [3, 5], "bench.top.clk": [0, 0]}


def test_signal_that_is_not_there(tmp_path):
    path = tmp_path / "waves.vcd"
    path.write_text(VCD)
    with pytest.raises(KeyError, match=r"No signal bench\.top\.colour in .*waves\.vcd"):
        read(path, ["bench.top.colour"])


def test_rows_of_a_picture():
    series = {"bit": [0, 1, 1], "level": [5, 5, 2], "valid": [1, 0, 1]}
    svg = draw([Row("a < b", "bit", base=1), Row("level", "level"),
                Row("when valid", "level", "valid", 2, 3)], series, range(3))
    assert "a &lt; b" in svg
    assert svg.count("<rect") == 1 + 2 + 2             # the ground, 5 5 and 2, 101 and 010
    assert all(f">{text}</text>" in svg for text in ("5", "2", "101", "010"))
