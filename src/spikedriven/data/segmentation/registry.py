"""Our segmentation sets: what each is, where it is looked for, and how it is opened."""

from pathlib import Path
from typing import Any

from spikedriven.data.contract import DataSet, Facts
from spikedriven.data.scenes import SCENE_CLASSES, FashionScenes
from spikedriven.data.scenes.textures import EMBEDDED_FILE
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.sets import (
    ADE_CLASSES,
    VOC_CLASSES,
    SceneMaps,
    locate_ade,
    locate_voc,
    open_ade,
    open_voc,
)
from spikedriven.data.segmentation.voc_aug import locate_voc_aug, open_voc_aug


def _open_scenes(cfg: Any, folder: Path, split: str) -> SceneMaps:
    length = cfg.scenes if split == "train" else cfg.test_scenes
    return SceneMaps(FashionScenes(split, cfg.img_size, cfg.scene_seed, length))


_VOC: dict[str, Any] = {
    "num_classes": len(VOC_CLASSES),
    "test_images": 1_449,
    "size": "up to 500x500 RGB",
}
SEGMENTATION_SETS = (
    DataSet(
        name="fashion-scenes",
        config=SegmentationDataConfig,
        facts=Facts(
            num_classes=len(SCENE_CLASSES),
            train_images=4_000,
            test_images=500,
            size="64 to 256 RGB, label maps",
            licence="MIT (garments), CC0 (textures)",
            embedded=True,
        ),
        open=_open_scenes,
        locate=lambda folder: EMBEDDED_FILE,
    ),
    DataSet(
        name="ade20k",
        config=SegmentationDataConfig,
        facts=Facts(
            num_classes=ADE_CLASSES,
            train_images=20_210,
            test_images=2_000,
            size="any RGB",
            licence="images: research only; annotations: BSD-3",
        ),
        open=lambda cfg, folder, split: open_ade(folder, split),
        locate=locate_ade,
    ),
    DataSet(
        name="voc2012",
        config=SegmentationDataConfig,
        facts=Facts(**_VOC, train_images=1_464, licence="Flickr terms"),
        open=lambda cfg, folder, split: open_voc(folder, split),
        locate=locate_voc,
    ),
    DataSet(
        name="voc12aug",
        config=SegmentationDataConfig,
        facts=Facts(
            **_VOC,
            train_images=10_582,
            licence="Flickr terms; SBD: non-commercial research",
        ),
        open=lambda cfg, folder, split: open_voc_aug(folder, split),
        locate=locate_voc_aug,
    ),
)
