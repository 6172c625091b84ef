"""The integrate-and-fire neuron: a membrane that does not leak."""

import math

from spikedriven.neurons.lif import LIF
from spikedriven.neurons.registry import register_neuron


@register_neuron("if")
class IF(LIF):
    """``H_t = V_{t-1} + X_t``, then fire and reset as a LIF neuron does: its limit for tau to
    infinity.

    The neuron of networks converted from ReLU networks (Rueckauer et al., Frontiers in Neuroscience
    2017), usually with a soft reset, ``v_reset=None``. Options as in `LIF`.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        detach_reset: bool = True,
        surrogate: str = "sigmoid",
        alpha: float | None = None,
    ) -> None:
        super().__init__(math.inf, v_threshold, v_reset, False, detach_reset, surrogate, alpha)
