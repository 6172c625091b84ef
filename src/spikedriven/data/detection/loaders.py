"""Detection batches: lists of images and of targets, functions of (seed, epoch, index) only."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as transforms

from spikedriven.data.batches import BatchKey, BrokenImage, read_or_next
from spikedriven.data.detection.coco import CocoInstances, load_coco
from spikedriven.data.detection.config import DetectionDataConfig
from spikedriven.data.detection.transforms import Sample, Target, eval_sample, train_sample
from spikedriven.data.loaders import EvalLoader, TrainLoader, build_eval_loader, worker_options
from spikedriven.data.registry import data_folder
from spikedriven.data.scenes import SCENE_CLASSES, FashionScenes
from spikedriven.data.seeding import isolated_generators, reseed
from spikedriven.errors import DataError, InputError

Batch = tuple[list[Tensor], list[Target]]
SPLITS = ("train", "test")


def create_detection_dataset(cfg: DetectionDataConfig, split: str) -> Any:
    """The "train" or "test" part of a set: items (uint8 [3, H, W], target), with `where(index)` and `len()`."""
    if split not in SPLITS:
        raise InputError(f"split {split!r} does not exist; expected one of {', '.join(SPLITS)}")
    if cfg.dataset == "coco2017":
        return _with_all_classes(load_coco(data_folder(cfg.root), split), cfg.num_classes)
    length = cfg.train_images if split == "train" else cfg.test_images
    return FashionScenes(split, cfg.scene_size, cfg.scene_seed, length)


def _with_all_classes(dataset: CocoInstances, expected: int) -> CocoInstances:
    """Labels are places in the file's list of categories: a file with another list means other objects."""
    if dataset.num_classes != expected:
        raise DataError(
            f"{dataset.source} has {dataset.num_classes} categories; expected the {expected} of COCO 2017. Unpack its "
            "own instances_*.json"
        )
    return dataset


def object_classes(dataset: Any) -> tuple[str, ...]:
    """Names of labels 1..K."""
    names = tuple(dataset.classes)
    return names[1:] if names == SCENE_CLASSES else names


class DetectionBatches(Dataset):
    """Item `key` is the finished batch that a BatchKey names: (images, targets, replaced images)."""

    def __init__(self, cfg: DetectionDataConfig, dataset: Any, seed: int) -> None:
        self.cfg, self.dataset, self.seed = cfg, dataset, seed

    def __getitem__(
        self, key: BatchKey
    ) -> tuple[list[Tensor], list[Target], list[BrokenImage]] | DataError:
        broken: list[BrokenImage] = []
        try:
            with isolated_generators():
                samples = [self._sample(key.epoch, index, broken) for index in key.indices]
        except DataError as error:
            return error
        return [image for image, _ in samples], [target for _, target in samples], broken

    def _sample(self, epoch: int, index: int, broken: list[BrokenImage]) -> Sample:
        image, target = read_or_next(
            self.dataset, index, self.dataset.__getitem__, self.cfg.skip_broken, broken
        )
        reseed("augment", self.seed, epoch, index)
        return train_sample(image, target, self.cfg)


class EvalDetections(Dataset):
    """(image float32 [3, H, W] in 0..1, target) in the set's order."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.classes = dataset, object_classes(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | DataError:
        try:
            return eval_sample(*self.dataset[index])
        except DataError as error:
            return error

    @staticmethod
    def collate(samples: list) -> Batch | DataError:
        errors = [sample for sample in samples if isinstance(sample, DataError)]
        return (
            errors[0]
            if errors
            else ([image for image, _ in samples], [target for _, target in samples])
        )


def build_detection_train_loader(
    cfg: DetectionDataConfig, *, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
) -> TrainLoader:
    """Loader of the train part for one of `world_size` processes: (list of images, list of targets)."""
    dataset = create_detection_dataset(cfg, "train")
    batches = DetectionBatches(cfg, dataset, seed)
    return TrainLoader(cfg, dataset, batch_size, seed, rank, world_size, batches=batches)


def build_detection_eval_loader(
    cfg: DetectionDataConfig,
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    split: str = "test",
) -> torch.utils.data.DataLoader:
    """Loader of (images, targets) of one part in the set's order; rank r has images r, r + world_size, ..."""
    samples = EvalDetections(create_detection_dataset(cfg, split))
    return EvalLoader(
        samples,
        batch_size=batch_size,
        sampler=range(rank, len(samples), world_size),
        collate_fn=samples.collate,
        **worker_options(cfg.workers),
    )


class FittedImages(Dataset):
    """Images all of one size, for what needs batches of one shape (rates, energy): each fits into the square of
    `test_size` (rounded up to 32), its ratio kept, and is normalised; what it does not cover is 0."""

    def __init__(self, cfg: DetectionDataConfig, dataset: Any) -> None:
        self.cfg, self.dataset = cfg, dataset
        self.side = 32 * math.ceil(cfg.test_size / 32)
        self.classes, self.num_classes = object_classes(dataset), cfg.num_classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Target] | DataError:
        try:
            image, target = eval_sample(*self.dataset[index])
        except DataError as error:
            return error
        scale = self.side / max(image.shape[-2:])
        size = [max(1, round(side * scale)) for side in image.shape[-2:]]
        fitted = transforms.normalize(
            transforms.resize(image, size, antialias=True), self.cfg.mean, self.cfg.std
        )
        return transforms.pad(fitted, [0, 0, self.side - size[1], self.side - size[0]]), target

    @staticmethod
    def collate(samples: list) -> tuple[Tensor, list[Target]] | DataError:
        errors = [sample for sample in samples if isinstance(sample, DataError)]
        if errors:
            return errors[0]
        return torch.stack([image for image, _ in samples]), [target for _, target in samples]


@build_eval_loader.register(DetectionDataConfig)
def fitted_images_loader(
    cfg: DetectionDataConfig,
    split: str = "test",
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
) -> torch.utils.data.DataLoader:
    """Loader of (float32 [B, 3, S, S], targets) as `Detector.dense` takes them; see `FittedImages`."""
    samples = FittedImages(cfg, create_detection_dataset(cfg, split))
    return EvalLoader(
        samples,
        batch_size=batch_size,
        sampler=range(rank, len(samples), world_size),
        collate_fn=samples.collate,
        **worker_options(cfg.workers),
    )
