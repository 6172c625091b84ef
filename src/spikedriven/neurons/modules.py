"""Neurons as modules. Input and output: [T, ...]. Each call starts at rest unless a stream is open (`state.py`)."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.lif import lif

NeuronFactory = Callable[..., nn.Module]


class Neuron(nn.Module):
    """Base of every neuron: what hooks, streams and the graph look for."""

    #: The membrane that the next call starts from; only ever set inside an open stream.
    membrane: Tensor | None = None
    streaming: bool = False


class LIF(Neuron):
    """Leaky integrate-and-fire neuron with binary output.

    Defaults are those of all four published families: tau 2, threshold 1, hard reset to 0, decayed input, detached
    reset, sigmoid surrogate with alpha 4. See `dynamics.py` for the equations and each option.
    """

    def __init__(self, tau: float = 2.0, v_threshold: float = 1.0, v_reset: float | None = 0.0,
                 decay_input: bool = True, detach_reset: bool = True, surrogate: str = "sigmoid",
                 alpha: float | None = None) -> None:  # fmt: skip
        super().__init__()
        self.options = LIFOptions(
            tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha
        )

    def time_constant(self) -> Tensor | None:
        """The scalar w with 1/tau = sigmoid(w); None where tau is fixed."""
        return None

    def rescale(self, factor: float) -> None:
        """Make the neuron fire for ``factor * x`` as it did for x: threshold, reset and surrogate move along."""
        old = self.options
        alpha = cast(float, old.alpha)  # the options have resolved it
        self.options = replace(
            old, v_threshold=old.v_threshold * factor, alpha=alpha / factor,
            v_reset=None if old.v_reset is None else old.v_reset * factor,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, ...] current; returns spikes [T, ...] in {0, 1}, same dtype."""
        spikes, membrane = lif(x, self.membrane, self.time_constant(), self.options)
        if self.streaming:
            self.membrane = membrane
        return spikes

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in vars(self.options).items())


class ParametricLIF(LIF):
    """LIF neuron that learns its time constant: one scalar w each, ``1/tau = sigmoid(w)`` (Fang et al., ICCV 2021).

    tau: initial time constant, above 1. The other options are those of `LIF`.
    """

    def __init__(self, tau: float = 2.0, v_threshold: float = 1.0, v_reset: float | None = 0.0,
                 decay_input: bool = True, detach_reset: bool = True, surrogate: str = "sigmoid",
                 alpha: float | None = None) -> None:  # fmt: skip
        super().__init__(tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha)
        if not tau > 1.0:
            raise InputError(f"a parametric neuron needs an initial tau above 1, found {tau}")
        self.w = nn.Parameter(torch.tensor(-math.log(tau - 1.0)))

    def time_constant(self) -> Tensor:
        return self.w


NEURONS: dict[str, type[LIF]] = {"lif": LIF, "plif": ParametricLIF}


def neuron_factory(kind: str, **defaults) -> NeuronFactory:
    """A function that builds neurons of one kind: ``make = neuron_factory("lif", tau=1.5); make(v_threshold=0.5)``."""
    if kind not in NEURONS:
        raise InputError(f"neuron {kind!r} is not known; choose one of {sorted(NEURONS)}")

    def make(**options) -> nn.Module:
        return NEURONS[kind](**{**defaults, **options})

    return make
