"""Small detectors on two natural image sets that pip can fetch: tree crowns from the air, nuclei
under a microscope.

    python examples/natural_images.py nuclei
    python examples/natural_images.py trees --steps 600

The images come out of the wheels of deepforest (MIT; aerial images with boxes of tree crowns) and
stardist (BSD-3; one microscope image with masks of 125 nuclei); neither package is installed, and
none of their code is run. They are cut into tiles, written in COCO's layout, and read by the reader
of COCO. A few dozen tiles from one or two pictures are a check that training works on natural
images, not a benchmark. Needs pip install 'spikedriven[det]'.
"""

import argparse
import io
import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from spikedriven.data.detection import DetectionDataConfig
from spikedriven.data.detection.batches import EvalDetections
from spikedriven.data.detection.coco import CocoInstances
from spikedriven.data.loaders import TrainLoader
from spikedriven.models.detection import create_detector
from spikedriven.runs.distributed import World
from spikedriven.tasks.detection import measure_map

#: Versions whose pictures this script knows; results are comparable only on the same ones.
PACKAGES = {"trees": ("deepforest", "2.1.0"), "nuclei": ("stardist", "0.9.2")}
#: Only the pictures are of use, so every machine gets the same file, whatever its own platform.
PLATFORM = (
    "--only-binary=:all:",
    "--platform",
    "manylinux_2_28_x86_64",
    "--python-version",
    "3.11",
)
#: Side of a tile, step between tiles of the train part, and what its sides are resized to.
TILES = {"trees": (256, 192, (256, 288, 320)), "nuclei": (128, 64, (192, 224, 256))}
BODY = {
    "embed_dims": [32, 48, 64, 64],
    "depths": [0, 1, 1, 1, 0],
    "strides": [4, 1, 2, 2, 1],
    "num_heads": 4,
    "mlp_ratio": 2,
}
COMMON: dict[str, Any] = {
    "backbone": "e_spikeformer_3m",
    "backbone_args": BODY,
    "out_indices": [1, 2, 3],
    "num_classes": 1,
    "width": 48,
}
HEADS: dict[str, dict[str, Any]] = {
    "trees": {"convs": 2, "extra_levels": 0, "anchor_scales": [3, 5], "detections": 100},
    "nuclei": {
        "convs": 2,
        "extra_levels": 0,
        "anchor_scales": [4, 7],
        "mask_width": 24,
        "head_width": 128,
        "proposals": 200,
        "rpn_samples": 128,
        "roi_samples": 64,
        "finest": 28,
        "detections": 100,
    },
}


def fetch(name: str, version: str, folder: Path) -> zipfile.ZipFile:
    """The wheel of that version, downloaded once."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = f"{name}-{version}-*.whl"
    if not list(folder.glob(wanted)):
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", *PLATFORM, "-d", str(folder)]
        subprocess.run([*pip, f"{name}=={version}"], check=True)
    return zipfile.ZipFile(next(folder.glob(wanted)))


def open_image(wheel: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(wheel.read(name))))


def trees(wheel: zipfile.ZipFile, part: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Aerial image uint8 [H, W, 3] and masks of the boxes of its tree crowns; train and test
    are different places.
    """
    place = {
        "train": "2019_YELL_2_528000_4978000_image_crop2",
        "test": "2019_YELL_2_541000_4977000_image_crop",
    }[part]
    image = open_image(wheel, f"deepforest/data/{place}.png")[..., :3]
    masks = []
    for box in ElementTree.fromstring(wheel.read(f"deepforest/data/{place}.xml")).iter("bndbox"):
        x0, y0, x1, y1 = (
            round(float(box.findtext(key, "0"))) for key in ("xmin", "ymin", "xmax", "ymax")
        )
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[y0:y1, x0:x1] = True
        masks.append(mask)
    return image, masks


