"""Boxes of one's own: COCO files of any categories, YOLO text files, or Pascal VOC XML files.

Each is read into what a COCO file holds, so that `CocoInstances` has one set of rules for all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikedriven.data.detection.coco import CocoInstances
from spikedriven.data.detection.config import DetectionDataConfig
from spikedriven.data.own import coco, voc, yolo
from spikedriven.data.own.annotated import Annotated
from spikedriven.data.own.parts import (
    OwnFolder,
    chosen_part,
    drawn_part,
    folder_of,
    same_classes,
)
from spikedriven.errors import DataError

#: How each format finds the annotated parts of a folder: {"train": ..., "val": ...}, {"": ...} for
#: a folder without parts, {} where the folder has no file of it.
FORMATS: dict[str, Callable[[Path], dict[str, Annotated]]] = {
    "coco": coco.find,
    "yolo": yolo.find,
    "voc": voc.find,
}


@dataclass(frozen=True, kw_only=True)
class BoxFolderConfig(OwnFolder, DetectionDataConfig):
    """The data section of pictures with boxes of one's own."""

    dataset: str = "folder"
    """A folder of your own; docs/own_data.md says how it is laid out."""
    format: Literal["coco", "yolo", "voc"] | None = None
    """Of the annotations. Default: the one of which the folder has files."""

    def has_val_part(self) -> bool:
        """Whether boxes for validation are there beside those for testing."""
        return self.root is not None and {"val", "test"} <= found_parts(self, self.root).keys()


def locate(folder: Path) -> Path | None:
    """The folder, where it has annotations in one of the formats; they are not read."""
    if not folder.is_dir():
        return None
    try:
        return folder if any(seen(folder) for seen in (coco.seen, yolo.seen, voc.seen)) else None
    except DataError:  # two of what should be one: `open_set` says so
        return folder


def found_parts(cfg: BoxFolderConfig, folder: Path) -> dict[str, Annotated]:
    """The annotated parts of the folder. DataError where there are none, or in two formats."""
    formats = FORMATS if cfg.format is None else {cfg.format: FORMATS[cfg.format]}
    found = {name: parts for name, find in formats.items() if (parts := find(folder))}
    if not found:
        raise DataError(
            f"{folder}: no boxes were found; expected "
            f"{', or '.join(_EXPECTED[name] for name in formats)}"
        )
    if len(found) > 1:
        raise DataError(
            f"{folder} has annotations as {' and '.join(found)}; say which with data.format "
            f"(--data.format {next(iter(found))})"
        )
    return next(iter(found.values()))


_EXPECTED = {
    "coco": "annotations/*train*.json and *val*.json, or train/_annotations.coco.json (COCO)",
    "yolo": "labels/train/*.txt beside images/train/ with a data.yaml or classes.txt (YOLO)",
    "voc": "*.xml beside the pictures of train/ and val/, or Annotations/*.xml (Pascal VOC)",
}


def open_set(cfg: BoxFolderConfig, folder: Path, split: str) -> Any:
    """The "train", "val" or "test" pictures. DataError names what is missing or wrong."""
    folder = folder_of(cfg, folder)
    parts = found_parts(cfg, folder)
    if "" not in parts:
        same_classes(folder, {part: annotated.classes for part, annotated in parts.items()})
        chosen = chosen_part(folder, {part: Path(part) for part in parts}, split)
        return _instances(parts[chosen], split)
    whole = parts[""]
    kept = drawn_part(cfg, np.zeros(len(whole.images), dtype=np.int64), split)
    return _instances(whole.only(kept), split)


def _instances(found: Annotated, split: str) -> CocoInstances:
    training = split == "train"
    return CocoInstances(found.folder, found.source, training, found.as_coco())
