"""What a loading process does: it turns a named batch, or an index, into tensors.

A DataError is returned instead of raised: raised in a worker process it would reach the user inside
a traceback. `loaders.py` raises it in the main process.

`train_batches` and `eval_samples` are registered for each kind of data, by the class of its data
section.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, TypeVar

import numpy as np
import torch
from timm.data import FastCollateMixup
from timm.data.mixup import mixup_target
from timm.data.random_erasing import RandomErasing
from torch.utils.data import Dataset, default_collate

from spikedriven.data.config import DataConfig
from spikedriven.data.contract import DataSection
from spikedriven.data.images import ImageDataset
from spikedriven.data.seeding import isolated_generators, reseed
from spikedriven.data.transforms import eval_transform, normalize, train_transform
from spikedriven.errors import DataError, InputError, RecipeError

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


TrainBatch = tuple[Any, Any, list[BrokenImage]]
Sample = TypeVar("Sample")


def read_or_next(
    dataset: Any, index: int, read: Callable[[int], Sample], skip: bool, broken: list[BrokenImage]
) -> Sample:
    """`read(index)`, or of the next sample that can be read; the unreadable ones are appended to
    `broken`.

    dataset: has a length and `where(index)`. skip: False raises the DataError of the first one
    instead.
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


class TrainSamples(Dataset[Any], ABC):
    """Base of what makes training batches: item `key` is the finished batch that a BatchKey names,
    (inputs, targets, replaced samples). dataset: what an epoch goes through; seed: of all draws.
    """

    def __init__(self, cfg: Any, dataset: Any, seed: int) -> None:
        self.cfg, self.dataset, self.seed = cfg, dataset, seed

    def __getitem__(self, key: BatchKey) -> TrainBatch | DataError:
        broken: list[BrokenImage] = []
        try:
            with isolated_generators():
                inputs, targets = self.batch(key, broken)
        except DataError as error:
            return error
        return inputs, targets, broken

    @abstractmethod
    def batch(self, key: BatchKey, broken: list[BrokenImage]) -> tuple[Any, Any]:
        """Inputs and targets; samples that others stand in for are appended to `broken`."""

    def read(self, index: int, broken: list[BrokenImage]) -> Any:
        """Sample `index` of the set, or where the section allows it the next one that can be
        read.
        """
        return read_or_next(
            self.dataset, index, self.dataset.__getitem__, self.cfg.skip_broken, broken
        )

    def usage(self) -> str:
        """How much of its files a network sees, for people; "" where that is all of them."""
        return ""


class EvalSamples(Dataset[Any], ABC):
    """Base of what evaluation reads: samples in the set's order, as the network takes them.

    Attributes: `dataset`, its `classes`, `num_classes` and `several_labels` (per sample). one_size:
    whether samples can be stacked.
    """

    one_size = True

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.classes, self.num_classes = dataset.classes, dataset.num_classes
        self.several_labels = getattr(dataset, "several_labels", False)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.sample(index)
        except DataError as error:
            return error

    def collate(self, samples: list[Any]) -> Any:
        """What `join` makes of the samples, or the first error among them."""
        error = next((sample for sample in samples if isinstance(sample, DataError)), None)
        return self.join(samples) if error is None else error

    @abstractmethod
    def sample(self, index: int) -> tuple[Any, Any]:
        """(input, target) of one sample."""

    def usage(self) -> str:
        """How much of its files a network sees, for people; "" where that is all of them."""
        return ""

    def join(self, samples: list[tuple[Any, Any]]) -> tuple[Any, Any]:
        """A batch of them."""
        inputs, targets = default_collate(samples)
        return inputs, targets


@singledispatch
def train_batches(cfg: DataSection, dataset: Any, seed: int) -> TrainSamples:
    """What makes the training batches of a data set, as its data section says."""
    raise InputError(f"{type(cfg).__name__} is a kind of data without batches for training")


@singledispatch
def eval_samples(cfg: DataSection, dataset: Any, as_evaluated: bool = False) -> EvalSamples:
    """The samples of a data set for evaluation. as_evaluated: as the figures of its task are
    measured, where that is not a plain batch (a detector's lists of images, a segmenter's image in
    several sizes).
    """
    raise InputError(f"{type(cfg).__name__} is a kind of data without samples for evaluation")


class TrainBatches(TrainSamples):
    """Of images: float32 `[B, C, H, W]` and targets."""

    def __init__(self, cfg: DataConfig, dataset: ImageDataset, seed: int) -> None:
        super().__init__(cfg, dataset, seed)
        if cfg.soft_targets and getattr(dataset, "several_labels", False):
            raise RecipeError(
                "data: mixup, cutmix and smoothing are for pictures with one label each; set them "
                "to 0"
            )
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

    def batch(self, key: BatchKey, broken: list[BrokenImage]) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented, mixed, normalised and erased."""
        samples = [self._sample(index, name, broken) for index, name in key.named()]
        images, targets = self._collate(key, samples)
        images = normalize(images, self.cfg)
        self._erase(images, key)
        return images, targets

    def _sample(
        self, index: int, name: tuple[int | str, ...], broken: list[BrokenImage]
    ) -> tuple[np.ndarray, int]:
        image, label = self.read(index, broken)
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


class EvalImages(EvalSamples):
    """(uint8 `[C, H, W]`, label) of each image; batches float32 `[B, C, H, W]` and int64 `[B]`."""

    def __init__(self, dataset: ImageDataset, cfg: DataConfig) -> None:
        super().__init__(dataset)
        self.cfg, self.transform = cfg, eval_transform(cfg)

    def sample(self, index: int) -> tuple[np.ndarray, int]:
        """The image in the network's size, and its label."""
        image, label = self.dataset[index]
        return self.transform(image), label

    def join(self, samples: list[tuple[Any, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Stacked and normalised."""
        images, labels = super().join(samples)
        return normalize(images, self.cfg), labels


@train_batches.register
def _(cfg: DataConfig, dataset: Any, seed: int) -> TrainSamples:
    return TrainBatches(cfg, dataset, seed)


@eval_samples.register
def _(cfg: DataConfig, dataset: Any, as_evaluated: bool = False) -> EvalSamples:
    return EvalImages(dataset, cfg)
