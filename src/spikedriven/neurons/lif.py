"""``spikedriven::lif``: the LIF neuron as one operator of torch.

Registered with torch.library, so that `torch.export` keeps each neuron as one node, `torch.compile(fullgraph=True)`
takes it, and a faster implementation can be put behind the same name. Forward and backward are written out by hand;
`naive.py` is the readable version that tests hold them equal to. The backward pass recomputes membranes from the
input instead of storing one per step.
"""

import torch
from torch import Tensor

from spikedriven.neurons.dynamics import LIFOptions, charge, leak, membrane_dtype
from spikedriven.neurons.surrogate import SURROGATES


@torch.library.custom_op("spikedriven::lif", mutates_args=())
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
    spikes = torch.empty_like(x)
    k = None if w is None else torch.sigmoid(w)
    for t, x_t in enumerate(x.to(membrane_dtype(x)).unbind(0)):
        h = charge(v, x_t, options, k)
        fired = h >= v_threshold
        spikes[t] = fired
        v = _reset(h, fired, options)
    # An operator may not return one of its inputs, which `charge` can (no decay, no leak yet).
    return spikes, v.clone()


def _reset(h: Tensor, fired: Tensor, options: LIFOptions) -> Tensor:
    if options.v_reset is None:
        return h - fired.to(h.dtype) * options.v_threshold
    return h.masked_fill(fired, options.v_reset)


@lif_op.register_fake
def _(x, v, w, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha):
    return torch.empty_like(x), torch.empty_like(x[0], dtype=membrane_dtype(x))


@torch.library.custom_op("spikedriven::lif_backward", mutates_args=())
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
    k = None if w is None else torch.sigmoid(w)
    inputs = x.to(membrane_dtype(x))
    charged, before = _membranes(inputs, v, options, k)
    grad_x, grad_k = torch.empty_like(x), inputs.new_zeros(())
    for t in reversed(range(x.shape[0])):
        upstream = torch.zeros_like(charged[t]) if grad_spikes is None else grad_spikes[t].to(charged[t].dtype)
        grad_h = _grad_charged(upstream, grad_v, charged[t], options)
        leaked = leak(grad_h, options, k)
        grad_x[t] = leaked if decay_input else grad_h
        grad_v = grad_h - leaked
        if k is not None:
            grad_k = grad_k + _grad_leak(grad_h, inputs[t], before[t], options)
    grad_w = grad_k if k is None else (grad_k * (1.0 - k) * k).to(w.dtype)
    return grad_x, grad_v, grad_w.reshape(())


def _membranes(x: Tensor, v: Tensor | None, options: LIFOptions, k: Tensor | None) -> tuple[list[Tensor], list]:
    """H_t and V_{t-1} for every t, as in the forward pass."""
    charged, before = [], []
    for x_t in x.unbind(0):
        before.append(v)
        h = charge(v, x_t, options, k)
        charged.append(h)
        v = _reset(h, h >= options.v_threshold, options)
    return charged, before


def _grad_charged(upstream: Tensor, grad_v: Tensor | None, h: Tensor, options: LIFOptions) -> Tensor:
    """dL/dH_t from the gradients arriving at S_t and V_t."""
    slope = SURROGATES[options.surrogate]
    u = h - options.v_threshold
    if grad_v is None:
        return slope(u, options.alpha, upstream)
    if not options.detach_reset:
        jump = options.v_threshold if options.v_reset is None else h - options.v_reset
        upstream = upstream - grad_v * jump
    kept = grad_v if options.v_reset is None else grad_v.masked_fill(u >= 0, 0.0)
    return slope(u, options.alpha, upstream) + kept


def _grad_leak(grad_h: Tensor, x: Tensor, before: Tensor | None, options: LIFOptions) -> Tensor:
    above_rest = 0.0 if before is None else before - options.rest
    return (grad_h * (x - above_rest if options.decay_input else torch.zeros_like(x) - above_rest)).sum()


@lif_backward_op.register_fake
def _(grad_spikes, grad_v, x, v, w, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha):
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
    return grad_x, grad_v0 if ctx.has_v else None, grad_w if ctx.has_w else None, *[None] * len(ctx.options)


lif_op.register_autograd(_backward, setup_context=_setup_context)


def lif(
    x: Tensor, v: Tensor | None = None, w: Tensor | None = None, options: LIFOptions = LIFOptions()
) -> tuple[Tensor, Tensor]:
    """The operator with its options as one value. Shapes as `lif_naive`; returns spikes and the last membrane."""
    return lif_op(
        x, v, w, options.tau, options.v_threshold, options.v_reset, options.decay_input, options.detach_reset,
        options.surrogate, options.alpha,
    )  # fmt: skip
