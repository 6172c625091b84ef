"""Quality of networks that do not classify whole images, in one form for the page: figures, a
table, pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from spikedriven.data import build_eval_loader
from spikedriven.data.record import check_classes
from spikedriven.models.detection import Detector, predict
from spikedriven.models.names import class_names, has_several_labels
from spikedriven.models.segmentation import Segmenter
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.recipes.types import RunConfig
from spikedriven.report.drawing import Colour, draw_labels, draw_objects, legend_of
from spikedriven.report.images import picture
from spikedriven.report.masked import LEGEND, PERMUTED, reconstruct
from spikedriven.report.predictions import predict_labels, unmarked
from spikedriven.report.subject import Request, Subject, open_loader
from spikedriven.runs.distributed import World
from spikedriven.tasks.detection import measure_map
from spikedriven.tasks.pretraining import MaskedError, masked_errors, with_masks
from spikedriven.tasks.segmentation import inference_of, measure_overlap
from spikedriven.tasks.tags import measure_tags
from spikedriven.training.amp import autocast

CPU = World(0, 1, torch.device("cpu"))


@dataclass(frozen=True)
class Drawn:
    """One image of the split: pictures with their titles (uint8 [H, W, 3]), and what the
    colours mean.
    """

    name: str
    panels: list[tuple[str, np.ndarray]]
    legend: list[tuple[str, Colour]] = field(default_factory=list)


@dataclass(frozen=True)
class Dense:
    """headline: the one figure, with its name. text: what was measured on what. header, rows: the
    table per class; bars: columns whose figures are per cent, drawn as bars. images: with
    predictions drawn on them; legend: what these show. titles: of the two sections.
    """

    headline: tuple[str, str]
    text: str
    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    bars: tuple[int, ...]
    images: tuple[Drawn, ...]
    legend: str = "Background is not coloured."
    titles: tuple[str, str] = ("Accuracy", "Predictions")


def is_dense(model: Any) -> bool:
    """Whether a network's quality is measured here rather than as accuracy."""
    return has_several_labels(model) or any(isinstance(model, kind) for kind in DENSE)


def measure_dense(subject: Subject[Request], progress: Callable[[Any, str], Any]) -> Dense | None:
    """None for classifiers, random weights, and where there are no labelled images."""
    if subject.data is None or not subject.trained:
        return None
    if has_several_labels(subject.model):
        return _tags(subject, progress)
    measures = [measure for kind, measure in DENSE.items() if isinstance(subject.model, kind)]
    return measures[0](subject, progress) if measures else None


def _tags(subject: Subject[Request], progress: Callable[[Any, str], Any]) -> Dense:
    loader = open_loader(subject, subject.request.accuracy_images)
    classes, size = tuple(loader.dataset.classes), len(loader.dataset)
    amp = "none" if subject.recipe is None else subject.recipe.run.amp
    with torch.inference_mode(), autocast(amp, CPU.device):
        batches = progress(loader, "average precision")
        found = measure_tags(subject.model, batches, len(classes), CPU)
    figures, pictures = found.figures(), found.labels.sum(0).tolist()
    precision, f1 = found.precision().tolist(), found.f1().tolist()
    of = "all" if found.count == size else f"{found.count} evenly spaced of"
    return Dense(
        headline=("mAP", f"{figures['map']:.2f} %"),
        text=f"Mean average precision {figures['map']:.2f} %, F1 {figures['f1']:.2f} %, binary "
        "cross "
        f"entropy {figures['loss']:.4f}, on {of} {size} pictures with several labels of split "
        f"{subject.request.split} of {subject.data.dataset}.",
        caption="Average precision and F1 per class",
        header=("class", "pictures", "average precision", "F1"),
        rows=[
            (name, str(pictures[i]), _percent(precision[i]), _percent(f1[i]))
            for i, name in enumerate(classes)
        ],
        bars=(2, 3),
        images=(),
    )


