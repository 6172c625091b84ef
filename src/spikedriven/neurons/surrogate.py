"""Surrogate gradients: what stands in for the derivative of the Heaviside step during training.

Each entry maps a name to ``gradient(u, alpha, upstream, out)``: the upstream gradient times the surrogate's slope at
``u = membrane - threshold``, written into ``out`` (which may be u) and returned. All shapes agree. The forward step is
always the exact Heaviside function, so a surrogate never changes what a network computes, only how it learns.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spikedriven.errors import InputError

SurrogateGradient = Callable[[Tensor, float, Tensor, Tensor], Tensor]


def sigmoid_gradient(u: Tensor, alpha: float, upstream: Tensor, out: Tensor) -> Tensor:
    """Slope of ``sigmoid(alpha u)``: ``alpha s (1 - s)``, which is ``alpha / 4`` at the threshold."""
    s = torch.mul(u, alpha, out=out).sigmoid_()
    return torch.ops.aten.sigmoid_backward.grad_input(upstream, s, grad_input=out).mul_(alpha)


def atan_gradient(u: Tensor, alpha: float, upstream: Tensor, out: Tensor) -> Tensor:
    """Slope of ``arctan(pi alpha u / 2) / pi``: ``alpha / 2 / (1 + (pi alpha u / 2)^2)`` (Fang et al., ICCV 2021)."""
    slope = torch.mul(u, math.pi / 2.0 * alpha, out=out).square_().add_(1.0).reciprocal_()
    return slope.mul_(alpha / 2.0).mul_(upstream)


SURROGATES: dict[str, SurrogateGradient] = {"sigmoid": sigmoid_gradient, "atan": atan_gradient}
DEFAULT_ALPHA = {"sigmoid": 4.0, "atan": 2.0}


def resolve_alpha(surrogate: str, alpha: float | None) -> float:
    """The sharpness to use: the given one, or the surrogate's customary default."""
    if surrogate not in SURROGATES:
        raise InputError(
            f"surrogate {surrogate!r} is not known; choose one of {sorted(SURROGATES)}"
        )
    if alpha is None:
        return DEFAULT_ALPHA[surrogate]
    if not alpha > 0:
        raise InputError(f"alpha must be positive, found {alpha}")
    return float(alpha)
