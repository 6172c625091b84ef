"""Our detection sets: what each is, where it is looked for, and how it is opened."""

from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from spikedriven.data.contract import DataSet, Facts, find_set
from spikedriven.data.detection.coco import CocoInstances, load_coco
from spikedriven.data.detection.config import DetectionDataConfig
from spikedriven.data.fashion import EMBEDDED_FILE
from spikedriven.data.parts import Part
from spikedriven.data.scenes import SCENE_CLASSES, FashionScenes
from spikedriven.errors import DataError


class SceneObjects(Dataset[tuple[Tensor, dict[str, Tensor]]], Sized):
    """fashion-scenes for detection: the background is no class."""

    classes = SCENE_CLASSES[1:]

    def __init__(self, scenes: FashionScenes) -> None:
        self.scenes = scenes

    @property
    def num_classes(self) -> int:
        """Classes of objects."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.scenes[index]

    def identity(self) -> tuple[bytes, ...]:
        """Which scenes they are."""
        return self.scenes.identity()

    def where(self, index: int) -> str:
        """What to call scene `index` in messages."""
        return self.scenes.where(index)

    def subset(self, indices: np.ndarray) -> Part:
        """The scenes at `indices`, in that order."""
        return Part(self, indices)


def _open_scenes(cfg: Any, folder: Path, split: str) -> SceneObjects:
    length = cfg.train_images if split == "train" else cfg.test_images
    return SceneObjects(FashionScenes(split, cfg.scene_size, cfg.scene_seed, length))


def _open_coco(cfg: Any, folder: Path, split: str) -> CocoInstances:
    """Labels are places in the file's list of categories: a file with another list means other
    objects."""
    dataset, expected = (
        load_coco(folder, split),
        find_set("coco2017", "detection").facts.num_classes,
    )
    if dataset.num_classes != expected:
        raise DataError(
            f"{dataset.source} has {dataset.num_classes} categories; expected the {expected} of "
            "COCO 2017. Unpack its own instances_*.json"
        )
    return dataset


def _locate_coco(data_folder: Path) -> Path | None:
    folder = data_folder / "coco"
    wanted = [folder / "annotations" / f"instances_{part}2017.json" for part in ("train", "val")]
    wanted += [folder / "train2017", folder / "val2017"]
    return folder if all(path.exists() for path in wanted) else None


DETECTION_SETS = (
    DataSet(
        name="coco2017",
        config=DetectionDataConfig,
        facts=Facts(
            num_classes=80,
            train_images=118_287,
            test_images=5_000,
            size="any RGB, boxes and masks",
            licence="annotations CC BY 4.0; images: Flickr terms",
        ),
        open=_open_coco,
        locate=_locate_coco,
    ),
    DataSet(
        name="fashion-scenes",
        config=DetectionDataConfig,
        facts=Facts(
            num_classes=len(SCENE_CLASSES) - 1,
            train_images=4_000,
            test_images=500,
            size="64 to 256 RGB, boxes and masks",
            licence="MIT (garments), CC0 (textures)",
            embedded=True,
        ),
        open=_open_scenes,
        locate=lambda folder: EMBEDDED_FILE,
    ),
)
