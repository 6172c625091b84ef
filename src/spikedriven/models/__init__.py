"""The published families. Importing this package registers every name."""

from spikedriven.models import (
    e_spikeformer,
    e_spikeformer_large,
    meta_spikeformer,
    published,
    qkformer,
    sdt,
    spike_mae,
    spikformer,
    spikingformer,
)
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.detection import create_detector
from spikedriven.models.official import LoadReport, load_official, official_state_dict
from spikedriven.models.registry import (
    Variant,
    create_model,
    list_models,
    register_family,
    variant_of,
)
from spikedriven.models.segmentation import create_segmenter

__all__ = [
    "LoadReport",
    "SpikeDrivenModel",
    "Variant",
    "create_detector",
    "create_model",
    "create_segmenter",
    "e_spikeformer",
    "e_spikeformer_large",
    "list_models",
    "load_official",
    "meta_spikeformer",
    "official_state_dict",
    "published",
    "qkformer",
    "register_family",
    "sdt",
    "spike_mae",
    "spikformer",
    "spikingformer",
    "variant_of",
]
