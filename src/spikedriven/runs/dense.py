"""Detectors and segmenters by name: what their files must be told, and how their data sets are
evaluated.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spikedriven.data import DetectionDataConfig, SegmentationDataConfig, find_set
from spikedriven.errors import InputError
from spikedriven.models.dense_keywords import BODY, body_keywords
from spikedriven.models.detection import Detector
from spikedriven.models.segmentation import Segmenter
from spikedriven.models.tags import PublishedFile
from spikedriven.neurons.registry import takes_option

#: What the tensors of a detector or a segmenter do not tell: the body, the form, the neurons behind
#: the body.
OF_DENSE = ("backbone", "mode", "neuron")
#: (long side, short side) of the images where no tag says another: MMSegmentation's, of every
#: published configuration.
RESIZE = (2048, 512)


def asked_of_dense(
    own: Mapping[str, Any], of_body: Callable[[str, dict[str, Any]], tuple[str, ...]]
) -> tuple[str, ...]:  # fmt: skip
    """Keywords that whoever loads a file must be told: `OF_DENSE`, levels, and what the body's
    family asks for.

    own: keywords that are known. of_body: (name of the body, its keywords) -> what its family asks
    for.
    """
    asked = list(OF_DENSE)
    if own.get("neuron") is not None and takes_option(own["neuron"], "levels"):
        asked.append("levels")
    if "backbone" in own:
        known = body_keywords(own)
        asked += [f"{BODY}.{key}" for key in of_body(own["backbone"], known) if key not in known]
    return tuple(asked)


def dense_data(
    model: Detector | Segmenter, file: PublishedFile | None, name: str, root: Path | None
) -> DetectionDataConfig | SegmentationDataConfig:
    """How a detector or a segmenter given by name is evaluated on the data set `name`: as its tag's
    file, whole images.

    InputError for a set of another task, or of other classes.
    """
    task = "detection" if isinstance(model, Detector) else "segmentation"
    # a segmenter's file may have more outputs than its own set has classes
    more = isinstance(model, Segmenter) and file is not None and file.dataset == name
    _check_classes(model.num_classes, find_set(name, task).facts.num_classes, name, more)
    return prepared(model, file, name, root)


def prepared(
    model: Detector | Segmenter, file: PublishedFile | None, name: str, root: Path | None
) -> DetectionDataConfig | SegmentationDataConfig:
    """The sizes and statistics of `dense_data`, whatever classes the network has."""
    own: dict[str, Any] = {} if file is None else {"mean": file.mean, "std": file.std}
    own |= {"dataset": name, "root": root, "workers": 0}
    if isinstance(model, Detector):
        side, most = model.transform.min_size[0], model.transform.max_size
        return DetectionDataConfig(sizes=(side,), test_size=side, max_size=most, **own)
    return SegmentationDataConfig(resize=None if name == "fashion-scenes" else RESIZE, **own)


def _check_classes(outputs: int, classes: int | None, name: str, more: bool) -> None:
    """more: whether the network may have more outputs."""
    if classes is not None and outputs != classes and not (more and outputs > classes):
        raise InputError(
            f"the network tells {outputs} classes apart, but {name} has {classes}: evaluate it on "
            "the data set that it "
            "was trained on (--data NAME)"
        )
