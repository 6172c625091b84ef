"""The compiled neurons behind the operators, on a CPU: all time steps in one pass over memory, forward and back.

They take float32 and bfloat16; float64, other devices and installations without the extension use the operators'
PyTorch code, to which tests hold these equal. Membranes are float32 in registers, and computed again on the way back.
"""

import functools
from types import ModuleType
from typing import Any, overload

import torch
from torch import Tensor

from spikedriven.neurons.dynamics import LIFOptions

DTYPES = (torch.float32, torch.bfloat16)


@functools.cache
def extension() -> ModuleType | None:
    """The compiled extension; None where the package was installed without a compiler."""
    from spikedriven.engine import native  # the engine imports neurons

    return native.extension()


def loaded() -> ModuleType:
    """The compiled extension where it is there; called for tensors that `takes` has said yes to."""
    native = extension()
    assert native is not None
    return native


def image_sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Images, height, width, channels of [N, C, H, W]."""
    return x.shape[0], x.shape[2], x.shape[3], x.shape[1]


def takes(x: Tensor) -> bool:
    """Whether the compiled kernels compute a neuron on x."""
    return (
        x.device.type == "cpu" and x.dtype in DTYPES and x.numel() > 0 and extension() is not None
    )


def flat(x: Tensor) -> Tensor:
    """All values of a dense tensor in the order of its memory, for DLPack."""
    return x.detach().as_strided((x.numel(),), (1,))


def dense(x: Tensor) -> Tensor:
    """[T, ...] with time outermost and no gaps, whatever the order within a step: x itself, or a copy."""
    step = x[0]
    outermost = x.stride(0) == step.numel() or x.shape[0] == 1
    return x if outermost and is_dense(step) else x.contiguous()


def is_still(x: Tensor) -> bool:
    """Whether [T, ...] is one image, shown T times without a copy (as `SpikeDrivenModel.arrange` does)."""
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
    """A result in the memory order that ``torch.empty_like(given)`` has: what torch.compile expects of an operator."""
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


def lif_neuron(options: LIFOptions, w: Tensor | None) -> Any:
    """The extension's neuron; the leak factor of a parametric one is sigmoid(w)."""
    leak = options.tau if w is None else torch.sigmoid(w).item()
    return loaded().lif(
        leak,
        w is not None,
        options.v_threshold,
        options.rest,
        options.v_reset is not None,
        options.decay_input,
    )


def lif_slope(options: LIFOptions, w: Tensor | None) -> Any:
    """How gradients pass a LIF neuron."""
    native = loaded()
    slope = native.Slope()
    slope.surrogate = (
        native.Surrogate.SIGMOID if options.surrogate == "sigmoid" else native.Surrogate.ATAN
    )
    slope.alpha, slope.detach_reset, slope.learns = (
        options.alpha,
        options.detach_reset,
        w is not None,
    )
    return slope


def lif_forward(
    x: Tensor, v: Tensor | None, w: Tensor | None, options: LIFOptions
) -> tuple[Tensor, Tensor]:
    """Spikes [T, ...] and the last membrane [...], as `lif.lif_op`."""
    given, steps, still = x, x.shape[0], is_still(x)
    x = dense(x[:1] if still else x)
    spikes, membrane = repeated(x, steps), torch.empty_like(x[0], dtype=torch.float32)
    before = like(membrane, v, torch.float32)
    loaded().fire_forward(
        lif_neuron(options, w), flat(x), steps, 1.0, _maybe(before), 0, 1, None, None, flat(spikes),
        flat(membrane), torch.get_num_threads(),
    )  # fmt: skip
    return (spikes, membrane) if still else (ordered(spikes, given), ordered(membrane, given[0]))


def lif_backward(
    grad_spikes: Tensor | None, grad_v: Tensor | None, x: Tensor, v: Tensor | None, w: Tensor | None,
    options: LIFOptions,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of x [T, ...], of the membrane before [...] and of w (0-dim), as `lif.lif_backward_op`."""
    given, x = x, dense(x)
    grad_x, carry = torch.empty_like(x), torch.empty_like(x[0], dtype=torch.float32)
    grad_spikes, grad_v = like(x, grad_spikes, x.dtype), like(carry, grad_v, torch.float32)
    leak = loaded().fire_backward(
        lif_neuron(options, w), lif_slope(options, w), flat(x), x.shape[0], _maybe(like(carry, v, torch.float32)), 0, 1,
        None, None, None, x.numel(), _maybe(grad_spikes), _maybe(grad_v), flat(grad_x), flat(carry), None,
        torch.get_num_threads(),
    )  # fmt: skip
    return ordered(grad_x, given), ordered(carry, given[0]), grad_of_w(leak, w, x)


def grad_of_w(leak: float, w: Tensor | None, x: Tensor) -> Tensor:
    """The gradient of w (0-dim; zero without w) from that of the leak factor sigmoid(w)."""
    if w is None:
        return x.new_zeros((), dtype=torch.float32)
    k = torch.sigmoid(w.detach())
    return (leak * (1.0 - k) * k).to(w.dtype).reshape(())


def integer_neuron(levels: int, rounding: str) -> Any:
    return loaded().integer(levels, rounding == "half_up")


def integer_slope(norm: float, gradient: str) -> Any:
    """How gradients pass an integer neuron."""
    slope = loaded().Slope()
    slope.divisor, slope.inclusive = norm, gradient == "inclusive"
    return slope


def integer_forward(x: Tensor, levels: int, norm: float, rounding: str) -> Tensor:
    """Counts / norm, any shape, as `integer.integer_spike`."""
    given, x = x, x if is_dense(x) else x.contiguous()
    out = torch.empty_like(x)
    loaded().fire_forward(
        integer_neuron(levels, rounding), flat(x), 1, norm, None, 0, 1, None, None, flat(out), None,
        torch.get_num_threads(),
    )  # fmt: skip
    return ordered(out, given)


def integer_backward(
    upstream: Tensor, x: Tensor, levels: int, norm: float, gradient: str
) -> Tensor:
    """The gradient of x, as `integer.integer_spike_backward`."""
    given, x = x, x if is_dense(x) else x.contiguous()
    grad_x, upstream = torch.empty_like(x), like(x, upstream, x.dtype)
    loaded().fire_backward(
        integer_neuron(levels, "half_even"), integer_slope(norm, gradient), flat(x), 1, None, 0, 1, None, None, None,
        x.numel(), flat(upstream), None, flat(grad_x), None, None, torch.get_num_threads(),
    )  # fmt: skip
    return ordered(grad_x, given)


def _maybe(x: Tensor | None) -> Tensor | None:
    return None if x is None else flat(x)
