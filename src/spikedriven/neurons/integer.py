"""The integer neuron of spike firing approximation (SFA): train on counts 0..D, infer on D binary
steps.

``y = x / threshold``, ``n = round(clamp(y, 0, D))``, output ``n / norm``; no state. (E-SpikeFormer,
TPAMI 2025, section on SFA.) The releases have a threshold of 1; another one comes from factors that
were taken over (`rescale`). They differ in two conventions, both options here because exact zeros
and halves are common:

* rounding: "half_even" (Base and HAR-DVS models: 0.5 -> 0, 1.5 -> 2) or "half_up" (Large and MAE:
  0.5 -> 1);
* gradient, straight through: "inclusive" where 0 <= y <= D (Base, HAR-DVS) or "strict" where 0 < y
  < D (Large, MAE).

The division by the threshold is rounded once, in the dtype of membranes, and y alone decides ties:
with a power of two as the threshold a tie of x is a tie of y, with others it may become a neighbour
of one.

The first functions are the readable version; `spikedriven::integer_spike` is the operator held
equal to it.
"""

import math

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.kernels import arrays
from spikedriven.kernels.followed import written_out
from spikedriven.kernels.spec import IntegerSpec
from spikedriven.neurons import on_cpu
from spikedriven.neurons.base import Compiled, Neuron
from spikedriven.neurons.dynamics import membrane_dtype
from spikedriven.neurons.expanded import ExpandedNeuron
from spikedriven.neurons.registry import register_neuron

ROUNDINGS = ("half_even", "half_up")
GRADIENTS = ("inclusive", "strict")


def divided(x: Tensor, threshold: float) -> Tensor:
    """``y = x / threshold`` in the dtype of membranes; x itself in that dtype for a threshold
    of 1.
    """
    x = x.to(membrane_dtype(x))
    return x if threshold == 1.0 else x / threshold


def integer_spike_plain(
    x: Tensor, levels: int, norm: float, rounding: str, threshold: float = 1.0
) -> Tensor:
    """Forward in plain operators: x of any shape -> n / norm, same shape and dtype."""
    clamped = divided(x, threshold).clamp(0, levels)
    counts = clamped.round() if rounding == "half_even" else (clamped + 0.5).floor()
    return (counts / norm).to(x.dtype)


def passes(y: Tensor, levels: int, gradient: str) -> Tensor:
    """Where the gradient convention lets a gradient through."""
    return (y >= 0) & (y <= levels) if gradient == "inclusive" else (y > 0) & (y < levels)


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, levels, norm, rounding, gradient, threshold):  # type: ignore[override]
        return integer_spike_plain(x, levels, norm, rounding, threshold)

    @staticmethod
    def setup_context(ctx, inputs, output):  # type: ignore[override]
        x, ctx.levels, norm, _, ctx.gradient, ctx.threshold = inputs
        ctx.divisor = norm * ctx.threshold
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[override]
        return _StraightThrough._passed(ctx, upstream), *[None] * 5

    @staticmethod
    def jvp(ctx, tangent, *_):  # type: ignore[override]
        return _StraightThrough._passed(ctx, tangent)

    @staticmethod
    def _passed(ctx, change: Tensor) -> Tensor:
        """A gradient on its way back, or a tangent on its way forward."""
        (x,) = ctx.saved_tensors
        inside = passes(divided(x, ctx.threshold), ctx.levels, ctx.gradient)
        return torch.where(inside, change / ctx.divisor, 0.0)


def integer_spike_naive(
    x: Tensor, levels: int, norm: float, rounding: str, gradient: str, threshold: float = 1.0
) -> Tensor:
    """The readable neuron with its straight-through gradient. x: any shape -> n / norm, same
    shape and dtype.
    """
    return _StraightThrough.apply(x, levels, norm, rounding, gradient, threshold)


@torch.library.custom_op(
    "spikedriven::integer_spike", mutates_args=(), tags=[torch.Tag.needs_exact_strides]
)
def integer_spike(
    x: Tensor, levels: int, norm: float, rounding: str, gradient: str, threshold: float = 1.0
) -> Tensor:
    """The operator. x: any shape -> n / norm, same shape and dtype."""
    if threshold == 1.0 and arrays.takes(x):
        return on_cpu.integer_forward(x, levels, norm, rounding)
    return integer_spike_plain(x, levels, norm, rounding, threshold)


@integer_spike.register_fake
def _(x, levels, norm, rounding, gradient, threshold=1.0):
    return torch.empty_like(x)


