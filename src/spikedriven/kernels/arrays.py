"""Tensors as the compiled kernels read them: which are taken, and the order of their memory.

Kernels take float32 and bfloat16 on a CPU; everything else runs in PyTorch.
"""

from typing import overload

import torch
from torch import Tensor

from spikedriven.kernels.extension import available

DTYPES = (torch.float32, torch.bfloat16)


def image_sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Images, height, width, channels of [N, C, H, W]."""
    return x.shape[0], x.shape[2], x.shape[3], x.shape[1]


def takes(x: Tensor) -> bool:
    """Whether the compiled kernels compute on x."""
    return x.device.type == "cpu" and x.dtype in DTYPES and x.numel() > 0 and available()


def flat(x: Tensor) -> Tensor:
    """All values of a dense tensor in the order of its memory, for DLPack."""
    return x.detach().as_strided((x.numel(),), (1,))


def dense(x: Tensor) -> Tensor:
    """[T, ...] with time outermost and no gaps, whatever the order within a step: x itself, or
    a copy.
    """
    step = x[0]
    outermost = x.stride(0) == step.numel() or x.shape[0] == 1
    return x if outermost and is_dense(step) else x.contiguous()


def is_still(x: Tensor) -> bool:
    """Whether [T, ...] is one image, shown T times without a copy (as
    `SpikeDrivenModel.arrange` does).
    """
    return x.shape[0] > 1 and x.stride(0) == 0


def repeated(x: Tensor, steps: int) -> Tensor:
    """Uninitialised [steps, ...] in the memory order of x [1, ...]."""
    return torch.empty_strided(
        (steps, *x.shape[1:]), (x[0].numel(), *x.stride()[1:]), dtype=x.dtype
    )


def is_dense(x: Tensor) -> bool:
    """Whether the values of x fill their memory without gaps or repetitions, in any order."""
    return (
        torch.empty_like(x, device="meta").stride() == x.stride()
    )  # only dense tensors keep their strides there


def ordered(result: Tensor, given: Tensor) -> Tensor:
    """A result in the memory order that ``torch.empty_like(given)`` has: what torch.compile
    expects of an operator.
    """
    stride = torch.empty_like(given, device="meta").stride()
    if result.stride() == stride:
        return result
    return torch.empty_strided(
        result.shape, stride, dtype=result.dtype, device=result.device
    ).copy_(result)


@overload
def like(x: Tensor, source: Tensor, dtype: torch.dtype) -> Tensor: ...
@overload
def like(x: Tensor, source: None, dtype: torch.dtype) -> None: ...
def like(x: Tensor, source: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """source in the memory order of x (same shape) and in dtype."""
    if source is None or (source.dtype == dtype and source.stride() == x.stride()):
        return source
    return torch.empty_like(x, dtype=dtype).copy_(source)


def maybe_flat(x: Tensor | None) -> Tensor | None:
    """`flat`, or None for None."""
    return None if x is None else flat(x)
