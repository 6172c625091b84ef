"""Folding: chains of linear layers as one convolution, equal in evaluation mode.

`fold` knows each chain of this package; `graph.fuse` applies it to whole models. Arithmetic is done in float64 and
stored in the layer's own dtype.
"""

from functools import singledispatch
from typing import cast

import torch
from torch import Tensor, nn

from spikedriven.layers.repconv import RepConvBN, RepPointwise
from spikedriven.layers.sepconv import SeparableConvBN
from spikedriven.layers.sparse import on_map
from spikedriven.layers.units import ConvBN, over_time


class FoldedConv(nn.Conv2d):
    """One convolution with bias on maps with a time axis. [T, B, in, H, W] -> [T, B, out, H', W'].

    active: visible patches, bool [B, h, w], where the layer stands for one of `sparse`: the others get 0.
    """

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        maps = over_time(super().forward, x)
        return maps if active is None else maps * on_map(active, maps.shape[-2:]).unsqueeze(1)


def batch_norm_affine(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(scale, shift) per channel, float64, of a batch norm in evaluation mode."""
    mean, variance = cast(tuple[Tensor, Tensor], (bn.running_mean, bn.running_var))
    scale = bn.weight.double() / torch.sqrt(variance.double() + bn.eps)
    return scale, bn.bias.double() - mean.double() * scale


def chained(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two affine maps in a row as one."""
    return first[0] * second[0], first[1] * second[0] + second[1]


def folded_conv(
    weight: Tensor, bias: Tensor, like: nn.Conv2d, padding: int, stride: tuple[int, ...] = (1, 1)
) -> FoldedConv:
    """A convolution with these float64 parameters, in the dtype and on the device of ``like``, and with its groups."""
    out_chans, in_per_group, kernel, _ = weight.shape
    conv = FoldedConv(
        in_per_group * like.groups, out_chans, kernel, cast(tuple[int, int], stride), padding, groups=like.groups,
        device=like.weight.device, dtype=like.weight.dtype,
    )  # fmt: skip
    with torch.no_grad():
        conv.weight.copy_(weight)
        cast(Tensor, conv.bias).copy_(bias)
    return conv.requires_grad_(False)


@singledispatch
def fold(module: nn.Module) -> FoldedConv | None:
    """The one convolution that a chain of linear layers is worth, or None for a module that is no such chain."""
    return None


def _folded(module: ConvBN) -> tuple[Tensor, Tensor]:
    """(weight, bias) in float64, not rounded on the way to a longer chain."""
    scale, shift = batch_norm_affine(module.bn)
    bias = torch.zeros_like(shift) if module.conv.bias is None else module.conv.bias.double()
    return module.conv.weight.double() * scale.view(-1, 1, 1, 1), bias * scale + shift


def _padding(conv: nn.Conv2d) -> int:
    """Of this package's convolutions: a number, the same in both directions."""
    return cast(tuple[int, ...], conv.padding)[0]


@fold.register
def _(module: ConvBN) -> FoldedConv:
    return folded_conv(*_folded(module), module.conv, _padding(module.conv), module.conv.stride)


@fold.register
def _(module: SeparableConvBN) -> FoldedConv:
    """Depthwise D, then 1x1 P: dense kernel ``P[o, c] D[c, y, x]``."""
    weight, bias = _folded(module.pointwise)
    weight = weight * module.depthwise.weight.double().squeeze(1)
    return folded_conv(weight, bias, module.pointwise.conv, _padding(module.depthwise))


@fold.register
def _(module: RepPointwise) -> FoldedConv:
    """Two 1x1 convolutions with batch norms: one matrix."""
    (first, first_bias), (last, last_bias) = _folded(module.first), _folded(module.last)
    weight = last.flatten(1) @ first.flatten(1)
    bias = last.flatten(1) @ first_bias + last_bias
    if isinstance(module.bn, nn.BatchNorm2d):
        scale, shift = batch_norm_affine(module.bn)
        weight, bias = weight * scale.view(-1, 1), bias * scale + shift
    return folded_conv(weight.view(*weight.shape, 1, 1), bias, module.last.conv, 0)


@fold.register
def _(module: RepConvBN) -> FoldedConv:
    """1x1 P1, padded norm (a, beta), depthwise D, 1x1 P2, two norms: a dense 3x3 kernel with plain zero padding.

    ``K[o, i] = A_o sum_c P2[o, c] D[c] a_c P1[c, i]``; the border of the padded norm is what makes beta a constant.
    """
    first, last = module.first.weight.double().flatten(1), module.last.weight.double().flatten(1)
    depthwise = module.depthwise.weight.double().squeeze(1)
    a, beta = batch_norm_affine(module.bn_pad)
    scale, shift = chained(batch_norm_affine(module.bn_inner), batch_norm_affine(module.bn))
    kernel = torch.einsum("oc,cyx,ci->oiyx", last, depthwise, a.view(-1, 1) * first)
    bias = last @ (depthwise.sum(dim=(1, 2)) * beta)
    return folded_conv(kernel * scale.view(-1, 1, 1, 1), bias * scale + shift, module.last, 1)
