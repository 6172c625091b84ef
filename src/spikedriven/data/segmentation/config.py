"""Everything a segmentation recipe says about its images: which set, how they are resized, cropped and augmented."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spikedriven.data.segmentation.registry import find_segmentation_set
from spikedriven.errors import InputError, RecipeError


@dataclass(frozen=True, kw_only=True)
class SegmentationDataConfig:
    """The data part of a segmentation recipe. A value that cannot be used raises RecipeError naming the field."""

    dataset: str = "fashion-scenes"
    """fashion-scenes, ade20k, voc2012 or voc12aug; `spikedriven data` says which are there."""
    root: Path | None = None
    """Data folder; default: the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven."""
    skip_broken: bool = True
    """Replace an unreadable train image by the next one and count it; False: stop. Evaluation always stops."""
    workers: int = 2
    """Loading processes per training process; 0: load in the training process. Does not change any batch."""
    epoch_images: int | None = None
    """Images of one epoch, taken from shuffled passes over the set, one after the other. None: one pass."""

    img_size: int = 128
    """Side of the square training images: fashion-scenes are made in this size, others are cropped to it."""
    in_chans: Literal[3] = 3
    """Images are RGB."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per-channel mean of pixel values in 0..1 to subtract."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per-channel standard deviation to divide by."""

    resize: tuple[int, int] | None = None
    """Images are resized, their ratio kept, to fit (long side, short side); None: they keep their size."""
    resize_range: tuple[float, float] = (1.0, 1.0)
    """Training: both of `resize` times one factor from this range."""
    max_class_share: float = 1.0
    """Training: of up to ten random crops the first is taken in which every class has less of the labelled pixels."""
    hflip: float = 0.5
    """Training: probability of a horizontal flip."""
    photometric: bool = False
    """Training: brightness +-32, contrast and saturation 0.5..1.5, hue +-18 of 180, each with probability 1/2."""

    test_scales: tuple[float, ...] = (1.0,)
    """Evaluation: the image in several sizes, factors of `resize` (without it: of its own size); the probabilities are
    averaged."""
    test_flip: bool = False
    """Evaluation: each size mirrored too."""
    slide: tuple[int, int] | None = None
    """Evaluation in square windows: (side, stride); logits are averaged where windows overlap. None: at once."""

    scenes: int = 4000
    """fashion-scenes: how many train scenes."""
    test_scenes: int = 500
    """fashion-scenes: how many test scenes."""
    scene_seed: int = 0
    """fashion-scenes: which ones."""

    def __post_init__(self) -> None:
        try:
            find_segmentation_set(self.dataset)
        except InputError as error:
            raise RecipeError(f"dataset: {error}") from error
        for field, least in {
            "workers": 0,
            "img_size": 1,
            "scenes": 1,
            "test_scenes": 1,
            "scene_seed": 0,
        }.items():
            if getattr(self, field) < least:
                _refuse(field, getattr(self, field), f"an integer >= {least}")
        if self.epoch_images is not None and self.epoch_images < 1:
            _refuse("epoch_images", self.epoch_images, "at least 1, or nothing")
        if not 0.0 <= self.hflip <= 1.0:
            _refuse("hflip", self.hflip, "a probability, 0 to 1")
        if not 0.0 < self.max_class_share <= 1.0:
            _refuse("max_class_share", self.max_class_share, "0 < share <= 1")
        self._check_sizes()

    def _check_sizes(self) -> None:
        if self.resize is not None and not 0 < self.resize[1] <= self.resize[0]:
            _refuse("resize", self.resize, "(long side, short side)")
        if not 0 < self.resize_range[0] <= self.resize_range[1]:
            _refuse(
                "resize_range",
                self.resize_range,
                "(smallest, largest) factor, 0 < smallest <= largest",
            )
        if self.resize is None and self.resize_range != (1.0, 1.0):
            _refuse(
                "resize_range",
                self.resize_range,
                "(1, 1) where resize is not given: nothing is resized then",
            )
        if not self.test_scales or min(self.test_scales) <= 0:
            _refuse("test_scales", self.test_scales, "at least one factor above 0")
        if self.slide is not None and not 1 <= self.slide[1] <= self.slide[0]:
            _refuse(
                "slide",
                self.slide,
                "(side, stride) with 1 <= stride <= side: other windows leave pixels out",
            )
        if min(self.std) <= 0:
            _refuse("std", self.std, "values > 0")

    @property
    def mixes(self) -> bool:
        """Never: segmentation mixes no images."""
        return False

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) of three values each."""
        return self.mean, self.std


def _refuse(field: str, value: Any, expected: str) -> None:
    raise RecipeError(f"{field}: found {value!r}, expected {expected}")
