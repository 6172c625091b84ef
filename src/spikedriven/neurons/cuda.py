"""The neurons' operators on GPUs: `kernels.triton_neurons` behind the names registered in `lif` and
`integer`.

Registered where Triton is installed (PyTorch's wheels for GPUs on Linux bring it); elsewhere GPUs
run the plain implementation. Triton is imported by the first call.
``lif_op.set_kernel_enabled("cuda", False)`` is a context in which the plain implementation runs
instead.
"""

from importlib.util import find_spec

import torch
from torch import Tensor

from spikedriven.neurons.dynamics import LIFOptions, membrane_dtype
from spikedriven.neurons.integer import divided, integer_spike, integer_spike_backward
from spikedriven.neurons.lif import lif_backward_op, lif_backward_plain, lif_op

#: Backward keeps so many time steps in registers; longer inputs are worked on in chunks of so many.
MAX_STEPS = 16
FORWARD_BLOCK, BACKWARD_BLOCK = 1024, 512  # elements a program
#: Surrogates whose slopes the kernels have; gradients with another one take the plain
#: implementation.
SURROGATES = ("sigmoid", "atan")
#: No fused multiply-add: it rounds once where the readable neuron rounds twice.
COMPILER = {"num_warps": 4, "enable_fp_fusion": False}


