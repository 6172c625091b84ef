"""`expand`: an integer-trained network as a network of binary spikes over T x D steps, checked to compute the same.

Every integer neuron emits D binary sub-steps; every weight layer behind one accumulates them and adds its bias once;
1 / norm goes into the weights, attention scales and norms into the thresholds behind the attention product. Which
layers read spikes is read off the spike graph.
"""

import copy

import torch
from torch import Tensor, nn

from spikedriven.graph.fuse import check_equal, check_input, fuse
from spikedriven.graph.kinds import is_spiking
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.trace import trace
from spikedriven.layers import SpikingSelfAttention
from spikedriven.layers.expanded import Accumulate, ExpandedSelfAttention
from spikedriven.neurons import IntegerNeuron
from spikedriven.neurons.expanded import ExpandedNeuron


def expand(model: nn.Module, example: Tensor | None = None, check: bool = True) -> nn.Module:
    """A folded, spiking copy of a model, for inference; the model itself stays as it is.

    A network of LIF neurons is binary already and comes back folded only. example, check: as in `fuse`; outputs are
    compared in float64 (relative 1e-9). Raises SpikedrivenError where they differ.
    """
    x = check_input(model, example)
    if check:
        exact = copy.deepcopy(model).double().cpu()
        check_equal(exact, _expanded_copy(exact, x), x, neurons=False)
    return _expanded_copy(model, x)


def _expanded_copy(model: nn.Module, example: Tensor) -> nn.Module:
    spiking = fuse(model, example, check=False)
    with torch.no_grad():
        for path, neuron in _layers_behind_integers(spiking, example).items():
            parent, name = _place(spiking, path)
            setattr(parent, name, Accumulate(getattr(parent, name), neuron.levels, neuron.norm))
        _replace_neurons(spiking)
    return spiking


def _layers_behind_integers(model: nn.Module, example: Tensor) -> dict[str, IntegerNeuron]:
    """Qualified name of each weight layer that reads an integer neuron -> that neuron."""
    graph = trace(copy.deepcopy(model).double(), example)
    layers = [
        n for n in graph if n.op in ("conv", "linear") and is_spiking(graph.operands(n)[0].kind)
    ]
    sources = {layer.module: model.get_submodule(_neuron_behind(graph, layer)) for layer in layers}
    return {path: neuron for path, neuron in sources.items() if isinstance(neuron, IntegerNeuron)}


def _neuron_behind(graph: SpikeGraph, node: Node) -> str:
    """The module of the neuron whose output, reshaped or pooled at most, the node reads."""
    while node.op != "neuron":
        node = graph.operands(node)[0]
    return node.module


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, name = path.rpartition(".")
    return model.get_submodule(parent), name


def _replace_neurons(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, SpikingSelfAttention) and isinstance(child.neuron, IntegerNeuron):
            child = ExpandedSelfAttention(child)
            setattr(module, name, child)
        if isinstance(child, IntegerNeuron):
            setattr(module, name, ExpandedNeuron.of(child))
        else:
            _replace_neurons(child)
