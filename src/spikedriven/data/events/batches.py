"""What a loading process does for event sets: a named batch, or an index, becomes tensors. See data/batches.py."""

import numpy as np
import torch
from timm.data.mixup import mixup_target
from torch.utils.data import Dataset, default_collate

from spikedriven.data.batches import BatchKey, BrokenImage, TrainBatch, read_or_next
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.transforms import augment, mix, resize
from spikedriven.data.seeding import derive_seed
from spikedriven.errors import DataError


class EventBatches(Dataset):
    """Item `key` is the finished batch that a BatchKey names: (frames [B, T, 2, H, W], targets, replaced clips)."""

    def __init__(self, cfg: EventDataConfig, dataset: EventDataset, seed: int) -> None:
        self.cfg, self.dataset, self.seed = cfg, dataset, seed

    def __getitem__(self, key: BatchKey) -> TrainBatch | DataError:
        broken: list[BrokenImage] = []
        try:
            clips, labels = default_collate(
                [self._sample(index, name, broken) for index, name in key.named()]
            )
        except DataError as error:
            return error
        own: float | torch.Tensor = 1.0
        if self.cfg.mixes:
            clips, own = mix(
                clips, self.cfg, key.epoch, self._draws("mix", key.epoch, key.global_batch)
            )
        if self.cfg.soft_targets:
            labels = mixup_target(labels, self.dataset.num_classes, own, self.cfg.smoothing)
        return clips, labels, broken

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


class EvalClips(Dataset):
    """(float32 `[T, 2, H, W]`, label) of each clip, in the set's order; `classes` and `num_classes` are the set's."""

    def __init__(self, dataset: EventDataset, cfg: EventDataConfig) -> None:
        self.clips, self.cfg = dataset, cfg
        self.classes, self.num_classes = dataset.classes, dataset.num_classes

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int] | DataError:
        try:
            frames, label = self.clips[index]
        except DataError as error:
            return error
        if self.cfg.shuffle_steps:
            frames = _shuffle(frames, np.random.default_rng(derive_seed("shuffle", index)))
        return resize(frames, self.cfg), label

    def collate(self, samples: list) -> tuple[torch.Tensor, torch.Tensor] | DataError:
        """float32 `[B, T, 2, H, W]` and int64 `[B]`, or the first error among the samples."""
        errors = [sample for sample in samples if isinstance(sample, DataError)]
        return errors[0] if errors else tuple(default_collate(samples))


def _shuffle(frames: torch.Tensor, draws: np.random.Generator) -> torch.Tensor:
    """The steps of a clip `[T, 2, H, W]` in a random order."""
    return frames[torch.from_numpy(draws.permutation(len(frames)))]
