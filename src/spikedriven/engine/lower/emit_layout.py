"""Operators that only say where values lie: reshapes, exchanges of axes, repetitions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikedriven.engine import windows
from spikedriven.engine.lower.layout import REPEATED, axis, joined, reshaped, size_of
from spikedriven.engine.lower.values import Pair, Value, as_image, whole
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.engine.program import Pick
from spikedriven.graph.nodes import Node


def laid_out(walk: Walk, node: Node) -> Value | Pair:
    """The operand of a reshape, which may be half an attention."""
    found = walk.values[node.data]
    return found if isinstance(found, Pair) else walk.value(node)


@emits(op="identity")
def same(walk: Walk, node: Node) -> Result:
    return laid_out(walk, node)


@emits(
    targets="reshape view _unsafe_view view_as reshape_as flatten unflatten ravel squeeze unsqueeze"
    " atleast_1d atleast_2d atleast_3d"
)
def reshape(walk: Walk, node: Node) -> Result:
    value = laid_out(walk, node)
    return replace(value, dims=reshaped(value.dims, walk.shape(node)))


@emits(targets="permute transpose t T mT mH H numpy_T adjoint swapaxes swapdims movedim moveaxis")
def permute(walk: Walk, node: Node) -> Result:
    value = laid_out(walk, node)
    return replace(value, dims=tuple(value.dims[n] for n in order_of(node, len(value.dims))))


def order_of(node: Node, ndim: int) -> list[int]:
    """Which dimension of the input each one of the output is."""
    attrs = node.attrs
    if node.target == "aten::permute":
        return [n % ndim for n in attrs["dims"]]
    order = list(range(ndim))
    if node.target in ("aten::movedim", "aten::moveaxis"):
        return _moved(order, attrs["source"], attrs["destination"])
    if node.target in ("aten::T", "aten::numpy_T"):
        return order[::-1]
    first, second = (attrs.get(f"dim{i}", attrs.get(f"axis{i}")) for i in (0, 1))
    first, second = (-2, -1) if first is None else (first, second)  # mT and its kin
    if ndim > 1:
        order[first], order[second] = order[second], order[first]
    return order


def _moved(
    order: list[int], source: Sequence[int] | int, destination: Sequence[int] | int
) -> list[int]:
    sources, destinations = ([x] if isinstance(x, int) else x for x in (source, destination))
    ndim = len(order)
    pairs = sorted((d % ndim, s % ndim) for s, d in zip(sources, destinations, strict=True))
    left = [n for n in order if n not in {s for _, s in pairs}]
    for d, s in pairs:
        left.insert(d, s)
    return left


@emits(targets="pixel_shuffle pixel_unshuffle")
def pixel_shuffle(walk: Walk, node: Node) -> Result:
    value = walk.value(node)
    *front, channels, rows, columns = value.dims
    if node.target == "aten::pixel_unshuffle":
        factor = node.attrs["downscale_factor"]
        (r, y), (c, x) = (
            reshaped((dim,), (size_of(dim) // factor, factor)) for dim in (rows, columns)
        )
        return replace(value, dims=(*front, joined((*channels, *y, *x)), r, c))
    factor = node.attrs["upscale_factor"]
    c, y, x = reshaped((channels,), (size_of(channels) // factor**2, factor, factor))
    return replace(value, dims=(*front, c, joined((*rows, *y)), joined((*columns, *x))))


@emits(targets="channel_shuffle native_channel_shuffle")
def channel_shuffle(walk: Walk, node: Node) -> Result:
    value = walk.value(node)
    groups = node.attrs["groups"]
    outer_part, inner = reshaped((value.dims[1],), (groups, size_of(value.dims[1]) // groups))
    return replace(value, dims=(value.dims[0], joined((*inner, *outer_part)), *value.dims[2:]))


# The same values several times --------------------------------------------------------------------


@emits(targets="repeat tile expand expand_as repeat_interleave broadcast_to")
def repeat(walk: Walk, node: Node) -> Result:
    value = laid_out(walk, node)
    if node.target == "aten::repeat_interleave":
        return _interleaved(walk, node, value)
    shape = walk.shape(node)
    dims = (*((),) * (len(shape) - len(value.dims)), *value.dims)
    times = [size // size_of(dim) for size, dim in zip(shape, dims, strict=True)]
    return replace(
        value,
        dims=tuple(joined((*axis(REPEATED, n), *dim)) for n, dim in zip(times, dims, strict=True)),
    )


def _interleaved(walk: Walk, node: Node, value: Value | Pair) -> Value | Pair:
    number = (node.attrs.get("dim") or 0) % len(value.dims)
    before, after = size_of(value.dims[number]), walk.shape(node)[number]
    dims = list(value.dims)
    dims[number] = joined((*dims[number], *axis(REPEATED, after // before)))
    return replace(value, dims=tuple(dims))


@emits(targets="upsample_nearest1d upsample_nearest2d")
def nearest(walk: Walk, node: Node) -> Result:
    draft, value = walk.draft, walk.value(node)
    space = list(range(2, len(value.dims)))
    value = as_image(draft, value, 1, space)
    m = draft.maps[value.map]
    sizes = walk.shape(node)[2:]
    height, width = (1, sizes[0]) if len(sizes) == 1 else sizes
    factors = scale_factors(node, len(sizes))
    rows = windows.nearest(m.height, height, factors[0] if len(sizes) == 2 else None)
    columns = windows.nearest(m.width, width, factors[-1])
    steps, channels = (np.arange(n, dtype=np.int32) for n in (m.steps, m.channels))
    out = draft.alike(value.map, height=height, width=width)
    draft.add(Pick(value.map, out, steps, rows, columns, channels))
    return replace(value, map=out, dims=(*value.dims[:2], *whole(draft, out, *"HW"[-len(space) :])))


def scale_factors(node: Node, ndim: int) -> list[float | None]:
    """The factors that resizing was asked for, where it was asked so."""
    given = node.attrs.get("scale_factors")
    if given:
        return list(given)
    names = ("scales_h", "scales_w") if ndim == 2 else ("scales",)
    return [node.attrs.get(name) for name in names]
