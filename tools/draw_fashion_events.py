"""Draw docs/figures/fashion_events.png: clips of the SIMULATED event set fashion-events, in both
labellings.

python tools/draw_fashion_events.py
"""

from pathlib import Path
from typing import Literal

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from spikedriven.data import config_for, create_dataset
from spikedriven.data.events.fashion_events import (
    COMPASS,
    DIRECTIONS,
    DURATION_US,
    SIDE,
    FashionEvents,
)

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "fashion_events.png"
ON, OFF = np.array([0.17, 0.37, 0.62]), np.array([0.75, 0.22, 0.17])
STEPS = 8
GARMENT, MOVING = 11, (0, 5)  # a test clip; directions, of which the first test clip is drawn


def clips(labels: Literal["garment", "direction"]) -> FashionEvents:
    cfg = config_for(
        "fashion-events", labels=labels, split_by="time", time_steps=STEPS, img_size=SIDE
    )
    dataset = create_dataset(cfg, "test")
    assert isinstance(dataset, FashionEvents)
    return dataset


def draw_frame(axes: Axes, frame: np.ndarray) -> None:
    """Counts [2, H, W] on white: ON blue, OFF red."""
    off, on = (np.minimum(channel / 3, 1)[..., None] for channel in frame)
    axes.imshow(np.clip(1 - on * (1 - ON) - off * (1 - OFF), 0, 1))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#bbbbbb", linewidth=0.6)


def draw_row(row: np.ndarray, frames: np.ndarray, label: str) -> None:
    for axes, frame in zip(row, frames, strict=True):
        draw_frame(axes, frame)
    row[0].set_ylabel(label, fontsize=8)


def draw_times(axes: Axes, dataset: FashionEvents, index: int) -> None:
    """Column and time of the events of one clip, with the borders of the steps."""
    events = dataset.events(index)
    for on, color in ((True, ON), (False, OFF)):
        chosen = events.p == on
        axes.scatter(events.t[chosen] / 1000, events.x[chosen], s=0.15, color=color, linewidths=0)
    for step in range(1, STEPS):
        axes.axvline(step * DURATION_US / STEPS / 1000, color="#bbbbbb", lw=0.6)
    axes.set(xlim=(0, DURATION_US / 1000), ylim=(-0.5, SIDE - 0.5), ylabel="column")
    axes.tick_params(labelsize=7)


def draw_places(axes: Axes) -> None:
    """The eight places, numbered in one order in which a front to the right reaches them (clips
    begin anywhere).
    """
    order = np.argsort(COMPASS @ COMPASS[0], kind="stable")
    for number, place in enumerate(order, 1):
        axes.text(*COMPASS[place], str(number), ha="center", va="center", fontsize=9)
    axes.annotate("", (1.2, 1.6), (-1.2, 1.6), arrowprops={"arrowstyle": "->", "color": "#888888"})
    axes.set(xlim=(-1.8, 1.8), ylim=(2.0, -1.6), xticks=[], yticks=[], aspect="equal")
    axes.set_title(
        f"one of the orders of {DIRECTIONS[0]!r},\nbegun at any of the eight", fontsize=8
    )


def main() -> None:
    garments, moving = clips("garment"), clips("direction")
    chosen = {
        direction: int(np.flatnonzero(moving.targets == direction)[0]) for direction in MOVING
    }
    figure = plt.figure(figsize=(9, 8.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(3, 2.1))
    rows = top.subplots(4, STEPS)
    name = garments.classes[garments.targets[GARMENT]]
    draw_row(rows[0], garments.frames(GARMENT).numpy(), f"garment:\n{name}")
    for row, (direction, index) in zip(rows[1:3], chosen.items(), strict=True):
        draw_row(row, moving.frames(index).numpy(), f"direction:\n{DIRECTIONS[direction]}")
    shuffled = np.random.default_rng(0).permutation(STEPS)
    draw_row(rows[3], moving.frames(chosen[0]).numpy()[shuffled], "the same as\nrow 2, shuffled")
    top.suptitle(
        "fashion-events: SIMULATED events, frames of 37.5 ms (ON blue, OFF red, both black)",
        fontsize=10,
    )
    panels = bottom.subplot_mosaic(
        [["garment", "places"], ["direction", "places"]], width_ratios=(4, 1.3)
    )
    draw_times(panels["garment"], garments, GARMENT)
    draw_times(panels["direction"], moving, chosen[0])
    panels["garment"].set_title("events of row 1: three saccades", fontsize=8)
    panels["direction"].set_title(
        "events of row 2: eight places, pixels held in reset between them", fontsize=8
    )
    panels["direction"].set_xlabel("time, ms", fontsize=8)
    draw_places(panels["places"])
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
