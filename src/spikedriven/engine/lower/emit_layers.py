"""Layers with weights, norms, pools and resizing."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from spikedriven.engine import windows
from spikedriven.engine.lower.draft import Draft, Float64, PlanePool, Weigh
from spikedriven.engine.lower.emit_layout import scale_factors
from spikedriven.engine.lower.layout import Dims, axis, axis_of, joined
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import Value, as_image, whole, with_channels
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.engine.program import Head, Pool, Resize
from spikedriven.graph.nodes import Node

# Convolutions -------------------------------------------------------------------------------------


@emits(op="conv")
def conv(walk: Walk, node: Node) -> Result:
    value = walk.value(node)
    weight = array(walk.operand(node, "weight"))
    transposed = "transpose" in node.target or bool(node.attrs.get("transposed"))
    ndim = weight.ndim - 2
    if ndim > 2:
        raise Unlowered(
            "the engine has no convolution in three dimensions", "fold one of them into the batch"
        )
    if len(value.dims) != ndim + 2:
        raise Unlowered("it reads a tensor without a batch axis", "give the batch its axis")
    stride, dilation = (pair(node.attrs[name], ndim, 1) for name in ("stride", "dilation"))
    groups = node.attrs["groups"]
    kernel = weight.reshape(*weight.shape[:2], *((1,) if ndim == 1 else ()), *weight.shape[2:])
    bias = walk.operand(node, "bias")
    value = as_image(walk.draft, value, 1, range(2, ndim + 2))
    padding = _padding(node, ndim, kernel.shape[2:], dilation)
    padding = _with_border(padding, value.border)
    spread = (1, 1)
    if transposed:
        extra = pair(node.attrs["output_padding"], ndim, 0)
        kernel, padding = (
            turned(kernel, groups),
            turned_padding(kernel.shape[2:], padding, dilation, extra),
        )
        stride, spread = (1, 1), stride
    shift = np.zeros(len(kernel)) if bias is None else array(bias)
    layer = Weigh(
        value.map, kernel * value.factor, shift, stride, padding, dilation, spread, groups,
    )  # fmt: skip
    sizes = walk.shape(node)[2:]
    out = weighed(walk.draft, layer, *((1, sizes[0]) if ndim == 1 else sizes))
    space = whole(walk.draft, out, *"HW"[-ndim:])
    return Value(out, (value.dims[0], *whole(walk.draft, out, "C"), *space))


def _with_border(
    padding: tuple[int, int, int, int], border: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    top, left, bottom, right = (p + b for p, b in zip(padding, border, strict=True))
    return top, left, bottom, right


def array(value: Any) -> Float64:
    """The numbers of a weight."""
    if not isinstance(value, Tensor):
        raise Unlowered(
            "its weights are computed from the input",
            "use weights that are parameters of the network",
        )
    return value.double().cpu().numpy()


def pair(sizes: Sequence[int] | int, ndim: int, along: int) -> tuple[int, int]:
    """(y, x) of an option; ``along``: its value along the axis that a 1-d layer does not have."""
    sizes = [sizes] * ndim if isinstance(sizes, int) else list(sizes)
    sizes = sizes * ndim if len(sizes) == 1 else sizes
    return (along, sizes[0]) if ndim == 1 else (sizes[0], sizes[1])


def _padding(
    node: Node, ndim: int, kernel: Sequence[int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right)."""
    given = node.attrs["padding"]
    if isinstance(given, str):
        reach = [
            d * (k - 1) if given == "same" else 0 for k, d in zip(kernel, dilation, strict=True)
        ]
        return reach[0] // 2, reach[1] // 2, reach[0] - reach[0] // 2, reach[1] - reach[1] // 2
    y, x = pair(given, ndim, 0)
    return y, x, y, x


def turned(kernel: Float64, groups: int) -> Float64:
    """The weights [in, out / groups, ...] of a transposed convolution as those of the convolution
    that it is."""
    grouped = kernel.reshape(groups, -1, *kernel.shape[1:]).swapaxes(1, 2)
    return grouped.reshape(-1, *grouped.shape[2:])[..., ::-1, ::-1].copy()


