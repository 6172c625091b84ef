"""The larger and the smaller of two counts, and counts that are cut off: logical OR, AND and
saturation.

Of whole numbers these are sums and ReLUs, all exact: ``max(a, b) = b + relu(a - b)``. The result is
counted again, so that what reads it reads spikes.
"""

from spikedriven.engine.lower.draft import MOST_LEVELS, Draft
from spikedriven.engine.lower.emit_arithmetic import together
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import Value, aligned, real_of
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.engine.program import Relu, Sum
from spikedriven.graph import kinds
from spikedriven.graph.nodes import Node
from spikedriven.kernels.spec import IntegerSpec


@emits(targets="maximum max")
def larger(walk: Walk, node: Node) -> Result:
    return _chosen(walk, node, largest=True)


@emits(targets="minimum min")
def smaller(walk: Walk, node: Node) -> Result:
    return _chosen(walk, node, largest=False)


def _chosen(walk: Walk, node: Node, largest: bool) -> Value:
    if "other" not in node.inputs or "self" not in node.inputs:
        raise Unlowered(
            "it takes the largest or smallest of all values",
            "use amax over positions, or a max pool",
        )
    draft = walk.draft
    left, right, dims = aligned(draft, walk.value(node, "self"), walk.value(node, "other"))
    unit, levels = _counts(draft, node, left, right)
    a, b = real_of(draft, left), real_of(draft, right)
    above = _above(draft, a, b)
    found = _added(draft, b, above) if largest else _added(draft, a, draft.affine(above, -1.0))
    return Value(
        draft.fire(found, IntegerSpec(levels, half_up=False, threshold=unit), levels, unit), dims
    )


def _above(draft: Draft, a: int, b: int) -> int:
    """``relu(a - b)``."""
    difference = _added(draft, a, draft.affine(b, -1.0))
    out = draft.real(difference)
    draft.add(Relu(difference, out))
    return out


def _added(draft: Draft, a: int, b: int) -> int:
    out = draft.map("real", *together(draft, a, b))
    draft.add(Sum(a, b, out))
    return out


def _counts(draft: Draft, node: Node, *values: Value) -> tuple[float, int]:
    """Unit and largest count of the result; Unlowered for anything but counts of one positive
    worth."""
    maps = [draft.maps[value.map] for value in values]
    units = {m.unit * value.factor for m, value in zip(maps, values, strict=True)}
    if any(m.kind != "spikes" for m in maps) or len(units) > 1 or min(units) <= 0:
        raise Unlowered(
            "it chooses between real values, or counts of different worth",
            "put a neuron in front of each",
        )
    return units.pop(), max(m.levels for m in maps)


@emits(targets="clamp clamp_max clamp_min hardtanh relu6")
def cut(walk: Walk, node: Node) -> Result:
    """Counts cut off at a count."""
    value, span = walk.value(node), kinds.span(node.kind)
    if span is None or span.low != 0 or not 1 <= span.high <= MOST_LEVELS:
        raise Unlowered(
            f"the engine has no operation for {node.target}",
            "put a spiking neuron (or torch.relu) there",
        )
    neuron = IntegerSpec(span.high, half_up=False, threshold=float(span.factor))
    return Value(
        walk.draft.fire(real_of(walk.draft, value), neuron, span.high, span.factor), value.dims
    )
