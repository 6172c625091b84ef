"""Anchors and RoI pooling that are told the strides, and neither guess them from map sizes nor
round them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, roi_align

#: Side of the RoI that belongs to the finest level is below twice this, in pixels (FPN paper's 224
#: at level 4).
FINEST_SIZE = 56


class StrideAnchors(AnchorGenerator):
    """Anchors of sides ``scale * stride`` for each scale and aspect ratio (height / width), at
    the given strides.
    """

    def __init__(
        self, strides: Sequence[int], scales: Sequence[float], ratios: Sequence[float]
    ) -> None:
        sizes = tuple(tuple(scale * stride for scale in scales) for stride in strides)
        super().__init__(sizes, (tuple(ratios),) * len(sizes))
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales,
        aspect_ratios,
        dtype=torch.float32,
        device=torch.device("cpu"),  # noqa: B008
    ) -> Tensor:
        """[scales * ratios, 4] around 0, not rounded to whole pixels."""
        sides, ratios = (
            torch.tensor(values, dtype=dtype, device=device) for values in (scales, aspect_ratios)
        )
        roots = ratios.sqrt()
        w, h = (sides / roots[:, None]).flatten(), (sides * roots[:, None]).flatten()
        return torch.stack([-w, -h, w, h], dim=1) / 2

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """The anchors [N, 4] of each image."""
        like = feature_maps[0]
        self.set_cell_anchors(like.dtype, like.device)
        strides = [[torch.tensor(s, device=like.device)] * 2 for s in self.strides]
        anchors = torch.cat(self.grid_anchors([list(m.shape[-2:]) for m in feature_maps], strides))
        return [anchors] * len(image_list.image_sizes)


class PyramidRoIAlign(MultiScaleRoIAlign):
    """RoIAlign on the pyramid level that fits a RoI's size, at the given strides.

    Maps [T * B, C, H, W] and B lists of boxes -> [T * R, C, size, size]: every time step sees the
    same boxes. sampling_ratio: samples per bin and axis; 0 as many as cells.
    """

    def __init__(
        self,
        strides: Sequence[int],
        output_size: int,
        sampling_ratio: int,
        finest: float = FINEST_SIZE,
    ) -> None:
        super().__init__([str(i) for i in range(len(strides))], output_size, sampling_ratio)
        self.strides, self.finest = tuple(strides), finest

    def level_of(self, boxes: Tensor) -> Tensor:
        """Level of each box [N, 4] by the square root of its area: int64 [N]."""
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).clamp(min=0).sqrt()
        levels = torch.floor(torch.log2(sides / self.finest + 1e-6))
        return levels.clamp(0, len(self.strides) - 1).to(torch.int64)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        maps = [x[name] for name in self.featmap_names]
        steps = maps[0].shape[0] // len(boxes)
        numbers = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
        flat = torch.cat(boxes)
        levels = self.level_of(flat).repeat(steps)
        # one list of RoIs per time step, the images of step t being t * B ...
        rois = torch.cat([torch.cat([numbers + t * len(boxes), flat], dim=1) for t in range(steps)])
        pooled = maps[0].new_zeros(len(rois), maps[0].shape[1], *self.output_size)
        for level, (map_, stride) in enumerate(zip(maps, self.strides, strict=True)):
            chosen = torch.where(levels == level)[0]
            part = roi_align(
                map_,
                rois[chosen],
                self.output_size,
                1.0 / stride,
                self.sampling_ratio,
                aligned=True,
            )
            pooled = pooled.index_copy(0, chosen, part.to(pooled.dtype))
        return pooled


def octave_scales(base: float = 4.0, per_octave: int = 3) -> list[float]:
    """RetinaNet's scales: ``base * 2 ** (i / per_octave)``."""
    return [base * math.pow(2.0, i / per_octave) for i in range(per_octave)]
