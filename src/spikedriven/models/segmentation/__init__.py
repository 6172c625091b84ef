"""Segmenters: a spiking semantic FPN, or an FCN head, on any backbone of this package."""

from spikedriven.models.segmentation.build import SEGMENTERS, create_segmenter
from spikedriven.models.segmentation.fcn import FCNHead
from spikedriven.models.segmentation.options import FCNOptions, SegmenterOptions, SemanticFPNOptions
from spikedriven.models.segmentation.semantic_fpn import Segmenter, SemanticFPNHead

__all__ = [
    "SEGMENTERS",
    "FCNHead",
    "FCNOptions",
    "Segmenter",
    "SegmenterOptions",
    "SemanticFPNHead",
    "SemanticFPNOptions",
    "create_segmenter",
]
