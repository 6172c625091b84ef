"""Boxes, and masks where there are some, of COCO files; and COCO 2017 as it is distributed.

ROOT/coco/annotations/instances_{train,val}2017.json, ROOT/coco/{train,val}2017/*.jpg. Masks are
polygons or run lengths; faster-coco-eval turns them into pixels, with the rules of COCO's own
tools.
"""

import importlib
import json
import logging
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from spikedriven.data.images import UNREADABLE, decode
from spikedriven.data.lookup import below
from spikedriven.data.parts import Part
from spikedriven.errors import DataError, InputError

_log = logging.getLogger(__name__)
PARTS = {"train": "train2017", "test": "val2017"}
#: Train images whose sides are all below this are left out, as in MMDetection.
SMALLEST_IMAGE = 32


@dataclass(frozen=True)
class CocoImage:
    """One image and its usable annotations: dictionaries with bbox, category_id, segmentation,
    iscrowd, area.
    """

    file: str
    height: int
    width: int
    annotations: tuple[dict[str, Any], ...]


class CocoInstances(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Item: (uint8 [3, H, W], target) with boxes float32 [N, 4] (x0 y0 x1 y1), labels int64 [N]
    (1..K in the order of the file's categories), masks uint8 [N, H, W] where `with_masks`, iscrowd
    int64 [N], area float32 [N].

    folder: of the images; annotations: the JSON file; content: of it, where it was read already, or
    where what another file holds stands in its place. Masks are given where every object has one;
    an area that is missing is that of the box. training: without crowds, and without images that
    have no object. Boxes that are narrower or lower than one pixel, or outside of the image, are
    left out (`degenerate` counts them). DataError names file and annotation of whatever cannot be
    used.
    """

    def __init__(
        self, folder: Path, annotations: Path, training: bool, content: dict[str, Any] | None = None
    ) -> None:
        self.folder, self.source, self.degenerate = folder, annotations, 0
        content = read_content(annotations) if content is None else content
        categories = sorted(
            _entries(content, "categories", annotations, ("id", "name")), key=lambda c: c["id"]
        )
        _check_once(categories, "id", f"{annotations}: categories")
        self.classes = tuple(str(category["name"]) for category in categories)
        self.labels = {category["id"]: i + 1 for i, category in enumerate(categories)}
        for image in _entries(
            content, "images", annotations, ("id", "file_name", "height", "width")
        ):
            _check_image(image, folder, f"{annotations}: image {image['id']}")
        for key in ("id", "file_name"):
            _check_once(content["images"], key, f"{annotations}: images")
        by_image = self._annotations(content, training)
        self.with_masks = self._all_have_masks(content)
        self.images = [
            CocoImage(
                image["file_name"],
                image["height"],
                image["width"],
                tuple(by_image.get(image["id"], ())),
            )
            for image in content["images"]
        ]
        if training:
            self.images = [
                i for i in self.images if i.annotations and min(i.height, i.width) >= SMALLEST_IMAGE
            ]
        if not self.images:
            raise DataError(f"{annotations}: no image with an object in it")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: np.ndarray) -> Part:
        """The images at `indices`, in that order."""
        return Part(self, indices)

    def identity(self) -> tuple[bytes, ...]:
        """Names of the pictures, and the boxes of each."""
        boxes = [
            [(a["category_id"], *a["bbox"]) for a in image.annotations] for image in self.images
        ]
        return ("\0".join(image.file for image in self.images).encode(), repr(boxes).encode())

    def where(self, index: int) -> str:
        return str(self.folder / self.images[index].file)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        entry = self.images[index]
        pixels = self._read(entry)
        boxes = [_corners(a["bbox"], entry) for a in entry.annotations]
        target = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(
                [self.labels[a["category_id"]] for a in entry.annotations], dtype=torch.int64
            ),
            "iscrowd": torch.tensor(
                [a.get("iscrowd", 0) for a in entry.annotations], dtype=torch.int64
            ),
            "area": torch.tensor([_area(a) for a in entry.annotations], dtype=torch.float32),
        }
        if self.with_masks:
            masks = [self._mask(a, entry) for a in entry.annotations]
            none = torch.zeros(0, entry.height, entry.width, dtype=torch.uint8)
            target["masks"] = torch.stack(masks) if masks else none
        return pixels, target

    def _all_have_masks(self, content: dict[str, Any]) -> bool:
        """Whether masks are read. Where only some objects have one, the user hears of it."""
        found = [bool(a.get("segmentation")) for a in content["annotations"]]
        if any(found) and not all(found):
            _log.warning(
                "%s: %d of %d objects have no mask: the masks of the others are not used, only "
                "boxes",
                self.source,
                found.count(False),
                len(found),
            )
        return all(found)

    def _read(self, entry: CocoImage) -> Tensor:
        path = self.folder / entry.file
        try:
            pixels = np.asarray(decode(path, "RGB"))
        except FileNotFoundError:
            raise DataError(f"{path} is missing; {self.source} names it") from None
        except UNREADABLE as error:
            raise DataError(f"{path} cannot be decoded: {error}") from error
        if pixels.shape[:2] != (entry.height, entry.width):
            raise DataError(
                f"{path}: {pixels.shape[1]}x{pixels.shape[0]} pixels, but {self.source} says "
                f"{entry.width}x{entry.height}; the two do not belong "
                f"together{self._turned(pixels, entry)}"
            )
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()

    @staticmethod
    def _turned(pixels: np.ndarray, entry: CocoImage) -> str:
        if pixels.shape[:2] != (entry.width, entry.height):
            return ""
        return (
            " (is the picture turned by its EXIF orientation, and were the boxes drawn before? "
            "Write the pixels anew "
            "without the tag)"
        )

    def _annotations(
        self, content: dict[str, Any], training: bool
    ) -> dict[int, list[dict[str, Any]]]:
        sizes = {image["id"]: image for image in content["images"]}
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        keys = ("image_id", "bbox", "category_id")
        for a in _entries(content, "annotations", self.source, keys):
            where = f"{self.source}: annotation {a.get('id')}"
            if not _are_numbers(a["image_id"], a["category_id"]) or not (
                a["image_id"] in sizes and a["category_id"] in self.labels
            ):
                raise DataError(
                    f"{where}: image {a['image_id']} or category {a['category_id']} is not in the "
                    "file"
                )
            if not (
                isinstance(a["bbox"], list) and len(a["bbox"]) == 4 and _are_numbers(*a["bbox"])
            ):
                raise DataError(
                    f"{where}: bbox must be [x, y, width, height] in numbers, found {a['bbox']!r}"
                )
            if not _are_numbers(a.get("area", 0)):
                raise DataError(f"{where}: area must be a number, found {a['area']!r}")
            if training and a.get("iscrowd", 0):
                continue
            if _is_degenerate(a["bbox"], sizes[a["image_id"]]):
                self.degenerate += 1
                continue
            by_image[a["image_id"]].append(a)
        return by_image

    def _mask(self, annotation: dict[str, Any], entry: CocoImage) -> Tensor:
        """uint8 [H, W]; polygons of one object are united."""
        where = f"{self.source}: annotation {annotation.get('id')}"
        try:
            return torch.from_numpy(
                rasterize(annotation["segmentation"], entry.height, entry.width)
            )
        except (ValueError, TypeError, LookupError, RuntimeError, OverflowError) as error:
            raise DataError(
                f"{where}: its segmentation is neither polygons nor run lengths ({error})"
            ) from error


def rasterize(segmentation: Any, height: int, width: int) -> np.ndarray:
    """uint8 [height, width] of COCO polygons [[x, y, x, y, ...], ...] or run lengths {"size",
    "counts"}.
    """
    tools = coco_tools()
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(
                f"run lengths for {segmentation['size']}, the image has {[height, width]}"
            )
        if isinstance(segmentation["counts"], list):
            if sum(segmentation["counts"]) != height * width:
                raise ValueError(
                    f"run lengths add up to {sum(segmentation['counts'])}, not {height * width}"
                )
            segmentation = tools.frPyObjects(segmentation, height, width)
        return np.ascontiguousarray(tools.decode(segmentation))
    if not segmentation or any(len(p) < 6 or len(p) % 2 for p in segmentation):
        raise ValueError("a polygon needs at least three x, y pairs")
    polygons = [[float(v) for v in polygon] for polygon in segmentation]
    side = max(
        height, width
    )  # the time that a polygon takes grows with its length, within the image or not
    if not all(-side <= v <= 2 * side for polygon in polygons for v in polygon):
        raise ValueError(f"a polygon has points far outside of the {width} x {height} pixels")
    parts = tools.frPyObjects(polygons, height, width)
    return np.ascontiguousarray(tools.decode(tools.merge(parts)))


def coco_tools() -> ModuleType:
    """faster-coco-eval's mask functions, or an error that says how to get them."""
    try:
        return importlib.import_module("faster_coco_eval.core.mask")
    except ModuleNotFoundError as error:
        raise InputError(
            "COCO masks and mAP need faster-coco-eval: pip install 'spikedriven[det]'"
        ) from error


def load_coco(data_folder: Path, split: str) -> CocoInstances:
    """ "train" (train2017) or "test" (val2017) below a data folder. DataError names what is
    missing.
    """
    part = PARTS[split]
    folder, annotations = (
        data_folder / "coco" / part,
        data_folder / "coco" / "annotations" / f"instances_{part}.json",
    )
    for path in (folder, annotations):
        if not path.exists():
            raise DataError(
                f"{path} is missing. Unpack {part}.zip and annotations_trainval2017.zip of "
                "cocodataset.org into "
                f"{data_folder / 'coco'} (another data folder: data.root, or the variable "
                "SPIKEDRIVEN_DATA)"
            )
    found = CocoInstances(folder, annotations, training=split == "train")
    if not any(not a.get("iscrowd", 0) for image in found.images for a in image.annotations):
        raise DataError(
            f"{annotations}: no image with an object in it (crowds are none): nothing can be "
            "measured"
        )
    return found


def read_content(path: Path) -> dict[str, Any]:
    """What a COCO file holds. DataError where it cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is truncated or no JSON: {error}; unpack the annotations again"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object with images, annotations and categories")
    return content


def _entries(
    content: dict[str, Any], name: str, path: Path, keys: tuple[str, ...]
) -> list[dict[str, Any]]:
    entries = content.get(name)
    if not isinstance(entries, list):
        raise DataError(f"{path}: it has no list {name!r}; is it an instances_*.json file?")
    for i, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise DataError(f"{path}: entry {i} of {name!r} has no {', '.join(missing)}")
    return entries


def _check_image(image: dict[str, Any], folder: Path, where: str) -> None:
    if not (
        isinstance(image["file_name"], str)
        and _are_numbers(image["id"], image["height"], image["width"])
    ):
        raise DataError(
            f"{where}: expected numbers as id, height and width, and a file_name, found {image!r}"
        )
    below(folder, image["file_name"], where)


def _check_once(entries: list[dict[str, Any]], key: str, where: str) -> None:
    """DataError for an entry that another one hides. Merged files have them, whose ids were not
    numbered anew.
    """
    seen = set()
    for entry in entries:
        if entry[key] in seen:
            raise DataError(
                f"{where}: the {key} {entry[key]!r} is given twice, so that nothing says which of "
                "the two an "
                "annotation is of; number them anew"
            )
        seen.add(entry[key])


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _is_degenerate(bbox: list[float], image: dict[str, Any]) -> bool:
    x, y, w, h = bbox
    visible_w = min(x + w, image["width"]) - max(x, 0)
    visible_h = min(y + h, image["height"]) - max(y, 0)
    return min(w, h, visible_w, visible_h) < 1


def _area(annotation: dict[str, Any]) -> float:
    """In pixels; of the box, where the file does not say it."""
    area = annotation.get("area")
    return float(annotation["bbox"][2] * annotation["bbox"][3] if area is None else area)


def _corners(bbox: list[float], entry: CocoImage) -> list[float]:
    """x, y, width, height -> x0, y0, x1, y1 within the image."""
    x, y, w, h = bbox
    return [
        max(x, 0.0),
        max(y, 0.0),
        min(x + w, float(entry.width)),
        min(y + h, float(entry.height)),
    ]
