"""A small interpreter of NIR files: the equations of nir's documentation, one Euler step of dt
= 1 per time step.
"""

from collections.abc import Iterable

import nir
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spikedriven.errors import InputError


def run_nir(graph: nir.NIRGraph, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """inputs: name of each Input node -> [T, ...] values; returns name of each Output node -> [T,
    ...].

    Several edges into one node add up. A value of the right size and another shape is reshaped, as
    flattening would.
    """
    values: dict[str, Tensor] = {}
    for name in _in_order(graph):
        node, sources = graph.nodes[name], [a for a, b in graph.edges if b == name]
        if isinstance(node, nir.Input):
            if name not in inputs:
                raise InputError(f"the NIR graph has an input {name!r}, which was not given")
            values[name] = inputs[name]
        else:
            first, *others = (values[source] for source in sources)
            values[name] = _apply(
                node, sum((other.reshape(first.shape) for other in others), first)
            )
    return {
        name: value for name, value in values.items() if isinstance(graph.nodes[name], nir.Output)
    }


def _in_order(graph: nir.NIRGraph) -> list[str]:
    """Names such that every node comes after the nodes it reads."""
    waiting = {name: {a for a, b in graph.edges if b == name} for name in graph.nodes}
    order: list[str] = []
    while waiting:
        ready = [name for name, sources in waiting.items() if sources <= set(order)]
        if not ready:
            raise InputError("the NIR graph has a cycle")
        order += ready
        for name in ready:
            del waiting[name]
    return order


def _apply(node: nir.NIRNode, x: Tensor) -> Tensor:
    def tensor(value: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(value)).to(x.dtype)

    if isinstance(node, nir.Output):
        return x
    if isinstance(node, nir.Conv2d):
        groups = int(node.groups)
        x = x.reshape(len(x), node.weight.shape[1] * groups, *(int(n) for n in node.input_shape))
        stride, padding, dilation = _pair(node.stride), _pair(node.padding), _pair(node.dilation)
        return F.conv2d(
            x, tensor(node.weight), tensor(node.bias), stride, padding, dilation, groups
        )
    if isinstance(node, nir.Affine):
        return F.linear(x.flatten(1), tensor(node.weight), tensor(node.bias))
    if isinstance(node, nir.Linear):
        return F.linear(x.flatten(1), tensor(node.weight))
    if isinstance(node, nir.Scale):
        return x.reshape(len(x), *node.scale.shape) * tensor(node.scale)
    if isinstance(node, nir.AvgPool2d):
        return F.avg_pool2d(x, _pair(node.kernel_size), _pair(node.stride), _pair(node.padding))
    if isinstance(node, nir.Flatten):
        return x.flatten(1 + int(node.start_dim))
    if isinstance(node, nir.IF):
        parts = (tensor(getattr(node, name)) for name in ("r", "v_threshold", "v_reset"))
        return _if(x.reshape(len(x), *node.r.shape), *parts)
    if isinstance(node, nir.LIF):
        return _lif(
            x.reshape(len(x), *node.tau.shape),
            *(tensor(getattr(node, name)) for name in _LIF_FIELDS),
        )
    raise InputError(f"this interpreter knows no NIR node {type(node).__name__}")


def _pair(value: Iterable[int]) -> tuple[int, ...]:
    return tuple(int(n) for n in value)


_LIF_FIELDS = ("tau", "r", "v_leak", "v_threshold", "v_reset")


def _lif(
    x: Tensor, tau: Tensor, r: Tensor, v_leak: Tensor, v_threshold: Tensor, v_reset: Tensor
) -> Tensor:
    v, spikes = v_leak, []
    for current in x:
        v = v + (v_leak - v + r * current) / tau
        fired = v > v_threshold
        v = torch.where(fired, v_reset, v)
        spikes.append(fired.to(x.dtype))
    return torch.stack(spikes)


def _if(x: Tensor, r: Tensor, v_threshold: Tensor, v_reset: Tensor) -> Tensor:
    v, spikes = v_reset, []
    for current in x:
        v = v + r * current
        fired = v > v_threshold
        v = torch.where(fired, v_reset, v)
        spikes.append(fired.to(x.dtype))
    return torch.stack(spikes)
