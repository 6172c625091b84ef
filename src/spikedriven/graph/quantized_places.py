"""Where a network has weights, what reads them and what they read: the places that `quantize`
edits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spikedriven.graph import kinds
from spikedriven.graph.chains import is_weight_layer
from spikedriven.graph.kinds import Input
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.paths import LAYOUT, contents, data_operand, only_reader, regroups_leading
from spikedriven.graph.ranges import LEVELS
from spikedriven.layers.quantized import Reading, Window

#: Operators between a classifier and what a network returns.
_TO_OUTPUT = ("reshape", "mean", "sum", "scale", "add", "slice", "cat", "identity", "repeat")


@dataclass(frozen=True)
class Place:
    """A module that is one weight layer. calls: its nodes. reading: of spikes and counts; None
    where it reads real values. first: it reads an input of the network; last: what it gives is only
    averaged, added and handed out.
    """

    module: str
    calls: tuple[Node, ...]
    reading: Reading | None
    first: bool
    last: bool

    @property
    def node(self) -> Node:
        return self.calls[0]

    @property
    def channels(self) -> int:
        """The axis of channels of what it reads, from the end."""
        return -1 if self.window is None else -1 - len(self.window.stride)

    @property
    def window(self) -> Window | None:
        return window_of(self.node)


def places_of(graph: SpikeGraph) -> Iterator[Place]:
    """Every module that holds the weights of one layer and does nothing else, in the order of
    first calls.
    """
    for module in dict.fromkeys(node.module for node in graph if is_weight_layer(node)):
        calls = [node for node in graph if node.module == module and is_weight_layer(node)]
        if _alone(graph, module, calls):
            sources = [data_operand(graph, node) for node in calls]
            first = all(isinstance(source.kind, Input) for source in sources)
            last = all(_handed_out(graph, node) for node in calls)
            yield Place(module, tuple(calls), _counts(sources), first, last)


def functional_weights(graph: SpikeGraph, places: list[Place]) -> Iterator[Node]:
    """Weight layers that no module alone holds."""
    found = {node.id for place in places for node in place.calls}
    return (node for node in graph if node.op in ("conv", "linear") and node.id not in found)


def _alone(graph: SpikeGraph, module: str, calls: list[Node]) -> bool:
    weight = calls[0].weight("weight")
    assert weight is not None
    own = bool(module) and weight.name == f"{module}.weight"
    kept = len(weight.shape) - 1
    others = contents(graph, module) - {node.id for node in calls} if own else {""}
    regroup = all(
        graph[i].op in LAYOUT and regroups_leading(graph[i], graph[graph[i].data], kept)
        for i in others
        if i
    )
    same = all(node.attrs == calls[0].attrs for node in calls)
    return own and regroup and same


def _counts(sources: list[Node]) -> Reading | None:
    spans = [kinds.span(source.kind) for source in sources]
    known = [
        span
        for span in spans
        if span is not None and span.low >= 0 and span.high <= LEVELS and span.factor > 0
    ]
    if len(known) < len(spans) or len({span.factor for span in known}) != 1:
        return None
    return Reading(known[0].factor, max(span.high for span in known))


def _handed_out(graph: SpikeGraph, node: Node) -> bool:
    readers = graph.consumers(node.id)
    return all(reader.op in _TO_OUTPUT and _handed_out(graph, reader) for reader in readers)


def made_by(graph: SpikeGraph, place: Place, places: dict[str, Place]) -> Place | None:
    """The layer whose values a place alone reads, as they are, with no border around them; None
    where there is none. Such a layer can put its values anywhere, as long as the reader knows.
    """
    window = place.window
    plain = window is None or not (window.transposed or any(map(any, window.padding)))
    if len(place.calls) != 1 or not plain:
        return None
    node = data_operand(graph, place.node)
    reader = place.node
    while node.op in LAYOUT and only_reader(graph, node) is reader:
        node, reader = data_operand(graph, node), node
    made = places.get(node.module)
    if (
        made is None
        or len(made.calls) != 1
        or made.node is not node
        or only_reader(graph, node) is not reader
    ):
        return None
    return made


def window_of(node: Node) -> Window | None:
    """The options of a convolution; None for a linear layer."""
    weight = node.weight("weight")
    assert weight is not None
    axes = len(weight.shape) - 2
    if axes == 0:
        return None
    stride, dilation, extra = (
        _per_axis(node.attrs.get(name, default), axes)
        for name, default in (("stride", 1), ("dilation", 1), ("output_padding", 0))
    )
    transposed = "transpose" in node.target
    padding = _padding(node.attrs["padding"], weight.shape[2:], dilation)
    return Window(
        stride, padding, dilation, node.attrs["groups"], transposed, extra if transposed else ()
    )


def _padding(
    given: object, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    if isinstance(given, str):
        reach = [
            d * (k - 1) if given == "same" else 0 for k, d in zip(kernel, dilation, strict=True)
        ]
        return tuple((width // 2, width - width // 2) for width in reach)
    return tuple((width, width) for width in _per_axis(given, len(kernel)))


def _per_axis(value: object, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * axes if len(values) == 1 else values  # type: ignore[return-value]
