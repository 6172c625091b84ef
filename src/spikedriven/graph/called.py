"""What neurons put out, seen in the graph: also of those that a forward calls as functions,
step by step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikedriven.graph import kinds
from spikedriven.graph.calls import is_neuron_operator, target_name
from spikedriven.graph.inputs import Inputs
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.paths import name_of
from spikedriven.graph.run import pieces, run
from spikedriven.graph.steps import neuron_calls
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import See, neurons_of


class CalledNeuron(Neuron):
    """Stands for neurons that are no module: what the graph knows of them."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        span = kinds.span(node.kind)
        if span is not None:
            self.levels, self.unit = span.high, span.factor


def see_neurons(graph: SpikeGraph, batch: Inputs, see: See) -> None:
    """Run the graph and call ``see(name, neuron, output)`` for each neuron, with its output of
    all steps.
    """
    calls = neuron_calls(graph)
    wanted = {node.id for found in calls for node in found}
    for piece in pieces(graph, batch):
        values = _values(graph, piece, wanted)
        for found in calls:
            output = torch.cat([values[node.id] for node in found])
            see(name_of(found[0]), CalledNeuron(found[0]), output)


def in_calls(graph: SpikeGraph, model: nn.Module) -> bool:
    """Whether some neuron is a function, or is called once for each step: then modules do not
    tell how it fires.
    """
    modules = neurons_of(model)
    return any(len(found) > 1 or found[0].module not in modules for found in neuron_calls(graph))


class _Operators(TorchDispatchMode):
    """Counts neuron operators that run outside the modules of neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.found = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found += not self.inside and is_neuron_operator(target_name(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def functional_neurons(model: nn.Module) -> Iterator[_Operators]:
    """Inside the block the value counts neurons that are called as functions."""
    operators = _Operators()

    def step(by: int) -> Any:
        def hook(*_: object) -> None:
            operators.inside += by

        return hook

    neurons = neurons_of(model).values()
    hooks = [neuron.register_forward_pre_hook(step(1)) for neuron in neurons]
    hooks += [neuron.register_forward_hook(step(-1)) for neuron in neurons]
    try:
        with operators:
            yield operators
    finally:
        for hook in hooks:
            hook.remove()


def _values(graph: SpikeGraph, batch: Inputs, wanted: set[str]) -> dict[str, Tensor]:
    """What these nodes put out, by their ids."""
    values: dict[str, Tensor] = {}

    def keep(node: str, value: Tensor) -> None:
        if node in wanted:
            values[node] = value

    run(graph, batch, keep)
    return values
