"""The neurons as Triton kernels: all time steps of one element in registers, one pass over memory
each way.

The expressions are those of `dynamics` and `naive`, in the same order and with the same roundings,
so that spikes and membranes are equal bit by bit: true division (`_divide`), and no product and sum
fused into one rounding (`cuda`, which launches the kernels, compiles them so). Backward recomputes
the membranes in the same way.

Common arguments: one time step has ``size`` elements, and step t + 1 follows step t in memory,
except that with STILL all steps of x are the same memory. A pointer may be None. ``k`` points to
``sigmoid(w)`` of the parametric neuron; without it the leak divides by TAU. Upper-case arguments
are constants of compilation. One program works on BLOCK elements.
"""

import math

import triton
import triton.language as tl

HALF_PI: tl.constexpr = tl.constexpr(math.pi / 2.0)


@triton.jit
def _divide(a, B: tl.constexpr):
    """a / B rounded once. Triton's own ``/`` is only approximate in float32."""
    return a / B if a.dtype == tl.float64 else tl.div_rn(a, B)


@triton.jit
def _leak(difference, k, TAU: tl.constexpr):
    return _divide(difference, TAU) if k is None else difference * k


@triton.jit
def _charge(v, x, k, TAU: tl.constexpr, REST: tl.constexpr, DECAY_INPUT: tl.constexpr):
    return v + _leak(x - (v - REST), k, TAU) if DECAY_INPUT else v - _leak(v - REST, k, TAU) + x


@triton.jit
def _fire(h, V_THRESHOLD: tl.constexpr):
    return (h >= V_THRESHOLD).to(h.dtype)


@triton.jit
def _reset(h, s, V_THRESHOLD: tl.constexpr, V_RESET: tl.constexpr):
    return h - s * V_THRESHOLD if V_RESET is None else (1.0 - s) * h + s * V_RESET


