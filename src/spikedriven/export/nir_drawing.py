"""From the spike graph to NIR nodes and edges, and a list of what NIR cannot hold."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from spikedriven.export.nir_nodes import is_time_mean, step_shape, steps_of, translate
from spikedriven.graph import Constant, Node, SpikeGraph
from spikedriven.models.names import CLASSES

#: One step of the network is one step of NIR's equations of this length.
DT = 1.0
#: Operators that leave the values of a time step alone, apart from their shape and order.
LAYOUT = ("reshape", "identity", "repeat")
#: Reshapes that keep the order of values.
IN_ORDER = (
    "reshape",
    "view",
    "_unsafe_view",
    "view_as",
    "reshape_as",
    "flatten",
    "unflatten",
    "ravel",
    "squeeze",
    "unsqueeze",
)


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

    classes: names of them, for the file. inputs, outputs: NIR name -> id of the graph node whose
    value goes in or comes out. An operator that is left out needs its operands as outputs, and its
    value is an input where something in the file reads it.
    """

    graph: SpikeGraph
    classes: tuple[str, ...] = ()
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    #: Graph node -> names of the NIR nodes whose sum is its value.
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Name of a NIR node -> the shape of what it gives at each step.
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
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
        """With the length of a time step, which other readers need for neurons of NIR's continuous
        equations.

        nir's own check compares shapes before they are flattened, and misreads grouped
        convolutions: it is off.
        """
        metadata: dict[str, Any] = {"dt": DT}
        if self.classes:
            metadata[CLASSES] = json.dumps(self.classes)
        return nir.NIRGraph(self.nodes, self.edges, metadata=metadata, type_check=False)

    def flattened(self, source: str) -> str:
        """A node that gives the values of another one as a vector; that one itself where it
        does already.
        """
        shape, name = self.shapes[source], f"{source}.flatten"
        if len(shape) == 1:
            return source
        if name not in self.nodes:
            self.nodes[name] = nir.Flatten({"input": np.array(shape)}, start_dim=0, end_dim=-1)
            self.edges.append((source, name))
            self.shapes[name] = (math.prod(shape),)
        return name

    def draw(self, node: Node) -> tuple[str, ...]:
        """Put one operator into the file, or note that it stays outside. Returns its sources."""
        if node.op == "input":
            alone = len(self.graph.find("input")) == 1
            return self.from_outside("input" if alone else f"input.{node.id}", node)
        if self.keeps_order(node):
            return self.reshaped(node)
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
            read = step_shape(self.graph[node.data])
            pooled = (*step_shape(node), 1, 1) if node.op == "mean" else step_shape(node)
            self.connect(self.sources[node.data], name, made, as_vector=len(read) == 1)
            self.shapes[name] = pooled
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
        """The same values in the same order at every step (the repetition of an image over
        steps is one).
        """
        if node.op not in LAYOUT:
            return False
        if node.op == "reshape" and node.target.removeprefix("aten::") not in IN_ORDER:
            return False
        before = self.graph[node.data]
        if steps_of(node) != steps_of(before) and node.op != "repeat":
            return False
        return math.prod(step_shape(node)) == math.prod(step_shape(self.graph[node.data]))

    def reshaped(self, node: Node) -> tuple[str, ...]:
        """The sources of what a node gives another shape. A value from outside comes in the shape
        in which it is read, by an input of its own; NIR has no node for it.
        """
        sources = self.sources[node.data]
        before = self.outside.get(sources[0]) if len(sources) == 1 else None
        if before is None or step_shape(self.graph[before]) == step_shape(node):
            return sources
        return self.from_outside(f"{sources[0]}.{node.id}", node)

    def is_plain_sum(self, node: Node) -> bool:
        """A sum of different activations of one shape: several edges into one node, at most one
        from each.
        """
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
        """An output for a value before it was reshaped or reordered, unless it came from
        outside itself.
        """
        while self.graph[node_id].op in LAYOUT:
            node_id = self.graph[node_id].data
        sources, name = self.sources[node_id], f"to.{'+'.join(self.sources[node_id])}"
        if name in self.nodes or all(source in self.outside for source in sources):
            return
        self.outputs[name] = node_id
        self.connect(
            sources, name, nir.Output({"output": np.array(step_shape(self.graph[node_id]))})
        )

    def connect(
        self, sources: tuple[str, ...], name: str, node: nir.NIRNode, as_vector: bool = False
    ) -> None:
        """as_vector: the node reads one vector at each step, whatever the shape of what its
        sources give.
        """
        for source in sources:
            if source not in self.nodes:
                self.inputs[source] = self.outside[source]
                shape = np.array(step_shape(self.graph[self.outside[source]]))
                self.nodes[source] = nir.Input({"input": shape})
                self.shapes[source] = tuple(shape.tolist())
            self.edges.append((self.flattened(source) if as_vector else source, name))
        self.nodes[name] = node
