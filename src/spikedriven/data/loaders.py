"""Batches for training and evaluation, the same for every number of workers, processes and restarts.

Each draw is a function of named numbers: the order of (seed, epoch); a sample's augmentation of (seed, epoch, index);
mixing of (seed, epoch, global batch). See docs/data.md, "Determinism".
"""
import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from timm.data import FastCollateMixup
from timm.data.mixup import mixup_target
from timm.data.random_erasing import RandomErasing
from torch.utils.data import DataLoader, Dataset

from spikedriven.data.config import DataConfig
from spikedriven.data.images import ImageDataset
from spikedriven.data.registry import create_dataset
from spikedriven.data.seeding import isolated_generators, permutation, reseed
from spikedriven.data.transforms import eval_transform, normalize, train_transform
from spikedriven.errors import DataError, InputError, RecipeError

_log = logging.getLogger(__name__)
Batch = tuple[torch.Tensor, torch.Tensor]
# A run of unreadable files this long is a broken disk or folder, not a few broken images.
LONGEST_BROKEN_RUN = 32


def build_train_loader(
    cfg: DataConfig, *, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
) -> "TrainLoader":
    """Loader of the train split for one of `world_size` processes, `batch_size` images per process and step."""
    _check_shard(batch_size, rank, world_size)
    dataset = create_dataset(cfg.dataset, "train", cfg.root, cfg.download and world_size == 1, cfg.val_fraction)
    return TrainLoader(cfg, dataset, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)


def build_eval_loader(
    cfg: DataConfig, split: str = "test", *, batch_size: int, rank: int = 0, world_size: int = 1
) -> DataLoader[Batch]:
    """Loader of (float `[B, C, H, W]`, int64 `[B]`) in the set's order; together the ranks see each image exactly once.

    Rank r has images r, r + world_size, ...; the last batch may be short. `.dataset` has `classes` and `num_classes`.
    An unreadable image raises DataError naming its file.
    """
    _check_shard(batch_size, rank, world_size)
    dataset = create_dataset(cfg.dataset, split, cfg.root, cfg.download and world_size == 1, cfg.val_fraction)
    return DataLoader(
        _EvalImages(dataset, cfg),
        batch_size=batch_size,
        sampler=range(rank, len(dataset), world_size),
        **_worker_options(cfg.workers, persistent=False),
    )


class TrainLoader:
    """Training batches by epoch; `len()` is the number of batches per epoch (the incomplete last one is dropped).

    Attributes: `classes`, `num_classes`; `broken_count` and `broken_files`: how often an unreadable image was replaced
    in the batches this process was given, and which files they were. `close()` ends the worker processes; so do the end
    of the program and the loss of the last reference.
    """

    def __init__(
        self, cfg: DataConfig, dataset: ImageDataset, *, batch_size: int, seed: int, rank: int, world_size: int
    ) -> None:
        if cfg.mixes and batch_size % 2:
            raise RecipeError(f"batch_size: found {batch_size}; mixup and cutmix mix pairs and need an even number")
        self.classes, self.num_classes = dataset.classes, dataset.num_classes
        self.broken_count, self.broken_files = 0, set[str]()
        self._order = _EpochOrder(len(dataset), seed, batch_size, rank, world_size)
        self._epoch_in_use = 0
        self._loader: DataLoader | None = DataLoader(
            _TrainBatches(cfg, dataset, seed),
            sampler=self._order,
            batch_size=None,  # one item of _TrainBatches is one batch
            **_worker_options(cfg.workers, persistent=True),
        )

    def __len__(self) -> int:
        return self._order.batches_per_epoch

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """Iterates over the batches `start_batch`, `start_batch + 1`, ... of an epoch.

        Yields images float32 `[B, C, H, W]` and targets: float32 `[B, K]` if mixing or smoothing, else int64 `[B]`.
        One epoch at a time: starting another one ends the iterator before it.
        """
        if epoch < 0 or not 0 <= start_batch <= len(self):
            raise InputError(
                f"epoch {epoch}, start_batch {start_batch}: expected epoch >= 0 and 0 <= start_batch <= {len(self)}"
            )
        if self._loader is None:
            raise InputError("this TrainLoader is closed; build a new one")
        self._epoch_in_use += 1
        self._order.start(epoch, start_batch)
        return self._batches(iter(self._loader), self._epoch_in_use)

    def close(self) -> None:
        """Ends the worker processes; may be called more than once."""
        self._epoch_in_use += 1
        self._loader = None

    def _batches(self, loaded: Iterator, ticket: int) -> Iterator[Batch]:
        while ticket == self._epoch_in_use:
            batch = next(loaded, None)
            if batch is None:
                return
            images, targets, broken = batch
            self._report(broken)
            yield images, targets
        raise InputError("this epoch's iterator was ended by a later call of epoch() or close()")

    def _report(self, broken: list[str]) -> None:
        self.broken_count += len(broken)
        for message in broken:
            if message not in self.broken_files:
                self.broken_files.add(message)
                _log.warning("replaced by the next readable image: %s", message)


@dataclass(frozen=True)
class _BatchKey:
    """Names one batch of one process: which samples, and the numbers its draws depend on."""

    epoch: int
    global_batch: int
    indices: list[int]


