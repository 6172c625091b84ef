"""What a detection recipe says about its images."""

from dataclasses import dataclass
from typing import ClassVar

from spikedriven.checks import check_numbers, check_whole, refuse
from spikedriven.data.contract import DataSection
from spikedriven.errors import RecipeError
from spikedriven.pictures import check_statistics


@dataclass(frozen=True, kw_only=True)
class DetectionDataConfig(DataSection):
    """The data section of a detection recipe. A value that cannot be used raises RecipeError naming
    the field."""

    task: ClassVar[str] = "detection"

    dataset: str = "coco2017"
    """Name of the detection set; `spikedriven data` lists them."""

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
    """Training: in half of the images, resize to one of crop_resize, crop, and only then resize to
    one of sizes (the augmentation of DETR).
    """
    crop_resize: tuple[int, ...] = (400, 500, 600)
    """Short sides before the crop."""
    crop_range: tuple[int, int] = (384, 600)
    """Smallest and largest height, and width, of the crop."""
    shrink: tuple[int, int] | None = None
    """Training: first make the image fit into this width and height (the SDT-V3 release: 853 512,
    which loses detail that `sizes` then enlarges again).
    """

    scene_size: int = 128
    """fashion-scenes: height and width."""
    scene_seed: int = 0
    """fashion-scenes: another number gives other scenes."""
    train_images: int = 4_000
    """fashion-scenes: scenes per epoch."""
    test_images: int = 500
    """fashion-scenes: scenes of the evaluation."""

    def _check(self) -> None:
        super()._check()
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            refuse("mean, std", (self.mean, self.std), "three values each, std above 0")
        check_statistics(self.mean, self.std, RecipeError)
        check_numbers(self, {"hflip": "[0, 1]"})
        for field in ("sizes", "crop_resize", "crop_range", "shrink"):
            values = getattr(self, field)
            if values is not None and (not values or min(values) < 1):
                refuse(field, values, "sizes of at least 1 pixel")
        if self.crop_range[0] > self.crop_range[1]:
            refuse("crop_range", self.crop_range, "the smaller size first")
        check_whole(
            self, dict.fromkeys(("max_size", "test_size", "train_images", "test_images"), 1)
        )
        if self.max_size < max(*self.sizes, self.test_size):
            refuse(
                "max_size", self.max_size, f"at least the sizes {self.sizes} and {self.test_size}"
            )

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std)."""
        return self.mean, self.std
