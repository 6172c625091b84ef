"""Arithmetic of weight layers: what stands before or behind one goes into its weights; two of them
make one.

Everything is float64. Which of these may be applied where is decided in `folding`.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class WeightLayer:
    """A convolution [O, I/g, *kernel], transposed [I, O/g, *kernel], or a linear layer [O, I].
    bias: [O].
    """

    weight: Tensor
    bias: Tensor
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[2:])

    @property
    def pointwise(self) -> bool:
        """Reads one position for each that it writes, and adds no border."""
        return not self.transposed and set(self.kernel) <= {1} and set(self.padding) <= {0}

    @property
    def depthwise(self) -> bool:
        """One filter per channel: nothing is mixed between channels."""
        return not self.transposed and self.groups > 1 and self.weight.shape[1] == 1

    def zero_shift(self) -> bool:
        return not self.bias.any()


def scaled_outputs(layer: WeightLayer, factor: Tensor, shift: Tensor) -> WeightLayer:
    """``factor * layer(x) + shift``, one factor and one shift per output channel."""
    grouped = layer.weight.unflatten(
        0, (layer.groups, -1)
    )  # [g, O/g, I/g, ...]; transposed: [g, I/g, O/g, ...]
    rows = factor.view(layer.groups, -1)
    rows = rows.unsqueeze(1) if layer.transposed else rows.unsqueeze(2)
    weight = grouped * rows.view(*rows.shape, *[1] * (grouped.ndim - 3))
    return replace(layer, weight=weight.flatten(0, 1), bias=layer.bias * factor + shift)


def scaled_inputs(layer: WeightLayer, factor: Tensor, shift: Tensor) -> WeightLayer:
    """``layer(factor * x + shift)``, one of each per input channel; a shift needs a layer
    without a border.
    """
    grouped = layer.weight.unflatten(0, (layer.groups, -1))
    columns = factor.view(layer.groups, -1)
    columns = columns.unsqueeze(2) if layer.transposed else columns.unsqueeze(1)
    weight = (grouped * columns.view(*columns.shape, *[1] * (grouped.ndim - 3))).flatten(0, 1)
    bias = layer.bias
    if shift.any():
        bias = bias + response_to(layer, shift)
    return replace(layer, weight=weight, bias=bias)


def response_to(layer: WeightLayer, constant: Tensor) -> Tensor:
    """What the layer without its bias makes of one constant per input channel, away from any
    border: [O].
    """
    taps = layer.weight.flatten(2).sum(2) if layer.kernel else layer.weight  # [O, I/g]
    return (
        (taps.unflatten(0, (layer.groups, -1)) * constant.view(layer.groups, 1, -1))
        .sum(2)
        .flatten()
    )


def can_follow(first: WeightLayer, second: WeightLayer) -> bool:
    """Whether the two make one layer of the same kind: one of them reads single positions."""
    if first.transposed or second.transposed or len(first.kernel) != len(second.kernel):
        return False
    return second.pointwise or (first.pointwise and set(first.stride) <= {1})


def in_a_row(first: WeightLayer, second: WeightLayer, border: tuple[int, ...]) -> WeightLayer:
    """``second(first(x))`` as one layer, for a pair that `can_follow`.

    border: width, per axis (0: none), of a border between the two that holds what ``first`` makes
    of zeros: then the one layer pads its own input with zeros.
    """
    groups = first.groups if first.groups == second.groups else 1
    a, b = (
        _blocks(layer, groups) for layer in (first, second)
    )  # [g, M/g, I/g, K], [g, O/g, M/g, K]
    weight = torch.einsum("gmik,gomn->goikn", a, b).flatten(3)  # one of the two kernels is 1
    bias = second.bias + response_to(second, first.bias)
    kernel = second.kernel if first.pointwise else first.kernel
    return WeightLayer(
        weight=weight.flatten(0, 1).unflatten(2, kernel)
        if kernel
        else weight.flatten(0, 1).squeeze(2),
        bias=bias,
        stride=tuple(x * y for x, y in zip(first.stride, second.stride, strict=True)),
        padding=tuple(
            sum(widths) for widths in zip(first.padding, second.padding, border, strict=True)
        ),
        dilation=second.dilation if first.pointwise else first.dilation,
        groups=groups,
    )


def _blocks(layer: WeightLayer, groups: int) -> Tensor:
    """The weights as [groups, out, in, taps] for these groups: those of the layer, or 1 for a
    dense layer.
    """
    flat = layer.weight.flatten(2) if layer.kernel else layer.weight.unsqueeze(2)
    rows = flat.unflatten(0, (layer.groups, -1))
    if groups == layer.groups:
        return rows
    dense = flat.new_zeros(layer.groups, rows.shape[1], layer.groups, *rows.shape[2:])
    index = torch.arange(layer.groups)
    dense[index, :, index] = rows
    return dense.flatten(0, 1).flatten(1, 2).unsqueeze(0)
