"""Keywords of detectors and segmenters, some of which are their body's."""

from collections.abc import Mapping
from typing import Any

BODY = "backbone_args"
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


def joined(weak: Any, strong: Any) -> dict[str, Any]:
    """The keys of two dictionaries, None standing for an empty one."""
    return {**(weak or {}), **(strong or {})}
