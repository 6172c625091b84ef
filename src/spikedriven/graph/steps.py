"""Time in a graph: how many steps a network runs, written as an axis or as a loop over calls.

A loop calls a neuron once per step and hands the membrane on; its layers are called once per step
with the same weights. Such calls are one layer, as they are where all steps run at once.
"""

from collections import defaultdict
from collections.abc import Sequence

from spikedriven.graph.nodes import Node, SpikeGraph

Calls = tuple[Node, ...]


def neuron_calls(graph: SpikeGraph) -> list[Calls]:
    """The calls of each neuron in their order: several where each starts from the membrane of
    the one before.
    """
    after: dict[str, Node] = {}
    for node in graph.find("neuron"):
        before = _before(graph, node)
        if before is not None:
            after[before.id] = node
    later = {node.id for node in after.values()}
    return [_chain(node, after) for node in graph.find("neuron") if node.id not in later]


def _chain(node: Node, after: dict[str, Node]) -> Calls:
    chain = [node]
    while chain[-1].id in after:
        chain.append(after[chain[-1].id])
    return tuple(chain)


def _before(graph: SpikeGraph, node: Node) -> Node | None:
    """The call whose last membrane this neuron starts from."""
    membranes = [_behind_layout(graph, operand) for operand in graph.operands(node)]
    calls = {membrane.call for membrane in membranes if membrane.op == "membrane"}
    return next((other for other in graph.find("neuron") if other.call in calls), None)


def _behind_layout(graph: SpikeGraph, node: Node) -> Node:
    while node.op in ("reshape", "identity"):
        node = graph[node.data]
    return node


def leading(graph: SpikeGraph, node: Node, longest: int = 0) -> int:
    """The leading axis for one image: time, or time and batch in one. longest: T, where it is
    known.

    Only in a graph of a fixed batch the two differ: there [T, B, ...] is told by its second axis.
    """
    if not node.shape:
        return 1
    first, size = node.shape[0], graph.batch_size
    time_alone = len(node.shape) > 1 and node.shape[1] == size
    return first if time_alone and (first == longest or first % size) else first // size


def time_steps(graph: SpikeGraph) -> int:
    """T, of the LIF neurons where there are any."""
    calls = neuron_calls(graph)
    lif = [found for found in calls if found[0].target == "spikedriven::lif"]
    return max((_length(graph, found) for found in lif or calls), default=1)


def without_time(graph: SpikeGraph) -> list[str]:
    """Modules of LIF neurons that read [B, ...]: the batch is their time, and images disturb
    one another.
    """
    lif = [node for node in graph.find("neuron") if node.target == "spikedriven::lif"]
    found = (node for node in lif if node.batch_axis == 0 and node.shape[0] == 1)
    return list(dict.fromkeys(node.module or node.call for node in found))


def longest_run(graph: SpikeGraph) -> int:
    """The steps of the neuron with most steps: T, or the binary sub-steps of an expanded
    network.
    """
    return max((_length(graph, found) for found in neuron_calls(graph)), default=1)


def _length(graph: SpikeGraph, calls: Calls) -> int:
    """Time steps of one neuron. The first axis of a LIF neuron is time alone."""
    if calls[0].target == "spikedriven::lif":
        return sum(node.shape[0] for node in calls)
    return sum(leading(graph, node) for node in calls)


def calls_by_layer(graph: SpikeGraph, nodes: Sequence[Node]) -> list[Calls]:
    """The nodes, those together that are one layer called step by step, in the order of first
    calls.
    """
    neurons = neuron_calls(graph)
    rounds = max((len(calls) for calls in neurons), default=1)
    by_id = {node.id: calls for calls in neurons for node in calls}
    groups: dict[object, list[Node]] = defaultdict(list)
    for node in nodes:
        groups[_identity(node)].append(node)
    found = [by_id[node.id] for node in nodes if node.id in by_id and by_id[node.id][0] is node]
    for members in groups.values():
        found += _rounds([node for node in members if node.id not in by_id], rounds)
    place = {node.id: i for i, node in enumerate(nodes)}
    return sorted(found, key=lambda calls: place[calls[0].id])


def _identity(node: Node) -> object:
    """What the calls of one layer have in common."""
    weights = tuple(
        sorted((name, str(value)) for name, value in node.attrs.items() if node.weight(name))
    )
    return node.module, node.op, node.target, node.shape, tuple(node.inputs), weights


def _rounds(nodes: list[Node], rounds: int) -> list[Calls]:
    """n x rounds calls are n layers, called in turn in every round; any other number are as
    many layers.
    """
    if rounds == 1 or not nodes or len(nodes) % rounds:
        return [(node,) for node in nodes]
    layers = len(nodes) // rounds
    return [tuple(nodes[i::layers]) for i in range(layers)]
