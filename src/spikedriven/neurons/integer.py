"""The integer neuron of spike firing approximation (SFA): train on counts 0..D, infer on D binary steps.

``n = round(clamp(x, 0, D))``, output ``n / norm``; no state. (E-SpikeFormer, TPAMI 2025, section on SFA.) The releases
differ in two conventions, both options here because exact zeros and halves are common:

* rounding: "half_even" (Base and HAR-DVS models: 0.5 -> 0, 1.5 -> 2) or "half_up" (Large and MAE: 0.5 -> 1);
* gradient, straight through: "inclusive" where 0 <= x <= D (Base, HAR-DVS) or "strict" where 0 < x < D (Large, MAE).

The first functions are the readable version; `spikedriven::integer_spike` is the operator held equal to it.
"""

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.neurons import native_cpu
from spikedriven.neurons.dynamics import membrane_dtype
from spikedriven.neurons.modules import Neuron

ROUNDINGS = ("half_even", "half_up")
GRADIENTS = ("inclusive", "strict")


def integer_spike_plain(x: Tensor, levels: int, norm: float, rounding: str) -> Tensor:
    """Forward in plain operators: x of any shape -> n / norm, same shape and dtype."""
    clamped = x.to(membrane_dtype(x)).clamp(0, levels)
    counts = clamped.round() if rounding == "half_even" else (clamped + 0.5).floor()
    return (counts / norm).to(x.dtype)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, levels, norm, rounding, gradient):  # type: ignore[override]
        ctx.save_for_backward(x)
        ctx.levels, ctx.norm, ctx.gradient = levels, norm, gradient
        return integer_spike_plain(x, levels, norm, rounding)

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[override]
        (x,) = ctx.saved_tensors
        inside = (
            (x >= 0) & (x <= ctx.levels)
            if ctx.gradient == "inclusive"
            else (x > 0) & (x < ctx.levels)
        )
        return torch.where(inside, upstream / ctx.norm, 0.0), None, None, None, None


def integer_spike_naive(
    x: Tensor, levels: int, norm: float, rounding: str, gradient: str
) -> Tensor:
    """The readable neuron with its straight-through gradient. x: any shape -> n / norm, same shape and dtype."""
    return _StraightThrough.apply(x, levels, norm, rounding, gradient)


@torch.library.custom_op(
    "spikedriven::integer_spike", mutates_args=(), tags=[torch.Tag.needs_exact_strides]
)
def integer_spike(x: Tensor, levels: int, norm: float, rounding: str, gradient: str) -> Tensor:
    """The operator. x: any shape -> n / norm, same shape and dtype."""
    if native_cpu.takes(x):
        return native_cpu.integer_forward(x, levels, norm, rounding)
    return integer_spike_plain(x, levels, norm, rounding)


@integer_spike.register_fake
def _(x, levels, norm, rounding, gradient):
    return torch.empty_like(x)


@torch.library.custom_op(
    "spikedriven::integer_spike_backward", mutates_args=(), tags=[torch.Tag.needs_exact_strides]
)
def integer_spike_backward(
    upstream: Tensor, x: Tensor, levels: int, norm: float, gradient: str
) -> Tensor:
    """The upstream gradient / norm where the gradient convention lets it pass, else 0."""
    if native_cpu.takes(x):
        return native_cpu.integer_backward(upstream, x, levels, norm, gradient)
    inside = (x >= 0) & (x <= levels) if gradient == "inclusive" else (x > 0) & (x < levels)
    return native_cpu.ordered(torch.where(inside, upstream / norm, 0.0), x)


@integer_spike_backward.register_fake
def _(upstream, x, levels, norm, gradient):
    return torch.empty_like(
        x
    )  # in the memory order of x, not of what comes in: a compiled graph relies on it


def _setup_context(ctx, inputs, output) -> None:
    x, ctx.levels, ctx.norm, _, ctx.gradient = inputs
    ctx.save_for_backward(x)


def _backward(ctx, upstream):
    (x,) = ctx.saved_tensors
    return (
        integer_spike_backward(upstream, x, ctx.levels, ctx.norm, ctx.gradient),
        None,
        None,
        None,
        None,
    )


integer_spike.register_autograd(_backward, setup_context=_setup_context)


class IntegerNeuron(Neuron):
    """SFA neuron: integer counts 0..levels divided by ``norm``.

    levels: D. norm: what counts are divided by (default: levels, so outputs lie in [0, 1]).
    rounding: "half_even" | "half_up"; gradient: "inclusive" | "strict" (see the module's docstring).
    """

    def __init__(
        self,
        levels: int = 4,
        norm: float | None = None,
        rounding: str = "half_even",
        gradient: str = "inclusive",
    ) -> None:
        super().__init__()
        if levels < 1 or int(levels) != levels:
            raise InputError(f"levels must be a whole number of at least 1, found {levels}")
        if rounding not in ROUNDINGS or gradient not in GRADIENTS:
            raise InputError(f"rounding must be one of {ROUNDINGS} and gradient one of {GRADIENTS}, "
                             f"found {rounding!r} and {gradient!r}")  # fmt: skip
        self.levels = int(levels)
        self.norm = float(self.levels if norm is None else norm)
        if not self.norm > 0:
            raise InputError(f"norm must be positive, found {norm}")
        self.rounding, self.gradient = rounding, gradient

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape -> counts / norm, same shape and dtype."""
        return integer_spike(x, self.levels, self.norm, self.rounding, self.gradient)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, norm={self.norm:g}, rounding={self.rounding}, gradient={self.gradient}"
