"""A split of the user's own: a text file with the names of the test recordings, one a line; all
others train.

A name is CLASS/NAME, or NAME alone where only one class has such a recording; with or without its
ending. Empty lines and lines that begin with # are passed over.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from spikedriven.data.events.recordings import read_lines
from spikedriven.errors import DataError


def listed_recordings(path: Path, recordings: Mapping[str, Sequence[Path]]) -> set[Path]:
    """Those of the recordings of each class that the file names. DataError names line, expected and
    found."""
    known = _by_name(recordings)
    chosen: dict[Path, str] = {}
    for origin, name in read_lines(path):
        if name.startswith("#"):
            continue
        found = known.get(name, ())
        if len(found) != 1:
            number = "several recordings" if found else "none"
            raise DataError(
                f"{origin}: expected CLASS/NAME of one recording, found {name!r}: {number} of that "
                "name"
            )
        if found[0] in chosen:
            raise DataError(
                f"{origin}: {name!r} was named before, in {chosen[found[0]]}; keep one of the two "
                "lines"
            )
        chosen[found[0]] = origin
    return set(chosen)


def _by_name(recordings: Mapping[str, Sequence[Path]]) -> dict[str, list[Path]]:
    """Every recording by every name that a line may give it."""
    known = defaultdict(list)
    for label, paths in recordings.items():
        for path in paths:
            for name in (path.name, path.stem):
                known[name].append(path)
                known[f"{label}/{name}"].append(path)
    return known