def nuclei(wheel: zipfile.ZipFile, part: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Microscope image as RGB uint8 and masks of its nuclei; the lowest quarter of the picture
    is the test part.
    """
    grey = open_image(wheel, "stardist/data/images/img2d.tif").astype(np.float32)
    numbers = open_image(wheel, "stardist/data/images/mask2d.tif")
    low, high = np.percentile(grey, (1, 99.8))
    image = (np.clip((grey - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    cut = image.shape[0] * 3 // 4
    rows = slice(0, cut) if part == "train" else slice(cut, None)
    image, numbers = image[rows], numbers[rows]
    return np.repeat(image[..., None], 3, axis=2), [numbers == i for i in np.unique(numbers) if i]


def write_coco(kind: str, wheel: zipfile.ZipFile, folder: Path) -> None:
    """FOLDER/{train,test}.json and their tiles."""
    side, step, _ = TILES[kind]
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        image, masks = {"trees": trees, "nuclei": nuclei}[kind](wheel, part)
        content: dict[str, list[Any]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": kind}],
        }
        stride = step if part == "train" else side
        for top in range(0, image.shape[0] - side + 1, stride):
            for left in range(0, image.shape[1] - side + 1, stride):
                add_tile(
                    content,
                    image,
                    masks,
                    (slice(top, top + side), slice(left, left + side)),
                    folder / part,
                )
        (folder / f"{part}.json").write_text(json.dumps(content))


def add_tile(
    content: dict[str, Any], image: np.ndarray, masks: list[np.ndarray], place: Any, folder: Path
) -> None:
    """One tile with the objects of which at least half lies in it."""
    number = len(content["images"])
    tile = image[place]
    Image.fromarray(tile).save(folder / f"{number}.png")
    height, width = tile.shape[:2]
    content["images"].append(
        {"id": number, "file_name": f"{number}.png", "height": height, "width": width}
    )
    for mask in masks:
        inside = mask[place]
        if not inside.any() or inside.sum() < mask.sum() / 2:
            continue
        ys, xs = np.nonzero(inside)
        box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
        content["annotations"].append(
            {
                "id": len(content["annotations"]) + 1,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": box,
                "area": int(inside.sum()),
                "segmentation": {"size": [height, width], "counts": run_lengths(inside)},
            }
        )


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed form: lengths of runs of 0, 1, 0 ... down the columns."""
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8)])
    ends = [*np.flatnonzero(np.diff(flat)).tolist(), mask.size]
    return np.diff([0, *ends]).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=PACKAGES)
    parser.add_argument("--steps", type=int, default=300, help="batches of four tiles")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--folder", type=Path, default=Path("runs/natural_images"))
    arguments = parser.parse_args()
    folder = arguments.folder / arguments.kind
    write_coco(arguments.kind, fetch(*PACKAGES[arguments.kind], arguments.folder), folder)
    train_set, test_set = (
        CocoInstances(folder / p, folder / f"{p}.json", p == "train") for p in ("train", "test")
    )
    print(f"{len(train_set)} train tiles, {len(test_set)} test tiles")

    sizes = TILES[arguments.kind][2]
    cfg = DetectionDataConfig(sizes=sizes, max_size=max(sizes), test_size=sizes[1], workers=0)
    torch.manual_seed(0)
    model = create_detector(
        "mask_rcnn" if arguments.kind == "nuclei" else "retinanet",
        **COMMON,
        **HEADS[arguments.kind],
        min_size=cfg.test_size,
        max_size=cfg.max_size,
    )
    train(model, TrainLoader(cfg, train_set, 4, seed=0), arguments)
    samples = EvalDetections(test_set)
    loader = torch.utils.data.DataLoader(samples, batch_size=4, collate_fn=samples.collate)
    with torch.inference_mode():
        found = measure_map(model.eval(), loader, World(0, 1, torch.device("cpu")))
    print(", ".join(f"{name} {value:.3f}" for name, value in found.items()))


def train(model: Any, loader: TrainLoader, arguments: argparse.Namespace) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.lr, total_steps=arguments.steps
    )
    model.train()
    step, began = 0, time.time()
    while step < arguments.steps:
        for images, targets in loader.epoch(step // len(loader)):
            loss = sum(model(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 20 == 0 or step == 1:
                print(
                    f"step {step}/{arguments.steps}  loss {loss.item():.3f}  "
                    f"{time.time() - began:.0f} s",
                    flush=True,
                )
            if step == arguments.steps:
                return


if __name__ == "__main__":
    main()
