"""The engine in plain NumPy and torch: what every operation computes, to the bit. Runs where nothing was compiled.

Integer sums are exact in any order (computed here in float64, which holds them exactly); everything else is float32,
one operation at a time, in a stated order.
"""

from collections.abc import Callable
from functools import singledispatchmethod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from spikedriven.engine.program import (
    Fire,
    Head,
    Image,
    IntegerSpec,
    LIFSpec,
    LinearAttention,
    MaskedAttention,
    NeuronSpec,
    Plan,
    Pool,
    SpaceMean,
    Sum,
    TimeMean,
    WeightLayer,
)

Array = NDArray[Any]
f32 = np.float32


def run_twin(plan: Plan, sample: Array) -> dict[int, Array]:
    """One sample, float32 [steps, C, H, W] -> every map of the plan, [steps, height, width, channels]."""
    run = _Run(plan, sample)
    for operation in plan.operations:
        run.do(operation)
    return run.maps


class _Run:
    def __init__(self, plan: Plan, sample: Array) -> None:
        self.plan, self.sample = plan, sample
        self.maps: dict[int, Array] = {}

    @singledispatchmethod
    def do(self, operation: Any) -> None:
        raise NotImplementedError(type(operation).__name__)

    @do.register
    def _(self, operation: Image) -> None:
        self.maps[operation.out] = self.sample.transpose(0, 2, 3, 1)

    @do.register
    def _(self, layer: WeightLayer) -> None:
        source = self.maps[layer.source]
        sums = _float_sums(source, layer) if layer.mode == "float" else _integer_sums(source, layer)
        real = sums * layer.scale + layer.bias
        if layer.residual is not None:
            real = real + self.maps[layer.residual]
        if layer.real is not None:
            self.maps[layer.real] = real
        if layer.spikes is not None:
            assert layer.neuron is not None
            self.maps[layer.spikes] = self.spikes(real, layer.neuron)

    @do.register
    def _(self, operation: Fire) -> None:
        self.maps[operation.out] = self.spikes(self.maps[operation.source], operation.neuron)

    @do.register
    def _(self, pool: Pool) -> None:
        maps = torch.from_numpy(self.maps[pool.source]).permute(0, 3, 1, 2)
        # float32 holds counts exactly; torch pads with the lowest value
        pooled = F.max_pool2d(maps.float(), pool.kernel, pool.step, pool.pad).permute(0, 2, 3, 1)
        self.maps[pool.out] = pooled.to(maps.dtype).numpy()

    @do.register
    def _(self, attention: MaskedAttention) -> None:
        q, k, v = (self.maps[x] for x in (attention.q, attention.k, attention.v))
        head = q.shape[-1] // attention.heads if attention.heads else 0
        product = _plane_max(k * v, head) if head else k * v
        sums = product.astype(np.int32).sum(axis=(1, 2), keepdims=True)
        masked = q * self.spikes(sums.astype(f32), attention.neuron)
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
        self.maps[attention.out] = self.spikes(real, attention.neuron)

    @do.register
    def _(self, operation: SpaceMean) -> None:
        source = self.maps[operation.source]
        rows = source.reshape(source.shape[0], -1, source.shape[-1])
        total = np.add.accumulate(rows, axis=1, dtype=f32)[:, -1]
        self.maps[operation.out] = (total / f32(rows.shape[1]))[:, None, None]

    @do.register
    def _(self, head: Head) -> None:
        source = self.maps[head.source][:, 0, 0]
        inputs = source if source.dtype == f32 else source.astype(f32) * f32(head.unit)
        total = np.zeros((len(inputs), len(head.bias)), dtype=f32)
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
        self.maps[operation.out] = (self.maps[operation.a] + self.maps[operation.b]) * f32(
            operation.factor
        )

    def spikes(self, real: Array, neuron: NeuronSpec) -> Array:
        """Real values [1 or T, ...] -> counts, uint8."""
        if isinstance(neuron, IntegerSpec):
            return _count(real, neuron)
        return _fire(np.broadcast_to(real, (self.plan.time_steps, *real.shape[1:])), neuron)


def _integer_sums(source: Array, layer: WeightLayer) -> Array:
    maps = torch.from_numpy(source.astype(np.float64)).permute(0, 3, 1, 2)
    weight = torch.from_numpy(layer.weight.astype(np.float64))
    groups = source.shape[-1] if layer.mode == "depthwise" else 1
    sums = F.conv2d(maps, weight, None, layer.step, layer.pad, 1, groups)
    return sums.permute(0, 2, 3, 1).numpy().astype(np.int32).astype(f32)


def _float_sums(source: Array, layer: WeightLayer) -> Array:
    kernel_h, kernel_w = layer.weight.shape[2:]
    padded = np.pad(source, ((0, 0), (layer.pad,) * 2, (layer.pad,) * 2, (0, 0)))
    height = (padded.shape[1] - kernel_h) // layer.step + 1
    width = (padded.shape[2] - kernel_w) // layer.step + 1
    total = np.zeros((len(source), height, width, len(layer.weight)), dtype=f32)
    for y, x, c in np.ndindex(kernel_h, kernel_w, source.shape[-1]):
        rows, columns = (
            slice(y, y + height * layer.step, layer.step),
            slice(x, x + width * layer.step, layer.step),
        )
        total = (
            total + padded[:, rows, columns, c][:, :height, :width, None] * layer.weight[:, c, y, x]
        )
    return total


def _fire(real: Array, neuron: LIFSpec) -> Array:
    leak, threshold, rest = f32(neuron.leak), f32(neuron.threshold), f32(neuron.rest)
    leaked: Callable[[Array], Array] = (
        (lambda x: x * leak) if neuron.parametric else (lambda x: x / leak)
    )
    v = np.full(real.shape[1:], rest, dtype=f32)
    spikes = np.empty(real.shape, dtype=np.uint8)
    for t, x in enumerate(real):
        above = v - rest
        h = v + leaked(x - above) if neuron.decay_input else (v - leaked(above)) + x
        fired = h >= threshold
        v = np.where(fired, rest if neuron.hard_reset else h - threshold, h)
        spikes[t] = fired
    return spikes


def _count(real: Array, neuron: IntegerSpec) -> Array:
    clamped = np.clip(real, f32(0), f32(neuron.levels))
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
    planes = maps.reshape(steps, height * width, channels // head, head).swapaxes(1, 2).astype(f32)
    pooled = F.max_pool2d(torch.from_numpy(planes), 3, 1, 1).numpy().swapaxes(1, 2)
    return pooled.reshape(maps.shape).astype(np.uint8)
