"""Finding a data set by the name that a user wrote."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from spikedriven.errors import InputError

T = TypeVar("T")


def find_entry(sets: Mapping[str, T], name: str, kind: str) -> T:
    """The entry of that name; InputError with the closest names when there is none. kind: "data", "event", ..."""
    if name not in sets:
        close = difflib.get_close_matches(str(name), sets, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known sets: {', '.join(sets)}"
        raise InputError(f"unknown {kind} set {name!r}; {hint}")
    return sets[name]
