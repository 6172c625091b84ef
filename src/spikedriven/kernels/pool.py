"""Max pooling in training on a CPU, channels last: what it keeps is one byte per output, where
PyTorch keeps eight.

The readable version is ``F.max_pool2d``, which also runs wherever this does not. And the mean over
space.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikedriven.kernels import arrays, extension
from spikedriven.kernels.followed import followed

#: The place within a window is a byte.
LARGEST_KERNEL = 15


def max_pool(x: Tensor, pool: nn.MaxPool2d) -> Tensor:
    """What ``pool`` computes: [N, C, H, W] -> [N, C, H', W']. Of equal values the first has the
    gradient.
    """
    if not _fits(x, pool):
        return F.max_pool2d(
            x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
        )
    return _MaxPool.apply(x, (pool.kernel_size, pool.stride, pool.padding))


def _fits(x: Tensor, pool: nn.MaxPool2d) -> bool:
    window = (pool.kernel_size, pool.stride, pool.padding)
    return (
        pool.training
        and not followed()
        and torch.is_grad_enabled()
        and arrays.takes(x)
        and x.is_contiguous(memory_format=torch.channels_last)
        and all(isinstance(size, int) for size in window)
        and cast(int, pool.kernel_size) <= LARGEST_KERNEL
        and pool.dilation == 1
        and not pool.ceil_mode
        and min(x.shape[2:]) + 2 * cast(int, pool.padding) >= cast(int, pool.kernel_size)
    )


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, window):  # type: ignore[override]
        kernel, stride, padding = window
        size = [(n + 2 * padding - kernel) // stride + 1 for n in x.shape[2:]]
        out = torch.empty(*x.shape[:2], *size, dtype=x.dtype, memory_format=torch.channels_last)
        where = torch.empty(out.numel(), dtype=torch.uint8)
        extension.loaded().max_pool(
            arrays.flat(x),
            *arrays.image_sizes(x),
            window,
            arrays.flat(out),
            where,
            torch.get_num_threads(),
        )
        ctx.save_for_backward(where)
        ctx.window, ctx.shape = window, x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # type: ignore[override]
        (where,) = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = torch.empty(ctx.shape, dtype=grad.dtype, memory_format=torch.channels_last)
        extension.loaded().max_pool_backward(
            arrays.flat(grad),
            *arrays.image_sizes(grad_x),
            ctx.window,
            where,
            arrays.flat(grad_x),
            torch.get_num_threads(),
        )
        return grad_x, None


def spatial_mean(x: Tensor) -> Tensor:
    """Mean over space, [T, B, C, H, W] -> [T, B, C].

    The gradient of ``x.mean(dim=(-2, -1))`` does not lie channels last where x does, and every
    layer behind would have to lay it out anew. Of a mean over the inner dimensions of a permuted
    view it does; values have the same bits.
    """
    if x.stride(2) == 1:
        return x.permute(0, 1, 3, 4, 2).mean(dim=(2, 3))
    return x.mean(dim=(-2, -1))
