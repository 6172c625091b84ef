"""What goes in and what comes out: the axes of inputs, and the order in which outputs are handed
out."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import torch.utils._pytree as pytree

from spikedriven.engine.lower.draft import Draft
from spikedriven.engine.lower.layout import REPEATED, Axis, Dim, axis, joined
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import Value, arranged, outer, plain, whole
from spikedriven.engine.program import Image, Pick, Port
from spikedriven.graph.nodes import Node, SpikeGraph

#: What the axes of an input may be, the likeliest first. Which one it is, the layers behind it
#: decide.
READINGS = {
    1: ("B",),
    2: ("BC", "BT", "BW"),
    3: ("BTC", "BWC", "BCW", "BHW", "BTW"),
    4: ("BCHW", "BTCW", "BTWC", "BHWC", "BTHW"),
    5: ("BTCHW", "BTHWC"),
}


def readings(inputs: list[Node], steps: int | None) -> Iterator[tuple[tuple[str, ...], int]]:
    """Ways to read all inputs, with the time steps that follow. steps: of the neurons, where these
    say it."""
    for axes in product(*(READINGS.get(len(node.shape), ()) for node in inputs)):
        found = {
            size for node, letters in zip(inputs, axes, strict=True)
            for size, letter in zip(node.shape, letters, strict=True) if letter == "T"
        }  # fmt: skip
        if len(found) <= 1 and (steps is None or found <= {steps}):
            yield axes, steps or next(iter(found), 1)


def read(draft: Draft, node: Node, axes: str) -> Value:
    """The value of an input."""
    sizes = dict(zip(axes, node.shape, strict=True))
    draft.where = node.id
    out = draft.map(
        "real", sizes.get("T", 1), sizes.get("H", 1), sizes.get("W", 1), sizes.get("C", 1)
    )
    draft.add(Image(out, len(draft.inputs)))
    draft.inputs.append(Port(out, axes, node.id))
    return Value(out, ())


def hand_out(draft: Draft, value: Value, name: str, has_batch: bool) -> None:
    """Make a value an output."""
    value = _step_alone(draft, value)
    value = Value(plain(draft, value), value.dims)
    repeated = [part.size for dim in value.dims for part in dim if part.of == REPEATED]
    if repeated and draft.time_steps == 1 and _no_steps(draft):
        draft.time_steps = repeated[0]
    axes = _axes(draft, value, has_batch)
    if axes is None:
        value = _standing(draft, value)
        axes = _axes(draft, value, has_batch)
    if axes is None:
        raise Unlowered(
            "the form of this output is none that a program hands out",
            "return [B, C], [T, B, C], [B, C, H, W], [T, B, C, H, W] or tokens [B, N, C]",
        )
    draft.outputs.append(Port(value.map, axes, name))


def _no_steps(draft: Draft) -> bool:
    return all(m.steps == 1 for m in draft.maps)


def _step_alone(draft: Draft, value: Value) -> Value:
    """One step of a loop as a map of its own."""
    if value.steps is None:
        return value
    if len(value.steps) > 1:
        raise Unlowered(
            "it adds up some of the time steps", "add all of them, or hand out their mean"
        )
    m = draft.maps[value.map]
    every = [np.arange(n, dtype=np.int32) for n in (m.height, m.width, m.channels)]
    out = draft.alike(value.map, steps=1)
    draft.add(Pick(value.map, out, np.array(value.steps, dtype=np.int32), *every))
    return replace(value, map=out, steps=None)


def _axes(draft: Draft, value: Value, has_batch: bool) -> str | None:
    """Letters of the dimensions, in their order; None where one is no whole axis."""
    m = draft.maps[value.map]
    letters = [_letter(draft, value, dim) for dim in value.dims]
    sizes = {"H": m.height, "W": m.width, "C": m.channels, "T": m.steps}
    free = [
        of
        for of in ("B", "T", "H", "W", "C")
        if of not in letters and _is_one(draft, sizes, of, has_batch)
    ]
    if "N" in letters:
        free = [of for of in free if of not in "HW"]
    result = [letter if letter != "" else (free.pop(0) if free else None) for letter in letters]
    if None in result or "B" not in result:
        return None
    return "".join(letter for letter in result if letter)


def _is_one(draft: Draft, sizes: dict[str, int], of: str, has_batch: bool) -> bool:
    if of == "B":
        return not has_batch
    return sizes[of] == 1 and (of != "T" or draft.time_steps == 1)


def _letter(draft: Draft, value: Value, dim: Dim) -> str | None:
    """The axis that a dimension is; "" for one of size 1, None for what is no whole axis."""
    if not dim:
        return ""
    if len(dim) == 1 and dim[0].of == "B":
        return "B"
    if dim in (axis("T", draft.time_steps), axis(REPEATED, draft.time_steps)):
        return "T"
    for of in "HWC":
        if dim == whole(draft, value.map, of)[0]:
            return of
    rows, columns = whole(draft, value.map, "H", "W")
    return "N" if dim == joined((*rows, *columns)) else None


def _standing(draft: Draft, value: Value) -> Value:
    """The value in a map whose axes are its dimensions."""
    inner = [n for n, dim in enumerate(value.dims) if not outer(dim)]
    if len(inner) > 3:
        raise Unlowered(
            "this output has more than three axes besides time and batch", "flatten some of them"
        )
    height, width, channels = ([], [], [], *([n] for n in inner))[-3:]
    return arranged(draft, value, height, width, channels)


def names_of(graph: SpikeGraph) -> list[str]:
    """Names of the outputs, where the network returns a dictionary; else empty ones."""
    spec = graph.exported.call_spec.out_spec
    count = len(graph.outputs)
    if spec is None or spec.num_leaves != count:
        return [""] * count
    found = pytree.tree_unflatten(list(range(count)), spec)
    return [str(key) for key in found] if isinstance(found, dict) else [""] * count


def input_dims(axes: str, node: Node, has_batch: bool, batch: int) -> tuple[Dim, ...]:
    """Dimensions of an input that is read so."""
    return tuple(
        (Axis("B", batch),) if of == "B" and has_batch else () if of == "B" else axis(of, size)
        for of, size in zip(axes, node.shape, strict=True)
    )
