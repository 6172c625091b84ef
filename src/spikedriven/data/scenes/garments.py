"""The garments of fashion-mini as cut-outs: an image and a mask each, resized and mirrored."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from spikedriven.data.fashion import load_embedded

#: Grey values up to this are the white of the photograph, not the garment.
EMPTY = 8
SIDE = 28


@dataclass(frozen=True)
class Garments:
    """images: uint8 [N, 28, 28]; masks: uint8 [N, 28, 28], 255 on the garment; labels: int64
    [N], 0..9.
    """

    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray

    def cut_out(self, index: int, side: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
        """Grey values uint8 [side, side] and mask bool [side, side] of one garment, bilinearly
        resized.
        """
        image, mask = (_resize(pixels[index], side) for pixels in (self.images, self.masks))
        step = -1 if mirrored else 1
        return image[:, ::step], mask[:, ::step] >= 128


@cache
def load_garments(split: str) -> Garments:
    """The "train" (10,000) or "test" (2,000) garments of fashion-mini."""
    found = load_embedded(split)
    return Garments(
        found.images, np.where(silhouettes(found.images), 255, 0).astype(np.uint8), found.targets
    )


def silhouettes(images: np.ndarray) -> np.ndarray:
    """bool [N, H, W]: pixels of the garment, and those with garment on all four sides in their row
    and column, so that dark prints and buttons do not become holes.
    """
    solid = images > EMPTY
    left, up = np.logical_or.accumulate(solid, axis=2), np.logical_or.accumulate(solid, axis=1)
    right = np.logical_or.accumulate(solid[:, :, ::-1], axis=2)[:, :, ::-1]
    down = np.logical_or.accumulate(solid[:, ::-1], axis=1)[:, ::-1]
    return left & right & up & down


def _resize(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
