"""Sums, products, means, constants and ReLU."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from spikedriven.engine import windows
from spikedriven.engine.lower.draft import Draft, Float64, Weigh
from spikedriven.engine.lower.emit_layers import pooled, weighed
from spikedriven.engine.lower.layout import REPEATED, Axis, Dim, Dims, axes_in, places, shape_of
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import Pair, Value, aligned, plain, real_of
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.engine.program import Constant, Product, Quotient, Relu, Sum, TimeMean
from spikedriven.graph import kinds
from spikedriven.graph.nodes import Node

# With constants -----------------------------------------------------------------------------------


@emits(op="scale")
def scale(walk: Walk, node: Node) -> Result:
    if node.target == "aten::neg":
        return scaled(walk.draft, walk.values[node.data], -1.0)
    left, right = walk.operand(node, "self"), walk.operand(node, "other")
    value, numbers = (right, left) if isinstance(right, Value | Pair) else (left, right)
    if node.attrs.get("rounding_mode"):
        raise Unlowered("it divides and rounds", "put an integer neuron in place of the rounding")
    if node.target == "aten::div":
        if value is right:
            raise Unlowered("it divides a constant by a value", "multiply instead")
        numbers = 1.0 / numbers  # type: ignore[operator]
    number = one_number(numbers)
    if number is not None:
        return scaled(walk.draft, value, number)
    return _with_numbers(walk, walk.value(node), numbers, Product)


def one_number(numbers: Any) -> float | None:
    """The number that all of a constant's elements are."""
    if isinstance(numbers, Tensor):
        flat = numbers.flatten()
        return float(flat[0]) if len(flat) and bool((flat == flat[0]).all()) else None
    return float(numbers)


def scaled(draft: Draft, value: Any, number: float) -> Value | Pair:
    """The value times a number: a factor that is carried along, or of real values an operation."""
    if isinstance(value, Pair):
        return replace(value, factor=value.factor * number)
    if not isinstance(value, Value):
        raise Unlowered("it scales no value of the network", "scale what the layers read or give")
    if draft.is_spikes(value.map) or value.factor != 1.0 or number == 1.0:
        return replace(value, factor=value.factor * number)
    return replace(value, map=draft.affine(value.map, number))


def _with_numbers(walk: Walk, value: Value, numbers: Any, how: type) -> Value:
    """The value times, or plus, constants that differ from place to place."""
    draft = walk.draft
    found = _on_map(draft, value, numbers)
    if found is None:
        raise Unlowered(
            "its constants change the form of the value, or differ between time steps",
            "use one constant for all steps, of the shape of the value",
        )
    if (found == found[:1, :1]).all():
        vector = found[0, 0]
        if how is Product:
            return Value(draft.affine(value.map, vector * value.factor), value.dims)
        return Value(draft.affine(value.map, value.factor, vector), value.dims)
    constant = draft.map("real", 1, *found.shape)
    draft.add(Constant(constant, found.astype(np.float32)))
    source = plain(draft, value)
    out = draft.real(source)
    draft.add(how(source, constant, out))
    return Value(out, value.dims)


def _on_map(draft: Draft, value: Value, numbers: Tensor) -> Float64 | None:
    """A constant as it lies on the value's map, [height, width, channels]; None where it does not
    fit there."""
    numbers = numbers.reshape((1,) * (len(value.dims) - numbers.ndim) + tuple(numbers.shape))
    if numbers.ndim != len(value.dims):
        return None
    for size, dim in zip(numbers.shape, value.dims, strict=True):
        if size not in (1, *shape_of((dim,))) or (size > 1 and axes_in(dim) & {"T", "B", REPEATED}):
            return None
    m = draft.maps[value.map]
    inner = [tuple(p for p in dim if p.of in "HWC") for dim in value.dims]
    expanded = numbers.expand(shape_of(tuple(inner))).numpy().ravel()
    index = _flat_places(inner, {"H": m.width * m.channels, "W": m.channels, "C": 1})
    result = np.empty(m.height * m.width * m.channels)
    result[index] = expanded
    return result.reshape(m.height, m.width, m.channels)


