"""The readable LIF neuron: a loop over time that autograd differentiates; the truth the
operator is held to.
"""

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.neurons.dynamics import LIFOptions, charge, membrane_dtype
from spikedriven.neurons.heaviside import fire


def lif_naive(
    x: Tensor, v: Tensor | None = None, w: Tensor | None = None, options: LIFOptions = LIFOptions()
) -> tuple[Tensor, Tensor, Tensor]:
    """x: [T, ...] input current; v: [...] membrane before the first step (None: at rest); w: scalar
    with ``1/tau = sigmoid(w)`` for the parametric neuron, or None.

    Returns spikes [T, ...] in x's dtype, the membrane after each step [T, ...], and the last
    membrane [...].
    """
    check_steps(x)
    k = None if w is None else torch.sigmoid(w)
    inputs, spikes, membranes = x.to(membrane_dtype(x)), [], []
    for x_t in inputs.unbind(0):
        h = charge(v, x_t, options, k)
        s = fire(h - options.v_threshold, options.surrogate, options.alpha)
        reset_by = s.detach() if options.detach_reset else s
        if options.v_reset is None:
            v = h - reset_by * options.v_threshold
        else:
            v = (1.0 - reset_by) * h + reset_by * options.v_reset
        spikes.append(s)
        membranes.append(v)
    return torch.stack(spikes).to(x.dtype), torch.stack(membranes), membranes[-1]


def lif_plain(
    x: Tensor, v: Tensor | None, w: Tensor | None, options: LIFOptions
) -> tuple[Tensor, Tensor]:
    """Inference only, in plain operators (compare, cast, where): what exporters put in the
    operator's place.

    Shapes as `lif_naive`; returns spikes and the last membrane.
    """
    check_steps(x)
    k = None if w is None else torch.sigmoid(w)
    spikes = []
    for x_t in x.to(membrane_dtype(x)).unbind(0):
        h = charge(v, x_t, options, k)
        s = (h >= options.v_threshold).to(h.dtype)
        v = (
            h - s * options.v_threshold
            if options.v_reset is None
            else (1.0 - s) * h + s * options.v_reset
        )
        spikes.append(s.to(x.dtype))
    stacked = torch.stack(spikes)  # refuses an input without time steps
    assert v is not None
    return stacked, v


def check_steps(x: Tensor) -> None:
    """Steps are written out one by one, so their number must not grow with the batch."""
    if isinstance(x.shape[0], torch.SymInt):
        raise InputError(
            "the first axis of a neuron's input holds more than the time steps (batch and time "
            "merged): no file says that for every batch. Give neurons [T, ...], batch apart from "
            "time"
        )
