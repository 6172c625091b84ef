"""DataConfig refuses what cannot work, naming the field, and knows each set's normalisation."""

import time
from typing import Any

import pytest

from spikedriven.data import DataConfig
from spikedriven.errors import RecipeError

REFUSED: list[tuple[str, Any, str]] = [
    ("dataset", "cifar-10", "did you mean cifar10"),
    ("val_fraction", 1.0, r"a number in \[0, 1\)"),
    ("train_fraction", 0.0, r"a number in \(0, 1\]"),
    ("train_fraction", 1.5, r"a number in \(0, 1\]"),
    ("train_fraction_seed", -1, "a whole number of at least 0"),
    ("workers", -1, "a whole number of at least 0"),
    ("img_size", 0, "a whole number of at least 1"),
    ("img_size", 32.0, "a whole number of at least 1"),
    ("in_chans", 2, "one of 1, 3"),
    ("mean", (0.5, 0.5), r"1 value\(s\), one for each of in_chans = 1"),
    ("std", (0.5, 0.5, 0.5), r"1 value\(s\)"),
    ("std", (0.0,), "values > 0"),
    ("fit", "stretch", "one of resize, pad"),
    ("interpolation", "cubic", "one of nearest, bilinear, bicubic"),
    ("crop_pct", 0.0, r"a number in \(0, 1\]"),
    ("crop_pct", 1.1, r"a number in \(0, 1\]"),
    ("pad", -2, "a whole number of at least 0"),
    ("scale", (0.5, 1.5), "smallest <= largest <= 1"),
    ("scale", (0.9, 0.5), "smallest <= largest"),
    ("ratio", (0.0, 1.0), "0 < smallest"),
    ("ratio", (1.0,), r"\(smallest, largest\)"),
    ("hflip", 1.5, r"a number in \[0, 1\]"),
    ("color_jitter", -0.1, r"a number in \[0, inf\)"),
    ("auto_augment", "augmix-x5", "timm's string, such as"),
    ("auto_augment", "original-m5", "timm's string, such as"),
    ("auto_augment", "randm5", "timm's string, such as"),
    ("auto_augment", "augmix-a0", "timm's string, such as"),
    ("auto_augment", "v1", "timm's string, such as"),
    ("auto_augment", "rand-m", "timm's string, such as"),
    ("auto_augment", "rand-m9-inc", "timm's string, such as"),
    ("random_erasing", -0.5, r"a number in \[0, 1\]"),
    ("random_erasing_mode", "noise", "one of const, rand, pixel"),
    ("random_erasing_count", 0, "a whole number of at least 1"),
    ("mixup", float("nan"), r"a number in \[0, inf\)"),
    ("cutmix", -1.0, r"a number in \[0, inf\)"),
    ("mixup_prob", 2.0, r"a number in \[0, 1\]"),
    ("mixup_mode", "half", "one of batch, pair, elem"),
    ("cutmix_minmax", (0.8, 0.2), "two shares that rise"),
    ("cutmix_minmax", (0.2, 1.2), "two shares that rise"),
    ("cutmix_minmax", (0.5, 0.51), "two shares that rise, from 0 to 1, a pixel of 32 apart"),
    ("switch_prob", -1.0, r"a number in \[0, 1\]"),
    ("mixup_off_epoch", -1, "a whole number of at least 0"),
    ("smoothing", 1.0, r"a number in \[0, 1\)"),
]


@pytest.mark.parametrize(("field", "value", "expected"), REFUSED, ids=lambda value: str(value)[:30])
def test_unusable_value_names_its_field(field: str, value: Any, expected: str):
    with pytest.raises(RecipeError, match=f"^{field}: .*{expected}"):
        DataConfig(**{field: value})


def test_normalization_of_each_channel_count():
    assert DataConfig().normalization() == ((0.2860,), (0.3530,))
    assert DataConfig(in_chans=3).normalization() == ((0.2860,) * 3, (0.3530,) * 3)
    cifar = DataConfig(dataset="cifar100", in_chans=3)
    assert cifar.normalization() == ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    given = DataConfig(dataset="cifar100", in_chans=3, mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.3))
    assert given.normalization() == ((0.1, 0.2, 0.3), (0.1, 0.2, 0.3))


def test_colour_set_in_grey_needs_explicit_figures():
    with pytest.raises(RecipeError, match=r"^mean: .*those of cifar10 are for 3 channels"):
        DataConfig(dataset="cifar10", in_chans=1)
    assert DataConfig(dataset="cifar10", in_chans=1, mean=(0.48,), std=(0.24,)).normalization() == (
        (0.48,),
        (0.24,),
    )


@pytest.mark.parametrize(
    "text",
    [
        "rand-m5-mstd0.5-inc1",
        "rand-m7-mstd0.5-inc1",
        "rand-m9-n1-mstd0.4-inc1",
        "rand-m9-p0.7-mmax12",
    ],
)
def test_rand_augment_strings_of_the_releases(text: str):
    assert DataConfig(auto_augment=text).auto_augment == text


def test_kind_of_targets():
    assert not DataConfig().soft_targets
    assert DataConfig(smoothing=0.1).soft_targets
    assert DataConfig(cutmix=1.0).soft_targets
    assert not DataConfig(smoothing=0.1).mixes


@pytest.mark.parametrize("start", ["rand-p", "augmix-a"])
def test_long_numbers_in_a_policy_take_no_time(start: str) -> None:
    began = time.process_time()
    with pytest.raises(RecipeError, match="auto_augment: "):
        DataConfig(auto_augment=start + "1" * 100_000 + "x")
    assert time.process_time() - began < 2
    for number in ("0.5", ".5", "1"):
        DataConfig(auto_augment=start + number)
