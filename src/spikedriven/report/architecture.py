"""The drawing of a network, read off its spike graph."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from spikedriven import figures
from spikedriven.errors import InputError
from spikedriven.graph import kinds
from spikedriven.graph.inputs import Inputs
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.trace import trace

#: A drawing has at most so many boxes, where the names of modules allow it.
BOXES = 28
#: Operators that a box names; the others only move values.
SHOWN = {
    "conv": "conv",
    "linear": "linear layer",
    "matmul": "matrix product",
    "multiply": "product",
    "neuron": "neuron layer",
    "batchnorm": "norm",
    "pool": "pool",
    "mean": "mean",
    "interpolate": "interpolation",
}
SPIKES, REAL = "#e3eefa", "#f3e3d1"
#: Of the box that fires most. Names are written on it in black.
FULL = "#5f9fe0"


@dataclass
class Box:
    """Nodes of one module that run one after the other."""

    name: str
    nodes: list[Node] = field(default_factory=list)


def architecture(
    model: nn.Module | SpikeGraph,
    example: Inputs | None = None,
    rates: Mapping[str, float] | None = None,
) -> Any:
    """Boxes for the parts of a network, from the input downwards, with the arrows between them.

    model: a module, then with an ``example`` input, or its graph. rates: firing rates by neuron, as
    `firing_rates` gives them; each box then tells the mean of its own, and is the darker blue the
    more its neurons fire. Of the others blue ones hand on spikes, light brown ones real values.
    Raises InputError for a module without an example.
    """
    if isinstance(model, nn.Module):
        if example is None:
            raise InputError("a module needs an example input, such as model.example_input()")
        graph = trace(model, example)
    else:
        graph = model
    found = _boxes(graph)
    fired = [_rate(box, rates or {}) for box in found]
    texts = [
        (box.name or "the network", _inside(box, rate))
        for box, rate in zip(found, fired, strict=True)
    ]
    largest = max((rate for rate in fired if rate is not None), default=0.0)
    colours = [_colour(box, rate, largest) for box, rate in zip(found, fired, strict=True)]
    legend = {"hands on spikes": SPIKES, "hands on real values": REAL}
    if largest:
        most = f"neurons fire most: {largest:.3f} spikes per step"
        legend = {most: FULL, "neurons are silent": SPIKES, "no neurons, real values": REAL}
    return figures.boxes(texts, _edges(graph, found), colours, legend=legend)


def _boxes(graph: SpikeGraph) -> list[Box]:
    """As fine as `BOXES` allows."""
    for depth in (4, 3, 2):
        found = _runs(graph, depth)
        if len(found) <= BOXES:
            return found
    return _runs(graph, 1)


def _runs(graph: SpikeGraph, depth: int) -> list[Box]:
    found: list[Box] = []
    for node in graph:
        name = "input" if node.op == "input" else ".".join(node.module.split(".")[:depth])
        if not found or found[-1].name != name:
            found.append(Box(name))
        found[-1].nodes.append(node)
    return found


def _rate(box: Box, rates: Mapping[str, float]) -> float | None:
    """Mean over the neuron layers in a box; None without one."""
    found = [rates[n.module] for n in box.nodes if n.op == "neuron" and n.module in rates]
    return sum(found) / len(found) if found else None


def _colour(box: Box, rate: float | None, largest: float) -> str:
    if rate is None:
        return SPIKES if _fires(box) else REAL
    return figures.between(SPIKES, FULL, rate / largest if largest else 0.0)


def _inside(box: Box, rate: float | None) -> str:
    counted = Counter(node.op for node in box.nodes if node.op in SHOWN)
    parts = [f"{count} {SHOWN[op]}s" if count > 1 else SHOWN[op] for op, count in counted.items()]
    shape = "x".join(map(str, box.nodes[-1].shape))
    told = "" if rate is None else f", rate {rate:.3f}"
    return f"{', '.join([*parts, ''])}{shape}{told}"


def _fires(box: Box) -> bool:
    """Whether the last value of the box is made of spikes."""
    return not kinds.is_real(box.nodes[-1].kind)


def _edges(graph: SpikeGraph, found: list[Box]) -> list[tuple[int, int]]:
    place = {node.id: i for i, box in enumerate(found) for node in box.nodes}
    pairs = {
        (place[source], i)
        for i, box in enumerate(found)
        for node in box.nodes
        for source in node.inputs.values()
    }
    return sorted((a, b) for a, b in pairs if a != b)
