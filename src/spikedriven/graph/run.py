"""Running the exported program while looking at values on the way: for firing rates and for constants."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, fx

from spikedriven.errors import InputError
from spikedriven.graph.kinds import Constant
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.trace import plain

Visit = Callable[[str, Tensor], None]


def run(graph: SpikeGraph, batch: Tensor, visit: Visit | None = None) -> Tensor:
    """What the model returns for a batch; ``visit(node id, value)`` sees every node's value as it is computed."""
    if not graph.dynamic_batch and batch.shape[0] != graph.batch_size:
        raise InputError(
            f"this model was traced with a fixed batch of {graph.batch_size}, found a batch of {batch.shape[0]}: "
            "its forward turns the batch size into a constant; hand in batches of that size"
        )
    with torch.no_grad():
        return _Watching(graph, visit).run(*_arguments(graph, batch))[0]


def _arguments(graph: SpikeGraph, batch: Tensor) -> list[Tensor]:
    tensors = graph.weights
    specs = graph.exported.graph_signature.input_specs
    return [batch if spec.target is None else tensors[spec.target] for spec in specs]


class _Watching(fx.Interpreter):
    def __init__(self, graph: SpikeGraph, visit: Visit | None) -> None:
        super().__init__(graph.exported.graph_module)
        self.known = {node.id for node in graph}
        self.visit = visit

    def run_node(self, n: fx.Node):
        value = super().run_node(n)
        if self.visit is not None and n.name in self.known:
            self.visit(n.name, value)
        return value


def constants(graph: SpikeGraph) -> dict[str, Tensor]:
    """The value of every node of kind `Constant` (what is computed from weights alone), by node id."""
    tensors, values = graph.weights, dict[str, Tensor]()
    specs = graph.exported.graph_signature.input_specs
    weights = {spec.arg.name: tensors[spec.target] for spec in specs if spec.target is not None}
    calls = {node.name: node for node in graph.exported.graph.nodes}
    with torch.no_grad():
        for node in graph:
            if isinstance(node.kind, Constant):
                values[node.id] = _constant(node, calls[node.id], values, weights)
    return values


def _constant(
    node: Node, call: fx.Node, values: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    assert isinstance(node.kind, Constant) and isinstance(call.target, torch._ops.OpOverload)
    if node.kind.value is not None:
        return torch.full(
            node.shape, node.kind.value, dtype=node.dtype, device=call.meta["val"].device
        )
    args, kwargs = fx.map_arg((call.args, call.kwargs), partial(_value, values, weights))
    return call.target(*args, **kwargs)


def _value(values: Mapping[str, Tensor], weights: Mapping[str, Tensor], argument: fx.Node):
    """A constant that was computed already, a weight, or a size for a batch of one."""
    known = values.get(argument.name, weights.get(argument.name))
    return plain(argument) if known is None else known
