"""From a network to a plan: each layer of this package says which operations it is.

The network is folded first (`graph.fuse`), except that a depthwise convolution stays apart from the 1x1 convolution
behind it: folding the two is exact, but costs kernel-size times the additions.
"""

from functools import singledispatch
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikedriven.engine.builder import Builder
from spikedriven.errors import InputError
from spikedriven.graph.fuse import folded_copy
from spikedriven.layers import (
    FireProject,
    MaxPool,
    ProjectFire,
    Residual,
    SeparableConvBN,
    SepConv,
    SpikeMLP,
    SpikeSepConv,
    SpikingSelfAttention,
)
from spikedriven.layers.fold import FoldedConv
from spikedriven.layers.sparse import SparseMLP
from spikedriven.models import sdt, spikingformer
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.spike_mae import SparseStage, SpikeMAE, TokenStage
from spikedriven.models.staged import Stage, StagedModel
from spikedriven.neurons import IntegerNeuron, Neuron
from spikedriven.neurons.modules import LIF


def lower(model: nn.Module, example: Tensor, weight_bits: int = 23) -> Builder:
    """The operations of a registered network (or one of its class) for inputs shaped like ``example`` [B, ...]."""
    if not isinstance(model, SpikeDrivenModel):
        raise InputError(
            f"the engine compiles the networks of create_model, found {type(model).__name__}"
        )
    folded = cast(SpikeDrivenModel, folded_copy(model, keep=(SeparableConvBN,)))
    frames = example.ndim == 5
    steps = example.shape[1] if frames else model.time_steps
    build = Builder(steps, frames, weight_bits)
    value = build.image(tuple(example.shape[-3:]))
    with torch.no_grad():
        for name, module in folded.body():
            build.where = name
            value = emit(module, value, build)
        build.where = "head"
        emit_head(folded, value, build)
    return build


@singledispatch
def emit(module: nn.Module, value: int, build: Builder) -> int:
    """Append what a module computes on a map; returns the map that it makes."""
    raise InputError(
        f"the engine has no operation for {type(module).__name__} in {build.where!r}; it knows the layers of "
        "spikedriven.layers and the networks made of them"
    )


def inner(module: nn.Module, child: str, value: int, build: Builder) -> int:
    """`emit` for a child, under its qualified name."""
    outer = build.where
    build.where = f"{outer}.{child}"
    result = emit(module.get_submodule(child), value, build)
    build.where = outer
    return result


def in_row(module: nn.Module, children: tuple[str, ...], value: int, build: Builder) -> int:
    for child in children:
        value = inner(module, child, value, build)
    return value


@emit.register
def _(module: nn.Identity, value: int, build: Builder) -> int:
    return value


@emit.register
def _(module: nn.Sequential, value: int, build: Builder) -> int:
    return in_row(module, tuple(name for name, _ in module.named_children()), value, build)


@emit.register
def _(module: FoldedConv, value: int, build: Builder) -> int:
    return build.convolution(value, module)


@emit.register
def _(module: Neuron, value: int, build: Builder) -> int:
    if not isinstance(module, (LIF, IntegerNeuron)):
        raise InputError(
            f"the engine has no operation for the neuron {type(module).__name__} in {build.where!r}"
        )
    return build.fire(value, module)


@emit.register
def _(module: MaxPool, value: int, build: Builder) -> int:
    sizes = [module.kernel_size, module.stride, module.padding]
    kernel, step, pad = (size[0] if isinstance(size, tuple) else size for size in sizes)
    return build.pool(value, kernel, step, pad)


@emit.register
def _(module: ProjectFire, value: int, build: Builder) -> int:
    return in_row(module, ("project", "neuron", "pool"), value, build)


@emit.register
def _(module: FireProject, value: int, build: Builder) -> int:
    return in_row(module, ("neuron", "pool", "project"), value, build)


@emit.register
def _(module: SeparableConvBN, value: int, build: Builder) -> int:
    return build.convolution(
        build.convolution(value, module.depthwise), cast(FoldedConv, module.pointwise)
    )


@emit.register
def _(module: SepConv, value: int, build: Builder) -> int:
    return in_row(module, ("expand", "contract"), value, build)


