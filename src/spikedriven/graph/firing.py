"""Firing rates: of neurons by name, and of every operand in the graph."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven import figures
from spikedriven.errors import InputError
from spikedriven.graph.called import functional_neurons, see_neurons
from spikedriven.graph.inputs import (
    Inputs,
    as_inputs,
    batch_size,
    first_of,
    graphed_method,
    inputs_taken,
)
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.run import pieces, run
from spikedriven.graph.trace import as_graphed, trace
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import neuron_outputs, neurons_of
from spikedriven.progress import progress_bar
from spikedriven.tabular import Tabular

#: One batch, or an iterable of batches, or of batches with their labels, as a DataLoader gives
#: them.
Batches = Tensor | tuple[Tensor, ...] | Iterable[Any]


def each_batch(batches: Batches, taken: int = 1, progress: bool = False) -> Iterator[Inputs]:
    """The batches of one batch or of a loader, without their labels.

    taken: how many inputs the network takes. A tuple of so many tensors, or more, is a batch; what
    follows in it are labels. A network of several inputs may also get ``((x, y), labels)``.
    progress: show a bar on stderr.
    """
    one = isinstance(batches, Tensor) or (taken > 1 and isinstance(batches, tuple))
    stream: Iterable[Any] = [batches] if one else batches
    found = False
    for item in progress_bar(stream, "firing rates") if progress else stream:
        found = True
        yield _inputs(item, taken)
    if not found:
        raise InputError("no batch came out of the loader: firing rates need at least one")


def _inputs(item: Any, taken: int) -> Inputs:
    if isinstance(item, Tensor):
        return item
    first = item[0]
    if isinstance(first, tuple | list):
        return tuple(first)
    return first if taken == 1 else tuple(item[:taken])


class Means:
    """Mean per name over everything added, weighted by the number of elements."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)

    def add(self, name: str, values: Tensor) -> None:
        self.sums[name] += values.sum(dtype=torch.float64).item()
        self.counts[name] += values.numel()

    def result(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}


class FiringRates(dict[str, float], Tabular):
    """Mean output of neurons, by qualified name: a dictionary that is a table and a figure too."""

    def records(self) -> list[dict[str, Any]]:
        """One row a neuron."""
        return [{"neuron": name, "rate": rate} for name, rate in self.items()]

    def plot(self) -> Any:
        """A bar for each layer of neurons, from the input downwards: a figure."""
        return figures.bars(list(self), {"rate": list(self.values())}, "mean output")


def firing_rates(model: nn.Module, batches: Batches, progress: bool = False) -> FiringRates:
    """Mean output of every neuron, by qualified name, in the order of their first call; evaluation
    mode.

    batches: one batch as the model takes it, or a loader of batches or of (batch, labels). Spikes
    give a rate in 0..1 per element and step; an integer neuron's output is already divided by its
    norm. Neurons never called are left out. A neuron that a forward calls as a function has the
    name of its call in the graph.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> _ = sd.calibrate(model, images)
        >>> rates = sd.firing_rates(model, images)
        >>> list(rates)[0], 0 < rates["stem.0.neuron"] < 1
        ('stem.0.neuron', True)
    """
    stream = each_batch(batches, inputs_taken(graphed_method(model)), progress)
    first = next(stream)
    functional = _has_functional_neurons(model, first)
    if not functional and not neurons_of(model):
        raise InputError(
            f"{type(model).__name__} has no neuron of this package: there is no firing rate to "
            "measure"
        )
    every, means = chain([first], stream), Means()

    def see(name: str, _neuron: Neuron, output: Tensor) -> None:
        means.add(name, output)

    if functional:
        graph = trace(model, first)
        for batch in every:
            see_neurons(graph, batch, see)
        return FiringRates(means.result())
    with neuron_outputs(model, see), as_graphed(model), torch.no_grad():
        for batch in every:
            model(*as_inputs(batch))
    return FiringRates(means.result())


def _has_functional_neurons(model: nn.Module, batch: Inputs) -> bool:
    with functional_neurons(model) as operators, as_graphed(model), torch.no_grad():
        model(*as_inputs(first_of(batch)))
    return operators.found > 0


def operand_rates(
    graph: SpikeGraph, factors: Mapping[str, float], batches: Batches, progress: bool = False
) -> tuple[dict[str, float], int]:
    """Mean whole number (spikes: firing rate) of values in the graph, and the number of images
    seen.

    factors: node id -> the constant factor its whole numbers carry, as `counts.operands_to_measure`
    gives it.
    """
    means, images = Means(), 0

    def visit(node: str, value: Tensor) -> None:
        if node in factors:
            means.add(node, value.abs())

    for batch in each_batch(batches, len(graph.find("input")), progress):
        for piece in pieces(graph, batch):
            run(graph, piece, visit)
        images += batch_size(batch)
    return {node: mean / factors[node] for node, mean in means.result().items()}, images
