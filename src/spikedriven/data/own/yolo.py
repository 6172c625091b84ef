"""Boxes in YOLO's text files: beside each picture a file of lines `class x y width height`.

The numbers are shares of the picture's width and height, x and y of the centre. A line of more
numbers, `class x1 y1 x2 y2 x3 y3 ...`, is the outline of an object. A picture without a file has no
object.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from spikedriven.data.own.annotated import Annotated, annotated, pictures_in, read_names, size_of
from spikedriven.data.own.parts import own_parts
from spikedriven.errors import DataError

#: Files that name the classes, looked for in the folder and in labels/.
NAMES_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
YAMLS = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")


def find(root: Path) -> dict[str, Annotated]:
    """By part; "": of the whole folder. Empty where there are no such files."""
    places = _places(root)
    if not places:
        return {}
    source, names = _names(root)
    return {part: _read(*place, source, names) for part, place in places.items()}


def seen(root: Path) -> bool:
    """Whether there are such files."""
    return bool(_places(root))


def _places(root: Path) -> dict[str, tuple[Path, Path]]:
    """By part the folders of pictures and of text files."""
    found = {}
    for part, folder in own_parts(root).items():
        for images, labels in (
            (root / "images" / folder.name, root / "labels" / folder.name),
            (folder / "images", folder / "labels"),
            (folder, folder),
        ):
            if images.is_dir() and _has_texts(labels):
                found[part] = images, labels
                break
    if found:
        return found
    for images, labels in ((root / "images", root / "labels"), (root, root)):
        if images.is_dir() and _has_texts(labels) and pictures_in(images):
            return {"": (images, labels)}
    return {}


def _has_texts(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return any(path.name not in NAMES_FILES and _is_boxes(path) for path in folder.glob("*.txt"))


def _is_boxes(path: Path) -> bool:
    """Whether the first line of a text has five numbers or more."""
    try:
        with path.open(encoding="utf-8") as file:
            words = file.readline(1 << 16).split()
        return len(words) >= 5 and all(math.isfinite(float(word)) for word in words)
    except (OSError, ValueError):
        return False


def _names(root: Path) -> tuple[Path, tuple[str, ...]]:
    for name in YAMLS:
        if (root / name).is_file():
            return root / name, _of_yaml(root / name)
    for path in (folder / name for folder in (root, root / "labels") for name in NAMES_FILES):
        if path.is_file():
            return path, read_names(path)
    raise DataError(
        f"{root}: YOLO's text files give classes by number, and nothing names them: add data.yaml "
        "with "
        "names, or classes.txt with a name a line"
    )


def _of_yaml(path: Path) -> tuple[str, ...]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as YAML: {error}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(
                f"{path}: names must be numbered 0 to {len(names) - 1}, found {sorted(names)[:9]}"
            )
        names = [names[i] for i in range(len(names))]
    odd = [
        name for name in names or () if isinstance(name, bool) or not isinstance(name, str | int)
    ]
    if odd:
        raise DataError(
            f"{path}: the name {odd[0]!r} is no text: YAML reads words such as no, yes, on and "
            "null as "
            "something else; put the names in quotes"
        )
    if not isinstance(names, list) or not names or len({str(name) for name in names}) < len(names):
        raise DataError(
            f"{path}: expected a list of different names of classes under names, found {names!r}"
        )
    return tuple(str(name) for name in names)


def _read(images: Path, labels: Path, source: Path, names: tuple[str, ...]) -> Annotated:
    pictures = pictures_in(images)
    if not pictures:
        raise DataError(f"{images}: no pictures in it")
    _check_pairs(pictures, labels)
    sizes = [size_of(path) for path in pictures]
    boxes = [
        _boxes(labels / f"{path.stem}.txt", size, len(names), source)
        for path, size in zip(pictures, sizes, strict=True)
    ]
    return annotated(images, source, pictures, boxes, names, sizes)


def _check_pairs(pictures: Sequence[Path], labels: Path) -> None:
    """DataError for a text without a picture: labels that nobody would read."""
    stems = {path.stem for path in pictures}
    texts = [path for path in sorted(labels.glob("*.txt")) if path.name not in NAMES_FILES]
    alone = [path for path in texts if path.stem not in stems]
    if alone:
        raise DataError(
            f"{alone[0]}: no picture of that name ({len(alone)} such files); restore it"
        )


def _boxes(path: Path, size: tuple[int, int], classes: int, source: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a text file: {error}") from error
    return [
        _box(f"{path}, line {number}", line.split(), size, classes, source)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _box(
    origin: str, words: Sequence[str], size: tuple[int, int], classes: int, source: Path
) -> dict[str, Any]:
    try:
        label, *values = (float(word) for word in words)
    except ValueError:
        raise DataError(
            f"{origin}: expected numbers: class x y width height, found {words}"
        ) from None
    if not label.is_integer() or not 0 <= label < classes:
        raise DataError(f"{origin}: class {words[0]}, but {source} names {classes} classes, from 0")
    outline = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not outline:
        raise DataError(
            f"{origin}: expected 'class x y width height', or 'class' and three or more x y; found "
            f"{len(words)} numbers"
        )
    if not all(0 <= value <= 1 for value in values):
        raise DataError(
            f"{origin}: expected shares of the picture, from 0 to 1, found {words[1:5]}"
        )
    width, height = size
    if outline:
        points = [value * size[i % 2] for i, value in enumerate(values)]
        xs, ys = points[::2], points[1::2]
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        return {"category_id": int(label), "bbox": box, "segmentation": [points]}
    x, y, w, h = values
    box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    return {"category_id": int(label), "bbox": box}
