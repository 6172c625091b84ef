"""Semantic segmentation: images with a class for every pixel."""

from spikedriven.data.segmentation.config import SegmentationDataConfig

__all__ = ["SegmentationDataConfig"]
