"""Keywords of detectors and segmenters, some of which are their body's."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from spikedriven.errors import InputError

BODY = "backbone_args"
#: The body of a detector or a segmenter whose keywords name none.
DEFAULT_BODY = "e_spikeformer_10m"
#: Of what a network has many of; above it there is no memory for them.
MOST = 1_000_000
#: Keywords of the body that may be given without ``backbone_args``, as to a classifier.
SHORT = ("time_steps", "img_size")


def gathered(stated: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """One set of keywords out of those that a tag states and those that the user gives, which win.

    `SHORT` ones are put into ``backbone_args``; of two ``backbone_args`` the keys are joined.
    """
    keywords = {**stated, **given}
    body = joined(stated.get(BODY), given.get(BODY))
    body |= {key: keywords.pop(key) for key in SHORT if key in keywords}
    return keywords | ({BODY: body} if body else {})


def body_keywords(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """What the keywords of a detector or a segmenter say of its body."""
    return {key: keywords[key] for key in SHORT if key in keywords} | joined(
        None, keywords.get(BODY)
    )


def joined(weak: Any, strong: Any) -> dict[str, Any]:
    """The keys of two dictionaries, None standing for an empty one."""
    return {**(weak or {}), **(strong or {})}


def check_types(options: Any) -> None:
    """InputError for a field of a dataclass of keywords whose value is not what its annotation
    says.
    """
    hints = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if not _fits(value, hints[field.name]):
            nested = " (one for each level is not offered)" if isinstance(value, tuple) else ""
            raise InputError(
                f"{field.name}: expected {_described(hints[field.name])}, found {value!r}{nested}"
            )


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple | list) and all(_fits(member, parts[0]) for member in value)
    if hint is float:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        )
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST
    kind = origin or hint
    return isinstance(value, kind) if isinstance(kind, type) else True


def _described(hint: Any) -> str:
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_described(part) for part in parts)
    if typing.get_origin(hint) is tuple:
        return f"several of {_described(parts[0])}"
    names = {
        int: f"a whole number of at most {MOST:,}",
        float: "a number",
        str: "a name",
        bool: "true or false",
    }
    return names.get(hint, "None" if hint is type(None) else str(getattr(hint, "__name__", hint)))
