"""Everything a detection recipe says about its images."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spikedriven.data.fashion import EMBEDDED_FILE
from spikedriven.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class DetectionSet:
    """One entry of the registry. num_classes: of objects. locate: where the set is below the data folder."""

    name: str
    num_classes: int
    train_images: int
    test_images: int
    size: str
    licence: str
    locate: Callable[[Path], Path | None]


def _coco_folder(data_folder: Path) -> Path | None:
    folder = data_folder / "coco"
    wanted = [folder / "annotations" / f"instances_{part}2017.json" for part in ("train", "val")]
    wanted += [folder / "train2017", folder / "val2017"]
    return folder if all(path.exists() for path in wanted) else None


DETECTION_SETS = {
    entry.name: entry
    for entry in (
        DetectionSet(
            name="coco2017",
            num_classes=80,
            train_images=118_287,
            test_images=5_000,
            size="any RGB, boxes and masks",
            licence="annotations CC BY 4.0; images: Flickr terms",
            locate=_coco_folder,
        ),
        DetectionSet(
            name="fashion-scenes",
            num_classes=10,
            train_images=4_000,
            test_images=500,
            size="64 to 256 RGB, boxes, masks, label maps",
            licence="MIT (garments), CC0 (textures)",
            locate=lambda folder: EMBEDDED_FILE,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class DetectionDataConfig:
    """The data part of a detection recipe. A value that cannot be used raises RecipeError naming the field."""

    dataset: str = "coco2017"
    """coco2017 or fashion-scenes."""
    root: Path | None = None
    """Data folder; default: the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven."""
    skip_broken: bool = True
    """Replace an unreadable train image by the next one and count it; False: stop. Evaluation always stops."""
    workers: int = 2
    """Loading processes per training process; 0: load in the training process. Does not change any batch."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Per-channel mean of pixel values in 0..1 to subtract; the network does it."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Per-channel standard deviation to divide by."""
    sizes: tuple[int, ...] = (800,)
    """Training: the short side is resized to one of these, drawn anew each time ..."""
    max_size: int = 1333
    """... unless the long side would become larger than this; in evaluation too."""
    test_size: int = 800
    """Evaluation: the short side is resized to this."""
    hflip: float = 0.5
    """Training: probability of a horizontal flip."""
    crop: bool = False
    """Training: in half of the images, resize to one of crop_resize, crop, and only then resize to one of sizes (the
    augmentation of DETR)."""
    crop_resize: tuple[int, ...] = (400, 500, 600)
    """Short sides before the crop."""
    crop_range: tuple[int, int] = (384, 600)
    """Smallest and largest height, and width, of the crop."""
    shrink: tuple[int, int] | None = None
    """Training: first make the image fit into this width and height (the SDT-V3 release: 853 512, which loses detail
    that `sizes` then enlarges again)."""

    scene_size: int = 128
    """fashion-scenes: height and width."""
    scene_seed: int = 0
    """fashion-scenes: another number gives other scenes."""
    train_images: int = 4_000
    """fashion-scenes: scenes per epoch."""
    test_images: int = 500
    """fashion-scenes: scenes of the evaluation."""

    mixes = False  # read by TrainLoader: images are never mixed

    def __post_init__(self) -> None:
        if self.dataset not in DETECTION_SETS:
            close = difflib.get_close_matches(self.dataset, DETECTION_SETS, n=1, cutoff=0.4)
            hint = (
                f"did you mean {close[0]}?" if close else f"there are {', '.join(DETECTION_SETS)}"
            )
            raise RecipeError(f"dataset: no detection set is called {self.dataset!r}; {hint}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise RecipeError(
                f"mean, std: expected three values each, std above 0; found {self.mean} and {self.std}"
            )
        if not 0 <= self.hflip <= 1:
            raise RecipeError(f"hflip: expected a probability, found {self.hflip}")
        self._check_sizes()

    def _check_sizes(self) -> None:
        for field in ("sizes", "crop_resize", "crop_range", "shrink"):
            values = getattr(self, field)
            if values is not None and (not values or min(values) < 1):
                raise RecipeError(f"{field}: expected sizes of at least 1 pixel, found {values}")
        if self.crop_range[0] > self.crop_range[1]:
            raise RecipeError(
                f"crop_range: expected the smaller size first, found {self.crop_range}"
            )
        for field, least in {
            "workers": 0,
            "max_size": 1,
            "test_size": 1,
            "train_images": 1,
            "test_images": 1,
        }.items():
            if getattr(self, field) < least:
                raise RecipeError(
                    f"{field}: expected at least {least}, found {getattr(self, field)}"
                )
        if self.max_size < max(*self.sizes, self.test_size):
            raise RecipeError(f"max_size: expected at least the sizes {self.sizes} and {self.test_size}, "
                              f"found {self.max_size}")  # fmt: skip

    @property
    def num_classes(self) -> int:
        """Classes of objects, background not counted."""
        return DETECTION_SETS[self.dataset].num_classes

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std)."""
        return self.mean, self.std
