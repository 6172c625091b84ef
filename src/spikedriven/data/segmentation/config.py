"""What a segmentation recipe says about its images: how they are resized, cropped and augmented."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from spikedriven.checks import check_numbers, check_whole, refuse
from spikedriven.data.contract import DataSection
from spikedriven.errors import RecipeError
from spikedriven.pictures import check_statistics


@dataclass(frozen=True, kw_only=True)
class SegmentationDataConfig(DataSection):
    """The data section of a segmentation recipe. A value that cannot be used raises RecipeError
    naming the field."""

    task: ClassVar[str] = "segmentation"

    dataset: str = "fashion-scenes"
    """Name of the segmentation set; `spikedriven data` lists them."""
    epoch_images: int | None = None
    """Images of one epoch, taken from shuffled passes over the set, one after the other. None:
    one pass.
    """

    img_size: int = 128
    """Side of the square training images: fashion-scenes are made in this size, others are
    cropped to it.
    """
    in_chans: Literal[3] = 3
    """Images are RGB."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per-channel mean of pixel values in 0..1 to subtract."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per-channel standard deviation to divide by."""

    resize: tuple[int, int] | None = None
    """Images are resized, their ratio kept, to fit (long side, short side); None: they keep
    their size.
    """
    resize_range: tuple[float, float] = (1.0, 1.0)
    """Training: both of `resize` times one factor from this range."""
    max_class_share: float = 1.0
    """Training: of up to ten random crops the first is taken in which every class has less of
    the labelled pixels.
    """
    hflip: float = 0.5
    """Training: probability of a horizontal flip."""
    photometric: bool = False
    """Training: brightness +-32, contrast and saturation 0.5..1.5, hue +-18 of 180, each with
    probability 1/2.
    """

    test_scales: tuple[float, ...] = (1.0,)
    """Evaluation: the image in several sizes, factors of `resize` (without it: of its own size);
    the probabilities are averaged.
    """
    test_flip: bool = False
    """Evaluation: each size mirrored too."""
    slide: tuple[int, int] | None = None
    """Evaluation in square windows: (side, stride); logits are averaged where windows overlap.
    None: at once.
    """

    scenes: int = 4000
    """fashion-scenes: how many train scenes."""
    test_scenes: int = 500
    """fashion-scenes: how many test scenes."""
    scene_seed: int = 0
    """fashion-scenes: which ones."""

    def _check(self) -> None:
        super()._check()
        check_whole(
            self, {"img_size": 1, "scenes": 1, "test_scenes": 1, "scene_seed": 0, "epoch_images": 1}
        )
        check_numbers(self, {"hflip": "[0, 1]", "max_class_share": "(0, 1]"})
        if self.resize is not None and not 0 < self.resize[1] <= self.resize[0]:
            refuse("resize", self.resize, "(long side, short side)")
        if not 0 < self.resize_range[0] <= self.resize_range[1]:
            refuse(
                "resize_range",
                self.resize_range,
                "(smallest, largest) factor, 0 < smallest <= largest",
            )
        if self.resize is None and self.resize_range != (1.0, 1.0):
            refuse(
                "resize_range",
                self.resize_range,
                "(1, 1) where resize is not given: nothing is resized then",
            )
        if not self.test_scales or min(self.test_scales) <= 0:
            refuse("test_scales", self.test_scales, "at least one factor above 0")
        if self.slide is not None and not 1 <= self.slide[1] <= self.slide[0]:
            refuse(
                "slide",
                self.slide,
                "(side, stride) with 1 <= stride <= side: other windows leave pixels out",
            )
        if min(self.std) <= 0:
            refuse("std", self.std, "values > 0")
        check_statistics(self.mean, self.std, RecipeError)

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) of three values each."""
        return self.mean, self.std
