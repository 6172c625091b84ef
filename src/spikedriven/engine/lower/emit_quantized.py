"""Layers whose weights are integers already (`layers.quantized`), and means whose order is stated.

Nothing is rounded here: integers, scale and bias go into the plan as they are. A layer that reads
counts adds rows of them; in front of one that reads real values stands an integer neuron, which
makes the counts.
"""

from dataclasses import replace

import numpy as np

from spikedriven.engine.lower.draft import Draft, Float64, Weigh
from spikedriven.engine.lower.emit_arithmetic import reduced
from spikedriven.engine.lower.emit_join import padded
from spikedriven.engine.lower.emit_layers import array, turned, turned_padding, weighed
from spikedriven.engine.lower.layout import axis
from spikedriven.engine.lower.values import Value, as_image, real_of, whole, with_channels
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.graph.nodes import Node
from spikedriven.kernels.spec import IntegerSpec

#: How far a worth of counts may be from another that is meant to be the same: both were rounded to
#: float32.
SAME = 1e-6


@emits(targets="spikedriven::ordered_mean")
def ordered_mean(walk: Walk, node: Node) -> Result:
    return reduced(walk, node, average=True)


@emits(targets="spikedriven::integer_linear")
def linear(walk: Walk, node: Node) -> Result:
    value = walk.value(node)
    value = with_channels(walk.draft, _counts(walk.draft, value, node), -1 % len(value.dims))
    weight, scale, bias = _tensors(walk, node)
    m = walk.draft.maps[value.map]
    layer = Weigh(value.map, weight[:, :, None, None], bias, scale=scale)
    out = weighed(walk.draft, layer, m.height, m.width)
    return Value(out, (*value.dims[:-1], axis("C", len(weight))))


@emits(targets="spikedriven::integer_conv")
def conv(walk: Walk, node: Node) -> Result:
    weight, scale, bias = _tensors(walk, node)
    ndim, options = weight.ndim - 2, node.attrs
    value, draft = walk.value(node), walk.draft
    around = [*options["padding"]]
    border = around if ndim == 2 else [0, 0, *around]
    top, bottom, left, right = (a + b for a, b in zip(border, _border(value), strict=True))
    value = as_image(draft, replace(value, border=(0, 0, 0, 0)), 1, range(2, ndim + 2))
    padding = (top, left, bottom, right)
    if options["low"]:  # the border is of values, and zero is a count of its own
        value = _bordered(draft, value, ndim, padding)
        padding = (0, 0, 0, 0)
    value = _counts(draft, value, node)
    stride, dilation = (_pair(options[name], ndim) for name in ("stride", "dilation"))
    layer = Weigh(
        value.map,
        _two_axes(weight, ndim),
        bias,
        stride,
        padding,
        dilation,
        groups=options["groups"],
        scale=scale,
    )
    return _on_maps(walk, node, value, layer, ndim)


@emits(targets="spikedriven::integer_conv_transpose")
def conv_transpose(walk: Walk, node: Node) -> Result:
    weight, scale, bias = _tensors(walk, node)
    ndim, options = weight.ndim - 2, node.attrs
    value = _counts(walk.draft, as_image(walk.draft, walk.value(node), 1, range(2, ndim + 2)), node)
    kernel = _two_axes(weight, ndim)
    y, x = (0, *options["padding"])[-2:]
    extra = (0, *options["output_padding"])[-2:]
    dilation = _pair(options["dilation"], ndim)
    padding = turned_padding(kernel.shape[2:], (y, x, y, x), dilation, (extra[0], extra[1]))
    layer = Weigh(
        value.map, turned(kernel, options["groups"]), bias, (1, 1), padding, dilation,
        _pair(options["stride"], ndim), options["groups"], scale=scale,
    )  # fmt: skip
    return _on_maps(walk, node, value, layer, ndim)


def _tensors(walk: Walk, node: Node) -> tuple[Float64, Float64, Float64]:
    weight, scale, bias = (array(walk.operand(node, name)) for name in ("weight", "scale", "bias"))
    return weight, scale, bias


def _two_axes(weight: Float64, ndim: int) -> Float64:
    return weight if ndim == 2 else weight.reshape(*weight.shape[:2], 1, weight.shape[2])


def _pair(values: list[int], ndim: int) -> tuple[int, int]:
    return (values[0], values[1]) if ndim == 2 else (1, values[0])


def _border(value: Value) -> tuple[int, int, int, int]:
    top, left, bottom, right = value.border
    return top, bottom, left, right


def _bordered(draft: Draft, value: Value, ndim: int, padding: tuple[int, int, int, int]) -> Value:
    top, left, bottom, right = padding
    value = padded(draft, value, len(value.dims) - 1, left, right, 0.0) if left or right else value
    if ndim == 2 and (top or bottom):
        value = padded(draft, value, len(value.dims) - 2, top, bottom, 0.0)
    return value


def _counts(draft: Draft, value: Value, node: Node) -> Value:
    """The value as counts of the worth that the layer reads."""
    unit, levels, low = node.attrs["unit"], node.attrs["levels"], node.attrs.get("low", 0.0)
    m = draft.maps[value.map]
    worth = m.unit * value.factor
    if m.kind == "spikes" and not low and m.levels <= levels and abs(worth - unit) <= SAME * unit:
        return replace(value, factor=1.0)
    source = real_of(draft, value)
    source = draft.affine(source, 1.0, -low) if low else source
    neuron = IntegerSpec(levels, half_up=False, threshold=float(np.float32(unit)))
    return replace(value, map=draft.fire(source, neuron, levels, unit), factor=1.0)


def _on_maps(walk: Walk, node: Node, value: Value, layer: Weigh, ndim: int) -> Value:
    sizes = walk.shape(node)[2:]
    out = weighed(walk.draft, layer, *((1, sizes[0]) if ndim == 1 else sizes))
    space = whole(walk.draft, out, *"HW"[-ndim:])
    return Value(out, (value.dims[0], *whole(walk.draft, out, "C"), *space))
