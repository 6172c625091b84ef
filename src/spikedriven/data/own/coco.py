"""COCO files of any categories, where annotation programs put them."""

from pathlib import Path
from typing import Any

from spikedriven.data.detection.coco import read_content
from spikedriven.data.own.annotated import Annotated
from spikedriven.data.own.parts import NAMES, own_parts
from spikedriven.errors import DataError

#: Names of the one file of a part beside its pictures.
BESIDE = ("_annotations.coco.json", "annotations.json", "coco.json", "annotations.coco.json")


def find(root: Path) -> dict[str, Annotated]:
    """By part; "": of the whole folder. Empty where there is no COCO file."""
    files = _files(root)
    return {part: _read(root, part, source) for part, source in files.items()}


def seen(root: Path) -> bool:
    """Whether there is such a file."""
    return bool(_files(root))


def _files(root: Path) -> dict[str, Path]:
    found = {}
    for part, folder in own_parts(root).items():
        beside = [folder / name for name in BESIDE if (folder / name).is_file()]
        if beside:
            found[part] = beside[0]
    if found:
        return found
    places = [*sorted((root / "annotations").glob("*.json")), *sorted(root.glob("*.json"))]
    files = [path for path in places if _is_coco(path)]
    named = {part: [path for path in files if _names(path, part)] for part in NAMES}
    for part, paths in named.items():
        if len(paths) > 1:
            raise DataError(
                f"{root}: {paths[0].name} and {paths[1].name} are both for {part}; keep one"
            )
    by_part = {part: paths[0] for part, paths in named.items() if paths}
    if by_part or not files:
        return by_part
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise DataError(
            f"{root}: which of {names} is for training? Name them train.json and val.json"
        )
    return {"": files[0]}


def _names(path: Path, part: str) -> bool:
    """Whether a word of the file's name is one of a part: instances_train2017.json."""
    stem = path.stem.lower().replace("-", "_").replace(".", "_")
    words = [word.rstrip("0123456789") for word in stem.split("_")]
    return any(name in words for name in NAMES[part])


def _is_coco(path: Path) -> bool:
    """Whether its first characters can be those of a COCO file; `read_content` says what is
    wrong.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1 << 20)
    except OSError:
        return False
    return start.lstrip()[:1] == b"{" and any(
        key in start or len(start) == 1 << 20 for key in (b'"images"', b'"annotations"')
    )


def _read(root: Path, part: str, source: Path) -> Annotated:
    content = read_content(source)
    entries = {key: _list(content, key, source) for key in ("images", "annotations", "categories")}
    first = next(
        (image.get("file_name") for image in entries["images"] if isinstance(image, dict)), None
    )
    folder = _folder(root, part, source, first)
    return Annotated(folder, source, **entries)


def _list(content: dict[str, Any], key: str, source: Path) -> list[Any]:
    found = content.get(key)
    if not isinstance(found, list):
        raise DataError(f"{source}: it has no list {key!r}; is it a COCO file of boxes?")
    return found


def _folder(root: Path, part: str, source: Path, first: Any) -> Path:
    """Where the pictures are: the first place that has the first one."""
    names = [*(NAMES[part] if part else ()), source.stem.removeprefix("instances_")]
    places = [source.parent, root / "images"]
    places += [base / name for name in names for base in (root, root / "images")]
    places.append(root)
    if isinstance(first, str):
        for place in places:
            if (place / first).is_file():
                return place
    tried = ", ".join(dict.fromkeys(map(str, places)))
    raise DataError(f"{source}: its first picture, {first!r}, is in none of {tried}")