def _launch(kernel, size: int, block: int, *tensors: Tensor | None, **constants) -> None:
    """One program for each block."""
    if not size:
        return
    with torch.cuda.device_of(tensors[0]):
        kernel[(-(-size // block),)](*tensors, size, **constants, BLOCK=block, **COMPILER)


def _arranged(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The tensor in memory of the given dense strides; itself where it lies so already."""
    if tensor.stride() == strides:
        return tensor
    return torch.empty_strided(
        tensor.shape, strides, dtype=tensor.dtype, device=tensor.device
    ).copy_(tensor)


def _strides_of_copy(x: Tensor) -> tuple[int, ...]:
    """The strides of ``torch.empty_like(x)``: those that the fake implementations promise."""
    return torch.empty_like(x, device="meta").stride()


def _step_after_step(x: Tensor) -> Tensor:
    """x with time outermost and no gaps in a step, or with one step for all (stride 0); itself
    where it lies so.
    """
    dense = x.stride()[1:] == _strides_of_copy(x[0])
    return x if dense and (len(x) == 1 or x.stride(0) in (0, x[0].numel())) else x.contiguous()


def _strides_after_step(x: Tensor) -> tuple[int, ...]:
    """For tensors of x's shape: each step in the memory layout of x's, one after the other."""
    return (x[0].numel(), *x.stride()[1:])


def _fixed(options: LIFOptions) -> dict[str, object]:
    """What both LIF kernels are compiled for."""
    return {
        "TAU": options.tau,
        "V_THRESHOLD": options.v_threshold,
        "V_RESET": options.v_reset,
        "REST": options.rest,
        "DECAY_INPUT": options.decay_input,
    }


def _steps(x: Tensor) -> dict[str, object]:
    return {"STEPS": len(x), "STILL": len(x) > 1 and x.stride(0) == 0}


def _chunks(x: Tensor) -> list[slice]:
    return [slice(start, min(start + MAX_STEPS, len(x))) for start in range(0, len(x), MAX_STEPS)]


def _decay_rate(x: Tensor, w: Tensor | None) -> Tensor | None:
    return None if w is None else torch.sigmoid(w).to(x.device, membrane_dtype(x))


def _arranged_membrane(v: Tensor | None, x: Tensor) -> Tensor | None:
    return None if v is None else _arranged(v.to(membrane_dtype(x)), x.stride()[1:])


def _charge_through(
    x: Tensor,
    v: Tensor | None,
    k: Tensor | None,
    spikes: Tensor | None,
    last: Tensor,
    options: LIFOptions,
) -> None:
    """Writes spikes, where asked for, and the last membrane. All in the memory layout of x."""
    from spikedriven.kernels.triton_neurons import lif_forward

    for part in _chunks(x):
        out = None if spikes is None else spikes[part]
        _launch(
            lif_forward,
            last.numel(),
            FORWARD_BLOCK,
            x[part],
            v,
            k,
            out,
            last,
            **_steps(x[part]),
            **_fixed(options),
        )
        v = last


def lif(x: Tensor, v: Tensor | None, w: Tensor | None, *values) -> tuple[Tensor, Tensor]:
    """`spikedriven::lif`."""
    steps = _step_after_step(x)
    spikes = torch.empty_strided(
        x.shape, _strides_after_step(steps), dtype=x.dtype, device=x.device
    )
    last = torch.empty_like(steps[0], dtype=membrane_dtype(x))
    _charge_through(
        steps, _arranged_membrane(v, steps), _decay_rate(x, w), spikes, last, LIFOptions(*values)
    )
    return _arranged(spikes, _strides_of_copy(x)), _arranged(last, _strides_of_copy(x[0]))


def lif_backward(
    grad_spikes: Tensor | None,
    grad_v: Tensor | None,
    x: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    *values,
) -> tuple[Tensor, Tensor, Tensor]:
    """`spikedriven::lif_backward`."""
    options = LIFOptions(*values)
    if options.surrogate not in SURROGATES:
        return lif_backward_plain(grad_spikes, grad_v, x, v, w, options)
    steps, k = _step_after_step(x), _decay_rate(x, w)
    starts = _membranes_at_chunks(steps, _arranged_membrane(v, steps), k, options)
    if grad_spikes is not None:
        grad_spikes = _arranged(grad_spikes, _strides_after_step(steps))
    grad_x, grad_v, grad_k = _unwind(
        steps, starts, k, grad_spikes, _arranged_membrane(grad_v, steps), options
    )
    grad_w = grad_k if w is None or k is None else (grad_k * (1.0 - k) * k).to(w.dtype)
    return _arranged(grad_x, _strides_of_copy(x)), _arranged(grad_v, _strides_of_copy(x[0])), grad_w


def _membranes_at_chunks(
    x: Tensor, v: Tensor | None, k: Tensor | None, options: LIFOptions
) -> list[Tensor | None]:
    """The membrane before each chunk of time steps, computed again: none but v for up to
    MAX_STEPS steps.
    """
    starts = [v]
    for part in _chunks(x)[:-1]:
        last = torch.empty_like(x[0], dtype=membrane_dtype(x))
        _charge_through(x[part], starts[-1], k, None, last, options)
        starts.append(last)
    return starts


def _unwind(
    x: Tensor,
    starts: list[Tensor | None],
    k: Tensor | None,
    grad_spikes: Tensor | None,
    grad_v: Tensor | None,
    options: LIFOptions,
) -> tuple[Tensor, Tensor, Tensor]:
    """From the last chunk to the first. Returns the gradients of x, of the first membrane and
    of k.
    """
    from spikedriven.kernels.triton_neurons import lif_backward

    grad_x = torch.empty_strided(x.shape, _strides_after_step(x), dtype=x.dtype, device=x.device)
    grad_v0 = torch.empty_like(x[0], dtype=membrane_dtype(x))
    programs = 0 if k is None else -(-grad_v0.numel() // BACKWARD_BLOCK)
    parts_of_grad_k = grad_v0.new_zeros(len(starts), programs)
    for part, v, part_of_grad_k in reversed(
        list(zip(_chunks(x), starts, parts_of_grad_k, strict=True))
    ):
        _launch(
            lif_backward,
            grad_v0.numel(),
            BACKWARD_BLOCK,
            x[part],
            v,
            k,
            None if grad_spikes is None else grad_spikes[part],
            grad_v,
            grad_x[part],
            grad_v0,
            part_of_grad_k,
            **_steps(x[part]),
            DETACH_RESET=options.detach_reset,
            SURROGATE=options.surrogate,
            ALPHA=options.alpha,
            **_fixed(options),
        )
        grad_v = grad_v0
    return grad_x, grad_v0, parts_of_grad_k.sum()


def integer(
    x: Tensor, levels: int, norm: float, rounding: str, gradient: str, threshold: float = 1.0
) -> Tensor:
    """`spikedriven::integer_spike`."""
    from spikedriven.kernels.triton_neurons import integer_forward

    out = torch.empty_like(x)
    given = _arranged(divided(x, threshold) if threshold != 1.0 else x, out.stride())
    _launch(
        integer_forward,
        out.numel(),
        FORWARD_BLOCK,
        given,
        out,
        LEVELS=levels,
        NORM=norm,
        ROUNDING=rounding,
    )
    return out


def integer_backward(
    upstream: Tensor, x: Tensor, levels: int, norm: float, gradient: str, threshold: float = 1.0
) -> Tensor:
    """`spikedriven::integer_spike_backward`."""
    from spikedriven.kernels.triton_neurons import integer_backward

    out = torch.empty_like(upstream)
    given = _arranged(divided(x, threshold) if threshold != 1.0 else x, out.stride())
    tensors = _arranged(upstream, out.stride()), given, out
    divisor = norm * threshold
    _launch(
        integer_backward,
        out.numel(),
        FORWARD_BLOCK,
        *tensors,
        LEVELS=levels,
        NORM=divisor,
        GRADIENT=gradient,
    )
    return out


def register(device: str) -> None:
    """Put the kernels behind the operators on one kind of device."""
    lif_op.register_kernel(device, lif)
    lif_backward_op.register_kernel(device, lif_backward)
    integer_spike.register_kernel(device, integer)
    integer_spike_backward.register_kernel(device, integer_backward)


if find_spec("triton") is not None:
    register("cuda")
