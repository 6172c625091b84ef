"""The engine in plain NumPy: what every operation computes, to the bit. Runs where nothing was
compiled.

Integer sums are exact in any order (computed here in float64, which holds them exactly); everything
else is float32, one operation at a time, in a stated order.
"""

from collections.abc import Sequence
from functools import singledispatchmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.program import (
    JOINED,
    Affine,
    Concat,
    Constant,
    Fire,
    Head,
    Image,
    LinearAttention,
    MaskedAttention,
    Pick,
    Plan,
    Pool,
    Product,
    Quotient,
    Rearrange,
    Relu,
    Resize,
    Sum,
    TimeMean,
    WeightLayer,
)
from spikedriven.kernels.spec import IntegerSpec, LIFSpec, NeuronSpec

Array = NDArray[Any]
f32 = np.float32


def run_twin(plan: Plan, inputs: Sequence[Array]) -> dict[int, Array]:
    """One sample -> every map of the plan, [steps, height, width, channels]. inputs: the maps that
    come from outside, float32, in the order of ``plan.inputs``.
    """
    run = _Run(plan, inputs)
    for operation in plan.operations:
        run.do(operation)
    return run.maps


class _Run:
    def __init__(self, plan: Plan, inputs: Sequence[Array]) -> None:
        self.plan, self.inputs = plan, inputs
        self.maps: dict[int, Array] = {}

    def value(self, index: int) -> Array:
        """A map as real values."""
        found = self.maps[index]
        return found if found.dtype == f32 else found.astype(f32) * f32(self.plan.maps[index].unit)

    def spikes(self, real: Array, operation: Any) -> Array:
        """Real values [1 or T, ...] -> counts, uint8, of an operation's neuron; its membrane is
        kept where asked.
        """
        neuron: NeuronSpec = operation.neuron
        if isinstance(neuron, IntegerSpec):
            return _count(real, neuron)
        x = np.broadcast_to(real, (self.plan.time_steps, *real.shape[1:]))
        start = None if operation.before is None else self.maps[operation.before][0]
        spikes, membrane = _fire(x, neuron, start)
        if operation.after is not None:
            self.maps[operation.after] = membrane[None]
        return spikes

    @singledispatchmethod
    def do(self, operation: Any) -> None:
        raise NotImplementedError(type(operation).__name__)

    @do.register
    def _(self, operation: Image) -> None:
        self.maps[operation.out] = np.ascontiguousarray(self.inputs[operation.index])

    @do.register
    def _(self, operation: Constant) -> None:
        self.maps[operation.out] = operation.value[None]

    @do.register
    def _(self, layer: WeightLayer) -> None:
        source = self.maps[layer.source]
        is_float = layer.mode == "float"
        sums = (
            _float_sums(self.value(layer.source), layer)
            if is_float
            else _integer_sums(source, layer)
        )
        real = sums * layer.scale + layer.bias
        if layer.residual is not None:
            real = real + self.maps[layer.residual]
        if layer.real is not None:
            self.maps[layer.real] = real
        if layer.spikes is not None:
            self.maps[layer.spikes] = self.spikes(real, layer)

    @do.register
    def _(self, operation: Fire) -> None:
        self.maps[operation.out] = self.spikes(self.maps[operation.source], operation)

    @do.register
    def _(self, pool: Pool) -> None:
        source = self.maps[pool.source]
        self.maps[pool.out] = (
            _largest(source, pool)
            if pool.how == "max"
            else _means(source, pool, self.plan.maps[pool.source].unit)
        )

    @do.register
    def _(self, attention: MaskedAttention) -> None:
        q, k, v = (self.maps[x] for x in (attention.q, attention.k, attention.v))
        head = q.shape[-1] // attention.heads if attention.heads else 0
        product = _plane_max(k * v, head) if head else k * v
        sums = product.astype(np.int32).sum(axis=(1, 2), keepdims=True)
        masked = q * self.spikes(sums.astype(f32), attention)
        self.maps[attention.out] = _plane_max(masked, head) if head else masked

    @do.register
    def _(self, attention: LinearAttention) -> None:
        q, k, v = (
            _heads(self.maps[x], attention.heads) for x in (attention.q, attention.k, attention.v)
        )
        sums = (q @ (k.swapaxes(-1, -2) @ v)).astype(np.int32)
        steps, height, width, channels = self.maps[attention.v].shape
        real = sums.swapaxes(1, 2).reshape(steps, height, width, channels).astype(f32) * f32(
            attention.scale
        )
        self.maps[attention.out] = (
            real if attention.neuron is None else self.spikes(real, attention)
        )

    @do.register
    def _(self, head: Head) -> None:
        inputs = self.value(head.source)[:, 0, 0]
        total: Array = np.zeros((len(inputs), len(head.bias)), dtype=f32)
        for i in range(inputs.shape[1]):
            total = total + inputs[:, i : i + 1] * head.weight[:, i]
        self.maps[head.out] = (total + head.bias)[:, None, None]

    @do.register
    def _(self, operation: TimeMean) -> None:
        source = self.maps[operation.source]
        total = np.add.accumulate(source, axis=0, dtype=f32)[-1:]
        self.maps[operation.out] = total / f32(len(source))

    @do.register
    def _(self, operation: Sum) -> None:
        if self.plan.maps[operation.out].kind == "spikes":
            self.maps[operation.out] = np.add(*self.broadcast(operation, self.maps.__getitem__))
        else:
            self.maps[operation.out] = np.add(*self.broadcast(operation, self.value)) * f32(
                operation.factor
            )

    @do.register
    def _(self, operation: Product) -> None:
        counts = self.plan.maps[operation.out].kind == "spikes"
        read = self.maps.__getitem__ if counts else self.value
        self.maps[operation.out] = np.multiply(*self.broadcast(operation, read))

    @do.register
    def _(self, operation: Quotient) -> None:
        self.maps[operation.out] = np.divide(*self.broadcast(operation, self.maps.__getitem__))

    def broadcast(self, operation: Sum | Product | Quotient, read: Any) -> tuple[Array, Array]:
        """Both operands in the shape of the result."""
        m = self.plan.maps[operation.out]
        shape = (m.steps, m.height, m.width, m.channels)
        a, b = (
            np.repeat(x, m.channels // x.shape[-1], axis=-1)
            for x in (read(operation.a), read(operation.b))
        )
        return np.broadcast_to(a, shape), np.broadcast_to(b, shape)

    @do.register
    def _(self, operation: Relu) -> None:
        self.maps[operation.out] = np.maximum(self.maps[operation.source], f32(0))

    @do.register
    def _(self, operation: Affine) -> None:
        self.maps[operation.out] = self.value(operation.source) * operation.scale + operation.shift

    @do.register
    def _(self, operation: Pick) -> None:
        places = np.ix_(operation.steps, operation.rows, operation.columns, operation.channels)
        self.maps[operation.out] = self.maps[operation.source][places]

    @do.register
    def _(self, operation: Rearrange) -> None:
        source = self.maps[operation.source]
        self.maps[operation.out] = source.reshape(len(source), -1)[:, operation.index]

    @do.register
    def _(self, operation: Concat) -> None:
        counts = self.plan.maps[operation.out].kind == "spikes"
        parts = [self.maps[index] if counts else self.value(index) for index in operation.parts]
        steps = 1 if operation.axis == "steps" else max(len(part) for part in parts)
        parts = [np.broadcast_to(part, (steps, *part.shape[1:])) for part in parts]
        self.maps[operation.out] = np.concatenate(parts, axis=JOINED.index(operation.axis))

    @do.register
    def _(self, operation: Resize) -> None:
        source = self.value(operation.source)
        (left, right), (w0, w1) = operation.columns.T, operation.column_weights.T[:, :, None]
        (upper, lower), (h0, h1) = operation.rows.T, operation.row_weights.T[:, :, None, None]
        across = source[:, :, left] * w0 + source[:, :, right] * w1
        self.maps[operation.out] = across[:, upper] * h0 + across[:, lower] * h1


def _arranged(source: Array, layer: WeightLayer) -> Array:
    """The input with zeros between and around."""
    steps, height, width, channels = source.shape
    (down, right), (top, left, bottom, end) = layer.spread, layer.padding
    spread = np.zeros(
        (steps, (height - 1) * down + 1, (width - 1) * right + 1, channels), dtype=source.dtype
    )
    spread[:, ::down, ::right] = source
    return np.pad(spread, ((0, 0), (top, bottom), (left, end), (0, 0)))


def _integer_sums(source: Array, layer: WeightLayer) -> Array:
    padded, groups = _arranged(source, layer).astype(np.float64), layer.groups
    outputs, depth, *kernel = layer.weight.shape
    weight = layer.weight.astype(np.float64).reshape(groups, outputs // groups, depth, *kernel)
    height, width = _windows(padded, layer)
    total = np.zeros((groups, len(source) * height * width, outputs // groups))
    for y, x in np.ndindex(*kernel):
        seen = _seen(padded, layer, y, x).reshape(-1, groups, depth).swapaxes(0, 1)
        total += seen @ weight[..., y, x].swapaxes(1, 2)
    return (
        total.swapaxes(0, 1)
        .reshape(len(source), height, width, outputs)
        .astype(np.int32)
        .astype(f32)
    )


def _float_sums(source: Array, layer: WeightLayer) -> Array:
    outputs, depth, kernel_h, kernel_w = layer.weight.shape
    padded = _arranged(source, layer)
    first = (
        np.arange(outputs) * layer.groups // outputs * depth
    )  # input channel of each output channel
    total = np.zeros((len(source), *_windows(padded, layer), outputs), dtype=f32)
    for y, x, c in np.ndindex(kernel_h, kernel_w, depth):
        total = total + _seen(padded, layer, y, x)[..., first + c] * layer.weight[:, c, y, x]
    return total


def _windows(padded: Array, layer: WeightLayer) -> tuple[int, int]:
    """Height and width of a layer's output."""
    (kernel_h, kernel_w), (dy, dx), (sy, sx) = layer.weight.shape[2:], layer.dilation, layer.stride
    return (padded.shape[1] - dy * (kernel_h - 1) - 1) // sy + 1, (
        padded.shape[2] - dx * (kernel_w - 1) - 1
    ) // sx + 1


def _seen(padded: Array, layer: WeightLayer, y: int, x: int) -> Array:
    """What each window sees at one place of the kernel."""
    (dy, dx), (sy, sx), (height, width) = layer.dilation, layer.stride, _windows(padded, layer)
    rows, columns = dy * y + sy * np.arange(height), dx * x + sx * np.arange(width)
    return padded[:, rows[:, None], columns]


def _largest(source: Array, pool: Pool) -> Array:
    across = [
        _first_largest([source[:, :, x] for x in range(*pool.columns[i, :2])])
        for i in range(len(pool.columns))
    ]
    by_columns = np.stack(across, axis=2)
    down = [
        _first_largest([by_columns[:, y] for y in range(*pool.rows[i, :2])])
        for i in range(len(pool.rows))
    ]
    return np.stack(down, axis=1)


def _first_largest(places: Sequence[Array]) -> Array:
    """Of equal ones, such as zeros of both signs, the first; NaN stays."""
    best = places[0]
    for other in places[1:]:
        best = np.where((best >= other) | (best != best), best, other)
    return best


def _means(source: Array, pool: Pool, unit: float) -> Array:
    means = np.empty((len(source), len(pool.rows), len(pool.columns), source.shape[-1]), dtype=f32)
    for i, (top, bottom, rows) in enumerate(pool.rows):
        for j, (left, right, columns) in enumerate(pool.columns):
            window = source[:, top:bottom, left:right].reshape(len(source), -1, source.shape[-1])
            if source.dtype == f32:
                total = np.add.accumulate(window, axis=1, dtype=f32)[:, -1]
            else:
                total = window.sum(axis=1, dtype=np.int32).astype(f32) * f32(unit)
            means[:, i, j] = total / f32(rows * columns)
    return means


def _fire(real: Array, neuron: LIFSpec, start: Array | None) -> tuple[Array, Array]:
    """Spikes of all steps, and the membrane after the last."""
    leak, threshold, rest = f32(neuron.leak), f32(neuron.threshold), f32(neuron.rest)
    v = np.full(real.shape[1:], rest, dtype=f32) if start is None else start
    spikes = np.empty(real.shape, dtype=np.uint8)
    for t, x in enumerate(real):
        above = v - rest
        driven = x - above if neuron.decay_input else above
        leaked = driven * leak if neuron.parametric else driven / leak
        h = v + leaked if neuron.decay_input else (v - leaked) + x
        fired = h >= threshold
        v = np.where(fired, rest if neuron.hard_reset else h - threshold, h)
        spikes[t] = fired
    return spikes, v


def _count(real: Array, neuron: IntegerSpec) -> Array:
    """NaN, of sums that left float32, counts 0."""
    x = real / f32(neuron.threshold)
    clamped = np.where(x >= 0, np.minimum(x, f32(neuron.levels)), f32(0))
    return (np.floor(clamped + f32(0.5)) if neuron.half_up else np.rint(clamped)).astype(np.uint8)


def _heads(maps: Array, heads: int) -> Array:
    """[steps, H, W, C] -> float64 [steps, heads, positions, C / heads]."""
    return (
        maps.reshape(len(maps), -1, heads, maps.shape[-1] // heads)
        .swapaxes(1, 2)
        .astype(np.float64)
    )


def _plane_max(maps: Array, head: int) -> Array:
    """3x3 maximum over the plane (position in raster order, channel in head)."""
    steps, height, width, channels = maps.shape
    planes = maps.reshape(steps, height * width, channels // head, head)
    around = np.pad(planes, ((0, 0), (1, 1), (0, 0), (1, 1)))  # counts: zero changes no maximum
    tall = np.maximum.reduce([around[:, i : i + height * width] for i in range(3)])
    return np.maximum.reduce([tall[..., i : i + head] for i in range(3)]).reshape(maps.shape)
