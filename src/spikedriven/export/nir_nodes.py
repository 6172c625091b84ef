"""Which operators NIR can say, and how: one function per operator class, from a graph node to a NIR node."""

from collections.abc import Callable

import nir
import numpy as np
import torch

from spikedriven.graph import Node, SpikeGraph, Weight


def step_shape(node: Node) -> tuple[int, ...]:
    """The shape of a node's output at one time step and for one image: [T, 1, ...] loses two axes, [T * 1, C, H, W] and
    [1, C], which is a mean over time, lose one."""
    return node.shape[1:] if len(node.shape) in (2, 4) else node.shape[2:]


def translate(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    """The NIR node that computes ``node``, or the reason why there is none."""
    if node.op in _TRANSLATE:
        return _TRANSLATE[node.op](graph, node)
    return f"NIR has no primitive for {node.target}"


def _array(graph: SpikeGraph, value: Weight) -> np.ndarray:
    return graph.weights[value.name].detach().cpu().float().numpy()


def _conv(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    weight, bias = node.weight("weight"), node.weight("bias")
    if weight is None or len(weight.shape) != 4 or "transpose" in node.target:
        return "NIR writes 2-d convolutions with a stored kernel only"
    if isinstance(node.attrs["padding"], str):
        return "padding given as a word"
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
    weight, bias = node.weight("weight"), node.weight("bias")
    if weight is None:
        return "a matrix product whose weight is computed"
    if bias is None:
        return nir.Linear(weight=_array(graph, weight))
    return nir.Affine(weight=_array(graph, weight), bias=_array(graph, bias))


def _neuron(graph: SpikeGraph, node: Node) -> nir.NIRNode | str:
    """One Euler step of dt = 1 of NIR's equation is one step of ours, with R = 1 (R = tau without decayed input).

    NIR fires above the threshold, ours at it: the stored threshold is the next smaller float32.
    """
    if node.target != "spikedriven::lif":
        return "NIR's neurons emit at most one spike per step"
    if node.attrs["v_reset"] is None or "v" in node.inputs:
        return "NIR's LIF resets to a value and starts at rest"
    w, shape = node.weight("w"), step_shape(node)
    tau = (
        node.attrs["tau"]
        if w is None
        else 1.0 / torch.sigmoid(graph.weights[w.name].double()).item()
    )
    below = np.nextafter(np.float32(node.attrs["v_threshold"]), np.float32(-np.inf))

    def filled(value: float) -> np.ndarray:
        return np.full(shape, value, dtype=np.float32)

    return nir.LIF(
        tau=filled(tau),
        r=filled(1.0 if node.attrs["decay_input"] else tau),
        v_leak=filled(node.attrs["v_reset"]),
        v_threshold=filled(below),
        v_reset=filled(node.attrs["v_reset"]),
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
    """A mean over both image axes is an average pool as large as the map; its 1 x 1 result is flattened on reading."""
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
