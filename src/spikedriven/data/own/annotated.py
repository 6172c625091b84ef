"""Pictures with annotations as a COCO file holds them, whatever file they were read from."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spikedriven.data.images import UNREADABLE, endings
from spikedriven.errors import DataError


@dataclass(frozen=True)
class Annotated:
    """folder: of the pictures. source: of the annotations, for messages. images, annotations,
    categories: dictionaries of COCO."""

    folder: Path
    source: Path
    images: Sequence[dict[str, Any]]
    annotations: Sequence[dict[str, Any]]
    categories: Sequence[dict[str, Any]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories in the order of their ids."""
        ordered = sorted(self.categories, key=lambda category: category["id"])
        return tuple(str(category["name"]) for category in ordered)

    def only(self, indices: np.ndarray) -> "Annotated":
        """With the pictures at `indices` alone."""
        images = [self.images[i] for i in indices.tolist()]
        ids = {image["id"] for image in images}
        annotations = [a for a in self.annotations if a.get("image_id") in ids]
        return dataclasses.replace(self, images=images, annotations=annotations)

    def as_coco(self) -> dict[str, Any]:
        """What a COCO file would hold."""
        return {
            "images": list(self.images),
            "annotations": list(self.annotations),
            "categories": list(self.categories),
        }


def annotated(
    folder: Path,
    source: Path,
    pictures: Sequence[Path],
    boxes: Sequence[Sequence[dict[str, Any]]],
    classes: Sequence[str],
    sizes: Sequence[tuple[int, int]],
) -> Annotated:
    """boxes: of each picture dictionaries with bbox, category_id (from 0) and what else is known.
    sizes: width and height of each picture."""
    images = [
        {
            "id": i,
            "file_name": path.relative_to(folder).as_posix(),
            "width": size[0],
            "height": size[1],
        }
        for i, (path, size) in enumerate(zip(pictures, sizes, strict=True))
    ]
    annotations = [
        {"image_id": i, "iscrowd": 0, **box} for i, found in enumerate(boxes) for box in found
    ]
    numbered = [{"id": number, **entry} for number, entry in enumerate(annotations)]
    categories = [{"id": i, "name": name} for i, name in enumerate(classes)]
    return Annotated(folder, source, images, numbered, categories)


def pictures_in(folder: Path, deep: bool = False) -> list[Path]:
    """Picture files of a folder in the order of their names; deep: of those below it too."""
    found = folder.rglob("*") if deep else folder.glob("*")
    return sorted(
        path
        for path in found
        if path.suffix.lower() in endings() and not path.name.startswith(".") and path.is_file()
    )


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is seen, from its header."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image ({error}); restore the file") from error
    return (height, width) if turned else (width, height)


_ORIENTATION = 274
_ON_ITS_SIDE = (5, 6, 7, 8)


def read_names(source: Path) -> tuple[str, ...]:
    """Names of classes, one a line. DataError for a name that comes twice, and for an empty line
    between two, behind which the names would be those of other numbers."""
    try:
        lines = source.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source} cannot be read as a text file: {error}") from error
    names = tuple(line.strip() for line in lines)
    if "" in names:
        raise DataError(
            f"{source}, line {names.index('') + 1}: empty; each line is the name of its number"
        )
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None or not names:
        raise DataError(
            f"{source}: expected a name of a class a line, found {twice!r} twice"
            if names
            else f"{source}: no name of a class in it"
        )
    return names
