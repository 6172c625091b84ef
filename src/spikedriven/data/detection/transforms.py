"""Augmentation of images with boxes and masks, by torchvision.transforms.v2 on its typed tensors.

Order: (shrink), flip, then either one resize, or resize, crop and resize (DETR, Carion et al. 2020,
appendix). Draws come from torch's global generator, which the loader seeds per (seed, epoch,
index).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from spikedriven.data.detection.config import DetectionDataConfig

Target = dict[str, Tensor]
Sample = tuple[Tensor, Target]
#: Boxes with a side below this, in pixels, after a crop are dropped.
SMALLEST_BOX = 1.0


def train_sample(image: Tensor, target: Target, cfg: DetectionDataConfig) -> Sample:
    """An augmented image float32 [3, h, w] in 0..1 and its target: boxes, labels, and
    masks uint8 where there are some."""
    parts = _typed(image, target)
    if cfg.shrink is not None:
        parts = _fit_into(parts, *cfg.shrink)
    if torch.rand(()) < cfg.hflip:
        parts = _each(parts, F.horizontal_flip)
    if cfg.crop and torch.rand(()) < 0.5:
        parts = _crop(_short_side(parts, _choice(cfg.crop_resize), None), cfg.crop_range)
    parts = _short_side(parts, _choice(cfg.sizes), cfg.max_size)
    return _plain(parts, target["labels"])


def eval_sample(image: Tensor, target: Target) -> Sample:
    """The image as it is, float32 [3, H, W] in 0..1; the network resizes, and answers in the
    image's own pixels.
    """
    return F.to_dtype(image, torch.float32, scale=True), {
        k: v for k, v in target.items() if k != "label_map"
    }


def _typed(image: Tensor, target: Target) -> dict[str, Any]:
    size = tuple(image.shape[-2:])
    parts = {
        "image": tv_tensors.Image(image),
        "boxes": tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size),
    }
    if "masks" in target:
        parts["masks"] = tv_tensors.Mask(target["masks"].to(torch.uint8))
    return parts


def _each(parts: dict[str, Any], function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    return {name: function(part, **options) for name, part in parts.items()}


def _plain(parts: dict[str, Any], labels: Tensor) -> Sample:
    boxes = F.clamp_bounding_boxes(parts["boxes"]).as_subclass(Tensor).float()
    keep = ((boxes[:, 2:] - boxes[:, :2]) >= SMALLEST_BOX).all(1)
    image = F.to_dtype(parts["image"].as_subclass(Tensor), torch.float32, scale=True)
    target = {"boxes": boxes[keep], "labels": labels[keep]}
    if "masks" in parts:
        target["masks"] = parts["masks"].as_subclass(Tensor)[keep]
    return image, target


def _choice(values: tuple[int, ...]) -> int:
    return values[int(torch.randint(len(values), ()))]


def _size(parts: dict[str, Any]) -> tuple[int, int]:
    height, width = parts["image"].shape[-2:]
    return height, width


def _short_side(parts: dict[str, Any], side: int, longest: int | None) -> dict[str, Any]:
    """Keep the ratio; short side `side`, but no long side above `longest`."""
    height, width = _size(parts)
    scale = side / min(height, width)
    if longest is not None:
        scale = min(scale, longest / max(height, width))
    return _resized(parts, round(height * scale), round(width * scale))


def _fit_into(parts: dict[str, Any], first: int, second: int) -> dict[str, Any]:
    """Keep the ratio; long side at most the larger of the two, short side at most the smaller
    one.
    """
    height, width = _size(parts)
    scale = min(max(first, second) / max(height, width), min(first, second) / min(height, width))
    return _resized(parts, round(height * scale), round(width * scale))


def _resized(parts: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    if (height, width) == _size(parts):
        return parts
    size = [max(height, 1), max(width, 1)]
    resized = {
        "image": F.resize(parts["image"], size, antialias=True),
        "boxes": F.resize(parts["boxes"], size),
    }
    if "masks" in parts:
        # torchvision's own choice for masks, "nearest", shifts them by up to half a pixel
        masks = F.resize_image(parts["masks"], size, InterpolationMode.NEAREST_EXACT)
        resized["masks"] = tv_tensors.Mask(masks)
    return resized


def _crop(parts: dict[str, Any], span: tuple[int, int]) -> dict[str, Any]:
    """A rectangle anywhere in the image. Height and width are drawn from `span` as far as it lies
    in the image, as MMDetection draws them for DETR: clamping afterwards would give most small
    images their whole side.
    """
    sides = [
        int(torch.randint(min(span[0], size), min(span[1], size) + 1, ())) for size in _size(parts)
    ]
    top, left = (
        int(torch.randint(size - side + 1, ()))
        for size, side in zip(_size(parts), sides, strict=True)
    )
    return _each(parts, F.crop, top=top, left=left, height=sides[0], width=sides[1])
