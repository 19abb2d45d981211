"""Cores by name on the command line: a preset, or a preset with some parameters changed."""

from dataclasses import fields, replace

from hw.parameters import PRESETS, CoreParameters

__all__ = ["CoreError", "parse_core"]


class CoreError(ValueError):
    """A core that is not known or can't be built."""


def parse_core(text: str) -> CoreParameters:
    """Return the parameters of ``medium``, or of ``medium,planes=2,neurons=8``.

    Raises
    ------
    CoreError
        If the preset or a parameter is not known, or a value is not possible.
    """
    preset, *changes = text.split(",")
    if preset not in PRESETS:
        raise CoreError(f"Unknown core {preset!r}; known: {', '.join(PRESETS)}, "
                        f"each with changes such as {next(iter(PRESETS))},planes=2")
    known = {field.name for field in fields(CoreParameters)}
    values = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in known:
            raise CoreError(f"Core {text!r}: {change!r} is not PARAMETER=VALUE; "
                            f"parameters: {', '.join(sorted(known))}")
        values[name] = _value(text, name, value)
    try:
        return replace(PRESETS[preset], **values)
    except (TypeError, ValueError) as error:
        raise CoreError(f"Core {text!r}: {error}") from error


def _value(core: str, name: str, text: str) -> int | bool:
    """Return an integer, or true or false."""
    if text in ("true", "false"):
        return text == "true"
    if not (text.isascii() and text.isdigit()):
        raise CoreError(f"Core {core!r}: {name} must be a number, true or false, not {text!r}")
    return int(text)