class _EpochOrder:
    """The sampler: this process's keys of one epoch, from the batch it was told to start with."""

    def __init__(self, length: int, seed: int, batch_size: int, rank: int, world_size: int) -> None:
        self.length, self.seed, self.batch_size = length, seed, batch_size
        self.first, self.global_size = rank * batch_size, batch_size * world_size
        self.batches_per_epoch = length // self.global_size
        if self.batches_per_epoch == 0:
            raise RecipeError(
                f"batch_size: found {batch_size} for each of {world_size} processes, but there are {length} images"
            )
        self.start(0, 0)

    def start(self, epoch: int, start_batch: int) -> None:
        self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        return self.batches_per_epoch - self.start_batch

    def __iter__(self) -> Iterator[_BatchKey]:
        # Bound now: with workers, keys are taken ahead of the batches.
        epoch, batches = self.epoch, range(self.start_batch, self.batches_per_epoch)
        order = permutation(self.length, "order", self.seed, epoch).tolist()
        for batch in batches:
            begin = batch * self.global_size + self.first
            yield _BatchKey(epoch, batch, order[begin : begin + self.batch_size])


class _TrainBatches(Dataset):
    """Item `key` is the finished batch of a _BatchKey: (images, targets, messages about replaced images)."""

    def __init__(self, cfg: DataConfig, dataset: ImageDataset, seed: int) -> None:
        self.cfg, self.dataset, self.seed = cfg, dataset, seed
        self.transform = train_transform(cfg)
        self.mix = FastCollateMixup(
            mixup_alpha=cfg.mixup,
            cutmix_alpha=cfg.cutmix,
            prob=cfg.mixup_prob,
            switch_prob=cfg.switch_prob,
            label_smoothing=cfg.smoothing,
            num_classes=dataset.num_classes,
        )
        self.erase = RandomErasing(
            cfg.random_erasing, mode=cfg.random_erasing_mode, max_count=cfg.random_erasing_count, device="cpu"
        )

    def __getitem__(self, key: _BatchKey) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        broken: list[str] = []
        with isolated_generators():
            samples = [self._sample(key.epoch, index, broken) for index in key.indices]
            images, targets = self._collate(key, samples)
            images = normalize(images, self.cfg)
            if self.cfg.random_erasing > 0:
                for image, index in zip(images, key.indices, strict=True):
                    reseed("erase", self.seed, key.epoch, index)
                    self.erase(image)
        return images, targets, broken

    def _sample(self, epoch: int, index: int, broken: list[str]) -> tuple[np.ndarray, int]:
        image, label = self._read(index, broken)
        reseed("augment", self.seed, epoch, index)
        return self.transform(image), label

    def _read(self, index: int, broken: list[str]):
        """Sample `index`, or the next readable one after it; what was wrong is appended to `broken`."""
        for step in range(min(LONGEST_BROKEN_RUN, len(self.dataset))):
            try:
                return self.dataset[(index + step) % len(self.dataset)]
            except DataError as error:
                if not self.cfg.skip_broken:
                    raise
                broken.append(str(error))
                last_error = error
        raise DataError(f"{step + 1} images in a row cannot be read; the last one: {last_error}") from last_error

    def _collate(self, key: _BatchKey, samples: list[tuple[np.ndarray, int]]) -> Batch:
        """uint8 `[B, C, H, W]`, mixed if this batch is to be, and its targets."""
        if self.cfg.mixes:
            off = self.cfg.mixup_off_epoch
            self.mix.mixup_enabled = not off or key.epoch < off
            reseed("mix", self.seed, key.epoch, key.global_batch)
            return self.mix(samples)
        images = torch.from_numpy(np.stack([image for image, _ in samples]))
        targets = torch.tensor([label for _, label in samples])
        if self.cfg.soft_targets:
            targets = mixup_target(targets, self.dataset.num_classes, smoothing=self.cfg.smoothing)
        return images, targets


class _EvalImages(Dataset):
    """(float32 `[C, H, W]`, label) of every image, in order."""

    def __init__(self, dataset: ImageDataset, cfg: DataConfig) -> None:
        self.images, self.cfg = dataset, cfg
        self.classes, self.num_classes = dataset.classes, dataset.num_classes
        self.transform = eval_transform(cfg)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = self.images[index]
        return normalize(torch.from_numpy(self.transform(image)[None]), self.cfg)[0], label


def _worker_options(workers: int, persistent: bool) -> dict:
    return {
        "num_workers": workers,
        "persistent_workers": persistent and workers > 0,
        "worker_init_fn": _ignore_interrupt if workers else None,
        "pin_memory": torch.cuda.is_available(),
        # The DataLoader draws a base seed for its workers: from its own generator, not from the training loop's.
        "generator": torch.Generator().manual_seed(0),
    }


def _ignore_interrupt(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; what to do about it is the main process's decision alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_shard(batch_size: int, rank: int, world_size: int) -> None:
    if batch_size < 1 or world_size < 1 or not 0 <= rank < world_size:
        raise InputError(
            f"batch_size {batch_size}, rank {rank}, world_size {world_size}: "
            "expected batch_size >= 1 and 0 <= rank < world_size"
        )
