"""Networks as others run them, for `spikedriven bench train`: neurons in operators of PyTorch, one time step after the
other, and PyTorch's own batch norms, convolutions and pools."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.neurons import LIF, IntegerNeuron, ParametricLIF, lif_naive
from spikedriven.neurons.integer import integer_spike_naive
from spikedriven.neurons.modules import Neuron


class EagerNorm(nn.BatchNorm2d):
    """PyTorch's batch norm; the kernels of this package stand for `nn.BatchNorm2d` itself alone (`layers.norm`)."""


class EagerLIF(Neuron):
    """A LIF neuron that autograd differentiates step by step, as the releases' PyTorch back end does."""

    def __init__(self, neuron: LIF) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        return lif_naive(x, None, self.neuron.time_constant(), self.neuron.options)[0]


class EagerInteger(Neuron):
    """An integer neuron in plain operators."""

    def __init__(self, neuron: IntegerNeuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        n = self.neuron
        return integer_spike_naive(x, n.levels, n.norm, n.rounding, n.gradient)


class JellyLIF(Neuron):
    """SpikingJelly's multi-step LIF neuron with the same constants."""

    def __init__(self, neuron: LIF) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, surrogate
        from spikingjelly.activation_based import neuron as jelly

        o = neuron.options
        slopes = {"sigmoid": surrogate.Sigmoid, "atan": surrogate.ATan}
        self.reset = functional.reset_net
        self.node = jelly.LIFNode(
            tau=o.tau, decay_input=o.decay_input, v_threshold=o.v_threshold, v_reset=o.v_reset,
            surrogate_function=slopes[o.surrogate](alpha=o.alpha), detach_reset=o.detach_reset, step_mode="m",
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        self.reset(self.node)
        return self.node(x)


def released_neurons(model: nn.Module) -> None:
    """Replace every neuron by its eager form, and this package's kernels by PyTorch's."""
    _replace(
        model, lambda neuron: EagerLIF(neuron) if isinstance(neuron, LIF) else EagerInteger(neuron)
    )


def spikingjelly_neurons(model: nn.Module) -> None:
    """Replace every LIF neuron by SpikingJelly's, and this package's kernels by PyTorch's. InputError where the network
    has other neurons."""
    kinds = {type(module) for module in model.modules() if isinstance(module, Neuron)}
    if kinds - {LIF}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds - {LIF}))
        raise InputError(
            f"only LIF neurons are compared with SpikingJelly's; this network has {names}"
        )
    _replace(model, JellyLIF)


def _replace(model: nn.Module, build: Callable[[Any], nn.Module]) -> None:
    neurons = (LIF, ParametricLIF, IntegerNeuron)
    found = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()
             if isinstance(child, neurons)]  # fmt: skip
    for parent, name, child in found:
        setattr(parent, name, build(child))
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = EagerNorm
