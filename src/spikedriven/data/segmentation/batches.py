"""What a loading process does for segmentation: it turns a named batch, or an index, into
tensors.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from spikedriven.data.batches import (
    BatchKey,
    BrokenImage,
    EvalSamples,
    TrainSamples,
    eval_samples,
    read_or_next,
    train_batches,
)
from spikedriven.data.record import identity
from spikedriven.data.seeding import permutation, reseed
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.sets import LabelMaps
from spikedriven.data.segmentation.transforms import EvalTransform, TrainTransform


class Passes:
    """A train set as the loader sees it: epochs of ``epoch_images`` samples cut out of an endless
    row of shuffled passes over the set; with None an epoch is a pass (which the loader shuffles
    itself).
    """

    def __init__(self, dataset: LabelMaps, epoch_images: int | None, seed: int) -> None:
        self.dataset, self.epoch_images, self.seed = dataset, epoch_images, seed
        self.classes, self.num_classes = dataset.classes, dataset.num_classes

    def __len__(self) -> int:
        return len(self.dataset) if self.epoch_images is None else self.epoch_images

    def identity(self) -> tuple[bytes, ...]:
        """Of the set."""
        return identity(self.dataset)

    def locate(self, epoch: int, position: int) -> tuple[int, int]:
        """(number of the pass, index in the set) of sample `position` of an epoch."""
        if self.epoch_images is None:
            return epoch, position
        number, rest = divmod(epoch * self.epoch_images + position, len(self.dataset))
        return number, int(_order(len(self.dataset), self.seed, number)[rest])


@lru_cache(maxsize=32)
def _order(length: int, seed: int, number: int) -> Tensor:
    return permutation(length, "pass", seed, number)


class SegmentationBatches(TrainSamples):
    """Images float32 [B, 3, S, S] and label maps int64 [B, S, S]."""

    dataset: Passes

    def __init__(self, cfg: SegmentationDataConfig, passes: Passes) -> None:
        super().__init__(cfg, passes, passes.seed)
        self.transform = TrainTransform(cfg)

    def batch(self, key: BatchKey, broken: list[BrokenImage]) -> tuple[Tensor, Tensor]:
        """Resized, cropped and augmented."""
        samples = [self._sample(key.epoch, i, broken) for i in key.indices]
        images, labels = default_collate(samples)
        return images, labels

    def _sample(
        self, epoch: int, position: int, broken: list[BrokenImage]
    ) -> tuple[Tensor, Tensor]:
        number, index = self.dataset.locate(epoch, position)
        dataset = self.dataset.dataset
        image, labels = read_or_next(
            dataset, index, dataset.__getitem__, self.cfg.skip_broken, broken
        )
        reseed("augment", self.dataset.seed, number, index)
        return self.transform(image, labels)


class EvalMaps(EvalSamples):
    """(image float32 [3, h, w], labels int64 [H, W]).

    views: instead of the image a list of it in each of the sizes that the evaluation looks at.
    """

    def __init__(
        self, dataset: LabelMaps, cfg: SegmentationDataConfig, views: bool = False
    ) -> None:
        super().__init__(dataset)
        self.transform, self.views = EvalTransform(cfg), views
        self.one_size = dataset.one_size

    def sample(self, index: int) -> tuple[Tensor | list[Tensor], Tensor]:
        """The image as it is looked at, and its label map in its own size."""
        image, labels = self.dataset[index]
        if self.views:
            return self.transform.views(image), labels.long()
        return self.transform(image, labels)

    def join(self, samples: list[tuple[Any, Any]]) -> tuple[Tensor | list[Tensor], Tensor]:
        """Stacked images (or views, stacked size by size) and label maps."""
        images, labels = zip(*samples, strict=True)
        if self.views:
            return [torch.stack(sizes) for sizes in zip(*images, strict=True)], torch.stack(labels)
        return torch.stack(images), torch.stack(labels)


@train_batches.register
def _(cfg: SegmentationDataConfig, dataset: Any, seed: int) -> TrainSamples:
    return SegmentationBatches(cfg, Passes(dataset, cfg.epoch_images, seed))


@eval_samples.register
def _(cfg: SegmentationDataConfig, dataset: Any, as_evaluated: bool = False) -> EvalSamples:
    return EvalMaps(dataset, cfg, views=as_evaluated)
