"""The parts of a folder of one's own: train/ and val/ (and test/), or one folder that is split by a
seeded draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikedriven.checks import check_numbers, check_whole
from spikedriven.data.contract import DataSection, data_folder
from spikedriven.data.seeding import permutation
from spikedriven.errors import DataError

#: Names of the folder of each part.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, kw_only=True)
class OwnFolder(DataSection):
    """What the data sections of all folders of one's own have in common."""

    dataset: str = "folder"
    """A folder of your own; docs/own_data.md says how it is laid out."""
    test_fraction: float = 0.2
    """Of a folder without val/ and test/: the share of its samples, of each class where they have
    one, that is for testing."""
    split_seed: int = 0
    """Of such a folder: which samples these are, whatever the seed of the run is."""

    def told(self) -> tuple[str, ...]:
        """The folder."""
        return () if self.root is None else (str(self.root),)

    def has_val_part(self) -> bool:
        """Whether the folder has val/ beside test/."""
        return {"val", "test"} <= own_parts(data_folder(self.root)).keys()

    def _check(self) -> None:
        super()._check()
        check_numbers(self, {"test_fraction": "(0, 1)"})
        check_whole(self, {"split_seed": 0})


def own_parts(root: Path) -> dict[str, Path]:
    """The folders of the parts, by part. Those in images/ count too, where `root` has none.

    DataError where a part has two folders.
    """
    found = _named_parts(root)
    return found or _named_parts(root / "images")


def _named_parts(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for part, names in NAMES.items():
        folders = [root / name for name in names if (root / name).is_dir()]
        if len(folders) > 1:
            raise DataError(
                f"{root}: {folders[0].name}/ and {folders[1].name}/ are both for {part}; keep one"
            )
        if folders:
            found[part] = folders[0]
    return found


def first_folder(folder: Path) -> Path | None:
    """The first of the folders in it, by name."""
    found = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return min(found, default=None)


def folder_of(cfg: OwnFolder, folder: Path) -> Path:
    """The folder that the user has named. DataError where nobody has, and where it is not there."""
    if cfg.root is None:
        raise DataError(
            f"{cfg.dataset} is a set of your own: give its folder with data.root (--data.root DIR)"
        )
    if not folder.is_dir():
        raise DataError(f"data.root: {folder} is no folder; expected the folder of your own data")
    if cfg.val_fraction and cfg.has_val_part():
        raise DataError(
            f"{folder} has samples of its own for validation: leave data.val_fraction out, which "
            "takes "
            "some of those for training"
        )
    return folder


def chosen_part(root: Path, parts: dict[str, Path], split: str) -> str:
    """Which of the parts is read as "train", "val" or "test": without test/, val/ is tested on.

    DataError where there is no such part.
    """
    if split == "test" and "test" not in parts:
        split = "val"
    if split not in parts:
        wanted = "/ or ".join(NAMES[split][:2])
        there = ", ".join(f"{path.name}/" for path in parts.values())
        raise DataError(
            f"{root} has {there}, but no {wanted}/; add it, or give a folder without parts, which "
            "is then split by data.test_fraction"
        )
    return split


def drawn_part(cfg: OwnFolder, labels: np.ndarray, split: str) -> np.ndarray:
    """Indices int64 of the samples of a folder without parts that are for "train" or "test".

    labels: int `[N]`; of each label round(test_fraction * n) samples are for testing, at least one
    where it has two. DataError where one of the two parts would be empty.
    """
    tested = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(labels == label)
        order = permutation(len(members), "own test part", cfg.split_seed, label).numpy()
        wanted = max(round(cfg.test_fraction * len(members)), int(len(members) > 1))
        tested[members[order[: min(wanted, len(members) - 1)]]] = True
    if tested.all() or not tested.any():
        raise DataError(
            f"{cfg.root}: {len(labels)} samples cannot be split into train and test with "
            f"data.test_fraction {cfg.test_fraction}; add samples, or make train/ and val/"
        )
    return np.flatnonzero(tested if split == "test" else ~tested)


def same_classes(root: Path, by_part: dict[str, Sequence[str]]) -> None:
    """DataError where the parts have other classes: a label would mean two things."""
    first = next(iter(by_part))
    for part, classes in by_part.items():
        different = sorted(set(classes) ^ set(by_part[first]))
        if different:
            raise DataError(
                f"{root}: {first} and {part} must have the same classes, but only one of them has "
                f"{', '.join(different[:5])} ({len(different)} in all)"
            )
