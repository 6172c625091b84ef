"""The two units every family is built from: a weight layer followed by a neuron, and a neuron
followed by one.

All tensors are [T, B, C, H, W]. Convolution, batch norm and pooling see time folded into the batch,
so batch statistics run over T, B, H and W.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.kernels.arrays import is_still
from spikedriven.kernels.depthwise import DepthwiseConv2d
from spikedriven.kernels.norm import batch_norm, unwatched
from spikedriven.kernels.pool import max_pool
from spikedriven.layers.norm_fire import can_fuse, norm_fire
from spikedriven.neurons import Neuron


def over_time(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a [N, C, H, W] function to x [T, B, C, H, W] with time folded into the batch."""
    return function(x.flatten(0, 1)).unflatten(0, (x.shape[0], -1))


class ConvBN(nn.Module):
    """Convolution (same padding) and batch norm. [T, B, in, H, W] -> [T, B, out, H/stride,
    W/stride].
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if 1 < groups == in_chans == out_chans and stride == 1 and not bias:
            self.conv: nn.Conv2d = DepthwiseConv2d(out_chans, kernel)
        else:
            self.conv = nn.Conv2d(
                in_chans, out_chans, kernel, stride, kernel // 2, groups=groups, bias=bias
            )
        self.bn = nn.BatchNorm2d(out_chans)

    def forward(self, x: Tensor) -> Tensor:
        if is_still(x) and not self.training and not torch.compiler.is_compiling():
            return self(x[:1]).expand(x.shape[0], -1, -1, -1, -1)  # the same image, so the same map
        return over_time(lambda images: batch_norm(self.conv(images), self.bn), x)


def project_and_fire(project: nn.Module, neuron: nn.Module, x: Tensor) -> Tensor:
    """``neuron(project(x))``, [T, B, C, H, W] -> spikes; norm and neuron as one operation where
    that is offered.
    """
    if not (
        isinstance(project, ConvBN)
        and can_fuse(project.bn, neuron, x)
        and unwatched(project, project.conv)
    ):
        return neuron(project(x))
    maps = over_time(project.conv, x[:1] if is_still(x) else x)
    return norm_fire(maps, project.bn, cast(Neuron, neuron), x.shape[0])


class MaxPool(nn.MaxPool2d):
    """Max pooling per time step; on spikes it is a logical OR. [T, B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return over_time(lambda maps: max_pool(maps, self), x)


def halving_pool() -> MaxPool:
    """The 3x3 max pool of stride 2 that both LIF families use to reduce resolution."""
    return MaxPool(3, stride=2, padding=1)


def stage_pools(flags: str) -> list[nn.Module]:
    """One pool a stage: halving where the flag is "1", none where it is "0". "0011": stride 4."""
    if not isinstance(flags, str) or len(flags) != 4 or set(flags) - {"0", "1"}:
        raise InputError(f"stem_pools must be four flags 0 or 1, such as '1111', found {flags!r}")
    return [halving_pool() if flag == "1" else nn.Identity() for flag in flags]


def stage_strides(flags: str) -> list[int]:
    """Total stride behind each stage of such a stem."""
    return [2 ** flags[: i + 1].count("1") for i in range(len(flags))]


class ProjectFire(nn.Module):
    """Weight layer, then neuron, then (optionally) a pool on the spikes: real or spike input,
    spike output.
    """

    def __init__(
        self, project: nn.Module, neuron: nn.Module, pool: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.project, self.neuron = project, neuron
        self.pool = pool or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(project_and_fire(self.project, self.neuron, x))


class FireProject(nn.Module):
    """Neuron, then (optionally) a pool on the spikes, then weight layer: real input, real
    output, spikes in between.
    """

    def __init__(
        self, neuron: nn.Module, project: nn.Module, pool: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.neuron = neuron
        self.pool = pool or nn.Identity()
        self.project = project

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(self.neuron(x)))


def in_a_row(x: Tensor, *units: FireProject) -> Tensor:
    """The units one after the other, each one's norm joined to the neuron of the next."""
    if not (all(isinstance(unit.pool, nn.Identity) for unit in units) and unwatched(*units)):
        for unit in units:
            x = unit(x)
        return x
    spikes = units[0].neuron(x)
    for unit, following in pairwise(units):
        spikes = project_and_fire(unit.project, following.neuron, spikes)
    return units[-1].project(spikes)
