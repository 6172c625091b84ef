"""How commands read their words: dataclasses by tyro, and ``--model.args.KEY VALUE`` beside them.

Which keys there are depends on the network, so that tyro cannot know them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro
import yaml

from spikedriven.errors import InputError

_HINT = """
Keywords of a network given by name: --model.args.KEY VALUE, such as --model.args.levels 8. NAME.TAG, a
published file of `spikedriven models --files`, stands for them and for how its images are prepared."""

Arguments = TypeVar("Arguments")


def parse(kind: type[Arguments], argv: list[str], command: str, doc: str | None) -> Arguments:
    """The arguments of a command that names a network: a dataclass with the field ``model_args`` (`Target`)."""
    rest, given = split_arguments(argv, ("model",))
    found = tyro.cli(
        kind, args=rest, prog=f"spikedriven {command}", description=f"{doc or ''}{_HINT}"
    )
    return dataclasses.replace(found, model_args=nested(given["model"]))  # type: ignore[type-var]


def split_arguments(
    argv: list[str], sections: Sequence[str]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Take SECTION.args.KEY and its value out, in both spellings of an option; values are read as YAML.

    Returns the other words, and the values by section and key; of a key that is given twice the last one. InputError
    for a key without a value.
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
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{word} {text}: not a value: {error}") from error
