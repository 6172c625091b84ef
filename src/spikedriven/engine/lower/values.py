"""Values of the graph: a map of the draft, and how the tensor's dimensions lie in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.lower.draft import Draft
from spikedriven.engine.lower.layout import (
    REPEATED,
    Axis,
    Dim,
    Dims,
    axes_in,
    axis,
    places,
    size_of,
)
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.program import Map, Rearrange

#: Axes that stay outside of what a layer looks at: each step and each sample is computed alone.
OUTER = {"T", "B", REPEATED}


@dataclass(frozen=True)
class Value:
    """``map * factor``, laid out as ``dims`` say.

    steps: of a loop over time, the step that this is of the map, ``(t,)``, or several that were
    added up; None: the map as a whole. border: zeros around it, (top, left, bottom, right), which a
    convolution adds to its padding.
    """

    map: int
    dims: Dims
    factor: float = 1.0
    steps: tuple[int, ...] | None = None
    border: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Membrane:
    """What a neuron hands to its next call. map: its spikes, over all steps; step: the last one so
    far."""

    map: int
    step: int


@dataclass(frozen=True)
class Pair:
    """Products of two values, summed over what both have: ``q k^T`` over channels, ``k^T v`` over
    tokens.

    Axes of `dims` that come from one side alone are named "left.H", "right.C" ...
    """

    left: Value
    right: Value
    over: str  # "channels" or "tokens"
    dims: Dims
    factor: float = 1.0
    steps: tuple[int, ...] | None = None


def whole(draft: Draft, index: int, *names: str) -> Dims:
    """Whole axes of a map as dimensions; "T" and "B" are left out where they have one place."""
    m = draft.maps[index]
    sizes = {"T": m.steps, "H": m.height, "W": m.width, "C": m.channels}
    return tuple(axis(name, sizes[name]) for name in names)


def is_whole(draft: Draft, value: Value, number: int, of: str) -> bool:
    """Whether a dimension is the whole of an axis of its map."""
    return value.dims[number] == whole(draft, value.map, of)[0]


def outer(dim: Dim) -> bool:
    return axes_in(dim) <= OUTER


def check_outer(dims: Sequence[Dim], where: str) -> None:
    """Unlowered where time or batch stands among the dimensions that a layer looks at."""
    if any(axes_in(dim) & {"T", "B"} for dim in dims):
        raise Unlowered(
            f"time or batch lies among the {where} that it reads",
            "bring time and batch to the front, as [T, B, ...] or [T * B, ...]",
        )


def plain(draft: Draft, value: Value) -> int:
    """The map of a value without a factor."""
    return value.map if value.factor == 1.0 else draft.affine(value.map, value.factor)


def real_of(draft: Draft, value: Value) -> int:
    """The map of a value as real numbers."""
    if value.factor == 1.0 and not draft.is_spikes(value.map):
        return value.map
    return draft.affine(value.map, value.factor)


# Another arrangement ------------------------------------------------------------------------------


def arranged(
    draft: Draft, value: Value, height: Sequence[int], width: Sequence[int], channels: Sequence[int]
) -> Value:
    """The value in a map whose height, width and channels are these dimensions of it, each a list
    of numbers."""
    groups = {"H": tuple(height), "W": tuple(width), "C": tuple(channels)}
    inner = [number for group in groups.values() for number in group]
    check_outer([value.dims[number] for number in inner], "positions and channels")
    rest = [number for number in range(len(value.dims)) if number not in inner]
    if any(not outer(value.dims[number]) for number in rest):
        raise Unlowered(
            "positions or channels lie in the dimension of the batch",
            "bring channels and positions behind the batch, as [T * B, C, H, W]",
        )
    sizes = {
        of: size_of(tuple(p for n in group for p in value.dims[n])) for of, group in groups.items()
    }
    dims = _named(value.dims, groups)
    index = _index(draft.maps[value.map], [value.dims[number] for number in inner]).reshape(
        sizes["H"], sizes["W"], sizes["C"]
    )
    if (
        index.shape == _size(draft.maps[value.map])
        and (index.ravel() == np.arange(index.size)).all()
    ):
        return replace(value, dims=dims)
    out = draft.alike(value.map, height=sizes["H"], width=sizes["W"], channels=sizes["C"])
    draft.add(Rearrange(value.map, out, index.astype(np.int32)))
    return replace(value, map=out, dims=dims)


def _named(dims: Dims, groups: dict[str, tuple[int, ...]]) -> Dims:
    """Dimensions of the new map: what stays outside stays; the others are parts of the axis they
    were put in."""
    result = list(dims)
    for of, group in groups.items():
        stride = 1
        for number in reversed(group):
            size = size_of(dims[number])
            result[number] = (Axis(of, size, stride),) if size > 1 else ()
            stride *= size
    return tuple(result)


def _index(m: Map, dims: Sequence[Dim]) -> NDArray[np.int64]:
    """The places in [height, width, channels] of a map that dimensions count through, flat, in
    their order."""
    strides = {"H": m.width * m.channels, "W": m.channels, "C": 1, REPEATED: 0}
    index = np.zeros(1, dtype=np.int64)
    for part in (part for dim in dims for part in dim):
        steps = np.arange(part.size) * part.stride * strides[part.of]
        index = (index[:, None] + steps).ravel()
    return index


def _size(m: Map) -> tuple[int, int, int]:
    return m.height, m.width, m.channels


def as_image(draft: Draft, value: Value, channel: int, space: Sequence[int]) -> Value:
    """The value in a map with ``channel`` for its channels and ``space``, one or two dimensions,
    for its positions."""
    dims = value.dims
    row, column = (space[0], space[1]) if len(space) == 2 else (None, space[0])
    fits = (
        is_whole(draft, value, channel, "C")
        and (draft.maps[value.map].height == 1 if row is None else is_whole(draft, value, row, "H"))
        and is_whole(draft, value, column, "W")
        and all(outer(dim) for n, dim in enumerate(dims) if n not in (channel, *space))
    )
    if fits:
        return value
    return arranged(draft, value, () if row is None else (row,), (column,), (channel,))


def with_channels(draft: Draft, value: Value, channel: int) -> Value:
    """The value in a map whose channels are one dimension of it, whatever the others are."""
    others = [n for n, dim in enumerate(value.dims) if n != channel]
    if is_whole(draft, value, channel, "C") and all(
        "C" not in axes_in(value.dims[n]) for n in others
    ):
        return value
    if not any("C" in axes_in(value.dims[n]) for n in others) and _is_permutation(
        draft, value, channel
    ):
        rows = [n for n in others if axes_in(value.dims[n]) & {"H", "W"}]
        return arranged(draft, value, (), rows, (channel,))
    inner = [n for n in others if not outer(value.dims[n])]
    return arranged(draft, value, (), inner, (channel,))


def _is_permutation(draft: Draft, value: Value, channel: int) -> bool:
    dim = value.dims[channel]
    return axes_in(dim) == {"C"} and sorted(places(dim)) == list(
        range(draft.maps[value.map].channels)
    )


# Two values, element by element -------------------------------------------------------------------


def aligned(draft: Draft, a: Value, b: Value) -> tuple[Value, Value, Dims]:
    """Two values whose elements meet at the same places of their maps, or where one stands for
    several; and the dimensions of what is made of them. b is laid out anew where it lies
    otherwise."""
    pairs = list(_pairs(a.dims, b.dims))
    ratio = _ratio(draft, a, b)
    dims = [_met(x, y, ratio) for x, y in pairs]
    if any(dim is None for dim in dims):
        b = _like(draft, a, b)
        return a, b, aligned_dims(a.dims, b.dims)
    return a, b, tuple(dim for dim in dims if dim is not None)


def aligned_dims(a: Dims, b: Dims) -> Dims:
    return tuple(_stepped(x, y) if x and y else x or y for x, y in _pairs(a, b))


def _stepped(x: Dim, y: Dim) -> Dim:
    """Of two dimensions that lie alike: steps that differ, where one of them has steps that are
    all the same.
    """
    return (
        tuple(q if p.of == REPEATED else p for p, q in zip(x, y, strict=True))
        if len(x) == len(y)
        else x
    )


def _pairs(a: Dims, b: Dims) -> Iterator[tuple[Dim, Dim]]:
    length = max(len(a), len(b))
    fill: tuple[Dim, ...] = ((),) * length
    return zip((*fill[len(a) :], *a), (*fill[len(b) :], *b), strict=True)


def _ratio(draft: Draft, a: Value, b: Value) -> float:
    """How many channels of a one channel of b stands for."""
    return draft.maps[a.map].channels / draft.maps[b.map].channels


def _met(x: Dim, y: Dim, ratio: float) -> Dim | None:
    """The dimension of both together; None where they lie differently."""
    if not y or not x:
        return x or y
    if size_of(x) != size_of(y):
        return None
    if axes_in(y) == {REPEATED}:
        return x
    if axes_in(x) == {REPEATED}:
        return y
    wide, narrow, times = (x, y, ratio) if ratio >= 1 else (y, x, 1 / ratio)
    if times != int(times):
        return None
    stretched = tuple(
        replace(p, stride=p.stride * int(times)) if p.of == "C" else p for p in narrow
    )
    if stretched == wide:
        return wide
    if len(x) != len(y) or len(x) == 1:
        return None
    parts = [
        _met((one,), (other,), ratio) for one, other in zip(x, y, strict=True)
    ]  # [T * B, ...]: axis by axis
    return None if None in parts else tuple(part for dim in parts for part in dim or ())


def _like(draft: Draft, a: Value, b: Value) -> Value:
    """b with each of its dimensions where a has it."""
    if len(a.dims) < len(b.dims):
        raise _apart()
    b = replace(b, dims=(*((),) * (len(a.dims) - len(b.dims)), *b.dims))
    if [size_of(x) for x in a.dims] != [size_of(y) for y in b.dims]:
        raise _apart()
    outer_a, outer_b = (
        [tuple(p for p in dim if p.of in OUTER) for dim in value.dims] for value in (a, b)
    )
    if list(map(unrepeated, outer_a)) != list(map(unrepeated, outer_b)):
        raise _apart()
    m = draft.maps[a.map]
    target = _index(m, [_inner(dim) for dim in a.dims])
    source = _index(draft.maps[b.map], [_inner(dim) for dim in b.dims])
    index = np.empty(m.height * m.width * m.channels, dtype=np.int32)
    index[target] = source
    out = draft.alike(b.map, height=m.height, width=m.width, channels=m.channels)
    draft.add(Rearrange(b.map, out, index.reshape(m.height, m.width, m.channels)))
    return replace(b, map=out, dims=tuple(map(_with_outer, a.dims, outer_b)))


def _with_outer(dim: Dim, outer_parts: Dim) -> Dim:
    """The dimension with other steps."""
    left = iter(outer_parts)
    return tuple(next(left) if part.of in OUTER else part for part in dim)


def unrepeated(dim: Dim) -> Dim:
    """Steps that are all the same need no steps in the map."""
    return tuple(Axis("T", p.size) if p.of == REPEATED else p for p in dim)


def _inner(dim: Dim) -> Dim:
    return tuple(part for part in dim if part.of not in OUTER)


def _apart() -> Unlowered:
    return Unlowered(
        "its two operands are laid out in ways that the engine cannot bring together",
        "reshape both to one form, [T, B, C, H, W] or [T, B, N, C], before they meet",
    )