@torch.library.custom_op(
    "spikedriven::integer_spike_backward", mutates_args=(), tags=[torch.Tag.needs_exact_strides]
)
def integer_spike_backward(
    upstream: Tensor, x: Tensor, levels: int, norm: float, gradient: str, threshold: float = 1.0
) -> Tensor:
    """The upstream gradient / (norm threshold) where the gradient convention lets it pass, else
    0.
    """
    if threshold == 1.0 and arrays.takes(x):
        return on_cpu.integer_backward(upstream, x, levels, norm, gradient)
    inside = passes(divided(x, threshold), levels, gradient)
    return arrays.ordered(torch.where(inside, upstream / (norm * threshold), 0.0), x)


@integer_spike_backward.register_fake
def _(upstream, x, levels, norm, gradient, threshold=1.0):
    return torch.empty_like(
        x
    )  # in the memory order of x, not of what comes in: a compiled graph relies on it


def _setup_context(ctx, inputs, output) -> None:
    x, ctx.levels, ctx.norm, _, ctx.gradient, ctx.threshold = inputs
    ctx.save_for_backward(x)


def _backward(ctx, upstream):
    (x,) = ctx.saved_tensors
    grad = integer_spike_backward(upstream, x, ctx.levels, ctx.norm, ctx.gradient, ctx.threshold)
    return grad, *[None] * 5


integer_spike.register_autograd(_backward, setup_context=_setup_context)


@register_neuron("integer")
class IntegerNeuron(Neuron):
    """SFA neuron: integer counts 0..levels divided by ``norm``.

    levels: D. norm: what counts are divided by (default: levels, so outputs lie in [0, 1]).
    rounding: "half_even" | "half_up"; gradient: "inclusive" | "strict"; threshold: what the input
    is divided by (see the module's docstring).
    """

    def __init__(
        self,
        levels: int = 4,
        norm: float | None = None,
        rounding: str = "half_even",
        gradient: str = "inclusive",
        threshold: float = 1.0,
    ) -> None:
        super().__init__()
        if levels < 1 or int(levels) != levels:
            raise InputError(f"levels must be a whole number of at least 1, found {levels}")
        if rounding not in ROUNDINGS or gradient not in GRADIENTS:
            raise InputError(
                f"rounding must be one of {ROUNDINGS} and gradient one of {GRADIENTS}, "
                f"found {rounding!r} and {gradient!r}"
            )
        self.levels = int(levels)
        self.norm = float(self.levels if norm is None else norm)
        if not self.norm > 0:
            raise InputError(f"norm must be positive, found {norm}")
        if not 0 < threshold < math.inf:
            raise InputError(f"threshold must be positive, found {threshold}")
        self.rounding, self.gradient, self.threshold = rounding, gradient, float(threshold)

    @property
    def unit(self) -> float:  # type: ignore[override]
        """1 / norm."""
        return 1.0 / self.norm

    @property
    def divisor(self) -> float:
        """The norm itself; 1 / unit may miss it by its last bit."""
        return self.norm

    def spec(self) -> IntegerSpec:
        """Its constants; the norm is no part of them, for kernels hold counts undivided."""
        threshold = torch.tensor(self.threshold, dtype=torch.float32).item()
        return IntegerSpec(self.levels, self.rounding == "half_up", threshold)

    def rescale(self, factor: float) -> None:
        """Count for ``factor * x`` what was counted for x: the threshold moves along."""
        self.threshold *= factor

    def expanded(self) -> ExpandedNeuron:
        """Its counts as binary steps, undivided: what reads them takes over 1 / norm (`unit`)."""
        return ExpandedNeuron(self.levels, self.threshold, self.rounding)

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape -> counts / norm, same shape and dtype."""
        fire = integer_spike_naive if written_out() else integer_spike
        return fire(x, self.levels, self.norm, self.rounding, self.gradient, self.threshold)

    def readable(self, x: Tensor) -> Tensor:
        return integer_spike_naive(
            x, self.levels, self.norm, self.rounding, self.gradient, self.threshold
        )

    def compiled(self) -> Compiled | None:
        """None with a threshold, which the kernels lack, and for a class with a forward of its
        own.
        """
        if type(self).forward is not IntegerNeuron.forward or self.threshold != 1.0:
            return None
        levels, rounding, norm, gradient = self.levels, self.rounding, self.norm, self.gradient
        return Compiled(
            neuron=lambda _: on_cpu.integer_neuron(levels, rounding),
            slope=lambda _: on_cpu.integer_slope(norm, gradient),
            divisor=norm,
        )

    def extra_repr(self) -> str:
        threshold = "" if self.threshold == 1.0 else f", threshold={self.threshold:g}"
        return (
            f"levels={self.levels}, norm={self.norm:g}, rounding={self.rounding}, "
            f"gradient={self.gradient}{threshold}"
        )
