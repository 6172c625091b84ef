"""Sums of weight layers: the layers whose outputs, added up, joined or averaged, one norm or one
factor reads.

A factor goes into every one of them, channel by channel; a shift goes into one summand of each sum.
"""

from collections.abc import Container
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spikedriven.graph.chains import channel_axis, elements_per_channel, is_weight_layer
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.paths import (
    AVERAGES,
    LAYOUT,
    Layouts,
    along,
    data_operand,
    is_data,
    made_in,
    name_of,
)

#: Several values that become one.
_JOINING = ("add", "cat")
_AFFINE = ("batchnorm", "scale")
_APART = "give each weight layer in it a norm of its own, whose output nothing else reads"


@dataclass(frozen=True)
class Source:
    """A weight layer in such a sum.

    channels: which of its channels stands at each place of the sum, -1 where none does; None where
    that cannot be told. share: how many times its output is in the sum, if it is the one that takes
    the shift; else 0.
    """

    node: Node
    channels: Tensor | None
    share: float = 1.0

    @property
    def has_bias(self) -> bool:
        return not self.share or self.node.weight("bias") is not None


@dataclass(frozen=True)
class Summand:
    """A source and what it takes. elements: which element of the constants goes to each of its
    channels; None for one number. share: as of `Source`."""

    node: Node
    elements: Tensor | None
    share: float


class NoSumError(Exception):
    """A value that is no sum of weight layers, with the reason."""


