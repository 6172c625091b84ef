"""Recordings of one's own: event files in class folders."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikedriven.checks import refuse
from spikedriven.data.events.config import FramedEventConfig
from spikedriven.data.events.formats.table import FORMATS
from spikedriven.data.events.recordings import RecordedEvents, Recording
from spikedriven.data.own.parts import (
    NAMES,
    OwnFolder,
    chosen_part,
    drawn_part,
    first_folder,
    folder_of,
    own_parts,
    same_classes,
)
from spikedriven.errors import DataError


@dataclass(frozen=True, kw_only=True)
class RecordingFolderConfig(OwnFolder, FramedEventConfig):
    """The data section of recordings of one's own."""

    dataset: str = "event-folder"
    """A folder of your own; docs/own_data.md says how it is laid out."""
    sensor: tuple[int, int] | None = None
    """Rows and columns of the sensor, for files that do not say it."""

    def sensor_size(self) -> tuple[int | None, int | None]:
        """As the field says."""
        return self.sensor or (None, None)

    def _check(self) -> None:
        super()._check()
        if self.sensor is not None and min(self.sensor) < 1:
            refuse("sensor", self.sensor, "rows and columns of at least one pixel")


Classes = dict[str, list[Path]]


def locate(folder: Path) -> Path | None:
    """The folder, where it has class folders, or parts with such, of which the first has a
    recording."""
    if not folder.is_dir():
        return None
    parts = [
        folder / name for names in NAMES.values() for name in names if (folder / name).is_dir()
    ]
    classes = first_folder(parts[0] if parts else folder)
    return folder if classes is not None and any(_files(classes)) else None


def open_set(cfg: RecordingFolderConfig, folder: Path, split: str) -> RecordedEvents:
    """The "train", "val" or "test" recordings. DataError names what is missing or wrong."""
    folder = folder_of(cfg, folder)
    parts = _found(folder)
    if not parts:
        raise DataError(
            f"{folder}: no recordings were found; expected class folders (CLASS/*.aedat4, *.raw, "
            "*.npz, ...), or train/CLASS/ and val/CLASS/; `spikedriven events FILE` says whether a "
            "file is read"
        )
    same_classes(folder, {part: tuple(classes) for part, classes in parts.items()})
    if "" not in parts:
        chosen = chosen_part(folder, {part: Path(part) for part in parts}, split)
        return _recorded(cfg, folder, parts[chosen])
    whole = _recorded(cfg, folder, parts[""])
    return whole.subset(drawn_part(cfg, whole.targets, split))


def _recorded(cfg: RecordingFolderConfig, folder: Path, classes: Classes) -> RecordedEvents:
    files = [path for paths in classes.values() for path in paths]
    targets = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
    return RecordedEvents(cfg, folder, [Recording(path) for path in files], targets, tuple(classes))


def _found(folder: Path) -> dict[str, Classes]:
    """By part the recordings of each class; "": of the whole folder."""
    parts = {part: place for part, place in own_parts(folder).items() if place.parent == folder}
    found = {part: _classes(place) for part, place in (parts or {"": folder}).items()}
    return {part: classes for part, classes in found.items() if classes}


def _classes(folder: Path) -> Classes:
    """The recordings of each class, in the order of the names. DataError for a class without
    any.
    """
    classes = {
        place.name: list(_files(place))
        for place in sorted(folder.iterdir())
        if place.is_dir() and not place.name.startswith((".", "spikedriven-"))
    }
    empty = [name for name, files in classes.items() if not files]
    if empty and len(empty) < len(classes):
        raise DataError(
            f"{folder / empty[0]}: no recording in it; restore them, or remove the class"
        )
    return {} if empty else classes


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in ENDINGS:
            yield path


#: Endings of recordings; what such a file holds is told by its first bytes.
ENDINGS = frozenset(suffix for known in FORMATS for suffix in known.suffixes)
