"""Label maps of one's own: images/, masks/ and a file of names.

A mask is a picture of one byte per pixel (grey or palette): 0 to K-1 are the classes in the order
of the file of names, 255 does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikedriven.data.own.annotated import pictures_in, read_names
from spikedriven.data.own.parts import (
    OwnFolder,
    chosen_part,
    drawn_part,
    folder_of,
    own_parts,
)
from spikedriven.data.parts import Part
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.sets import FileMaps, check_pairs
from spikedriven.errors import DataError

IMAGES = ("images", "imgs")
MASKS = ("masks", "labels", "annotations")
NAMES_FILES = ("names.txt", "classes.txt")


@dataclass(frozen=True, kw_only=True)
class MapFolderConfig(OwnFolder, SegmentationDataConfig):
    """The data section of pictures with label maps of one's own."""

    dataset: str = "folder"
    """A folder of your own; docs/own_data.md says how it is laid out."""


Pairs = list[tuple[Path, Path]]


def locate(folder: Path) -> Path | None:
    """The folder, where it has a file of names, pictures and masks."""
    try:
        return folder if _names_file(folder) is not None and _found(folder) else None
    except (DataError, OSError):
        return None


def open_set(cfg: MapFolderConfig, folder: Path, split: str) -> FileMaps | Part:
    """The "train", "val" or "test" pictures. DataError names what is missing or wrong."""
    folder = folder_of(cfg, folder)
    parts = _found(folder)
    if not parts:
        raise DataError(
            f"{folder}: no label maps were found; expected images/train/ and masks/train/ (and the "
            "same "
            "of val/), or images/ and masks/, with a PNG file of the picture's name for each "
            "picture"
        )
    source = _names_file(folder)
    if source is None:
        raise DataError(
            f"{folder}: nothing names the classes: add names.txt with a name a line, the class of "
            "the value 0 first"
        )
    classes = read_names(source)
    if "" not in parts:
        return _maps(
            parts[chosen_part(folder, {part: Path(part) for part in parts}, split)], classes
        )
    whole = parts[""]
    return _maps(whole, classes).subset(
        drawn_part(cfg, np.zeros(len(whole), dtype=np.int64), split)
    )


def _maps(pairs: Pairs, classes: Sequence[str]) -> FileMaps:
    images, masks = zip(*pairs, strict=True)
    check_pairs(images, masks, images[0].parent)
    return FileMaps(images, masks, classes, _as_stored)


def _as_stored(values: np.ndarray) -> np.ndarray:
    return values


def _names_file(folder: Path) -> Path | None:
    return next((folder / name for name in NAMES_FILES if (folder / name).is_file()), None)


def _found(folder: Path) -> dict[str, Pairs]:
    """By part the pictures and their masks; "": of the whole folder."""
    found = {}
    for part, place in own_parts(folder).items():
        pairs = _pairs(place) or _side_by_side(folder, place.name)
        if pairs:
            found[part] = pairs
    whole = {} if found else {"": _pairs(folder)}
    return found or {part: pairs for part, pairs in whole.items() if pairs}


def _pairs(folder: Path) -> Pairs:
    """folder/images/* and folder/masks/*."""
    images = next((folder / name for name in IMAGES if (folder / name).is_dir()), None)
    masks = next((folder / name for name in MASKS if (folder / name).is_dir()), None)
    return _matched(images, masks) if images is not None and masks is not None else []


def _side_by_side(folder: Path, part: str) -> Pairs:
    """folder/images/PART/* and folder/masks/PART/*."""
    images = next(
        (folder / name / part for name in IMAGES if (folder / name / part).is_dir()), None
    )
    masks = next((folder / name / part for name in MASKS if (folder / name / part).is_dir()), None)
    return _matched(images, masks) if images is not None and masks is not None else []


def _matched(images: Path, masks: Path) -> Pairs:
    """Each picture with the mask of its name. DataError for a mask or a picture without the
    other.
    """
    by_stem = {path.stem: path for path in pictures_in(masks)}
    pictures = pictures_in(images)
    if not by_stem:
        return []
    alone = [path for path in pictures if path.stem not in by_stem]
    alone += [path for stem, path in by_stem.items() if stem not in {p.stem for p in pictures}]
    if alone:
        raise DataError(
            f"{alone[0]}: its name is not in both {images} and {masks} ({len(alone)} such files)"
        )
    return [(path, by_stem[path.stem]) for path in pictures]