@triton.jit
def _load_or(pointer, at, inside, VALUE: tl.constexpr, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    """A block of values, or VALUE where there is no pointer."""
    if pointer is None:
        block = tl.full([BLOCK], VALUE, DTYPE)
    else:
        block = tl.load(pointer + at, mask=inside, other=0.0).to(DTYPE)
    return block


@triton.jit
def lif_forward(
    x,
    v,
    k,
    spikes,
    last,
    size,
    STEPS: tl.constexpr,
    STILL: tl.constexpr,
    TAU: tl.constexpr,
    V_THRESHOLD: tl.constexpr,
    V_RESET: tl.constexpr,
    REST: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """x [STEPS, size], v [size] -> spikes [STEPS, size], last [size]. Without v: at rest. last
    may be v.
    """
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    here = at
    k = None if k is None else tl.load(k)
    membrane = _load_or(v, at, inside, REST, last.dtype.element_ty, BLOCK)
    for _ in tl.static_range(STEPS):
        x_t = tl.load(x + here, mask=inside, other=0.0).to(membrane.dtype)
        h = _charge(membrane, x_t, k, TAU, REST, DECAY_INPUT)
        s = _fire(h, V_THRESHOLD)
        membrane = _reset(h, s, V_THRESHOLD, V_RESET)
        if spikes is not None:
            tl.store(spikes + at, s, mask=inside)
        at += size
        if not STILL:
            x += size
    tl.store(last + here, membrane, mask=inside)


@triton.jit
def _surrogate_gradient(u, upstream, SURROGATE: tl.constexpr, ALPHA: tl.constexpr):
    """The upstream gradient times the slope at u (`surrogate`)."""
    if SURROGATE == "sigmoid":
        y = tl.sigmoid(u * ALPHA)
        gradient = upstream * (1.0 - y) * y * ALPHA
    else:
        tl.static_assert(SURROGATE == "atan")
        z = u * (HALF_PI * ALPHA)
        gradient = 1.0 / (z * z + 1.0) * (ALPHA / 2.0) * upstream
    return gradient


@triton.jit
def _grad_charged(
    grad_s, grad_v, h, V_THRESHOLD: tl.constexpr, V_RESET: tl.constexpr, DETACH_RESET: tl.constexpr,
    SURROGATE: tl.constexpr, ALPHA: tl.constexpr,
):  # fmt: skip
    """dL/dH_t from the gradients arriving at S_t and V_t."""
    if DETACH_RESET:
        upstream = grad_s
    elif V_RESET is None:
        upstream = grad_s - grad_v * V_THRESHOLD
    else:
        upstream = grad_s - grad_v * (h - V_RESET)
    grad_h = _surrogate_gradient(h - V_THRESHOLD, upstream, SURROGATE, ALPHA)
    if V_RESET is None:
        grad_h += grad_v
    else:
        grad_h += grad_v * (1.0 - _fire(h, V_THRESHOLD))
    return grad_h


@triton.jit
def lif_backward(
    x,
    v,
    k,
    grad_spikes,
    grad_v,
    grad_x,
    grad_v0,
    grad_k,
    size,
    STEPS: tl.constexpr,
    STILL: tl.constexpr,
    TAU: tl.constexpr,
    V_THRESHOLD: tl.constexpr,
    V_RESET: tl.constexpr,
    REST: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    DETACH_RESET: tl.constexpr,
    SURROGATE: tl.constexpr,
    ALPHA: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad_spikes [STEPS, size], grad_v [size] -> grad_x [STEPS, size], grad_v0 [size], grad_k
    [programs].

    A gradient without a pointer is zero. grad_k is each program's part of the gradient of k.
    grad_v0 may be grad_v.
    """
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    here = at
    k = None if k is None else tl.load(k)
    membrane = _load_or(v, at, inside, REST, grad_v0.dtype.element_ty, BLOCK)
    # H_t of every step, in registers, and dH_t/dk, where there is k (types as comments: Triton
    # would run annotations)
    charged = ()  # type: tuple[object, ...]
    leaking = ()  # type: tuple[object, ...]
    for _ in tl.static_range(STEPS):
        x_t = tl.load(x + here, mask=inside, other=0.0).to(membrane.dtype)
        h = _charge(membrane, x_t, k, TAU, REST, DECAY_INPUT)
        charged = charged + (h,)  # noqa: RUF005  (Triton knows no unpacking)
        if k is not None:
            slope = x_t - (membrane - REST) if DECAY_INPUT else REST - membrane
            leaking = leaking + (slope,)  # noqa: RUF005
        membrane = _reset(h, _fire(h, V_THRESHOLD), V_THRESHOLD, V_RESET)
        at += size
        if not STILL:
            x += size
    carry = _load_or(grad_v, here, inside, 0.0, membrane.dtype, BLOCK)
    total = tl.zeros([BLOCK], membrane.dtype)
    for i in tl.static_range(STEPS):
        at -= size
        grad_s = _load_or(grad_spikes, at, inside, 0.0, membrane.dtype, BLOCK)
        grad_h = _grad_charged(
            grad_s,
            carry,
            charged[STEPS - 1 - i],
            V_THRESHOLD,
            V_RESET,
            DETACH_RESET,
            SURROGATE,
            ALPHA,
        )
        leaked = _leak(grad_h, k, TAU)
        tl.store(grad_x + at, leaked if DECAY_INPUT else grad_h, mask=inside)
        if k is not None:
            total += grad_h * leaking[STEPS - 1 - i]
        carry = grad_h - leaked
    tl.store(grad_v0 + here, carry, mask=inside)
    if k is not None:
        tl.store(grad_k + tl.program_id(0), tl.sum(total, axis=0))


@triton.jit
def _widen(block):
    """Half precision is computed in float32 and rounded once, when it is stored."""
    return block if block.dtype == tl.float64 else block.to(tl.float32)


@triton.jit
def integer_forward(
    x,
    out,
    size,
    LEVELS: tl.constexpr,
    NORM: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """x [size] -> round(clamp(x, 0, LEVELS)) / NORM [size]."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    wide = _widen(tl.load(x + at, mask=inside, other=0.0))
    clamped = tl.where(
        wide < 0, 0.0, tl.where(wide > LEVELS, LEVELS * 1.0, wide)
    )  # not a number stays so
    if ROUNDING == "half_even":
        below = tl.floor(clamped)
        odd = below - 2.0 * tl.floor(below * 0.5)
        beyond = clamped - below
        counts = below + tl.where((beyond > 0.5) | ((beyond == 0.5) & (odd == 1.0)), 1.0, 0.0)
    else:
        tl.static_assert(ROUNDING == "half_up")
        counts = tl.floor(clamped + 0.5)
    tl.store(out + at, _divide(counts, NORM), mask=inside)


@triton.jit
def integer_backward(
    upstream,
    x,
    out,
    size,
    LEVELS: tl.constexpr,
    NORM: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """upstream [size] / NORM where the gradient convention lets it pass, else 0."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    wide = _widen(tl.load(x + at, mask=inside, other=0.0))
    passed = _divide(_widen(tl.load(upstream + at, mask=inside, other=0.0)), NORM)
    if GRADIENT == "inclusive":
        through = (wide >= 0) & (wide <= LEVELS)
    else:
        tl.static_assert(GRADIENT == "strict")
        through = (wide > 0) & (wide < LEVELS)
    tl.store(out + at, tl.where(through, passed, 0.0), mask=inside)
