"""Cascade R-CNN (Cai and Vasconcelos, CVPR 2018): three heads in a row, each on the boxes of the
one before it.

The rules are MMDetection 3's, with the values of SDT-V3's two Cascade Mask R-CNN configurations.
Each stage is one of torchvision's `RoIHeads`: its sampler, coder, mask loss and suppression are
used as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference, maskrcnn_loss
from torchvision.ops import clip_boxes_to_image, generalized_box_iou_loss


@dataclass(frozen=True)
class StageRule:
    """iou: from which overlap on a RoI is an object. weight: of the stage's losses. stds: of
    its box deltas.
    """

    iou: float
    weight: float
    stds: tuple[float, float, float, float]

    @property
    def box_weights(self) -> tuple[float, float, float, float]:
        """torchvision's: what deltas are multiplied by."""
        x, y, w, h = self.stds
        return 1 / x, 1 / y, 1 / w, 1 / h


STAGES = (
    StageRule(0.5, 1.0, (0.1, 0.1, 0.2, 0.2)),
    StageRule(0.6, 0.5, (0.05, 0.05, 0.1, 0.1)),
    StageRule(0.7, 0.25, (0.033, 0.033, 0.067, 0.067)),
)
#: Weight of the box loss, 1 - GIoU of the decoded boxes.
BOX_LOSS = 10.0


