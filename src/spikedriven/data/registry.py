"""Our image sets: what each is, where it is looked for, and how it is opened."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spikedriven.data import cifar, fashion, hfds, imagenet, wds
from spikedriven.data.config import DataConfig
from spikedriven.data.contract import DataSet, Facts
from spikedriven.data.images import ImageDataset

Open = Callable[[DataConfig, Path, str], ImageDataset]


def _downloading(load: Callable[[Path, str, bool], ImageDataset]) -> Open:
    """From a function of (data folder, "train" or "test", download allowed)."""
    return lambda cfg, folder, split: load(folder, split, cfg.download)


_FASHION = Facts(
    num_classes=10,
    train_images=60_000,
    test_images=10_000,
    size="28x28 grey",
    licence="MIT",
    mean=(0.2860,),
    std=(0.3530,),
)
_CIFAR10 = Facts(
    num_classes=10,
    train_images=50_000,
    test_images=10_000,
    size="32x32 RGB",
    licence="none stated",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
_CIFAR100 = replace(
    _CIFAR10, num_classes=100, mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761)
)
_IMAGENET = Facts(
    num_classes=1000,
    train_images=1_281_167,
    test_images=50_000,
    size="any RGB",
    licence="ImageNet terms",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
#: Of sets whose files the user brings.
AS_FOUND: dict[str, Any] = {"num_classes": None, "train_images": None, "test_images": None}

IMAGE_SETS = (
    DataSet(
        name="fashion-mini",
        config=DataConfig,
        facts=replace(_FASHION, train_images=10_000, test_images=2_000, embedded=True),
        open=lambda cfg, folder, split: fashion.load_embedded(split),
        locate=lambda folder: fashion.EMBEDDED_FILE,
    ),
    *(
        DataSet(name=name, config=DataConfig, facts=facts, open=_downloading(load), locate=locate)
        for name, facts, load, locate in (
            ("fashion-mnist", _FASHION, fashion.load_full, fashion.locate),
            ("cifar10", _CIFAR10, cifar.CIFAR10.load, cifar.CIFAR10.locate),
            ("cifar100", _CIFAR100, cifar.CIFAR100.load, cifar.CIFAR100.locate),
            ("imagenet", _IMAGENET, imagenet.load, imagenet.locate),
            (
                "wds",
                replace(_IMAGENET, **AS_FOUND, licence="that of your shards"),
                wds.load,
                wds.locate,
            ),
            (
                "hfds",
                replace(_IMAGENET, **AS_FOUND, licence="that of your set"),
                hfds.load,
                hfds.locate,
            ),
        )
    ),
)
