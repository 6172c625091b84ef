"""Segmenters: a spiking semantic FPN on any backbone of this package."""

from spikedriven.models.segmentation.build import SEGMENTERS, SegmenterOptions, create_segmenter
from spikedriven.models.segmentation.semantic_fpn import Segmenter, SemanticFPNHead

__all__ = ["SEGMENTERS", "Segmenter", "SegmenterOptions", "SemanticFPNHead", "create_segmenter"]
