"""What the image transforms do, against the same steps done by hand with Pillow."""

import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from spikedriven.data import DataConfig, create_dataset
from spikedriven.data.seeding import isolated_generators, reseed
from spikedriven.data.transforms import eval_transform, normalize, train_transform
from tests.data.conftest import photo

BICUBIC = Image.Resampling.BICUBIC


def chw(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def draws(cfg: DataConfig, image: Image.Image, count: int) -> list[np.ndarray]:
    transform, results = train_transform(cfg), []
    with isolated_generators():
        for number in range(count):
            reseed("test", number)
            results.append(transform(image))
    return results


@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.875])
def test_eval_resizes_the_short_side_then_crops_the_centre(crop_pct: float):
    image = photo(1, (120, 90))
    short = math.floor(64 / crop_pct)
    resized = image.resize((int(short * 120 / 90), short), BICUBIC)
    left, top = round((resized.width - 64) / 2), round((resized.height - 64) / 2)
    expected = resized.crop((left, top, left + 64, top + 64))
    transform = eval_transform(
        DataConfig(dataset="imagenet", img_size=64, in_chans=3, crop_pct=crop_pct)
    )
    assert np.array_equal(transform(image), chw(expected))


def test_normalization_is_that_of_the_releases():
    cfg = DataConfig(dataset="cifar10", in_chans=3)
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in cfg.normalization())
    expected = (pixels.double() / 255 - mean) / std
    found = normalize(pixels, cfg)
    assert found.dtype == torch.float32
    assert (found.double() - expected).abs().max() < 1e-6


def test_fit_pad_adds_a_black_border_and_interpolates_nothing():
    image, _ = create_dataset("fashion-mini", "test")[0]
    expected = np.pad(np.asarray(image), 2)[None]
    assert np.array_equal(eval_transform(DataConfig(fit="pad"))(image), expected)
    assert np.array_equal(draws(DataConfig(fit="pad", hflip=0.0), image, 1)[0], expected)


def test_pad_shifts_the_image_in_training_only():
    image, _ = create_dataset("fashion-mini", "test")[0]
    cfg = DataConfig(fit="pad", img_size=28, pad=1, hflip=0.0)
    padded = np.pad(np.asarray(image), 1)
    shifts = {padded[y : y + 28, x : x + 28].tobytes() for y in range(3) for x in range(3)}
    found = {result.tobytes() for result in draws(cfg, image, 80)}
    assert found == shifts
    assert np.array_equal(eval_transform(cfg)(image)[0], np.asarray(image))


def test_pad_after_resize_keeps_the_input_size():
    cfg = DataConfig(dataset="imagenet", img_size=24, in_chans=3, pad=4)
    assert {result.shape for result in draws(cfg, photo(2, (60, 40)), 10)} == {(3, 24, 24)}


