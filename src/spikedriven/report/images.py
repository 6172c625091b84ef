"""Pictures: network input back to pixels, firing maps over them, PNG bytes and data URIs."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from spikedriven.data.config import DataConfig
from spikedriven.data.events.npz import BAD_HEADER
from spikedriven.data.images import UNREADABLE, decode
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.transforms import EvalTransform
from spikedriven.data.transforms import eval_transform, normalize
from spikedriven.errors import DataError, InputError
from spikedriven.report.html import Html, tag

# dark: silent; bright: the highest rate; even steps look even, also without colour vision
COLOURS = "inferno"
#: Share of the map's colour in an overlay.
OPACITY = 0.65
#: Longest side of a picture in the page, pixels.
LARGEST = 112


def read_image(path: Path, data: Any) -> Tensor:
    """An image file as the network sees it in evaluation: [1, C, H, W]. data: of a classifier
    or a segmenter.
    """
    if isinstance(data, SegmentationDataConfig):
        return EvalTransform(data).image(pil_to_tensor(read_picture(path)))[None]
    return network_input(_decoded(path), data)


def network_input(image: Image.Image, data: DataConfig) -> Tensor:
    """An image as a classifier sees it in evaluation: [1, C, H, W]."""
    pixels = eval_transform(data)(image)
    return normalize(
        torch.from_numpy(np.array(pixels)).reshape(1, data.in_chans, *pixels.shape[-2:]), data
    )


def read_picture(path: Path) -> Image.Image:
    """An RGB image in its own size; DataError naming the file."""
    return _decoded(path, "RGB")


def _decoded(path: Path, mode: str | None = None) -> Image.Image:
    try:
        return decode(path, mode)
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error


def read_frames(path: Path, in_chans: int) -> Tensor:
    """Event frames saved by ``numpy.save``, [T, C, H, W], as a batch of one."""
    if path.suffix != ".npy":
        raise InputError(
            f"this network reads event frames of {in_chans} channels, not a picture: give a .npy "
            "file with an array "
            f"[T, {in_chans}, H, W], found {path.name}"
        )
    try:
        frames = np.lib.format.open_memmap(
            path, mode="r"
        )  # nothing is read before its size has been checked
    except BAD_HEADER as error:
        raise DataError(f"{path} cannot be read as a .npy array: {error}") from error
    if (
        frames.ndim != 4
        or frames.shape[1] != in_chans
        or not np.issubdtype(frames.dtype, np.number)
    ):
        raise InputError(
            f"{path}: expected numbers [T, {in_chans}, H, W], found {frames.dtype} "
            f"{list(frames.shape)}"
        )
    return torch.from_numpy(frames.astype(np.float32))[None]


def picture(sample: Tensor, mean: Sequence[float] = (), std: Sequence[float] = ()) -> np.ndarray:
    """uint8 [H, W, 3] of one network input: [C, H, W] with its normalisation undone, or event
    frames [T, C, H, W] summed over time (channel 0 red, the last one blue, brightest where most
    events are).
    """
    if sample.ndim == 4:
        return _events(sample.sum(0))
    scale, shift = (torch.tensor(v or d).view(-1, 1, 1) for v, d in ((std, (1.0,)), (mean, (0.0,))))
    pixels = ((sample.cpu().float() * scale + shift) * 255).round().clamp(0, 255).byte()
    return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


def _events(counts: Tensor) -> np.ndarray:
    counts = counts.cpu().float()
    channels = torch.stack([counts[0], counts.mean(0), counts[-1]])
    return (
        (channels / channels.max().clamp(min=1e-9) * 255)
        .byte()
        .permute(1, 2, 0)
        .contiguous()
        .numpy()
    )


def overlay(image: np.ndarray, rates: Tensor, largest: float) -> np.ndarray:
    """uint8 [H, W, 3]: the map's colours (its positions as squares, 0 to `largest`) over the
    image in grey.
    """
    height, width = image.shape[:2]
    share = (rates / largest if largest > 0 else rates).clamp(0, 1)
    colours = matplotlib.colormaps[COLOURS](share.numpy())[..., :3]
    squares = Image.fromarray((colours * 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.NEAREST
    )
    grey = Image.fromarray(image).convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, squares, OPACITY))


def png(image: np.ndarray, largest: int = LARGEST) -> bytes:
    """uint8 [H, W, 3] as PNG, made smaller where one of its sides is longer than `largest`."""
    pil = Image.fromarray(image)
    pil.thumbnail((largest, largest))
    buffer = io.BytesIO()
    pil.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def img(image: np.ndarray, alt: str, side: int, largest: int = LARGEST) -> Html:
    """An ``<img>`` with its pixels inside (at most `largest` along a side), `side` CSS pixels
    wide.
    """
    height = round(side * image.shape[0] / image.shape[1])
    return tag("img", src=data_uri(image, largest), alt=alt, width=side, height=height)


def data_uri(image: np.ndarray, largest: int = LARGEST) -> str:
    """The PNG of `png` as the address of an ``<img>``."""
    return "data:image/png;base64," + base64.b64encode(png(image, largest)).decode()


def wide_picture(png: bytes, alt: str, label: str, width: int) -> Html:
    """A figure of `width` CSS pixels; narrow screens scroll it. label: of the scrolled part."""
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    picture = tag("img", src=source, alt=alt, width=width, class_="wide")
    return tag("div", picture, class_="scroll", role="group", aria_label=label, tabindex=0)
