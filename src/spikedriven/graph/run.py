"""Running the exported program while looking at values on the way: for firing rates and for
constants.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, fx
from torch.export.graph_signature import OutputKind

from spikedriven.errors import InputError
from spikedriven.graph.inputs import Inputs, as_inputs
from spikedriven.graph.kinds import Constant
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.trace import plain

Visit = Callable[[str, Tensor], None]


def run(
    graph: SpikeGraph, batch: Inputs, visit: Visit | None = None
) -> Tensor | tuple[Tensor, ...]:
    """What the model returns for a batch: a tensor, or a tuple of all its tensors.

    ``visit(node id, value)`` sees every node's value as it is computed. Raises InputError for a
    batch of another size than a fixed one, or other inputs than were traced.
    """
    inputs = as_inputs(batch)
    _check_inputs(graph, inputs)
    with torch.no_grad():
        values = _Watching(graph, visit).run(*_arguments(graph, inputs))
    specs = zip(graph.exported.graph_signature.output_specs, values, strict=True)
    returned = tuple(value for spec, value in specs if spec.kind is OutputKind.USER_OUTPUT)
    return returned[0] if len(returned) == 1 else returned


def pieces(graph: SpikeGraph, batch: Inputs) -> Iterator[Inputs]:
    """The batch in pieces that the graph takes: whole, unless the model has a fixed batch size."""
    inputs, step = as_inputs(batch), graph.batch_size
    if graph.dynamic_batch or len(inputs[0]) % step:
        yield batch
        return
    for start in range(0, len(inputs[0]), step):
        yield tuple(x[start : start + step] for x in inputs)


def _check_inputs(graph: SpikeGraph, inputs: tuple[Tensor, ...]) -> None:
    size, taken = len(inputs[0]), graph.find("input")
    if not graph.dynamic_batch and size != graph.batch_size:
        raise InputError(
            f"this model was traced with a fixed batch of {graph.batch_size}, found a batch of "
            f"{size}: "
            "its forward turns the batch size into a constant (write x.shape[0], not len(x)); hand "
            "in "
            "batches of that size"
        )
    found, expected = ([list(x.shape[1:]) for x in some] for some in (inputs, taken))
    if found != expected:
        raise InputError(
            f"this model was traced with inputs of shape {expected} for each example, found {found}"
        )


def _arguments(graph: SpikeGraph, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    tensors, given = graph.weights, iter(inputs)
    specs = graph.exported.graph_signature.input_specs
    return [next(given) if spec.target is None else tensors[spec.target] for spec in specs]


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
    """The value of every node of kind `Constant` (what is computed from weights alone), by node
    id.
    """
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
