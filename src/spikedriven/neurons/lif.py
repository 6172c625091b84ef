"""The leaky integrate-and-fire neuron: ``spikedriven::lif``, one operator of torch, and the module
`LIF`.

Registered with torch.library, so that `torch.export` keeps each neuron as one node,
`torch.compile(fullgraph=True)` takes it, and faster implementations stand behind the same name
(`on_cpu.py`). What is here works for every dtype and device: forward and backward written out by
hand, in a few buffers that every time step reuses (fresh memory costs more than the arithmetic);
`naive.py` is the readable version that tests hold all of them equal to. The backward pass
recomputes membranes instead of storing one per step.
"""

import math
from typing import cast

import torch
from torch import Tensor

from spikedriven.kernels import arrays
from spikedriven.kernels.followed import written_out
from spikedriven.kernels.spec import LIFSpec
from spikedriven.neurons import on_cpu
from spikedriven.neurons.base import Compiled, Neuron
from spikedriven.neurons.dynamics import LIFOptions, membrane_dtype
from spikedriven.neurons.naive import lif_naive
from spikedriven.neurons.registry import register_neuron
from spikedriven.neurons.surrogate import surrogate_named


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
    """x: [T, ...], v: [...] or None (at rest), w: scalar or None. Returns spikes [T, ...], last
    membrane [...].
    """
    options = LIFOptions(tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha)
    if arrays.takes(x):
        return on_cpu.lif_forward(x, v, w, options)
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
    """Gradients of x [T, ...], of v [...] and of w (0-dim; zero without w)."""
    options = LIFOptions(tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha)
    if arrays.takes(x) and surrogate in on_cpu.SURROGATES:
        return on_cpu.lif_backward(grad_spikes, grad_v, x, v, w, options)
    return lif_backward_plain(grad_spikes, grad_v, x, v, w, options)


def lif_backward_plain(
    grad_spikes: Tensor | None,
    grad_v: Tensor | None,
    x: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    options: LIFOptions,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with every dtype, device and surrogate, by the recursion over t = T..1."""
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
        grad_x[t] = leaked if options.decay_input else grad_h
        grad_v = torch.sub(grad_h, leaked, out=carry)
        if k is not None:
            grad_k = grad_k + _grad_leak(grad_h, inputs[t], before[t], options)
    grad_w = grad_k if k is None or w is None else (grad_k * (1.0 - k) * k).to(w.dtype)
    return grad_x, carry, grad_w.reshape(())


def _recompute(
    charged: Tensor, x: Tensor, v: Tensor | None, options: LIFOptions, k: Tensor | None
) -> list:
    """H_t into charged [T, ...], as in the forward pass. Returns V_{t-1} for every t, where w
    needs it.
    """
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
    gradient = surrogate_named(options.surrogate).gradient
    gradient(torch.sub(h, options.v_threshold, out=out), alpha, upstream, out)
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
    """The operator with its options as one value. Shapes as `lif_naive`; returns spikes and the
    last membrane.

    Under transformations of torch.func, for forward-mode derivatives and in an ONNX file, the
    readable neuron computes the same.
    """
    if written_out():
        spikes, _, membrane = lif_naive(x, v, w, options)
        return spikes, membrane
    return lif_op(
        x,
        v,
        w,
        options.tau,
        options.v_threshold,
        options.v_reset,
        options.decay_input,
        options.detach_reset,
        options.surrogate,
        options.alpha,
    )


def lif_spec(options: LIFOptions, w: Tensor | None = None) -> LIFSpec:
    """The constants as float32 holds them. Without a leak (tau infinite) the leak is a factor
    of 0.
    """
    factor = (
        0.0
        if math.isinf(options.tau)
        else None
        if w is None
        else torch.sigmoid(w.detach().float()).item()
    )
    leak, threshold, rest = (
        torch.tensor(value, dtype=torch.float32).item()
        for value in (options.tau if factor is None else factor, options.v_threshold, options.rest)
    )
    hard_reset = options.v_reset is not None
    return LIFSpec(leak, threshold, rest, hard_reset, options.decay_input, factor is not None)


@register_neuron("lif")
class LIF(Neuron):
    """Leaky integrate-and-fire neuron with binary output.

    Defaults are those of all published families: tau 2, threshold 1, hard reset to 0, decayed
    input, detached reset, sigmoid surrogate with alpha 4. See `dynamics.py` for the equations and
    each option.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
        detach_reset: bool = True,
        surrogate: str = "sigmoid",
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.set_up(
            LIFOptions(tau, v_threshold, v_reset, decay_input, detach_reset, surrogate, alpha)
        )

    def set_up(self, options: LIFOptions) -> None:
        """What a neuron of this kind makes of its options when it is built: here it keeps them."""
        self.options = options

    def time_constant(self) -> Tensor | None:
        """The scalar w with 1/tau = sigmoid(w); None where tau is fixed."""
        return None

    def rescale(self, factor: float) -> None:
        """As the base class: threshold, reset and surrogate move along."""
        self.options = self.options.rescaled(factor)

    def spec(self) -> LIFSpec:
        """Its constants, as float32 holds them."""
        return lif_spec(self.options, self.time_constant())

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, ...] current; returns spikes [T, ...] in {0, 1}, same dtype."""
        spikes, membrane = lif(x, self.membrane, self.time_constant(), self.options)
        self.keep(membrane=membrane)
        return spikes

    def readable(self, x: Tensor) -> Tensor:
        return lif_naive(x, None, self.time_constant(), self.options)[0]

    def compiled(self) -> Compiled | None:
        """None for a surrogate that the kernels lack, and for a class with a forward of its own."""
        options = self.options
        if type(self).forward is not LIF.forward or options.surrogate not in on_cpu.SURROGATES:
            return None
        return Compiled(
            neuron=lambda w: on_cpu.lif_neuron(options, w),
            slope=lambda w: on_cpu.lif_slope(options, w),
            time_constant=self.time_constant(),
        )

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in vars(self.options).items())
