"""From a PIL image to network input: timm's transforms per image, then normalisation and erasing
per batch.

The order is that of the releases' timm loader: crop, flip and RandAugment, AutoAugment or AugMix on
the PIL image; mixing on uint8 (rounded); normalisation; random erasing last.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageOps
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp, AugMixAugment, AutoAugment, RandAugment
from timm.data.auto_augment import posterize as timm_posterize
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode

from spikedriven.data.config import DataConfig
from spikedriven.pictures import as_picture

ImageTransform = Callable[[Image.Image], np.ndarray]
_MODE = {1: "L", 3: "RGB"}


def train_transform(cfg: DataConfig) -> ImageTransform:
    """PIL image -> augmented uint8 `[C, H, W]`; draws from the three global CPU generators."""
    augment = create_transform(
        input_size=cfg.img_size,
        is_training=True,
        scale=cfg.scale,
        ratio=cfg.ratio,
        hflip=cfg.hflip,
        color_jitter=cfg.color_jitter or None,  # type: ignore[arg-type]  # None is off
        auto_augment=cfg.auto_augment,
        interpolation=cfg.interpolation,
        mean=cfg.normalization()[0],  # RandAugment fills uncovered corners with it
        use_prefetcher=True,  # ends in uint8: normalisation and erasing are done per batch
    )
    for step in augment.transforms:
        _allow_zero_bits(_operations(step))
    if cfg.in_chans == 1:
        augment.transforms = [_in_colour(step) for step in augment.transforms]
    return _compose(cfg, [*_fit(cfg), *_random_shift(cfg), augment])


def eval_transform(cfg: DataConfig) -> ImageTransform:
    """PIL image -> uint8 `[C, H, W]`: short side to floor(img_size / crop_pct), centre crop."""
    resize_and_crop = create_transform(
        input_size=cfg.img_size,
        is_training=False,
        interpolation=cfg.interpolation,
        crop_pct=cfg.crop_pct,
        use_prefetcher=True,
    )
    return _compose(cfg, [*_fit(cfg), resize_and_crop])


def normalize(images: torch.Tensor, cfg: DataConfig) -> torch.Tensor:
    """uint8 `[B, C, H, W]` -> float32 `(x - 255 mean) / (255 std)`."""
    mean, std = (torch.tensor(values).mul_(255).view(1, -1, 1, 1) for values in cfg.normalization())
    return images.float().sub_(mean).div_(std)


def _fit(cfg: DataConfig) -> list[Callable]:
    return [transforms.CenterCrop(cfg.img_size)] if cfg.fit == "pad" else []


def _random_shift(cfg: DataConfig) -> list[Callable]:
    if cfg.pad == 0:
        return []
    resize = [] if cfg.fit == "pad" else [
        transforms.Resize(cfg.img_size, interpolation=InterpolationMode(cfg.interpolation)),
        transforms.CenterCrop(cfg.img_size),
    ]  # fmt: skip
    return [*resize, transforms.RandomCrop(cfg.img_size, padding=cfg.pad)]


def _compose(cfg: DataConfig, steps: list[Callable]) -> ImageTransform:
    steps = [_ToMode(_MODE[cfg.in_chans]), *steps, np.asarray]
    return transforms.Compose(steps)


def _operations(step: object) -> list[AugmentOp]:
    """Those that one of timm's policies draws from."""
    if isinstance(step, AutoAugment):
        return [operation for policy in step.policy for operation in policy]
    return step.ops if isinstance(step, RandAugment | AugMixAugment) else []


def _in_colour(step: Callable) -> Callable:
    """AugMix of timm before 1.0.27 cannot mix grey images: they are mixed as RGB, with the same
    values.
    """
    if not isinstance(step, AugMixAugment):
        return step
    return transforms.Compose([_ToMode("RGB"), step, _ToMode("L")])


def _allow_zero_bits(operations: list[AugmentOp]) -> None:
    """Keeps the darkest posterize of the releases: at full magnitude timm asks for 0 bits,
    which Pillow 13 refuses.
    """
    for operation in operations:
        if operation.aug_fn is timm_posterize:
            operation.aug_fn = _posterize


def _posterize(image: Image.Image, bits: int, **_unused: object) -> Image.Image:
    if bits <= 0:
        return Image.new(image.mode, image.size)
    return image if bits >= 8 else ImageOps.posterize(image, bits)


class _ToMode:
    """Converts to grey or RGB; a class, so that spawned workers can unpickle it."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def __call__(self, image: Image.Image) -> Image.Image:
        return image if image.mode == self.mode else as_picture(image).convert(self.mode)
