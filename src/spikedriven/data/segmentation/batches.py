"""What a loading process does for segmentation: it turns a named batch, or an index, into tensors."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from spikedriven.data.batches import BatchKey, BrokenImage, read_or_next
from spikedriven.data.seeding import isolated_generators, permutation, reseed
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.sets import LabelMaps
from spikedriven.data.segmentation.transforms import EvalTransform, TrainTransform
from spikedriven.errors import DataError


class Passes:
    """A train set as the loader sees it: epochs of ``epoch_images`` samples cut out of an endless row of shuffled
    passes over the set; with None an epoch is a pass (which the loader shuffles itself)."""

    def __init__(self, dataset: LabelMaps, epoch_images: int | None, seed: int) -> None:
        self.dataset, self.epoch_images, self.seed = dataset, epoch_images, seed
        self.classes, self.num_classes = dataset.classes, dataset.num_classes

    def __len__(self) -> int:
        return len(self.dataset) if self.epoch_images is None else self.epoch_images

    def locate(self, epoch: int, position: int) -> tuple[int, int]:
        """(number of the pass, index in the set) of sample `position` of an epoch."""
        if self.epoch_images is None:
            return epoch, position
        number, rest = divmod(epoch * self.epoch_images + position, len(self.dataset))
        return number, int(_order(len(self.dataset), self.seed, number)[rest])


@lru_cache(maxsize=32)
def _order(length: int, seed: int, number: int) -> Tensor:
    return permutation(length, "pass", seed, number)


class SegmentationBatches(Dataset):
    """Item `key` is the finished batch that a BatchKey names: (images, label maps, replaced images)."""

    def __init__(self, cfg: SegmentationDataConfig, passes: Passes) -> None:
        self.cfg, self.passes = cfg, passes
        self.transform = TrainTransform(cfg)

    def __getitem__(self, key: BatchKey) -> tuple[Tensor, Tensor, list[BrokenImage]] | DataError:
        broken: list[BrokenImage] = []
        try:
            with isolated_generators():
                images, labels = default_collate(
                    [self._sample(key.epoch, i, broken) for i in key.indices]
                )
        except DataError as error:
            return error
        return images, labels, broken

    def _sample(
        self, epoch: int, position: int, broken: list[BrokenImage]
    ) -> tuple[Tensor, Tensor]:
        number, index = self.passes.locate(epoch, position)
        dataset = self.passes.dataset
        image, labels = read_or_next(
            dataset, index, dataset.__getitem__, self.cfg.skip_broken, broken
        )
        reseed("augment", self.passes.seed, number, index)
        return self.transform(image, labels)


class EvalMaps(Dataset):
    """(image float32 [3, h, w], labels int64 [H, W]) in the set's order; `classes`, `num_classes` are the set's.

    views: instead of the image a list of it in each of the sizes that the evaluation looks at.
    """

    def __init__(
        self, dataset: LabelMaps, cfg: SegmentationDataConfig, views: bool = False
    ) -> None:
        self.dataset, self.transform, self.views = dataset, EvalTransform(cfg), views
        self.classes, self.num_classes = dataset.classes, dataset.num_classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor | list[Tensor], Tensor] | DataError:
        try:
            image, labels = self.dataset[index]
        except DataError as error:
            return error
        if self.views:
            return self.transform.views(image), labels.long()
        return self.transform(image, labels)

    def collate(self, samples: list) -> tuple[Tensor | list[Tensor], Tensor] | DataError:
        """Stacked images (or views, stacked size by size) and label maps, or the first error among the samples."""
        errors = [sample for sample in samples if isinstance(sample, DataError)]
        if errors:
            return errors[0]
        images, labels = zip(*samples, strict=True)
        if self.views:
            return [torch.stack(sizes) for sizes in zip(*images, strict=True)], torch.stack(labels)
        return torch.stack(images), torch.stack(labels)
