"""The image sets by name: what each is, where it is looked for, and how it is opened."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikedriven.data import cifar, fashion, hfds, imagenet, wds
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.registry import find_event_set
from spikedriven.data.images import ImageDataset
from spikedriven.data.lookup import find_entry
from spikedriven.data.seeding import permutation
from spikedriven.errors import InputError

DATA_VARIABLE = "SPIKEDRIVEN_DATA"
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """One entry of the registry. `mean` and `std` are the usual figures of the train images, in 0..1, per channel.
    Numbers of classes and images are None where they are those of whatever the user's folder holds."""

    name: str
    num_classes: int | None
    train_images: int | None
    test_images: int | None
    size: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    open: Callable[
        [Path, str, bool], ImageDataset
    ]  # (data folder, "train" or "test", download allowed)
    locate: Callable[[Path], Path | None]


_FASHION_MINI = ImageSet(
    name="fashion-mini",
    num_classes=10,
    train_images=10_000,
    test_images=2_000,
    size="28x28 grey",
    licence="MIT",
    mean=(0.2860,),
    std=(0.3530,),
    open=lambda folder, split, download: fashion.load_embedded(split),
    locate=lambda folder: fashion.EMBEDDED_FILE,
)
_FASHION_MNIST = replace(
    _FASHION_MINI,
    name="fashion-mnist",
    train_images=60_000,
    test_images=10_000,
    open=fashion.load_full,
    locate=fashion.locate,
)
_CIFAR10 = ImageSet(
    name="cifar10",
    num_classes=10,
    train_images=50_000,
    test_images=10_000,
    size="32x32 RGB",
    licence="none stated",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    open=cifar.CIFAR10.load,
    locate=cifar.CIFAR10.locate,
)
_CIFAR100 = replace(
    _CIFAR10,
    name="cifar100",
    num_classes=100,
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
    open=cifar.CIFAR100.load,
    locate=cifar.CIFAR100.locate,
)
_IMAGENET = ImageSet(
    name="imagenet",
    num_classes=1000,
    train_images=1_281_167,
    test_images=50_000,
    size="any RGB",
    licence="ImageNet terms",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    open=imagenet.load,
    locate=imagenet.locate,
)
_WDS = replace(
    _IMAGENET,
    name="wds",
    num_classes=None,
    train_images=None,
    test_images=None,
    licence="that of your shards",
    open=wds.load,
    locate=wds.locate,
)
_HFDS = replace(_WDS, name="hfds", licence="that of your set", open=hfds.load, locate=hfds.locate)
IMAGE_SETS: dict[str, ImageSet] = {
    entry.name: entry
    for entry in (_FASHION_MINI, _FASHION_MNIST, _CIFAR10, _CIFAR100, _IMAGENET, _WDS, _HFDS)
}


def find_set(name: str) -> ImageSet:
    """The registry entry; InputError with the closest names when there is none."""
    return find_entry(IMAGE_SETS, name, "data")


def data_folder(root: str | Path | None = None) -> Path:
    """`root`, else the folder in the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven; need not exist."""
    return Path(root or os.environ.get(DATA_VARIABLE) or "~/.cache/spikedriven").expanduser()


def create_dataset(
    name: str,
    split: str,
    root: str | Path | None = None,
    download: bool = False,
    val_fraction: float = 0.0,
) -> ImageDataset:
    """Opens one split of an image set; items are `(PIL.Image, int)`.

    split: `"train"`, `"test"` (imagenet: the folder val/), or `"val"`, the part of the train images which
        `val_fraction` holds out. That part is the same for every training seed, has the same share of each class,
        and is left out of `"train"`.
    root: the data folder; see `data_folder`.
    Raises InputError for unknown names, DataError for missing or damaged files.
    """
    entry = find_set(name)
    return _split(lambda part: entry.open(data_folder(root), part, download), split, val_fraction)


def create_event_dataset(cfg: EventDataConfig, split: str) -> EventDataset:
    """Opens one split, as `create_dataset` does, of an event set; items are (float32 `[T, 2, H, W]`, int)."""
    entry = find_event_set(cfg.dataset)
    return _split(
        lambda part: entry.open(cfg, data_folder(cfg.root), part), split, cfg.val_fraction
    )


def _split(open_part: Callable[[str], Any], split: str, val_fraction: float) -> Any:
    if split not in SPLITS:
        raise InputError(f"split {split!r} does not exist; expected one of {', '.join(SPLITS)}")
    if not 0.0 <= val_fraction < 1.0:
        raise InputError(f"val_fraction is {val_fraction}, expected 0 <= val_fraction < 1")
    if split == "val" and val_fraction == 0.0:
        raise InputError(
            'split "val" is the held-out part of the train images: give val_fraction > 0'
        )
    dataset = open_part("test" if split == "test" else "train")
    if split == "test" or val_fraction == 0.0:
        return dataset
    held_out = _held_out(dataset.targets, val_fraction)
    return dataset.subset(np.flatnonzero(held_out if split == "val" else ~held_out))


def train_part(dataset: Any, fraction: float, seed: int) -> Any:
    """round(fraction * n) samples of each class, at least one, in the set's order; see DataConfig.train_fraction."""
    if fraction == 1.0:
        return dataset
    kept = []
    for label, members in _by_class(dataset.targets):
        order = permutation(len(members), "train part", seed, label).numpy()
        kept.append(members[order[: max(1, round(fraction * len(members)))]])
    return dataset.subset(np.sort(np.concatenate(kept)))


def _held_out(targets: np.ndarray, fraction: float) -> np.ndarray:
    """Boolean `[N]`: round(fraction * n) images of each class, drawn with a fixed seed."""
    mask = np.zeros(len(targets), dtype=bool)
    for label, members in _by_class(targets):
        order = permutation(len(members), "validation part", label).numpy()
        mask[members[order[: round(fraction * len(members))]]] = True
    if not mask.any() or mask.all():
        raise InputError(
            f"val_fraction {fraction} puts {mask.sum()} of {len(targets)} train images aside; both parts need images"
        )
    return mask


def _by_class(targets: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(label, indices of its samples in order) of each class that has any; one sort, whatever the number of classes."""
    labels, counts = np.unique(targets, return_counts=True)
    members = np.split(np.argsort(targets, kind="stable"), np.cumsum(counts)[:-1])
    yield from zip(labels.tolist(), members, strict=True)
