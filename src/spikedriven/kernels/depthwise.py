"""Depthwise convolution with forward and backward passes of our own for training on CPUs:
libraries are slow at it.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikedriven.kernels import arrays, extension
from spikedriven.kernels.followed import followed

KERNELS = (3, 5, 7)


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with one filter per channel, stride 1 and same padding, without bias. [N, C, H,
    W].

    In training on a CPU, in float32 or under a bfloat16 autocast and with channels last in memory,
    the package's own kernels run; sums are float32. Everywhere else this is `nn.Conv2d`.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(
            channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if not (
            self.training and torch.is_grad_enabled() and self._fits(x) and dtype in arrays.DTYPES
        ):
            return super().forward(x)
        return _Depthwise.apply(x.to(dtype), self.weight)

    def _fits(self, x: Tensor) -> bool:
        return (
            not followed()
            and arrays.takes(x)
            and self.kernel_size[0] in KERNELS
            and x.is_contiguous(memory_format=torch.channels_last)
        )


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return _filter(x, _taps(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # type: ignore[override]
        x, weight = ctx.saved_tensors
        grad = grad.to(x.dtype).contiguous(memory_format=torch.channels_last)
        grad_x = _filter(grad, _taps(weight).flip(0)) if ctx.needs_input_grad[0] else None
        sums = torch.empty(weight.shape[2] * weight.shape[3] * len(weight))
        extension.loaded().depthwise_weight(
            arrays.flat(x),
            *arrays.image_sizes(x),
            weight.shape[2],
            arrays.flat(grad),
            sums,
            torch.get_num_threads(),
        )
        return grad_x, sums.view(-1, len(weight)).t().reshape(weight.shape).to(weight.dtype)


def _taps(weight: Tensor) -> Tensor:
    """[C, 1, k, k] -> [k * k, C], float32."""
    return weight.detach().float().flatten(1).t().contiguous()


def _filter(x: Tensor, taps: Tensor) -> Tensor:
    out = torch.empty_like(x, memory_format=torch.channels_last)
    kernel = int(len(taps) ** 0.5)
    extension.loaded().depthwise(
        arrays.flat(x),
        *arrays.image_sizes(x),
        kernel,
        taps.flatten(),
        arrays.flat(out),
        torch.get_num_threads(),
    )
    return out
