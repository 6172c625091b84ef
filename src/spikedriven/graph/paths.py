"""Ways through the graph: what a node reads, who reads it, and where a channel ends up behind
reshapes.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from spikedriven.graph.kinds import Constant
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.trace import plain

WEIGHT_LAYERS = ("conv", "linear")
#: Operators that hand on the same values.
LAYOUT = ("reshape", "repeat", "identity")
#: Operators whose outputs are means of inputs.
AVERAGES = ("avgpool", "mean", "interpolate")


def is_data(node: Node) -> bool:
    """Whether an input reaches a value: it is not computed from weights alone."""
    return not isinstance(node.kind, Constant)


def data_operands(graph: SpikeGraph, node: Node) -> list[Node]:
    """The operands that carry data: all that are not computed from weights alone."""
    return [operand for operand in graph.operands(node) if is_data(operand)]


def data_operand(graph: SpikeGraph, node: Node) -> Node:
    """The first of them."""
    return data_operands(graph, node)[0]


def behind(graph: SpikeGraph, node: Node, through: tuple[str, ...]) -> Node:
    """The nearest producer upstream that is not one of the ``through`` operators."""
    node = data_operand(graph, node)
    while node.op in through and len(data_operands(graph, node)) == 1:
        node = data_operand(graph, node)
    return node


def origin(graph: SpikeGraph, node: Node) -> Node:
    """What made the value that a weight layer reads, behind reshapes and copies."""
    return behind(graph, node, (*LAYOUT, "slice"))


def only_reader(graph: SpikeGraph, node: Node) -> Node | None:
    """The node that reads this value, where nobody else does and it reads no other data."""
    readers = graph.consumers(node.id)
    if len(readers) != 1 or node.id in graph.outputs or len(data_operands(graph, readers[0])) != 1:
        return None
    return readers[0]


def name_of(node: Node) -> str:
    """Module path, or the name of the call where the model itself made it."""
    return node.module or node.call or node.id


def made_in(node: Node) -> str:
    """The operator and where it was called, for sentences."""
    return f"{node.op} in {node.module or 'the model itself'}"


def contents(graph: SpikeGraph, module: str) -> set[str]:
    """Ids of what a module computes from data, its children included. "" is the model."""
    return {
        node.id
        for node in graph
        if node.op != "input"
        and not isinstance(node.kind, Constant)
        and (not module or node.module == module or node.module.startswith(f"{module}."))
    }


class Layouts:
    """Runs the layout operators of a graph on other values: markers that show where channels go."""

    def __init__(self, graph: SpikeGraph) -> None:
        self._calls = {node.name: node for node in graph.exported.graph.nodes}

    def carried(self, node: Node, value: Tensor) -> Tensor:
        """What a layout node makes of a value of its operand's shape."""
        call = self._calls[node.id]
        if node.op == "identity":
            return value
        data = node.data
        assert isinstance(call.target, torch._ops.OpOverload)
        # some of the others are for floats alone; a view of repeated values stays as small as they
        # are
        given = value if call.target.is_view else value.double()

        def argument(found: fx.Node) -> Any:
            return given if found.name == data else plain(found)

        args, kwargs = fx.map_arg((call.args, call.kwargs), argument)
        return call.target(*args, **kwargs).to(value.dtype)

    def averaged(self, node: Node, channels: Tensor) -> Tensor | None:
        """The channel that each mean is of; None where one mixes channels, or counts zeros of a
        border.
        """
        one, ids = torch.ones(channels.shape, dtype=torch.float64), channels.double()
        weights, mean, square = (self.carried(node, value) for value in (one, ids, ids.square()))
        alone = torch.allclose(square, mean.square()) and torch.allclose(
            weights, torch.ones_like(weights)
        )
        return mean.round().long() if alone else None


#: Layout operators that keep the order of values in memory.
_IN_ORDER = (
    "reshape",
    "view",
    "_unsafe_view",
    "view_as",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
)


def regroups_leading(node: Node, operand: Node, kept: int) -> bool:
    """Whether a layout node only joins or splits leading axes and leaves the last ``kept`` ones
    as they are.
    """
    in_order = node.op == "identity" or node.target.removeprefix("aten::") in _IN_ORDER
    if min(len(node.shape), len(operand.shape)) < kept:
        return False
    return in_order and node.shape[-kept:] == operand.shape[-kept:]


def along(shape: tuple[int, ...], axis: int) -> Tensor:
    """The position along one axis, at every place of a tensor of this shape."""
    sizes = [1] * len(shape)
    sizes[axis] = -1
    return torch.arange(shape[axis]).view(sizes).expand(shape)


def one_per_channel(channels: Tensor, values: Tensor, size: int) -> Tensor | None:
    """Whole numbers [size]: the value that stands wherever a channel stands; None where one channel
    has several.

    channels: the channel, -1 for none, at every place; values: of the same shape. A channel that is
    nowhere gets 0.
    """
    channels, values = _without_repeats(channels, values)
    there = channels >= 0
    channels, values = channels[there], values[there]
    lowest, highest = (
        values.new_zeros(size).scatter_reduce(0, channels, values, how, include_self=False)
        for how in ("amin", "amax")
    )
    return lowest if torch.equal(lowest, highest) else None


def _without_repeats(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors of one shape, without the axes along which both are expanded: maps are large,
    these are not.
    """
    for axis in range(a.ndim):
        if a.stride(axis) == b.stride(axis) == 0:
            a, b = (
                a.narrow(axis, 0, min(1, a.shape[axis])),
                b.narrow(axis, 0, min(1, b.shape[axis])),
            )
    return a, b


def calls_of(graph: SpikeGraph, weight: str) -> Iterator[Node]:
    """Every node that reads a weight, by the weight's qualified name."""
    for node in graph:
        if any(getattr(value, "name", None) == weight for value in node.attrs.values()):
            yield node
