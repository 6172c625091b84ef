"""CIFAR10-DVS: 10,000 recordings of CIFAR-10 images on a screen (Li et al., 2017,
10.3389/fnins.2017.00309).

Folder: CLASS/*.aedat (as the archives unpack), or CLASS/*.npz with the arrays t, x, y, p of
SpikingJelly. No split is official. "authors" is that of the releases of SDT and Spikingformer,
which call SpikingJelly's split_to_train_test_set with 0.9: of each class the first ceil(0.9 n)
files in the order of their names train; nothing is drawn. "seeded" is ours: of each class 100
recordings, drawn once, test; the list ships with the package. Anything else is a text file with the
names of the test recordings.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from spikedriven.checks import refuse
from spikedriven.data.events.config import FramedEventConfig
from spikedriven.data.events.recordings import RecordedEvents, Recording, find_folder
from spikedriven.data.events.split_file import listed_recordings
from spikedriven.errors import DataError

NAMES = ("cifar10-dvs", "CIFAR10DVS", "CIFAR10-DVS", "cifar10dvs")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = ("authors", "seeded")
TRAIN_SHARE = 0.9
SPLIT_FILE = Path(__file__).parents[1] / "splits" / "cifar10-dvs.txt"
SPLIT_SHA256 = "79273c2111e233d154eb12ddd8a7a40e0aa23a7e99b6d3621c1d02d0174cd840"
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, kw_only=True)
class Cifar10DvsConfig(FramedEventConfig):
    """The data section of CIFAR10-DVS."""

    asked: ClassVar[Mapping[str, str]] = {
        "split": "has no official split, and on another split than its own a network is tested on "
        "recordings it was trained on. Give --data-split authors (that of the releases), "
        "--data-split seeded (that of this package), or a text file with the names of the test "
        "recordings",
    }

    split: str = "seeded"
    """seeded: the list that ships with this package; authors: the first 90 % of each class train,
    as in the releases; else a text file with the names of the test recordings, one a line."""

    def _check(self) -> None:
        super()._check()
        if self.split not in SPLITS and not Path(self.split).suffix:
            names = "a text file (.txt) with the names of the test recordings"
            refuse("split", self.split, f"seeded, authors or {names}")


def locate(data_folder: Path) -> Path | None:
    """The folder that holds the class folders, if there is one."""
    return find_folder(data_folder, NAMES, CLASSES[0])


def open_set(cfg: Cifar10DvsConfig, data_folder: Path, split: str) -> RecordedEvents:
    """The "train" or "test" recordings. DataError names a missing folder or class."""
    folder = locate(data_folder)
    if folder is None:
        raise DataError(
            f"cifar10-dvs was not found: expected {data_folder / NAMES[0]}/CLASS/*.aedat for the "
            "classes "
            f"{', '.join(CLASSES)} (unpack the ten archives of the authors' figshare page there), "
            "or CLASS/*.npz; give "
            "the folder with root or the variable SPIKEDRIVEN_DATA"
        )
    files = {name: _files(folder, name) for name in CLASSES}
    test = _test_part(files, cfg.split)
    samples: list[Recording] = []
    targets: list[int] = []
    for label, name in enumerate(CLASSES):
        samples += [Recording(path) for path in files[name] if (path in test) == (split == "test")]
        targets += [label] * (len(samples) - len(targets))
    if not samples:
        raise DataError(
            f"{folder}: no recording is in the {split} part of data.split {cfg.split}; is the set "
            "complete?"
        )
    return RecordedEvents(cfg, data_folder, samples, np.array(targets, dtype=np.int64), CLASSES)


def _files(folder: Path, name: str) -> list[Path]:
    """The recordings of one class, in the order of their names (1, 10, 100, ..., as strings are
    sorted).
    """
    for pattern in ("*.aedat", "*.npz"):
        files = sorted((folder / name).glob(pattern), key=lambda path: path.name)
        if files:
            return files
    raise DataError(
        f"{folder / name}: expected the .aedat (or .npz) files of class {name}, found none"
    )


def _test_part(files: dict[str, list[Path]], split: str) -> set[Path]:
    """Which of the recordings of each class are for testing."""
    if split == "authors":
        return {
            path
            for paths in files.values()
            for path in paths[math.ceil(TRAIN_SHARE * len(paths)) :]
        }
    if split == "seeded":
        return {path for name, paths in files.items() for path in _seeded_test(paths, name)}
    return listed_recordings(Path(split), files)


def _seeded_test(files: list[Path], name: str) -> set[Path]:
    """Those of the files that the shipped list names. Files are known by the number at the end
    of their names.
    """
    numbers = {path: _NUMBER.search(path.stem) for path in files}
    strange = next((path for path, number in numbers.items() if number is None), None)
    if strange is not None:
        raise DataError(
            f"{strange}: expected a name that ends with the recording's number, such as "
            f"cifar10_{name}_0.aedat; "
            "the shipped split goes by it (data.split authors does not)"
        )
    test = _shipped_split()[name]
    return {
        path for path, number in numbers.items() if number is not None and int(number[1]) in test
    }


@cache
def _shipped_split() -> dict[str, set[int]]:
    content = SPLIT_FILE.read_bytes() if SPLIT_FILE.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != SPLIT_SHA256:
        raise DataError(
            f"{SPLIT_FILE} is damaged or missing: sha256 {found}, expected {SPLIT_SHA256}; install "
            "the package again"
        )
    lines = [line.split() for line in content.decode().splitlines() if not line.startswith("#")]
    return {name: {int(number) for number in numbers} for name, *numbers in lines}
