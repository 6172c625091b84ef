"""Spiking heads, drop-ins for torchvision's. Maps come as [T * B, C, H, W], RoI features as [T * R,
C, S, S]; what goes out is the mean over time (SDT-V2 detectors merge there; with the default, T was
merged before).

Background is class 0 for torchvision, but no parameters are spent on its box or mask: those columns
are put in as zeros, so that parameters have the published shapes.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.retinanet import (
    RetinaNetClassificationHead,
    RetinaNetRegressionHead,
)

from spikedriven.layers import FireProject
from spikedriven.models.detection.parts import (
    Flat,
    Parts,
    ShuffleUp,
    UpConv,
    mean_over_time,
    no_rois,
    plain_linear,
    relu_between,
)


class SpikeRPNHead(nn.Module):
    """neuron -> 3x3 convolution, then two branches neuron -> 1x1: objectness and box deltas of
    each anchor.
    """

    def __init__(self, width: int, anchors: int, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.rpn_conv = parts.conv(width, width, 3)
        self.rpn_cls = parts.predictor(width, anchors)
        self.rpn_reg = parts.predictor(width, 4 * anchors)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level [B, A, H, W] and [B, 4A, H, W]."""
        hidden = [self.rpn_conv(self.parts.unfold(m)) for m in maps]
        return (
            [mean_over_time(self.rpn_cls(h)) for h in hidden],
            [mean_over_time(self.rpn_reg(h)) for h in hidden],
        )


class SpikeBoxHead(nn.Module):
    """Convolutions (3x3, batch norm), then fully connected layers on RoI features, each behind a
    neuron.

    [T * R, C, S, S] -> [T, R, features]. convs and fcs: how many; Mask R-CNN has 0 and 2, Cascade
    Mask R-CNN 4 and 1.
    """

    def __init__(
        self, width: int, size: int, features: int, parts: Parts, convs: int = 0, fcs: int = 2
    ) -> None:  # fmt: skip
        super().__init__()
        self.parts, self.features = parts, features
        rows: list[nn.Module] = [parts.normed_conv(width, width) for _ in range(convs)]
        self.shared_convs = relu_between(parts.corrected, rows)
        make = Flat if parts.corrected else nn.Linear
        sizes = [width * size**2, *[features] * fcs]
        self.shared_fcs = nn.ModuleList(
            FireProject(parts.neuron(), make(i, o)) for i, o in itertools.pairwise(sizes)
        )

    def forward(self, rois: Tensor) -> Tensor:
        if rois.shape[0] == 0:
            return no_rois(self, rois, self.parts.time_steps, 0, self.features)
        x = self.shared_convs(self.parts.unfold(rois)).flatten(2)
        x = x[..., None, None] if self.parts.corrected else x
        for layer in self.shared_fcs:
            x = layer(x)
        return x.flatten(2)


