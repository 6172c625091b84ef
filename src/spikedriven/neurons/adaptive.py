"""The LIF neuron whose threshold adapts: each spike raises it, and it decays back."""

import math

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.neurons.base import Neuron
from spikedriven.neurons.dynamics import LIFOptions, charge, membrane_dtype
from spikedriven.neurons.heaviside import fire
from spikedriven.neurons.registry import register_neuron


@register_neuron("alif")
class AdaptiveLIF(Neuron):
    """ALIF, the neuron of long short-term memory SNNs (Bellec et al., NeurIPS 2018).

    Per element, for t = 1..T, with V_0 = 0 and A_0 = 0:

    * charge  ``H_t = V_{t-1} + (X_t - V_{t-1}) / tau``
    * fire    ``S_t = 1 if H_t >= theta_t else 0`` with ``theta_t = v_threshold + beta A_{t-1}``
    * reset   ``V_t = 0 where S_t, else H_t``; soft (``soft_reset=True``) ``V_t = H_t - S_t
      theta_t``
    * adapt   ``A_t = rho A_{t-1} + (1 - rho) S_t`` with ``rho = exp(-1 / tau_adaptation)``

    beta: by how much a neuron that fires at every step raises its threshold. Gradients pass the
    adaptation, not the reset. Written in PyTorch's own operators: this is its readable version, and
    it runs wherever PyTorch does. The engine has no such neuron.
    """

    state_names = ("membrane", "adaptation")
    #: A_t, as `membrane`.
    adaptation: Tensor | None = None

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        beta: float = 1.8,
        tau_adaptation: float = 20.0,
        soft_reset: bool = False,
        surrogate: str = "sigmoid",
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.options = LIFOptions(tau, v_threshold, surrogate=surrogate, alpha=alpha)
        if not (beta >= 0 and tau_adaptation > 0):
            raise InputError(
                f"beta must not be negative and tau_adaptation must be positive, found {beta} and "
                f"{tau_adaptation}"
            )
        self.beta, self.tau_adaptation, self.soft_reset = beta, tau_adaptation, soft_reset

    def rescale(self, factor: float) -> None:
        """As the base class: threshold, its rise and the surrogate move along."""
        self.options = self.options.rescaled(factor)
        self.beta *= factor

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, ...] current; returns spikes [T, ...] in {0, 1}, same dtype."""
        o, rho = self.options, math.exp(-1.0 / self.tau_adaptation)
        v, a, spikes = self.membrane, self.adaptation, []
        for x_t in x.to(membrane_dtype(x)).unbind(0):
            h = charge(v, x_t, o)
            threshold = o.v_threshold if a is None else o.v_threshold + self.beta * a
            s = fire(h - threshold, o.surrogate, o.alpha)
            fired = s.detach()
            v = h - fired * threshold if self.soft_reset else (1.0 - fired) * h
            a = (1.0 - rho) * s if a is None else rho * a + (1.0 - rho) * s
            spikes.append(s)
        self.keep(membrane=v, adaptation=a)
        return torch.stack(spikes).to(x.dtype)

    def extra_repr(self) -> str:
        o = self.options
        return (
            f"tau={o.tau}, v_threshold={o.v_threshold}, beta={self.beta}, "
            f"tau_adaptation={self.tau_adaptation}, soft_reset={self.soft_reset}, "
            f"surrogate={o.surrogate}, alpha={o.alpha}"
        )
