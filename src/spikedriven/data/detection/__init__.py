"""Images with boxes and masks: COCO 2017 and fashion-scenes."""

from spikedriven.data.detection.config import DetectionDataConfig

__all__ = ["DetectionDataConfig"]
