"""`lower`: the attempts to read a graph, of which the first that leaves no problem is taken."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from spikedriven.engine.lower.draft import Draft
from spikedriven.engine.lower.emit_neurons import firing_of
from spikedriven.engine.lower.finish import (
    planned,
    split_planes,
    without_unread,
)
from spikedriven.engine.lower.layout import BATCH
from spikedriven.engine.lower.peephole import optimised
from spikedriven.engine.lower.ports import hand_out, input_dims, names_of, read, readings
from spikedriven.engine.lower.problems import Problem, Unlowered, tell
from spikedriven.engine.lower.values import Value
from spikedriven.engine.lower.walk import Facts, Walk
from spikedriven.engine.program import Plan, Rearrange
from spikedriven.engine.scales import DEFAULT_BITS
from spikedriven.errors import InputError
from spikedriven.graph.fuse import folded_copy
from spikedriven.graph.inputs import Inputs, first_of
from spikedriven.graph.kinds import Constant
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.quantization import record_of
from spikedriven.graph.trace import trace


@dataclass(frozen=True)
class Lowered:
    """A lowered network; `plan` gives its operations, with integer weights."""

    draft: Draft

    def plan(self, weight_bits: int = DEFAULT_BITS) -> Plan:
        """weight_bits: of weights behind spikes and counts, see `scales`."""
        return planned(self.draft, weight_bits)


def lower(model: nn.Module, example: Inputs) -> Lowered:
    """The operations of a network for inputs shaped like ``example``, one tensor [B, ...] or a
    tuple of them.

    Raises InputError that lists every place that the engine cannot compute: node, module, reason,
    remedy.
    """
    folded = (
        model if record_of(model) is not None else folded_copy(model, example, depthwise="apart")
    )
    graph = trace(folded, example)
    if not graph.dynamic_batch and graph.batch_size != 1:
        graph = trace(folded, first_of(example))
    with torch.no_grad():
        return Lowered(_first_without_problem(Facts.of(graph, folded)))


def _first_without_problem(facts: Facts) -> Draft:
    inputs = [node for node in facts.graph if node.op == "input"]
    attempts: list[Walk] = []
    for axes, steps in readings(inputs, time_steps(facts)):
        attempts.append(_walked(facts, inputs, axes, steps))
        if not attempts[-1].problems and not _moved(attempts[-1].draft):
            break
    if not attempts:
        shapes = ", ".join(str(list(node.shape)) for node in inputs)
        raise InputError(
            f"the engine does not know the axes of inputs {shapes}: expected [B, C], [B, N, C], "
            "[B, C, H, W] or, with as many steps as the neurons see, [B, T, ...]"
        )
    best = min(attempts, key=lambda walk: (walk.left_out, len(walk.problems), _moved(walk.draft)))
    tell(best.problems)
    return _optimised(best.draft)


def _moved(draft: Draft) -> int:
    """How many operations only move values about: fewest where the axes of inputs were read as they
    are meant."""
    return sum(isinstance(operation, Rearrange) for operation in draft.operations)


def _optimised(draft: Draft) -> Draft:
    without_unread(draft)
    optimised(draft)
    without_unread(draft)
    split_planes(draft)
    return draft


def _walked(facts: Facts, inputs: list[Node], axes: tuple[str, ...], steps: int) -> Walk:
    walk = Walk.over(facts, steps)
    has_batch = facts.graph.dynamic_batch
    for node, letters in zip(inputs, axes, strict=True):
        value = read(walk.draft, node, letters)
        walk.values[node.id] = replace(value, dims=input_dims(letters, node, has_batch, BATCH))
    for node in facts.graph:
        if node.op != "input" and not isinstance(node.kind, Constant):
            walk.visit(node)
    for number, name in enumerate(names_of(facts.graph)):
        _hand_out(walk, facts.graph, facts.graph.outputs[number], name)
    return walk


def _hand_out(walk: Walk, graph: SpikeGraph, output: str, name: str) -> None:
    value = walk.values.get(output)
    if value is None and output in walk.values:
        return  # told of already
    node = graph[output]
    try:
        if not isinstance(value, Value):
            raise Unlowered(
                "this output is no value of the network",
                "return what the layers compute from the input",
            )
        hand_out(walk.draft, value, name, graph.dynamic_batch)
    except Unlowered as why:
        walk.problems.append(Problem(f"output {node.id}", node.module, why.reason, why.remedy))


def time_steps(facts: Facts) -> int | None:
    """How many time steps the neurons with a membrane see; None where there are no such neurons."""
    depth: dict[str, int] = {}
    found = 0
    for node in facts.graph:
        if node.op not in ("neuron", "membrane") or not _has_state(facts, node):
            continue
        before = depth.get(node.inputs.get("v", ""), 0)
        depth[node.id] = (
            before + node.shape[0] if node.op == "neuron" else before + _steps_in(facts, node)
        )
        found = max(found, depth[node.id])
    return found or None


def _steps_in(facts: Facts, node: Node) -> int:
    """Steps that a call sees, of the node for its membrane."""
    return facts.graph[node.data].shape[0]


def _has_state(facts: Facts, node: Node) -> bool:
    try:
        return firing_of(facts.graph, node).has_state
    except Unlowered:
        return True
