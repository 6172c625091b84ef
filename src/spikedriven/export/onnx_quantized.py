"""Layers with integer weights as ONNX operators: integers in the file, read by DequantizeLinear.

What is read becomes counts (Round, Clip), integers are multiplied by 1 on the way to float32, and
the sum is scaled behind the layer: so sums of integers stay exact, and a runtime that adds in
float32 gives the spikes of the module.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

OPSET = "opset18"


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For ``torch.onnx.export``: operator -> what writes it."""
    ours = torch.ops.spikedriven
    return {
        ours.integer_conv.default: _conv,
        ours.integer_conv_transpose.default: _conv_transpose,
        ours.integer_linear.default: _linear,
        ours.ordered_mean.default: _mean,
    }


def _op() -> Any:
    return getattr(importlib.import_module("onnxscript"), OPSET)


def _number(value: float) -> Any:
    return _op().Constant(value_float=float(value))


def _counts(x: Any, unit: float, low: float, levels: int) -> Any:
    op = _op()
    shifted = op.Sub(x, _number(low)) if low else x
    scaled = op.Div(shifted, _number(unit)) if unit != 1.0 else shifted
    return op.Round(op.Clip(scaled, _number(0.0), _number(levels)))


def _integers(weight: Any) -> Any:
    return _op().DequantizeLinear(weight, _number(1.0))


def _finished(sums: Any, scale: Any, bias: Any, axes: int) -> Any:
    op = _op()
    if axes:
        shape = op.Constant(value_ints=[1, -1, *[1] * axes])
        scale, bias = op.Reshape(scale, shape), op.Reshape(bias, shape)
    return op.Add(op.Mul(sums, scale), bias)


def _conv(
    x: Any, weight: Any, scale: Any, bias: Any, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int, unit: float, low: float, levels: int,
) -> Any:  # fmt: skip
    op, axes = _op(), len(stride)
    before, behind = list(padding[0::2]), list(padding[1::2])
    if low and any(padding):  # the border is of values
        widths = op.Constant(value_ints=[0, 0, *before, 0, 0, *behind])
        x, before, behind = op.Pad(x, widths), [0] * axes, [0] * axes
    counts = _counts(x, unit, low, levels)
    sums = op.Conv(
        counts,
        _integers(weight),
        strides=list(stride),
        pads=[*before, *behind],
        dilations=list(dilation),
        group=groups,
    )
    return _finished(sums, scale, bias, axes)


def _conv_transpose(
    x: Any, weight: Any, scale: Any, bias: Any, stride: Sequence[int], padding: Sequence[int],
    output_padding: Sequence[int], groups: int, dilation: Sequence[int], unit: float, levels: int,
) -> Any:  # fmt: skip
    sums = _op().ConvTranspose(
        _counts(x, unit, 0.0, levels),
        _integers(weight),
        strides=list(stride),
        pads=[*padding, *padding],
        output_padding=list(output_padding),
        dilations=list(dilation),
        group=groups,
    )
    return _finished(sums, scale, bias, len(stride))


def _linear(
    x: Any, weight: Any, scale: Any, bias: Any, unit: float, low: float, levels: int
) -> Any:
    op = _op()
    turned = op.Transpose(_integers(weight), perm=[1, 0])
    return _finished(op.MatMul(_counts(x, unit, low, levels), turned), scale, bias, 0)


def _mean(x: Any, dim: Sequence[int]) -> Any:
    op = _op()
    return op.ReduceMean(x, op.Constant(value_ints=list(dim)), keepdims=0)
