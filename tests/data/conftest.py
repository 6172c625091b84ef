"""Small sets on disk in the layouts the readers expect."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ImageFolderMaker = Callable[..., Path]


def photo(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """A smooth RGB picture of (width, height) that differs for every seed."""
    corners = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def image_folder(tmp_path: Path) -> ImageFolderMaker:
    """make(classes, per_class) -> a folder with train/CLASS/N.jpg and val/CLASS/N.jpg."""

    def make(classes: tuple[str, ...] = ("ant", "bee"), per_class: int = 6) -> Path:
        root = tmp_path / "set"
        for part_number, part in enumerate(("train", "val")):
            for class_number, name in enumerate(classes):
                (root / part / name).mkdir(parents=True)
                for number in range(per_class):
                    seed = (part_number * 100 + class_number) * 1000 + number
                    photo(seed).save(root / part / name / f"{number}.jpg", quality=90)
        return root

    return make


def truncate(path: Path, share: float = 0.5) -> None:
    """Cuts the file off, as an interrupted copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def write_idx(path: Path, array: np.ndarray) -> None:
    """A uint8 array as an IDX file, gzipped if the name ends in .gz."""
    content = (
        bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_fashion(folder: Path, count: int = 20, suffix: str = ".gz") -> dict[str, np.ndarray]:
    """The four files of a Fashion-MNIST of `count` images per split; returns the images of both
    splits.
    """
    images = {}
    for number, stem in enumerate(("train", "t10k")):
        draw = np.random.Generator(np.random.PCG64(number))
        images[stem] = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", images[stem])
        write_idx(
            folder / f"{stem}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 10
        )
    return images
