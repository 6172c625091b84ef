"""Batch norm in training on a CPU, with kernels of our own: PyTorch's is slow on bfloat16 with
channels last.

The readable version is ``bn(x)``, which also runs wherever this does not (evaluation, GPUs,
float64, modules with hooks).
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikedriven.kernels import arrays, extension
from spikedriven.kernels.followed import followed


def batch_norm(x: Tensor, bn: nn.Module) -> Tensor:
    """``bn(x)`` for x [N, C, H, W]; sums are float32 and float64, whatever the dtype of x."""
    if not (can_norm(bn, x) and unwatched(bn)):
        return bn(x)
    maps, bn = x.unsqueeze(0), cast(nn.BatchNorm2d, bn)
    mean, variance = batch_statistics(maps)
    update_running(bn, mean, variance, x[:, 0].numel())
    return _BatchNorm.apply(maps, bn.weight, bn.bias, mean, variance, bn.eps).squeeze(0)


def can_norm(bn: nn.Module, x: Tensor) -> bool:
    """Whether the kernels stand for ``bn(x)``: training on a CPU, of a norm of the plain kind."""
    return (
        bn.training
        and not followed()
        and torch.is_grad_enabled()
        and arrays.takes(x)
        and not (
            torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") not in arrays.DTYPES
        )
        and type(bn) is nn.BatchNorm2d
        and bn.affine
        and bn.momentum is not None
    )


def unwatched(*modules: nn.Module) -> bool:
    """Whether no hook waits for a call of these modules."""
    return not any(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        for module in modules
    )


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance per channel of [T, B, C, H, W], float64, in one pass."""
    x = arrays.dense(x)
    near = (
        x[0, 0, :, 0, 0].detach().float().contiguous()
    )  # sums of differences to some value keep their digits
    sums = torch.empty(2 * x.shape[2], dtype=torch.float64)
    extension.loaded().norm_sums(arrays.flat(x), *layout(x), near, sums, torch.get_num_threads())
    off, square = (sums / x[:, :, 0].numel()).view(2, -1)
    return near + off, (square - off * off).clamp_(min=0)


@torch.no_grad()
def update_running(bn: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """The running statistics, where they are tracked, after one more batch of ``count`` values
    per channel.
    """
    if not bn.track_running_stats:
        return
    batches, running_mean, running_var = cast(
        tuple[Tensor, Tensor, Tensor], (bn.num_batches_tracked, bn.running_mean, bn.running_var)
    )
    momentum = cast(float, bn.momentum)
    batches.add_(1)
    running_mean.lerp_(mean.to(running_mean), momentum)
    running_var.lerp_((variance * (count / max(count - 1, 1))).to(running_var), momentum)


def scale_and_shift(
    weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(scale, shift) of the norm, float32, and the inverse of the standard deviation, float64.
    All per channel.
    """
    inverse = torch.rsqrt(variance + eps)
    shift = bias.double() - mean * weight.double() * inverse
    return (weight.double() * inverse).float(), shift.float(), inverse


def norm_gradients(
    x: Tensor,
    grad: Tensor,
    grad_x: Tensor,
    sums: Tensor,
    mean: Tensor,
    inverse: Tensor,
    scale: Tensor,
) -> tuple[Tensor, Tensor]:
    """Write the gradient of x from that of the normed values (``grad_x`` may be ``grad``); return
    weight's and bias's.

    sums: of the gradient, and of the gradient times (x - mean), per channel, float64 [2 C].
    """
    total, moment = sums.view(2, -1)
    share = scale.double() / x[:, :, 0].numel()
    extension.loaded().norm_backward(
        arrays.flat(x),
        arrays.flat(grad),
        arrays.flat(grad_x),
        *layout(x),
        mean.float(),
        scale,
        (-share * inverse * inverse * moment).float(),
        (-share * total).float(),
        torch.get_num_threads(),
    )
    return moment * inverse, total


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, mean, variance, eps):  # type: ignore[override]
        x = arrays.dense(x)
        scale, shift, inverse = scale_and_shift(weight, bias, mean, variance, eps)
        out = torch.empty_like(x)
        extension.loaded().norm_forward(
            arrays.flat(x), arrays.flat(out), *layout(x), scale, shift, torch.get_num_threads()
        )
        ctx.save_for_backward(x, mean, inverse, scale)
        ctx.weight_dtype = weight.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # type: ignore[override]
        x, mean, inverse, scale = ctx.saved_tensors
        grad, grad_x = arrays.like(x, grad, x.dtype), torch.empty_like(x)
        sums = torch.empty(2 * len(scale), dtype=torch.float64)
        extension.loaded().norm_gradient_sums(
            arrays.flat(x),
            arrays.flat(grad),
            *layout(x),
            mean.float(),
            sums,
            torch.get_num_threads(),
        )
        grad_weight, grad_bias = norm_gradients(x, grad, grad_x, sums, mean, inverse, scale)
        return (
            grad_x,
            grad_weight.to(ctx.weight_dtype),
            grad_bias.to(ctx.weight_dtype),
            None,
            None,
            None,
        )


def layout(x: Tensor) -> tuple[int, int]:
    """(channels, values of one channel that lie side by side) of a dense [T, B, C, H, W]."""
    channels, plane = x.shape[2], x.shape[3] * x.shape[4]
    return channels, 1 if x.stride(2) == 1 else plane
