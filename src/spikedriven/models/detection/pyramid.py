"""Spiking feature pyramid, and the body in front of it.

Each lateral is neuron -> 1x1 convolution, each output neuron -> 3x3 convolution (SDT-V3's
SpikeFPN). Top-down paths add real values, as residuals do.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.layers import over_time
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.detection.parts import Parts


class SpikeFPN(nn.Module):
    """Maps of several strides -> as many semantically strong maps of one width, and coarser ones.

    in_channels: of each tap. levels: which pyramid level each tap feeds, rising from 0; taps of one
    level are added. extra_levels: maps behind the last level, each of half the size; extra: "pool"
    takes every second value of the map before, "conv" is neuron -> 3x3 convolution of stride 2, the
    first one on the last tap (as RetinaNet has it).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        levels: Sequence[int],
        width: int,
        parts: Parts,
        extra_levels: int = 1,
        extra: str = "pool",
    ) -> None:
        super().__init__()
        if extra not in ("pool", "conv"):
            raise InputError(f"extra must be 'pool' or 'conv', found {extra!r}")
        self.levels, self.extra_levels = tuple(levels), extra_levels
        self.lateral_convs = nn.ModuleList(
            parts.neck_conv(chans, width, 1) for chans in in_channels
        )
        self.fpn_convs = nn.ModuleList(
            parts.neck_conv(width, width, 3) for _ in range(max(levels) + 1)
        )
        sources = (
            [in_channels[-1], *[width] * (extra_levels - 1)]
            if extra == "conv" and extra_levels
            else []
        )
        self.extra_convs = nn.ModuleList(parts.neck_conv(chans, width, 3, 2) for chans in sources)

    def forward(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """taps: [T, B, C_i, H_i, W_i] each -> maps [T, B, width, H, W], finest first."""
        sums: list[Tensor] = []
        for level, lateral, tap in zip(self.levels, self.lateral_convs, taps, strict=True):
            if level == len(sums):
                sums.append(lateral(tap))
            else:
                sums[level] = sums[level] + lateral(tap)
        for i in range(len(sums) - 1, 0, -1):
            sums[i - 1] = sums[i - 1] + _enlarged(sums[i], sums[i - 1].shape[-2:])
        maps = [conv(total) for conv, total in zip(self.fpn_convs, sums, strict=True)]
        for i in range(self.extra_levels):
            before = taps[-1] if self.extra_convs and i == 0 else maps[-1]
            maps.append(self.extra_convs[i](before) if self.extra_convs else before[..., ::2, ::2])
        return maps


def _enlarged(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return over_time(lambda maps: F.interpolate(maps, size=tuple(size), mode="nearest"), x)


class PyramidBackbone(nn.Module):
    """Body and neck: images [B, C, H, W] -> named maps [T * B, width, H_i, W_i].

    indices: taps, into the body's ``feature_info``. keep_time: hand all time steps to the neck;
    False: their mean.
    """

    def __init__(
        self,
        body: SpikeDrivenModel,
        indices: Sequence[int],
        neck: SpikeFPN,
        width: int,
        keep_time: bool,
    ) -> None:
        super().__init__()
        self.indices = body.prune_intermediate_layers(list(indices))
        self.body, self.neck, self.out_channels, self.keep_time = body, neck, width, keep_time

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        return OrderedDict((str(i), m.flatten(0, 1)) for i, m in enumerate(self.pyramid(images)))

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Images [B, C, H, W] -> maps [T, B, width, H_i, W_i]; T is 1 unless time is kept."""
        taps: Any = self.body.forward_intermediates(
            images,
            self.indices,
            stop_early=True,
            intermediates_only=True,
            merge_time=not self.keep_time,
        )
        if not self.keep_time:
            taps = [tap.unsqueeze(0) for tap in taps]
        return self.neck(taps)


def pyramid_levels(reductions: Sequence[int]) -> tuple[list[int], list[int]]:
    """True strides of the taps -> (pyramid level of each tap, stride of each level): equal
    strides share a level.
    """
    strides = sorted(set(reductions))
    return [strides.index(reduction) for reduction in reductions], strides
