"""What a loading process does for detection: lists of images and of targets, functions of (seed,
epoch, index) only."""

import math
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from spikedriven.data.batches import (
    BatchKey,
    BrokenImage,
    EvalSamples,
    TrainSamples,
    eval_samples,
    train_batches,
)
from spikedriven.data.detection.config import DetectionDataConfig
from spikedriven.data.detection.transforms import Sample, Target, eval_sample, train_sample
from spikedriven.data.seeding import reseed


class DetectionBatches(TrainSamples):
    """List of images and list of targets."""

    def batch(self, key: BatchKey, broken: list[BrokenImage]) -> tuple[list[Tensor], list[Target]]:
        """Augmented."""
        samples = [self._sample(key.epoch, index, broken) for index in key.indices]
        return [image for image, _ in samples], [target for _, target in samples]

    def _sample(self, epoch: int, index: int, broken: list[BrokenImage]) -> Sample:
        image, target = self.read(index, broken)
        reseed("augment", self.seed, epoch, index)
        return train_sample(image, target, self.cfg)


class EvalDetections(EvalSamples):
    """(image float32 [3, H, W] in 0..1, target); batches are lists."""

    def sample(self, index: int) -> Sample:
        """The image in its own size, and its target."""
        return eval_sample(*self.dataset[index])

    def join(self, samples: list[tuple[Any, Any]]) -> tuple[list[Tensor], list[Target]]:
        """Two lists."""
        return [image for image, _ in samples], [target for _, target in samples]


class FittedImages(EvalSamples):
    """Images all of one size, for what needs batches of one shape (rates, energy): each fits into
    the square of `test_size` (rounded up to 32), its ratio kept, and is normalised; what it does
    not cover is 0. Batches are float32 [B, 3, S, S], as `Detector.dense` takes them, and
    targets."""

    def __init__(self, cfg: DetectionDataConfig, dataset: Any) -> None:
        super().__init__(dataset)
        self.cfg = cfg
        self.side = 32 * math.ceil(cfg.test_size / 32)

    def sample(self, index: int) -> Sample:
        """The fitted image, and its target as it was."""
        image, target = eval_sample(*self.dataset[index])
        scale = self.side / max(image.shape[-2:])
        size = [max(1, round(side * scale)) for side in image.shape[-2:]]
        resized = transforms.resize(image, size, antialias=True)
        fitted = transforms.normalize(resized, self.cfg.mean, self.cfg.std)
        return transforms.pad(fitted, [0, 0, self.side - size[1], self.side - size[0]]), target

    def join(self, samples: list[tuple[Any, Any]]) -> tuple[Tensor, list[Target]]:
        """One tensor, and a list."""
        return torch.stack([image for image, _ in samples]), [target for _, target in samples]


@train_batches.register
def _(cfg: DetectionDataConfig, dataset: Any, seed: int) -> TrainSamples:
    return DetectionBatches(cfg, dataset, seed)


@eval_samples.register
def _(cfg: DetectionDataConfig, dataset: Any, as_evaluated: bool = False) -> EvalSamples:
    return EvalDetections(dataset) if as_evaluated else FittedImages(cfg, dataset)
