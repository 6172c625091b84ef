"""Pictures of one's own with labels: class folders, or a list of paths and labels."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from torch.utils.data import Dataset

from spikedriven.data.class_folders import read_class_folders
from spikedriven.data.config import DataConfig
from spikedriven.data.images import FileImages
from spikedriven.data.own.annotated import pictures_in
from spikedriven.data.own.lists import Listed, find_list, read_list
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
class FolderConfig(OwnFolder, DataConfig):
    """The data section of pictures of one's own."""

    dataset: str = "folder"
    """A folder of your own; docs/own_data.md says how it is laid out."""
    in_chans: Literal[1, 3] = 3
    """Channels of the network input: 1 (converted to grey) or 3 (RGB; grey is repeated)."""
    labels_file: str | None = None
    """CSV or JSONL file of paths and labels, in the folder or by its whole path. Default:
    labels.csv or labels.jsonl in the folder, else its class folders.
    """

    def _per_channel(
        self, field: str, given: tuple[float, ...] | None, own: tuple[float, ...]
    ) -> tuple[float, ...]:
        """The usual figures of photographs; in grey their means over the channels."""
        own = own if self.in_chans == 3 else (round(sum(own) / len(own), 3),)
        return super()._per_channel(field, given, own)

    def has_val_part(self) -> bool:
        """Whether the folder, or its list, has pictures for validation beside those for testing."""
        if self.root is None or not self.root.is_dir():
            return False
        listed = _listed(self, self.root)
        if listed is None:
            return super().has_val_part()
        return {"val", "test"} <= {row.part for row in listed.rows}


class TaggedImages(Dataset[Any]):
    """Pictures with any number of labels; item i is `(PIL.Image, float32 [K])`, 1 for each label.

    images: the files; tags: uint8 `[N, K]`.
    """

    several_labels = True

    def __init__(self, images: FileImages, tags: np.ndarray) -> None:
        self.images, self.tags = images, tags
        self.classes, self.num_classes = images.classes, images.num_classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        return self.images.read_image(index), self.tags[index].astype(np.float32)

    def where(self, index: int) -> str:
        """The file of picture `index`, for messages."""
        return self.images.where(index)

    def subset(self, indices: np.ndarray) -> Self:
        """The pictures at `indices`, in that order."""
        return type(self)(self.images.subset(indices), self.tags[indices])

    def identity(self) -> tuple[bytes, ...]:
        """What makes this set another one."""
        return (*self.images.identity(), self.tags.tobytes())


def locate(folder: Path) -> Path | None:
    """The folder, where it has a list, or class folders of which the first has a picture."""
    if not folder.is_dir():
        return None
    try:
        parts = [place for place in own_parts(folder).values() if place.parent == folder]
        listed = find_list(folder) is not None
    except DataError:  # two of what should be one: `open_set` says so
        return folder
    classes = first_folder(parts[0] if parts else folder)
    pictures = [] if classes is None else pictures_in(classes)
    return folder if listed or pictures else None


def open_set(cfg: FolderConfig, folder: Path, split: str) -> FileImages | TaggedImages:
    """The "train", "val" or "test" pictures. DataError names what is missing or wrong."""
    folder = folder_of(cfg, folder)
    listed = _listed(cfg, folder)
    if listed is not None:
        return _open_list(cfg, listed, split)
    parts = _opened_parts(folder)
    if not parts:
        whole = read_class_folders(folder)
        return whole.subset(drawn_part(cfg, whole.targets, split))
    same_classes(folder, {part: images.classes for part, images in parts.items()})
    return parts[chosen_part(folder, own_parts(folder), split)]


def _listed(cfg: FolderConfig, folder: Path) -> Listed | None:
    if cfg.labels_file is not None:
        return read_list(folder / cfg.labels_file)
    found = find_list(folder) if folder.is_dir() else None
    return None if found is None else read_list(found)


def _opened_parts(folder: Path) -> dict[str, FileImages]:
    """Of a folder with parts each of them; empty where it has none."""
    parts = {part: place for part, place in own_parts(folder).items() if place.parent == folder}
    if not parts and not any(entry.is_dir() for entry in folder.iterdir()):
        names = ", ".join(f"{names[0]}/CLASS/" for names in NAMES.values())
        raise DataError(
            f"{folder}: expected class folders (CLASS/*.jpg), parts with class folders ({names}), "
            "or "
            "a list labels.csv or labels.jsonl; found no folder and no list"
        )
    return {part: read_class_folders(place) for part, place in parts.items()}


def _open_list(cfg: FolderConfig, listed: Listed, split: str) -> FileImages | TaggedImages:
    classes = sorted({label for row in listed.rows for label in row.labels})
    number = {name: i for i, name in enumerate(classes)}
    tags = np.zeros((len(listed.rows), len(classes)), dtype=np.uint8)
    for i, row in enumerate(listed.rows):
        tags[i, [number[label] for label in row.labels]] = 1
    targets = tags.argmax(1)
    base = listed.source.parent
    names = [os.path.relpath(row.path, base) for row in listed.rows]
    images = FileImages(base, names, targets, classes)
    whole = TaggedImages(images, tags) if listed.several else images
    return whole.subset(_rows_of(cfg, listed, targets, split))


def _rows_of(cfg: FolderConfig, listed: Listed, targets: np.ndarray, split: str) -> np.ndarray:
    parts = {row.part: Path(str(row.part)) for row in listed.rows if row.part is not None}
    if not parts:
        same = np.zeros_like(targets) if listed.several else targets
        return drawn_part(cfg, same, split)
    wanted = chosen_part(listed.source, parts, split)
    return np.flatnonzero([row.part == wanted for row in listed.rows])
