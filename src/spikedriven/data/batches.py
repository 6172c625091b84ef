"""What a loading process does: it turns a named batch, or an index, into tensors.

A DataError is returned instead of raised: raised in a worker process it would reach the user inside a traceback.
`loaders.py` raises it in the main process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from timm.data import FastCollateMixup
from timm.data.mixup import mixup_target
from timm.data.random_erasing import RandomErasing
from torch.utils.data import Dataset, default_collate

from spikedriven.data.config import DataConfig
from spikedriven.data.images import ImageDataset
from spikedriven.data.seeding import isolated_generators, reseed
from spikedriven.data.transforms import eval_transform, normalize, train_transform
from spikedriven.errors import DataError

# A run of unreadable files this long is a broken disk or folder, not a few broken images.
LONGEST_BROKEN_RUN = 32


@dataclass(frozen=True)
class BatchKey:
    """Names one batch of one process: which samples, and the numbers its draws depend on."""

    epoch: int
    global_batch: int
    indices: list[int]
    copies: list[int]
    """Of each sample, how often the epoch had it before."""

    def named(self) -> list[tuple[int, tuple[int | str, ...]]]:
        """Of each sample its index, and what its draws depend on beside the seed: (epoch, index),
        and for a sample that comes again also which copy it is."""
        pairs = zip(self.indices, self.copies, strict=True)
        return [
            (i, (self.epoch, i, "copy", copy) if copy else (self.epoch, i)) for i, copy in pairs
        ]


@dataclass(frozen=True)
class BrokenImage:
    """An unreadable train image that another one stands in for."""

    where: str
    message: str


TrainBatch = tuple[torch.Tensor, torch.Tensor, list[BrokenImage]]
Sample = TypeVar("Sample")


def read_or_next(
    dataset: Any, index: int, read: Callable[[int], Sample], skip: bool, broken: list[BrokenImage]
) -> Sample:
    """`read(index)`, or of the next sample that can be read; the unreadable ones are appended to `broken`.

    dataset: has a length and `where(index)`. skip: False raises the DataError of the first one instead.
    """
    run = [(index + step) % len(dataset) for step in range(min(LONGEST_BROKEN_RUN, len(dataset)))]
    for position in run:
        try:
            return read(position)
        except DataError as error:
            if not skip:
                raise
            broken.append(BrokenImage(dataset.where(position), str(error)))
    raise DataError(f"{len(run)} samples in a row cannot be read, the last: {broken[-1].message}")


class TrainBatches(Dataset):
    """Item `key` is the finished batch that a BatchKey names: (images, targets, replaced images)."""

    def __init__(self, cfg: DataConfig, dataset: ImageDataset, seed: int) -> None:
        self.cfg, self.dataset, self.seed = cfg, dataset, seed
        self.transform = train_transform(cfg)
        self.mix = FastCollateMixup(
            mixup_alpha=cfg.mixup,
            cutmix_alpha=cfg.cutmix,
            cutmix_minmax=cfg.cutmix_minmax,
            mode=cfg.mixup_mode,
            prob=cfg.mixup_prob,
            switch_prob=cfg.switch_prob,
            label_smoothing=cfg.smoothing,
            num_classes=dataset.num_classes,
        )
        self.erase = RandomErasing(
            cfg.random_erasing,
            mode=cfg.random_erasing_mode,
            max_count=cfg.random_erasing_count,
            device="cpu",
        )

    def __getitem__(self, key: BatchKey) -> TrainBatch | DataError:
        broken: list[BrokenImage] = []
        try:
            with isolated_generators():
                samples = [self._sample(index, name, broken) for index, name in key.named()]
                images, targets = self._collate(key, samples)
                images = normalize(images, self.cfg)
                self._erase(images, key)
        except DataError as error:
            return error
        return images, targets, broken

    def _sample(
        self, index: int, name: tuple[int | str, ...], broken: list[BrokenImage]
    ) -> tuple[np.ndarray, int]:
        image, label = read_or_next(
            self.dataset, index, self.dataset.__getitem__, self.cfg.skip_broken, broken
        )
        reseed("augment", self.seed, *name)
        return self.transform(image), label

    def _collate(
        self, key: BatchKey, samples: list[tuple[np.ndarray, int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 `[B, C, H, W]`, mixed if this batch is to be, and its targets."""
        if self.cfg.mixes:
            off = self.cfg.mixup_off_epoch
            self.mix.mixup_enabled = not off or key.epoch < off
            reseed("mix", self.seed, key.epoch, key.global_batch)
            return self.mix(samples)
        images, targets = default_collate(samples)
        if self.cfg.soft_targets:
            targets = mixup_target(targets, self.dataset.num_classes, smoothing=self.cfg.smoothing)
        return images, targets

    def _erase(self, images: torch.Tensor, key: BatchKey) -> None:
        if self.cfg.random_erasing == 0:
            return
        for image, (_, name) in zip(images, key.named(), strict=True):
            reseed("erase", self.seed, *name)
            self.erase(image)


class EvalImages(Dataset):
    """(uint8 `[C, H, W]`, label) of each image, in the set's order; `classes` and `num_classes` are the set's."""

    def __init__(self, dataset: ImageDataset, cfg: DataConfig) -> None:
        self.images, self.cfg = dataset, cfg
        self.classes, self.num_classes = dataset.classes, dataset.num_classes
        self.transform = eval_transform(cfg)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int] | DataError:
        try:
            image, label = self.images[index]
        except DataError as error:
            return error
        return self.transform(image), label

    def collate(self, samples: list) -> tuple[torch.Tensor, torch.Tensor] | DataError:
        """float32 `[B, C, H, W]` and int64 `[B]`, or the first error among the samples."""
        errors = [sample for sample in samples if isinstance(sample, DataError)]
        if errors:
            return errors[0]
        images, labels = default_collate(samples)
        return normalize(images, self.cfg), labels
