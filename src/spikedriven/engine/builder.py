"""Collects operations while a network is lowered, and merges what belongs together.

A weight layer takes over the residual that is added to its output and the neuron that reads the sum, so that sums
never leave the registers.
"""

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from spikedriven.engine import scales
from spikedriven.engine.program import (
    READS,
    WRITES,
    Fire,
    Head,
    Image,
    IntegerSpec,
    LIFSpec,
    LinearAttention,
    Map,
    MaskedAttention,
    NeuronSpec,
    Plan,
    Pool,
    SpaceMean,
    Sum,
    TimeMean,
    WeightLayer,
    read_by,
    rows_fit,
    written_by,
)
from spikedriven.errors import InputError
from spikedriven.neurons import IntegerNeuron
from spikedriven.neurons.modules import LIF


@dataclass(frozen=True)
class Content:
    """What a map of spikes holds. unit: worth of one count; levels: the largest count."""

    unit: float = 1.0
    levels: int = 1


class Builder:
    """Maps and operations so far. weight_bits: of weights behind counts, see `scales`. where: qualified name of the
    layer at work."""

    def __init__(self, time_steps: int, input_frames: bool, weight_bits: int = 23) -> None:
        self.time_steps, self.input_frames, self.weight_bits = time_steps, input_frames, weight_bits
        self.maps: list[Map] = []
        self.content: list[Content] = []
        self.operations: list[Any] = []
        self.where = ""
        self.output, self.output_form = -1, ""

    def plan(self) -> Plan:
        """The finished program; maps that nothing reads are no longer written."""
        read = {index for operation in self.operations for index in read_by(operation)} | {
            self.output
        }
        operations = [
            replace(operation, real=None)
            if isinstance(operation, WeightLayer) and operation.real not in read
            else operation
            for operation in self.operations
        ]
        used = sorted(
            {i for operation in operations for i in read_by(operation) + written_by(operation)}
        )
        moved = {old: new for new, old in enumerate(used)}
        return Plan(
            self.time_steps, self.input_frames, tuple(self.maps[i] for i in used),
            tuple(_renumbered(operation, moved) for operation in operations), moved[self.output], self.output_form,
        )  # fmt: skip

    # Maps -------------------------------------------------------------------------------------------------------

    def image(self, shape: tuple[int, ...]) -> int:
        channels, height, width = shape
        out = self._map(
            "real", self.time_steps if self.input_frames else 1, height, width, channels
        )
        self.operations.append(Image(out))
        return out

    def _map(
        self,
        kind: str,
        steps: int,
        height: int,
        width: int,
        channels: int,
        content: Content = Content(),
    ) -> int:
        self.maps.append(Map(kind, steps, height, width, channels, self.where))
        self.content.append(content)
        return len(self.maps) - 1

    def _like(
        self, index: int, kind: str, steps: int | None = None, content: Content = Content()
    ) -> int:
        like = self.maps[index]
        steps = like.steps if steps is None else steps
        return self._map(kind, steps, like.height, like.width, like.channels, content)

    # Operations -------------------------------------------------------------------------------------------------

    def convolution(self, source: int, conv: nn.Conv2d) -> int:
        """A folded convolution, or a depthwise one; reads spikes, or real values (the image, or filtered spikes)."""
        depthwise = conv.groups > 1
        if depthwise and (conv.groups != conv.in_channels or conv.out_channels != conv.in_channels):
            raise InputError(
                f"the engine has no grouped convolution but the depthwise one, found {conv}"
            )
        kernel, step, pad = (
            _single(size, conv) for size in (conv.kernel_size, conv.stride, conv.padding)
        )
        like, content = self.maps[source], self.content[source]
        if like.kind == "real":
            if depthwise:
                raise InputError(
                    f"the engine has no depthwise convolution on real values, found one in {self.where!r}"
                )
            mode, weight, scale = (
                "float",
                conv.weight.detach().float().numpy().copy(),
                np.ones(conv.out_channels, "f4"),
            )
        else:
            mode = (
                "depthwise"
                if depthwise
                else "rows"
                if rows_fit(like.steps, content.levels)
                else "dense"
            )
            weight, steps = scales.quantized(
                conv.weight.detach().double().numpy(), content.levels, self.weight_bits
            )
            scale = scales.as_scale(steps, content.unit)
        height, width = (
            (size + 2 * pad - kernel) // step + 1 for size in (like.height, like.width)
        )
        out = self._map("real", like.steps, height, width, conv.out_channels)
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.operations.append(
            WeightLayer(
                source,
                weight,
                scale,
                bias.float().numpy().copy(),
                step,
                pad,
                content.levels,
                mode,
                real=out,
            )
        )
        return out

    def add(self, first: int, second: int) -> int:
        """Residual: merged into the layer that made one of the two last, where nothing else reads that."""
        for residual, made in ((first, second), (second, first)):
            index = self._producer(made)
            layer = None if index is None else self.operations[index]
            if (
                isinstance(layer, WeightLayer) and layer.residual is None and layer.spikes is None
                and not self._is_read(made) and index == len(self.operations) - 1
            ):  # fmt: skip
                steps = max(self.maps[residual].steps, self.maps[made].steps)
                out = self._like(made, "real", steps)
                self.operations[index] = replace(layer, residual=residual, real=out)
                return out
        return self.sum(first, second, 1.0)

    def sum(self, first: int, second: int, factor: float) -> int:
        out = self._like(first, "real", max(self.maps[first].steps, self.maps[second].steps))
        self.operations.append(Sum(first, second, out, factor))
        return out

    def fire(self, source: int, neuron: nn.Module) -> int:
        """Spikes of a real map; merged into the layer that makes it, where that has no neuron yet."""
        spec = neuron_spec(neuron)
        steps = self.time_steps if spec.kind == "lif" else self.maps[source].steps
        out = self._like(source, "spikes", steps, _counts(neuron))
        index = self._producer(source)
        layer = None if index is None else self.operations[index]
        if index is not None and isinstance(layer, WeightLayer) and layer.spikes is None:
            self.operations[index] = replace(layer, spikes=out, neuron=spec)
        else:
            self.operations.append(Fire(source, out, spec))
        return out

    def pool(self, source: int, kernel: int, step: int, pad: int) -> int:
        like = self.maps[source]
        height, width = (
            (size + 2 * pad - kernel) // step + 1 for size in (like.height, like.width)
        )
        out = self._map(like.kind, like.steps, height, width, like.channels, self.content[source])
        self.operations.append(Pool(source, out, kernel, step, pad))
        return out

    def masked_attention(self, q: int, k: int, v: int, heads: int, neuron: nn.Module) -> int:
        spec = neuron_spec(neuron)
        if spec.kind != "lif" or {self.content[x].levels for x in (q, k, v)} != {1}:
            raise InputError("mask-and-add attention is compiled for LIF neurons only")
        out = self._like(q, "spikes", self.time_steps, self.content[q])
        self.operations.append(MaskedAttention(q, k, v, out, heads, spec))
        return out

    def linear_attention(
        self, q: int, k: int, v: int, heads: int, scale: float, neuron: nn.Module
    ) -> int:
        parts = [self.content[x] for x in (q, k, v)]
        like = self.maps[q]
        channels = like.channels // heads
        largest = (
            parts[0].levels
            * parts[1].levels
            * parts[2].levels
            * like.height
            * like.width
            * channels
        )
        if largest > scales.LIMIT32:
            raise InputError(
                f"attention in {self.where!r} could sum to {largest}, more than 32 bits hold"
            )
        spec = neuron_spec(neuron)
        steps = self.time_steps if spec.kind == "lif" else self.maps[v].steps
        out = self._like(v, "spikes", steps, _counts(neuron))
        factor = float(np.float32(scale * parts[0].unit * parts[1].unit * parts[2].unit))
        self.operations.append(LinearAttention(q, k, v, out, heads, factor, spec))
        return out

    def space_mean(self, source: int) -> int:
        like = self.maps[source]
        out = self._map("real", like.steps, 1, 1, like.channels)
        self.operations.append(SpaceMean(source, out))
        return out

    def time_mean(self, source: int) -> int:
        out = self._like(source, "real", 1)
        self.operations.append(TimeMean(source, out))
        return out

    def head(self, source: int, linear: nn.Module) -> int:
        """A linear classifier, or none."""
        like = self.maps[source]
        if isinstance(linear, nn.Identity):
            eye = np.eye(like.channels, dtype=np.float32)
            weight, bias = eye, np.zeros(like.channels, dtype=np.float32)
        elif isinstance(linear, nn.Linear):
            weight = linear.weight.detach().float().numpy().copy()
            shift = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach()
            bias = shift.float().numpy().copy()
        else:
            raise InputError(f"the engine knows linear classifiers, found {type(linear).__name__}")
        if isinstance(linear, nn.Identity) and like.kind == "real":
            return source
        out = self._map("real", like.steps, 1, 1, len(weight))
        self.operations.append(Head(source, out, weight, bias, self.content[source].unit))
        return out

    def finish(self, output: int, form: str) -> None:
        self.output, self.output_form = output, form

    def _producer(self, index: int) -> int | None:
        """The operation that writes a map as its real values."""
        for i in range(len(self.operations) - 1, -1, -1):
            if index in written_by(self.operations[i]):
                return i
        return None

    def _is_read(self, index: int) -> bool:
        return any(index in read_by(operation) for operation in self.operations)


