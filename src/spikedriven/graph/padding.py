"""How many multiply-accumulates of a convolution fall on its zero padding, counted exactly from the
shapes."""

import math
from collections.abc import Sequence

from spikedriven.graph.nodes import Node


def inner_share(
    node: Node, kernel: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]
) -> float:
    """Share of a convolution's products whose input value lies inside the map (transposed: whose
    output value does).

    kernel, inputs, outputs: sizes along the spatial axes.
    """
    axes = len(kernel)
    stride, padding, dilation = (
        _per_axis(node.attrs.get(name), axes) for name in ("stride", "padding", "dilation")
    )
    if (
        "transpose" in node.target
    ):  # an input value is spread over the kernel; the border of the result is cut off
        inputs, outputs = outputs, inputs
    shares = (
        _inside(
            size,
            out,
            kernel[i],
            stride[i],
            _before(padding[i], kernel[i], dilation[i]),
            dilation[i],
        )
        for i, (size, out) in enumerate(zip(inputs, outputs, strict=True))
    )
    return math.prod(shares)


def _per_axis(value: object, axes: int) -> list:
    if isinstance(value, list | tuple):
        return list(value) * axes if len(value) == 1 else list(value)
    return [value] * axes


def _before(padding: int | str | None, kernel: int, dilation: int | None) -> int:
    """Padding in front of an axis; "same" puts the smaller half there, as PyTorch does."""
    if isinstance(padding, str):
        return (dilation or 1) * (kernel - 1) // 2 if padding == "same" else 0
    return padding or 0


def _inside(
    size: int, out: int, kernel: int, stride: int | None, padding: int, dilation: int | None
) -> float:
    """Share of (output, tap) pairs along one axis that read a position 0 .. size - 1."""
    step, spread = stride or 1, dilation or 1
    found = 0
    for tap in range(kernel):
        offset = tap * spread - padding
        first = max(0, math.ceil(-offset / step))
        last = min(out - 1, (size - 1 - offset) // step)
        found += max(0, last - first + 1)
    return found / (out * kernel)
