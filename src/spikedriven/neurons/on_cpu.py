"""The compiled neurons behind the operators, on a CPU: all time steps in one pass over memory,
forward and back.

They take what `kernels.arrays` takes; float64, other devices and installations without the
extension use the operators' PyTorch code, to which tests hold these equal. Membranes are float32 in
registers, and computed again on the way back.
"""

from typing import Any

import torch
from torch import Tensor

from spikedriven.kernels.arrays import (
    dense,
    flat,
    is_dense,
    is_still,
    like,
    maybe_flat,
    ordered,
    repeated,
)
from spikedriven.kernels.extension import loaded
from spikedriven.neurons.dynamics import LIFOptions

#: Surrogates whose slopes are compiled; gradients with another one take the operators' PyTorch
#: code.
SURROGATES = ("sigmoid", "atan")


def lif_neuron(options: LIFOptions, w: Tensor | None) -> Any:
    """The extension's neuron; the leak factor of a parametric one is sigmoid(w)."""
    leak = options.tau if w is None else torch.sigmoid(w).item()
    return loaded().lif(
        leak,
        w is not None,
        options.v_threshold,
        options.rest,
        options.v_reset is not None,
        options.decay_input,
    )


def lif_slope(options: LIFOptions, w: Tensor | None) -> Any:
    """How gradients pass a LIF neuron."""
    native = loaded()
    slope = native.Slope()
    slope.surrogate = {"sigmoid": native.Surrogate.SIGMOID, "atan": native.Surrogate.ATAN}[
        options.surrogate
    ]
    slope.alpha, slope.detach_reset, slope.learns = (
        options.alpha,
        options.detach_reset,
        w is not None,
    )
    return slope


def lif_forward(
    x: Tensor, v: Tensor | None, w: Tensor | None, options: LIFOptions
) -> tuple[Tensor, Tensor]:
    """Spikes [T, ...] and the last membrane [...], as `lif.lif_op`."""
    given, steps, still = x, x.shape[0], is_still(x)
    x = dense(x[:1] if still else x)
    spikes, membrane = repeated(x, steps), torch.empty_like(x[0], dtype=torch.float32)
    before = like(membrane, v, torch.float32)
    loaded().fire_forward(
        lif_neuron(options, w),
        flat(x),
        steps,
        1.0,
        maybe_flat(before),
        0,
        1,
        None,
        None,
        flat(spikes),
        flat(membrane),
        torch.get_num_threads(),
    )
    return (spikes, membrane) if still else (ordered(spikes, given), ordered(membrane, given[0]))


def lif_backward(
    grad_spikes: Tensor | None,
    grad_v: Tensor | None,
    x: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    options: LIFOptions,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x [T, ...], of the membrane before [...] and of w (0-dim), as
    `lif.lif_backward_op`.
    """
    given, x = x, dense(x)
    grad_x, carry = torch.empty_like(x), torch.empty_like(x[0], dtype=torch.float32)
    grad_spikes, grad_v = like(x, grad_spikes, x.dtype), like(carry, grad_v, torch.float32)
    before = maybe_flat(like(carry, v, torch.float32))
    leak = loaded().fire_backward(
        lif_neuron(options, w),
        lif_slope(options, w),
        flat(x),
        x.shape[0],
        before,
        0,
        1,
        None,
        None,
        None,
        x.numel(),
        maybe_flat(grad_spikes),
        maybe_flat(grad_v),
        flat(grad_x),
        flat(carry),
        None,
        torch.get_num_threads(),
    )
    return ordered(grad_x, given), ordered(carry, given[0]), grad_of_w(leak, w, x)


def grad_of_w(leak: float, w: Tensor | None, x: Tensor) -> Tensor:
    """The gradient of w (0-dim; zero without w) from that of the leak factor sigmoid(w)."""
    if w is None:
        return x.new_zeros((), dtype=torch.float32)
    k = torch.sigmoid(w.detach())
    return (leak * (1.0 - k) * k).to(w.dtype).reshape(())


def integer_neuron(levels: int, rounding: str) -> Any:
    return loaded().integer(levels, rounding == "half_up")


def integer_slope(norm: float, gradient: str) -> Any:
    """How gradients pass an integer neuron."""
    slope = loaded().Slope()
    slope.divisor, slope.inclusive = norm, gradient == "inclusive"
    return slope


def integer_forward(x: Tensor, levels: int, norm: float, rounding: str) -> Tensor:
    """Counts / norm, any shape, as `integer.integer_spike`."""
    given, x = x, x if is_dense(x) else x.contiguous()
    out = torch.empty_like(x)
    loaded().fire_forward(
        integer_neuron(levels, rounding), flat(x), 1, norm, None, 0, 1, None, None, flat(out), None,
        torch.get_num_threads(),
    )  # fmt: skip
    return ordered(out, given)


def integer_backward(
    upstream: Tensor, x: Tensor, levels: int, norm: float, gradient: str
) -> Tensor:
    """The gradient of x, as `integer.integer_spike_backward`."""
    given, x = x, x if is_dense(x) else x.contiguous()
    grad_x, upstream = torch.empty_like(x), like(x, upstream, x.dtype)
    loaded().fire_backward(
        integer_neuron(levels, "half_even"),
        integer_slope(norm, gradient),
        flat(x),
        1,
        None,
        0,
        1,
        None,
        None,
        None,
        x.numel(),
        flat(upstream),
        None,
        flat(grad_x),
        None,
        None,
        torch.get_num_threads(),
    )
    return ordered(grad_x, given)
