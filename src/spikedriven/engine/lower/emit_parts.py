"""Operators that take a part of the values, or put them in another order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from spikedriven.engine.lower.draft import Draft
from spikedriven.engine.lower.layout import (
    REPEATED,
    Axis,
    Dim,
    Dims,
    axes_in,
    axis,
    axis_of,
    joined,
    places,
    size_of,
    without,
)
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import Value, arranged, outer
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.engine.program import Pick
from spikedriven.graph.nodes import Node


@emits(op="slice")
def part(walk: Walk, node: Node) -> Result:
    value = walk.value(node)
    number, taken, keeps = _taken(walk, node, value)
    dim = value.dims[number]
    if axes_in(dim) == {"T"}:
        return _of_steps(walk, value, number, taken, keeps)
    if not dim or taken == list(range(size_of(dim))):
        result = value
    elif axes_in(dim) == {REPEATED}:
        dims = list(value.dims)
        dims[number] = axis(REPEATED, len(taken))
        result = replace(value, dims=tuple(dims))
    else:
        result = picked(walk.draft, value, number, taken)
    return result if keeps else replace(result, dims=without(result.dims, number))


def _taken(walk: Walk, node: Node, value: Value) -> tuple[int, list[int], bool]:
    """Which dimension, which places of it, and whether the dimension stays."""
    attrs = node.attrs
    if node.target == "aten::index":
        return _indexed(walk, node, value)
    number = _first(attrs.get("dim", (attrs.get("dims") or [0]))) % len(value.dims)
    size = size_of(value.dims[number])
    every = list(range(size))
    name = node.target.removeprefix("aten::")
    if name == "select":
        return number, [every[attrs["index"]]], False
    if name == "unbind":
        return number, [attrs["output"]], False
    if name == "slice":
        return number, every[slice(attrs["start"], attrs["end"], attrs["step"])], True
    if name == "narrow":
        return number, every[attrs["start"] :][: attrs["length"]], True
    name = name.removeprefix("unsafe_")
    if name in ("split", "split_with_sizes", "chunk"):
        return number, _piece(name, attrs, every), True
    if name in ("flip", "roll"):
        return number, _turned(name, attrs, every), True
    if name == "index_select":
        return number, [every[i] for i in _numbers(walk, node, "index")], True
    raise Unlowered(f"the engine has no operation for {node.target}", "take parts by slices")


def _first(numbers: Sequence[int] | int) -> int:
    if isinstance(numbers, int):
        return numbers
    if len(numbers) != 1:
        raise Unlowered(
            "it moves values along several dimensions at once", "do it one dimension at a time"
        )
    return numbers[0]


def _piece(name: str, attrs: Any, every: list[int]) -> list[int]:
    index = attrs["output"]
    if name == "chunk":
        length = -(-len(every) // attrs["chunks"])
        return every[index * length : (index + 1) * length]
    sizes = attrs.get("split_size", attrs.get("split_sizes"))
    sizes = [sizes] * (-(-len(every) // sizes)) if isinstance(sizes, int) else sizes
    return every[sum(sizes[:index]) :][: sizes[index]]


def _turned(name: str, attrs: Any, every: list[int]) -> list[int]:
    if name == "flip":
        return every[::-1]
    shift = _first(attrs["shifts"])
    return [every[(i - shift) % len(every)] for i in every]


def _indexed(walk: Walk, node: Node, value: Value) -> tuple[int, list[int], bool]:
    """``x[:, [3, 1, 0]]``: a list of places of one dimension."""
    names = [f"indices[{n}]" for n in range(len(value.dims))]
    given = [
        n for n, name in enumerate(names) if name in node.inputs or node.attrs.get(name) is not None
    ]
    if len(given) != 1:
        raise Unlowered("it takes places along several dimensions", "do it one dimension at a time")
    every = list(range(size_of(value.dims[given[0]])))
    return given[0], [every[i] for i in _numbers(walk, node, names[given[0]])], True


def _numbers(walk: Walk, node: Node, name: str) -> list[int]:
    found = walk.operand(node, name)
    if not isinstance(found, Tensor) or found.ndim != 1:
        raise Unlowered(
            "it takes places that depend on the input", "take places that are known beforehand"
        )
    return [int(i) for i in found.tolist()]


def _of_steps(walk: Walk, value: Value, number: int, taken: list[int], keeps: bool) -> Value:
    if len(taken) != 1:
        if taken == list(range(walk.time_steps)):
            return value
        raise Unlowered("it takes some of the time steps", "take one step, or all of them")
    steps = (taken[0],) if walk.draft.maps[value.map].steps > 1 else None
    dims = list(value.dims)
    dims[number] = ()
    result = replace(value, dims=tuple(dims), steps=steps)
    return result if keeps else replace(result, dims=without(result.dims, number))


def picked(draft: Draft, value: Value, number: int, taken: list[int]) -> Value:
    """Some places of one dimension, in this order."""
    (of, *more) = axes_in(value.dims[number])
    if of == "B" or "B" in more:
        raise Unlowered("it takes some samples of the batch", "treat all samples alike")
    if more or of == REPEATED:
        value = _in_a_row(draft, value, number)
        return picked(draft, value, number, taken)
    dims, order = _order(value.dims, number, taken, of)
    m = draft.maps[value.map]
    sizes = {"H": m.height, "W": m.width, "C": m.channels}
    arrays = {name: np.arange(size, dtype=np.int32) for name, size in sizes.items()}
    arrays[of] = np.array(order, dtype=np.int32)
    h, w, c = (len(arrays[name]) for name in "HWC")
    out = draft.alike(value.map, height=h, width=w, channels=c)
    steps = np.arange(m.steps, dtype=np.int32)
    draft.add(Pick(value.map, out, steps, arrays["H"], arrays["W"], arrays["C"]))
    return replace(value, map=out, dims=dims)


def _order(dims: Dims, number: int, taken: list[int], of: str) -> tuple[Dims, list[int]]:
    """Which places of an axis are left, and how the dimensions count through these."""
    order, sizes = [0], []
    for n, dim in enumerate(dims):
        offsets = places(tuple(p for p in dim if p.of == of))
        offsets = [offsets[i] for i in taken] if n == number else offsets
        order = [start + offset for start in order for offset in offsets]
        sizes.append(len(offsets))
    result, stride = [], 1
    for n, dim in reversed(list(enumerate(dims))):
        result.append(
            _restrided(dim, of, stride) if n != number else axis_of(of, len(taken), stride)
        )
        stride *= sizes[n]
    return tuple(result[::-1]), order


def _restrided(dim: Dim, of: str, stride: int) -> Dim:
    """A dimension whose parts of an axis now have ``stride`` places between them."""
    result = []
    for p in reversed(dim):
        if p.of == of:
            result.append(Axis(of, p.size, stride))
            stride *= p.size
        else:
            result.append(p)
    return joined(result[::-1])


def _in_a_row(draft: Draft, value: Value, number: int) -> Value:
    """The value in a map with one dimension, which runs over several axes, along its width."""
    rest = [n for n, dim in enumerate(value.dims) if n != number and not outer(dim)]
    return arranged(draft, value, (), (number,), rest)
