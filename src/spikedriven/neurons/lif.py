"""``spikedriven::lif``: the LIF neuron as one operator of torch.

Registered with torch.library, so that `torch.export` keeps each neuron as one node, `torch.compile(fullgraph=True)`
takes it, and faster implementations stand behind the same name (`native_cpu.py`). What is here works for every dtype
and device: forward and backward written out by hand, in a few buffers that every time step reuses (fresh memory costs
more than the arithmetic); `naive.py` is the readable version that tests hold all of them equal to. The backward pass
recomputes membranes instead of storing one per step.
"""

from typing import cast

import torch
from torch import Tensor

from spikedriven.neurons import native_cpu
from spikedriven.neurons.dynamics import LIFOptions, membrane_dtype
from spikedriven.neurons.surrogate import SURROGATES


@torch.library.custom_op("spikedriven::lif", mutates_args=(), tags=[torch.Tag.needs_exact_strides])
def lif_op(
    x: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    tau: float,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: str,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """x: [T, ...], v: [...] or None (at rest), w: scalar or None. Returns spikes [T, ...], last membrane [...]."""
    options = LIFOptions(tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha)
    if native_cpu.takes(x):
        return native_cpu.lif_forward(x, v, w, options)
    k = None if w is None else torch.sigmoid(w)
    spikes, membrane = torch.empty_like(x), torch.empty_like(x[0], dtype=membrane_dtype(x))
    h = torch.empty_like(membrane)
    for s, x_t in zip(spikes, x.to(membrane.dtype), strict=True):
        _charge(h, v, x_t, options, k)
        torch.ge(h, v_threshold, out=s)
        v = _reset(membrane, h, s, options)
    return spikes, membrane


def _charge(h: Tensor, v: Tensor | None, x: Tensor, options: LIFOptions, k: Tensor | None) -> None:
    """`dynamics.charge` into the buffer h, with the same roundings."""
    if v is None:
        _leak(h, x, options, k) if options.decay_input else h.copy_(x)
        if options.rest:
            h.add_(options.rest)
    elif options.decay_input:
        torch.sub(x, torch.sub(v, options.rest, out=h) if options.rest else v, out=h)
        _leak(h, h, options, k).add_(v)
    else:
        _leak(h, torch.sub(v, options.rest, out=h), options, k)
        torch.sub(v, h, out=h).add_(x)


def _leak(out: Tensor, difference: Tensor, options: LIFOptions, k: Tensor | None) -> Tensor:
    return (
        torch.div(difference, options.tau, out=out)
        if k is None
        else torch.mul(difference, k, out=out)
    )


def _reset(membrane: Tensor, h: Tensor, s: Tensor, options: LIFOptions) -> Tensor:
    """V_t from H_t and S_t into the buffer ``membrane``. Exact, because s is 0 or 1."""
    s = s.to(h.dtype)
    if options.v_reset is None:
        return torch.sub(h, s, alpha=options.v_threshold, out=membrane)
    torch.addcmul(h, h, s, value=-1, out=membrane)
    return membrane.add_(s, alpha=options.v_reset) if options.v_reset else membrane


@lif_op.register_fake
def _(x, v, w, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha):
    return torch.empty_like(x), torch.empty_like(x[0], dtype=membrane_dtype(x))


@torch.library.custom_op(
    "spikedriven::lif_backward", mutates_args=(), tags=[torch.Tag.needs_exact_strides]
)
def lif_backward_op(
    grad_spikes: Tensor | None,
    grad_v: Tensor | None,
    x: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    tau: float,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: str,
    alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x [T, ...], of v [...] and of w (0-dim; zero without w), by the recursion over t = T..1."""
    options = LIFOptions(tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha)
    if native_cpu.takes(x):
        return native_cpu.lif_backward(grad_spikes, grad_v, x, v, w, options)
    k = None if w is None else torch.sigmoid(w)
    inputs = x.to(membrane_dtype(x))
    charged = torch.empty_like(inputs)
    before = _recompute(charged, inputs, v, options, k)
    grad_x, grad_k = torch.empty_like(x), inputs.new_zeros(())
    grad_h, leaked, carry = (torch.empty_like(charged[0]) for _ in range(3))
    for t in reversed(range(x.shape[0])):
        _grad_charged(
            grad_h,
            None if grad_spikes is None else grad_spikes[t],
            grad_v,
            charged[t],
            leaked,
            options,
        )
        _leak(leaked, grad_h, options, k)
        grad_x[t] = leaked if decay_input else grad_h
        grad_v = torch.sub(grad_h, leaked, out=carry)
        if k is not None:
            grad_k = grad_k + _grad_leak(grad_h, inputs[t], before[t], options)
    grad_w = grad_k if k is None or w is None else (grad_k * (1.0 - k) * k).to(w.dtype)
    return grad_x, carry, grad_w.reshape(())


def _recompute(
    charged: Tensor, x: Tensor, v: Tensor | None, options: LIFOptions, k: Tensor | None
) -> list:
    """H_t into charged [T, ...], as in the forward pass. Returns V_{t-1} for every t, where w needs it."""
    before, s, membrane = [], torch.empty_like(charged[0]), torch.empty_like(charged[0])
    for h, x_t in zip(charged, x, strict=True):
        before.append(v if v is None or k is None else v.clone())
        _charge(h, v, x_t, options, k)
        torch.ge(h, options.v_threshold, out=s)
        v = _reset(membrane, h, s, options)
    return before


def _grad_charged(
    out: Tensor,
    grad_s: Tensor | None,
    grad_v: Tensor | None,
    h: Tensor,
    silent: Tensor,
    options: LIFOptions,
) -> None:
    """dL/dH_t into ``out`` from the gradients arriving at S_t and V_t. silent: a buffer."""
    upstream = torch.zeros_like(h) if grad_s is None else grad_s.to(h.dtype)
    if grad_v is not None and not options.detach_reset:
        jump = options.v_threshold if options.v_reset is None else h - options.v_reset
        upstream = upstream - grad_v * jump
    alpha = cast(float, options.alpha)  # the options have resolved it
    SURROGATES[options.surrogate](torch.sub(h, options.v_threshold, out=out), alpha, upstream, out)
    if grad_v is not None and options.v_reset is None:
        out.add_(grad_v)
    elif grad_v is not None:
        out.addcmul_(grad_v, torch.lt(h, options.v_threshold, out=silent))


def _grad_leak(grad_h: Tensor, x: Tensor, before: Tensor | None, options: LIFOptions) -> Tensor:
    above_rest = 0.0 if before is None else before - options.rest
    return (
        grad_h * (x - above_rest if options.decay_input else torch.zeros_like(x) - above_rest)
    ).sum()


@lif_backward_op.register_fake
def _(
    grad_spikes,
    grad_v,
    x,
    v,
    w,
    tau,
    v_threshold,
    v_reset,
    decay_input,
    detach_reset,
    surrogate,
    alpha,
):
    dtype = membrane_dtype(x)
    grad_w = torch.empty((), dtype=dtype if w is None else w.dtype, device=x.device)
    return torch.empty_like(x), torch.empty_like(x[0], dtype=dtype), grad_w


def _setup_context(ctx, inputs, output) -> None:
    x, v, w, *ctx.options = inputs
    ctx.has_v, ctx.has_w = v is not None, w is not None
    ctx.save_for_backward(x, v, w)
    ctx.set_materialize_grads(False)


def _backward(ctx, grad_spikes, grad_v):
    x, v, w = ctx.saved_tensors
    grad_x, grad_v0, grad_w = lif_backward_op(grad_spikes, grad_v, x, v, w, *ctx.options)
    return (
        grad_x,
        grad_v0 if ctx.has_v else None,
        grad_w if ctx.has_w else None,
        *[None] * len(ctx.options),
    )


lif_op.register_autograd(_backward, setup_context=_setup_context)


def lif(
    x: Tensor, v: Tensor | None = None, w: Tensor | None = None, options: LIFOptions = LIFOptions()
) -> tuple[Tensor, Tensor]:
    """The operator with its options as one value. Shapes as `lif_naive`; returns spikes and the last membrane."""
    return lif_op(
        x, v, w, options.tau, options.v_threshold, options.v_reset, options.decay_input, options.detach_reset,
        options.surrogate, options.alpha,
    )  # fmt: skip
