"""The LIF neuron that learns its threshold."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.kernels.spec import LIFSpec
from spikedriven.neurons.base import Compiled
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.lif import LIF, lif, lif_spec
from spikedriven.neurons.naive import lif_naive
from spikedriven.neurons.registry import register_neuron


@register_neuron("threshold_lif")
class ThresholdLIF(LIF):
    """A LIF neuron with one learnt threshold for the layer, ``theta = exp(s)``, which stays
    positive.

    A membrane in units of theta has the threshold 1: what is computed is the LIF neuron of ``x /
    theta`` with threshold 1, so the surrogate sees ``V / theta - 1``, and theta learns through the
    division. That normalised distance is the one of DIET-SNN (Rathi and Roy, IEEE TNNLS 2021),
    which learns a threshold per layer too, without the exponential.

    v_threshold: initial theta. v_reset: 0, or None for a soft reset. The other options are those of
    `LIF`. Its `membrane` is in units of theta.
    """

    def set_up(self, options: LIFOptions) -> None:
        """theta starts at the threshold of the options, which is 1 from then on."""
        theta = options.v_threshold
        if options.v_reset or not 0 < theta < math.inf:
            raise InputError(
                "a learnt threshold starts positive and resets to 0 or, with None, softly; found "
                f"v_threshold = {theta} and v_reset = {options.v_reset}"
            )
        super().set_up(replace(options, v_threshold=1.0))
        self.log_threshold = nn.Parameter(torch.tensor(math.log(theta)))

    def threshold(self) -> Tensor:
        """theta, 0-dim."""
        return self.log_threshold.exp()

    def rescale(self, factor: float) -> None:
        """As the base class: the threshold moves along."""
        with torch.no_grad():
            self.log_threshold.add_(math.log(factor))

    def spec(self) -> LIFSpec:
        """The same neuron on x itself, with theta as the threshold."""
        scaled = lif_spec(self.options)
        theta = self.threshold().detach().float().item()
        return LIFSpec(
            scaled.leak,
            theta,
            scaled.rest,
            scaled.hard_reset,
            scaled.decay_input,
            scaled.parametric,
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, ...] current; returns spikes [T, ...] in {0, 1}, same dtype."""
        spikes, membrane = lif(x / self.threshold().to(x.dtype), self.membrane, None, self.options)
        self.keep(membrane=membrane)
        return spikes

    def readable(self, x: Tensor) -> Tensor:
        return lif_naive(x / self.threshold().to(x.dtype), None, None, self.options)[0]

    def compiled(self) -> Compiled | None:
        return None

    def extra_repr(self) -> str:
        return f"threshold={self.threshold().item():.4g}, {super().extra_repr()}"
