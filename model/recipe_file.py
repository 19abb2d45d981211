"""Recipes in TOML files.

A file has the fields of `model.recipes.Recipe` as keys, settings as tables, an enumeration's member
by its value, and several of something as an array. With ``base``, the name of a shipped recipe, it
tells only what is different::

    base = "mnist"
    timesteps = 2

    [neuron]                   # all else of it stays as it is in mnist
    leak = [3]

    [quantiser]                # other settings than mnist has, known by their keys
    bits = 4
"""

from __future__ import annotations

import dataclasses
import enum
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.recipes import RECIPES, Recipe, RecipeError

__all__ = ["changed", "read_recipe"]

_WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def read_recipe(file: str | Path) -> Recipe:
    """Return the recipe of a file.

    Raises
    ------
    RecipeError
        If the file is not TOML, or not a recipe: where, and what is wrong.
    OSError
        If it can't be read.
    """
    try:
        table = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: {error}") from None
    base = table.pop("base", None)
    if base is None:
        return _settings(Recipe, table, str(file), None)
    if base not in RECIPES:
        raise RecipeError(f"{file}: unknown base {base!r}; known: {', '.join(RECIPES)}")
    return changed(RECIPES[base], table, str(file))


def changed(recipe: Recipe, table: Mapping[str, Any], where: str) -> Recipe:
    """Return a recipe with the changes of a table, such as a TOML file has.

    Parameters
    ----------
    where : str
        What errors begin with.

    Raises
    ------
    RecipeError
        If something of the table is not known, or not possible.
    """
    return _settings(Recipe, table, where, recipe)


def _settings(kind: type, table: object, where: str, base: Any) -> Any:
    """Return settings of this kind; what the table does not tell is the base's.

    No base, or one of another kind, has nothing to give.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where} must be a table, not {table!r}")
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise RecipeError(f"{where}: unknown key {key!r}; known: {', '.join(hints)}")
    old = base if isinstance(base, kind) else None
    values = {key: _value(hints[key], value, f"{where}: {key}", getattr(old, key, None))
              for key, value in table.items()}
    missing = [field.name for field in dataclasses.fields(kind)
               if field.default is field.default_factory is dataclasses.MISSING
               and field.name not in values]
    if old is None and missing:
        raise RecipeError(f"{where}: {', '.join(missing)} missing")
    try:
        return kind(**values) if old is None else dataclasses.replace(old, **values)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


def _value(kind: Any, value: object, where: str, base: object) -> Any:
    """Return a value of this type."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None and types.NoneType in typing.get_args(kind):
            return None
        kind = _member(typing.get_args(kind), value)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where} must be an array, not {value!r}")
        item = typing.get_args(kind)[0]
        return tuple(_value(item, each, f"{where}[{number}]", None)
                     for number, each in enumerate(value))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _settings(kind, value, where, base)
    if issubclass(kind, enum.Enum):
        values = [member.value for member in kind]
        if value not in values:
            raise RecipeError(f"{where} must be one of {', '.join(values)}, not {value!r}")
        return kind(value)
    if kind is float and type(value) is int:
        return float(value)
    # The types themselves: true is an int, too.
    if type(value) is not kind:
        raise RecipeError(f"{where} must be {_WANTED[kind]}, not {value!r}")
    return value


def _member(kinds: tuple[Any, ...], value: object) -> Any:
    """Return the type of a union that is meant; TOML has no None.

    Of several settings it is the first that has all keys, or the first.
    """
    members = [kind for kind in kinds if kind is not types.NoneType]
    fitting = [kind for kind in members if isinstance(value, Mapping)
               and dataclasses.is_dataclass(kind)
               and set(value) <= {field.name for field in dataclasses.fields(kind)}]
    return (fitting or members)[0]
