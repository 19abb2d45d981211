"""The parameters of a core: what may be, and every message about what may not."""

import dataclasses
import re
from typing import Any

import pytest

from hw.parameters import PRESETS, CoreParameters

GOOD: dict[str, Any] = dict(banks=4, lanes=8, planes=2, neurons=2, scan=4)


def test_properties():
    parameters = CoreParameters(banks=3, lanes=6, planes=2, neurons=2, scan=4)
    assert parameters.row_width == 12      # channels of 3 banks x 4 columns
    assert parameters.row_tiles == 2
    assert parameters.tile_groups == 3
    assert parameters.slots == 36


def test_immutable_and_comparable():
    parameters = CoreParameters(**GOOD)
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.__setattr__("banks", 8)
    assert parameters == CoreParameters(**GOOD)
    assert hash(parameters) == hash(CoreParameters(**GOOD))
    assert parameters != CoreParameters(**{**GOOD, "neurons": 4})


def test_to_dict_is_the_constructors_arguments():
    parameters = CoreParameters(**{**GOOD, "single_port": True})
    values: dict[str, Any] = dict(parameters.to_dict())
    assert set(values) == {field.name for field in dataclasses.fields(CoreParameters)}
    assert values["scan"] == 4
    assert values["single_port"] is True
    assert CoreParameters(**values) == parameters


@pytest.mark.parametrize("name", CoreParameters.LIMITS)
def test_every_parameter_has_limits(name):
    low, high = CoreParameters.LIMITS[name]
    assert low <= getattr(CoreParameters(**GOOD), name) <= high
    for value in (low - 1, high + 1, -1):
        with pytest.raises(ValueError, match=re.escape(
                f"Core parameter {name} must be in {low}..{high}, not {value}")):
            CoreParameters(**{**GOOD, name: value})


def test_every_integer_has_a_row_in_limits():
    integers = {field.name for field in dataclasses.fields(CoreParameters) if field.type is int}
    assert integers == set(CoreParameters.LIMITS)


@pytest.mark.parametrize("name", CoreParameters.LIMITS)
@pytest.mark.parametrize("value", ["8", 8.0, None, True])
def test_not_an_integer(name, value):
    with pytest.raises(TypeError, match=re.escape(
            f"Core parameter {name} must be an integer, not {value!r}")):
        CoreParameters(**{**GOOD, name: value})


@pytest.mark.parametrize("name", [
    field.name for field in dataclasses.fields(CoreParameters) if field.type is bool])
@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_not_a_bool(name, value):
    with pytest.raises(TypeError, match=re.escape(
            f"Core parameter {name} must be a bool, not {value!r}")):
        CoreParameters(**{**GOOD, name: value})


@pytest.mark.parametrize(("changes", "message"), [
    ({"lanes": 10, "neurons": 2},
     "Core parameter lanes (10) must be a multiple of banks (4)"),
    ({"neurons": 3}, "Core parameter lanes (8) must be a multiple of neurons (3)"),
    ({"scan": 3}, "Core parameter banks * scan (12) must be a multiple of lanes (8)"),
    ({"queue_depth": 24}, "Core parameter queue_depth must be a power of two, not 24"),
    ({"membrane_width": 20, "current_width": 19},
     "Core parameter membrane_width (20) must not exceed current_width (19)"),
])
def test_parameters_that_do_not_go_together(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        CoreParameters(**{**GOOD, **changes})


def test_presets():
    assert list(PRESETS) == ["tiny", "small", "medium", "large"]
    slots = [preset.slots for preset in PRESETS.values()]
    assert slots == sorted(set(slots))
    assert (PRESETS["medium"].banks, PRESETS["medium"].lanes) == (16, 64)
    assert PRESETS["tiny"].single_port
