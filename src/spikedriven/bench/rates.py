"""What fires how often, and biases moved so that every neuron fires at a wished rate.

Speed of an event-driven program depends on the share of inputs that fire, so a timing with random
weights says something only together with that share. The share here is n / levels: of a LIF neuron
its firing rate, of an integer neuron its mean count over the largest count.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.graph.energy import cost
from spikedriven.graph.firing import firing_rates
from spikedriven.graph.measurement import measure
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.run import run
from spikedriven.graph.trace import trace
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import neurons_of, share_of

#: Operators that a constant added to every value passes through unchanged.
TRANSPARENT = ("reshape", "identity", "add", "maxpool")
#: Operators of an attention product: what is behind them fires the more, the more its operands do.
PRODUCTS = (*TRANSPARENT, "matmul", "multiply", "scale", "sum")
#: Values on which a shift is searched; more change it by less than rates differ between images.
SAMPLE = 200_000
STEPS = 24
SWEEPS = 4
#: Least share that operands of an attention product are asked for.
LEAST = 0.01


@dataclass(frozen=True)
class Density:
    """neurons: mean share over all neuron outputs. additions: dense operations behind spikes that a
    spike triggers, as a share of all of them (counts count as often as they say, so above 1 is
    possible with integer neurons). groups: neurons of the same role in all blocks -> their mean
    share.
    """

    neurons: float
    additions: float
    groups: dict[str, float]


def density(model: nn.Module, batch: Tensor) -> Density:
    """Measure on one batch, in evaluation mode."""
    shares = _shares(model, batch)
    outputs = _outputs(trace(model, batch))
    rows = [
        row
        for row in cost(measure(model, batch, form="released"), "sdt").rows
        if row.rate is not None
    ]
    groups = defaultdict(list)
    for name, share in shares.items():
        groups[re.sub(r"\.(neuron|branch)\b|\.\d+\b", "", name)].append(share)
    return Density(
        neurons=sum(share * outputs[name] for name, share in shares.items())
        / sum(outputs[n] for n in shares),
        additions=sum(row.sops for row in rows) / sum(row.flops for row in rows),
        groups={name: sum(found) / len(found) for name, found in groups.items()},
    )


def _shares(model: nn.Module, batch: Tensor) -> dict[str, float]:
    neurons = neurons_of(model)
    return {
        name: share_of(neurons[name], rate) for name, rate in firing_rates(model, batch).items()
    }


def _outputs(graph: SpikeGraph) -> dict[str, int]:
    """Neuron -> values it puts out per image."""
    return {node.module: torch.Size(node.shape).numel() for node in graph.find("neuron")}


def set_rates(model: nn.Module, batch: Tensor, share: float) -> list[str]:
    """Move biases in place until every neuron's share on ``batch`` is about ``share``.

    One number is added to all channels of the bias in front of a neuron, so that channels keep
    their differences. A neuron behind an attention product has no bias: the shares of its operands
    are lowered (or raised, up to 1) instead, in a few sweeps over the network. Returns the neurons
    for which neither was possible; a network that keeps one of its largest shares above the wish,
    because nothing can move it, is for the caller to report (`density`).
    """
    if not 0 < share < 1:
        raise InputError(f"a firing rate lies between 0 and 1, found {share}")
    graph = trace(model, batch)
    biases = {
        node.module: bias for node in graph.find("neuron") if (bias := _bias_before(graph, node))
    }
    feeding = {
        n.module: found
        for n in graph.find("neuron")
        if n.module not in biases
        if (found := _sources(graph, n))
    }
    wishes = dict.fromkeys(biases, share)
    for _ in range(SWEEPS if feeding else 1):
        _sweep(model, graph, batch, biases, wishes)
        _adjust(wishes, feeding, _shares(model, batch), share)
    return [
        n.module for n in graph.find("neuron") if n.module not in biases and n.module not in feeding
    ]


def _bias_before(graph: SpikeGraph, neuron: Node) -> str | None:
    """The bias that a neuron's whole input moves along with; where branches were added, of the
    latest one.
    """
    order = {node.id: index for index, node in enumerate(graph)}
    node = graph[neuron.data]
    while node.op in TRANSPARENT:
        node = max(graph.operands(node), key=lambda operand: order[operand.id])
    bias = node.weight("bias") if node.op in ("batchnorm", "conv", "linear") else None
    return bias.name if bias else None


def _sources(graph: SpikeGraph, neuron: Node) -> list[str]:
    """The neurons whose outputs are multiplied into a neuron's input."""
    found, open_nodes = [], [graph[neuron.data]]
    while open_nodes:
        node = open_nodes.pop()
        if node.op == "neuron":
            found.append(node.module)
        elif node.op in PRODUCTS:
            open_nodes += graph.operands(node)
        elif node.op != "constant":
            return []
    return list(dict.fromkeys(found))


def _adjust(
    wishes: dict[str, float], feeding: dict[str, list[str]], shares: dict[str, float], share: float
) -> None:
    """Ask the operands of attention products for less where their neuron fires too often, for
    more where too seldom.
    """
    for neuron, sources in feeding.items():
        movable = [name for name in sources if name in wishes]
        factor = (share / max(shares[neuron], 1e-4)) ** (1 / max(len(movable), 1))
        for name in movable:
            wishes[name] = min(
                max(wishes[name] * min(max(factor, 0.3), 2.0), LEAST), max(share, 0.5)
            )


def _sweep(
    model: nn.Module,
    graph: SpikeGraph,
    batch: Tensor,
    biases: dict[str, str],
    wishes: dict[str, float],
) -> None:
    """One pass from the first neuron to the last, each shifted to its wish before the layers
    behind it are computed.
    """
    inputs = {node.data: node.module for node in graph.find("neuron") if node.module in biases}

    def shift(node: str, value: Tensor) -> None:
        if (name := inputs.get(node)) is not None:
            moved = shift_for(cast(Neuron, model.get_submodule(name)), value, wishes[name])
            value += moved
            graph.weights[biases[name]].add_(moved)

    run(graph, batch, shift)


def shift_for(neuron: Neuron, x: Tensor, wish: float) -> float:
    """What to add to a neuron's input [T, ...] for it to fire with a share of ``wish``: by
    bisection.
    """
    stride = max(1, x.numel() // SAMPLE)
    sample = x.flatten(1)[:, ::stride].contiguous()
    reach = sample.abs().max().item() + 2 * max(neuron.levels, 4)
    low, high = -reach, reach
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if share_of(neuron, neuron(sample + middle).mean().item()) < wish
            else (low, middle)
        )
    return (low + high) / 2
