"""Images with boxes and masks: COCO 2017 and fashion-scenes."""

from spikedriven.data.detection.config import DETECTION_SETS, DetectionDataConfig
from spikedriven.data.detection.loaders import (
    build_detection_eval_loader,
    build_detection_train_loader,
    create_detection_dataset,
    fitted_images_loader,
)

__all__ = [
    "DETECTION_SETS",
    "DetectionDataConfig",
    "build_detection_eval_loader",
    "build_detection_train_loader",
    "create_detection_dataset",
    "fitted_images_loader",
]