class CascadeRoIHeads(nn.Module):
    """Stages in a row. Training: the losses of all. Evaluation: boxes of the last stage, scored
    by all of them.
    """

    def __init__(self, stages: Sequence[RoIHeads]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """As torchvision's: (detections, {}) in evaluation, ([], losses) in training."""
        if not self.training:
            return self._detect(features, proposals, image_shapes), {}
        assert targets is not None  # GeneralizedRCNN asks for them
        return [], self._losses(features, proposals, image_shapes, targets)

    def _losses(
        self, features: dict[str, Tensor], proposals: list[Tensor], shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:  # fmt: skip
        losses: dict[str, Tensor] = {}
        for number, (stage, rule) in enumerate(zip(self._stages(), STAGES, strict=True)):
            rois, matched, labels, _ = stage.select_training_samples(list(proposals), targets)
            logits, deltas = boxes_of(stage, features, rois, shapes)
            truth = [
                _matched(t["boxes"].to(r), m)
                for t, m, r in zip(targets, matched, rois, strict=True)
            ]
            found = {
                "loss_classifier": F.cross_entropy(logits, torch.cat(labels)),
                "loss_box_reg": giou_loss(stage, deltas, rois, labels, truth),
                "loss_mask": _mask_loss(stage, features, rois, matched, labels, shapes, targets),
            }
            losses |= {f"s{number}.{name}": rule.weight * value for name, value in found.items()}
            proposals = refined(stage, logits, deltas, rois, shapes, labels)
            proposals = [
                _without(p, r, t["boxes"]) for p, r, t in zip(proposals, rois, targets, strict=True)
            ]
        return losses

    def _detect(
        self, features: dict[str, Tensor], proposals: list[Tensor], shapes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        total: Any = 0
        for number, stage in enumerate(self._stages()):
            logits, deltas = boxes_of(stage, features, proposals, shapes)
            total = total + logits
            if number < len(self.stages) - 1:
                proposals = refined(stage, logits, deltas, proposals, shapes)
        rows = stage.postprocess_detections(total / len(self.stages), deltas, proposals, shapes)
        masks = self._masks(features, rows[0], rows[2], shapes)
        names = ("boxes", "scores", "labels", "masks")
        return [dict(zip(names, row, strict=True)) for row in zip(*rows, masks, strict=True)]

    def _masks(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        labels: list[Tensor],
        shapes: list[tuple[int, int]],
    ) -> list[Tensor]:
        """Per image the mean of the stages' probabilities [N, 1, 28, 28]."""
        by_stage = [
            maskrcnn_inference(masks_of(s, features, boxes, shapes), labels) for s in self._stages()
        ]
        return [torch.stack(found).mean(0) for found in zip(*by_stage, strict=True)]

    def _stages(self) -> list[Any]:
        return list(self.stages)


def boxes_of(
    stage: Any, features: dict[str, Tensor], rois: list[Tensor], shapes: Any
) -> tuple[Tensor, Tensor]:
    """Class logits [R, K + 1] and deltas [R, 4 (K + 1)] of one stage; class 0 is the background.

    float32 at least: half precision has too few digits for the corners of boxes.
    """
    logits, deltas = stage.box_predictor(stage.box_head(stage.box_roi_pool(features, rois, shapes)))
    return _in_full(logits), _in_full(deltas)


def _in_full(x: Tensor) -> Tensor:
    return x.float() if x.element_size() < 4 else x


def masks_of(stage: Any, features: dict[str, Tensor], rois: list[Tensor], shapes: Any) -> Tensor:
    """Mask logits [R, K + 1, 28, 28]."""
    return stage.mask_predictor(stage.mask_head(stage.mask_roi_pool(features, rois, shapes)))


@torch.no_grad()
def refined(
    stage: Any, logits: Tensor, deltas: Tensor, rois: list[Tensor], shapes: list[tuple[int, int]],
    labels: list[Tensor] | None = None,
) -> list[Tensor]:  # fmt: skip
    """The RoIs after a stage's deltas, inside the image: those of the label (training), else of the
    best class.

    A RoI that is background in training takes the best class too.
    """
    best = logits[:, 1:].argmax(dim=1) + 1
    if labels is not None:
        known = torch.cat(labels)
        best = torch.where(known > 0, known, best)
    moved = stage.box_coder.decode_single(_of_class(deltas, best), torch.cat(rois))
    parts = moved.split([len(r) for r in rois])
    return [clip_boxes_to_image(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def giou_loss(
    stage: Any, deltas: Tensor, rois: list[Tensor], labels: list[Tensor], truth: list[Tensor]
) -> Tensor:  # fmt: skip
    """`BOX_LOSS` times 1 - GIoU, summed over the RoIs on objects and divided by the number of
    all RoIs.
    """
    known = torch.cat(labels)
    kept = torch.where(known > 0)[0]
    boxes = stage.box_coder.decode_single(
        _of_class(deltas[kept], known[kept]), torch.cat(rois)[kept]
    )
    total = generalized_box_iou_loss(boxes, torch.cat(truth)[kept].to(boxes), reduction="sum")
    return BOX_LOSS * total / max(len(known), 1)


def _mask_loss(
    stage: Any,
    features: dict[str, Tensor],
    rois: list[Tensor],
    matched: list[Tensor],
    labels: list[Tensor],
    shapes: Any,
    targets: list[dict[str, Tensor]],
) -> Tensor:
    kept = [torch.where(label > 0)[0] for label in labels]
    on_objects = [r[k] for r, k in zip(rois, kept, strict=True)]
    return maskrcnn_loss(
        masks_of(stage, features, on_objects, shapes),
        on_objects,
        [target["masks"] for target in targets],
        [target["labels"] for target in targets],
        [m[k] for m, k in zip(matched, kept, strict=True)],
    )


def _matched(boxes: Tensor, matched: Tensor) -> Tensor:
    """The object of each RoI [R, 4]; zeros in an image without objects."""
    return boxes[matched] if len(boxes) else boxes.new_zeros(len(matched), 4)


def _of_class(deltas: Tensor, label: Tensor) -> Tensor:
    """[R, 4 (K + 1)] -> [R, 4]."""
    return deltas.unflatten(1, (-1, 4))[torch.arange(len(label), device=label.device), label]


def _without(proposals: Tensor, rois: Tensor, objects: Tensor) -> Tensor:
    """Leaves out the RoIs that are the objects themselves: the next stage's sampler adds them
    again.
    """
    same = (rois[:, None] == objects.to(rois)[None]).all(dim=2).any(dim=1)
    return proposals[~same]
