"""The LIF neuron that learns its time constant."""

import math

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.lif import LIF
from spikedriven.neurons.registry import register_neuron


@register_neuron("plif")
class ParametricLIF(LIF):
    """One scalar w for the layer, ``1/tau = sigmoid(w)`` (Fang et al., ICCV 2021).

    tau: initial time constant, above 1. The other options are those of `LIF`.
    """

    def set_up(self, options: LIFOptions) -> None:
        """w starts at the time constant of the options."""
        super().set_up(options)
        if not 1.0 < options.tau < math.inf:
            raise InputError(
                f"a parametric neuron needs an initial tau above 1, found {options.tau}"
            )
        self.w = nn.Parameter(torch.tensor(-math.log(options.tau - 1.0)))

    def time_constant(self) -> Tensor:
        return self.w
