"""How commands read their words: dataclasses by tyro, and ``--model.args.KEY VALUE`` beside them.

Which keys there are depends on the network, so that tyro cannot know them.
"""

import dataclasses
from typing import Any, TypeVar

import tyro
import yaml

from spikedriven.errors import InputError

MODEL_ARGUMENT = "--model.args."
_HINT = """
Keywords of a network given by name: --model.args.KEY VALUE, such as --model.args.levels 8. NAME.TAG, a
published file of `spikedriven models --files`, stands for them and for how its images are prepared."""

Arguments = TypeVar("Arguments")


def parse(kind: type[Arguments], argv: list[str], command: str, doc: str | None) -> Arguments:
    """The arguments of a command that names a network: a dataclass with the field ``model_args`` (`Target`)."""
    rest, model_args = split_model_arguments(argv)
    found = tyro.cli(kind, args=rest, prog=f"spikedriven {command}", description=f"{doc or ''}{_HINT}")
    return dataclasses.replace(found, model_args=model_args)  # type: ignore[type-var]


def split_model_arguments(argv: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Take `--model.args.KEY VALUE` and `--model.args.KEY=VALUE` out; values are read as YAML.

    Of a key that is given twice the last value counts. InputError for a key without a value.
    """
    rest, found, words = [], {}, iter(argv)
    for word in words:
        if not word.startswith(MODEL_ARGUMENT):
            rest.append(word)
            continue
        key, equals, value = word.removeprefix(MODEL_ARGUMENT).partition("=")
        text = value if equals else next(words, None)
        if text is None or not key:
            raise InputError(f"{word}: expected --model.args.KEY VALUE")
        found[key.replace("-", "_")] = _value(word, text)
    return rest, found


def _value(word: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{word} {text}: not a value: {error}") from error