def _flat_places(dims: list[Dim], strides: dict[str, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    index = np.zeros(1, dtype=np.int64)
    for part in (part for dim in dims for part in dim):
        index = (index[:, None] + np.arange(part.size) * part.stride * strides[part.of]).ravel()
    return index


# Two values ---------------------------------------------------------------------------------------


@emits(op="add", sees_steps=True)
def add(walk: Walk, node: Node) -> Result:
    names = ("other", "self") if node.target == "aten::rsub" else ("self", "other")
    left, right = (walk.operand(node, name) for name in names)
    sign = 1.0 if node.target == "aten::add" else -1.0
    sign *= node.attrs.get("alpha", 1)
    if isinstance(left, Value) and isinstance(right, Value) and left.steps != right.steps:
        return _steps_added(walk, left, right if sign == 1.0 else None)
    operands = {
        name: v for name, v in zip(names, (left, right), strict=True) if isinstance(v, Value)
    }
    steps = next(iter(operands.values())).steps if operands else None
    stripped: dict[str, Any] = {name: replace(v, steps=None) for name, v in operands.items()}
    result = walk.once(node, stripped, lambda: _added(walk, node, names, sign))
    return replace(result, steps=steps) if isinstance(result, Value) else result


def _added(walk: Walk, node: Node, names: tuple[str, str], sign: float) -> Value:
    draft = walk.draft
    left, right = (walk.operand(node, name) for name in names)
    if not isinstance(left, Value):
        (left, right), negative = (right, left), sign < 0
        if isinstance(left, Value) and negative:
            left = scaled(draft, left, sign)
            sign = 1.0
    if not isinstance(left, Value):
        raise Unlowered("it adds no value of the network", "add what the layers give")
    if not isinstance(right, Value):
        numbers = right * sign  # type: ignore[operator]
        if one_number(numbers) == 0.0:
            return left
        return _with_numbers(walk, left, _tensor(numbers), Sum)
    right = right if sign == 1.0 else scaled(draft, right, sign)
    assert isinstance(right, Value)
    return _sum(draft, left, right, node)


def _tensor(numbers: Any) -> Tensor:
    import torch

    return (
        numbers
        if isinstance(numbers, Tensor)
        else torch.tensor(float(numbers), dtype=torch.float64)
    )


def _sum(draft: Draft, left: Value, right: Value, node: Node) -> Value:
    left, right, dims = aligned(draft, left, right)
    maps = [draft.maps[v.map] for v in (left, right)]
    units = {m.unit * v.factor for m, v in zip(maps, (left, right), strict=True)}
    found = kinds.span(node.kind)
    counts = all(m.kind == "spikes" for m in maps) and len({m.unit for m in maps}) == 1
    factor = 1.0
    if left.factor == right.factor:
        a, b, factor = left.map, right.map, left.factor
    else:
        a, b, counts = plain(draft, left), plain(draft, right), False
    sizes = together(draft, a, b)
    if counts and len(units) == 1 and found is not None and found.low >= 0 and found.high <= 255:
        out = draft.map("spikes", *sizes, found.high, maps[0].unit)
    else:
        out = draft.map("real", *sizes)
    draft.add(Sum(a, b, out))
    return Value(out, dims, factor)


def together(draft: Draft, a: int, b: int) -> tuple[int, int, int, int]:
    """[steps, height, width, channels] of two maps that are broadcast."""
    x, y = draft.maps[a], draft.maps[b]
    return (
        max(x.steps, y.steps),
        max(x.height, y.height),
        max(x.width, y.width),
        max(x.channels, y.channels),
    )


def _steps_added(walk: Walk, left: Value, right: Value | None) -> Value:
    """Steps of a loop that are added up, one after the other: the mean over time, times the
    steps."""
    steps = (left.steps or ()) + (right.steps or () if right else ())
    same = right is not None and replace(left, steps=None) == replace(right, steps=None)
    in_order = steps == tuple(range(len(steps))) and len(steps) > 1
    if not same or not in_order:
        raise Unlowered(
            "it adds values of different time steps",
            "add what one layer gives at every step, in the order of the steps, or stack them and "
            "take their mean",
        )
    if len(steps) < walk.time_steps:
        return replace(left, steps=steps)
    return replace(
        _time_mean(walk.draft, replace(left, steps=None)), factor=left.factor * walk.time_steps
    )


@emits(op="multiply")
def multiply(walk: Walk, node: Node) -> Result:
    draft = walk.draft
    left, right, dims = aligned(draft, walk.value(node, "self"), walk.value(node, "other"))
    maps = [draft.maps[v.map] for v in (left, right)]
    sizes = together(draft, left.map, right.map)
    levels = math.prod(m.levels for m in maps)
    if all(m.kind == "spikes" for m in maps) and levels <= 255:
        out = draft.map("spikes", *sizes, levels, maps[0].unit * maps[1].unit)
    else:
        out = draft.map("real", *sizes)
    draft.add(Product(left.map, right.map, out))
    return Value(out, dims, left.factor * right.factor)


@emits(op="divide")
def divide(walk: Walk, node: Node) -> Result:
    draft = walk.draft
    if node.attrs.get("rounding_mode"):
        raise Unlowered("it divides and rounds", "put an integer neuron in place of the rounding")
    left, right, dims = aligned(draft, walk.value(node, "self"), walk.value(node, "other"))
    a, b = real_of(draft, left), real_of(draft, right)
    out = draft.map("real", *together(draft, a, b))
    draft.add(Quotient(a, b, out))
    return Value(out, dims)


@emits(targets="relu")
def relu(walk: Walk, node: Node) -> Result:
    draft, value = walk.draft, walk.value(node)
    if draft.is_spikes(value.map) and value.factor > 0:
        return value
    source = real_of(draft, value)
    out = draft.real(source)
    draft.add(Relu(source, out))
    return Value(out, value.dims)


# Sums and means over axes -------------------------------------------------------------------------


@emits(op="mean")
def mean(walk: Walk, node: Node) -> Result:
    return reduced(walk, node, average=True)


@emits(op="sum")
def total(walk: Walk, node: Node) -> Result:
    return reduced(walk, node, average=False)


def reduced(walk: Walk, node: Node, average: bool) -> Value:
    draft, value = walk.draft, walk.value(node)
    given = node.attrs.get("dim")
    given = range(len(value.dims)) if given is None or given == [] else given
    numbers = {n % len(value.dims) for n in ([given] if isinstance(given, int) else given)}
    parts = [part for n in sorted(numbers) for part in value.dims[n]]
    if any(part.of == "B" for part in parts):
        raise Unlowered("it takes the mean over the batch", "treat all samples alike")
    value = replace(
        value, dims=tuple(() if n in numbers else dim for n, dim in enumerate(value.dims))
    )
    over = {of: tuple(p for p in parts if p.of == of) for of in ("C", "H", "W", "T", REPEATED)}
    if over["C"]:
        value = _over_channels(draft, value, over["C"], average)
    if over["H"] or over["W"]:
        value = _over_space(draft, value, over["H"], over["W"], average)
    if over["T"]:
        value = _over_time(draft, value, average)
    if not average:
        value = replace(value, factor=value.factor * math.prod(p.size for p in over[REPEATED]))
    if node.attrs.get("keepdim"):
        return value
    return replace(value, dims=tuple(dim for n, dim in enumerate(value.dims) if n not in numbers))


def _over_time(draft: Draft, value: Value, average: bool) -> Value:
    found = _time_mean(draft, value)
    return found if average else replace(found, factor=found.factor * draft.time_steps)


def _time_mean(draft: Draft, value: Value) -> Value:
    is_real = not draft.is_spikes(value.map)
    source = value.map if is_real else real_of(draft, value)
    out = draft.real(source, steps=1)
    draft.add(TimeMean(source, out))
    return replace(value, map=out, factor=value.factor if is_real else 1.0)


def _over_space(draft: Draft, value: Value, rows: Dim, columns: Dim, average: bool) -> Value:
    m = draft.maps[value.map]
    if any(
        part.size != size
        for dim, size in ((rows, m.height), (columns, m.width))
        for part in dim[:1]
    ):
        raise Unlowered(
            "it takes the mean over a part of an axis", "use an average pool over windows"
        )
    make = (lambda size: windows.adaptive(size, 1)) if average else windows.summed
    out = pooled(
        draft, value.map,
        make(m.height) if rows else _each(m.height),
        make(m.width) if columns else _each(m.width), "mean",
    )  # fmt: skip
    return replace(value, map=out)


def _each(size: int) -> Any:
    return windows.sliding(size, 1, 1)


def _over_channels(draft: Draft, value: Value, parts: Dim, average: bool) -> Value:
    """Sums of channels as a layer with weights of 1."""
    m = draft.maps[value.map]
    kept = [p for dim in value.dims for p in dim if p.of == "C"]
    summed, left = places(parts), places(tuple(kept))
    weight = np.zeros((len(left), m.channels, 1, 1))
    for number, start in enumerate(left):
        weight[number, [start + offset for offset in summed]] = 1.0
    groups = 1
    if m.channels == len(summed) * len(left) and left == [
        i * len(summed) for i in range(len(left))
    ]:
        groups, weight = len(left), np.ones((len(left), len(summed), 1, 1))
    factor = value.factor / (len(summed) if average else 1)
    if draft.is_spikes(value.map):  # ones stay ones
        scale = np.full(len(left), factor * m.unit)
        layer = Weigh(value.map, weight, np.zeros(len(left)), groups=groups, scale=scale)
    else:
        layer = Weigh(value.map, weight * factor, np.zeros(len(left)), groups=groups)
    return Value(weighed(draft, layer, m.height, m.width), _restrided(value.dims))


def _restrided(dims: Dims) -> Dims:
    """Dimensions of a map that has only the channels which they name, in their order."""
    stride, result = 1, []
    for dim in reversed(dims):
        parts = []
        for p in reversed(dim):
            parts.append(Axis(p.of, p.size, stride) if p.of == "C" else p)
            stride *= p.size if p.of == "C" else 1
        result.append(tuple(reversed(parts)))
    return tuple(reversed(result))
