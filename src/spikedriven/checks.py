"""Checks of configurations: how a value that cannot be used is refused, the same in every section
of a recipe."""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping
from typing import Any, NoReturn

from spikedriven.errors import RecipeError

_INTERVAL = re.compile(r"([\[(])([\d.]+), ([\d.]+|inf)([\])])")


def refuse(field: str, value: Any, expected: str) -> NoReturn:
    """RecipeError in the form that all fields share. field: with its section, where there is
    one."""
    raise RecipeError(f"{field}: found {value!r}, expected {expected}")


def check_whole(config: Any, least: Mapping[str, int], section: str = "") -> None:
    """Each of the fields that is given is a whole number of at least so much."""
    for field, low in least.items():
        value = getattr(config, field)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < low
        ):
            refuse(_named(section, field), value, f"a whole number of at least {low}")


def check_numbers(config: Any, intervals: Mapping[str, str], section: str = "") -> None:
    """Each of the fields that is given is a number within its interval, which is written as in
    mathematics: "[0, 1)" has 0 and has not 1; "(0, inf)" is every finite number above 0."""
    for field, interval in intervals.items():
        value = getattr(config, field)
        if value is not None and not within(value, interval):
            refuse(_named(section, field), value, f"a number in {interval}")


def within(value: float, interval: str) -> bool:
    """Whether a number is in an interval such as "[0, 1)"."""
    match = _INTERVAL.fullmatch(interval)
    assert match is not None, interval
    low, high = float(match[2]), float(match[3])
    above = low < value or (match[1] == "[" and value == low)
    return above and value < math.inf and (value < high or (match[4] == "]" and value == high))


def check_choices(config: Any, section: str = "") -> None:
    """Each field whose type is a Literal has one of its values (Python itself does not look)."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        choices = _choices(hints[field.name])
        value = getattr(config, field.name)
        if choices and (value not in choices or isinstance(value, float)):
            names = ", ".join(str(choice) for choice in choices if choice is not None)
            refuse(_named(section, field.name), value, f"one of {names}")


def _choices(hint: Any) -> tuple[Any, ...]:
    """Of Literal[...], also with None beside it; of any other type none."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    options = typing.get_args(hint)
    found = [option for option in options if typing.get_origin(option) is typing.Literal]
    if len(found) != 1 or set(options) - {found[0], type(None)}:
        return ()
    return (
        (*typing.get_args(found[0]), None) if type(None) in options else typing.get_args(found[0])
    )


def _named(section: str, field: str) -> str:
    return f"{section}.{field}" if section else field
