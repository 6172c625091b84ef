"""One picture in every encoding that viewers show alike is one picture here, in training,
evaluation and prediction.
"""

import io
import logging

import numpy as np
import pytest
from PIL import Image, ImageOps

from spikedriven import pictures
from spikedriven.data import DataConfig
from spikedriven.data.detection import DetectionDataConfig
from spikedriven.data.images import decode, decode_labels
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.transforms import eval_transform
from spikedriven.errors import InputError, RecipeError
from spikedriven.pictures import as_picture, check_statistics

#: Every value of a byte, in a picture that no turn leaves as it is.
GREY = np.arange(256, dtype=np.uint8).reshape(8, 32)
COLOUR = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def stored(image: Image.Image, kind: str, **options) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pixels(source: io.BytesIO, mode: str | None = None) -> np.ndarray:
    return np.asarray(decode(source, mode))


GREYS = {
    "16-bit PNG": (Image.fromarray(GREY.astype(np.uint16) * 257), "png"),
    "16-bit TIFF": (Image.fromarray(GREY.astype(np.uint16) * 257), "tiff"),
    "16-bit PGM": (Image.fromarray(GREY.astype(np.int32) * 257), "ppm"),
    "32-bit TIFF": (Image.fromarray(GREY.astype(np.int32) * 257), "tiff"),
    "float TIFF": (Image.fromarray((GREY / 255).astype(np.float32)), "tiff"),
    "grey with alpha": (
        Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (32, 8), 255)]),
        "png",
    ),
    "palette": (Image.fromarray(GREY).convert("P"), "png"),
    "RGB": (Image.fromarray(GREY).convert("RGB"), "bmp"),
}


@pytest.mark.parametrize("name", GREYS)
def test_grey_pictures_of_any_depth_are_the_same_pixels(name: str):
    image, kind = GREYS[name]
    assert np.array_equal(pixels(stored(image, kind), "L"), GREY)
    assert np.array_equal(pixels(stored(image, kind), "RGB"), np.stack([GREY] * 3, axis=2))
    assert decode(stored(image, kind)).mode in ("L", "RGB")