def neuron_spec(neuron: nn.Module) -> NeuronSpec:
    """The constants of a neuron, as float32 holds them."""
    if isinstance(neuron, IntegerNeuron):
        if neuron.levels > 255:
            raise InputError(
                f"the engine counts to 255, found an integer neuron with {neuron.levels} levels"
            )
        return IntegerSpec(neuron.levels, neuron.rounding == "half_up")
    assert isinstance(neuron, LIF)
    options, w = neuron.options, neuron.time_constant()
    leak = options.tau if w is None else torch.sigmoid(w.detach().float()).item()
    leak, threshold, rest = (
        float(np.float32(x)) for x in (leak, options.v_threshold, options.rest)
    )
    return LIFSpec(
        leak, threshold, rest, options.v_reset is not None, options.decay_input, w is not None
    )


def _counts(neuron: nn.Module) -> Content:
    return (
        Content(1.0 / neuron.norm, neuron.levels)
        if isinstance(neuron, IntegerNeuron)
        else Content()
    )


def _single(size: Any, conv: nn.Conv2d) -> int:
    sizes = set(size if isinstance(size, tuple) else (size,))
    if len(sizes) > 1 or isinstance(size, str) or set(conv.dilation) != {1}:
        raise InputError(f"the engine knows square convolutions without dilation, found {conv}")
    return int(sizes.pop())


def _renumbered(operation: Any, moved: dict[int, int]) -> Any:
    fields = {field.name for field in dataclasses.fields(operation)}
    names = {*READS, *WRITES} & fields
    return replace(
        operation,
        **{n: moved[getattr(operation, n)] for n in names if getattr(operation, n) is not None},
    )
