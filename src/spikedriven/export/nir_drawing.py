"""From the spike graph to NIR nodes and edges, and a list of what NIR cannot hold."""

import math
from dataclasses import dataclass, field

import nir
import numpy as np

from spikedriven.export.nir_nodes import is_time_mean, step_shape, translate
from spikedriven.graph import Constant, Node, SpikeGraph

#: Operators that leave the values of a time step alone, apart from their shape and order.
LAYOUT = ("reshape", "identity", "repeat")
REORDERS = ("aten::permute", "aten::transpose", "aten::t", "aten::swapaxes", "aten::movedim", "aten::pixel_shuffle",
            "aten::pixel_unshuffle", "aten::unfold")  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """An operator that the file does not hold."""

    node: str
    module: str
    op: str
    why: str


@dataclass
class Drawing:
    """Nodes and edges of a NIR graph.

    inputs, outputs: NIR name -> id of the graph node whose value goes in or comes out. An operator that is left out
    needs its operands as outputs, and its value is an input where something in the file reads it.
    """

    graph: SpikeGraph
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    #: Graph node -> names of the NIR nodes whose sum is its value.
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Values from outside, by the name their input will have -> graph node.
    outside: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph:
            if not isinstance(node.kind, Constant):
                self.sources[node.id] = self.draw(node)
        for output in self.graph.outputs:
            self.give(output)
        used = (
            self.inputs.values()
        )  # layout operators count where the file misses one, not inside attention
        self.left_out = [
            item for item in self.left_out if item.op not in LAYOUT or item.node in used
        ]

    def file(self) -> nir.NIRGraph:
        """nir's own check compares shapes before they are flattened, and misreads grouped convolutions: it is off."""
        return nir.NIRGraph(self.nodes, self.edges, type_check=False)

    def draw(self, node: Node) -> tuple[str, ...]:
        """Put one operator into the file, or note that it stays outside. Returns its sources."""
        if node.op == "input":
            return self.from_outside("input", node)
        if self.keeps_order(node):
            return self.sources[node.data]
        if self.is_plain_sum(node):
            return tuple(
                source for operand in node.inputs.values() for source in self.sources[operand]
            )
        made = translate(self.graph, node)
        if isinstance(made, nir.NIRNode):
            name = (
                node.module
                if node.module and node.module not in self.nodes
                else f"{node.module}.{node.id}"
            )
            self.connect(self.sources[node.data], name, made)
            return (name,)
        self.left_out.append(LeftOut(node.id, node.module, node.op, made))
        if is_time_mean(self.graph, node) and self.is_linear_behind(node):
            return self.sources[
                node.data
            ]  # the mean of a linear map's outputs is its output for the mean
        for operand in node.inputs.values():
            if operand in self.sources:
                self.give(operand)
        return self.from_outside(f"from.{node.module}.{node.id}", node)

    def keeps_order(self, node: Node) -> bool:
        """The same values in the same order at every step (the repetition of an image over steps is one)."""
        if node.op not in LAYOUT or node.target in REORDERS:
            return False
        return math.prod(step_shape(node)) == math.prod(step_shape(self.graph[node.data]))

    def is_plain_sum(self, node: Node) -> bool:
        """A sum of different activations of one shape: several edges into one node, at most one from each."""
        if node.target != "aten::add" or len(node.inputs) != 2 or node.attrs.get("alpha", 1) != 1:
            return False
        terms = [
            source for operand in node.inputs.values() for source in self.sources.get(operand, ())
        ]
        known = all(operand in self.sources for operand in node.inputs.values())
        same_shape = len({operand.shape for operand in self.graph.operands(node)}) == 1
        return known and same_shape and len(terms) == len(set(terms))

    def is_linear_behind(self, node: Node) -> bool:
        """Whether a linear layer that ends the model is all that reads the node."""
        consumers = self.graph.consumers(node.id)
        return bool(consumers) and all(
            consumer.op == "linear" and consumer.id in self.graph.outputs for consumer in consumers
        )

    def from_outside(self, name: str, node: Node) -> tuple[str, ...]:
        self.outside[name] = node.id
        return (name,)

    def give(self, node_id: str) -> None:
        """An output for a value before it was reshaped or reordered, unless it came from outside itself."""
        while self.graph[node_id].op in LAYOUT:
            node_id = self.graph[node_id].data
        sources, name = self.sources[node_id], f"to.{'+'.join(self.sources[node_id])}"
        if name in self.nodes or all(source in self.outside for source in sources):
            return
        self.outputs[name] = node_id
        self.connect(
            sources, name, nir.Output({"output": np.array(step_shape(self.graph[node_id]))})
        )

    def connect(self, sources: tuple[str, ...], name: str, node: nir.NIRNode) -> None:
        for source in sources:
            if source not in self.nodes:
                self.inputs[source] = self.outside[source]
                shape = np.array(step_shape(self.graph[self.outside[source]]))
                self.nodes[source] = nir.Input({"input": shape})
            self.edges.append((source, name))
        self.nodes[name] = node
