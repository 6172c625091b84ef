"""Batch norm and the neuron behind it as one operation, in training on a CPU: what lies between them is never stored.

Kept for the way back is the norm's input alone; membranes and normed values are computed again. A still image that is
shown at every time step is normed once: its batch statistics are those of its repetitions, and the variance that the
running statistics take counts the repetitions. The readable version is ``neuron(bn(x))``, which also runs wherever this
does not (evaluation, GPUs, float64, export, modules with hooks).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikedriven.layers.norm import (
    batch_statistics,
    can_norm,
    layout,
    norm_gradients,
    scale_and_shift,
    unwatched,
    update_running,
)
from spikedriven.neurons import native_cpu
from spikedriven.neurons.integer import IntegerNeuron
from spikedriven.neurons.modules import LIF, ParametricLIF


def can_fuse(bn: nn.Module, neuron: nn.Module, x: Tensor) -> bool:
    """Whether `norm_fire` may stand for ``neuron(bn(x))``: modules of the known kinds, and nobody who looks at what
    lies between them."""
    return (
        can_norm(bn, x)
        and type(neuron) in (LIF, ParametricLIF, IntegerNeuron)
        and not neuron.streaming
        and unwatched(bn, neuron)
    )


def norm_fire(x: Tensor, bn: nn.BatchNorm2d, neuron: nn.Module, steps: int) -> Tensor:
    """x: [T, B, C, H, W], or [1, B, C, H, W] shown ``steps`` times; float32 or bfloat16. Returns spikes [T, ...].

    Updates the running statistics of ``bn`` as a call in training does.
    """
    mean, variance = batch_statistics(x)
    update_running(bn, mean, variance, x[:, :, 0].numel() * (steps // x.shape[0]))
    time_constant = neuron.time_constant() if isinstance(neuron, LIF) else None
    return _NormFire.apply(
        x, bn.weight, bn.bias, time_constant, mean, variance, bn.eps, neuron, steps
    )


class _NormFire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, w, mean, variance, eps, neuron, steps):  # type: ignore[override]
        x = native_cpu.dense(x)
        scale, shift, inverse = scale_and_shift(weight, bias, mean, variance, eps)
        spikes = torch.empty_like(x) if steps == x.shape[0] else native_cpu.repeated(x, steps)
        native_cpu.loaded().fire_forward(
            _native_neuron(neuron, w), native_cpu.flat(x), steps, _divisor(neuron), None, *layout(x), scale, shift,
            native_cpu.flat(spikes), None, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x, w, mean, inverse, scale, shift)
        ctx.neuron, ctx.steps, ctx.weight_dtype = neuron, steps, weight.dtype
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_spikes):  # type: ignore[override]
        x, w, mean, inverse, scale, shift = ctx.saved_tensors
        shape_like = x if ctx.steps == x.shape[0] else native_cpu.repeated(x, ctx.steps)
        grad_spikes = native_cpu.like(shape_like, grad_spikes, x.dtype)
        grad_x, sums = torch.empty_like(x), torch.empty(2 * len(scale), dtype=torch.float64)
        leak = native_cpu.loaded().fire_backward(
            _native_neuron(ctx.neuron, w), _native_slope(ctx.neuron, w), native_cpu.flat(x), ctx.steps, None,
            *layout(x), scale, shift, mean.float(), grad_spikes.numel(), native_cpu.flat(grad_spikes), None,
            native_cpu.flat(grad_x), None, sums, torch.get_num_threads(),
        )  # fmt: skip
        grad_weight, grad_bias = norm_gradients(x, grad_x, grad_x, sums, mean, inverse, scale)
        grad_w = None if w is None else native_cpu.grad_of_w(leak, w, x)
        return (
            grad_x,
            grad_weight.to(ctx.weight_dtype),
            grad_bias.to(ctx.weight_dtype),
            grad_w,
            *[None] * 5,
        )


def _native_neuron(neuron: LIF | IntegerNeuron, w: Tensor | None) -> Any:
    if isinstance(neuron, IntegerNeuron):
        return native_cpu.integer_neuron(neuron.levels, neuron.rounding)
    return native_cpu.lif_neuron(neuron.options, w)


def _native_slope(neuron: LIF | IntegerNeuron, w: Tensor | None) -> Any:
    if isinstance(neuron, IntegerNeuron):
        return native_cpu.integer_slope(neuron.norm, neuron.gradient)
    return native_cpu.lif_slope(neuron.options, w)


def _divisor(neuron: nn.Module) -> float:
    return neuron.norm if isinstance(neuron, IntegerNeuron) else 1.0
