"""Finding a data set by the name that a user wrote, and files by the names that a data set's lists give."""

import difflib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

from spikedriven.errors import DataError, InputError

T = TypeVar("T")


def find_entry(sets: Mapping[str, T], name: str, kind: str) -> T:
    """The entry of that name; InputError with the closest names when there is none. kind: "data", "event", ..."""
    if name not in sets:
        close = difflib.get_close_matches(str(name), sets, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known sets: {', '.join(sets)}"
        raise InputError(f"unknown {kind} set {name!r}; {hint}")
    return sets[name]


def below(folder: Path, name: str, origin: str) -> Path:
    """folder / name of a list file; DataError for a name that leads out of the folder. origin: the list, and the
    place in it."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or PurePosixPath(name).is_absolute()
        or ".." in parts
        or "\x00" in name
        or "\\" in name
    ):
        raise DataError(f"{origin}: expected a path below {folder}, found {name!r}")
    return folder / name
