"""How commands read their words: dataclasses by tyro, and ``--model.args.KEY VALUE`` beside them.

Which keys there are depends on the network, so that tyro cannot know them.
"""

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import tyro

from spikedriven.errors import InputError
from spikedriven.recipes.yaml_text import read_yaml

_HINT = """
Keywords of a network given by name: --model.args.KEY VALUE, such as --model.args.levels 8.
NAME.TAG, a published file of `spikedriven models --files`, stands for them and for how its images
are prepared."""

Arguments = TypeVar("Arguments")


def parse(kind: type[Arguments], argv: list[str], command: str, doc: str | None) -> Arguments:
    """The arguments of a command that names a network: a dataclass with the field
    ``model_args`` (`Target`).
    """
    rest, given = split_arguments(argv, ("model",))
    found = read(kind, rest, command, f"{doc or ''}{_HINT}")
    return dataclasses.replace(found, model_args=nested(given["model"]))  # type: ignore[type-var]


def read(
    kind: type[Arguments],
    argv: list[str],
    command: str,
    doc: str | None,
    default: Arguments | None = None,
) -> Arguments:
    """The arguments of a command, a dataclass; default: an object of it with the values of what is
    not given.

    A boolean option is --NAME and --no-NAME, and --NAME true and --NAME false as in a recipe.
    """
    shown = kind if default is None else default
    words = as_python(as_flags(argv, booleans(shown)), booleans(shown, bool | None))
    given: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(kind, args=words, prog=f"spikedriven {command}", description=doc, **given)


def booleans(arguments: Any, wanted: Any = bool) -> set[str]:
    """Names of the boolean options of a dataclass, or of an object of one, as the command line
    has them; with ``bool | None`` of those that may be left open.
    """
    return set(_booleans(arguments, "", wanted))


def _booleans(arguments: Any, prefix: str, wanted: Any) -> Iterator[str]:
    kind = arguments if isinstance(arguments, type) else type(arguments)
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, names = hints[field.name], [field.name]
        if typing.get_origin(hint) is Annotated:
            names += [
                mark.name for mark in hint.__metadata__ if getattr(mark, "name", None) is not None
            ]
            hint = typing.get_args(hint)[0]
        name = f"{prefix}{names[-1]}".replace("_", "-")
        value = getattr(arguments, field.name, hint)
        if dataclasses.is_dataclass(value):
            yield from _booleans(value, f"{name}." if names[-1] else prefix, wanted)
        elif hint == wanted:
            yield name


def as_flags(argv: list[str], options: set[str]) -> list[str]:
    """The words with each boolean option that has a value in the spelling without one."""
    words: list[str] = []
    left = list(argv)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if option.removeprefix("--").replace("_", "-") not in options:
            words.append(word)
            continue
        if not equals and left and left[0].lower() in _TRUTH:
            value = left.pop(0)
        if value and value.lower() not in _TRUTH:
            raise InputError(f"{option} {value}: expected true or false")
        words.append(option if not value or _TRUTH[value.lower()] else _negated(option))
    return words


def as_python(argv: list[str], options: set[str]) -> list[str]:
    """The words with True for the "true" of an option that may be left open, as tyro wants it."""
    words: list[str] = []
    is_value = False
    for word in argv:
        option, equals, value = word.partition("=")
        known = option.startswith("--") and option[2:].replace("_", "-") in options
        if is_value:
            word = word.capitalize()
        elif known and equals:
            word = f"{option}={value.capitalize()}"
        is_value = known and not equals
        words.append(word)
    return words


def _negated(option: str) -> str:
    section, dot, name = option.removeprefix("--").rpartition(".")
    return f"--{section}{dot}no-{name}"


_TRUTH = {"true": True, "false": False}


def split_arguments(
    argv: list[str], sections: Sequence[str]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Take SECTION.args.KEY and its value out, in both spellings of an option; values are read as
    YAML.

    Returns the other words, and the values by section and key; of a key that is given twice the
    last one. InputError for a key without a value.
    """
    rest: list[str] = []
    found: dict[str, dict[str, Any]] = {section: {} for section in sections}
    words = iter(argv)
    for word in words:
        section = next((name for name in sections if word.startswith(f"--{name}.args.")), None)
        if section is None:
            rest.append(word)
            continue
        key, equals, value = word.removeprefix(f"--{section}.args.").partition("=")
        text = value if equals else next(words, None)
        if text is None or not key:
            raise InputError(f"{word}: expected --{section}.args.KEY VALUE")
        found[section][key.replace("-", "_")] = _value(word, text)
    return rest, found


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """A key with a dot, as in backbone_args.levels, is one of a dictionary."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        outer, dot, inner = key.partition(".")
        if not dot:
            found[outer] = value
        elif isinstance(found.setdefault(outer, {}), dict):
            found[outer][inner] = value
        else:
            raise InputError(
                f"--model.args.{outer} {found[outer]} and --model.args.{key}: give one of them"
            )
    return found


def _value(word: str, text: str) -> Any:
    try:
        return read_yaml(text)
    except ValueError as error:
        raise InputError(f"{word} {text}: not a value: {error}") from error
