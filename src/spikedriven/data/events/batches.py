"""What a loading process does for event sets: a named batch, or an index, becomes tensors. See
data/batches.py.
"""

from typing import Any

import numpy as np
import torch
from timm.data.mixup import mixup_target
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
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.transforms import augment, mix, resize
from spikedriven.data.seeding import derive_seed


class EventBatches(TrainSamples):
    """Frames [B, T, 2, H, W] and targets."""

    def batch(self, key: BatchKey, broken: list[BrokenImage]) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented and mixed."""
        samples = [self._sample(index, name, broken) for index, name in key.named()]
        clips, labels = default_collate(samples)
        own: float | torch.Tensor = 1.0
        if self.cfg.mixes:
            draws = self._draws("mix", key.epoch, key.global_batch)
            clips, own = mix(clips, self.cfg, key.epoch, draws)
        if self.cfg.soft_targets:
            labels = mixup_target(labels, self.dataset.num_classes, own, self.cfg.smoothing)
        return clips, labels

    def usage(self) -> str:
        """Of the recordings, what their frames leave out."""
        return self.dataset.usage()

    def _sample(
        self, index: int, name: tuple[int | str, ...], broken: list[BrokenImage]
    ) -> tuple[torch.Tensor, int]:
        draws = self._draws("augment", *name)

        def read(position: int) -> tuple[torch.Tensor, int]:
            return self.dataset.frames(position, draws), int(self.dataset.targets[position])

        frames, label = read_or_next(self.dataset, index, read, self.cfg.skip_broken, broken)
        frames = augment(resize(frames, self.cfg), self.cfg, draws)
        return (_shuffle(frames, draws) if self.cfg.shuffle_steps else frames), label

    def _draws(self, *parts: int | str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(*parts, self.seed))


class EvalClips(EvalSamples):
    """(float32 `[T, 2, H, W]`, label) of each clip; batches float32 `[B, T, 2, H, W]` and int64
    `[B]`.
    """

    def __init__(self, dataset: EventDataset, cfg: EventDataConfig) -> None:
        super().__init__(dataset)
        self.cfg = cfg

    def usage(self) -> str:
        """Of the recordings, what their frames leave out."""
        return self.dataset.usage()

    def sample(self, index: int) -> tuple[torch.Tensor, int]:
        """Frames in the network's size, and the label."""
        frames, label = self.dataset[index]
        if self.cfg.shuffle_steps:
            frames = _shuffle(frames, np.random.default_rng(derive_seed("shuffle", index)))
        return resize(frames, self.cfg), label


@train_batches.register
def _(cfg: EventDataConfig, dataset: Any, seed: int) -> TrainSamples:
    return EventBatches(cfg, dataset, seed)


@eval_samples.register
def _(cfg: EventDataConfig, dataset: Any, as_evaluated: bool = False) -> EvalSamples:
    return EvalClips(dataset, cfg)


def _shuffle(frames: torch.Tensor, draws: np.random.Generator) -> torch.Tensor:
    """The steps of a clip `[T, 2, H, W]` in a random order."""
    return frames[torch.from_numpy(draws.permutation(len(frames)))]
