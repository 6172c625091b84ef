"""A detector whose layers are programs: the parts that are compiled, and what stands in their
place.

Body and pyramid are one program; so are, for each size of a map, the heads on maps, and each head
on RoIs with the predictor behind it. Boxes, their suppression and the pasting of masks stay
torchvision's.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

#: A module -> the same as programs.
Make = Callable[[nn.Module], nn.Module]


def compiled_detector(detector: nn.Module, make: Make) -> nn.Module:
    """A copy of a detector, in evaluation mode, with programs in place of its layers."""
    result: Any = copy.deepcopy(detector).eval()
    steps = result.time_steps if result.backbone.keep_time else 1
    result.backbone = CompiledBackbone(result.backbone, make)
    if hasattr(result, "head"):
        result.head = CompiledMaps(result.head, make, steps, _by_name)
        return result
    result.rpn.head = CompiledMaps(result.rpn.head, make, steps, _by_level)
    for roi in result._heads():
        roi.box_head, roi.box_predictor = _on_rois(roi.box_head, roi.box_predictor, make, steps)
        roi.mask_head, roi.mask_predictor = _on_rois(roi.mask_head, roi.mask_predictor, make, steps)
    return result


def _by_name(levels: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Of RetinaNet: the anchors of all levels, one behind the other."""
    return {name: torch.cat([found[name] for found in levels], dim=1) for name in levels[0]}


def _by_level(levels: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Of a proposal network: objectness and box deltas of each level."""
    return [objectness for objectness, _ in levels], [deltas for _, deltas in levels]


class _Pyramid(nn.Module):
    """Body and pyramid: images [B, C, H, W] -> maps [T, B, width, H, W] each."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone.pyramid(images))  # type: ignore[operator]


class CompiledBackbone(nn.Module):
    """As `PyramidBackbone`: images [B, C, H, W] -> named maps [T * B, width, H, W]."""

    def __init__(self, backbone: Any, make: Make) -> None:
        super().__init__()
        self.program, self.out_channels = make(_Pyramid(backbone)), backbone.out_channels

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        return OrderedDict((str(i), m.flatten(0, 1)) for i, m in enumerate(self.program(images)))


class _OneMap(nn.Module):
    """A head on one map: [B, T, C, H, W] -> what it gives for the level."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, frames: Tensor) -> Any:
        found = self.head([frames.transpose(0, 1).flatten(0, 1)])
        return found if isinstance(found, dict) else tuple(level for (level,) in found)


class CompiledMaps(nn.Module):
    """A head on maps [T * B, C, H, W] of all levels, which are computed one after the other.
    joined: the results of all levels as the head gives them."""

    def __init__(
        self, head: nn.Module, make: Make, steps: int, joined: Callable[[list[Any]], Any]
    ) -> None:
        super().__init__()
        self.program, self.steps, self.joined = make(_OneMap(head)), steps, joined

    def forward(self, maps: list[Tensor]) -> Any:
        return self.joined([self.program(steps_behind(m, self.steps)) for m in maps])


def steps_behind(x: Tensor, steps: int) -> Tensor:
    """[T * N, ...] -> [N, T, ...]."""
    return x.unflatten(0, (steps, -1)).transpose(0, 1)


class _RoIs(nn.Module):
    """A head on RoIs and the predictor behind it: [R, T, C, S, S] -> what the predictor gives."""

    def __init__(self, head: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.head, self.predictor = head, predictor

    def forward(self, rois: Tensor) -> Any:
        return self.predictor(self.head(rois.transpose(0, 1).flatten(0, 1)))


class CompiledRoIs(nn.Module):
    """Head and predictor on RoI features [T * R, C, S, S], in place of the head; without RoIs,
    PyTorch runs."""

    def __init__(self, layers: _RoIs, make: Make, steps: int) -> None:
        super().__init__()
        self.layers, self.program, self.steps = layers, make(layers), steps

    def forward(self, rois: Tensor) -> Any:
        if len(rois) == 0:
            return self.layers(rois.unflatten(0, (self.steps, 0)).transpose(0, 1))
        return self.program(steps_behind(rois, self.steps))


def _on_rois(
    head: nn.Module, predictor: nn.Module, make: Make, steps: int
) -> tuple[nn.Module, nn.Module]:
    return CompiledRoIs(_RoIs(head, predictor), make, steps), nn.Identity()
