"""Everything a recipe says about its images: which set, how they are augmented, how they are
mixed.
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, Self

from spikedriven.checks import check_numbers, check_whole, refuse
from spikedriven.data.contract import DataSet
from spikedriven.data.labelled import LabelledSection
from spikedriven.errors import RecipeError
from spikedriven.pictures import check_statistics

#: timm's strings, in full: timm itself passes over a part that it does not understand.
_AUTO_AUGMENT = re.compile(
    r"rand(-(m\d+|n\d+|p(\d+(\.\d+)?|\.\d+)|mstd\d+(\.\d+)?|mmax\d+|inc[01]|t[a-z0-9]+))*"
    r"|(original|originalr|v0|v0r|3a)(-mstd\d+(\.\d+)?)*"
    r"|augmix(-(m\d+|w[1-9]\d*|d\d+|a(?=[\d.]*[1-9])(\d+(\.\d+)?|\.\d+)|b[01]|mstd\d+(\.\d+)?))*"
)


@dataclass(frozen=True, kw_only=True)
class DataConfig(LabelledSection):
    """The data section of a recipe for images. A value that cannot be used raises RecipeError
    naming the field.
    """

    dataset: str = "fashion-mini"
    """Name of the image set; `spikedriven data` lists them."""
    download: bool = False
    """Fetch a missing set where torchvision can (fashion-mnist, cifar10, cifar100); one process
    only.
    """

    img_size: int = 32
    """Side of the square network input, pixels."""
    in_chans: Literal[1, 3] = 1
    """Channels of the network input: 1 (converted to grey) or 3 (RGB; grey is repeated)."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean of pixel values in 0..1 to subtract; default: the set's own."""
    std: tuple[float, ...] | None = None
    """Per-channel standard deviation to divide by; default: the set's own."""
    fit: Literal["resize", "pad"] = "resize"
    """How an image of another size reaches img_size: interpolation, or zero padding (cropping,
    if larger).
    """
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    """Interpolation of every resize and of RandAugment's geometric operations."""
    crop_pct: float = 1.0
    """Evaluation: the short side is resized to floor(img_size / crop_pct), then the centre is
    cropped.
    """

    pad: int = 0
    """Training: pad this many zero pixels on each side, then crop img_size at random; 0: off."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Training: range of the area share of the random resized crop."""
    ratio: tuple[float, float] = (1.0, 1.0)
    """Training: range of the aspect ratio of the random resized crop."""
    hflip: float = 0.5
    """Training: probability of a horizontal flip."""
    color_jitter: float = 0.0
    """Training: strength of brightness, contrast and saturation jitter; ignored when auto_augment
    is set, but for 3a."""
    auto_augment: str | None = None
    """Training: timm's string: RandAugment such as rand-m9-mstd0.5-inc1, AutoAugment (original,
    originalr, v0, v0r or 3a; with -mstd0.5), AugMix such as augmix-m5-w4-d2."""
    random_erasing: float = 0.0
    """Training: probability of erasing a rectangle, after mixing and normalisation."""
    random_erasing_mode: Literal["const", "rand", "pixel"] = "const"
    """Erased pixels become 0, one normal draw per channel, or one per pixel and channel."""
    random_erasing_count: int = 1
    """Largest number of rectangles erased in one image."""

    cutmix: float = 0.0
    """Alpha of cutmix's Beta distribution; 0: no cutmix."""
    cutmix_minmax: tuple[float, float] | None = None
    """Cutmix: smallest and largest side of the box, as shares of the image's; used instead of
    `cutmix`."""
    mixup_mode: Literal["batch", "pair", "elem"] = "batch"
    """What one draw of mixup and cutmix (whether, which, how much) holds for: a batch, a pair of
    images that are mixed with each other, or one image."""
    mixup_prob: float = 1.0
    """Probability that a batch (pair, image) is mixed, when mixup or cutmix is on."""
    switch_prob: float = 0.5
    """Probability of cutmix in a mixed batch (pair, image), when both are on."""

    @classmethod
    def for_set(cls, entry: DataSet, **fields: Any) -> Self:
        """In grey where the set's images are."""
        return cls(dataset=entry.name, **({"in_chans": len(entry.facts.mean) or 3} | fields))

    @classmethod
    def for_network(
        cls,
        entry: DataSet,
        *,
        img_size: int,
        in_chans: int,
        time_steps: int,
        crop_pct: float,
        **fields: Any,
    ) -> Self:
        """Images as a network of this input sees them, in grey where it reads one channel."""
        channels: Literal[1, 3] = 1 if in_chans == 1 else 3
        return cls(
            dataset=entry.name, img_size=img_size, in_chans=channels, crop_pct=crop_pct, **fields
        )

    def fetched(self) -> Self:
        """torchvision fetches some; the others say that they cannot be."""
        return dataclasses.replace(self, download=True)

    def as_one_of_several(self) -> Self:
        """Several processes must not download the same files at once."""
        return dataclasses.replace(self, download=False)

    @property
    def mixes(self) -> bool:
        """Whether any batch can be mixed; batches then need an even number of images."""
        return self.mixup > 0 or self.cutmix > 0 or self.cutmix_minmax is not None

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) of `in_chans` values each: the given ones, or the set's own (grey:
        repeated for 3).
        """
        own = self.entry.facts
        mean, std = (
            self._per_channel("mean", self.mean, own.mean),
            self._per_channel("std", self.std, own.std),
        )
        check_statistics(mean, std, RecipeError)
        return mean, std

    def _per_channel(
        self, field: str, given: tuple[float, ...] | None, own: tuple[float, ...]
    ) -> tuple[float, ...]:
        if given is None:
            values = own * self.in_chans if len(own) == 1 else own
            if len(values) != self.in_chans:
                refuse(
                    field,
                    None,
                    f"{self.in_chans} value(s): those of {self.dataset} are for "
                    f"{len(own)} channels",
                )
            return values
        if len(given) != self.in_chans:
            refuse(
                field,
                given,
                f"{self.in_chans} value(s), one for each of in_chans = {self.in_chans} channels",
            )
        if field == "std" and min(given) <= 0:
            refuse(field, given, "values > 0")
        return tuple(given)

    def _check(self) -> None:
        super()._check()
        check_whole(self, {"img_size": 1, "pad": 0, "random_erasing_count": 1})
        check_numbers(
            self, dict.fromkeys(("hflip", "random_erasing", "mixup_prob", "switch_prob"), "[0, 1]")
        )
        check_numbers(
            self, {"crop_pct": "(0, 1]", "color_jitter": "[0, inf)", "cutmix": "[0, inf)"}
        )
        for field, largest in (("scale", 1.0), ("ratio", float("inf"))):
            value = getattr(self, field)
            if len(value) != 2 or not 0.0 < value[0] <= value[1] <= largest:
                refuse(field, value, f"(smallest, largest), 0 < smallest <= largest <= {largest}")
        if self.cutmix_minmax is not None:
            self._check_box(self.cutmix_minmax)
        if self.auto_augment is not None and not _AUTO_AUGMENT.fullmatch(self.auto_augment):
            known = (
                "timm's string, such as rand-m9-n2-mstd0.5-inc1, original-mstd0.5 or "
                "augmix-m5-w4-d2"
            )
            refuse("auto_augment", self.auto_augment, known)
        self.normalization()

    def _check_box(self, shares: tuple[float, float]) -> None:
        sides = [int(self.img_size * share) for share in shares]
        if len(sides) != 2 or min(shares) < 0 or max(shares) > 1 or sides[0] >= sides[1]:
            refuse(
                "cutmix_minmax",
                shares,
                f"two shares that rise, from 0 to 1, a pixel of {self.img_size} apart",
            )
