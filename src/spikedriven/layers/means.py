"""Means that a network takes in a module of its own, so that a quantized network can state their
order.

PyTorch adds in an order that depends on the processor. ``ordered()`` of a mean gives the one that
adds value by value, as compiled programs do; `graph.quantize` puts it in the place of any module
that has such a method.
"""

import math

import torch
from torch import Tensor, nn

from spikedriven.kernels.pool import spatial_mean


class SpatialMean(nn.Module):
    """Mean over positions. [..., C, H, W] -> [..., C]."""

    def forward(self, x: Tensor) -> Tensor:
        return spatial_mean(x)

    def ordered(self) -> nn.Module:
        return OrderedMean((-2, -1))


class TimeMean(nn.Module):
    """Mean over time. [T, ...] -> [...]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0)

    def ordered(self) -> nn.Module:
        return OrderedMean((0,))


class OrderedMean(nn.Module):
    """Mean over axes: values are added one after the other, the last axis first, then divided.
    Float32.
    """

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return ordered_mean(x, list(self.axes))

    def extra_repr(self) -> str:
        return f"{self.axes}"


@torch.library.custom_op("spikedriven::ordered_mean", mutates_args=())
def ordered_mean(x: Tensor, dim: list[int]) -> Tensor:
    """Mean over some axes, added in the order of memory of a contiguous tensor."""
    axes = sorted(axis % x.ndim for axis in dim)
    count = math.prod(x.shape[axis] for axis in axes)
    values = x.movedim(axes, list(range(len(axes)))).flatten(0, len(axes) - 1)
    total = values[0].clone()
    for value in values[1:]:
        total += value
    return total / count


@ordered_mean.register_fake
def _(x, dim):
    axes = {axis % x.ndim for axis in dim}
    return x.new_empty([size for axis, size in enumerate(x.shape) if axis not in axes])


def _keep(ctx, inputs, output) -> None:
    x, ctx.dim = inputs
    ctx.shape = x.shape


def _backward(ctx, upstream: Tensor):
    axes = sorted(axis % len(ctx.shape) for axis in ctx.dim)
    for axis in axes:
        upstream = upstream.unsqueeze(axis)
    return upstream.expand(ctx.shape) / math.prod(ctx.shape[axis] for axis in axes), None


ordered_mean.register_autograd(_backward, setup_context=_keep)
