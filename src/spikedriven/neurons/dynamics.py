"""The three equations of a leaky integrate-and-fire neuron, and their options in one value.

Per element, for t = 1..T with V_0 = 0 (or a membrane handed in):

* charge  ``H_t = V_{t-1} + (X_t - (V_{t-1} - V_reset)) / tau``   (``decay_input=False``: X_t is not
  divided by tau)
* fire    ``S_t = 1 if H_t >= V_threshold else 0``                (equality fires)
* reset   hard ``V_t = V_reset where S_t, else H_t``; soft (``v_reset=None``) ``V_t = H_t - S_t
  V_threshold``

Both the readable neuron (`naive`) and the operator (`lif`) are written from these functions.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.neurons.surrogate import resolve_alpha


@dataclass(frozen=True)
class LIFOptions:
    """Everything about a LIF neuron except its input, its membrane and a learnable time
    constant.
    """

    tau: float = 2.0
    v_threshold: float = 1.0
    v_reset: float | None = 0.0
    decay_input: bool = True
    detach_reset: bool = True
    surrogate: str = "sigmoid"
    alpha: float | None = None

    def __post_init__(self) -> None:
        if not self.tau >= 1.0:
            raise InputError(f"tau must be at least 1 (in time steps), found {self.tau}")
        if self.v_reset is not None and not self.v_reset < self.v_threshold:
            raise InputError(
                f"v_reset must lie below v_threshold, found {self.v_reset} and {self.v_threshold}"
            )
        object.__setattr__(self, "alpha", resolve_alpha(self.surrogate, self.alpha))

    @property
    def rest(self) -> float:
        """The potential to which the membrane leaks: V_reset, or 0 with a soft reset."""
        return 0.0 if self.v_reset is None else self.v_reset

    def rescaled(self, factor: float) -> "LIFOptions":
        """Of the neuron that fires for ``factor * x`` as this one does for x, and learns alike."""
        alpha = cast(float, self.alpha)  # resolved above
        v_reset = None if self.v_reset is None else self.v_reset * factor
        return replace(
            self, v_threshold=self.v_threshold * factor, v_reset=v_reset, alpha=alpha / factor
        )


def leak(difference: Tensor, options: LIFOptions, k: Tensor | None) -> Tensor:
    """``difference / tau``; a parametric neuron multiplies by ``k = sigmoid(w)`` instead."""
    return difference / options.tau if k is None else difference * k


def charge(v: Tensor | None, x: Tensor, options: LIFOptions, k: Tensor | None = None) -> Tensor:
    """H_t from V_{t-1} and X_t. ``v=None`` stands for the resting membrane, for which some
    terms vanish exactly.
    """
    if v is None:
        driven = leak(x, options, k) if options.decay_input else x
        return driven + options.rest if options.rest else driven
    above_rest = v - options.rest if options.rest else v
    if options.decay_input:
        return v + leak(x - above_rest, options, k)
    return v - leak(above_rest, options, k) + x


def membrane_dtype(x: Tensor) -> torch.dtype:
    """Half-precision inputs keep their membrane in float32: rounding there would move spikes."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
