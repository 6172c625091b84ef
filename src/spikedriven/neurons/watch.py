"""Looking at what neurons put out while a network runs: the one place that hooks them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from spikedriven.neurons.base import Neuron

#: Qualified name, the neuron, its output [T, B, ...].
See = Callable[[str, Neuron, Tensor], None]


def neurons_of(model: nn.Module) -> dict[str, Neuron]:
    """The neurons in a network, by qualified name. One that is a part of another neuron is not
    listed.
    """
    found: dict[str, Neuron] = {}
    outer = None  # modules come before their parts
    for name, module in model.named_modules():
        if isinstance(module, Neuron) and (outer is None or not name.startswith(outer)):
            found[name] = module
            outer = f"{name}." if name else ""
    return found


@contextmanager
def neuron_outputs(model: nn.Module, see: See) -> Iterator[None]:
    """Inside the block ``see(name, neuron, output)`` is called at each call of a neuron."""
    hooks = [
        neuron.register_forward_hook(
            lambda m, _inputs, output, name=name: see(name, m, output), prepend=True
        )
        for name, neuron in neurons_of(model).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def counts(neuron: Neuron, output: Tensor) -> Tensor:
    """A neuron's output as whole numbers of spikes, same shape and dtype.

    The product is rounded, since a count over its divisor need not be exact. Spikes of worth 1 are
    counts already.
    """
    return output if neuron.unit == 1.0 else (output * neuron.divisor).round()


def share_of(neuron: Neuron, mean: float) -> float:
    """A mean output as a share of the largest: a firing rate, or a mean count over the levels."""
    return mean * neuron.divisor / neuron.levels
