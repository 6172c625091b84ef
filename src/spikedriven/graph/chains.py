"""Chains: a weight layer and what follows it up to the next neuron, as far as one weight layer
computes the same.

Structure alone decides here, so that an audit needs no weights; the numbers come in when `fuse`
folds the chain.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spikedriven.graph import kinds
from spikedriven.graph.kinds import Constant, Input
from spikedriven.graph.linear_maps import WeightLayer, can_follow, in_a_row
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.paths import (
    AVERAGES,
    LAYOUT,
    WEIGHT_LAYERS,
    Layouts,
    along,
    data_operand,
    one_per_channel,
    only_reader,
    regroups_leading,
)

_TARGETS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "linear")


@dataclass(frozen=True)
class Step:
    """One member of a chain behind its first layer.

    role: "layer"; "affine", a factor and a shift per channel; "pad", zeros around the map; "ring",
    a constant on that border. elements: for "affine", which element of the operator's constants
    belongs to each channel. layouts: how many reshapes lie between the first layer and this member.
    """

    node: Node
    role: str
    elements: Tensor | None = None
    layouts: int = 0


@dataclass(frozen=True)
class Chain:
    """A weight layer (``head``) and the steps that can go into it. layouts: ids of the reshapes
    between them.
    """

    head: Node
    steps: tuple[Step, ...]
    layouts: frozenset[str] = frozenset()

    def upto(self, count: int) -> "Chain":
        return Chain(self.head, self.steps[:count], self.layouts)

    @property
    def layers(self) -> tuple[Node, ...]:
        return (self.head, *(step.node for step in self.steps if step.role == "layer"))

    @property
    def ids(self) -> set[str]:
        """Of the head, the steps and the reshapes between them."""
        return {self.head.id, *(step.node.id for step in self.steps)} | self.layouts


def is_weight_layer(node: Node) -> bool:
    """A convolution or linear layer whose weight is a parameter, not a value computed from
    others.
    """
    known = node.target.removeprefix("aten::") in _TARGETS
    return node.op in WEIGHT_LAYERS and known and node.weight("weight") is not None


def layer_of(node: Node, weight: Tensor, bias: Tensor | None) -> WeightLayer:
    """The arithmetic of a weight-layer node with these tensors, in float64. "same" padding is
    told as numbers.
    """
    axes = weight.ndim - 2
    transposed = "transpose" in node.target
    options = [_per_axis(node.attrs.get(name), axes) for name in ("stride", "dilation")]
    outputs = weight.shape[1] * node.attrs.get("groups", 1) if transposed else weight.shape[0]
    return WeightLayer(
        weight=weight.double(),
        bias=torch.zeros(outputs, dtype=torch.float64, device=weight.device)
        if bias is None
        else bias.double(),
        stride=options[0],
        padding=padding_of(node, tuple(weight.shape[2:]), options[1]),
        dilation=options[1],
        groups=node.attrs.get("groups", 1),
        transposed=transposed,
    )


def _per_axis(value: object, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * axes if len(values) == 1 else values  # type: ignore[return-value]


def padding_of(node: Node, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Zeros on each side, per axis; -1 on an axis where "same" puts more on one side than on
    the other.
    """
    padding = node.attrs.get("padding")
    if padding == "valid" or not kernel:
        return (0,) * len(kernel)
    if padding == "same":
        around = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple(-1 if width % 2 else width // 2 for width in around)
    return _per_axis(padding, len(kernel))


def channel_axis(node: Node) -> int:
    """Of a weight layer's output and input, counted from the end."""
    weight = node.weight("weight")
    assert weight is not None
    return 1 - len(weight.shape) if len(weight.shape) > 2 else -1


def find_chain(graph: SpikeGraph, layouts: Layouts, head: Node, depthwise: str = "folded") -> Chain:
    """The chain that starts with a weight layer. depthwise "apart": no layer goes into a
    depthwise one.
    """
    walk = _Walk(graph, layouts, head, depthwise)
    while (node := only_reader(graph, walk.last)) is not None and walk.take(node):
        walk.last = node
    steps = walk.steps
    while steps and steps[-1].role in ("pad", "ring"):  # what a layer behind them would have closed
        steps.pop()
    return Chain(head, tuple(steps), frozenset(walk.between))


@dataclass
class _Walk:
    graph: SpikeGraph
    layouts: Layouts
    head: Node
    depthwise: str
    steps: list[Step] = field(default_factory=list)
    between: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = self.head
        self.so_far = self.shape_of(self.head)
        self.shifted = self.head.attrs.get("bias") is not None or "bias" in self.head.inputs
        self.start(self.head)

    def start(self, layer: Node) -> None:
        """Behind a weight layer: nothing is padded, and channels lie where it puts them."""
        self.channels = along(layer.shape, channel_axis(layer))
        self.border: tuple[int, ...] = ()
        self.ringed, self.in_place = False, True

    def shape_of(self, node: Node) -> WeightLayer:
        weight = node.weight("weight")
        assert weight is not None
        return layer_of(node, torch.empty(weight.shape, device="meta"), None)

    def take(self, node: Node) -> bool:
        """Add a node to the chain; False where the chain ends in front of it."""
        if node.op in LAYOUT:
            kept = self.so_far.weight.ndim - 1
            self.in_place &= node.op != "repeat" and regroups_leading(
                node, self.graph[node.data], kept
            )
            self.channels = self.layouts.carried(node, self.channels)
            self.between.append(node.id)
            return True
        if node.op in ("batchnorm", "scale", "add"):
            return self.take_affine(node)
        if node.op == "pad":
            return self.take_pad(node)
        if node.op in AVERAGES:
            return self.take_average(node)
        return is_weight_layer(node) and self.take_layer(node)

    def add(self, node: Node, role: str, elements: Tensor | None = None) -> None:
        self.steps.append(Step(node, role, elements, len(self.between)))

    def take_affine(self, node: Node) -> bool:
        elements = elements_per_channel(self.graph, node, self.channels, len(self.so_far.bias))
        if elements is not None:
            self.shifted |= node.op != "scale"
            self.add(node, "affine", elements)
            return True
        if node.op != "add" or not self.border or self.ringed:
            return False
        self.ringed = True
        self.add(node, "ring")
        return True

    def take_average(self, node: Node) -> bool:
        """A mean of one channel's values takes a factor and a shift as the values do; a border
        of zeros does not.
        """
        channels = None if self.border else self.layouts.averaged(node, self.channels)
        if channels is None:
            return False
        self.channels, self.in_place = channels, False
        self.between.append(node.id)
        return True

    def take_pad(self, node: Node) -> bool:
        widths = _zero_padding(node)
        axes = len(self.so_far.kernel)
        if not widths or self.border or not self.in_place or len(widths) > axes:
            return False
        self.border = (0,) * (axes - len(widths)) + widths
        self.channels = along(node.shape, -1 - axes)
        self.add(node, "pad")
        return True

    def take_layer(self, node: Node) -> bool:
        """The chain reads spikes or the image, and the two layers make one, borders included."""
        source = data_operand(self.graph, self.head).kind
        if not (kinds.is_spiking(source) or isinstance(source, Input)) or not self.in_place:
            return False
        if self.depthwise == "apart" and self.so_far.depthwise and len(self.chain_layers()) == 1:
            return False
        second = self.shape_of(node)
        border = self.border or (0,) * len(second.kernel)
        if not can_follow(self.so_far, second) or any(
            width < 0 for width in (*self.so_far.padding, *second.padding)
        ):
            return False
        if any(border) and not (self.so_far.pointwise and self.ringed == self.shifted):
            return False
        if any(second.padding) and (self.shifted or self.so_far.weight.shape[2:].numel() > 1):
            return False
        self.so_far = in_a_row(self.so_far, second, border)
        self.shifted |= node.attrs.get("bias") is not None
        self.add(node, "layer")
        self.start(node)
        return True

    def chain_layers(self) -> list[Step | None]:
        return [None, *(step for step in self.steps if step.role == "layer")]


def _zero_padding(node: Node) -> tuple[int, ...]:
    """Zeros on both sides of the last axes, equally many; () for any other padding."""
    pads = node.attrs.get("pad") or ()
    zero = node.attrs.get("mode", "constant") == "constant" and not (node.attrs.get("value") or 0)
    if (
        not zero
        or not pads
        or any(pads[i] != pads[i + 1] or pads[i] < 0 for i in range(0, len(pads), 2))
    ):
        return ()
    return tuple(reversed(pads[::2]))


def elements_per_channel(
    graph: SpikeGraph, node: Node, channels: Tensor, size: int
) -> Tensor | None:
    """Which element of its constants an affine node applies to each channel; None where one channel
    gets several.

    channels: the channel at every place of the operand.
    """
    shape = constant_shape(graph, node)
    if shape is None or tuple(node.shape) != tuple(channels.shape):
        return None
    elements = torch.arange(math.prod(shape)).view(shape)
    if node.op == "batchnorm":
        elements = elements.view(-1, *[1] * (channels.ndim - 2))
    if elements.ndim > channels.ndim:
        return None
    return one_per_channel(channels, elements.expand(channels.shape), size)


def constant_shape(graph: SpikeGraph, node: Node) -> tuple[int, ...] | None:
    """Shape of an affine node's constant; None where the node is none: a quotient by data,
    statistics of a batch.
    """
    if node.op == "batchnorm":
        known = node.weight("running_mean")
        return known.shape if known is not None and not node.attrs.get("training") else None
    if node.target == "aten::neg":
        return ()
    if node.target == "aten::div" and (
        "self" not in node.inputs or node.attrs.get("rounding_mode")
    ):
        return None
    if node.target == "aten::div" and isinstance(graph[node.inputs["self"]].kind, Constant):
        return None
    for name in ("other", "self"):
        value = node.attrs.get(name)
        if isinstance(value, Weight):
            return value.shape
        if isinstance(value, int | float):
            return ()
        if name in node.inputs and isinstance(graph[node.inputs[name]].kind, Constant):
            return graph[node.inputs[name]].shape
    return None
