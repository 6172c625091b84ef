"""One door to every network: classifiers, detectors and segmenters by NAME or NAME.TAG."""

from typing import Any

from torch import nn

from spikedriven.models.detection.build import DETECTORS, create_detector
from spikedriven.models.registry import create_model, variant_of
from spikedriven.models.segmentation.build import SEGMENTERS, create_segmenter
from spikedriven.models.tags import find_file


def create_network(name: str, **keywords: Any) -> nn.Module:
    """`create_detector`, `create_segmenter` or `create_model`, by what NAME or NAME.TAG is."""
    base = name.partition(".")[0]
    if base in DETECTORS:
        return create_detector(name, **keywords)
    if base in SEGMENTERS:
        return create_segmenter(name, **keywords)
    return create_model(name, **keywords)


def is_dense(name: str) -> bool:
    """Whether NAME or NAME.TAG is a detector or a segmenter."""
    return name.partition(".")[0] in DETECTORS | SEGMENTERS.keys()


def check_name(name: str) -> None:
    """InputError, with close ones, for a name or a tag that is not known."""
    if not is_dense(name):
        variant_of(name)
    elif "." in name:
        find_file(name)
