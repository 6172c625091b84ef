"""A list of pictures and their labels: a CSV file with a title line, or a JSONL file with an object
a line.

Columns or keys: `path` (below the folder of the list), `label` (one) or `labels` (several: in CSV
with ; between, in JSONL a list), and, where the list says which part a picture is in, `split`.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikedriven.data.lookup import below
from spikedriven.data.own.parts import NAMES
from spikedriven.errors import DataError

#: Looked for in the folder, in this order.
DEFAULTS = ("labels.csv", "labels.jsonl")
#: Characters; a list of ten million pictures stays below it.
LARGEST_LIST = 1 << 30
_PART = {name: part for part, names in NAMES.items() for name in names}


@dataclass(frozen=True)
class Row:
    """path: of the picture. labels: one, or several. part: "train", "val", "test", or None where
    the list does not say it.
    """

    path: Path
    labels: tuple[str, ...]
    part: str | None


@dataclass(frozen=True)
class Listed:
    """several: whether a picture may have any number of labels."""

    source: Path
    rows: tuple[Row, ...]
    several: bool


def find_list(folder: Path) -> Path | None:
    """The list in a folder, if there is one. DataError where there are two."""
    found = [folder / name for name in DEFAULTS if (folder / name).is_file()]
    if len(found) > 1:
        raise DataError(
            f"{folder}: {found[0].name} and {found[1].name}: keep one, or name it with "
            "data.labels_file"
        )
    return found[0] if found else None


def read_list(source: Path) -> Listed:
    """DataError names the line of whatever cannot be used."""
    entries = list(_csv(source) if source.suffix.lower() != ".jsonl" else _jsonl(source))
    if not entries:
        raise DataError(f"{source}: no picture in it")
    keys = {key for _, entry in entries for key in ("label", "labels") if key in entry}
    if len(keys) != 1:
        found = " and ".join(sorted(keys)) or "neither"
        raise DataError(f"{source}: expected label (one) or labels (several), found {found}")
    several = keys == {"labels"}
    rows = tuple(_row(source, origin, entry, several) for origin, entry in entries)
    _check(source, rows)
    return Listed(source, rows, several)


def _row(source: Path, origin: str, entry: dict[str, Any], several: bool) -> Row:
    path, split = entry.get("path"), entry.get("split")
    if not isinstance(path, str) or not path:
        raise DataError(f"{origin}: expected a path, found {path!r}")
    part = None if split in (None, "") else _PART.get(str(split).lower())
    if split not in (None, "") and part is None:
        raise DataError(f"{origin}: split must be one of {', '.join(_PART)}, found {split!r}")
    found = entry.get("labels" if several else "label")
    labels = _labels(origin, found, several)
    place = Path(path) if Path(path).is_absolute() else below(source.parent, path, origin)
    return Row(place, labels, part)


def _labels(origin: str, found: Any, several: bool) -> tuple[str, ...]:
    """A class is known by its name; a number is the name "3", so that 3 and "3" are one class."""
    if several and isinstance(found, str):
        found = [part.strip() for part in found.split(";") if part.strip()]
    if several and not isinstance(found, list):
        raise DataError(
            f"{origin}: labels must be a list, or names with ; between, found {found!r}"
        )
    values = found if several else [found]
    plain = all(isinstance(value, str | int) and not isinstance(value, bool) for value in values)
    names = tuple(str(value).strip() for value in values)
    if not plain or not all(names) or len(set(names)) < len(names):
        raise DataError(
            f"{origin}: expected {'different names' if several else 'a name'}, found {found!r}"
        )
    return names


def _check(source: Path, rows: tuple[Row, ...]) -> None:
    parts = {row.part for row in rows}
    if None in parts and len(parts) > 1:
        raise DataError(
            f"{source}: some pictures have a split and some have none; give all or none"
        )
    seen: dict[Path, Row] = {}
    for row in rows:
        before = seen.setdefault(row.path, row)
        if before is not row:
            raise DataError(
                f"{source}: {row.path} stands in it twice, with "
                f"{', '.join(before.labels) or 'no label'} and "
                f"{', '.join(row.labels) or 'no label'}; a picture with several labels has one line"
            )


def _csv(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_text(source)), skipinitialspace=True)
    fields = [field.strip().lower() for field in reader.fieldnames or []]
    if "path" not in fields:
        raise DataError(
            f"{source}, line 1: expected a title line with path and label, found {fields}"
        )
    reader.fieldnames = fields
    try:
        for entry in reader:
            origin = f"{source}, line {reader.line_num}"
            if None in entry or None in entry.values():
                raise DataError(f"{origin}: expected {len(fields)} values: {', '.join(fields)}")
            yield origin, {key: value.strip() for key, value in entry.items()}
    except csv.Error as error:
        raise DataError(f"{source}, line {reader.line_num}: not CSV: {error}") from error


def _jsonl(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_text(source).splitlines(), 1):
        if not line.strip():
            continue
        origin = f"{source}, line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{origin}: not JSON: {error}") from error
        if not isinstance(entry, dict):
            raise DataError(
                f"{origin}: expected an object with path and label, found {line[:80]!r}"
            )
        yield origin, entry


def _text(source: Path) -> str:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(LARGEST_LIST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source} cannot be read as text: {error}") from error
    if len(text) > LARGEST_LIST:
        raise DataError(f"{source}: more than {LARGEST_LIST} characters; is it a list of pictures?")
    return text