class Sums:
    """The sums of a graph. folded: ids of norms and factors that hand on their input by then."""

    def __init__(self, graph: SpikeGraph, layouts: Layouts, folded: Container[str]) -> None:
        self.graph, self.layouts, self.folded = graph, layouts, folded

    def behind(self, node: Node, one_number: bool) -> list[Summand]:
        """What takes a norm or a factor. NoSumError where something else takes part, or reads
        along.

        one_number: the node multiplies by one number, so that channels do not matter.
        """
        sources = self._of(data_operand(self.graph, node))
        if one_number:
            return [Summand(source.node, None, 0.0) for source in sources]
        found = [self._taken(node, source) for source in sources]
        twice = len({source.node.id for source in sources}) < len(sources)
        if twice or (node.op == "batchnorm" and not _covered(sources)):
            raise NoSumError("its layers do not each stand in it once")
        return found

    def _taken(self, node: Node, source: Source) -> Summand:
        size = source.node.shape[channel_axis(source.node)]
        channels = source.channels
        elements = (
            None if channels is None else elements_per_channel(self.graph, node, channels, size)
        )
        if elements is None:
            raise NoSumError(f"the channels of {name_of(source.node)} cannot be told apart in it")
        return Summand(source.node, elements, source.share)

    def why_none(self, node: Node, one_number: bool) -> tuple[str, str] | None:
        """Reason and remedy where nothing takes a norm or factor behind a sum; None where it reads
        no sum of a weight layer and something else."""
        before = data_operand(self.graph, node)
        while before.op in LAYOUT:
            before = data_operand(self.graph, before)
        if before.op not in _JOINING or not self._has_layer(before):
            return None
        try:
            self.behind(node, one_number)
        except NoSumError as found:
            what = "a sum" if before.op == "add" else "values joined side by side"
            return f"it reads {what}, and {found}", _APART
        return None

    def _has_layer(self, node: Node) -> bool:
        """Whether a weight layer takes part."""
        through = (*_JOINING, *_AFFINE, *LAYOUT, *AVERAGES)
        operands = [operand for operand in self.graph.operands(node) if is_data(operand)]
        return any(
            is_weight_layer(other) or (other.op in through and self._has_layer(other))
            for other in operands
        )

    # The walk -------------------------------------------------------------------------------------

    def _of(self, node: Node) -> list[Source]:
        if len(self.graph.consumers(node.id)) != 1 or node.id in self.graph.outputs:
            raise NoSumError(f"what {made_in(node)} gives is read elsewhere too")
        if is_weight_layer(node):
            return [Source(node, along(node.shape, channel_axis(node)))]
        if node.op == "add":
            return self._added(node)
        if node.target in ("aten::cat", "aten::concat"):
            return self._joined(node)
        if node.op in _AFFINE and node.id in self.folded:
            return self._of(data_operand(self.graph, node))
        if node.op in LAYOUT:
            return [
                self._moved(source, node) for source in self._of(data_operand(self.graph, node))
            ]
        if node.op in AVERAGES:
            return [
                self._averaged(source, node) for source in self._of(data_operand(self.graph, node))
            ]
        if node.op == "sum":
            return [
                Source(source.node, None, 0.0)
                for source in self._of(data_operand(self.graph, node))
            ]
        raise NoSumError(f"{made_in(node)} takes part, which has no weights")

    def _moved(self, source: Source, node: Node) -> Source:
        if source.channels is None:
            return source
        return replace(source, channels=self.layouts.carried(node, source.channels))

    def _averaged(self, source: Source, node: Node) -> Source:
        channels = source.channels
        channels = None if channels is None else self.layouts.averaged(node, channels)
        return Source(source.node, channels, source.share if channels is not None else 0.0)

    def _added(self, node: Node) -> list[Source]:
        """One of the two sides takes the shift: one whose layers have a bias, where there is a
        choice."""
        sides = []
        for name, sign in _signs(node).items():
            if name not in node.inputs or not is_data(self.graph[node.inputs[name]]):
                raise NoSumError(f"a constant is added in {node.module or 'the model itself'}")
            found = self._of(self.graph[node.inputs[name]])
            sides.append(
                [
                    _spread(replace(source, share=source.share * sign), node.shape)
                    for source in found
                ]
            )
        taking = [side for side in sides if _covered(side)]
        if not taking:
            return [source for side in sides for source in side]
        chosen = next(
            (side for side in taking if all(source.has_bias for source in side)), taking[0]
        )
        others = [
            replace(source, share=0.0) for side in sides if side is not chosen for source in side
        ]
        return [*chosen, *others]

    def _joined(self, node: Node) -> list[Source]:
        operands = self.graph.operands(node)
        if not all(is_data(operand) for operand in operands) or _has_weight(node):
            raise NoSumError(f"a constant is joined in {node.module or 'the model itself'}")
        parts = [self._of(operand) for operand in operands]
        covered = all(_covered(part) for part in parts)
        axis, joined = node.attrs.get("dim", 0), []
        for i, part in enumerate(parts):
            for source in part:
                channels = _among(source.channels, [operand.shape for operand in operands], i, axis)
                joined.append(Source(source.node, channels, source.share if covered else 0.0))
        return joined


def _covered(sources: list[Source]) -> bool:
    """Whether a shift can reach every place once: the layers with a share stand there."""
    return any(source.share for source in sources)


def _signs(node: Node) -> dict[str, float]:
    alpha = float(node.attrs.get("alpha", 1))
    first = -alpha if node.target == "aten::rsub" else 1.0
    second = 1.0 if node.target == "aten::rsub" else -alpha if node.target == "aten::sub" else alpha
    return {"self": first, "other": second}


def _spread(source: Source, shape: tuple[int, ...]) -> Source:
    """Broadcast to the shape of a sum."""
    if source.channels is None:
        return source
    return replace(source, channels=source.channels.expand(shape))


def _has_weight(node: Node) -> bool:
    return any(isinstance(value, Weight) for value in node.attrs.values())


def _among(
    channels: Tensor | None, shapes: list[tuple[int, ...]], place: int, axis: int
) -> Tensor | None:
    """The channels of one of several joined values; -1 at the places of the others."""
    if channels is None:
        return None
    nowhere = torch.tensor(-1)
    parts = [channels if i == place else nowhere.expand(shape) for i, shape in enumerate(shapes)]
    return torch.cat(parts, axis)
