"""Networks as others run them, for `spikedriven bench train`: neurons in operators of PyTorch, one
time step after the other, and PyTorch's own batch norms, convolutions and pools.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.kernels.spec import LIFSpec
from spikedriven.neurons import LIF, Neuron
from spikedriven.neurons.watch import neurons_of


class EagerNorm(nn.BatchNorm2d):
    """PyTorch's batch norm; the kernels of this package stand for `nn.BatchNorm2d` itself alone
    (`layers.norm`).
    """


class EagerNeuron(Neuron):
    """A neuron that autograd differentiates step by step, as the releases' PyTorch back end
    does.
    """

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron, self.levels, self.unit = neuron, neuron.levels, neuron.unit

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron.readable(x)


class JellyLIF(Neuron):
    """SpikingJelly's multi-step LIF neuron (version 2) with the same constants."""

    def __init__(self, neuron: LIF) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, surrogate
        from spikingjelly.activation_based import neuron as jelly

        o = neuron.options
        slopes = {"sigmoid": surrogate.Sigmoid, "atan": surrogate.ATan}
        self.reset = functional.reset_net
        self.node = jelly.LIFNode(
            tau=o.tau,
            decay_input=o.decay_input,
            v_threshold=o.v_threshold,
            v_reset=o.v_reset,
            surrogate_function=slopes[o.surrogate](alpha=o.alpha),
            detach_reset=o.detach_reset,
            step_mode="m",
        )

    def forward(self, x: Tensor) -> Tensor:
        self.reset(self.node)
        return self.node(x)


def released_neurons(model: nn.Module) -> None:
    """Replace every neuron by its eager form, and this package's kernels by PyTorch's."""
    _replace(model, EagerNeuron)


def spikingjelly_neurons(model: nn.Module) -> None:
    """Replace every LIF neuron by SpikingJelly's, and this package's kernels by PyTorch's.
    InputError where the network has other neurons.
    """
    others = {type(n).__name__ for n in neurons_of(model).values() if not is_plain_lif(n)}
    if others:
        names = ", ".join(sorted(others))
        raise InputError(
            f"only LIF neurons are compared with SpikingJelly's; this network has {names}"
        )
    _replace(model, JellyLIF)


def is_plain_lif(neuron: Neuron) -> bool:
    """A LIF neuron that learns nothing."""
    spec = neuron.spec()
    return isinstance(spec, LIFSpec) and not spec.parametric and not list(neuron.parameters())


def _replace(model: nn.Module, build: Callable[[Any], nn.Module]) -> None:
    neurons = set(neurons_of(model).values())
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if child in neurons
    ]
    for parent, name, child in found:
        setattr(parent, name, build(child))
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = EagerNorm
