"""Small sets of one's own, as annotation programs write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spikedriven.data.events import Events, save_events

SIZE = (64, 48)  # width, height


def picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def class_folders(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 5) -> Path:
    """root/CLASS/N.png; the channel of the class is bright."""
    for label, name in enumerate(classes):
        for i in range(count):
            rng = np.random.default_rng(100 * label + i)
            pixels = rng.integers(0, 40, (32, 32, 3)).astype(np.uint8)
            pixels[..., label % 3] += 180
            path = root / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


def coco_content(names: dict[int, str], masks: bool = False) -> dict[str, Any]:
    """Three pictures with a box each of the categories `names`, ids with gaps."""
    ids = list(names)
    annotations: list[dict[str, Any]] = [
        {
            "id": 50 + i,
            "image_id": 7 * i + 3,
            "category_id": ids[i % len(ids)],
            "bbox": [4.0 + i, 6.0, 20.0, 24.0],
            **({"segmentation": [[4, 6, 24, 6, 24, 30, 4, 30]], "area": 480} if masks else {}),
        }
        for i in range(3)
    ]
    return {
        "images": [
            {"id": 7 * i + 3, "file_name": f"{i}.jpg", "width": SIZE[0], "height": SIZE[1]}
            for i in range(3)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in names.items()],
    }


def write_json(path: Path, content: Any) -> Path:
    """A JSON file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


VOC = """<annotation><filename>{name}</filename>
<object><name>{label}</name><difficult>{difficult}</difficult>
<bndbox><xmin>5</xmin><ymin>7</ymin><xmax>24</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def recording(path: Path, seed: int = 0, events: int = 300, side: int = 34) -> Path:
    """An event file of noise in the left half (even seeds) or the right one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, side // 2, events) + (seed % 2) * (side // 2)
    y, p = rng.integers(0, side, events), rng.integers(0, 2, events)
    t = np.sort(rng.integers(0, 10_000, events))
    x, y = x.astype(np.int16), y.astype(np.int16)
    save_events(path, Events(t, x, y, p.astype(bool), side, side))
    return path
