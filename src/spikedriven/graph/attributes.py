"""Factors that a module keeps as a number in an attribute and applies in its forward: ``x *
self.scale``.

Such a factor can be taken away by setting the number to 1. That this does what is wanted, and
nothing else, is seen in the graph: with the numbers set to 1 it must be the same graph without
those multiplications.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from spikedriven.graph.kinds import Input
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.paths import contents, data_operand
from spikedriven.graph.trace import trace


@dataclass(frozen=True)
class Attribute:
    """A float of a module: ``module.name``, or ``module.name[index]`` of a list or tuple."""

    module: str
    name: str
    index: int | None = None

    def set_to_one(self, model: nn.Module) -> None:
        owner = model.get_submodule(self.module)
        if self.index is None:
            setattr(owner, self.name, 1.0)
            return
        values = list(getattr(owner, self.name))
        values[self.index] = 1.0
        setattr(owner, self.name, type(getattr(owner, self.name))(values))


def removable_factors(model: nn.Module, graph: SpikeGraph, x: Any) -> dict[str, Attribute]:
    """Node id of each factor inside a forward that goes away with an attribute -> that
    attribute.
    """
    found: dict[str, Attribute] = {}
    for node in graph.find("scale"):
        if _inside_a_forward(graph, node):
            kept = list(_holding(model.get_submodule(node.module), node))
            found |= {node.id: kept[0]} if len(kept) == 1 else {}
    if not found:
        return {}
    changed = copy.deepcopy(model)
    for attribute in found.values():
        attribute.set_to_one(changed)
    return found if _same_without(graph, trace(changed, x), found) else {}


def _inside_a_forward(graph: SpikeGraph, node: Node) -> bool:
    on_input = isinstance(data_operand(graph, node).kind, Input)
    return not on_input and (not node.module or len(contents(graph, node.module)) > 1)


def _holding(module: nn.Module, node: Node) -> Iterator[Attribute]:
    """Attributes whose value is the node's factor."""
    factor = next(
        (value for value in node.attrs.values() if isinstance(value, float) and value != 1.0), None
    )
    if factor is None:
        return
    for name, value in vars(module).items():
        if isinstance(value, float) and value == factor:
            yield Attribute(node.module, name)
        if isinstance(value, list | tuple):
            for i, element in enumerate(value):
                if isinstance(element, float) and element == factor:
                    yield Attribute(node.module, name, i)


def _same_without(graph: SpikeGraph, other: SpikeGraph, removed: Mapping[str, Attribute]) -> bool:
    """Whether the other graph is this one without these nodes, operator by operator and input
    by input.
    """
    here, there = _skeleton(graph, set(removed)), _skeleton(other, set())
    return here == there


def _skeleton(graph: SpikeGraph, removed: set[str]) -> list[tuple]:
    """Every node but the removed ones and those that change nothing, with its inputs as places
    in this list.
    """
    places: dict[str, int] = {}
    rows: list[tuple] = []
    for node in graph:
        if node.id in removed or node.op == "identity":
            places[node.id] = places[node.data]
            continue
        places[node.id] = len(rows)
        inputs = tuple((name, places[i]) for name, i in node.inputs.items())
        rows.append((node.op, node.target, node.module, node.shape, inputs, str(dict(node.attrs))))
    return rows
