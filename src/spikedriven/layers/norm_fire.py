"""Batch norm and the neuron behind it as one operation, in training on a CPU: what lies between
them is never stored.

Kept for the way back is the norm's input alone; membranes and normed values are computed again. A
still image that is shown at every time step is normed once: its batch statistics are those of its
repetitions, and the variance that the running statistics take counts the repetitions. The readable
version is ``neuron(bn(x))``, which also runs wherever this does not (evaluation, GPUs, float64,
export, modules with hooks).
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikedriven.kernels import arrays, extension
from spikedriven.kernels.norm import (
    batch_statistics,
    can_norm,
    layout,
    norm_gradients,
    scale_and_shift,
    unwatched,
    update_running,
)
from spikedriven.neurons import on_cpu
from spikedriven.neurons.base import Neuron


def can_fuse(bn: nn.Module, neuron: nn.Module, x: Tensor) -> bool:
    """Whether `norm_fire` may stand for ``neuron(bn(x))``: a neuron that the kernels have, and
    nobody who looks at what lies between them.
    """
    return (
        can_norm(bn, x)
        and isinstance(neuron, Neuron)
        and not neuron.streaming
        and unwatched(bn, neuron)
        and neuron.compiled() is not None
    )


def norm_fire(x: Tensor, bn: nn.BatchNorm2d, neuron: Neuron, steps: int) -> Tensor:
    """x: [T, B, C, H, W], or [1, B, C, H, W] shown ``steps`` times; float32 or bfloat16. Returns
    spikes [T, ...].

    Updates the running statistics of ``bn`` as a call in training does.
    """
    mean, variance = batch_statistics(x)
    update_running(bn, mean, variance, x[:, :, 0].numel() * (steps // x.shape[0]))
    compiled = neuron.compiled()
    assert compiled is not None  # `can_fuse` has asked
    return _NormFire.apply(
        x, bn.weight, bn.bias, compiled.time_constant, mean, variance, bn.eps, compiled, steps
    )


class _NormFire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, w, mean, variance, eps, neuron, steps):  # type: ignore[override]
        x = arrays.dense(x)
        scale, shift, inverse = scale_and_shift(weight, bias, mean, variance, eps)
        spikes = torch.empty_like(x) if steps == x.shape[0] else arrays.repeated(x, steps)
        extension.loaded().fire_forward(
            neuron.neuron(w), arrays.flat(x), steps, neuron.divisor, None, *layout(x), scale, shift,
            arrays.flat(spikes), None, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x, w, mean, inverse, scale, shift)
        ctx.neuron, ctx.steps, ctx.weight_dtype = neuron, steps, weight.dtype
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_spikes):  # type: ignore[override]
        x, w, mean, inverse, scale, shift = ctx.saved_tensors
        shape_like = x if ctx.steps == x.shape[0] else arrays.repeated(x, ctx.steps)
        grad_spikes = arrays.like(shape_like, grad_spikes, x.dtype)
        grad_x, sums = torch.empty_like(x), torch.empty(2 * len(scale), dtype=torch.float64)
        leak = extension.loaded().fire_backward(
            ctx.neuron.neuron(w),
            ctx.neuron.slope(w),
            arrays.flat(x),
            ctx.steps,
            None,
            *layout(x),
            scale,
            shift,
            mean.float(),
            grad_spikes.numel(),
            arrays.flat(grad_spikes),
            None,
            arrays.flat(grad_x),
            None,
            sums,
            torch.get_num_threads(),
        )
        grad_weight, grad_bias = norm_gradients(x, grad_x, grad_x, sums, mean, inverse, scale)
        grad_w = None if w is None else on_cpu.grad_of_w(leak, w, x)
        return (
            grad_x,
            grad_weight.to(ctx.weight_dtype),
            grad_bias.to(ctx.weight_dtype),
            grad_w,
            *[None] * 5,
        )