def test_horizontal_flip_has_its_probability():
    image = photo(3, (32, 32))
    cfg = DataConfig(dataset="cifar10", in_chans=3, hflip=0.25)
    plain, flipped = chw(image), chw(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    results = draws(cfg, image, 400)
    count = sum(np.array_equal(result, flipped) for result in results)
    assert count + sum(np.array_equal(result, plain) for result in results) == 400
    assert 70 <= count <= 130


def test_scale_and_ratio_of_one_give_the_largest_centred_square():
    """All random attempts fail on a picture that is not square, so nothing about the crop is
    random.
    """
    image = photo(4, (96, 64))
    cfg = DataConfig(dataset="imagenet", img_size=32, in_chans=3, hflip=0.0)
    expected = chw(image.crop((16, 0, 80, 64)).resize((32, 32), BICUBIC))
    assert all(np.array_equal(result, expected) for result in draws(cfg, image, 5))


def test_random_resized_crop_zooms():
    image = photo(5, (64, 64))
    cfg = DataConfig(
        dataset="imagenet",
        img_size=32,
        in_chans=3,
        hflip=0.0,
        scale=(0.08, 1.0),
        ratio=(0.75, 4 / 3),
    )
    assert len({result.tobytes() for result in draws(cfg, image, 20)}) == 20


def test_colour_jitter_counts_only_without_auto_augment():
    image = photo(6, (32, 32))
    common = {"dataset": "cifar10", "in_chans": 3}

    def same(strength: float, auto_augment: str | None) -> bool:
        pair = [
            draws(DataConfig(color_jitter=jitter, auto_augment=auto_augment, **common), image, 8)
            for jitter in (0.0, strength)
        ]
        return all(np.array_equal(a, b) for a, b in zip(*pair, strict=True))

    assert same(0.9, "rand-m9-n1-mstd0.4-inc1")
    assert not same(0.9, None)


def test_auto_augment_changes_images_and_fills_with_the_mean():
    image = Image.new("L", (32, 32), 255)
    results = draws(DataConfig(auto_augment="rand-m9-n2-mstd0.5-inc1", hflip=0.0), image, 200)
    assert any(
        (result == round(255 * 0.2860)).any() and (result == 255).any() for result in results
    )


@pytest.mark.parametrize(("in_chans", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("text", ["rand-m10-n6-inc1", "rand-m0-n6", "rand-m9-n6-mstd2.0-inc1"])
def test_every_rand_augment_operation_runs_at_its_limits(in_chans: int, mode: str, text: str):
    """Posterize at full strength asks for 0 bits, which Pillow 13 refuses; older ones gave
    black.
    """
    image = photo(7, (32, 32)).convert(mode)
    cfg = DataConfig(in_chans=in_chans, auto_augment=text, hflip=0.0)
    results = draws(cfg, image, 150)
    assert {result.shape for result in results} == {(in_chans, 32, 32)}
    if text == "rand-m10-n6-inc1":
        assert any((result == 0).all() for result in results)


@pytest.mark.parametrize(("in_chans", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize(
    "text",
    [
        "original",
        "originalr-mstd0.5",
        "v0",
        "v0r",
        "3a",
        "augmix-m10-w3-mstd0",
        "augmix-m5-w2-d2-b1",
    ],
)
def test_autoaugment_and_augmix(in_chans: int, mode: str, text: str):
    """They run on grey and colour, posterize to 0 bits included, and are functions of the seed."""
    image = photo(7, (32, 32)).convert(mode)
    cfg = DataConfig(in_chans=in_chans, auto_augment=text, hflip=0.0)
    results, again = draws(cfg, image, 60), draws(cfg, image, 60)
    assert {result.shape for result in results} == {(in_chans, 32, 32)}
    assert all(np.array_equal(a, b) for a, b in zip(results, again, strict=True))
    different = len({result.tobytes() for result in results})
    assert different > (1 if text == "3a" else 10), "3a on grey solarizes, blurs or does nothing"


def test_three_augment_is_solarize_grey_or_blur():
    image = photo(7, (32, 32))
    results = draws(DataConfig(in_chans=3, auto_augment="3a", hflip=0.0), image, 150)
    solarized, grey = ImageOps.solarize(image, 128), image.convert("L").convert("RGB")
    counts = [
        sum(np.array_equal(result, chw(other)) for result in results) for other in (solarized, grey)
    ]
    assert all(30 <= count <= 70 for count in counts)
    blurred = [
        result
        for result in results
        if not any(np.array_equal(result, chw(i)) for i in (solarized, grey))
    ]
    assert blurred and all(result.std() <= chw(image).std() for result in blurred)


def test_augmix_stays_nearer_to_the_picture_than_what_it_mixes():
    """The share of the original is Beta(1, 1): half on average."""
    image = photo(7, (32, 32))
    distances = []
    for text in ("augmix-m10-w1-d1-mstd0", "augmix-m10-w1-d1-b1-a100-mstd0"):
        results = draws(DataConfig(in_chans=3, auto_augment=text, hflip=0.0), image, 200)
        distances.append(
            np.mean([np.abs(result.astype(float) - chw(image)).mean() for result in results])
        )
    assert distances[0] > 0 and distances[1] == pytest.approx(distances[0], rel=0.5)


def test_channels_follow_in_chans_whatever_the_file_holds():
    rgb = photo(8, (32, 32))
    for mode in ("L", "P", "RGBA", "CMYK", "RGB"):
        image = rgb.convert(mode)
        for in_chans, target in ((1, "L"), (3, "RGB")):
            cfg = DataConfig(in_chans=in_chans, hflip=0.0)
            expected = chw(image.convert(target))
            assert np.array_equal(eval_transform(cfg)(image), expected)
            assert np.array_equal(draws(cfg, image, 1)[0], expected)


def test_transforms_can_be_pickled():
    """Worker processes that are spawned rather than forked receive them this way."""
    image = photo(9, (32, 32))
    cfg = DataConfig(in_chans=3, auto_augment="rand-m10-n6-inc1")
    transform = pickle.loads(pickle.dumps(train_transform(cfg)))
    with isolated_generators():
        reseed("test", 0)
        assert np.array_equal(transform(image), draws(cfg, image, 1)[0])
