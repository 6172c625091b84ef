"""Draws docs/figures/segmentation.png: test scenes of fashion-scenes, their labels, and what a run
says of them.

    python tools/draw_segmentation.py [RUN] [--out FILE] [--scenes 4]

Without RUN only the scenes and their labels are drawn.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from spikedriven.data.scenes import BACKGROUND, SCENE_CLASSES, FashionScenes
from spikedriven.files import write_whole
from spikedriven.report.drawing import draw_labels, figure_png, legend_of
from spikedriven.report.predictions import predict_labels
from spikedriven.runs.checkpoint import load_run


def column(
    run: tuple[Any, Any] | None, scenes: FashionScenes, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """One scene: picture over labels (over prediction), uint8 [H, W, 3]; and all the labels in
    it.
    """
    image, target = scenes[index]
    pixels, labels = image.permute(1, 2, 0).numpy(), [target["label_map"].numpy()]
    if run is not None:
        labels.append(predict_labels(run[0], run[1].data, image).numpy())
    parts = [pixels, *(draw_labels(pixels, one, {BACKGROUND}) for one in labels)]
    gap = np.full((4, pixels.shape[1], 3), 255, np.uint8)
    return np.concatenate([row for part in parts for row in (part, gap)][:-1]), np.concatenate(
        labels
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", help="a segmentation run")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/segmentation.png"))
    parser.add_argument("--scenes", type=int, default=4)
    options = parser.parse_args()
    run = load_run(options.run) if options.run else None
    scenes = FashionScenes("test", length=500)
    columns = [column(run, scenes, index) for index in range(options.scenes)]
    legend = legend_of(
        np.concatenate([labels for _, labels in columns]), SCENE_CLASSES, {BACKGROUND}
    )
    rows = "picture, labels" + (", prediction" if run else "")
    panels = [(f"test scene {i}", picture) for i, (picture, _) in enumerate(columns)]
    print(
        write_whole(
            options.out, figure_png(panels, legend, f"fashion-scenes, from top to bottom: {rows}")
        )
    )


if __name__ == "__main__":
    main()