def turned_padding(
    kernel: Sequence[int], padding: Sequence[int], dilation: tuple[int, int], extra: tuple[int, int]
) -> tuple[int, int, int, int]:
    top, left, bottom, right = (
        dilation[i % 2] * (kernel[i % 2] - 1) - padding[i] + (extra[i % 2] if i > 1 else 0)
        for i in range(4)
    )
    if min(top, left, bottom, right) < 0:
        raise Unlowered(
            "it pads by more than its kernel reaches", "use a padding below the kernel's size"
        )
    return top, left, bottom, right


def weighed(draft: Draft, layer: Weigh, height: int, width: int) -> int:
    """Append a weight layer; the map of its real values."""
    out = draft.real(layer.source, height=height, width=width, channels=len(layer.weight))
    draft.add(replace(layer, real=out))
    return out


# Linear layers ------------------------------------------------------------------------------------


@emits(op="linear")
def linear(walk: Walk, node: Node) -> Result:
    if node.target == "aten::linear":
        bias = walk.operand(node, "bias")
        weight = array(walk.operand(node, "weight"))
        return _linear(
            walk, node, walk.value(node), -1, weight, None if bias is None else array(bias)
        )
    if node.target == "aten::einsum":
        return _einsum(walk, node)
    if node.target in ("aten::matmul", "aten::mm", "aten::bmm"):
        return _product(walk, node)
    raise Unlowered(f"the engine has no operation for {node.target}", "use a linear layer")


def _linear(
    walk: Walk, node: Node, value: Value, number: int, weight: Float64, bias: Float64 | None
) -> Value:
    """A linear map [out, in] of one dimension."""
    draft, number = walk.draft, number % len(value.dims)
    value = with_channels(draft, value, number)
    shift = np.zeros(len(weight)) if bias is None else bias
    m = draft.maps[value.map]
    if (m.height, m.width) == (1, 1) and _classifies(walk, node):
        out = draft.real(value.map, channels=len(weight))
        draft.add(
            Head(value.map, out, *((a.astype(np.float32)) for a in (weight * value.factor, shift)))
        )
    else:
        layer = Weigh(value.map, weight[:, :, None, None] * value.factor, shift)
        out = weighed(draft, layer, m.height, m.width)
    dims = list(value.dims)
    dims[number] = axis("C", len(weight))
    return Value(out, tuple(dims))


#: Operators between a classifier and what the network returns.
_TO_OUTPUT = ("reshape", "mean", "sum", "scale", "add", "slice", "cat", "identity", "repeat")


def _classifies(walk: Walk, node: Node) -> bool:
    """Whether what a layer gives is only averaged, added and handed out: then it stays in
    float32."""
    readers = walk.graph.consumers(node.id)
    return all(reader.op in _TO_OUTPUT and _classifies(walk, reader) for reader in readers)


def _product(walk: Walk, node: Node) -> Value:
    """A matrix product with a constant on one side."""
    first, second = ("self", "mat2") if "mat2" in (*node.inputs, *node.attrs) else ("self", "other")
    left, right = walk.operand(node, first), walk.operand(node, second)
    if isinstance(left, Value):
        return _linear(walk, node, left, -1, _matrix(right).T, None)
    if isinstance(right, Value):
        return _linear(walk, node, right, -2, _matrix(left), None)
    raise Unlowered("it multiplies no value of the network with a matrix", "use a linear layer")


def _matrix(value: Any) -> Float64:
    found = array(value)
    if math.prod(found.shape[:-2]) != 1 or found.ndim < 2:
        raise Unlowered(
            f"it multiplies with several matrices, {list(found.shape)}",
            "use one linear layer, or a grouped convolution",
        )
    return found.reshape(found.shape[-2:])