def test_all_values_of_16_bits_go_to_the_nearest_byte():
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.floor(deep / 257 + 0.5).astype(np.uint8)
    assert np.array_equal(pixels(stored(Image.fromarray(deep), "png")), expected)


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_the_picture_as_it_is_shown(kind: str, orientation: int):
    """What the camera stored is what has to be turned; Pillow's own inverse makes it."""
    shown = Image.fromarray(COLOUR)
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(
        orientation, orientation
    )  # each undoes itself but the quarter turns
    raw = Image.fromarray(COLOUR)
    raw.getexif()[0x0112] = back
    options = (
        {"quality": 100, "subsampling": 0}
        if kind == "jpeg"
        else {"lossless": True}
        if kind == "webp"
        else {}
    )
    source = stored(ImageOps.exif_transpose(raw), kind, exif=turned(orientation), **options)
    found = decode(source, "RGB")
    assert found.size == shown.size
    assert np.abs(np.asarray(found).astype(int) - COLOUR).max() <= (16 if kind == "jpeg" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_there_is_not_turns_nothing(orientation: int):
    assert np.array_equal(
        pixels(stored(Image.fromarray(COLOUR), "png", exif=turned(orientation))), COLOUR
    )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_damaged_exif_block_hides_no_picture():
    source = stored(Image.fromarray(COLOUR), "png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff damaged")
    assert np.array_equal(pixels(source), COLOUR)


@pytest.mark.parametrize("hidden", [0, 127, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_under_transparent_pixels_is_not_seen(mode: str, hidden: int):
    """The background of a picture is transparent, over a colour that nobody sees."""
    alpha = np.where(GREY > 100, 255, 0).astype(np.uint8)
    values = np.where(alpha > 0, GREY, hidden).astype(np.uint8)
    image = Image.merge(
        mode, [Image.fromarray(values)] * (len(mode) - 1) + [Image.fromarray(alpha)]
    )
    assert np.array_equal(pixels(stored(image, "png"), "L"), np.where(alpha > 0, GREY, 0))


def test_half_transparent_pixels_are_mixed_with_black():
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(GREY[:, ::-1].copy())])
    expected = GREY.astype(float) * GREY[:, ::-1] / 255
    assert np.abs(pixels(stored(image, "png")) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_is_the_background(mode: str):
    values = Image.fromarray(GREY).convert(mode)
    key = {"P": 200, "L": 200, "RGB": (200, 200, 200)}[mode]
    found = pixels(stored(values, "png", transparency=key), "L")
    assert np.array_equal(found, np.where(GREY == 200, 0, GREY))


def test_a_picture_that_is_all_in_its_transparency_is_refused():
    """Black ink on nothing: over black it would be an empty picture."""
    ink = Image.merge("LA", [Image.new("L", (32, 8), 0), Image.fromarray(GREY)])
    for image in (ink, Image.new("RGBA", (8, 8), (9, 9, 9, 0))):
        with pytest.raises(ValueError, match="all that is drawn is black, or nothing is"):
            decode(stored(image, "png"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 200, np.int32), "is 255 white or 65535"),
        (np.full((4, 4), 65536, np.int32), "expected 0 to 65535"),
        (np.full((4, 4), -1, np.int32), "expected 0 to 65535"),
        (np.full((4, 4), 255, np.float32), "expected 0 to 1"),
        (np.full((4, 4), -0.1, np.float32), "expected 0 to 1"),
        (np.full((4, 4), np.nan, np.float32), "expected 0 to 1"),
    ],
)
def test_values_that_nothing_says_the_range_of_are_refused(values: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        decode(stored(Image.fromarray(values), "tiff"))


def test_twelve_bits_in_sixteen_are_told_once(caplog: pytest.LogCaptureFixture):
    pictures._say_dark.cache_clear()
    dark = Image.fromarray(GREY.astype(np.uint16) * 15)
    darker = Image.fromarray(GREY.astype(np.uint16) * 7)
    with caplog.at_level(logging.WARNING, logger="spikedriven"):
        found = [pixels(stored(dark, "png")).max(), pixels(stored(darker, "png")).max()]
    assert found == [15, 7] and len(caplog.messages) == 1
    assert "no value above 4095 of 65535 and is seen as nearly black" in caplog.text


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_other_colours_are_read_through_rgb(mode: str):
    image = Image.fromarray(COLOUR).convert(mode)
    source = stored(image, "tiff" if mode == "CMYK" else "jpeg")
    expected = Image.open(source).convert("RGB")
    assert np.array_equal(pixels(source), np.asarray(expected))
    assert np.array_equal(pixels(source, "L"), np.asarray(expected.convert("L")))


def test_two_levels_are_black_and_white():
    assert np.array_equal(
        pixels(stored(Image.fromarray(GREY > 100), "png")), np.where(GREY > 100, 255, 0)
    )


def test_white_is_zero_in_a_tiff_of_16_bits():
    deep = Image.fromarray(65535 - GREY.astype(np.uint16) * 257)
    assert np.array_equal(pixels(stored(deep, "tiff", tiffinfo={262: 0})), GREY)


def test_of_an_animation_the_first_picture_is_taken():
    frames = [Image.fromarray(GREY), Image.new("L", (32, 8), 9)]
    source = stored(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(pixels(source, "L"), GREY)


def test_label_maps_keep_their_numbers():
    image = Image.fromarray(GREY).convert("P")
    assert np.array_equal(
        np.asarray(decode_labels(stored(image, "png", transparency=3))), np.asarray(image)
    )


def test_the_pixels_of_a_data_set_of_ones_own_go_the_same_way():
    deep = Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64)
    plain = Image.fromarray(np.asarray(as_picture(deep)))
    transform = eval_transform(DataConfig(dataset="fashion-mini", img_size=32))
    assert np.array_equal(transform(deep), transform(plain))


@pytest.mark.parametrize("kind", [DataConfig, DetectionDataConfig, SegmentationDataConfig])
def test_statistics_in_bytes_are_refused(kind: type):
    name = {"DataConfig": "cifar10", "SegmentationDataConfig": "ade20k"}.get(
        kind.__name__, "coco2017"
    )
    more = {"in_chans": 3} if kind is DataConfig else {}
    for wrong in ({"mean": (123.675, 116.28, 103.53)}, {"std": (58.395, 57.12, 57.375)}):
        with pytest.raises(RecipeError, match=r"divide those of values in 0\.\.255 by 255"):
            kind(dataset=name, **more, **wrong)
    kind(dataset=name, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **more)


def test_statistics_need_a_deviation():
    with pytest.raises(InputError, match="each std above 0"):
        check_statistics((0.5,), (0.0,))
