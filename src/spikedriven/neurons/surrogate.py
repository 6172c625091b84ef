"""Surrogate gradients: what stands in for the derivative of the Heaviside step during training.

The forward step is always the exact Heaviside function, so a surrogate never changes what a network
computes, only how it learns. Each has a slope at ``u = membrane - threshold`` and a sharpness
alpha; the slopes here have an area of 1. Your own is one function::

    @register_surrogate("laplace", alpha=2.0)
    def laplace(u: Tensor, alpha: float) -> Tensor:
        return alpha / 2 * torch.exp(-alpha * u.abs())

The compiled kernels know "sigmoid" and "atan"; with others gradients take PyTorch's operators.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spikedriven.errors import InputError, did_you_mean

#: (u, alpha) -> the slope at u, of the same shape.
Slope = Callable[[Tensor, float], Tensor]
#: (u, alpha, upstream, out) -> upstream times the slope, written into out, which may be u.
Gradient = Callable[[Tensor, float, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Surrogate:
    """alpha: the sharpness where none is given."""

    gradient: Gradient
    alpha: float


SURROGATES: dict[str, Surrogate] = {}


def register_surrogate(name: str, alpha: float = 1.0) -> Callable[[Slope], Slope]:
    """Decorator: from now on ``surrogate=name`` learns with this slope. alpha: its customary
    sharpness.

    Raises InputError for a name that is taken and for an alpha that is not positive.
    """
    if not alpha > 0:
        raise InputError(f"alpha must be positive, found {alpha}")

    def register(slope: Slope) -> Slope:
        _add(name, _times_slope(slope), alpha, slope)
        return slope

    return register


_DEFINED: dict[str, tuple[str, str]] = {}


def _add(name: str, gradient: Gradient, alpha: float, function: Callable[..., Tensor]) -> None:
    """A definition may replace itself, as when a notebook's cell runs again, and no other."""
    origin = (function.__module__, function.__qualname__)
    if _DEFINED.setdefault(name, origin) != origin:
        raise InputError(
            f"the name {name!r} belongs to {'.'.join(_DEFINED[name])}; choose another one for "
            f"{'.'.join(origin)}"
        )
    SURROGATES[name] = Surrogate(gradient, alpha)


def _times_slope(slope: Slope) -> Gradient:
    def gradient(u: Tensor, alpha: float, upstream: Tensor, out: Tensor) -> Tensor:
        found = slope(u, alpha)
        if found.shape != u.shape:
            raise InputError(
                f"a surrogate's slope has the shape of u; for {list(u.shape)} it gave "
                f"{list(found.shape)}"
            )
        return torch.mul(upstream, found, out=out)

    return gradient


def sigmoid_gradient(u: Tensor, alpha: float, upstream: Tensor, out: Tensor) -> Tensor:
    """Slope of ``sigmoid(alpha u)``: ``alpha s (1 - s)``, which is ``alpha / 4`` at the
    threshold.
    """
    s = torch.mul(u, alpha, out=out).sigmoid_()
    return torch.ops.aten.sigmoid_backward.grad_input(upstream, s, grad_input=out).mul_(alpha)


def atan_gradient(u: Tensor, alpha: float, upstream: Tensor, out: Tensor) -> Tensor:
    """Slope of ``arctan(pi alpha u / 2) / pi``: ``alpha / 2 / (1 + (pi alpha u / 2)^2)``.

    Fang et al., ICCV 2021.
    """
    slope = torch.mul(u, math.pi / 2.0 * alpha, out=out).square_().add_(1.0).reciprocal_()
    return slope.mul_(alpha / 2.0).mul_(upstream)


_add("sigmoid", sigmoid_gradient, 4.0, sigmoid_gradient)
_add("atan", atan_gradient, 2.0, atan_gradient)


@register_surrogate("triangle", alpha=1.0)
def triangle(u: Tensor, alpha: float) -> Tensor:
    """``alpha max(0, 1 - alpha |u|)`` (Bellec et al., NeurIPS 2018; Deng et al., TET, ICLR
    2022).
    """
    return alpha * (1.0 - alpha * u.abs()).clamp(min=0.0)


@register_surrogate("rectangle", alpha=1.0)
def rectangle(u: Tensor, alpha: float) -> Tensor:
    """``alpha`` where ``|u| < 1 / (2 alpha)``, else 0 (Wu et al., Frontiers in Neuroscience
    2018).
    """
    return alpha * (u.abs() < 0.5 / alpha).to(u.dtype)


def surrogate_named(name: str) -> Surrogate:
    """A registered surrogate. Raises InputError where none has that name."""
    if name not in SURROGATES:
        raise InputError(
            f"surrogate {name!r} is not known; {did_you_mean(name, sorted(SURROGATES))} Your own: "
            "spikedriven.neurons.register_surrogate"
        )
    return SURROGATES[name]


def resolve_alpha(surrogate: str, alpha: float | None) -> float:
    """The sharpness to use: the given one, or the surrogate's customary default."""
    known = surrogate_named(surrogate)
    if alpha is None:
        return known.alpha
    if not alpha > 0:
        raise InputError(f"alpha must be positive, found {alpha}")
    return float(alpha)
