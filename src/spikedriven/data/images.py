"""Labelled images: a data set gives `(PIL.Image, label)` and knows its classes, labels and the
origin of each image.
"""

import io
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, features
from torch.utils.data import Dataset

from spikedriven.errors import DataError
from spikedriven.pictures import as_picture, upright

#: What `decode` raises on a file that is no usable image.
UNREADABLE = (OSError, ValueError, Image.DecompressionBombError)
#: What images of data sets are made of. Of Pillow's other formats some run programs (EPS) or are
#: not images of pixels.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "PPM",
    "TIFF",
    "GIF",
    *(["AVIF"] if features.check("avif") else []),
)
#: Pixels; Pillow's limit too, above which it only warns (up to twice as many).
LARGEST_IMAGE = 89_478_485
#: Long side / short side; resizing the short side of a longer one would need gigabytes.
LARGEST_RATIO = 100


@cache
def endings() -> frozenset[str]:
    """Endings of the names of pictures that `decode` reads, in small letters with the dot."""
    return frozenset(
        ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS
    )


def decode(source: str | Path | io.BytesIO, mode: str | None = None) -> Image.Image:
    """A whole picture as viewers show it, in mode L or RGB (`mode`; None: the one that fits); see
    `pictures`.

    Of several pictures in a file it is the first. Whatever is wrong with the file is one of
    `UNREADABLE`, and found before memory is taken for pixels where its header says so.
    """
    picture = _explained(source, as_picture)
    return picture if mode in (None, picture.mode) else picture.convert(mode)


def decode_labels(source: str | Path | io.BytesIO) -> Image.Image:
    """A label map: the numbers of the pixels as they are stored, whatever colours they stand
    for.
    """
    return _explained(source, lambda image: image.copy())


def _explained(
    source: str | Path | io.BytesIO, read: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    try:
        with Image.open(source, formats=FORMATS) as image:
            _check_size(*image.size)
            image.load()
            return read(upright(image))
    except UNREADABLE:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST_IMAGE or max(width, height) > LARGEST_RATIO * min(width, height):
        raise ValueError(
            f"{width} x {height} pixels; expected at most {LARGEST_IMAGE:,} in all, and one side "
            "at most "
            f"{LARGEST_RATIO} times the other"
        )


class ImageDataset(Dataset[tuple[Image.Image, int]]):
    """Base of the image sets; item i is `(PIL.Image, int)`.

    several_labels: whether an image may have any number of them.

    Attributes: `classes` (names, index = label), `num_classes`, `targets` (int64 `[N]`, without
    opening an image).
    """

    several_labels = False

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

    def identity(self) -> tuple[bytes, ...]:
        """Bytes that differ where the samples do; see `spikedriven.data.record`."""
        return (self.targets.tobytes(),)


class ArrayImages(ImageDataset):
    """Images held in memory: uint8 `[N, H, W]` (grey) or `[N, H, W, 3]` (RGB), read from
    `source`.
    """

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
                f"{source}: {images.dtype} images {images.shape} with {len(self.targets)} labels "
                "found, "
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

    def identity(self) -> tuple[bytes, ...]:
        return (self.targets.tobytes(), np.asarray(self.origin).tobytes())


class FileImages(ImageDataset):
    """One image file per sample; `names[i]`, relative to the folder `root`, belongs to
    `targets[i]`.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str] | np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
    ) -> None:
        super().__init__(targets, classes)
        self.root = root
        # One array of bytes: a list of strings would be copied into every worker as their reference
        # counts change.
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
                f"{path} cannot be read as an image ({error}); restore the file, or remove it from "
                "its class folder"
            ) from error

    def where(self, index: int) -> str:
        return str(self.root / os.fsdecode(self.names[index]))

    def subset(self, indices: np.ndarray) -> Self:
        return type(self)(self.root, self.names[indices], self.targets[indices], self.classes)

    def identity(self) -> tuple[bytes, ...]:
        return (self.targets.tobytes(), b"\0".join(self.names.tolist()))
