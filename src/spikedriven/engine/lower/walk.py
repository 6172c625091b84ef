"""The walk over the graph: each node is handed to the emitter of its operator.

A loop over time in the network's own forward appears in the graph once per step. Its nodes are told
apart by the step that they take, `Value.steps`; what is done to one step is done to the map of all
steps, so the second time that an operator is met with the same maps, its result is known
already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.engine.lower.draft import Draft
from spikedriven.engine.lower.layout import BATCH, Shape
from spikedriven.engine.lower.problems import Problem, Unlowered
from spikedriven.engine.lower.values import Membrane, Pair, Value
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.run import constants
from spikedriven.graph.trace import plain as plain_size

#: What a node gives: a value of the network, or None behind a node that could not be lowered.
Result = Value | Pair | Membrane | None
Operand = Value | Pair | Membrane | Tensor | float | None


@dataclass
class Walk:
    """One attempt to lower a graph. values: of each node so far."""

    graph: SpikeGraph
    model: nn.Module
    draft: Draft
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    shapes: Mapping[str, Shape]
    values: dict[str, Result]
    known: dict[Any, Result]
    problems: list[Problem]

    @classmethod
    def over(cls, facts: "Facts", time_steps: int) -> "Walk":
        return cls(
            facts.graph, facts.model, Draft(time_steps), facts.weights, facts.constants,
            facts.shapes, {}, {}, [],
        )  # fmt: skip

    @property
    def time_steps(self) -> int:
        return self.draft.time_steps

    @property
    def left_out(self) -> int:
        """How many nodes were not reached."""
        return sum(value is None for value in self.values.values())

    def shape(self, node: Node) -> Shape:
        """The shape of a node's output with `BATCH` samples."""
        return self.shapes[node.id]

    def operand(self, node: Node, name: str) -> Operand:
        """An argument: a value, the numbers of a weight or constant (float64), or a number."""
        if name in node.inputs:
            producer = node.inputs[name]
            return (
                self.values[producer]
                if producer in self.values
                else self.constants[producer].double()
            )
        found = node.attrs.get(name)
        return self.weights[found.name].detach().double() if isinstance(found, Weight) else found

    def value(self, node: Node, name: str | None = None) -> Value:
        """An argument that must be a value; by default the one that carries the data."""
        found = self.operand(node, name) if name else self.values.get(node.data)
        if isinstance(found, Value):
            return found
        if isinstance(found, Pair):
            raise Unlowered(
                f"it reads a product of {found.over} with {found.over} that is no part of "
                "q (k^T v)",
                "multiply it with the third of q, k and v, with nothing but constant factors "
                "between",
            )
        raise Unlowered("it reads no value of the network", "write it without this operand")

    # The walk -------------------------------------------------------------------------------------

    def visit(self, node: Node) -> None:
        """Lower one node; what cannot be lowered becomes a problem."""
        operands = {name: self.values[i] for name, i in node.inputs.items() if i in self.values}
        if any(value is None for value in operands.values()):
            self.values[node.id] = None  # told of already
            return
        self.draft.where = node.module
        try:
            self.values[node.id] = self.lowered(node, operands)
        except Unlowered as why:
            self.problems.append(
                Problem(f"{node.id} ({node.target})", node.module, why.reason, why.remedy)
            )
            self.values[node.id] = self.instead(node, operands)

    def lowered(self, node: Node, operands: dict[str, Result]) -> Result:
        emitter = emitter_of(node)
        if emitter.sees_steps:
            return emitter.emit(self, node)
        steps = {value.steps for value in operands.values() if isinstance(value, Value | Pair)} - {
            None
        }
        if len(steps) > 1 or any(len(step or ()) > 1 for step in steps):
            raise Unlowered(
                "it brings different time steps together",
                "join the steps with torch.stack and take their mean or sum, or give this step's "
                "value to a neuron",
            )
        stripped = {name: _whole(value) for name, value in operands.items()}
        result = self.once(node, stripped, lambda: emitter.emit(self, node))
        if steps and isinstance(result, Value | Pair):
            return replace(result, steps=next(iter(steps)))
        return result

    def once(self, node: Node, operands: dict[str, Result], emit: Callable[[], Result]) -> Result:
        """What an operator makes of these operands: emitted the first time, known from then on."""
        inputs = tuple((name, operands.get(name, i)) for name, i in node.inputs.items())
        key = (
            node.target,
            repr(sorted(node.attrs.items(), key=lambda item: item[0])),
            inputs,
            self.shape(node),
        )
        if key not in self.known:
            held = {i: self.values[i] for i in node.inputs.values() if i in self.values}
            self.values |= {node.inputs[name]: value for name, value in operands.items()}
            try:
                self.known[key] = emit()
            finally:
                self.values |= held
        return self.known[key]

    def instead(self, node: Node, operands: dict[str, Result]) -> Result:
        """Something of the same form in place of what could not be lowered, so that what follows is
        looked at too."""
        for value in operands.values():
            if isinstance(value, Value) and self.shapes.get(node.id) == self.shapes.get(node.data):
                steps = 1 if self.draft.maps[value.map].steps == 1 else self.time_steps
                return replace(value, map=self.draft.real(value.map, steps=steps), factor=1.0)
        return None


