"""Values side by side, and borders around them."""

from dataclasses import replace

import numpy as np

from spikedriven.engine.lower.draft import Draft
from spikedriven.engine.lower.emit_parts import picked
from spikedriven.engine.lower.layout import (
    REPEATED,
    Dim,
    axes_in,
    axis,
    joined,
    size_of,
    without,
)
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import (
    Value,
    arranged,
    outer,
    plain,
    real_of,
    unrepeated,
    whole,
)
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.engine.program import Concat, Constant
from spikedriven.graph.nodes import Node


@emits(op="cat", sees_steps=True)
def cat(walk: Walk, node: Node) -> Result:
    parts = [walk.value(node, name) for name in node.inputs]
    ndim = len(walk.shape(node))
    number = node.attrs.get("dim", 0) % ndim
    if node.target == "aten::stack":
        parts = [replace(p, dims=(*p.dims[:number], (), *p.dims[number:])) for p in parts]
    if any(part.steps is not None for part in parts):
        return _all_steps(walk, parts, number)
    if all(part == parts[0] for part in parts):
        return _with_dim(parts[0], number, (*axis(REPEATED, len(parts)), *parts[0].dims[number]))
    return side_by_side(walk.draft, parts, number)


def _with_dim(value: Value, number: int, dim: Dim) -> Value:
    return replace(value, dims=(*value.dims[:number], joined(dim), *value.dims[number + 1 :]))


def _all_steps(walk: Walk, parts: list[Value], number: int) -> Value:
    """The steps of a loop, put together again."""
    steps = [part.steps for part in parts]
    if (
        steps != [(t,) for t in range(walk.time_steps)]
        or len({replace(p, steps=None) for p in parts}) > 1
    ):
        raise Unlowered(
            "it joins values of some time steps, or of different layers at different steps",
            "join what one layer gives at every step, in the order of the steps",
        )
    first = replace(parts[0], steps=None)
    return _with_dim(first, number, (*axis("T", walk.time_steps), *first.dims[number]))


def side_by_side(draft: Draft, parts: list[Value], number: int) -> Value:
    """Values one behind the other along a dimension."""
    of = _axis_to_join(draft, parts, number)
    if of is None:
        parts = [_standing(draft, part, number) for part in parts]
        of = _axis_to_join(draft, parts, number)
    if of is None:
        raise Unlowered(
            "its parts lie in ways that the engine cannot join", "join along channels or positions"
        )
    kinds = {(draft.maps[p.map].kind, draft.maps[p.map].unit, p.factor) for p in parts}
    one_kind = len(kinds) == 1
    maps = tuple(p.map if one_kind else plain(draft, p) for p in parts)
    name = {"H": "height", "W": "width", "C": "channels"}[of]
    size = sum(getattr(draft.maps[index], name) for index in maps)
    steps = max(draft.maps[index].steps for index in maps)
    kinds_now = {(draft.maps[index].kind, draft.maps[index].unit) for index in maps}
    make = draft.alike if len(kinds_now) == 1 else draft.real
    top = max(maps, key=lambda index: draft.maps[index].levels)
    out = make(top, **{name: size, "steps": steps})
    draft.add(Concat(maps, out, name))
    base = max(
        parts, key=lambda p: (draft.maps[p.map].steps, sum(map(len, p.dims)))
    )  # steps that differ, if any do
    return replace(
        _with_dim(base, number, axis(of, size)),
        map=out,
        factor=parts[0].factor if one_kind else 1.0,
    )


def _axis_to_join(draft: Draft, parts: list[Value], number: int) -> str | None:
    """The axis that all parts have along a dimension, whole, while all else is equal."""
    for of in "CWH":
        fits = all(p.dims[number] == whole(draft, p.map, of)[0] for p in parts)
        elsewhere = any(
            of in axes_in(dim) for p in parts for n, dim in enumerate(p.dims) if n != number
        )
        rest = {tuple(unrepeated(d) for d in without(p.dims, number)) for p in parts}
        sizes = {_other_sizes(draft, p, of) for p in parts}
        if fits and not elsewhere and len(rest) == 1 and len(sizes) == 1:
            return of
    return None


def _other_sizes(draft: Draft, value: Value, of: str) -> tuple[int, ...]:
    m = draft.maps[value.map]
    sizes = {"H": m.height, "W": m.width, "C": m.channels}
    del sizes[of]
    return tuple(sizes.values())


def _standing(draft: Draft, value: Value, number: int) -> Value:
    """The value in a map with one dimension along its width, and one other as its channels."""
    rest = [n for n, dim in enumerate(value.dims) if n != number and not outer(dim)]
    return arranged(draft, value, rest[:-1], (number,), rest[-1:])


@emits(op="pad")
def pad(walk: Walk, node: Node) -> Result:
    if node.attrs.get("mode", "constant") != "constant":
        raise Unlowered(
            f"the engine pads with a constant, found {node.attrs['mode']}", "pad with zeros"
        )
    value, draft = walk.value(node), walk.draft
    border = float(node.attrs.get("value") or 0.0)
    widths = [*node.attrs["pad"]]
    if (
        border == 0.0
        and len(widths) <= 4
        and min(widths) >= 0
        and _read_by_convolutions(walk, node)
    ):
        left, right, top, bottom = (*widths, 0, 0)[:4]
        return replace(value, border=(top, left, bottom, right))
    for i in range(0, len(widths), 2):
        number = len(value.dims) - 1 - i // 2
        value = padded(draft, value, number, widths[i], widths[i + 1], border)
    return value


def _read_by_convolutions(walk: Walk, node: Node) -> bool:
    """Whether a border of zeros is part of the padding of all that read it: convolutions in two
    dimensions."""
    readers = walk.graph.consumers(node.id)
    return all(reader.op == "conv" and len(reader.shape) == 4 and "transpose" not in reader.target
               for reader in readers) and node.id not in walk.graph.outputs  # fmt: skip


def padded(
    draft: Draft, value: Value, number: int, before: int, after: int, border: float
) -> Value:
    if min(before, after) < 0:
        size = size_of(value.dims[number])
        value = picked(draft, value, number, list(range(max(-before, 0), size - max(-after, 0))))
    value = replace(value, map=real_of(draft, value), factor=1.0)
    parts = [value]
    for count, place in ((before, 0), (after, len(parts))):
        if count > 0:
            parts.insert(place and len(parts), _bordering(draft, value, number, count, border))
    return side_by_side(draft, parts, number) if len(parts) > 1 else value


def _bordering(draft: Draft, value: Value, number: int, count: int, border: float) -> Value:
    """Constants beside a value along a dimension that is one axis of its map."""
    m = draft.maps[value.map]
    found = axes_in(value.dims[number]) or {"C"}
    (of, *more) = found
    if more or of not in "HWC":
        raise Unlowered(
            "it pads along time, batch or several axes",
            "pad the height, width or channels of a map",
        )
    sizes = {"H": m.height, "W": m.width, "C": m.channels} | {of: count}
    out = draft.map("real", 1, sizes["H"], sizes["W"], sizes["C"])
    draft.add(
        Constant(out, np.full((sizes["H"], sizes["W"], sizes["C"]), border, dtype=np.float32))
    )
    return _with_dim(replace(value, map=out), number, axis(of, count))
