"""Neurons in an exported program: which operator calls make up one call of a neuron.

A neuron with an operator of its own is one node anyway. One that is written in PyTorch's operators
is many, unrolled over time; `torch.export` keeps the module that made each, so they become one
again.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, fx, nn

from spikedriven.errors import InputError
from spikedriven.graph.calls import RULES, is_neuron_operator, target_name
from spikedriven.graph.kinds import Kind, Span
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.kernels.spec import IntegerSpec, NeuronSpec
from spikedriven.neurons import LIFOptions, Neuron
from spikedriven.neurons.lif import lif_spec


@dataclass(frozen=True)
class NeuronCall:
    """One call of a neuron. module: its qualified name. nodes: the operator calls inside, in
    order.
    """

    module: str
    neuron: Neuron
    nodes: tuple[fx.Node, ...]

    @property
    def kind(self) -> Kind:
        """What it puts out, as the neuron itself says."""
        return Span(0, self.neuron.levels, self.neuron.unit).kind

    def inputs(self) -> list[fx.Node]:
        """Tensors from outside that it reads, in the order of their first use."""
        inside = set(self.nodes)
        read = dict.fromkeys(source for node in self.nodes for source in node.all_input_nodes)
        return [s for s in read if s not in inside and isinstance(s.meta.get("val"), Tensor)]

    def leaves(self, node: fx.Node) -> bool:
        """Whether something outside reads this node."""
        return not set(node.users) <= set(self.nodes)


class NeuronCalls:
    """All calls of neurons that are written in PyTorch's operators."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        groups: dict[str, list[fx.Node]] = defaultdict(list)
        found: dict[str, tuple[str, Neuron]] = {}
        for node in graph.nodes:
            place = _outermost_neuron(model, node)
            if place is not None:
                key, path, neuron = place
                groups[key].append(node)
                found[key] = path, neuron
        calls = [NeuronCall(*found[key], tuple(nodes)) for key, nodes in groups.items()]
        self.by_node = {
            node: call for call in calls if not _is_an_operator(call) for node in call.nodes
        }

    def of(self, node: fx.Node) -> NeuronCall | None:
        return self.by_node.get(node)

    def spikes(self, call: NeuronCall) -> fx.Node:
        """The node that carries what the neuron puts out; others that leave it go to its next
        call.
        """
        out = [node for node in call.nodes if call.leaves(node)]
        if len(out) > 1:
            out = [node for node in out if self._read_elsewhere(node, call)]
        if len(out) != 1:
            raise InputError(
                f"the neuron {call.module or type(call.neuron).__name__} hands {len(out)} values "
                "to "
                f"the network ({', '.join(node.name for node in out) or 'none'}); a neuron returns "
                "its spikes alone, and keeps its state with self.keep(...)"
            )
        return out[0]

    def _read_elsewhere(self, node: fx.Node, call: NeuronCall) -> bool:
        readers = (self.by_node.get(user) for user in node.users)
        return any(reader is None or reader.neuron is not call.neuron for reader in readers)


def _outermost_neuron(model: nn.Module, node: fx.Node) -> tuple[str, str, Neuron] | None:
    """(the call, as a key of its own for each, the module's path, the neuron)."""
    if node.op != "call_function":
        return None
    for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
        try:
            module = model.get_submodule(path)
        except AttributeError:  # a module that the model does not hold under this name
            continue
        if isinstance(module, Neuron):
            return key, path, module
    return None


def _is_an_operator(call: NeuronCall) -> bool:
    """One registered neuron operator, and beside it only what moves or adds up its input (as
    `substeps` does in front of it): the node says more than we could.
    """
    made = [n for n in call.nodes if isinstance(n.target, torch._ops.OpOverload) and n.users]
    names = [target_name(node.target) for node in made if _makes_a_tensor(node)]
    return [is_neuron_operator(name) for name in names if RULES[name].op not in _MOVES] == [True]


#: Operator classes that compute nothing, or sums.
_MOVES = ("reshape", "repeat", "slice", "identity", "sum")


def _makes_a_tensor(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor | tuple | list) and target_name(node.target) in RULES


def neuron_spec(graph: SpikeGraph, node: Node) -> NeuronSpec | None:
    """The constants of a neuron node: from its operator's arguments, else what the neuron says."""
    read = _SPECS.get(node.target)
    return node.attrs.get("spec") if read is None else read(graph, node)


def _of_lif(graph: SpikeGraph, node: Node) -> NeuronSpec | None:
    names = [field.name for field in fields(LIFOptions)]
    options = LIFOptions(**{name: node.attrs[name] for name in names})
    if "w" in node.inputs:  # a time constant that the network computes
        return None
    w = node.weight("w")
    return lif_spec(options, None if w is None else graph.weights[w.name])


def _of_integer(graph: SpikeGraph, node: Node) -> NeuronSpec:
    half_up = node.attrs["rounding"] == "half_up"
    return IntegerSpec(node.attrs["levels"], half_up, node.attrs["threshold"])


_SPECS: dict[str, Callable[[SpikeGraph, Node], NeuronSpec | None]] = {
    "spikedriven::lif": _of_lif,
    "spikedriven::integer_spike": _of_integer,
}
