"""A small data set in COCO's layout, written by hand."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spikedriven.data import find_set
from spikedriven.data.contract import SETS

SIZE = (40, 60)  # height, width


def content() -> dict[str, Any]:
    """Three images; polygons, uncompressed run lengths, a crowd, a box of no width, an image
    without objects.
    """
    polygon = [10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]
    counts = [0, 40 * 20, 40 * 40]  # the first twenty columns
    return {
        "images": [
            {"id": 7 + i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]}
            for i in range(3)
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 90,
                "bbox": [10, 5, 20, 20],
                "area": 400,
                "iscrowd": 0,
                "segmentation": [polygon],
            },
            {
                "id": 2,
                "image_id": 7,
                "category_id": 3,
                "bbox": [0, 0, 20, 40],
                "area": 800,
                "iscrowd": 1,
                "segmentation": {"size": list(SIZE), "counts": counts},
            },
            {
                "id": 3,
                "image_id": 8,
                "category_id": 3,
                "bbox": [50, 30, 20, 20],
                "area": 400,
                "iscrowd": 0,
                "segmentation": [[50.0, 30.0, 70.0, 30.0, 70.0, 50.0]],
            },
            {
                "id": 4,
                "image_id": 8,
                "category_id": 3,
                "bbox": [5, 5, 0, 9],
                "area": 0,
                "iscrowd": 0,
                "segmentation": [[5.0, 5.0, 5.0, 9.0, 5.0, 14.0]],
            },
        ],
    }


def small_coco(patch: pytest.MonkeyPatch) -> None:
    """COCO 2017 has the two classes of this set."""
    entry = find_set("coco2017", "detection")
    facts = dataclasses.replace(entry.facts, num_classes=2)
    patch.setitem(SETS, ("detection", "coco2017"), dataclasses.replace(entry, facts=facts))


def write(root: Path, instances: dict[str, Any] | None = None) -> Path:
    """ROOT/coco with the same content as train and val part; returns ROOT."""
    for part in ("train2017", "val2017"):
        folder = root / "coco" / part
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        annotations = root / "coco" / "annotations"
        annotations.mkdir(exist_ok=True)
        text = json.dumps(content() if instances is None else instances)
        (annotations / f"instances_{part}.json").write_text(text)
    return root
