"""Labelled images: a data set gives `(PIL.Image, label)` and knows its classes, labels and the origin of each image."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from spikedriven.errors import DataError

#: What `decode` raises on a file that is no usable image.
UNREADABLE = (OSError, ValueError, Image.DecompressionBombError)
#: What images of data sets are made of. Of Pillow's other formats some run programs (EPS) or are not images of pixels.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
#: Pixels; Pillow's limit too, above which it only warns (up to twice as many).
LARGEST_IMAGE = 89_478_485
#: Long side / short side; resizing the short side of a longer one would need gigabytes.
LARGEST_RATIO = 100


def decode(source: str | Path | io.BytesIO, mode: str | None = None) -> Image.Image:
    """A whole image, converted to `mode` (None: as it is, and convertible to grey and RGB). Whatever is wrong with the
    file is one of `UNREADABLE`, and found before memory is taken for pixels where its header says so."""
    try:
        with Image.open(source, formats=FORMATS) as image:
            _check_size(*image.size)
            image.load()
            asked = (
                "RGB" if mode is None and image.mode == "LAB" else mode
            )  # Pillow makes no grey of LAB
            return image if asked is None else image.convert(asked)
    except UNREADABLE:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST_IMAGE or max(width, height) > LARGEST_RATIO * min(width, height):
        raise ValueError(
            f"{width} x {height} pixels; expected at most {LARGEST_IMAGE:,} in all, and one side at most "
            f"{LARGEST_RATIO} times the other"
        )


class ImageDataset(Dataset[tuple[Image.Image, int]]):
    """Base of the image sets; item i is `(PIL.Image, int)`.

    Attributes: `classes` (names, index = label), `num_classes`, `targets` (int64 `[N]`, without opening an image).
    """

    def __init__(self, targets: np.ndarray, classes: Sequence[str]) -> None:
        self.targets = np.asarray(targets, dtype=np.int64)
        self.classes = tuple(classes)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Opens one image completely; raises DataError naming the file when that fails."""
        return self.read_image(index), int(self.targets[index])

    def read_image(self, index: int) -> Image.Image:
        raise NotImplementedError

    def where(self, index: int) -> str:
        """The file (and place in it) of image `index`, for messages."""
        raise NotImplementedError

    def subset(self, indices: np.ndarray) -> Self:
        """The same kind of set with only the images at `indices`, in that order."""
        raise NotImplementedError


class ArrayImages(ImageDataset):
    """Images held in memory: uint8 `[N, H, W]` (grey) or `[N, H, W, 3]` (RGB), read from `source`."""

    def __init__(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
        source: str,
        origin: np.ndarray | None = None,
    ) -> None:
        super().__init__(targets, classes)
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or len(images) != len(self.targets)
        ):
            raise DataError(
                f"{source}: {images.dtype} images {images.shape} with {len(self.targets)} labels found, "
                "expected uint8 [N, H, W] or [N, H, W, 3] and N labels"
            )
        self.images = images
        self.source = source
        self.origin = np.arange(len(images)) if origin is None else origin

    def read_image(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def where(self, index: int) -> str:
        return f"{self.source}, image {self.origin[index]}"

    def subset(self, indices: np.ndarray) -> Self:
        return type(self)(
            self.images[indices],
            self.targets[indices],
            self.classes,
            self.source,
            self.origin[indices],
        )


class FileImages(ImageDataset):
    """One image file per sample; `names[i]`, relative to the folder `root`, belongs to `targets[i]`."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str] | np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
    ) -> None:
        super().__init__(targets, classes)
        self.root = root
        # One array of bytes: a list of strings would be copied into every worker as their reference counts change.
        self.names = (
            names
            if isinstance(names, np.ndarray)
            else np.array([os.fsencode(name) for name in names])
        )

    def read_image(self, index: int) -> Image.Image:
        path = self.where(index)
        try:
            return decode(path)
        except UNREADABLE as error:
            raise DataError(
                f"{path} cannot be read as an image ({error}); restore the file, or remove it from its class folder"
            ) from error

    def where(self, index: int) -> str:
        return str(self.root / os.fsdecode(self.names[index]))

    def subset(self, indices: np.ndarray) -> Self:
        return type(self)(self.root, self.names[indices], self.targets[indices], self.classes)
