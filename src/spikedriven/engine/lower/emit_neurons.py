"""Neurons, called once on all time steps or once per step in a loop."""

from dataclasses import dataclass, replace

from spikedriven.engine.lower.layout import REPEATED, Dim, axes_in, axis
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import Membrane, Value, real_of
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.graph import kinds
from spikedriven.graph.neuron_calls import neuron_spec
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.kernels.spec import IntegerSpec, NeuronSpec


@dataclass(frozen=True)
class Firing:
    """What a neuron is to the engine: its constants, its largest count, and what one count is
    worth."""

    spec: NeuronSpec
    levels: int
    unit: float

    @property
    def has_state(self) -> bool:
        return not isinstance(self.spec, IntegerSpec)


def firing_of(graph: SpikeGraph, node: Node) -> Firing:
    """What the graph says of a neuron; Unlowered where that is nothing the engine has."""
    spec = neuron_spec(graph, node)
    span = (
        kinds.Span(0, 1) if node.op == "membrane" else kinds.span(node.kind)
    )  # neurons with a membrane spike
    if spec is None or span is None or span.low != 0:
        name = node.target.split("::")[-1]
        raise Unlowered(
            f"the engine has no operation for the neuron {name}",
            "use a neuron whose spec() gives constants that the engine has, such as LIF or "
            "IntegerNeuron",
        )
    return Firing(spec, span.high, span.factor)


@emits(op="neuron", sees_steps=True)
def neuron(walk: Walk, node: Node) -> Result:
    value, firing = walk.value(node, data_of(node)), firing_of(walk.graph, node)
    if not firing.has_state:
        out = _spikes(walk, node, value, firing)
        return replace(value, map=out, factor=1.0)
    step = _step(walk, node, value)
    if step is None:
        if not is_time(walk, value.dims[0], value):
            if "B" in axes_in(value.dims[0]):
                raise Unlowered(
                    "its first axis holds the batch, so that samples of a batch would disturb one "
                    "another",
                    "give neurons [T, ...], with the batch as an axis of its own",
                )
            raise Unlowered(
                f"its first axis holds {walk.shape(node)[0]} places, where other neurons see "
                f"{walk.time_steps} time steps",
                "give all neurons the same time steps, as the first axis",
            )
        dims = (axis("T", walk.time_steps), *value.dims[1:])
        return replace(value, map=_spikes(walk, node, value, firing), dims=dims, factor=1.0)
    out = _spikes(walk, node, value, firing)
    before = walk.operand(node, "v")
    if isinstance(before, Membrane) and before.map != out:
        raise Unlowered(
            "its membrane comes from a neuron that read another layer",
            "hand each neuron its own membrane of the step before",
        )
    return replace(value, map=out, factor=1.0, steps=(step,))


@emits(op="membrane", sees_steps=True)
def membrane(walk: Walk, node: Node) -> Result:
    """Read by the call of the next step alone."""
    found = neuron(walk, node)
    if not isinstance(found, Value) or found.steps is None:
        last = walk.time_steps - 1
        return Membrane(found.map, last) if isinstance(found, Value) else None
    return Membrane(found.map, found.steps[0])


def data_of(node: Node) -> str:
    """The name of the argument that a neuron reads."""
    return "x" if "x" in node.inputs else next(iter(node.inputs))


def is_time(walk: Walk, dim: Dim, value: Value) -> bool:
    """Whether a dimension is all time steps, or one that stands for all."""
    steps = walk.time_steps
    still = walk.draft.maps[value.map].steps == 1 and dim == axis(REPEATED, steps)
    return dim == axis("T", steps) or still


def _step(walk: Walk, node: Node, value: Value) -> int | None:
    """The step of a loop that a call is, by the membrane it starts from; None for a call on all
    steps."""
    if walk.time_steps == 1 or value.dims[0]:
        return None
    before = walk.operand(node, "v")
    step = before.step + 1 if isinstance(before, Membrane) else 0
    if before is not None and not isinstance(before, Membrane):
        raise Unlowered(
            "it starts from a membrane of its own", "start neurons at rest, with v=None"
        )
    here = value.steps or (step,)
    if here != (step,) or (value.steps is None and walk.draft.maps[value.map].steps > 1):
        raise Unlowered(
            f"it is called for step {step} with the input of step {here[0]}",
            "call each neuron once per step, in the order of the steps, with the membrane of the "
            "step before",
        )
    return step


def _spikes(walk: Walk, node: Node, value: Value, firing: Firing) -> int:
    """The map that a neuron makes of all steps of a value: made once, whichever step asks first."""
    key = ("neuron", node.module, value.map, value.factor, firing)
    if key not in walk.known:
        source = real_of(walk.draft, value)
        out = walk.draft.fire(source, firing.spec, firing.levels, firing.unit)
        walk.known[key] = Value(out, ())
    found = walk.known[key]
    assert isinstance(found, Value)
    return found.map
