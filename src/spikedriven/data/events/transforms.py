"""Frames of a clip on their way to the network: size, augmentation, mixing. One draw holds for all
steps of a clip.

Every draw comes from a generator that the caller makes from (seed, epoch, index) or, for mixing,
(seed, epoch, batch).
"""

import math

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from spikedriven.data.events.config import EventDataConfig

#: The SNN augment of the releases: magnitudes come from so many evenly spaced values from -largest
#: to +largest. The shear is an angle in radians there (0.3 moves rows by tan 0.3 = 0.309 per row),
#: shifts are pixels, rotations degrees.
SNN_BINS, SNN_SHEAR, SNN_SHIFT, SNN_ROTATION, SNN_ERASED = 31, 0.3, 5.0, 30.0, (0.001, 0.11)
SNN_OPERATIONS = ("identity", "shear", "shift x", "shift y", "rotate", "erase")


def resize(frames: Tensor, cfg: EventDataConfig) -> Tensor:
    """`[T, 2, H, W]` -> `[T, 2, img_size, img_size]`, bilinear; the releases do not antialias."""
    side = [cfg.img_size, cfg.img_size]
    return (
        frames
        if list(frames.shape[-2:]) == side
        else F.resize(frames, side, antialias=cfg.antialiased)
    )


def augment(frames: Tensor, cfg: EventDataConfig, draws: np.random.Generator) -> Tensor:
    """One clip `[T, 2, H, W]`, augmented as the configuration says."""
    if cfg.hflip:
        frames = _flip(frames, cfg, draws)
    if cfg.roll:
        shifts = draws.integers(-cfg.roll, cfg.roll, 2, endpoint=True).tolist()
        frames = frames.roll(shifts, dims=(-2, -1))
    if cfg.rotation or cfg.shear:
        frames = _affine(
            frames,
            draws.uniform(-cfg.rotation, cfg.rotation),
            shear=math.atan(draws.uniform(-cfg.shear, cfg.shear)),
        )
    if cfg.snn_augment:
        frames = snn_augment(frames, draws)
    return _cutout(frames, cfg.cutout, draws) if cfg.cutout else frames


def snn_augment(frames: Tensor, draws: np.random.Generator) -> Tensor:
    """One of `SNN_OPERATIONS`, all equally likely, as in the release of Spikingformer; that of SDT
    (behind a flag that none of its configurations sets) has the same without the erased square.
    """
    operation = SNN_OPERATIONS[draws.integers(len(SNN_OPERATIONS))]
    share = np.linspace(-1, 1, SNN_BINS)[draws.integers(SNN_BINS)]
    if operation == "shear":
        return _affine(frames, shear=share * SNN_SHEAR)
    if operation == "rotate":
        return _affine(frames, share * SNN_ROTATION)
    if operation == "shift x":
        return _affine(frames, shift=(int(share * SNN_SHIFT), 0))
    if operation == "shift y":
        return _affine(frames, shift=(0, int(share * SNN_SHIFT)))
    if operation == "erase":
        height, width = frames.shape[-2:]
        side = min(round(math.sqrt(draws.uniform(*SNN_ERASED) * height * width)), height, width)
        top, left = draws.integers(height - side + 1), draws.integers(width - side + 1)
        return F.erase(frames, int(top), int(left), side, side, torch.zeros(()))
    return frames


def _flip(frames: Tensor, cfg: EventDataConfig, draws: np.random.Generator) -> Tensor:
    if cfg.one_flip_per_clip:
        return F.horizontal_flip(frames) if draws.random() < cfg.hflip else frames
    flipped = torch.from_numpy(draws.random(len(frames)) < cfg.hflip)
    return torch.where(flipped[:, None, None, None], F.horizontal_flip(frames), frames)


def _affine(
    frames: Tensor, angle: float = 0.0, shift: tuple[int, int] = (0, 0), shear: float = 0.0
) -> Tensor:
    """Around the centre, nearest neighbour, zeros where nothing was. angle: degrees; shear:
    radians, along x.
    """
    return F.affine(frames, float(angle), list(shift), 1.0, [math.degrees(shear), 0.0], fill=0.0)


def _cutout(frames: Tensor, side: int, draws: np.random.Generator) -> Tensor:
    """Empty one square around a random pixel; at the border a part of it."""
    height, width = frames.shape[-2:]
    top, left = int(draws.integers(height)) - side // 2, int(draws.integers(width)) - side // 2
    emptied = frames.clone()
    emptied[..., max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    return emptied


def mix(
    frames: Tensor, cfg: EventDataConfig, epoch: int, draws: np.random.Generator
) -> tuple[Tensor, float | Tensor]:
    """A batch `[B, T, 2, H, W]` mixed with itself in reverse order, and the share of each clip's
    own label: one number, or `[B, 1]`.
    """
    if cfg.mixup_off_epoch and epoch >= cfg.mixup_off_epoch:
        return frames, 1.0
    if cfg.event_mix and draws.random() < cfg.event_mix_prob:
        return event_mix(frames, draws.beta(cfg.event_mix, cfg.event_mix), draws)
    if cfg.mixup and draws.random() < cfg.mixup_prob:
        share = draws.beta(cfg.mixup, cfg.mixup)
        return frames * share + frames.flip(0) * (1 - share), share
    return frames, 1.0


def event_mix(frames: Tensor, share: float, draws: np.random.Generator) -> tuple[Tensor, Tensor]:
    """After EventMix (Shen et al., 2022, arXiv 2205.12054): where a random mixture of Gaussians
    over time, height and width is dense, the events are the partner's; its level is such that
    `share` of the volume stays. Labels are mixed by the numbers of events that are left of each
    clip.
    """
    steps, height, width = frames.shape[1], *frames.shape[-2:]
    density = torch.from_numpy(_mixture((steps, height, width), draws))
    level = density.flatten().sort().values[min(int(share * density.numel()), density.numel() - 1)]
    theirs = (
        (density >= level)[:, None] if share < 1 else torch.zeros(steps, 1, 1, 1, dtype=torch.bool)
    )
    mixed = torch.where(theirs, frames.flip(0), frames)
    own = torch.where(theirs, 0.0, frames).flatten(1).sum(1, keepdim=True)
    total = mixed.flatten(1).sum(1, keepdim=True)
    return mixed, torch.where(total > 0, own / total.clamp(min=1e-9), share)


def _mixture(shape: tuple[int, int, int], draws: np.random.Generator) -> np.ndarray:
    """Density of one to three Gaussians with random centres and widths on a grid of this shape."""
    grid = np.stack(
        np.meshgrid(*(np.linspace(0, 1, size) for size in shape), indexing="ij"), axis=-1
    )
    density = np.zeros(shape)
    for _ in range(draws.integers(1, 4)):
        centre, width = draws.uniform(0, 1, 3), draws.uniform(0.1, 0.5, 3)
        density += np.exp(-0.5 * (((grid - centre) / width) ** 2).sum(-1))
    return density
