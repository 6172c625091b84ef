"""Opening a part of a data set: train, test, or the train samples that are held out for
validation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from spikedriven.data.contract import DataSection, config_for, data_folder
from spikedriven.data.labelled import LabelledSection
from spikedriven.data.record import identity
from spikedriven.data.seeding import permutation
from spikedriven.errors import InputError

SPLITS = ("train", "val", "test")


def create_dataset(
    data: DataSection | str,
    split: str,
    root: str | Path | None = None,
    download: bool = False,
    val_fraction: float = 0.0,
) -> Any:
    """Open one split of a data set, given by its data section or, for a classification set, by its
    name.

    Items are (PIL.Image, int) of an image set, (float32 `[T, 2, H, W]`, int) of an event set,
    (uint8 `[3, H, W]`, dictionary of boxes, labels and masks) of a detection set,
    (uint8 `[3, H, W]`, uint8 `[H, W]`) of a segmentation set. Loaders prepare and batch them.

    split: `"train"`, `"test"` (imagenet: the folder val/), or `"val"`, the part of the train
    samples that `val_fraction` holds out. That part is the same for every training seed, has the
    same share of each class where samples have one, and is left out of `"train"`.
    root, download, val_fraction: of a set given by name; a data section has its own.
    Raises InputError for unknown names, DataError for missing or damaged files.
    """
    if isinstance(data, DataSection):
        return _open(data, split)
    if not 0.0 <= val_fraction < 1.0:
        raise InputError(f"val_fraction is {val_fraction}, expected 0 <= val_fraction < 1")
    cfg = config_for(data, root=None if root is None else Path(root), val_fraction=val_fraction)
    return _open(cfg.fetched() if download else cfg, split)


def _open(cfg: DataSection, split: str) -> Any:
    if split not in SPLITS:
        raise InputError(f"split {split!r} does not exist; expected one of {', '.join(SPLITS)}")
    own = split == "val" and cfg.val_fraction == 0.0
    if own and not cfg.has_val_part():
        raise InputError(
            'split "val" is the held-out part of the train samples: give val_fraction > 0'
        )
    part = "train" if split == "val" and not own else split
    dataset = cfg.entry.open(cfg, data_folder(cfg.root), part)
    if split == "test" or cfg.val_fraction == 0.0:
        return dataset
    held_out = _held_out(_labels(dataset), cfg.val_fraction)
    return dataset.subset(np.flatnonzero(held_out if split == "val" else ~held_out))


def train_part(dataset: Any, cfg: DataSection) -> Any:
    """round(fraction * n) samples of each class, at least one, in the set's order; see
    `LabelledSection.train_fraction`. Sets for other tasks are trained on as a whole."""
    if not isinstance(cfg, LabelledSection) or cfg.train_fraction == 1.0:
        return dataset
    fraction, seed, kept = cfg.train_fraction, cfg.train_fraction_seed, []
    for label, members in _by_class(dataset.targets):
        order = permutation(len(members), "train part", seed, label).numpy()
        kept.append(members[order[: max(1, round(fraction * len(members)))]])
    return dataset.subset(np.sort(np.concatenate(kept)))


def _labels(dataset: Any) -> np.ndarray:
    """int64 `[N]`; the same for all where a sample has no label of its own."""
    found = getattr(dataset, "targets", None)
    return np.zeros(len(dataset), dtype=np.int64) if found is None else found


def _held_out(targets: np.ndarray, fraction: float) -> np.ndarray:
    """Boolean `[N]`: round(fraction * n) samples of each class, drawn with a fixed seed."""
    mask = np.zeros(len(targets), dtype=bool)
    for label, members in _by_class(targets):
        order = permutation(len(members), "validation part", label).numpy()
        mask[members[order[: round(fraction * len(members))]]] = True
    if not mask.any() or mask.all():
        raise InputError(
            f"val_fraction {fraction} puts {mask.sum()} of {len(targets)} train samples aside; "
            "both parts need samples"
        )
    return mask


def _by_class(targets: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(label, indices of its samples in order) of each class that has any; one sort, whatever the
    number of classes."""
    labels, counts = np.unique(targets, return_counts=True)
    members = np.split(np.argsort(targets, kind="stable"), np.cumsum(counts)[:-1])
    yield from zip(labels.tolist(), members, strict=True)


class Part(Dataset[Any]):
    """The samples of a set at `indices`, in that order; for sets whose samples are best kept where
    they are."""

    def __init__(self, dataset: Any, indices: np.ndarray) -> None:
        self.dataset, self.indices = dataset, np.asarray(indices)
        self.classes, self.num_classes = dataset.classes, dataset.num_classes
        self.one_size = getattr(dataset, "one_size", True)
        self.with_masks = getattr(dataset, "with_masks", True)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def where(self, index: int) -> str:
        """What to call sample `index` in messages."""
        return self.dataset.where(int(self.indices[index]))

    def identity(self) -> tuple[bytes, ...]:
        """Of the whole set, and which of its samples these are."""
        return (*identity(self.dataset), self.indices.astype(np.int64).tobytes())

    def subset(self, indices: np.ndarray) -> "Part":
        """A part of this part."""
        return Part(self.dataset, self.indices[indices])
