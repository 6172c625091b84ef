"""Batches for training and evaluation, the same for every number of workers, processes and
restarts.

Each draw is a function of named numbers: the order of (seed, epoch); a sample's augmentation of
(seed, epoch, index, and which copy of the sample it is, where an epoch has it more than once);
mixing of (seed, epoch, global batch). See docs/data.md, "Determinism".
"""

import logging
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from spikedriven.data.batches import BatchKey, BrokenImage, eval_samples, train_batches
from spikedriven.data.contract import DataSection
from spikedriven.data.parts import create_dataset, train_part
from spikedriven.data.sampling import Sampling
from spikedriven.errors import DataError, InputError, RecipeError

_log = logging.getLogger(__name__)
Batch = tuple[Any, Any]


def build_train_loader(
    cfg: DataSection, *, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
) -> "TrainLoader":
    """Loader of the train split for one of `world_size` processes, `batch_size` samples per process
    and step.

    Batches are (images, targets) of images and recordings, (list of images, list of targets) of a
    detection set, (images, label maps) of a segmentation set.
    """
    return TrainLoader(
        cfg, _open(cfg, "train", batch_size, rank, world_size), batch_size, seed, rank, world_size
    )


def build_eval_loader(
    cfg: DataSection,
    split: str = "test",
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    as_evaluated: bool = False,
) -> DataLoader[Batch]:
    """Loader of a split in the set's order; the ranks together see each sample once.

    Batches are float32 `[B, C, H, W]` and int64 `[B]`; of an event set float32 `[B, T, 2, H, W]`;
    of a segmentation set float32 `[B, 3, h, w]` and int64 `[B, H, W]`, where B is 1 for images of
    different sizes; of a detection set float32 `[B, 3, S, S]`, each image fitted into one square,
    and its targets. as_evaluated: as the task measures its figures: of a detection set lists of
    images in their own sizes, of a segmentation set a list of the images in each of the sizes
    `test_scales`.

    Rank r has samples r, r + world_size, ...; the last batch may be short. `.dataset` has `classes`
    and `num_classes`. An unreadable sample raises DataError naming its file.
    """
    samples = eval_samples(cfg, _open(cfg, split, batch_size, rank, world_size), as_evaluated)
    return EvalLoader(
        samples,
        batch_size=batch_size if samples.one_size else 1,
        sampler=range(rank, len(samples), world_size),
        collate_fn=samples.collate,
        **worker_options(cfg.workers),
    )


class TrainLoader:
    """Training batches by epoch; `len()` is the number of batches per epoch (the incomplete last
    one is dropped).

    Attributes: `dataset`, what an epoch goes through; its `classes` and `num_classes`; `targets`,
    the labels of the train samples (int64 `[N]`),
    where they have one each; `broken_count` and `broken_files`: how often an unreadable image was
    replaced in the batches this process was given, and which files they were; `usage()`, how much
    of its files the training sees, in words. `close()` ends the worker processes; so do the end of
    the program and the loss of the last reference.
    """

    def __init__(
        self,
        cfg: Any,
        dataset: Any,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        batches: Any = None,
    ) -> None:
        """batches: what makes them, a `TrainSamples`; None: that of `cfg`, over `dataset`."""
        if cfg.mixes and batch_size % 2:
            raise RecipeError(
                f"batch_size: found {batch_size}; mixup and cutmix mix pairs and need an even "
                "number"
            )
        batches = train_batches(cfg, dataset, seed) if batches is None else batches
        dataset = batches.dataset
        self.dataset, self.classes, self.num_classes = dataset, dataset.classes, dataset.num_classes
        self.broken_count, self.broken_files = 0, set[str]()
        self._usage: Callable[[], str] = batches.usage
        self.targets: np.ndarray | None = getattr(dataset, "targets", None)
        self._order = _EpochOrder(_sampling(cfg, dataset), seed, batch_size, rank, world_size)
        self._loader: DataLoader | None = DataLoader(
            batches,
            sampler=self._order,
            batch_size=None,  # one item is one batch
            persistent_workers=cfg.workers > 0,
            **worker_options(cfg.workers),
        )
        self._loaded: Iterator = iter(())
        self._ticket = 0  # of the epoch() call whose iterator is the living one

    def __len__(self) -> int:
        return self._order.batches_per_epoch

    def usage(self) -> str:
        """How much of its files the training sees, for people; "" where that is all of them."""
        return self._usage()

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """Iterates over the batches `start_batch`, `start_batch + 1`, ... of an epoch.

        Yields images float32 `[B, C, H, W]` and targets: float32 `[B, K]` if mixing or smoothing,
        else int64 `[B]`. One epoch at a time: a later call ends the iterator of the one before.
        """
        if epoch < 0 or not 0 <= start_batch <= len(self):
            raise InputError(
                f"epoch {epoch}, start_batch {start_batch}: expected epoch >= 0 and 0 <= "
                f"start_batch <= {len(self)}"
            )
        if self._loader is None:
            raise InputError("this TrainLoader is closed; build a new one")
        self._order.start(epoch, start_batch)
        self._loaded = iter(self._loader)
        self._ticket += 1
        return self._batches(self._ticket)

    def close(self) -> None:
        """Ends the worker processes; may be called more than once."""
        self._loader, self._loaded = None, iter(())
        self._ticket += 1

    def _batches(self, ticket: int) -> Iterator[Batch]:
        while ticket == self._ticket:
            batch = next(self._loaded, None)
            if batch is None:
                return
            if isinstance(batch, DataError):
                raise batch
            images, targets, broken = batch
            self._report(broken)
            yield images, targets
        raise InputError("this epoch's iterator was ended by a later call of epoch() or close()")

    def _report(self, broken: list[BrokenImage]) -> None:
        self.broken_count += len(broken)
        for image in broken:
            if image.where not in self.broken_files:
                self.broken_files.add(image.where)
                _log.warning("%s; the next readable image stands in for it", image.message)


