"""Predictions drawn on pictures: label maps, boxes and masks, and the PNG figure of
`spikedriven predict`.
"""

import io
import textwrap
from collections.abc import Collection, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

Colour = tuple[int, int, int]
#: Share of the class's colour where a class is drawn over the picture.
OPACITY = 0.65
#: Pictures with a shorter side are enlarged before boxes and texts are drawn on them.
READABLE = 320
#: Most entries of a legend.
LEGEND = 24
#: The next hue of an endless row that stays evenly spread.
GOLDEN = 0.618034


def class_colour(index: int) -> Colour:
    """The colour of a class: the same in every picture; the first twenty are matplotlib's tab20."""
    if index < 20:
        rgb = matplotlib.colormaps["tab20"].colors[(2 * index) % 20 + index // 10]  # type: ignore[attr-defined]
    else:
        rgb = hsv_to_rgb(
            (index * GOLDEN % 1.0, 0.9 if index % 2 else 0.6, 0.95 if index % 3 else 0.65)
        )
    r, g, b = (round(255 * float(value)) for value in rgb)
    return r, g, b


def draw_labels(image: np.ndarray, labels: np.ndarray, skip: Collection[int] = ()) -> np.ndarray:
    """A label map over a picture: uint8 [H, W, 3] and integers [H, W] -> uint8 [H, W, 3]. skip:
    labels that are not drawn (background; pixels that do not count).
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(
            f"a picture of {image.shape[:2]} and a label map of {labels.shape} do not lie on each "
            "other"
        )
    shown = [int(value) for value in np.unique(labels) if int(value) not in skip]
    if not shown:
        return image.copy()
    masks = torch.from_numpy(np.stack([labels == value for value in shown]))
    return _pixels(_coloured(_tensor(image), masks, [class_colour(value) for value in shown]))


def _coloured(image: Tensor, masks: Tensor, colours: list[Colour]) -> Tensor:
    """Masks [N, H, W] in their colours over an image [3, H, W]; other pixels stay exactly as
    they are.
    """
    drawn = draw_segmentation_masks(image, masks, alpha=OPACITY, colors=colours)  # type: ignore[arg-type]
    return torch.where(masks.any(0), drawn, image)


def draw_objects(
    image: np.ndarray,
    boxes: Tensor,
    labels: Sequence[int],
    texts: Sequence[str],
    masks: Tensor | None = None,
) -> np.ndarray:
    """Boxes [N, 4] with a text each, and masks bool [N, H, W], over a picture: uint8 [H, W, 3],
    enlarged by a whole number where it is small, so that texts can be read.
    """
    factor = enlargement(image)
    canvas = _tensor(enlarged(image))
    if len(boxes) == 0:
        return _pixels(canvas)
    colours = [class_colour(label) for label in labels]
    if masks is not None:
        large = masks.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        canvas = _coloured(canvas, large, colours)
    drawn = draw_bounding_boxes(
        canvas,
        boxes * factor,
        list(texts),
        colours,
        width=max(2, factor // 2),
        font=findfont("DejaVu Sans"),
        font_size=max(12, canvas.shape[-1] // 32),
        label_colors="black",
        label_background_colors=colours,
        fill_labels=True,
    )
    return _pixels(drawn)


def enlargement(image: np.ndarray) -> int:
    """By which whole number a picture is enlarged before drawing on it."""
    return max(1, -(-READABLE // min(image.shape[:2])))


def enlarged(image: np.ndarray) -> np.ndarray:
    """Each pixel repeated `enlargement` times along both axes."""
    factor = enlargement(image)
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def legend_of(
    labels: np.ndarray, classes: Sequence[str], skip: Collection[int] = ()
) -> list[tuple[str, Colour]]:
    """(name, colour) of the classes in a label map, those with most pixels first."""
    values, counts = np.unique(labels, return_counts=True)
    order = [
        int(values[i]) for i in np.argsort(-counts, kind="stable") if int(values[i]) not in skip
    ]
    return [(classes[value], class_colour(value)) for value in order]


def figure_png(
    panels: Sequence[tuple[str, np.ndarray]],
    legend: Sequence[tuple[str, Colour]] = (),
    title: str = "",
) -> bytes:
    """PNG of pictures (title, uint8 [H, W, 3]) side by side over a legend."""
    ratio = max(image.shape[0] / image.shape[1] for _, image in panels)
    lines, rows = textwrap.wrap(title, 44 * len(panels)), -(-min(len(legend), LEGEND) // 4)
    captions = max(name.count("\n") + 1 for name, _ in panels)
    top, below, side = 0.12 + 0.2 * (len(lines) + captions), 0.1 + 0.25 * rows, 3.6
    figure = Figure(figsize=(side * len(panels), side * min(ratio, 2.0) + top + below), dpi=100)
    FigureCanvasAgg(figure)
    height = figure.get_figheight()
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (name, image) in zip(axes, panels, strict=True):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(name, fontsize=9, loc="left", parse_math=False)
        axis.set_axis_off()
    figure.subplots_adjust(
        left=0.01, right=0.99, wspace=0.03, top=1 - top / height, bottom=below / height
    )
    figure.text(0.01, 1 - 0.05 / height, "\n".join(lines), fontsize=9, va="top", parse_math=False)
    if legend:
        _add_legend(figure, legend)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _add_legend(figure: Figure, legend: Sequence[tuple[str, Colour]]) -> None:
    patches = [
        Patch(
            color=(r / 255, g / 255, b / 255), label=textwrap.shorten(name, 22, placeholder="...")
        )
        for name, (r, g, b) in legend[:LEGEND]
    ]
    found = figure.legend(handles=patches, loc="lower center", ncols=4, fontsize=7, frameon=False)
    for text in found.get_texts():
        text.set_parse_math(False)


def png_bytes(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] or [H, W] as PNG, pixel by pixel."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _pixels(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).contiguous().numpy()
