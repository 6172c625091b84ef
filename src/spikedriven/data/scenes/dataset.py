"""fashion-scenes: 1 to 4 garments of fashion-mini on a photographed texture, composed anew from
(seed, split, index).

Train scenes are made of train garments and train textures, test scenes of test garments and test
textures. They are composites, not natural images; what they offer is labels without error: boxes,
masks and label map are of the pixels that were painted.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from spikedriven.data.fashion import CLASSES
from spikedriven.data.scenes.garments import load_garments
from spikedriven.data.scenes.textures import load_textures
from spikedriven.data.seeding import derive_seed
from spikedriven.errors import InputError

BACKGROUND = 0
#: Name of each value of the label map; instance labels are 1..10.
SCENE_CLASSES = ("background", *CLASSES)
SPLITS = ("train", "test")
LENGTHS = {"train": 4000, "test": 500}
SIDES = (64, 256)
#: Garments: how many, how large in pixels, and the share of their pixels that must be visible.
MOST_GARMENTS, GARMENT_SIDES, LEAST_VISIBLE = 4, (28, 56), 0.3
#: Range of brightness per channel: of textures, and of garments.
TEXTURE_GAIN, GARMENT_GAIN = (0.35, 0.9), (0.5, 1.0)


@dataclass(frozen=True)
class Instance:
    """One garment of a scene: its visible pixels bool [H, W], its grey values there uint8 [n],
    its label 1..10.
    """

    visible: np.ndarray
    grey: np.ndarray
    label: int


class FashionScenes(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Map-style data set; item i is a function of (seed, split, i) alone.

    split: "train" or "test". size: height and width, 64 to 256 pixels. length: scenes; default 4000
    train, 500 test. Item: (uint8 [3, H, W], target); the target has, as torchvision's detectors
    take it,

    - boxes: float32 [N, 4], x0 y0 x1 y1, of the visible part; x1 and y1 lie behind the last pixel
      (width = x1 - x0);
    - labels: int64 [N], 1..10; masks: bool [N, H, W], visible pixels, disjoint;
    - label_map: uint8 [H, W], 0 background, 1..10.

    Garments lie over each other in the order of the list: the first is on top. One of which less
    than 30 % would be visible is not painted at all.
    """

    classes = SCENE_CLASSES

    def __init__(
        self, split: str = "train", size: int = 128, seed: int = 0, length: int | None = None
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"split {split!r} does not exist; expected one of {', '.join(SPLITS)}")
        if not SIDES[0] <= size <= SIDES[1]:
            raise InputError(f"size {size}: scenes are {SIDES[0]} to {SIDES[1]} pixels wide")
        self.split, self.size, self.seed = split, size, seed
        self.length = LENGTHS[split] if length is None else length
        if self.length < 1:
            raise InputError(f"length {length}: expected at least 1 scene")
        self.garments, self.textures = load_garments(split), load_textures(split)

    @property
    def num_classes(self) -> int:
        """Values of the label map: 10 garments and the background."""
        return len(SCENE_CLASSES)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        draw = np.random.Generator(
            np.random.PCG64(derive_seed("fashion-scenes", self.seed, self.split, index))
        )
        image = self._background(draw)
        instances = self._instances(draw)
        for instance in instances:
            gains = draw.uniform(*GARMENT_GAIN, size=3)
            image[:, instance.visible] = np.outer(gains, instance.grey).astype(np.uint8)
        return torch.from_numpy(image), _target(instances, self.size)

    def identity(self) -> tuple[bytes, ...]:
        """Which scenes they are; see `spikedriven.data.record`."""
        return (f"{self.split} {self.seed} {self.size} {self.length}".encode(),)

    def where(self, index: int) -> str:
        """What to call scene `index` in messages."""
        return f"fashion-scenes {self.split} {index} (seed {self.seed})"

    def _background(self, draw: np.random.Generator) -> np.ndarray:
        """A crop of a texture, mirrored, turned and tinted: uint8 [3, H, W]."""
        texture = self.textures[draw.integers(len(self.textures))]
        top, left = draw.integers(0, texture.shape[0] - self.size, size=2, endpoint=True)
        crop = np.rot90(
            texture[top : top + self.size, left : left + self.size], int(draw.integers(4))
        )
        crop = crop[:: 1 if draw.random() < 0.5 else -1]
        gains = draw.uniform(*TEXTURE_GAIN, size=3)
        tables = np.outer(gains, np.arange(256)).astype(np.uint8)
        return np.ascontiguousarray(tables[:, crop])

    def _instances(self, draw: np.random.Generator) -> list[Instance]:
        """From the top one down: what is visible of each garment beside those above it."""
        occupied = np.zeros((self.size, self.size), dtype=bool)
        instances = []
        for _ in range(draw.integers(1, MOST_GARMENTS, endpoint=True)):
            index = int(draw.integers(len(self.garments.labels)))
            side = int(draw.integers(*GARMENT_SIDES, endpoint=True))
            grey, mask = self.garments.cut_out(index, side, bool(draw.random() < 0.5))
            top, left = draw.integers(0, self.size - side, size=2, endpoint=True)
            place = slice(top, top + side), slice(left, left + side)
            seen = mask & ~occupied[place]
            if seen.sum() < LEAST_VISIBLE * mask.sum():
                continue
            visible = np.zeros_like(occupied)
            visible[place] = seen
            occupied |= visible
            instances.append(Instance(visible, grey[seen], int(self.garments.labels[index]) + 1))
        return instances


def _target(instances: list[Instance], size: int) -> dict[str, Tensor]:
    label_map = np.full((size, size), BACKGROUND, dtype=np.uint8)
    for instance in instances:
        label_map[instance.visible] = instance.label
    return {
        "boxes": torch.tensor(
            [_box(instance.visible) for instance in instances], dtype=torch.float32
        ),
        "labels": torch.tensor([instance.label for instance in instances]),
        "masks": torch.from_numpy(np.stack([instance.visible for instance in instances])),
        "label_map": torch.from_numpy(label_map),
    }


def _box(visible: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
