"""Batch norm and the neuron behind it as one operation, in training on a CPU: what lies between them is never stored.

Kept for the way back is the norm's input alone; membranes and normed values are computed again. A still image that is
shown at every time step is normed once: its batch statistics are those of its repetitions, and the variance that the
running statistics take counts the repetitions. The readable version is ``neuron(bn(x))``, which also runs wherever this
does not (evaluation, GPUs, float64, export, modules with hooks).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from spikedriven.neurons import native_cpu
from spikedriven.neurons.integer import IntegerNeuron
from spikedriven.neurons.modules import LIF, ParametricLIF


def can_fuse(bn: nn.Module, neuron: nn.Module, x: Tensor) -> bool:
    """Whether `norm_fire` may stand for ``neuron(bn(x))``: training on a CPU, modules of the known kinds, and nobody
    who looks at what lies between them."""
    return (
        torch.is_grad_enabled()
        and native_cpu.takes(x)
        and not (torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") not in native_cpu.DTYPES)
        and not torch.compiler.is_compiling()
        and type(bn) is nn.BatchNorm2d
        and bn.training
        and bn.affine
        and bn.momentum is not None
        and type(neuron) in (LIF, ParametricLIF, IntegerNeuron)
        and not neuron.streaming
        and unwatched(bn, neuron)
    )


def unwatched(*modules: nn.Module) -> bool:
    """Whether no hook waits for a call of these modules."""
    return not any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in modules
    )


def norm_fire(x: Tensor, bn: nn.BatchNorm2d, neuron: nn.Module, steps: int) -> Tensor:
    """x: [T, B, C, H, W], or [1, B, C, H, W] shown ``steps`` times; float32 or bfloat16. Returns spikes [T, ...].

    Updates the running statistics of ``bn`` as a call in training does.
    """
    mean, variance = batch_statistics(x)
    count = x[:, :, 0].numel() * (steps // x.shape[0])
    if bn.track_running_stats:
        _update(bn, mean, variance * (count / max(count - 1, 1)))
    time_constant = neuron.time_constant() if isinstance(neuron, LIF) else None
    return _NormFire.apply(x, bn.weight, bn.bias, time_constant, mean, variance, bn.eps, neuron, steps)


@torch.no_grad()
def _update(bn: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """The running statistics after one more batch, of a norm that tracks them with a fixed momentum (`can_fuse`)."""
    batches, running_mean, running_var = cast(
        tuple[Tensor, Tensor, Tensor], (bn.num_batches_tracked, bn.running_mean, bn.running_var)
    )
    momentum = cast(float, bn.momentum)
    batches.add_(1)
    running_mean.lerp_(mean.to(running_mean), momentum)
    running_var.lerp_(variance.to(running_var), momentum)


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance per channel of [T, B, C, H, W], float64, in one pass."""
    x = native_cpu.dense(x)
    near = x[0, 0, :, 0, 0].detach().float().contiguous()  # sums of differences to some value keep their digits
    sums = torch.empty(2 * x.shape[2], dtype=torch.float64)
    extension().norm_sums(native_cpu.flat(x), *_layout(x), near, sums, torch.get_num_threads())
    off, square = (sums / x[:, :, 0].numel()).view(2, -1)
    return near + off, (square - off * off).clamp_(min=0)


class _NormFire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, w, mean, variance, eps, neuron, steps):  # type: ignore[override]
        x = native_cpu.dense(x)
        inverse = torch.rsqrt(variance + eps)
        scale = (weight.double() * inverse).float()
        shift = (bias.double() - mean * weight.double() * inverse).float()
        spikes = torch.empty_like(x) if steps == x.shape[0] else native_cpu.repeated(x, steps)
        extension().fire_forward(
            _native_neuron(neuron, w), native_cpu.flat(x), steps, _divisor(neuron), None, *_layout(x), scale, shift,
            native_cpu.flat(spikes), None, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x, w, mean, inverse, scale, shift)
        ctx.neuron, ctx.steps, ctx.weight_dtype = neuron, steps, weight.dtype
        return spikes

    @staticmethod
    def backward(ctx, grad_spikes):  # type: ignore[override]
        x, w, mean, inverse, scale, shift = ctx.saved_tensors
        threads, layout, near = torch.get_num_threads(), _layout(x), mean.float()
        shape_like = x if ctx.steps == x.shape[0] else native_cpu.repeated(x, ctx.steps)
        grad_spikes = native_cpu.like(shape_like, grad_spikes, x.dtype)
        grad_x, sums = torch.empty_like(x), torch.empty(2 * len(scale), dtype=torch.float64)
        leak = extension().fire_backward(
            _native_neuron(ctx.neuron, w), _native_slope(ctx.neuron, w), native_cpu.flat(x), ctx.steps, None, *layout,
            scale, shift, near, grad_spikes.numel(), native_cpu.flat(grad_spikes), None, native_cpu.flat(grad_x), None,
            sums, threads,
        )  # fmt: skip
        total, moment = sums.view(2, -1)
        share = scale.double() / x[:, :, 0].numel()
        extension().norm_backward(
            native_cpu.flat(x), native_cpu.flat(grad_x), *layout, near, scale,
            (-share * inverse * inverse * moment).float(), (-share * total).float(), threads,
        )  # fmt: skip
        grad_w = None if w is None else native_cpu.grad_of_w(leak, w, x)
        return grad_x, (moment * inverse).to(ctx.weight_dtype), total.to(ctx.weight_dtype), grad_w, *[None] * 5


def extension() -> Any:
    """The compiled extension; only called where `can_fuse` found it."""
    return native_cpu.extension()


def _layout(x: Tensor) -> tuple[int, int]:
    """(channels, values of one channel that lie side by side) of a dense [T, B, C, H, W]."""
    channels, plane = x.shape[2], x.shape[3] * x.shape[4]
    return channels, 1 if x.stride(2) == 1 else plane


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
