"""From a draft to a plan: what nothing reads goes, weights behind spikes become integers."""

from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np

from spikedriven.engine import scales, windows
from spikedriven.engine.lower.draft import Attend, Draft, PlanePool, Weigh, fired
from spikedriven.engine.program import (
    Affine,
    LinearAttention,
    Plan,
    Pool,
    Rearrange,
    WeightLayer,
    integer_mode,
    read_by,
    renumbered,
    written_by,
)


def without_unread(draft: Draft) -> None:
    """Drop operations, and second outputs of layers, that nothing needs."""
    needed = {port.map for port in draft.outputs}
    kept: list[Any] = []
    for operation in reversed(draft.operations):
        inputs = {port.map for port in draft.inputs}
        if not needed.union(inputs) & set(written_by(operation)):
            continue
        if isinstance(operation, Weigh) and operation.real not in needed:
            operation = replace(operation, real=None)
        kept.append(operation)
        needed.update(read_by(operation))
    draft.operations = kept[::-1]


def split_planes(draft: Draft) -> None:
    """Plane pools that belong to no attention, as a pool of another arrangement of the map."""
    operations: list[Any] = []
    for operation in draft.operations:
        operations += _planes(draft, operation) if isinstance(operation, PlanePool) else [operation]
    draft.operations = operations


def _planes(draft: Draft, operation: PlanePool) -> list[Any]:
    m = draft.maps[operation.source]
    tokens, head = m.height * m.width, m.channels // operation.heads
    places = np.arange(tokens * m.channels, dtype=np.int32)
    there = places.reshape(tokens, operation.heads, head).transpose(0, 2, 1)
    planes, pooled = (
        draft.alike(operation.source, height=tokens, width=head, channels=operation.heads)
        for _ in range(2)
    )
    back = places.reshape(tokens, head, operation.heads).transpose(0, 2, 1)
    rows, columns = windows.sliding(tokens, 3, 1, 1), windows.sliding(head, 3, 1, 1)
    return [
        Rearrange(operation.source, planes, np.ascontiguousarray(there)),
        Pool(planes, pooled, rows, columns, "max"),
        Rearrange(pooled, operation.out, back.reshape(m.height, m.width, m.channels)),
    ]


def planned(draft: Draft, weight_bits: int) -> Plan:
    """The plan, with weights behind spikes of ``weight_bits`` bits."""
    used = sorted(
        {i for operation in draft.operations for i in read_by(operation) + written_by(operation)}
    )
    moved = {old: new for new, old in enumerate(used)}
    operations = tuple(
        renumbered(finished(operation, draft, weight_bits), moved) for operation in draft.operations
    )
    ports = (
        tuple(replace(port, map=moved[port.map]) for port in side)
        for side in (draft.inputs, draft.outputs)
    )
    return Plan(draft.time_steps, tuple(draft.maps[i] for i in used), operations, *ports)


@singledispatch
def finished(operation: Any, draft: Draft, weight_bits: int) -> Any:
    """An operation of the draft as one of the plan."""
    return operation


@finished.register
def _(affine: Affine, draft: Draft, weight_bits: int) -> Affine:
    return replace(
        affine, scale=affine.scale.astype(np.float32), shift=affine.shift.astype(np.float32)
    )


@finished.register
def _(attend: Attend, draft: Draft, weight_bits: int) -> LinearAttention:
    result: LinearAttention = finished(fired(attend), draft, weight_bits)
    return result


@finished.register
def _(attention: LinearAttention, draft: Draft, weight_bits: int) -> LinearAttention:
    scale = attention.scale
    for index in (attention.q, attention.k, attention.v):
        scale *= draft.maps[index].unit
    return replace(attention, scale=float(np.float32(scale)))


@finished.register
def _(layer: Weigh, draft: Draft, weight_bits: int) -> WeightLayer:
    source = draft.maps[layer.source]
    weight: Any
    if layer.scale is not None:
        small = bool(np.abs(layer.weight).max() <= scales.largest_integer(8))
        weight, scale = (
            layer.weight.astype(np.int8 if small else np.int16),
            layer.scale.astype(np.float32),
        )
        mode = integer_mode(source, layer.weight[0, 0].size, layer.groups)
    elif source.kind == "real":
        weight, scale, mode = (
            layer.weight.astype(np.float32),
            np.ones(len(layer.weight), np.float32),
            "float",
        )
    else:
        integers, step = scales.quantized(layer.weight, source.levels, weight_bits)
        weight, scale, mode = (
            integers,
            scales.as_scale(step, source.unit),
            integer_mode(source, layer.weight[0, 0].size, layer.groups),
        )
    return WeightLayer(
        layer.source, np.ascontiguousarray(weight), scale, layer.bias.astype(np.float32),
        layer.stride, layer.padding, layer.dilation, layer.spread, layer.groups, mode,
        layer.residual, layer.real,
        layer.spikes, layer.neuron,
    )  # fmt: skip
