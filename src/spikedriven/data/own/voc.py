"""Boxes in Pascal VOC's XML files, one a picture.

A box is `xmin ymin xmax ymax` in pixels that are counted from 1, both ends included, as VOC defines
it. Objects marked `difficult` are not trained on and do not count in evaluation, as a COCO crowd.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from spikedriven.data.own.annotated import Annotated, annotated, pictures_in, read_names, size_of
from spikedriven.data.own.parts import own_parts
from spikedriven.errors import DataError

#: Bytes; an XML file of a picture with thousands of objects stays below it.
LARGEST_FILE = 1 << 24
#: Where the XML files may be, below a part or the folder.
PLACES = ("Annotations", "annotations", "xml", "labels", ".")
PICTURES = ("JPEGImages", "images", "Images", ".")
LISTS = {"train": "train.txt", "val": "val.txt", "test": "test.txt"}


def find(root: Path) -> dict[str, Annotated]:
    """By part; "": of the whole folder. Empty where there are no such files."""
    parts = {part: found for part, folder in own_parts(root).items() if (found := _pairs(folder))}
    if not parts and (whole := _pairs(root)):
        parts = _by_lists(root, whole) or {"": whole}
    if not parts:
        return {}
    read = {part: [_read(path) for path, _ in pairs] for part, pairs in parts.items()}
    classes = _classes(root, [objects for found in read.values() for objects in found])
    return {part: _annotated(root, pairs, read[part], classes) for part, pairs in parts.items()}


def seen(root: Path) -> bool:
    """Whether there are such files."""
    folders = [root, *own_parts(root).values()]
    return any(next((folder / name).glob("*.xml"), None) for folder in folders for name in PLACES)


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(XML file, picture) of a folder, in the order of their names. DataError for a file without a
    picture."""
    place = next((folder / name for name in PLACES if any((folder / name).glob("*.xml"))), None)
    if place is None:
        return []
    pictures = {
        path.stem: path
        for name in reversed(PICTURES)
        if (folder / name).is_dir()
        for path in pictures_in(folder / name)
    }
    files = sorted(place.glob("*.xml"))
    alone = [path for path in files if path.stem not in pictures]
    if alone:
        raise DataError(
            f"{alone[0]}: no picture of that name ({len(alone)} such files); restore it"
        )
    return [(path, pictures[path.stem]) for path in files]


def _by_lists(root: Path, pairs: Sequence[tuple[Path, Path]]) -> dict[str, list[tuple[Path, Path]]]:
    """The parts that ImageSets/Main names, if there are such lists."""
    folder = root / "ImageSets" / "Main"
    lists = {part: folder / name for part, name in LISTS.items() if (folder / name).is_file()}
    by_stem = {path.stem: (path, picture) for path, picture in pairs}
    found = {}
    for part, source in lists.items():
        stems = [name.split()[0] for name in read_names(source)]
        missing = next((stem for stem in stems if stem not in by_stem), None)
        if missing is not None:
            raise DataError(f"{source} names {missing}, of which there is no XML file")
        found[part] = [by_stem[stem] for stem in stems]
    return found


Object = tuple[str, list[float], bool]


def _read(path: Path) -> list[Object]:
    """(class, box x y width height from 0, difficult) of each object."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) > LARGEST_FILE or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise DataError(
            f"{path}: refused: larger than {LARGEST_FILE} bytes, or with definitions of its own"
        )
    try:
        tree = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path}: not XML: {error}") from error
    return [_object(path, number, found) for number, found in enumerate(tree.iter("object"), 1)]


def _object(path: Path, number: int, found: ElementTree.Element) -> Object:
    origin = f"{path}, object {number}"
    name, box = (found.findtext("name") or "").strip(), found.find("bndbox")
    if not name or box is None:
        raise DataError(f"{origin}: expected a name and a bndbox")
    try:
        x0, y0, x1, y1 = (
            float(box.findtext(key) or "") for key in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        raise DataError(
            f"{origin}: expected numbers xmin, ymin, xmax and ymax in its bndbox"
        ) from None
    if not x0 <= x1 or not y0 <= y1:
        raise DataError(f"{origin}: expected xmin <= xmax and ymin <= ymax, found {x0, y0, x1, y1}")
    difficult = (found.findtext("difficult") or "0").strip() not in ("", "0")
    return name, [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1], difficult


def _classes(root: Path, found: Sequence[Sequence[Object]]) -> tuple[str, ...]:
    """The lines of classes.txt, else the sorted names of all objects of all parts."""
    names = {name for objects in found for name, _, _ in objects}
    listed = root / "classes.txt"
    if not listed.is_file():
        return tuple(sorted(names))
    classes = read_names(listed)
    unknown = sorted(names - set(classes))
    if unknown:
        raise DataError(
            f"{listed} does not name {', '.join(unknown[:5])}, of which there are objects"
        )
    return classes


def _annotated(
    root: Path,
    pairs: Sequence[tuple[Path, Path]],
    objects: Sequence[Sequence[Object]],
    classes: tuple[str, ...],
) -> Annotated:
    number = {name: i for i, name in enumerate(classes)}
    boxes: list[list[dict[str, Any]]] = [
        [
            {"category_id": number[name], "bbox": box, "iscrowd": int(difficult)}
            for name, box, difficult in found
        ]
        for found in objects
    ]
    pictures = [picture for _, picture in pairs]
    sizes = [size_of(path) for path in pictures]
    return annotated(root, pairs[0][0].parent, pictures, boxes, classes, sizes)
