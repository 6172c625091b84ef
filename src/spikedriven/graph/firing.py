"""Firing rates: of neurons by name, and of every operand in the graph."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.run import run
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons.watch import neuron_outputs, neurons_of

#: A batch, or an iterable of batches; of (batch, labels) pairs too, as a DataLoader gives them.
Batches = Tensor | Iterable[Tensor | tuple[Tensor, Tensor]]


def each_batch(batches: Batches, progress: bool = False) -> Iterator[Tensor]:
    """The image tensors of one batch, or of a loader. progress: show a bar on stderr."""
    if isinstance(batches, Tensor):
        batches = [batches]
    found = False
    for item in track(
        batches, "firing rates", console=Console(stderr=True), transient=True, disable=not progress
    ):
        found = True
        yield item if isinstance(item, Tensor) else item[0]
    if not found:
        raise InputError("no batch came out of the loader: firing rates need at least one")


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


def firing_rates(model: nn.Module, batches: Batches, progress: bool = False) -> dict[str, float]:
    """Mean output of every neuron, by qualified name, in the order of their first call; evaluation mode.

    batches: one batch as the model takes it, or a loader of batches or of (batch, labels). Spikes give a rate in 0..1
    per element and step; an integer neuron's output is already divided by its norm. Neurons never called are left out.
    """
    means = Means()
    if not neurons_of(model):
        raise InputError(
            f"{type(model).__name__} has no neuron of this package: there is no firing rate to measure"
        )
    watched = neuron_outputs(model, lambda name, _neuron, output: means.add(name, output))
    with watched, as_graphed(model), torch.no_grad():
        for batch in each_batch(batches, progress):
            model(batch)
    return means.result()


def operand_rates(graph: SpikeGraph, factors: Mapping[str, float], batches: Batches, progress: bool = False
                  ) -> tuple[dict[str, float], int]:  # fmt: skip
    """Mean whole number (spikes: firing rate) of values in the graph, and the number of images seen.

    factors: node id -> the constant factor its whole numbers carry, as `counts.operands_to_measure` gives it.
    """
    means, images = Means(), 0

    def visit(node: str, value: Tensor) -> None:
        if node in factors:
            means.add(node, value.abs())

    for batch in each_batch(batches, progress):
        run(graph, batch, visit)
        images += batch.shape[0]
    return {node: mean / factors[node] for node, mean in means.result().items()}, images
