"""Everything a recipe says about its images: which set, how they are augmented, how they are mixed."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spikedriven.data.registry import find_set
from spikedriven.errors import InputError, RecipeError

#: timm's strings, in full: timm itself passes over a part that it does not understand.
_AUTO_AUGMENT = re.compile(
    r"rand(-(m\d+|n\d+|p\d*\.?\d+|mstd\d+(\.\d+)?|mmax\d+|inc[01]|t[a-z0-9]+))*"
    r"|(original|originalr|v0|v0r|3a)(-mstd\d+(\.\d+)?)*"
    r"|augmix(-(m\d+|w[1-9]\d*|d\d+|a(?=[\d.]*[1-9])\d*\.?\d+|b[01]|mstd\d+(\.\d+)?))*"
)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data part of a recipe. A value that cannot be used raises RecipeError naming the field."""

    dataset: str = "fashion-mini"
    """Name of the image set; `spikedriven data` lists them."""
    root: Path | None = None
    """Data folder; default: the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven."""
    download: bool = False
    """Fetch a missing set where torchvision can (fashion-mnist, cifar10, cifar100); one process only."""
    val_fraction: float = 0.0
    """Share of the train images held out as split "val", the same for every seed; 0: none."""
    train_fraction: float = 1.0
    """Share of the images of each class that is trained on, after val_fraction is set aside; 1: all."""
    train_fraction_seed: int = 0
    """Which images train_fraction keeps; a smaller share is part of a larger one of the same seed."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """Training. shuffle: each image once in an epoch. balanced: as many images, the same number of
    each class; those of small classes come several times, of large ones a part, drawn anew in each
    epoch."""
    aug_repeats: float = 1.0
    """Training: repeated augmentation, so many augmented copies of each image in a batch. An epoch
    is as long as without, and sees a part of the set."""
    skip_broken: bool = True
    """Replace an unreadable train image by the next one and count it; False: stop. Evaluation always stops."""
    workers: int = 2
    """Loading processes per training process; 0: load in the training process. Does not change any batch."""

    img_size: int = 32
    """Side of the square network input, pixels."""
    in_chans: Literal[1, 3] = 1
    """Channels of the network input: 1 (converted to grey) or 3 (RGB; grey is repeated)."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean of pixel values in 0..1 to subtract; default: the set's own."""
    std: tuple[float, ...] | None = None
    """Per-channel standard deviation to divide by; default: the set's own."""
    fit: Literal["resize", "pad"] = "resize"
    """How an image of another size reaches img_size: interpolation, or zero padding (cropping, if larger)."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    """Interpolation of every resize and of RandAugment's geometric operations."""
    crop_pct: float = 1.0
    """Evaluation: the short side is resized to floor(img_size / crop_pct), then the centre is cropped."""

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

    mixup: float = 0.0
    """Alpha of mixup's Beta distribution; 0: no mixup."""
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
    mixup_off_epoch: int = 0
    """From this epoch on nothing is mixed (targets stay smoothed); 0: always mix."""
    smoothing: float = 0.0
    """Label smoothing s: targets 1 - s + s / K for the label and s / K elsewhere."""

    def __post_init__(self) -> None:
        try:
            find_set(self.dataset)
        except InputError as error:
            raise RecipeError(f"dataset: {error}") from error
        self._check_counts()
        self._check_probabilities()
        self._check_ranges()
        self.normalization()

    @property
    def mixes(self) -> bool:
        """Whether any batch can be mixed; batches then need an even number of images."""
        return self.mixup > 0 or self.cutmix > 0 or self.cutmix_minmax is not None

    @property
    def soft_targets(self) -> bool:
        """Whether training targets are float `[B, K]` instead of int64 `[B]`."""
        return self.mixes or self.smoothing > 0

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) of `in_chans` values each: the given ones, or the set's own (grey: repeated for 3)."""
        own = find_set(self.dataset)
        return self._per_channel("mean", self.mean, own.mean), self._per_channel(
            "std", self.std, own.std
        )

    def _per_channel(
        self, field: str, given: tuple[float, ...] | None, own: tuple[float, ...]
    ) -> tuple[float, ...]:
        if given is None:
            values = own * self.in_chans if len(own) == 1 else own
            if len(values) != self.in_chans:
                _refuse(
                    field,
                    None,
                    f"{self.in_chans} value(s): those of {self.dataset} are for {len(own)} channels",
                )
            return values
        if len(given) != self.in_chans:
            _refuse(
                field,
                given,
                f"{self.in_chans} value(s), one for each of in_chans = {self.in_chans} channels",
            )
        if field == "std" and min(given) <= 0:
            _refuse(field, given, "values > 0")
        return tuple(given)

    def _check_counts(self) -> None:
        for field, least in {
            "workers": 0, "img_size": 1, "pad": 0, "random_erasing_count": 1, "mixup_off_epoch": 0,
            "train_fraction_seed": 0,
        }.items():  # fmt: skip
            value = getattr(self, field)
            if not isinstance(value, int) or value < least:
                _refuse(field, value, f"an integer >= {least}")
        if self.in_chans not in (1, 3):
            _refuse("in_chans", self.in_chans, "1 (grey) or 3 (RGB)")

    def _check_probabilities(self) -> None:
        for field in ("hflip", "random_erasing", "mixup_prob", "switch_prob"):
            if not 0.0 <= getattr(self, field) <= 1.0:
                _refuse(field, getattr(self, field), "a probability, 0 to 1")
        for field in ("val_fraction", "smoothing"):
            if not 0.0 <= getattr(self, field) < 1.0:
                _refuse(field, getattr(self, field), "0 <= value < 1")
        for field in ("color_jitter", "mixup", "cutmix"):
            if not 0.0 <= getattr(self, field) < float("inf"):
                _refuse(field, getattr(self, field), "a number >= 0")

    def _check_ranges(self) -> None:
        for field in ("crop_pct", "train_fraction"):
            if not 0.0 < getattr(self, field) <= 1.0:
                _refuse(field, getattr(self, field), f"0 < {field} <= 1")
        if not 1.0 <= self.aug_repeats <= 100.0:
            _refuse("aug_repeats", self.aug_repeats, "a number from 1 to 100")
        for field, largest in (("scale", 1.0), ("ratio", float("inf"))):
            value = getattr(self, field)
            if len(value) != 2 or not 0.0 < value[0] <= value[1] <= largest:
                _refuse(field, value, f"(smallest, largest), 0 < smallest <= largest <= {largest}")
        if self.cutmix_minmax is not None:
            self._check_box(self.cutmix_minmax)
        if self.auto_augment is not None and not _AUTO_AUGMENT.fullmatch(self.auto_augment):
            known = "timm's string, such as rand-m9-n2-mstd0.5-inc1, original-mstd0.5 or augmix-m5-w4-d2"
            _refuse("auto_augment", self.auto_augment, known)
        for field, choices in (
            ("fit", ("resize", "pad")),
            ("interpolation", ("nearest", "bilinear", "bicubic")),
            ("random_erasing_mode", ("const", "rand", "pixel")),
            ("mixup_mode", ("batch", "pair", "elem")),
            ("sampling", ("shuffle", "balanced")),
        ):
            if getattr(self, field) not in choices:
                _refuse(field, getattr(self, field), f"one of {', '.join(choices)}")

    def _check_box(self, shares: tuple[float, float]) -> None:
        sides = [int(self.img_size * share) for share in shares]
        if len(sides) != 2 or min(shares) < 0 or max(shares) > 1 or sides[0] >= sides[1]:
            _refuse(
                "cutmix_minmax",
                shares,
                f"two shares that rise, from 0 to 1, a pixel of {self.img_size} apart",
            )


def _refuse(field: str, value: Any, expected: str) -> None:
    raise RecipeError(f"{field}: found {value!r}, expected {expected}")
