"""Draws docs/figures/detection.png: test scenes of fashion-scenes with their objects, and what a
run finds in them.

python tools/draw_detection.py RUN [--out FILE] [--scenes 4] [--score 0.5]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from spikedriven.data.scenes import SCENE_CLASSES, FashionScenes
from spikedriven.files import write_whole
from spikedriven.models.detection import predict
from spikedriven.report.drawing import draw_objects, figure_png
from spikedriven.runs.checkpoint import load_run


def column(model: Any, scenes: FashionScenes, index: int, score: float) -> np.ndarray:
    """One scene: objects over detections, uint8 [H, W, 3]."""
    image, target = scenes[index]
    pixels = image.permute(1, 2, 0).numpy()
    names = [SCENE_CLASSES[label] for label in target["labels"]]
    truth = draw_objects(pixels, target["boxes"], target["labels"].tolist(), names, target["masks"])
    found = predict(model, image)
    kept = found["scores"] >= score
    found = {name: value[kept] for name, value in found.items()}
    texts = [
        f"{SCENE_CLASSES[i]} {s:.0%}" for i, s in zip(found["labels"], found["scores"], strict=True)
    ]
    drawn = draw_objects(
        pixels, found["boxes"], found["labels"].tolist(), texts, found.get("masks")
    )
    return np.concatenate([truth, np.full((8, truth.shape[1], 3), 255, np.uint8), drawn])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a detection run on fashion-scenes")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/detection.png"))
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--score", type=float, default=0.5)
    options = parser.parse_args()
    model, _ = load_run(options.run)
    scenes = FashionScenes("test", length=500)
    panels = [
        (f"test scene {i}", column(model, scenes, i, options.score)) for i in range(options.scenes)
    ]
    title = (
        f"fashion-scenes, from top to bottom: objects, detections of score {options.score:g} or "
        "more"
    )
    print(write_whole(options.out, figure_png(panels, (), title)))


if __name__ == "__main__":
    main()
