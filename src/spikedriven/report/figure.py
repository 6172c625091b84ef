"""The figure of `spikedriven attention`: maps over the image, blocks in rows, time steps in
columns.
"""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from spikedriven.report.attention import FiringMap
from spikedriven.report.images import COLOURS, overlay

#: Inches of one map, of the row labels, of the colour bars, and of one line of the title.
SIDE, LABELS, BARS, LINE = 1.25, 1.6, 0.75, 0.17


def attention_figure(image: np.ndarray, maps: Sequence[FiringMap], title: str) -> bytes:
    """PNG. image: uint8 [H, W, 3], shown alone in the first column. Each row has its own scale,
    from 0 to its highest rate, so that steps of one row compare; rows do not.
    """
    steps = max(one.rates.shape[0] for one in maps)
    width = LABELS + SIDE * (max(steps, 2) + 1) + BARS
    lines = textwrap.wrap(title, round(13 * width))
    top = LINE * (len(lines) + 3)
    height = top + SIDE * len(maps)
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(maps), steps + 1, left=LABELS / width, right=(LABELS + SIDE * (steps + 1)) / width,
        top=1 - top / height, bottom=0.01, wspace=0.05, hspace=0.05,
    )  # fmt: skip
    figure.text(LINE / 2 / width, 1 - LINE / 2 / height, "\n".join(lines), fontsize=9, va="top")
    for row, one in enumerate(maps):
        axes = [figure.add_subplot(grid[row, column]) for column in range(steps + 1)]
        _draw_row(figure, axes, image, one, is_first=row == 0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_row(
    figure: Figure, axes: list, image: np.ndarray, one: FiringMap, is_first: bool
) -> None:
    largest = float(one.rates.max())
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0].imshow(image)
    label = "\n".join(textwrap.wrap(one.label.replace(".", ". "), 22)).replace(". ", ".")
    axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    for step, axis in enumerate(axes[1:]):
        if step >= len(one.rates):
            axis.set_axis_off()
            continue
        axis.imshow(overlay(image, one.rates[step], largest))
    if is_first:
        axes[0].set_title("input", fontsize=8)
        for step, axis in enumerate(axes[1 : len(one.rates) + 1]):
            axis.set_title(f"step {step + 1}", fontsize=8)
    last = axes[len(one.rates)]
    inset = last.inset_axes((1.06, 0.05, 0.08, 0.9))
    scale = ScalarMappable(Normalize(0, largest or 1), COLOURS)
    figure.colorbar(scale, cax=inset).ax.tick_params(labelsize=7)
