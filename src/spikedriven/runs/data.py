"""What a run was trained on, kept in its folder: RUN/data.json with the names of the classes.

A run is resumed on the same samples or not at all, and its names of classes do not depend on what
lies at data.root today.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from spikedriven.data.record import DataRecord
from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.files import write_atomic

NAME = "data.json"


def write_data(run: Path, record: DataRecord) -> None:
    """Keep the record in the run's folder."""
    write_atomic(run / NAME, json.dumps(dataclasses.asdict(record), indent=1).encode())


def check_data(run: Path, record: DataRecord) -> None:
    """RecipeError where the run that is continued was trained on other samples or classes; one of
    an earlier version does not know them.
    """
    stored = data_of(run)
    if stored not in (None, record):
        raise RecipeError(
            f"{run}: the run was started on other data: {stored} then, {record} now"
            f"{_difference(stored, record)}. A resumed run must see the same samples: restore "
            "them, or start "
            "another run with --run.out"
        )


def _difference(stored: DataRecord, record: DataRecord) -> str:
    if stored.classes != record.classes:
        gone = [name for name in stored.classes if name not in record.classes]
        new = [name for name in record.classes if name not in stored.classes]
        return f" (gone: {', '.join(gone) or 'none'}; new: {', '.join(new) or 'none'})"
    return "" if stored.samples != record.samples else " (other files or labels)"


def data_of(run: Path) -> DataRecord | None:
    """What is known of a run folder's data; None of runs of earlier versions. CheckpointError where
    the file cannot be read."""
    path = run / NAME
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        fields = {field.name: content[field.name] for field in dataclasses.fields(DataRecord)}
        return DataRecord(**{**fields, "classes": tuple(map(str, fields["classes"]))})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); delete it to go on without "
            "the "
            "names of the classes"
        ) from error