@emit.register
def _(module: SpikeSepConv, value: int, build: Builder) -> int:
    return in_row(module, ("expand", "depthwise", "contract"), value, build)


@emit.register
def _(module: SpikeMLP, value: int, build: Builder) -> int:
    hidden = inner(module, "fc1", value, build)
    if module.inner_residual:
        return build.add(hidden, inner(module, "fc2", build.sum(value, hidden, 1.0), build))
    return inner(module, "fc2", hidden, build)


@emit.register
def _(module: SparseMLP, value: int, build: Builder) -> int:
    return in_row(module, ("fc1", "fc2"), value, build)


@emit.register
def _(module: Residual, value: int, build: Builder) -> int:
    return build.add(value, inner(module, "branch", value, build))


@emit.register(Stage)
@emit.register(SparseStage)
@emit.register(TokenStage)
def _(module: nn.Module, value: int, build: Builder) -> int:
    return in_row(module, ("down", "blocks"), value, build)


@emit.register(sdt.Block)
@emit.register(spikingformer.Block)
def _(module: nn.Module, value: int, build: Builder) -> int:
    value = build.add(value, inner(module, "attn", value, build))
    return build.add(value, inner(module, "mlp", value, build))


@emit.register
def _(module: sdt.StemMembrane, value: int, build: Builder) -> int:
    return in_row(module, ("project", "pool"), value, build)


@emit.register
def _(module: sdt.PositionConv, value: int, build: Builder) -> int:
    return build.add(value, in_row(module, ("neuron", "pool", "project"), value, build))


@emit.register
def _(module: sdt.SpikeDrivenAttention, value: int, build: Builder) -> int:
    q, k, v = _queries(module, value, build)
    if module.pooled:
        k, v = (build.pool(x, 3, 1, 1) for x in (k, v))
    heads = module.num_heads if module.pooled else 0
    return inner(
        module, "out", build.masked_attention(q, k, v, heads, cast(LIF, module.sum_neuron)), build
    )


@emit.register
def _(module: SpikingSelfAttention, value: int, build: Builder) -> int:
    q, k, v = _queries(module, value, build)
    neuron = cast(LIF | IntegerNeuron, module.out.neuron)
    spikes = build.linear_attention(q, k, v, module.num_heads, module.scale, neuron)
    return inner(module, "out.project", spikes, build)


def _queries(module: nn.Module, value: int, build: Builder) -> tuple[int, int, int]:
    spikes = inner(module, "neuron", value, build)
    q, k, v = (inner(module, name, spikes, build) for name in "qkv")
    return q, k, v


@singledispatch
def emit_head(model: Any, value: int, build: Builder) -> None:
    raise InputError(f"the engine has no operation for the head of {type(model).__name__}")


@emit_head.register
def _(model: sdt.SDT, value: int, build: Builder) -> None:
    _finish(
        model, build.head(build.fire(build.space_mean(value), model.head_neuron), model.head), build
    )


@emit_head.register
def _(model: spikingformer.Spikingformer, value: int, build: Builder) -> None:
    pooled = build.space_mean(value)
    if model.output == "mean":
        build.finish(build.head(build.time_mean(pooled), model.head), "vector")
    else:
        build.finish(build.head(pooled, model.head), "per_step")


@emit_head.register
def _(model: StagedModel, value: int, build: Builder) -> None:
    pooled = build.space_mean(value)
    features = pooled
    if model.head_input == "spikes" or model.distilled:
        features = build.fire(pooled, cast(LIF | IntegerNeuron, model.head_neuron))
    logits = build.head(features if model.head_input == "spikes" else pooled, model.head)
    if model.distilled and model.num_classes:
        logits = build.sum(logits, build.head(features, model.head_kd), 0.5)
    _finish(model, logits, build)


@emit_head.register
def _(model: SpikeMAE, value: int, build: Builder) -> None:
    build.finish(build.time_mean(value), "map")


def _finish(model: SpikeDrivenModel, logits: int, build: Builder) -> None:
    if model.output == "mean":
        build.finish(build.time_mean(logits), "vector")
    else:
        build.finish(logits, "per_step")