class _EpochOrder:
    """The sampler: this process's keys of one epoch, from the batch it was told to start with."""

    def __init__(
        self, sampling: Sampling, seed: int, batch_size: int, rank: int, world_size: int
    ) -> None:
        self.sampling, self.seed, self.global_size = sampling, seed, batch_size * world_size
        # copies of an image, which follow each other, go to different processes; other samples in
        # slices
        repeated = sampling.repeats > 1
        first = rank if repeated else rank * batch_size
        self.share = (
            slice(first, None, world_size) if repeated else slice(first, first + batch_size)
        )
        self.batches_per_epoch = sampling.selected // self.global_size
        if self.batches_per_epoch == 0:
            raise RecipeError(
                f"batch_size: found {batch_size} for each of {world_size} processes, but an epoch "
                "has "
                f"{sampling.selected} images"
            )
        self.start(0, 0)

    def start(self, epoch: int, start_batch: int) -> None:
        self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        return self.batches_per_epoch - self.start_batch

    def __iter__(self) -> Iterator[BatchKey]:
        order, copies = self.sampling.epoch(self.seed, self.epoch)
        for batch in range(self.start_batch, self.batches_per_epoch):
            joined = slice(batch * self.global_size, (batch + 1) * self.global_size)
            mine = (values[joined][self.share].tolist() for values in (order, copies))
            yield BatchKey(self.epoch, batch, *mine)


class EvalLoader(DataLoader):
    """A DataLoader that raises the DataError a worker handed over."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, DataError):
                raise batch
            yield batch


def _sampling(cfg: Any, dataset: Any) -> Sampling:
    """What the data section says of it; not every kind of data has a choice."""
    balanced = getattr(cfg, "sampling", "shuffle") == "balanced"
    if balanced and getattr(dataset, "targets", None) is None:
        raise RecipeError(
            "data.sampling: found 'balanced', but samples have no label each; use shuffle"
        )
    return Sampling(
        len(dataset), getattr(cfg, "aug_repeats", 1.0), dataset.targets if balanced else None,
        getattr(dataset, "shard_lengths", None),
    )  # fmt: skip


def _open(cfg: DataSection, split: str, batch_size: int, rank: int, world_size: int) -> Any:
    if batch_size < 1 or world_size < 1 or not 0 <= rank < world_size:
        raise InputError(
            f"batch_size {batch_size}, rank {rank}, world_size {world_size}: "
            "expected batch_size >= 1 and 0 <= rank < world_size"
        )
    dataset = create_dataset(cfg.as_one_of_several() if world_size > 1 else cfg, split)
    return train_part(dataset, cfg) if split == "train" else dataset


def worker_options(workers: int) -> dict[str, Any]:
    return {
        "num_workers": workers,
        "worker_init_fn": _leave_stopping_to_the_main_process if workers else None,
        "pin_memory": torch.cuda.is_available(),
        # The DataLoader draws a base seed for its workers: from its own generator, not from the
        # training loop's.
        "generator": torch.Generator().manual_seed(0),
    }


def _leave_stopping_to_the_main_process(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, and a batch system's SIGTERM every process of a
    job: what to do about it is the main process's decision alone. A second SIGTERM ends a worker:
    it is how loaders end one that is stuck.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_next_time)


def _end_next_time(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