def _einsum(walk: Walk, node: Node) -> Value:
    """A sum over one letter of a value with a constant of two letters."""
    letters, _, result = node.attrs["equation"].replace(" ", "").partition("->")
    operands = [walk.operand(node, f"tensors[{i}]") for i in range(letters.count(",") + 1)]
    named = dict(zip(letters.split(","), operands, strict=True))
    data = [(name, value) for name, value in named.items() if isinstance(value, Value)]
    constants = [(name, value) for name, value in named.items() if isinstance(value, Tensor)]
    if len(data) == len(constants) == 1 and len(constants[0][0]) == 2:
        (name, value), (own, numbers) = data[0], constants[0]
        over = [letter for letter in own if letter in name and letter not in result]
        made = [letter for letter in own if letter not in name and letter in result]
        if len(over) == len(made) == 1:
            weight = array(numbers) if own[0] == made[0] else array(numbers).T
            found = _linear(walk, node, value, name.index(over[0]), weight, None)
            order = name.replace(over[0], made[0])
            if sorted(order) == sorted(result):
                return replace(
                    found, dims=tuple(found.dims[order.index(letter)] for letter in result)
                )
    raise Unlowered(
        f"the engine has no einsum {node.attrs['equation']!r} with a constant",
        "use a linear layer on the last axis",
    )


# Norms, pools, resizing ---------------------------------------------------------------------------


@emits(op="batchnorm")
def batch_norm(walk: Walk, node: Node) -> Result:
    value = with_channels(walk.draft, walk.value(node), 1)
    count = walk.draft.maps[value.map].channels
    weight, bias = (
        _vector(walk.operand(node, name), x, count) for name, x in (("weight", 1.0), ("bias", 0.0))
    )
    mean, variance = (array(walk.operand(node, f"running_{name}")) for name in ("mean", "var"))
    scale = weight / np.sqrt(variance + node.attrs["eps"])
    out = walk.draft.affine(value.map, scale * value.factor, bias - mean * scale)
    return Value(out, value.dims)


def _vector(value: Any, missing: float, count: int) -> Float64:
    return np.full(count, missing) if value is None else array(value)


def space_of(node: Node, value: Value) -> int:
    """How many dimensions a pool looks at, by its name."""
    return 1 if "1d" in node.target else 2


def image_of(walk: Walk, node: Node) -> tuple[Value, int]:
    """The operand in a map of its own positions, and how many dimensions these are."""
    value = walk.value(node)
    ndim = space_of(node, value)
    if "3d" in node.target:
        raise Unlowered(
            "the engine has no pool in three dimensions", "fold one of them into the batch"
        )
    last = len(value.dims)
    return as_image(walk.draft, value, last - ndim - 1, range(last - ndim, last)), ndim


@emits(op="maxpool")
def max_pool(walk: Walk, node: Node) -> Result:
    if "adaptive" in node.target:
        return _adaptive(walk, node, "max")
    if node.target == "aten::amax":
        return largest(walk, node)
    if "max_pool" not in node.target or node.attrs.get("output"):
        raise Unlowered(
            f"the engine has no operation for {node.target}", "use a max pool over windows"
        )
    value = walk.value(node)
    heads = _plane_heads(walk, node, value)
    if heads is None:
        return _sliding(walk, node, "max")
    out = walk.draft.alike(value.map)
    walk.draft.add(PlanePool(value.map, out, heads))
    return replace(value, map=out)


def largest(walk: Walk, node: Node) -> Value:
    """The maximum over whole axes of the map."""
    value, draft = walk.value(node), walk.draft
    given = node.attrs["dim"]
    numbers = {n % len(value.dims) for n in ([given] if isinstance(given, int) else given)}
    parts = [part for n in sorted(numbers) for part in value.dims[n]]
    m = draft.maps[value.map]
    sizes = {"H": m.height, "W": m.width}
    if value.factor <= 0 or any(part.size != sizes.get(part.of) for part in parts):
        raise Unlowered(
            "it takes the maximum over something else than positions",
            "use a max pool over positions",
        )
    over = {part.of for part in parts}
    rows, columns = (
        windows.adaptive(sizes[of], 1) if of in over else windows.sliding(sizes[of], 1, 1)
        for of in "HW"
    )
    value = replace(value, map=pooled(draft, value.map, rows, columns, "max"))
    dims = [() if n in numbers else dim for n, dim in enumerate(value.dims)]
    keeps = node.attrs.get("keepdim")
    return replace(
        value, dims=tuple(dim for n, dim in enumerate(dims) if keeps or n not in numbers)
    )