def _whole(value: Result) -> Result:
    return replace(value, steps=None) if isinstance(value, Value | Pair) else value


# Facts of the graph that every attempt needs ------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    graph: SpikeGraph
    model: nn.Module
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    shapes: Mapping[str, Shape]

    @classmethod
    def of(cls, graph: SpikeGraph, model: nn.Module) -> "Facts":
        shapes = {
            node.name: _shape(node.meta["val"])
            for node in graph.exported.graph.nodes
            if _is_tensor(node)
        }
        return cls(graph, model, graph.weights, constants(graph), shapes)


def _is_tensor(node: torch.fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _shape(value: Tensor) -> Shape:
    return tuple(_size(size) for size in value.shape)


def _size(size: Any) -> int:
    if isinstance(size, torch.SymInt):
        expression = size.node.expr
        return int(expression.subs(dict.fromkeys(expression.free_symbols, BATCH)))
    return int(plain_size(size))


# Emitters -----------------------------------------------------------------------------------------

Emit = Callable[[Walk, Node], Result]


@dataclass(frozen=True)
class Emitter:
    """sees_steps: it takes operands of different time steps of a loop."""

    emit: Emit
    sees_steps: bool = False


_BY_TARGET: dict[str, Emitter] = {}
_BY_OP: dict[str, Emitter] = {}


def emits(*, op: str = "", targets: str = "", sees_steps: bool = False) -> Callable[[Emit], Emit]:
    """Decorator: the emitter of an operator class of the graph, or of operators by name (those come
    first)."""

    def register(emit: Emit) -> Emit:
        if op:
            _BY_OP[op] = Emitter(emit, sees_steps)
        for target in targets.split():
            _BY_TARGET[target if "::" in target else f"aten::{target}"] = Emitter(emit, sees_steps)
        return emit

    return register


def emitter_of(node: Node) -> Emitter:
    """By the operator's name, else by its class. Unlowered for an operator that the engine does not
    have."""
    found = _BY_TARGET.get(node.target) or _BY_OP.get(node.op)
    if found is None:
        remedy = _BATCH_NORM if node.target in _OWN_STATISTICS else _REMEDIES.get(node.op, _OTHER)
        raise Unlowered(f"the engine has no operation for {node.target}", remedy)
    return found


_OTHER = "write it with convolutions, linear layers, neurons, sums, products, pools and reshapes"
#: Norms that take mean and variance of what they read, at every call.
_OWN_STATISTICS = ("aten::layer_norm", "aten::group_norm", "aten::instance_norm", "aten::rms_norm")
_BATCH_NORM = (
    "use nn.BatchNorm1d or nn.BatchNorm2d, whose statistics are constants once it is trained"
)
_REMEDIES = {
    "activation": "put a spiking neuron (or torch.relu) in its place",
    "compare": "put a spiking neuron in place of the comparison",
    "select": "write the choice as a product with spikes",
    "reshape": "write it as reshape, permute, transpose or flatten",
    "repeat": "write it as repeat, expand, or interpolate with mode nearest",
    "interpolate": "resize with mode nearest or bilinear, in two dimensions",
}
