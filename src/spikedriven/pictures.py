"""What the pixels of a picture mean: any mode of Pillow as 8-bit grey or RGB, the way viewers show
it.

Pillow's own `convert` clips pixels of more than 8 bits, and shows the colours that are hidden under
transparent pixels.
"""

import logging
import struct
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from spikedriven.errors import InputError

_log = logging.getLogger(__name__)
#: What is seen through transparent pixels: black, as where pictures are padded.
BACKGROUND = 0
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_WHITE16 = (1 << 16) - 1
#: 16-bit pictures that stay below this were most likely recorded with 12 bits.
_WHITE12 = (1 << 12) - 1
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339
_SIGNED, _WHITE_IS_ZERO = 2, 0
_MOVES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: What Pillow raises on a damaged EXIF block.
_BAD_EXIF = (struct.error, SyntaxError, ValueError, KeyError, TypeError, OSError, EOFError)


def upright(image: Image.Image) -> Image.Image:
    """A loaded image turned and mirrored as its EXIF orientation says; the same image where it
    says nothing.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _BAD_EXIF:  # viewers show such an image as it is stored
        return image
    return image.transpose(_MOVES[orientation]) if orientation in _MOVES else image


def as_picture(image: Image.Image) -> Image.Image:
    """The picture as mode L or RGB; an image that is one already is returned itself.

    Whole numbers of 16 bits count from 0 (black) to 65535 (white), floating point from 0 to 1.
    Transparent pixels are mixed with black. InputError where nothing says what is white, and where
    black would hide all that is drawn.
    """
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in _DEEP:
        return _of_deep(image)
    if image.mode in _ALPHA or "transparency" in image.info:
        return _on_background(image)
    return image.convert("L" if image.mode == "1" else "RGB")


def check_statistics(
    mean: Sequence[float], std: Sequence[float], error: type[Exception] = InputError
) -> None:
    """`error` for means and deviations that are no figures of pixel values in 0..1."""
    if not all(0 <= value <= 1 for value in mean) or not all(0 < value <= 1 for value in std):
        in_bytes = max(*mean, *std) > 1 and max(*mean, *std) <= 255
        hint = "; divide those of values in 0..255 by 255" if in_bytes else ""
        raise error(
            "mean and std are of pixel values in 0..1: expected each mean from 0 to 1 and each "
            "std above 0, at most "
            f"1{hint}; found mean {tuple(mean)}, std {tuple(std)}"
        )


def _of_deep(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    shares = _shares(values, image)
    if (
        _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    ):  # Pillow turns such a file round only where it has 8 bits
        shares = 1 - shares
    if image.mode.startswith("I") and isinstance(image.info.get("transparency"), int):
        shares[values == image.info["transparency"]] = BACKGROUND
    return Image.fromarray(np.floor(shares * 255 + 0.5).astype(np.uint8))


def _shares(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """float64 [H, W] from 0 (black) to 1 (white)."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # false for what is not a number, too
            raise InputError(
                f"floating point pixels from {low:g} to {high:g}, expected 0 to 1; {_AS_BYTES}"
            )
        return values
    white = _white(image)
    if not 0 <= low <= high <= white:
        raise InputError(
            f"whole-number pixels from {low:.0f} to {high:.0f}, expected 0 to {white}; {_AS_BYTES}"
        )
    if image.mode == "I" and 0 < high <= 255:
        raise InputError(
            f"pixels of 32 bits with values up to {high:.0f}: is 255 white or {white}? {_AS_BYTES}"
        )
    if white == _WHITE16 and 0 < high <= _WHITE12:
        _say_dark()
    return values / white


_AS_BYTES = "save the picture with 8 or 16 bits per channel, scaled to their whole range"


def _white(image: Image.Image) -> int:
    bits = _tag(image, _BITS)
    if bits is None or bits >= 32:
        return _WHITE16
    return (1 << (bits - (_tag(image, _SAMPLE_FORMAT) == _SIGNED))) - 1


def _tag(image: Image.Image, number: int) -> int | None:
    """The first value of a tag of a TIFF file; None where there is none."""
    value = getattr(image, "tag_v2", {}).get(number)
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else None


@cache
def _say_dark() -> None:
    _log.warning(
        "a 16-bit picture has no value above %d of 65535 and is seen as nearly black; where its "
        "camera has fewer bits, "
        "scale the values to the whole range (told once, whatever other pictures have)",
        _WHITE12,
    )


def _on_background(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    grey = image.mode in ("L", "LA", "La", "1")
    alpha = rgba.getchannel("A").getextrema()
    seen = rgba
    if alpha != (255, 255):
        seen = Image.alpha_composite(
            Image.new("RGBA", rgba.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255)), rgba
        )
        if seen.convert("RGB").getbbox() is None:  # the box around all that is not black
            raise InputError(
                "all that is drawn is black, or nothing is, so that nothing is seen where "
                "transparent pixels are "
                "black; save the picture without transparency, on a background of another colour"
            )
    return seen.convert("RGB").getchannel("R") if grey else seen.convert("RGB")