def _segmentation(subject: Subject[Request], progress: Callable[[Any, str], Any]) -> Dense:
    loader = open_loader(subject, subject.request.accuracy_images, as_evaluated=True)
    classes, size = tuple(loader.dataset.classes), len(loader.dataset)
    amp = "none" if subject.recipe is None else subject.recipe.run.amp
    with torch.inference_mode(), autocast(amp, CPU.device):
        batches = progress(loader, "intersection over union")
        found = measure_overlap(
            subject.model, batches, len(classes), CPU, inference_of(subject.data)
        )
    iou, recall = found.iou().tolist(), found.recall().tolist()
    pixels = found.confusion.sum(1).tolist()
    rows = [
        (name, f"{pixels[i]:,}", _percent(iou[i]), _percent(recall[i]))
        for i, name in enumerate(classes)
    ]
    of = "all" if found.images == size else f"{found.images} evenly spaced of"
    return Dense(
        headline=("mIoU", f"{found.miou:.2f} %"),
        text=f"Mean intersection over union {found.miou:.2f} %, pixel accuracy "
        f"{found.pixel_accuracy:.2f} %, cross "
        f"entropy {found.loss:.4f} per pixel, on {of} {size} images of split "
        f"{subject.request.split} of "
        f"{subject.data.dataset}, {_seen(subject.data)}.",
        caption="Intersection over union per class",
        header=("class", "pixels", "IoU", "recall"),
        rows=rows,
        bars=(2, 3),
        images=tuple(_drawn_labels(subject, loader.dataset, classes)),
    )


def _seen(data: Any) -> str:
    """How the images were looked at."""
    said = (
        "whole images"
        if data.slide is None
        else f"windows of {data.slide[0]} with stride {data.slide[1]}"
    )
    if data.test_scales != (1.0,):
        said += f", in sizes {', '.join(f'{scale:g}' for scale in data.test_scales)}"
    return said + (", mirrored too" if data.test_flip else "")


