"""Where one positive number or a norm can go forward: the neurons and weight layers that read
it.
"""

import torch

from spikedriven.graph.chains import constant_shape, is_weight_layer, padding_of
from spikedriven.graph.folds import End
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.paths import (
    LAYOUT,
    WEIGHT_LAYERS,
    data_operands,
    name_of,
)

#: Operators through which one positive number moves: f(c x) = c f(x).
_HOMOGENEOUS = (*LAYOUT, "slice", "maxpool", "avgpool", "mean", "sum", "interpolate", "scale")
#: Of several operands, each with the same factor.
_JOINED = ("add", "cat", "select")


def same_end(one: End, other: End) -> bool:
    if one.elements is None or other.elements is None:
        return one.elements is other.elements and one.degree == other.degree
    return torch.equal(one.elements, other.elements)


def one_per_owner(ends: list[End]) -> list[End]:
    """The first end of each weight and each neuron, which several calls share."""
    owners = {
        (e.node.weight("weight") if e.node.op != "neuron" else e.node.module): e
        for e in reversed(ends)
    }
    return list(owners.values())


def is_one_number(graph: SpikeGraph, node: Node) -> bool:
    shape = constant_shape(graph, node)
    return shape is not None and set(shape) <= {1}


def without_border(node: Node) -> bool:
    weight = node.weight("weight")
    assert weight is not None
    kernel = weight.shape[2:]
    return "transpose" not in node.target and not any(padding_of(node, kernel, (1,) * len(kernel)))


def is_taker(node: Node) -> bool:
    """Whether a node's weights or threshold can take a factor."""
    return node.op == "neuron" or is_weight_layer(node)


def factor_ends(graph: SpikeGraph, source: Node) -> list[End]:
    """The neurons and weight layers that read ``source`` times a positive number; [] where the
    number cannot reach them alone: it would go to an output, or into a sum or a function with
    values that lack it.
    """
    degrees, ends = {source.id: 1}, []
    if source.id in graph.outputs:
        return []
    for node in graph:
        found = [degrees.get(operand.id, 0) for operand in data_operands(graph, node)]
        if not any(found):
            continue
        if node.op == "membrane":
            continue
        if node.op in ("neuron", *WEIGHT_LAYERS):
            ends.append(End(node, found[0]))
            continue
        degree = _degree(graph, node, found)
        if degree is None or node.id in graph.outputs:
            return []
        degrees[node.id] = degree
    return ends


def _degree(graph: SpikeGraph, node: Node, operands: list[int]) -> int | None:
    """Of an operator's output, from those of its data operands."""
    if node.op in ("matmul", "multiply"):
        return sum(operands)
    alike = len(set(operands)) == 1 and len(operands) == len(graph.operands(node))
    if node.op in _JOINED:
        return operands[0] if alike and not has_number(node) else None
    return operands[0] if node.op in _HOMOGENEOUS and len(operands) == 1 else None


def has_number(node: Node) -> bool:
    """Whether a constant takes part in a sum or a choice."""
    return any(
        isinstance(node.attrs.get(name), int | float | Weight)
        for name in ("self", "other", "value")
    )


def names_of_ends(ends: list[End]) -> str | None:
    """ "the threshold of a and the weights of b"; None for no ends, or one that cannot take a
    factor.
    """
    if not ends or not all(is_taker(end.node) or end.node.op in WEIGHT_LAYERS for end in ends):
        return None
    names = [
        f"the {'threshold' if e.node.op == 'neuron' else 'weights'} of {name_of(e.node)}"
        for e in ends
    ]
    return " and ".join(dict.fromkeys(names))


def factor_target(graph: SpikeGraph, node: Node) -> str | None:
    """Where the factors of a product of scaled counts go: thresholds or weights downstream, as
    text.
    """
    return names_of_ends(factor_ends(graph, node))


def reaches(graph: SpikeGraph, node: Node, ops: tuple[str, ...]) -> bool:
    """Whether a value gets to an operator of these classes."""
    reached = {node.id}
    for other in graph:
        if any(operand.id in reached for operand in graph.operands(other)):
            if other.op in ops:
                return True
            reached.add(other.id)
    return False
