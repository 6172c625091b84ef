"""Looking at what neurons put out while a network runs: the one place that hooks them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from spikedriven.neurons.integer import IntegerNeuron
from spikedriven.neurons.modules import Neuron

#: Qualified name, the neuron, its output [T, B, ...].
See = Callable[[str, Neuron, Tensor], None]


def neurons_of(model: nn.Module) -> dict[str, Neuron]:
    """The neurons of this package in a network, by qualified name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Neuron)}


@contextmanager
def neuron_outputs(model: nn.Module, see: See) -> Iterator[None]:
    """Inside the block ``see(name, neuron, output)`` is called at each call of a neuron."""
    hooks = [
        neuron.register_forward_hook(lambda m, _inputs, output, name=name: see(name, m, output))
        for name, neuron in neurons_of(model).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def largest_count(neuron: Neuron) -> int:
    """The most spikes of one neuron in one time step: D of an integer neuron, else 1."""
    return neuron.levels if isinstance(neuron, IntegerNeuron) else 1


def counts(neuron: Neuron, output: Tensor) -> Tensor:
    """A neuron's output as whole numbers of spikes, same shape and dtype.

    An integer neuron puts out ``count / norm``; the product is rounded, since 1 / norm need not be
    exact. Other neurons put out 0 or 1.
    """
    return (output * neuron.norm).round() if isinstance(neuron, IntegerNeuron) else output
