"""The segmentation sets by name: what each is, where it is looked for, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikedriven.data.lookup import find_entry
from spikedriven.data.scenes import FashionScenes
from spikedriven.data.scenes.textures import EMBEDDED_FILE
from spikedriven.data.segmentation.sets import (
    LabelMaps,
    SceneMaps,
    locate_ade,
    locate_voc,
    open_ade,
    open_voc,
)
from spikedriven.data.segmentation.voc_aug import locate_voc_aug, open_voc_aug


@dataclass(frozen=True, kw_only=True)
class SegmentationSet:
    """One entry of the registry. open: (configuration, data folder, "train" or "test") -> the set."""

    name: str
    num_classes: int
    train_images: int
    test_images: int
    size: str
    licence: str
    open: Callable[[Any, Path, str], LabelMaps]
    locate: Callable[[Path], Path | None]


def _open_scenes(cfg: Any, folder: Path, split: str) -> SceneMaps:
    length = cfg.scenes if split == "train" else cfg.test_scenes
    return SceneMaps(FashionScenes(split, cfg.img_size, cfg.scene_seed, length))


SEGMENTATION_SETS: dict[str, SegmentationSet] = {
    entry.name: entry
    for entry in (
        SegmentationSet(
            name="fashion-scenes",
            num_classes=11,
            train_images=4000,
            test_images=500,
            size="128x128 RGB, composed",
            licence="MIT (garments), CC0 (textures)",
            open=_open_scenes,
            locate=lambda folder: EMBEDDED_FILE,
        ),
        SegmentationSet(
            name="ade20k",
            num_classes=150,
            train_images=20_210,
            test_images=2_000,
            size="any RGB",
            licence="images: research only; annotations: BSD-3",
            open=lambda cfg, folder, split: open_ade(folder, split),
            locate=locate_ade,
        ),
        SegmentationSet(
            name="voc2012",
            num_classes=21,
            train_images=1_464,
            test_images=1_449,
            size="up to 500x500 RGB",
            licence="Flickr terms",
            open=lambda cfg, folder, split: open_voc(folder, split),
            locate=locate_voc,
        ),
        SegmentationSet(
            name="voc12aug",
            num_classes=21,
            train_images=10_582,
            test_images=1_449,
            size="up to 500x500 RGB",
            licence="Flickr terms; SBD: non-commercial research",
            open=lambda cfg, folder, split: open_voc_aug(folder, split),
            locate=locate_voc_aug,
        ),
    )
}


def find_segmentation_set(name: str) -> SegmentationSet:
    """The registry entry; InputError with the closest names when there is none."""
    return find_entry(SEGMENTATION_SETS, name, "segmentation")
