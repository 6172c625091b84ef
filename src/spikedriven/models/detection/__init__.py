"""Detectors: Mask R-CNN and RetinaNet of torchvision with a spiking backbone, pyramid and heads.

Maps between pyramid and heads have their time folded into the batch, [T * B, C, H, W], because
torchvision's code reads four axes; inside, tensors are [T, B, C, H, W] as everywhere.
"""

from spikedriven.models.detection.build import DETECTORS, create_detector
from spikedriven.models.detection.detectors import Detector, SpikeMaskRCNN, SpikeRetinaNet, predict

__all__ = ["DETECTORS", "Detector", "SpikeMaskRCNN", "SpikeRetinaNet", "create_detector", "predict"]
