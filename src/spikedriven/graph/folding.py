"""Where a real factor can go: into a neighbouring weight layer, or into a neuron's threshold.

Only the structure of the graph decides. `fuse` and `expand` carry such foldings out; the audit says which are possible.
"""

from collections.abc import Iterator

from spikedriven.graph import kinds
from spikedriven.graph.kinds import Constant, Input
from spikedriven.graph.nodes import Node, SpikeGraph, Weight

WEIGHT_LAYERS = ("conv", "linear")
#: Operators through which a factor per channel moves unchanged.
_LAYOUT = ("reshape", "repeat", "identity")
#: Operators through which one positive number moves as well: f(c x) = c f(x).
_HOMOGENEOUS = (
    *_LAYOUT,
    "slice",
    "maxpool",
    "avgpool",
    "mean",
    "sum",
    "matmul",
    "multiply",
    "scale",
)
#: Operators between two weight layers that keep the pair one linear map (an add or pad of constants shifts it).
_AFFINE = (*_LAYOUT, "batchnorm", "scale", "add", "pad")


def data_operand(graph: SpikeGraph, node: Node) -> Node:
    """The operand that carries data: the first that is not computed from weights alone."""
    return next(
        operand for operand in graph.operands(node) if not isinstance(operand.kind, Constant)
    )


def behind(graph: SpikeGraph, node: Node, through: tuple[str, ...]) -> Node:
    """The nearest producer upstream that is not one of the ``through`` operators."""
    node = data_operand(graph, node)
    while node.op in through and _one_data_operand(graph, node):
        node = data_operand(graph, node)
    return node


def _one_data_operand(graph: SpikeGraph, node: Node) -> bool:
    return sum(not isinstance(operand.kind, Constant) for operand in graph.operands(node)) == 1


def batchnorm_target(graph: SpikeGraph, node: Node) -> str | None:
    """Where a batch norm folds: the weight layer before it, else the neurons or linear layers after it."""
    return _layer_before(graph, node) or _receivers(graph, node, _LAYOUT, shift=True)


def scale_target(graph: SpikeGraph, node: Node) -> str | None:
    """Where a constant factor folds. One number passes sums, pools and products; a factor per channel does not."""
    before = _layer_before(graph, node)
    return before or _receivers(
        graph, node, _HOMOGENEOUS if _is_one_number(graph, node) else _LAYOUT
    )


def factor_target(graph: SpikeGraph, node: Node) -> str | None:
    """Where the factors of a product of scaled counts go: thresholds or weights downstream."""
    return _receivers(graph, node, _HOMOGENEOUS)


def _is_one_number(graph: SpikeGraph, node: Node) -> bool:
    shapes = [value.shape for value in node.attrs.values() if isinstance(value, Weight)]
    shapes += [
        operand.shape for operand in graph.operands(node) if isinstance(operand.kind, Constant)
    ]
    return all(set(shape) <= {1} for shape in shapes)


def _layer_before(graph: SpikeGraph, node: Node) -> str | None:
    """The weight layer whose output only this node reads, layout, batch norms and other factors apart."""
    before = data_operand(graph, node)
    while before.op in (*_LAYOUT, "batchnorm", "scale") and len(graph.consumers(before.id)) == 1:
        before = data_operand(graph, before)
    alone = len(graph.consumers(before.id)) == 1
    return f"the weights of {name_of(before)}" if before.op in WEIGHT_LAYERS and alone else None


def _receivers(
    graph: SpikeGraph, node: Node, through: tuple[str, ...], shift: bool = False
) -> str | None:
    """The neurons and weight layers downstream, as text; None as soon as one path ends elsewhere.

    shift: a constant is added too, which the zero padding of a convolution would not see.
    """
    ends = list(_ends(graph, node, through))
    for end in ends:
        padded = end.op == "conv" and shift and any(end.attrs.get("padding") or ())
        if end.op not in ("neuron", *WEIGHT_LAYERS) or padded:
            return None
    names = [
        f"the {'threshold' if end.op == 'neuron' else 'weights'} of {name_of(end)}" for end in ends
    ]
    return " and ".join(dict.fromkeys(names)) or None


def _ends(graph: SpikeGraph, node: Node, through: tuple[str, ...]) -> Iterator[Node]:
    if node.id in graph.outputs:
        yield node
    for consumer in graph.consumers(node.id):
        if consumer.op in through:
            yield from _ends(graph, consumer, through)
        elif consumer.op != "membrane":
            yield consumer


def linear_chain(graph: SpikeGraph, node: Node) -> Node | None:
    """The first weight layer of an unbroken chain of linear maps that ends in ``node``.

    Such a chain (depthwise then pointwise, or 1x1 - BN - 3x3 - 1x1) is one linear map of what its first layer reads.
    None where no such chain leads to a value that spikes, or to the network's input.
    """
    before = behind(graph, node, _AFFINE)
    if before.op not in WEIGHT_LAYERS:
        return None
    source = data_operand(graph, before).kind
    if kinds.is_spiking(source) or isinstance(source, Input):
        return before
    return linear_chain(graph, before)


def origin(graph: SpikeGraph, node: Node) -> Node:
    """What made the value that a weight layer reads, behind reshapes and copies."""
    return behind(graph, node, (*_LAYOUT, "slice"))


def name_of(node: Node) -> str:
    """Module path, or the node's id where the model itself made the call."""
    return node.module or node.id


def made_in(node: Node) -> str:
    """The operator and where it was called, for sentences."""
    return f"{node.op} in {node.module or 'the model itself'}"
