"""What a network says about one picture, of whichever task it is: figures for a program and
panels for a person.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikedriven.data import create_dataset
from spikedriven.data.segmentation.sets import IGNORE
from spikedriven.data.segmentation.transforms import EvalTransform
from spikedriven.errors import InputError, SpikedrivenError
from spikedriven.models import names
from spikedriven.models.detection import Detector
from spikedriven.models.detection import predict as detect
from spikedriven.models.segmentation import Segmenter
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.report.drawing import Colour, draw_labels, draw_objects, enlarged, legend_of
from spikedriven.report.images import picture, read_image, read_picture
from spikedriven.report.masked import reconstruct
from spikedriven.tasks.segmentation import inference_of

BACKGROUND = "background"


@dataclass(frozen=True)
class Prediction:
    """record: plain values for JSON. panels: (title, uint8 [H, W, 3]). legend: (class, colour).
    labels: uint8 [H, W] of a segmenter, class by pixel.
    """

    record: dict[str, Any]
    panels: list[tuple[str, np.ndarray]]
    legend: list[tuple[str, Colour]] = field(default_factory=list)
    labels: np.ndarray | None = None


def predict_picture(
    model: Any, data: Any, path: Path, classes: Sequence[str], score: float = 0.5, top: int = 5
) -> Prediction:
    """Run a classifier, detector, segmenter or masked autoencoder, in evaluation mode, on an image
    file.

    data: the run's data configuration. classes: see `class_names`. score: detections below it are
    left out; top: how many classes a classifier names. DataError for a file that is no image.
    """
    if isinstance(model, SpikeMAE):
        return _hidden_patches(model, data, path)
    if isinstance(model, Detector):
        return _objects(model, read_picture(path), classes, score)
    if isinstance(model, Segmenter):
        return _labels(model, data, read_picture(path), classes)
    if getattr(model, "input_layout", "image") == "events":
        raise InputError("this network reads event frames, not pictures; see `spikedriven stream`")
    return _class(model, data, path, classes, top)


def class_names(model: Any, data: Any) -> list[str]:
    """Names of a network's classes, by label: those that it was trained with; where nobody has kept
    them, those of the data set, and numbers where that is not on this machine.

    Of a detector the first name, of label 0, stands for the background. data: of the run, or None.
    """
    own = list(names.class_names(model))
    if own:
        return [BACKGROUND, *own] if isinstance(model, Detector) else own
    try:
        found = [] if data is None else _names_of_set(model, data)
    except SpikedrivenError:  # names are a comfort: a network trained elsewhere still predicts
        found = []
    wanted = model.num_classes + isinstance(model, Detector)
    return (
        found
        if len(found) >= wanted
        else [*found, *(f"class {i}" for i in range(len(found), wanted))]
    )


def _names_of_set(model: Any, data: Any) -> list[str]:
    found = list(create_dataset(data, "test").classes)
    return [BACKGROUND, *found] if isinstance(model, Detector) else found


def _class(model: Any, data: Any, path: Path, classes: Sequence[str], top: int) -> Prediction:
    sample = read_image(path, data)
    with torch.inference_mode():
        output = model(sample)
    scores = (output.mean(0) if output.ndim == 3 else output)[0].float()
    shares = scores.sigmoid() if names.has_several_labels(model) else scores.softmax(0)
    best = shares.topk(min(top, len(shares)))
    rows = [
        {"class": classes[i], "index": i, "share": share}
        for i, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    title = "\n".join(f"{row['share']:6.1%} {row['class']}" for row in rows)
    seen = enlarged(picture(sample[0], *data.normalization()))
    return Prediction({"task": "classification", "top": rows}, [(title, seen)])


def _hidden_patches(model: SpikeMAE, data: Any, path: Path) -> Prediction:
    """Always the same patches are hidden, so that pictures and networks compare."""
    found = reconstruct(model, read_image(path, data), data)
    explained = found.error.explained
    titles = {
        "masked": f"masked: {found.error.hidden} of {found.patches} patches",
        "pasted": "pasted"
        if math.isnan(explained)
        else f"pasted: {explained:.1f} % of variance explained",
    }
    panels = [(titles.get(name, name), enlarged(pixels)) for name, pixels in found.panels]
    return Prediction({"task": "pretraining", **found.to_dict()}, panels)


def _objects(
    model: Detector, image: Image.Image, classes: Sequence[str], score: float
) -> Prediction:
    found = detect(model, image)
    kept = found["scores"] >= score
    found = {name: value[kept] for name, value in found.items()}
    labels = found["labels"].tolist()
    rows = [
        {"class": classes[label], "label": label, "score": points, "box": box}
        for label, points, box in zip(
            labels, found["scores"].tolist(), found["boxes"].tolist(), strict=True
        )
    ]
    texts = [f"{row['class']} {row['score']:.0%}" for row in rows]
    pixels = np.asarray(image)
    drawn = draw_objects(pixels, found["boxes"], labels, texts, found.get("masks"))
    title = f"{len(rows)} object{'s' if len(rows) != 1 else ''} of score {score:g} or more"
    return Prediction(
        {"task": "detection", "objects": rows}, [("picture", enlarged(pixels)), (title, drawn)]
    )


def _labels(model: Segmenter, data: Any, image: Image.Image, classes: Sequence[str]) -> Prediction:
    pixels = np.array(image)
    labels = (
        predict_labels(model, data, torch.from_numpy(pixels).permute(2, 0, 1))
        .numpy()
        .astype(np.uint8)
    )
    skip = unmarked(classes)
    counts = np.bincount(labels.flatten(), minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    shares = {classes[i]: float(counts[i]) / labels.size for i in order.tolist() if counts[i]}
    panels = [("picture", pixels), ("prediction", draw_labels(pixels, labels, skip))]
    record = {"task": "segmentation", "shares": shares}
    return Prediction(record, panels, legend_of(labels, classes, skip), labels)


def predict_labels(model: Segmenter, data: Any, image: Tensor) -> Tensor:
    """The class of every pixel, int64 [H, W], of a picture uint8 [3, H, W], prepared and seen
    as in evaluation.
    """
    views = [view[None] for view in EvalTransform(data).views(image)]
    with torch.inference_mode():
        scores = inference_of(data).scores(model, views, (image.shape[-2], image.shape[-1]))
    return scores.argmax(1)[0]


def unmarked(classes: Sequence[str]) -> set[int]:
    """Labels that are not coloured: the background, and pixels that do not count."""
    return {IGNORE, *(i for i, name in enumerate(classes) if name == BACKGROUND)}
