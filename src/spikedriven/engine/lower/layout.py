"""Where the values of a tensor lie in a map: each dimension as a list of axes of the map.

A graph reshapes, permutes and joins; a map stays [steps, height, width, channels] of one sample. So
a tensor of the graph is a map and, for each of its dimensions, the axes of the map that are counted
through there, outermost first: [T * B, C, H, W] is ((T, B), (C,), (H,), (W,)), and of tokens split
into heads [T, B, heads, N, d] the last three are ((C, every d-th), (H, W), (C, of a head)).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spikedriven.engine.lower.problems import Unlowered

#: The size of a batch in symbolic shapes: a prime that no other size is a multiple of.
BATCH = 1_000_003
#: An axis that no map has: one value, several times.
REPEATED = "~"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Axis:
    """A part of an axis of a map. of: B, T, H, W, C or `REPEATED`; its places are 0, stride, 2
    stride ..."""

    of: str
    size: int
    stride: int = 1


Dim = tuple[Axis, ...]
Dims = tuple[Dim, ...]


def axis(of: str, size: int) -> Dim:
    """A whole axis as a dimension; one of size 1 is no axis at all."""
    return (Axis(of, size),) if size > 1 else ()


def axis_of(of: str, size: int, stride: int) -> Dim:
    """A part of an axis as a dimension."""
    return (Axis(of, size, stride),) if size > 1 else ()


def size_of(dim: Dim) -> int:
    return math.prod(part.size for part in dim)


def shape_of(dims: Dims) -> Shape:
    return tuple(size_of(dim) for dim in dims)


def joined(parts: Sequence[Axis]) -> Dim:
    """The same places with neighbouring parts of one axis in one."""
    result: list[Axis] = []
    for part in parts:
        last = result[-1] if result else None
        if last is not None and _continues(last, part):
            result[-1] = Axis(part.of, last.size * part.size, part.stride)
        elif part.size > 1:
            result.append(part)
    return tuple(result)


def _continues(outer: Axis, inner: Axis) -> bool:
    """Whether two neighbouring parts are one part of the same axis."""
    adjoins = outer.stride == inner.stride * inner.size or inner.of == REPEATED
    return outer.of == inner.of and adjoins


def reshaped(dims: Dims, shape: Shape) -> Dims:
    """The same values, in the same order, under another shape."""
    left = [part for dim in dims for part in dim][::-1]
    return tuple(joined(_taken(left, size)) for size in shape)


def _taken(left: list[Axis], size: int) -> list[Axis]:
    """Axes of ``size`` places together, off the end of ``left``; the last one is split where it is
    too long."""
    taken: list[Axis] = []
    while size > 1:
        part = left.pop()
        if size % part.size == 0:
            taken.append(part)
            size //= part.size
        elif part.size % size == 0:
            inner = part.size // size
            taken.append(Axis(part.of, size, part.stride * inner))
            left.append(Axis(part.of, inner, part.stride))
            size = 1
        else:
            raise Unlowered(
                f"it cuts an axis of {part.size} places into pieces of {size}",
                "reshape along whole axes, or into factors of one axis",
            )
    return taken


def covers(dim: Dim, of: str, size: int) -> bool:
    """Whether a dimension is one whole axis, in its order."""
    return dim == axis(of, size)


def places(dim: Dim) -> list[int]:
    """The places of the one axis that a dimension counts through, in the order of the dimension."""
    result = [0]
    for part in dim:
        result = [start + i * part.stride for start in result for i in range(part.size)]
    return result


def without(dims: Dims, number: int) -> Dims:
    return dims[:number] + dims[number + 1 :]


def axes_in(dim: Dim) -> set[str]:
    return {part.of for part in dim}
