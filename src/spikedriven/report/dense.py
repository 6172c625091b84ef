"""Quality of networks that do not classify whole images, in one form for the page: figures, a table, pictures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from spikedriven.models.segmentation import Segmenter
from spikedriven.report.drawing import Colour, draw_labels, legend_of
from spikedriven.report.images import picture
from spikedriven.report.predictions import predict_labels, unmarked
from spikedriven.report.subject import Subject, open_loader
from spikedriven.tasks.segmentation import measure_overlap
from spikedriven.training.amp import autocast
from spikedriven.training.distributed import World

CPU = World(0, 1, torch.device("cpu"))


@dataclass(frozen=True)
class Drawn:
    """One image of the split: pictures with their titles (uint8 [H, W, 3]), and what the colours mean."""

    name: str
    panels: list[tuple[str, np.ndarray]]
    legend: list[tuple[str, Colour]] = field(default_factory=list)


@dataclass(frozen=True)
class Dense:
    """headline: the one figure, with its name. text: what was measured on what. header, rows: the table per class;
    bars: columns whose figures are per cent, drawn as bars. images: with predictions drawn on them."""

    headline: tuple[str, str]
    text: str
    caption: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    bars: tuple[int, ...]
    images: tuple[Drawn, ...]


def is_dense(model: Any) -> bool:
    """Whether a network's quality is measured here rather than as accuracy."""
    return any(isinstance(model, kind) for kind in DENSE)


def measure_dense(subject: Subject, progress: Callable[[Any, str], Any]) -> Dense | None:
    """None for classifiers, random weights, and where there are no labelled images."""
    if subject.data is None or not subject.trained:
        return None
    measures = [measure for kind, measure in DENSE.items() if isinstance(subject.model, kind)]
    return measures[0](subject, progress) if measures else None


def _segmentation(subject: Subject, progress: Callable[[Any, str], Any]) -> Dense:
    loader = open_loader(subject, subject.request.accuracy_images)
    classes, size = tuple(loader.dataset.classes), len(loader.dataset)
    amp = "none" if subject.recipe is None else subject.recipe.run.amp
    with torch.inference_mode(), autocast(amp, CPU.device):
        found = measure_overlap(subject.model, progress(loader, "intersection over union"), len(classes), CPU)
    iou, recall = found.iou().tolist(), found.recall().tolist()
    pixels = found.confusion.sum(1).tolist()
    rows = [(name, f"{pixels[i]:,}", _percent(iou[i]), _percent(recall[i])) for i, name in enumerate(classes)]
    of = "all" if found.images == size else f"{found.images} evenly spaced of"
    return Dense(
        headline=("mIoU", f"{found.miou:.2f} %"),
        text=f"Mean intersection over union {found.miou:.2f} %, pixel accuracy {found.pixel_accuracy:.2f} %, cross "
        f"entropy {found.loss:.4f} per pixel, on {of} {size} images of split {subject.request.split} of "
        f"{subject.data.dataset}, whole images.",
        caption="Intersection over union per class",
        header=("class", "pixels", "IoU", "recall"),
        rows=rows,
        bars=(2, 3),
        images=tuple(_drawn_labels(subject, loader.dataset, classes)),
    )


def _percent(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"


def _drawn_labels(subject: Subject, samples: Any, classes: tuple[str, ...]) -> list[Drawn]:
    """Evenly spaced images of the split, with their labels and with what the network says."""
    count = min(subject.request.samples, len(samples))
    skip, drawn = unmarked(classes), []
    for position in range(count):
        index = position * len(samples) // count
        image, truth = samples.dataset[index]
        labels = predict_labels(subject.model, subject.data, image)
        pixels = picture(image.float() / 255)
        panels = [
            ("picture", pixels),
            ("labels", draw_labels(pixels, truth.numpy(), skip)),
            ("prediction", draw_labels(pixels, labels.numpy(), skip)),
        ]
        both = np.concatenate([truth.numpy().ravel(), labels.numpy().ravel()])
        drawn.append(Drawn(samples.dataset.where(index), panels, legend_of(both, classes, skip)))
    return drawn


#: Kind of network -> how it is measured.
DENSE: dict[type, Callable[[Subject, Callable[[Any, str], Any]], Dense]] = {Segmenter: _segmentation}