class SpikeBoxPredictor(nn.Module):
    """Class logits [R, K + 1], background first, and box deltas [R, 4 (K + 1)] from [T, R,
    features].

    corrected: both layers read spikes. released: both read the real output of the layer before
    them, and the layer keeps the background last, as MMDetection does.
    """

    def __init__(self, features: int, num_classes: int, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.neuron = parts.neuron() if parts.corrected else nn.Identity()
        self.fc_cls = plain_linear(
            features, num_classes + 1, lambda w: nn.init.normal_(w, std=0.01)
        )
        self.fc_reg = plain_linear(
            features, 4 * num_classes, lambda w: nn.init.normal_(w, std=0.001)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.neuron(x)
        logits, deltas = mean_over_time(self.fc_cls(x)), mean_over_time(self.fc_reg(x))
        return logits.roll(1, dims=1), F.pad(deltas, (4, 0))


class SpikeMaskHead(nn.Module):
    """Rows of neuron -> 3x3 convolution. [T * R, C, S, S] -> [T, R, hidden, S, S]."""

    def __init__(self, width: int, hidden: int, convs: int, parts: Parts) -> None:
        super().__init__()
        self.parts, self.hidden = parts, hidden
        layers = [parts.conv(width if i == 0 else hidden, hidden, 3) for i in range(convs)]
        self.convs = relu_between(parts.corrected, layers)

    def forward(self, rois: Tensor) -> Tensor:
        if rois.shape[0] == 0:
            return no_rois(self, rois, self.parts.time_steps, 0, self.hidden, *rois.shape[-2:])
        return self.convs(self.parts.unfold(rois))


class SpikeMaskPredictor(nn.Module):
    """neuron -> upsampling by two -> neuron -> 1x1: mask logits [R, K + 1, 2S, 2S], those of
    the background 0.
    """

    def __init__(self, hidden: int, num_classes: int, parts: Parts) -> None:
        super().__init__()
        self.num_classes = num_classes
        up = ShuffleUp(hidden, hidden) if parts.corrected else UpConv(hidden, hidden)
        self.upsample = FireProject(parts.neuron(), up)
        self.conv_logits = parts.predictor(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 0:
            return no_rois(self, x, 0, self.num_classes + 1, 2 * x.shape[-2], 2 * x.shape[-1])
        logits = mean_over_time(self.conv_logits(self.upsample(x)))
        return F.pad(logits, (0, 0, 0, 0, 1, 0))


class _Branch(nn.Module):
    """The convolutions of one RetinaNet branch. Per level [T * B, C, H, W] -> [B, A * outputs,
    H, W].
    """

    def __init__(self, width: int, convs: int, out_chans: int, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.convs = relu_between(
            parts.corrected, [parts.conv(width, width, 3) for _ in range(convs)]
        )
        self.out = parts.predictor(width, out_chans, kernel=3)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [mean_over_time(self.out(self.convs(self.parts.unfold(m)))) for m in maps]


class _Classification(RetinaNetClassificationHead):
    """torchvision's focal loss over the anchors, on our branch. num_classes: without background."""

    def __init__(
        self, width: int, convs: int, anchors: int, num_classes: int, parts: Parts
    ) -> None:
        nn.Module.__init__(self)
        self.num_classes, self.num_anchors = num_classes, anchors
        self.BETWEEN_THRESHOLDS = Matcher.BETWEEN_THRESHOLDS
        self.branch = _Branch(width, convs, anchors * num_classes, parts)
        with torch.no_grad():
            self.branch.out.project.bias.fill_(-math.log(99))  # type: ignore[operator,union-attr]  # a prior of 1 %

    def forward(self, maps: list[Tensor]) -> Tensor:
        return _by_anchor(self.branch(maps), self.num_classes)


class _Regression(RetinaNetRegressionHead):
    def __init__(self, width: int, convs: int, anchors: int, parts: Parts) -> None:
        super().__init__(1, anchors)
        del self.conv, self.bbox_reg  # what is left is the loss
        self.branch = _Branch(width, convs, anchors * 4, parts)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return _by_anchor(self.branch(maps), 4)


class SpikeRetinaHead(nn.Module):
    """Class and box branch, shared by all levels: maps -> {"cls_logits": [B, N, K],
    "bbox_regression": [B, N, 4]}.
    """

    def __init__(
        self, width: int, convs: int, anchors: int, num_classes: int, parts: Parts
    ) -> None:
        super().__init__()
        self.classification_head = _Classification(width, convs, anchors, num_classes, parts)
        self.regression_head = _Regression(width, convs, anchors, parts)
        if not parts.corrected:
            # one LIF in front of both outputs; the release also lets its membrane leak from one
            # call to the next
            self.regression_head.branch.out.neuron = self.classification_head.branch.out.neuron

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        return {
            "cls_logits": self.classification_head(maps),
            "bbox_regression": self.regression_head(maps),
        }

    def compute_loss(self, targets, head_outputs, anchors, matched_idxs) -> dict[str, Tensor]:
        return {
            "classification": self.classification_head.compute_loss(
                targets, head_outputs, matched_idxs
            ),
            "bbox_regression": self.regression_head.compute_loss(
                targets, head_outputs, anchors, matched_idxs
            ),
        }


def _by_anchor(maps: list[Tensor], values: int) -> Tensor:
    """Per level [B, A * values, H, W] -> [B, sum of H W A, values], in the order of the anchors."""
    return torch.cat(
        [m.unflatten(1, (-1, values)).permute(0, 3, 4, 1, 2).flatten(1, 3) for m in maps], dim=1
    )
