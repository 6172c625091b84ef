"""What folds into what: one body of knowledge for the audit, which tells it, and for `fuse`, which
does it.

A batch norm or a constant factor goes into the weight layer before it (`chains`), or forward into
what reads it: weight layers, and for one positive number also the thresholds of neurons. A weight
layer that follows another with no neuron between goes into that one. A fold is carried out where
the modules can be edited; where they cannot, it is told.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import torch
from torch import Tensor

from spikedriven.graph import kinds
from spikedriven.graph.attributes import Attribute
from spikedriven.graph.chains import (
    Chain,
    Step,
    channel_axis,
    constant_shape,
    find_chain,
    is_weight_layer,
)
from spikedriven.graph.fold_ends import (
    factor_ends,
    is_one_number,
    is_taker,
    names_of_ends,
    one_per_owner,
    reaches,
    same_end,
    without_border,
)
from spikedriven.graph.folds import Backward, End, Forward, Left, Spread
from spikedriven.graph.kinds import Input
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.paths import (
    LAYOUT,
    WEIGHT_LAYERS,
    Layouts,
    along,
    behind,
    calls_of,
    contents,
    data_operand,
    data_operands,
    name_of,
    one_per_channel,
    only_reader,
    regroups_leading,
)
from spikedriven.graph.sums import NoSumError, Summand, Sums

FOLDED = ("batchnorm", "scale")


class Plan:
    """All folds of a graph.

    depthwise: "folded", or "apart": nothing but norms and factors goes into a depthwise convolution
    that begins a chain. removable: factors inside a forward that can be taken away
    (`attributes.removable_factors`), by node id.
    """

    def __init__(
        self,
        graph: SpikeGraph,
        depthwise: str = "folded",
        removable: Mapping[str, Attribute] | None = None,
    ) -> None:
        self.graph, self.depthwise, self.removable = graph, depthwise, removable or {}
        self.layouts = Layouts(graph)
        self.folded: set[str] = set()
        self.sums = Sums(graph, self.layouts, self.folded)
        #: Node id -> the chain that takes it, whether modules can be edited or not.
        self.chain_of: dict[str, Chain] = {}
        self.backward: list[Backward] = []
        self.forward: list[Forward] = []
        self.spread: list[Spread] = []
        for name in self._weights():
            self._plan_chain(name)
        for node in graph:
            if node.op in FOLDED and node.id not in self.folded and not self._plan_forward(node):
                self._plan_spread(node)

    # Chains
    # ----------------------------------------------------------------------------------------------

    def _weights(self) -> Iterable[str]:
        """Of weight layers, in the order of their first call."""
        heads = (node.weight("weight") for node in self.graph if is_weight_layer(node))
        return dict.fromkeys(weight.name for weight in heads if weight is not None)

    def _plan_chain(self, weight: str) -> None:
        calls = list(calls_of(self.graph, weight))
        if any(node.id in self.folded for node in calls) or not all(map(is_weight_layer, calls)):
            return
        chains = self._alike(
            [find_chain(self.graph, self.layouts, node, self.depthwise) for node in calls]
        )
        for chain in chains:
            for step in chain.steps:
                self.chain_of.setdefault(step.node.id, chain)
        for count in range(len(chains[0].steps), 0, -1):
            found = self._placed([chain.upto(count) for chain in chains])
            if found is not None:
                self.backward.append(found)
                self.folded |= {step.node.id for chain in found.calls for step in chain.steps}
                return

    def _alike(self, chains: list[Chain]) -> list[Chain]:
        """The chains of all calls of a layer, as far as they go through the same modules."""
        count = 0
        for steps in zip(*(chain.steps for chain in chains), strict=False):
            if not all(_same(steps[0], step) for step in steps):
                break
            count += 1
        while count and chains[0].steps[count - 1].role in ("pad", "ring"):
            count -= 1
        return [chain.upto(count) for chain in chains]

    def _placed(self, chains: list[Chain]) -> Backward | None:
        """The modules to edit for a chain; None where they do other things as well."""
        first = chains[0]
        if first.steps[-1].role in ("pad", "ring"):
            return None
        steps = {step.node.id for chain in chains for step in chain.steps}
        place, inside = "", set[str]()
        if len(first.layers) > 1:
            place = self._whole(chains) or first.head.module
            inside = contents(self.graph, place)
            if not inside <= steps | {chain.head.id for chain in chains} | self._regrouping(
                inside, first
            ):
                return None
            alone = inside == {chain.head.id for chain in chains}
            if not place or (alone and not all(self._same_size(chain) for chain in chains)):
                return None
        outside = [step.node for step in first.steps if step.node.id not in inside]
        attributes = dict.fromkeys(
            self.removable[node.id] for node in outside if node.id in self.removable
        )
        idle = dict.fromkeys(node.module for node in outside if node.id not in self.removable)
        gone = steps | {i for i, attribute in self.removable.items() if attribute in attributes}
        if gone != steps or not all(
            module and contents(self.graph, module) <= steps for module in idle
        ):
            return None
        return Backward(tuple(chains), place, tuple(idle), tuple(attributes))

    def _whole(self, chains: list[Chain]) -> str:
        """The smallest module around all layers of a chain, where it holds nothing else."""
        paths = [node.module.split(".") for node in chains[0].layers]
        module = ".".join(paths[0][: _agreeing(paths)])
        used = {i for chain in chains for i in chain.ids}
        inside = contents(self.graph, module)
        return module if module and inside <= used | self._regrouping(inside, chains[0]) else ""

    def _regrouping(self, ids: set[str], chain: Chain) -> set[str]:
        """Those of the nodes that only fold time into the batch, or take it out again."""
        weight = chain.head.weight("weight")
        assert weight is not None
        kept = len(weight.shape) - 1
        nodes = [self.graph[i] for i in ids if self.graph[i].op in LAYOUT]
        return {node.id for node in nodes if regroups_leading(node, self.graph[node.data], kept)}

    def _same_size(self, chain: Chain) -> bool:
        """Whether the first layer alone may stand for all: nothing between them expects another
        size.
        """
        last = [step for step in chain.steps if step.role == "layer"][-1]
        return not last.layouts or chain.head.shape[1:] == last.node.shape[1:]

    # Forward
    # ----------------------------------------------------------------------------------------------

    def _plan_forward(self, node: Node) -> bool:
        calls, idle = self._removed_with(node)
        ends: list[End] = []
        for call in calls:
            found = self.receivers(call)
            if not found:
                return False
            ends += found
        if not ends or not all(
            self._takes(end, ends, shift=node.op == "batchnorm") for end in ends
        ):
            return False
        attribute = self.removable.get(node.id)
        self.forward.append(Forward(tuple(calls), tuple(one_per_owner(ends)), idle, attribute))
        self.folded |= {call.id for call in calls}
        return True

    def _removed_with(self, node: Node) -> tuple[list[Node], str]:
        """All nodes that go away together with an affine node, in the order they run, and the
        module that is idle then; no nodes where the module does other things as well.
        """
        attribute = self.removable.get(node.id)
        if attribute is not None:
            ids = {i for i, other in self.removable.items() if other == attribute}
        else:
            ids = contents(self.graph, node.module) if node.module else set()
        calls = sorted((self.graph[i] for i in ids), key=lambda call: self._order[call.id])
        alike = all(_same_operator(node, call) for call in calls)
        return calls if alike else [], node.module if attribute is None else ""

    @cached_property
    def _order(self) -> dict[str, int]:
        return {node.id: i for i, node in enumerate(self.graph)}

    def receivers(self, node: Node) -> list[End]:
        """What takes the factor of an affine node downstream; [] as soon as one path ends
        elsewhere.
        """
        if node.op == "scale" and is_one_number(self.graph, node):
            return factor_ends(self.graph, node)
        return list(self._channel_ends(node))

    def _channel_ends(self, node: Node) -> list[End]:
        shape = constant_shape(self.graph, node)
        if shape is None:
            return []
        elements = torch.arange(torch.Size(shape).numel()).view(shape)
        if node.op == "batchnorm":
            elements = elements.view(-1, *[1] * (len(node.shape) - 2))
        if elements.ndim > len(node.shape):
            return []
        return self._weight_ends(node, elements.expand(node.shape), node.op == "batchnorm") or []

    def _weight_ends(self, node: Node, elements: Tensor, shift: bool) -> list[End] | None:
        """Weight layers that read these values through layout operators alone."""
        found: list[End] = []
        if node.id in self.graph.outputs:
            return None
        for reader in self.graph.consumers(node.id):
            if reader.op in LAYOUT:
                further = self._weight_ends(reader, self.layouts.carried(reader, elements), shift)
            else:
                further = self._as_end(reader, elements, shift)
            if further is None:
                return None
            found += further
        return found

    def _as_end(self, node: Node, elements: Tensor, shift: bool) -> list[End] | None:
        if not is_weight_layer(node) or (shift and not without_border(node)):
            return None
        axis = channel_axis(node)
        channels = along(tuple(elements.shape), axis)
        per_channel = one_per_channel(channels, elements, elements.shape[axis])
        return None if per_channel is None else [End(node, 1, per_channel)]

    def _takes(self, end: End, ends: list[End], shift: bool) -> bool:
        """Whether a weight or threshold may change: every call of its layer or neuron is an end
        of the same kind.
        """
        if end.node.op == "neuron":
            if not end.node.module:
                return False
            calls = [n for n in self.graph.find("neuron") if n.module == end.node.module]
        else:
            weight = end.node.weight("weight")
            calls = [] if weight is None else list(calls_of(self.graph, weight.name))
            if shift and any(
                len(b.calls[0].layers) > 1 and b.calls[0].head in calls for b in self.backward
            ):
                return False
        alike = {other.node.id for other in ends if same_end(end, other)}
        return is_taker(end.node) and all(call.id in alike for call in calls)

    # Back through sums
    # ------------------------------------------------------------------------------------------

    def _plan_spread(self, node: Node) -> None:
        calls, idle = self._removed_with(node)
        found = [self.summands(call) for call in calls]
        owners: dict[str, Summand] = {}
        for summand in (summand for some in found for summand in some):
            known = owners.setdefault(str(summand.node.weight("weight")), summand)
            if not _same_share(known, summand):
                return
        if (
            not calls
            or not all(found)
            or not self._all_calls([summand.node for some in found for summand in some])
        ):
            return
        places = {n.id: fold.place for fold in self.backward for n in fold.calls[0].layers}
        layers = tuple((summand, places.get(summand.node.id, "")) for summand in owners.values())
        self.spread.append(Spread(tuple(calls), layers, idle, self.removable.get(node.id)))
        self.folded |= {call.id for call in calls}

    def _all_calls(self, layers: list[Node]) -> bool:
        """Whether no weight of these layers is read elsewhere too."""
        ids = {layer.id for layer in layers}
        weights = [layer.weight("weight") for layer in layers]
        return all(
            n.id in ids for w in weights if w is not None for n in calls_of(self.graph, w.name)
        )

    def summands(self, node: Node) -> list[Summand]:
        """The weight layers of the sum that a norm or factor reads, with what each of them
        takes; [] for none.
        """
        if constant_shape(self.graph, node) is None:
            return []
        try:
            return self.sums.behind(node, self._is_number(node))
        except NoSumError:
            return []

    def _is_number(self, node: Node) -> bool:
        return node.op == "scale" and is_one_number(self.graph, node)

    # What the audit tells
    # -------------------------------------------------------------------------------------

    def target(self, node: Node) -> str | None:
        """Where a batch norm or constant factor folds, as text; None where nothing takes it."""
        if node.id in self.chain_of:
            return f"the weights of {name_of(self.chain_of[node.id].head)}"
        ends = self.receivers(node) or [End(summand.node) for summand in self.summands(node)]
        return names_of_ends(ends)

    def normalised_spikes(self, node: Node) -> Node | None:
        """The batch norm between spikes and this weight layer that folds into the layer; None
        where there is none.
        """
        found, before = None, data_operand(self.graph, node)
        while before.op in (*LAYOUT, *FOLDED) and len(data_operands(self.graph, before)) == 1:
            if before.op == "batchnorm" and self.target(before) is None:
                return None
            found = before if before.op == "batchnorm" else found
            before = data_operand(self.graph, before)
        return found if kinds.is_spiking(before.kind) else None

    def first_layer(self, node: Node) -> Node | None:
        """The weight layer that takes this one in, or None."""
        chain = self.chain_of.get(node.id)
        return None if chain is None else chain.head

    def left(self) -> Iterator[Left]:
        """Norms and factors that stay, each place once. Factors of the input, and those of the
        output that nothing takes, are no part of the network.
        """
        seen = set()
        for node in self.graph:
            if (
                node.op in FOLDED
                and node.id not in self.folded
                and node.module not in seen
                and self._matters(node)
            ):
                seen.add(node.module)
                yield self._why_left(node)

    def _matters(self, node: Node) -> bool:
        if isinstance(data_operand(self.graph, node).kind, Input):
            return False
        within = reaches(self.graph, node, ("neuron", *WEIGHT_LAYERS))
        return node.op == "batchnorm" or within or self.target(node) is not None

    def _why_left(self, node: Node) -> Left:
        what = "batch norm" if node.op == "batchnorm" else "constant factor"
        target = self.target(node)
        if constant_shape(self.graph, node) is None:
            return Left(node.module, what, "it has no running statistics", "let it track them")
        if target is None:
            return Left(node.module, what, *self._why_no_target(node))
        if node.module and contents(self.graph, node.module) <= self._like(node):
            reason = f"{target} would take it, but not at every call of the modules involved"
            return Left(node.module, what, reason, "give each place a layer of its own")
        reason = f"{target} would take it, but it stands in a forward among other operations"
        if node.op == "batchnorm":
            return Left(
                node.module, what, reason, "call a module for it (nn.BatchNorm1d, nn.BatchNorm2d)"
            )
        remedy = (
            "give it a module of its own (spikedriven.layers.Scale, or one that does nothing else)"
        )
        if is_one_number(self.graph, node):
            remedy += (
                ", or keep the number as a float in an attribute of this module that has no other "
                "use"
            )
        return Left(node.module, what, reason, remedy)

    def _why_no_target(self, node: Node) -> tuple[str, str]:
        """Reason and remedy."""
        of_sum = self.sums.why_none(node, self._is_number(node))
        if of_sum:
            return of_sum
        before = data_operand(self.graph, node)
        if before.op in WEIGHT_LAYERS and not is_weight_layer(before):
            return (
                f"the weights of {name_of(before)} are no parameter, but computed at each call",
                "store them (torch.nn.utils.parametrize.remove_parametrizations), then fold",
            )
        made_by = behind(self.graph, node, LAYOUT)
        if (
            is_weight_layer(made_by)
            and only_reader(self.graph, made_by) is not None
            and node.op == "batchnorm"
        ):
            reason = f"its channels are not the outputs of {name_of(made_by)}, but another axis"
            return reason, "let it normalise the axis that the layer writes"
        remedy = "put it behind a weight layer that nothing else reads"
        return "neither a weight layer nor a neuron next to it takes it", remedy

    def _like(self, node: Node) -> set[str]:
        return {other.id for other in self.graph if _same_operator(node, other)}


def _agreeing(paths: list[list[str]]) -> int:
    """How many leading parts all paths share."""
    count = 0
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        count += 1
    return count


def _same(one: Step, other: Step) -> bool:
    elements = (one.elements is None) == (other.elements is None)
    if one.elements is not None and other.elements is not None:
        elements = torch.equal(one.elements, other.elements)
    return one.role == other.role and elements and _same_operator(one.node, other.node)


def _same_operator(one: Node, other: Node) -> bool:
    """Calls of one operator in one module, with the same weights and numbers."""
    return (one.module, one.target, _constants(one)) == (
        other.module,
        other.target,
        _constants(other),
    )


def _same_share(one: Summand, other: Summand) -> bool:
    """Whether two calls of a weight take the same."""
    elements = (one.elements is None) == (other.elements is None)
    if one.elements is not None and other.elements is not None:
        elements = torch.equal(one.elements, other.elements)
    return elements and (one.share, one.node.module) == (other.share, other.node.module)


def _constants(node: Node) -> dict[str, object]:
    return {
        name: value for name, value in node.attrs.items() if isinstance(value, Weight | int | float)
    }