def _percent(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"


def _drawn_labels(subject: Subject[Request], samples: Any, classes: tuple[str, ...]) -> list[Drawn]:
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


def _detection(subject: Subject[Request], progress: Callable[[Any, str], Any]) -> Dense:
    request, data = subject.request, subject.data
    samples: Any = build_eval_loader(data, request.split, batch_size=1, as_evaluated=True).dataset
    check_classes(class_names(subject.model), tuple(samples.classes), data.dataset)
    size, most = len(samples), request.accuracy_images
    every = -(-size // most) if most else 1
    loader = build_eval_loader(
        data,
        request.split,
        batch_size=request.batch_size,
        world_size=every,
        as_evaluated=True,
    )
    with torch.inference_mode():
        found = measure_map(
            subject.model, progress(loader, "average precision"), CPU, per_class=True
        )
    columns = [found[f"{kind}_map_per_class"] for kind in ("box", "segm") if f"{kind}_map" in found]
    by_label = dict(zip(found["classes"], zip(*columns, strict=True), strict=True))
    rows = [
        (name, *map(_share, by_label[i]))
        for i, name in enumerate(samples.classes, start=1)
        if i in by_label
    ]
    figures = ", ".join(f"{title} {found[key]:.3f}" for key, title in MAP_FIGURES if key in found)
    count = len(range(0, size, every))
    of = "all" if count == size else f"{count} evenly spaced of"
    return Dense(
        headline=("box mAP at IoU 0.5", f"{found['box_map50']:.3f}"),
        text=f"Average precision as COCO measures it: {figures}; on {of} {size} images of split "
        f"{request.split} of "
        f"{data.dataset}.",
        caption="Average precision per class, mean over IoU 0.5 to 0.95, per cent",
        header=("class", "boxes", "masks")[: 1 + len(columns)],
        rows=rows,
        bars=(1, 2)[: len(columns)],
        images=tuple(_drawn_objects(subject, samples)),
    )


#: Keys of `measure_map`, and what the page calls them.
MAP_FIGURES = (
    ("box_map", "boxes, IoU 0.5 to 0.95:"),
    ("box_map50", "at 0.5:"),
    ("segm_map", "masks, IoU 0.5 to 0.95:"),
    ("segm_map50", "at 0.5:"),
)
#: Detections below this score are not drawn.
SCORE = 0.5


def _share(value: float) -> str:
    """Per cent; torchmetrics' -1 stands for a class without objects."""
    return "–" if value < 0 else f"{100 * value:.1f}"


def _masks(truth: dict[str, torch.Tensor]) -> torch.Tensor | None:
    return truth["masks"].bool() if "masks" in truth else None


def _drawn_objects(subject: Subject[Request], samples: Any) -> list[Drawn]:
    """Evenly spaced images of the split, with their objects and with what the network found."""
    count = min(subject.request.samples, len(samples))
    drawn = []
    for index in (position * len(samples) // count for position in range(count)):
        image, truth = samples[index]
        found = predict(subject.model, image)
        kept = found["scores"] >= SCORE
        found = {name: value[kept] for name, value in found.items()}
        pixels = picture(image)
        texts = [
            f"{samples.classes[i - 1]} {s:.0%}"
            for i, s in zip(found["labels"], found["scores"], strict=True)
        ]
        labels = [samples.classes[i - 1] for i in truth["labels"]]
        panels = [
            (
                "labels",
                draw_objects(
                    pixels, truth["boxes"], truth["labels"].tolist(), labels, _masks(truth)
                ),
            ),
            (
                f"score {SCORE:g} or more",
                draw_objects(
                    pixels, found["boxes"], found["labels"].tolist(), texts, found.get("masks")
                ),
            ),
        ]
        drawn.append(Drawn(samples.dataset.where(index), panels))
    return drawn


def _masked(subject: Subject[Request], progress: Callable[[Any, str], Any]) -> Dense:
    run = RunConfig() if subject.recipe is None else subject.recipe.run
    loader, seed = open_loader(subject, subject.request.accuracy_images), run.seed
    every, size = loader.sampler.step, len(loader.dataset)
    batches = with_masks(subject.model, progress(loader, "masked loss"), seed, step=every)
    with torch.inference_mode(), autocast(run.amp, CPU.device):
        rows = torch.cat([masked_errors(subject.model, *batch) for batch in batches])
    found = MaskedError.of(rows, CPU)
    of = "all" if found.images == size else f"{found.images} evenly spaced of"
    return Dense(
        headline=("explained variance", f"{found.explained:.2f} %"),
        text=f"Masked loss {found.loss:.4f}, explained variance {found.explained:.2f} % of the "
        f"{found.hidden} hidden "
        f"patches of {of} {size} images of split {subject.request.split} of "
        f"{subject.data.dataset}, with one fixed "
        f"mask for each image (seed {seed}). The loss is the mean squared error of normalised "
        "pixels. 0 % is what "
        "predicting each patch's mean explains.",
        caption="Explained variance from image to image",
        header=("image", "explained variance", "masked loss"),
        rows=_spread(rows),
        bars=(1,),
        images=tuple(_drawn_patches(subject, loader.dataset, seed)),
        legend=f"{LEGEND}{f' {PERMUTED}' if subject.model.decoder.permute_tokens else ''}",
        titles=("Explained variance", "Reconstructions"),
    )


#: Which images of all, from the worst to the best explained, stand in the table.
SPREAD = (
    ("worst", 0.0),
    ("lowest tenth", 0.1),
    ("median", 0.5),
    ("highest tenth", 0.9),
    ("best", 1.0),
)


def _spread(rows: torch.Tensor) -> list[tuple[str, ...]]:
    """rows: of `masked_errors`. Images whose hidden patches are plain areas have nothing to
    explain: left out.
    """
    rows = rows[rows[:, 1] > 0]
    explained = 100 * (1 - rows[:, 0] / rows[:, 1])
    order = explained.argsort().tolist()
    chosen = (
        [(name, order[round(place * (len(order) - 1))]) for name, place in SPREAD] if order else []
    )
    return [(name, f"{explained[i]:.1f}", f"{rows[i, 0] / rows[i, 2]:.4f}") for name, i in chosen]


def _drawn_patches(subject: Subject[Request], samples: Any, seed: int) -> list[Drawn]:
    """Evenly spaced images of the split: what was hidden, and what the network predicts there."""
    count = min(subject.request.samples, len(samples))
    drawn = []
    for index in (position * len(samples) // count for position in range(count)):
        image, _ = samples.collate([samples[index]])
        found = reconstruct(subject.model, image, subject.data, seed, index)
        figures = (
            f"masked loss {found.error.loss:.3f}, explained variance {found.error.explained:.1f} %"
        )
        drawn.append(Drawn(f"image {index}: {figures}", found.panels))
    return drawn


#: Kind of network -> how it is measured.
DENSE: dict[type, Callable[[Subject[Request], Callable[[Any, str], Any]], Dense]] = {
    Segmenter: _segmentation,
    Detector: _detection,
    SpikeMAE: _masked,
}
