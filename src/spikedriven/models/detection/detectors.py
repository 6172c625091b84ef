"""The detectors: torchvision's control flow and box arithmetic around spiking parts.

``model(images, targets)`` with lists of images [3, H, W] in 0..1 and torchvision's target
dictionaries gives the losses in training and detections in evaluation. What the spike graph sees is
`dense`: everything that has weights.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, RetinaNet
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import roi_align
from torchvision.transforms.v2 import functional as transforms

from spikedriven.errors import InputError
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.detection.cascade import CascadeRoIHeads
from spikedriven.models.detection.compiled import Make, compiled_detector
from spikedriven.models.detection.names import DetectorNames
from spikedriven.models.detection.parts import freeze_norms
from spikedriven.pictures import as_picture


class Detector(nn.Module):
    """What all detectors have in common.

    num_classes: of objects; labels are 1..num_classes. img_size: height and width of
    `example_input`. graph_rois: RoIs per image on which the graph shows the heads behind the
    proposals.
    """

    #: What `spikedriven.graph.trace` traces: box arithmetic has no weights and a data-dependent
    #: number of results.
    graph_method = "dense"
    input_layout = "image"
    backbone: Any
    transform: Any

    def describe(
        self,
        num_classes: int,
        img_size: tuple[int, int],
        frozen_norms: bool,
        graph_rois: int,
        released: bool,
    ) -> None:
        self.num_classes, self.img_size, self.frozen_norms = num_classes, img_size, frozen_norms
        self.graph_rois, self.released = graph_rois, released
        if frozen_norms:
            freeze_norms(self.encoder)

    @property
    def encoder(self) -> SpikeDrivenModel:
        """The classification network without its head: what starting weights of a classifier
        are loaded into.
        """
        return self.backbone.body

    @property
    def in_chans(self) -> int:
        return self.encoder.in_chans

    @property
    def time_steps(self) -> int:
        return self.encoder.time_steps

    def train(self, mode: bool = True) -> "Detector":
        """Frozen norms of the body stay in evaluation mode."""
        super().train(mode)
        if mode and getattr(self, "frozen_norms", False):
            freeze_norms(self.encoder)
        return self

    def example_input(self, batch_size: int = 1) -> Tensor:
        """Zeros [B, C, H, W] as `dense` takes them."""
        return next(self.parameters()).new_zeros(batch_size, self.in_chans, *self.img_size)

    def official_names(self) -> DetectorNames:
        """MMDetection's key names; of use for the released mode only."""
        return DetectorNames.of(self.encoder.official_names(), len(self.backbone.neck.fpn_convs))

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        return {f"backbone.body.{name}" for name in self.encoder.no_weight_decay()}

    def dense(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """As torchvision's. InputError for labels that are none of 1..num_classes: torchvision
        would take 0 for the background, and end in an IndexError above.
        """
        if targets is not None:
            check_labels(targets, self.num_classes)
        return super().forward(images, targets)

    def compiled(self, make: Make) -> nn.Module:
        """A copy that computes its layers with programs; see `spikedriven.compile`."""
        return compiled_detector(self, make)


class SpikeMaskRCNN(Detector, MaskRCNN):
    """Mask R-CNN; built by `create_detector`."""

    rpn: Any
    roi_heads: Any

    def dense(self, images: Tensor) -> Tensor:
        """Everything with weights, on normalised images [B, C, H, W]: flat outputs [B, N].

        In order: objectness and box deltas of each level, then class logits, box deltas and mask
        logits of ``graph_rois`` RoIs that lie on a fixed lattice.
        """
        maps = self.backbone(images)
        objectness, deltas = self.rpn.head(list(maps.values()))
        outputs = [
            output for roi in self._heads() for output in self._on_lattice(roi, maps, images)
        ]
        per_image = [o.flatten(1).unflatten(0, (images.shape[0], -1)).flatten(1) for o in outputs]
        return torch.cat([*(m.flatten(1) for m in (*objectness, *deltas)), *per_image], dim=1)

    def _heads(self) -> list[Any]:
        return [self.roi_heads]

    def _on_lattice(self, roi: Any, maps: dict[str, Tensor], images: Tensor) -> list[Tensor]:
        """Class logits, box deltas and mask logits of the lattice's RoIs."""
        features = roi.box_head(self._lattice(maps, roi.box_roi_pool, images))
        masks = roi.mask_head(self._lattice(maps, roi.mask_roi_pool, images))
        return [*roi.box_predictor(features), roi.mask_predictor(masks)]

    def _lattice(self, maps: dict[str, Tensor], pool: Any, images: Tensor) -> Tensor:
        """RoI features [T * B * R, C, S, S] of a lattice of boxes, equally many on each level."""
        height, width = images.shape[-2:]
        per_level = math.ceil(self.graph_rois / len(pool.strides))
        parts = []
        for level, (name, stride) in enumerate(zip(pool.featmap_names, pool.strides, strict=True)):
            map_ = maps[name]
            boxes = lattice(per_level, pool.finest * 2**level, height, width)
            count = map_.shape[0]
            numbers = torch.arange(count, device=map_.device, dtype=map_.dtype)
            rois = torch.cat(
                [numbers.repeat_interleave(per_level)[:, None], boxes.to(map_).repeat(count, 1)],
                dim=1,
            )
            found = roi_align(
                map_, rois, pool.output_size, 1.0 / stride, pool.sampling_ratio, aligned=True
            )
            parts.append(found.unflatten(0, (count, per_level)))
        return torch.cat(parts, dim=1).flatten(0, 1)


class SpikeCascadeMaskRCNN(SpikeMaskRCNN):
    """Cascade Mask R-CNN; built by `create_detector`. `dense` shows the heads of all stages, each
    on the lattice.

    later: the stages behind the first, which is what the keywords describe.
    """

    def __init__(self, backbone: nn.Module, later: Sequence[RoIHeads], **keywords: Any) -> None:
        super().__init__(backbone, **keywords)
        self.roi_heads = CascadeRoIHeads([self.roi_heads, *later])

    def _heads(self) -> list[Any]:
        return list(self.roi_heads.stages)


def roi_heads(keywords: dict[str, Any]) -> RoIHeads:
    """torchvision's box and mask head from the keywords that its MaskRCNN takes, with that
    class's own defaults.
    """
    short = {
        name.removeprefix("box_") if name in _LONGER else name: value
        for name, value in keywords.items()
    }
    return RoIHeads(positive_fraction=0.25, nms_thresh=0.5, **short)


#: Keywords that MaskRCNN writes with "box_" in front, and RoIHeads without.
_LONGER = ("box_fg_iou_thresh", "box_bg_iou_thresh", "box_score_thresh", "box_detections_per_img",
           "box_batch_size_per_image")  # fmt: skip


class SpikeRetinaNet(Detector, RetinaNet):
    """RetinaNet; built by `create_detector`. Its outputs have no masks."""

    head: Any

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """As torchvision's, with labels 1..K: its own counts them from 0."""
        if targets is not None:
            check_labels(targets, self.num_classes)
            targets = [{**target, "labels": target["labels"] - 1} for target in targets]
        result = RetinaNet.forward(self, images, targets)
        if self.training:
            return result
        return [{**found, "labels": found["labels"] + 1} for found in result]

    def dense(self, images: Tensor) -> Tensor:
        """Everything with weights, on normalised images [B, C, H, W]: class logits and box
        deltas, flat [B, N].
        """
        found = self.head(list(self.backbone(images).values()))
        return torch.cat([value.flatten(1) for value in found.values()], dim=1)


def check_labels(targets: Sequence[dict[str, Tensor]], num_classes: int) -> None:
    """InputError unless all labels are whole numbers of 1..num_classes."""
    labels = torch.cat([target["labels"].reshape(-1) for target in targets])
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(
            f"labels must be whole numbers from 1 to {num_classes}, found {labels.dtype}"
        )
    if not len(labels):
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < 1 or high > num_classes:
        counted = "; are they counted from 0? Then add 1" if low == 0 and high < num_classes else ""
        raise InputError(
            f"labels must be 1..{num_classes} (0 is the background), found {low} to {high}{counted}"
        )


def lattice(count: int, side: float, height: int, width: int) -> Tensor:
    """`count` boxes [count, 4] of one side (or the whole axis, where that is shorter) spread
    over an image.
    """
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    w, h = min(side, width), min(side, height)
    corners = [
        (
            i % columns * (width - w) / max(columns - 1, 1),
            i // columns * (height - h) / max(rows - 1, 1),
        )
        for i in range(count)
    ]
    return torch.tensor([(x, y, x + w, y + h) for x, y in corners])


def predict(model: Detector, image: Tensor | Image.Image) -> dict[str, Tensor]:
    """Detections on one image, in its own pixels, best first.

    image: PIL, or [C, H, W] (uint8, or floating point in 0..1) with the channels of the network.
    Returns boxes float [N, 4] (x1, y1, x2, y2), labels int64 [N] (1..num_classes), scores [N], and
    from a Mask R-CNN masks bool [N, H, W].
    """
    weights = next(model.parameters())
    pixels = _as_tensor(image, model.in_chans).to(weights.device)
    if pixels.ndim != 3 or pixels.shape[0] != model.in_chans:
        raise InputError(f"expected one image [{model.in_chans}, H, W], found {list(pixels.shape)}")
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            found = model([pixels.to(weights.dtype)])[0]
    finally:
        model.train(was_training)
    if "masks" in found:
        found["masks"] = found["masks"][:, 0] >= 0.5
    return {name: value.cpu() for name, value in found.items()}


def _as_tensor(image: Tensor | Image.Image, channels: int) -> Tensor:
    """Floating point in 0..1; of a PIL image grey for one channel, else RGB."""
    if isinstance(image, Tensor):
        pixels = image
    else:
        pixels = transforms.pil_to_tensor(
            as_picture(image).convert("L" if channels == 1 else "RGB")
        )
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
