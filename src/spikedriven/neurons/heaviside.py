"""The step that fires, with a surrogate for its derivative: for neurons in PyTorch's own operators.

Derivatives go backward and forward, under autograd and under `torch.func`.
"""

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.neurons.surrogate import resolve_alpha, surrogate_named


class _Heaviside(torch.autograd.Function):
    """1 where u >= 0; its derivative, backward and forward, is the named surrogate's slope."""

    @staticmethod
    def forward(u: Tensor, surrogate: str, alpha: float) -> Tensor:  # type: ignore[override]
        return (u >= 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):  # type: ignore[override]
        u, ctx.surrogate, ctx.alpha = inputs
        ctx.save_for_backward(u)
        ctx.save_for_forward(u)

    @staticmethod
    def backward(ctx, upstream: Tensor):  # type: ignore[override]
        return _TimesSlope.apply(upstream, *ctx.saved_tensors, ctx.surrogate, ctx.alpha), None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_):  # type: ignore[override]
        return _TimesSlope.apply(tangent, *ctx.saved_tensors, ctx.surrogate, ctx.alpha)

    @staticmethod
    def vmap(info, in_dims, u: Tensor, surrogate: str, alpha: float):  # type: ignore[override]
        return _Heaviside.apply(u, surrogate, alpha), in_dims[0]


class _TimesSlope(torch.autograd.Function):
    """A gradient, or a tangent, times the slope at u. A surrogate has no second derivative."""

    @staticmethod
    def forward(change: Tensor, u: Tensor, surrogate: str, alpha: float) -> Tensor:  # type: ignore[override]
        return surrogate_named(surrogate).gradient(u, alpha, change, torch.empty_like(u))

    @staticmethod
    def setup_context(ctx, inputs, output):  # type: ignore[override]
        pass

    @staticmethod
    def backward(ctx, *_):  # type: ignore[override]
        raise InputError("a surrogate gradient is defined once: it has no second derivative")

    jvp = backward

    @staticmethod
    def vmap(info, in_dims, change: Tensor, u: Tensor, surrogate: str, alpha: float):  # type: ignore[override]
        change, u = (
            _batch_first(x, axis, info.batch_size)
            for x, axis in zip((change, u), in_dims[:2], strict=True)
        )
        return _TimesSlope.apply(change, u, surrogate, alpha), 0


def _batch_first(x: Tensor, axis: int | None, size: int) -> Tensor:
    return x.expand(size, *x.shape) if axis is None else x.movedim(axis, 0)


def fire(u: Tensor, surrogate: str = "sigmoid", alpha: float | None = None) -> Tensor:
    """1 where ``u = membrane - threshold`` is at least 0, else 0; the gradient is the surrogate's.

    alpha: its sharpness; default: the customary one. Same shape and dtype as u.
    """
    return _Heaviside.apply(u, surrogate, resolve_alpha(surrogate, alpha))
