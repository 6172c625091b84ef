"""Layers with integer weights: what `graph.quantize` puts in the place of convolutions and linear
layers.

Such a layer reads counts, adds up integers, which is exact in any order, and then computes
``sum * scale + bias`` in float32, one rounding each: the arithmetic of compiled programs
(`engine.program`), so that a program gives the same bits. Its operators,
``spikedriven::integer_conv`` and its kin, stay whole in `torch.export`, so that a graph shows one
node for each layer.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Whole numbers up to this are exact in float32, and sums below it in any order.
EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True)
class Reading:
    """How a layer makes counts of what it reads: ``round(clamp((x - low) / unit, 0, levels))``.

    Of spikes and counts nothing is lost: unit is what one of them is worth, low is 0. Real values
    are rounded to ``levels`` steps of this size. offset: what a count of 0 stands for: low, or,
    where the layer before already gives values above zero, how far it moved them; its effect is in
    the bias.
    """

    unit: float
    levels: int
    low: float = 0.0
    offset: float = 0.0


@dataclass(frozen=True)
class Window:
    """Options of a convolution. padding: zeros before and behind, one pair for each axis."""

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()


def counted(x: Tensor, unit: float, low: float, levels: int) -> Tensor:
    """Counts of any values, in their dtype."""
    shifted = x - low if low else x
    return (shifted / unit).clamp(0, levels).round()


def largest_integer(bits: int) -> int:
    """Of weights, which reach as far below zero: 1 for 2 bits, 127 for 8."""
    return 2 ** (bits - 1) - 1


def per_output(values: Tensor, weight: Tensor, window: Window | None) -> Tensor:
    """One value for each output channel, [out], in a form that multiplies the weight of a layer."""
    ones = [1] * (weight.ndim - 2)
    if window is None or not window.transposed:
        return values.view(-1, 1, *ones)
    per_group = values.view(window.groups, 1, -1).expand(-1, len(weight) // window.groups, -1)
    return per_group.reshape(len(weight), -1, *ones)


def conv_of(counts: Tensor, weight: Tensor, window: Window, border: float = 0.0) -> Tensor:
    """Sums of weights times counts, [N, in, *size] -> [N, out, *size']; ``border`` stands
    around the map.
    """
    axes = len(window.stride)
    if window.transposed:
        padding = [before for before, _ in window.padding]
        extra = list(window.output_padding)
        return _TURNED[axes](
            counts, weight, None, window.stride, padding, extra, window.groups, window.dilation
        )
    widths = [width for pair in reversed(window.padding) for width in pair]
    bordered = F.pad(counts, widths, value=border) if any(widths) else counts
    return _CONV[axes](bordered, weight, None, window.stride, 0, window.dilation, window.groups)


def largest_sum(weight: Tensor, levels: int, transposed: bool = False, groups: int = 1) -> int:
    """The largest sum of one sign that an output can reach."""
    sizes = weight.detach().double().abs()
    if transposed:  # [in, out / groups, ...]
        sizes = sizes.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return int(sizes.flatten(1).sum(1).max().item()) * levels


_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TURNED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _exact_dtype(x: Tensor, largest: int) -> torch.dtype:
    """Float32 where its sums are exact; float64 where they may not be, and on devices whose
    libraries transform convolutions."""
    return torch.float32 if largest < EXACT_IN_FLOAT32 and x.device.type == "cpu" else torch.float64


def exactly(x: Tensor) -> AbstractContextManager[Any]:
    """No autocast inside: sums of integers would be rounded."""
    return torch.autocast(x.device.type, enabled=False)


def _bordered(x: Tensor, padding: Sequence[int]) -> Tensor:
    """Zeros around, ``padding`` before and behind each axis in turn."""
    if not any(padding):
        return x
    pairs = [padding[i : i + 2] for i in range(0, len(padding), 2)]
    return F.pad(x, [width for pair in reversed(pairs) for width in pair])


def _finished(sums: Tensor, like: Tensor, scale: Tensor, bias: Tensor, axes: int) -> Tensor:
    shape = (-1, *[1] * axes)
    return sums.to(like.dtype) * scale.view(shape) + bias.view(shape)


@torch.library.custom_op("spikedriven::integer_conv", mutates_args=())
def integer_conv(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    unit: float,
    low: float,
    levels: int,
) -> Tensor:
    """x: [N, in, *size] -> [N, out, *size']. weight: integers [out, in / groups, *kernel]; scale,
    bias: [out]. padding: zeros before and behind each axis, of the values that are read.
    """
    axes = weight.ndim - 2
    dtype = _exact_dtype(x, largest_sum(weight, levels))
    counts = counted(_bordered(x, padding), unit, low, levels).to(dtype)
    with exactly(x):
        sums = _CONV[axes](counts, weight.to(dtype), None, stride, 0, dilation, groups)
    return _finished(sums, x, scale, bias, axes)


@integer_conv.register_fake
def _(x, weight, scale, bias, stride, padding, dilation, groups, unit, low, levels):
    return _CONV[weight.ndim - 2](
        _bordered(x, padding), weight.to(x.dtype), None, stride, 0, dilation, groups
    )


@torch.library.custom_op("spikedriven::integer_conv_transpose", mutates_args=())
def integer_conv_transpose(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    stride: list[int],
    padding: list[int],
    output_padding: list[int],
    groups: int,
    dilation: list[int],
    unit: float,
    levels: int,
) -> Tensor:
    """x: [N, in, *size] -> [N, out, *size']. weight: integers [in, out / groups, *kernel]."""
    axes = weight.ndim - 2
    dtype = _exact_dtype(x, largest_sum(weight, levels, True, groups))
    counts = counted(x, unit, 0.0, levels).to(dtype)
    with exactly(x):
        sums = _TURNED[axes](
            counts, weight.to(dtype), None, stride, padding, output_padding, groups, dilation
        )
    return _finished(sums, x, scale, bias, axes)


@integer_conv_transpose.register_fake
def _(x, weight, scale, bias, stride, padding, output_padding, groups, dilation, unit, levels):
    turned = _TURNED[weight.ndim - 2]
    return turned(x, weight.to(x.dtype), None, stride, padding, output_padding, groups, dilation)


@torch.library.custom_op("spikedriven::integer_linear", mutates_args=())
def integer_linear(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, unit: float, low: float, levels: int
) -> Tensor:
    """x: [..., in] -> [..., out]. weight: integers [out, in]."""
    dtype = _exact_dtype(x, largest_sum(weight, levels))
    counts = counted(x, unit, low, levels).to(dtype)
    with exactly(x):
        sums = F.linear(counts, weight.to(dtype))
    return _finished(sums, x, scale, bias, 0)


@integer_linear.register_fake
def _(x, weight, scale, bias, unit, low, levels):
    return x.new_empty(*x.shape[:-1], len(weight))


class QuantizedLayer(nn.Module):
    """A convolution (``window``) or linear layer (None) with integer weights.

    Shapes: ``[..., in, *size]`` -> ``[..., out, *size']``.

    weight: int8 (int16 for more than 8 bits); scale: what one of a sum is worth, [out], the unit of
    what is read included; bias: [out]. bits: of the weights, -(2^(bits-1) - 1) to 2^(bits-1) - 1; 2
    bits are -1, 0 and 1. Computes no gradients; `TrainedLayer` is its form in training.
    """

    weight: Tensor

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor,
        bits: int,
        reading: Reading,
        window: Window | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(torch.int8 if bits <= 8 else torch.int16))
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.bits, self.reading, self.window = bits, reading, window

    def forward(self, x: Tensor) -> Tensor:
        if self.window is None:
            return integer_linear(x, self.weight, self.scale, self.bias, *self._reading())
        kept = self.weight.ndim - 1
        images = x if x.ndim == kept + 1 else x.flatten(0, -kept - 1)
        y = self._convolved(images, self.window)
        return y if x.ndim == kept + 1 else y.unflatten(0, x.shape[:-kept])

    def _convolved(self, x: Tensor, window: Window) -> Tensor:
        tensors = self.weight, self.scale, self.bias
        if window.transposed:
            padding = [before for before, _ in window.padding]
            return integer_conv_transpose(
                x,
                *tensors,
                list(window.stride),
                padding,
                list(window.output_padding),
                window.groups,
                list(window.dilation),
                self.reading.unit,
                self.reading.levels,
            )
        padding = [width for pair in window.padding for width in pair]
        options = list(window.stride), padding, list(window.dilation), window.groups
        return integer_conv(x, *tensors, *options, *self._reading())

    def _reading(self) -> tuple[float, float, int]:
        return self.reading.unit, self.reading.low, self.reading.levels

    def extra_repr(self) -> str:
        shape, reading = list(self.weight.shape), self.reading
        low = f", from {reading.low:g}" if reading.low else ""
        return f"{shape}, {self.bits} bits, reads 0..{reading.levels} of {reading.unit:g}{low}"


class ChannelAffine(nn.Module):
    """``x * scale + shift`` per channel, two roundings: a batch norm that no layer could take.
    [N, C, ...].
    """

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.shift = nn.Parameter(shift, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))
        return x * self.scale.view(shape) + self.shift.view(shape)