def _plane_heads(walk: Walk, node: Node, value: Value) -> int | None:
    """Of a 3x3 pool over planes of (position, channel in head): how many heads there are. None for
    other pools."""
    attrs = node.attrs
    options = [
        pair(attrs.get(name) or 0, 2, 1)
        for name in ("kernel_size", "stride", "padding", "dilation")
    ]
    if options != [(3, 3), (1, 1), (1, 1), (1, 1)] or len(value.dims) != 4 or value.factor <= 0:
        return None
    m = walk.draft.maps[value.map]
    *_, heads, tokens, width = value.dims
    count = math.prod(part.size for part in heads)
    positions = joined((*axis("H", m.height), *axis("W", m.width)))
    planes = (axis_of("C", count, m.channels // count), axis("C", m.channels // count))
    return count if tokens == positions and (heads, width) == planes else None


@emits(op="avgpool")
def avg_pool(walk: Walk, node: Node) -> Result:
    if "::avg_pool" not in node.target and "adaptive" not in node.target:
        raise Unlowered(
            f"the engine has no operation for {node.target}",
            "leave it to PyTorch, outside of the program",
        )
    if node.attrs.get("divisor_override"):
        raise Unlowered("it divides by a number of its own", "multiply by that factor instead")
    return (
        _adaptive(walk, node, "mean") if "adaptive" in node.target else _sliding(walk, node, "mean")
    )


def _sliding(walk: Walk, node: Node, how: str) -> Value:
    value, ndim = image_of(walk, node)
    attrs, m = node.attrs, walk.draft.maps[value.map]
    if pair(attrs.get("dilation", 1), ndim, 1) != (1, 1):
        raise Unlowered("the engine has no pool with gaps in its windows", "use a dilation of 1")
    kernel = pair(attrs["kernel_size"], ndim, 1)
    stride = pair(attrs.get("stride") or attrs["kernel_size"], ndim, 1)
    padding = pair(attrs["padding"], ndim, 0)
    ceil, count = attrs.get("ceil_mode", False), attrs.get("count_include_pad", True)
    rows, columns = (
        windows.sliding(size, k, s, p, ceil, count)
        for size, k, s, p in zip((m.height, m.width), kernel, stride, padding, strict=True)
    )
    return _pooled(walk.draft, value, rows, columns, how, ndim)


def _adaptive(walk: Walk, node: Node, how: str) -> Value:
    value, ndim = image_of(walk, node)
    m = walk.draft.maps[value.map]
    height, width = pair(walk.shape(node)[-ndim:], ndim, 1)
    rows, columns = windows.adaptive(m.height, height), windows.adaptive(m.width, width)
    return _pooled(walk.draft, value, rows, columns, how, ndim)


def _pooled(draft: Draft, value: Value, rows: Any, columns: Any, how: str, ndim: int) -> Value:
    if how == "max" and value.factor < 0:
        value = Value(draft.affine(value.map, value.factor), value.dims)
    out = pooled(draft, value.map, rows, columns, how)
    dims: Dims = (*value.dims[:-ndim], *whole(draft, out, *"HW"[-ndim:]))
    return Value(out, dims, value.factor)


def pooled(draft: Draft, source: int, rows: Any, columns: Any, how: str) -> int:
    """Append a pool; its map."""
    make = draft.alike if how == "max" else draft.real
    out = make(source, height=len(rows), width=len(columns))
    draft.add(Pool(source, out, rows, columns, how))
    return out


@emits(targets="upsample_bilinear2d")
def resize(walk: Walk, node: Node) -> Result:
    draft, value = walk.draft, walk.value(node)
    value = as_image(draft, value, 1, (2, 3))
    m, attrs = draft.maps[value.map], node.attrs
    height, width = walk.shape(node)[2:]
    corners, factors = attrs["align_corners"], scale_factors(node, 2)
    rows, row_weights = windows.linear(m.height, height, corners, factors[0])
    columns, column_weights = windows.linear(m.width, width, corners, factors[1])
    out = draft.real(value.map, height=height, width=width)
    draft.add(Resize(value.map, out, rows, columns, row_weights, column_weights))
    return Value(out, (*value.dims[:2], *whole(draft, out, "H", "W")), value.factor)
