"""Semantic segmentation: images with a class for every pixel."""

from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.registry import SEGMENTATION_SETS, find_segmentation_set

__all__ = ["SEGMENTATION_SETS", "SegmentationDataConfig", "find_segmentation_set"]
