"""Loaders of segmentation sets, with the guarantees of `spikedriven.data.loaders`."""

from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from spikedriven.data.loaders import EvalLoader, TrainLoader, build_eval_loader, worker_options
from spikedriven.data.registry import data_folder
from spikedriven.data.segmentation.batches import EvalMaps, Passes, SegmentationBatches
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.registry import find_segmentation_set
from spikedriven.data.segmentation.sets import LabelMaps
from spikedriven.errors import InputError

SPLITS = ("train", "test")


def create_maps(cfg: SegmentationDataConfig, split: str) -> LabelMaps:
    """Opens one split, "train" or "test"; DataError for missing or damaged files."""
    if split not in SPLITS:
        raise InputError(f"split {split!r} does not exist; expected one of {', '.join(SPLITS)}")
    return find_segmentation_set(cfg.dataset).open(cfg, data_folder(cfg.root), split)


def train_maps_loader(
    cfg: SegmentationDataConfig, *, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
) -> TrainLoader:
    """Loader of (float32 [B, 3, S, S], int64 [B, S, S]) for one of `world_size` processes."""
    passes = Passes(create_maps(cfg, "train"), cfg.epoch_images, seed)
    return TrainLoader(
        cfg, passes, batch_size, seed, rank, world_size, SegmentationBatches(cfg, passes)
    )


@build_eval_loader.register(SegmentationDataConfig)
def eval_maps_loader(
    cfg: SegmentationDataConfig, split: str = "test", *, batch_size: int, rank: int = 0, world_size: int = 1,
    views: bool = False,
) -> "DataLoader[tuple[Tensor, Tensor]]":  # fmt: skip
    """Loader of (float32 [B, 3, h, w], int64 [B, H, W]) in the set's order; the ranks together see each image once.

    Label maps keep their size, so that images of different sizes come alone: fashion-scenes in batches of
    `batch_size`, other sets one by one. `.dataset` has `classes` and `num_classes`. views: in place of the image a list
    of it in the sizes `cfg.test_scales`, for `spikedriven.tasks.segmentation.measure_overlap`.
    """
    samples = EvalMaps(create_maps(cfg, split), cfg, views)
    options: dict[str, Any] = worker_options(cfg.workers)
    return EvalLoader(
        samples,
        batch_size=batch_size if cfg.dataset == "fashion-scenes" else 1,
        sampler=range(rank, len(samples), world_size),
        collate_fn=samples.collate,
        **options,
    )
