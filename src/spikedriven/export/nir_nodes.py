"""Which operators NIR can say, and how: one function per operator class, from a graph node to a
NIR node.
"""

import math
from collections.abc import Callable

import nir
import numpy as np

from spikedriven.graph import Node, SpikeGraph, Weight, kinds
from spikedriven.graph.counts import is_integer_layer
from spikedriven.graph.neuron_calls import neuron_spec
from spikedriven.kernels.spec import LIFSpec


def step_shape(node: Node) -> tuple[int, ...]:
    """The shape of a node's output at one time step and for one image: what follows the batch
    axis.
    """
    return node.shape if node.batch_axis is None else node.shape[node.batch_axis + 1 :]


def steps_of(node: Node) -> int:
    """The time steps of a node's output: [T, 1, ...], or folded into the batch; 1 where one
    value is for all steps.
    """
    return 1 if node.batch_axis is None else math.prod(node.shape[: node.batch_axis + 1])


def translate(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    """The NIR node that computes ``node``, or the reason why there is none."""
    steps = max(map(steps_of, graph.find("neuron")))
    if any(steps_of(operand) not in (1, steps) for operand in graph.operands(node)):
        return "its axes are not time, batch and one map or vector"
    if node.op in _TRANSLATE:
        return _TRANSLATE[node.op](graph, node)
    return f"NIR has no primitive for {node.target}"


def _array(graph: SpikeGraph, value: Weight) -> np.ndarray:
    return graph.weights[value.name].detach().cpu().float().numpy()


def _quantized(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    """A layer with integer weights: NIR holds real ones, integers times the worth of one.
    Counts are no part of it.
    """
    weight, bias = (_array(graph, node.attrs[name]) for name in ("weight", "bias"))
    if node.attrs["low"] or kinds.span(graph[node.data].kind) is None:
        return "it rounds the real values that it reads, for which NIR has no primitive"
    scale = _array(graph, node.attrs["scale"]) / np.float32(node.attrs["unit"])
    weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    if node.op == "linear":
        if len(step_shape(graph[node.data])) != 1:
            return "NIR's linear layers read one vector, not one for each place"
        return nir.Affine(weight=weight, bias=bias)
    top, bottom, left, right = (*node.attrs["padding"], -1, -1, -1)[:4]
    if weight.ndim != 4 or top != bottom or left != right:
        return "NIR writes 2-d convolutions with as much padding on both sides only"
    if len(step_shape(graph[node.data])) != 3:
        return "NIR's convolutions read one map at each step"
    return nir.Conv2d(
        input_shape=step_shape(graph[node.data])[-2:],
        weight=weight,
        stride=tuple(node.attrs["stride"]),
        padding=(top, left),
        dilation=tuple(node.attrs["dilation"]),
        groups=node.attrs["groups"],
        bias=bias,
    )


def _conv(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    if is_integer_layer(node) and "transpose" not in node.target:
        return _quantized(graph, node)
    weight, bias = node.weight("weight"), node.weight("bias")
    if weight is None or len(weight.shape) != 4 or "transpose" in node.target:
        return "NIR writes 2-d convolutions with a stored kernel only"
    if isinstance(node.attrs["padding"], str):
        return "padding given as a word"
    if len(step_shape(graph[node.data])) != 3:
        return "NIR's convolutions read one map at each step"
    return nir.Conv2d(
        input_shape=step_shape(graph[node.data])[-2:],
        weight=_array(graph, weight),
        stride=tuple(node.attrs["stride"]),
        padding=tuple(node.attrs["padding"]),
        dilation=tuple(node.attrs["dilation"]),
        groups=node.attrs["groups"],
        bias=_array(graph, bias) if bias else np.zeros(weight.shape[0], dtype=np.float32),
    )


def _linear(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    if is_integer_layer(node):
        return _quantized(graph, node)
    weight, bias = node.weight("weight"), node.weight("bias")
    if node.target == "aten::embedding":
        return "NIR has no table of words"
    if weight is None:
        return "a matrix product whose weight is computed"
    if len(step_shape(graph[node.data])) != 1:
        return "NIR's linear layers read one vector, not one for each place"
    if bias is None:
        return nir.Linear(weight=_array(graph, weight))
    return nir.Affine(weight=_array(graph, weight), bias=_array(graph, bias))


def _neuron(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    """One Euler step of dt = 1 of NIR's equation is one step of ours, with R = 1 (R = tau without
    decayed input).

    NIR fires above the threshold, ours at it: the stored threshold is the next smaller float32.
    """
    spec = neuron_spec(graph, node)
    if spec is None:
        return "a neuron that says no constants (spec) which NIR could hold"
    if not isinstance(spec, LIFSpec):
        return "NIR's neurons emit at most one spike per step"
    if not spec.hard_reset or "v" in node.inputs:
        return "NIR's LIF resets to a value and starts at rest"
    below = float(np.nextafter(np.float32(spec.threshold), np.float32(-np.inf)))
    shape = step_shape(node)

    def filled(value: float) -> np.ndarray:
        return np.full(shape, value, dtype=np.float32)

    if spec.leak == 0.0:
        return nir.IF(r=filled(1.0), v_threshold=filled(below), v_reset=filled(spec.rest))
    tau = 1.0 / spec.leak if spec.parametric else spec.leak
    return nir.LIF(
        tau=filled(tau),
        r=filled(1.0 if spec.decay_input else tau),
        v_leak=filled(spec.rest),
        v_threshold=filled(below),
        v_reset=filled(spec.rest),
    )


def _scale(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    factor = node.attrs.get("other")
    known = node.target in ("aten::mul", "aten::div") and "self" in node.inputs
    if not known or not isinstance(factor, int | float):
        return "a factor that is no number"
    return nir.Scale(
        np.full(
            step_shape(node), factor if node.target == "aten::mul" else 1 / factor, dtype=np.float32
        )
    )


def is_time_mean(graph: SpikeGraph, node: Node) -> bool:
    """[T, B, ...] -> [B, ...]."""
    dims = node.attrs.get("dim") or () if node.op == "mean" else ()
    return [d % len(graph[node.data].shape) for d in dims] == [0]


def _mean(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    """A mean over both image axes is an average pool as large as the map; its 1 x 1 result is
    flattened on reading.
    """
    before = graph[node.data]
    dims = sorted(d % len(before.shape) for d in node.attrs.get("dim") or ())
    if is_time_mean(graph, node):
        return "the reader averages over time"
    if dims != [len(before.shape) - 2, len(before.shape) - 1] or len(before.shape) < 4:
        return "NIR averages over the two image axes only"
    return _pool(before.shape[-2:], before.shape[-2:], (0, 0))


def _avgpool(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    attrs = node.attrs
    if "kernel_size" not in attrs or attrs["ceil_mode"] or attrs.get("divisor_override"):
        return "an average pool that NIR's parameters do not cover"
    if any(attrs["padding"]) and not attrs["count_include_pad"]:
        return "an average pool that leaves its border out of the mean"
    return _pool(attrs["kernel_size"], attrs["stride"] or attrs["kernel_size"], attrs["padding"])


def _pool(kernel, stride, padding) -> nir.AvgPool2d:
    kernel, stride, padding = (np.array(value) for value in (kernel, stride, padding))
    return nir.AvgPool2d(kernel_size=kernel, stride=stride, padding=padding)


_TRANSLATE: dict[str, Callable[[SpikeGraph, Node], nir.NIRNode | str]] = {
    "conv": _conv,
    "linear": _linear,
    "neuron": _neuron,
    "scale": _scale,
    "mean": _mean,
    "avgpool": _avgpool,
}
