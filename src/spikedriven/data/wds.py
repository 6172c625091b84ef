"""Labelled images in webdataset shards, read by offset; see `tar_index` for what a shard is.

For sets such as ImageNet-22k, whose millions of files a file system does not like. Any order of
samples can be read, so such a set behaves as every other: resume, held-out parts, several processes
and evaluation are exact.
"""

import io
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from spikedriven.data.images import UNREADABLE, ImageDataset, decode
from spikedriven.data.order import run_lengths
from spikedriven.data.tar_index import ShardIndex, shard_index
from spikedriven.errors import DataError

#: Without names; a head for more would take gigabytes.
MOST_CLASSES = 1_000_000
_WORDS = {"train": ({"train", "training"},), "test": ({"val", "validation", "valid"}, {"test"})}


class ShardImages(ImageDataset):
    """Sample i is the image of `sizes[i]` bytes at `offsets[i]` in the file
    `shards[shard_of[i]]`.
    """

    def __init__(
        self, shards: Sequence[Path], shard_of: np.ndarray, offsets: np.ndarray, sizes: np.ndarray,
        targets: np.ndarray, classes: Sequence[str],
    ) -> None:  # fmt: skip
        super().__init__(targets, classes)
        self.shards, self.shard_of, self.offsets, self.sizes = shards, shard_of, offsets, sizes

    @property
    def shard_lengths(self) -> np.ndarray:
        """Samples of each shard, in the set's order: what `order.epoch_order` shuffles by."""
        return run_lengths(self.shard_of)

    def read_image(self, index: int) -> Image.Image:
        path = self.shards[self.shard_of[index]]
        try:
            return decode(io.BytesIO(_read(path, int(self.offsets[index]), int(self.sizes[index]))))
        except UNREADABLE as error:
            raise DataError(
                f"{self.where(index)} cannot be read as an image ({error}); write the shard again"
            ) from error

    def where(self, index: int) -> str:
        path, offset = self.shards[self.shard_of[index]], int(self.offsets[index])
        try:
            header = _read(path, offset - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
            name = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name
        except (OSError, tarfile.TarError):
            name = f"byte {offset}"
        return f"{path}, {name}"

    def identity(self) -> tuple[bytes, ...]:
        names = "\0".join(path.name for path in self.shards)
        places = (self.shard_of, self.offsets, self.sizes, self.targets)
        return (names.encode(), *(array.tobytes() for array in places))

    def subset(self, indices: np.ndarray) -> Self:
        shard_of, offsets, sizes = (
            self.shard_of[indices],
            self.offsets[indices],
            self.sizes[indices],
        )
        return type(self)(
            self.shards, shard_of, offsets, sizes, self.targets[indices], self.classes
        )


def locate(data_folder: Path) -> Path | None:
    """The data folder, or wds/ in it, when it has train shards: *train*.tar or train/*.tar."""
    return next(
        (
            folder
            for folder in (data_folder, data_folder / "wds")
            if files_of(folder, "train", ".tar")
        ),
        None,
    )


def load(data_folder: Path, split: str, download: bool) -> ShardImages:
    """The `"train"` shards, or for `"test"` those of the validation part (of the test part, where
    there is no such).

    Classes are the lines of classes.txt, else the numbers up to the largest label of either part.
    """
    root = locate(data_folder)
    if root is None:
        raise DataError(
            "wds: no shards were found: expected NAME-train-0000.tar ... and NAME-val-0000.tar "
            "..., or train/*.tar "
            f"and val/*.tar, in {data_folder} or {data_folder / 'wds'}; give the folder with root "
            "or the variable "
            f"SPIKEDRIVEN_DATA{' (they cannot be downloaded)' if download else ''}"
        )
    shards = files_of(root, split, ".tar")
    if not shards:
        raise DataError(
            f"{root} has no val-*.tar and no test-*.tar: there is nothing to evaluate on. Add "
            "shards, or hold out "
            "train samples with val_fraction"
        )
    tables = _tables(shards)
    labels = np.concatenate([table.labels for table in tables])
    classes = class_names(root, labels, lambda: _labels_of_other_part(root, split))
    return ShardImages(
        shards,
        np.repeat(np.arange(len(shards), dtype=np.int32), [len(table.labels) for table in tables]),
        np.concatenate([table.offsets for table in tables]),
        np.concatenate([table.sizes for table in tables]),
        labels,
        classes,
    )


def files_of(root: Path, split: str, ending: str) -> list[Path]:
    """Files of a split, in the folder or one below, told by a word of their path:
    `x-train-0001.tar`, `val/7.tar`.
    """
    found = [*root.glob(f"*{ending}"), *root.glob(f"*/*{ending}")] if root.is_dir() else []
    for words in _WORDS[split]:
        matching = [path for path in found if words & _words(path, root)]
        if matching:
            _check_one_part(matching, root)
            return sorted(matching)
    return []


def _words(path: Path, root: Path) -> set[str]:
    return set(re.split(r"[^a-z]+", str(path.relative_to(root)).lower()))


def _check_one_part(files: Iterable[Path], root: Path) -> None:
    """DataError for a file that would be trained on and evaluated on."""
    train, test = _WORDS["train"][0], set().union(*_WORDS["test"])
    for path in files:
        words = _words(path, root)
        if words & train and words & test:
            raise DataError(
                f"{path}: its name has {' and '.join(sorted(words & (train | test)))}, so that it "
                "would be trained on "
                "and evaluated on; rename it (or its folder) so that it belongs to one part"
            )


def class_names(
    root: Path, labels: np.ndarray, other_labels: Callable[[], np.ndarray]
) -> tuple[str, ...]:
    """The lines of ROOT/classes.txt, else "0" to the largest label of both parts."""
    listed = root / "classes.txt"
    if not listed.is_file():
        largest = max(labels.max(initial=-1), other_labels().max(initial=-1))
        if largest >= MOST_CLASSES:
            raise DataError(
                f"{root}: label {largest} found, which would make {largest + 1:,} classes, more "
                f"than {MOST_CLASSES:,}; "
                f"number the classes from 0, or name them in {listed}"
            )
        return tuple(str(number) for number in range(int(largest) + 1))
    try:
        lines = listed.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listed} cannot be read as a text file: {error}") from error
    names = tuple(line.strip() for line in lines)
    if "" in names:
        raise DataError(
            f"{listed}, line {names.index('') + 1}: empty, but line k + 1 names the class with "
            "label k"
        )
    if labels.max(initial=-1) >= len(names):
        raise DataError(
            f"{root}: label {labels.max()} found, but {listed} names {len(names)} classes, counted "
            "from 0"
        )
    return names


def _tables(shards: Iterable[Path]) -> list[ShardIndex]:
    """The index of each shard; reading headers waits for the disk, so several at a time."""
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as threads:
        return list(threads.map(shard_index, shards))


def _labels_of_other_part(root: Path, split: str) -> np.ndarray:
    tables = _tables(files_of(root, "train" if split == "test" else "test", ".tar"))
    return np.concatenate([np.zeros(0, dtype=np.int64), *(table.labels for table in tables)])


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) != size:
        raise OSError(
            f"{size:,} bytes expected at byte {offset:,}, {len(content):,} found; has the shard "
            "changed?"
        )
    return content
