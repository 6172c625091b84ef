"""Small detectors, and what makes their neurons fire."""

from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.models.detection import Detector, create_detector

ESF = {
    "backbone": "e_spikeformer_3m",
    "backbone_args": {
        "embed_dims": (16, 16, 32, 32),
        "depths": (0, 1, 1, 1, 1),
        "num_heads": 2,
        "mlp_ratio": 2,
    },
}
META = {
    "backbone": "meta_spikeformer_15m",
    "backbone_args": {**ESF["backbone_args"], "depths": (0, 0, 1, 1, 0), "time_steps": 2},
}
SMALL = {
    **ESF,
    "num_classes": 4,
    "width": 16,
    "convs": 1,
    "min_size": 64,
    "max_size": 64,
    "graph_rois": 4,
}
HEADS = {
    "head_width": 32,
    "proposals": 20,
    "rpn_samples": 16,
    "roi_samples": 8,
    "finest": 16,
    "detections": 10,
}


def small(name: str = "mask_rcnn", **changes: Any) -> Detector:
    torch.manual_seed(0)
    heads = {} if name == "retinanet" else HEADS
    return create_detector(name, **{**SMALL, **heads, **changes}).eval()


def awake(model: Detector, images: Tensor) -> Detector:
    """The model with batch norms set to the statistics of `dense` on these images, in
    evaluation mode.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.reset_running_stats()
            module.train()
    with torch.no_grad():
        model.dense(images)
    return model.eval()


def scenes(*sizes: tuple[int, int]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Noise images with two objects each."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, *size, generator=generator) for size in sizes]
    targets = []
    for height, width in sizes:
        masks = torch.zeros(2, height, width, dtype=torch.uint8)
        masks[0, 4:30, 6:40] = 1
        masks[1, 20:50, 30:60] = 1
        boxes = torch.tensor([[6.0, 4.0, 40.0, 30.0], [30.0, 20.0, 60.0, 50.0]])
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 4]), "masks": masks})
    return images, targets
