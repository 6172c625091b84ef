"""`expand`: an integer-trained network as a network of binary spikes over T x D steps, checked to
compute the same.

Every integer neuron becomes its binary steps, which its readers see as one count (`substeps`):
weight layers accumulate the D sub-steps and add their bias once, products keep one binary operand.
What one count is worth goes into the weights, or into the threshold behind a product. The forward
of the model, whoever wrote it, stays as it is.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.graph import kinds, substep_arithmetic, substep_moves  # noqa: F401  # the latter two register their rules
from spikedriven.graph.chains import is_weight_layer
from spikedriven.graph.edit import carry_out
from spikedriven.graph.equality import check_equal, check_input, exact_copy
from spikedriven.graph.folding import Plan
from spikedriven.graph.fuse import plan_of, warn_of
from spikedriven.graph.inputs import as_inputs
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.paths import LAYOUT, WEIGHT_LAYERS, behind, made_in, name_of
from spikedriven.graph.substeps import PutOut, SubSteps, WithoutUnit, value_of
from spikedriven.graph.trace import as_graphed, trace
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import neurons_of

#: The worth of the counts that a module was called with, one for each call; None for a call with no
#: counts.
Units = Mapping[str, list[float | None]]


def expand(model: nn.Module, example: Any = None, check: bool = True) -> nn.Module:
    """A folded, spiking copy of a model, for inference; the model itself stays as it is.

    A network of binary neurons comes back folded only. example, check: as in `fuse`; check also
    looks whether every weight layer and product reads spikes. Raises SpikedrivenError where the
    networks differ, InputError with every place that cannot be expanded, and warns as `fuse` does.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> from torch import nn
        >>> from spikedriven.neurons import IntegerNeuron
        >>> model = nn.Sequential(nn.Linear(8, 16), IntegerNeuron(levels=4), nn.Linear(16, 2))
        >>> model, features = model.eval(), torch.rand(1, 5, 8)
        >>> spiking = sd.expand(model, features)
        >>> torch.allclose(spiking(features), model(features), atol=1e-5)
        True
    """
    exact, x = exact_copy(model), check_input(model, example)
    plan = plan_of(exact, x)
    spiking = copy.deepcopy(exact)
    left = carry_out(plan, spiking)
    expansion = Expansion.of(spiking, plan, x)
    expansion.take_units(spiking)
    if check:
        check_equal(exact, spiking, x, reads=value_of)
        graph = trace(spiking, x)
        _check_binary(graph)
        warn_of([*left, *Plan(graph).left()])
    result = copy.deepcopy(model).eval()
    carry_out(plan, result)
    expansion.put_in(result)
    expansion.take_units(result)
    return result


@dataclass(frozen=True)
class Expansion:
    """What is done to a folded network. neurons: those that become binary steps. layers, readers:
    weight layers and neurons that read counts, with what one count is worth.
    """

    neurons: tuple[str, ...]
    layers: Mapping[str, float]
    readers: Mapping[str, float]

    @classmethod
    def of(cls, model: nn.Module, plan: Plan, x: Any) -> "Expansion":
        """Puts the binary steps into the model, runs it, and sees what reads counts of which
        worth.
        """
        counting = _counting_neurons(model)
        Expansion(counting, {}, {}).put_in(model)
        layers = {fold.place for fold in plan.backward if fold.place}
        layers |= {n.module for n in plan.graph if is_weight_layer(n) and _owns_its_weight(n)}
        present = {name for name, _ in model.named_modules()}
        units = _units_read(model, [*(layers & present), *neurons_of(model)], x)
        read = {
            name: worth for name, worth in units.items() if any(unit is not None for unit in worth)
        }
        _check_units({name: worth for name, worth in read.items() if name in layers})
        worth = {
            name: next(unit for unit in units if unit is not None) for name, units in read.items()
        }
        return cls(
            counting,
            {name: unit for name, unit in worth.items() if name in layers},
            {name: unit for name, unit in worth.items() if name not in layers},
        )

    def put_in(self, model: nn.Module) -> None:
        """Binary steps in the place of counting neurons."""
        for name in self.neurons:
            neuron = model.get_submodule(name)
            assert isinstance(neuron, Neuron)
            steps = neuron.expanded().eval()
            steps.register_forward_hook(PutOut(neuron.levels, neuron.unit))
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, steps)

    def take_units(self, model: nn.Module) -> None:
        """Weights and thresholds take over what a count is worth."""
        scaled: set[int] = set()
        with torch.no_grad():
            for name, unit in self.layers.items():
                layer = model.get_submodule(name)
                weight = cast(Tensor, layer.weight)
                if id(weight) not in scaled:  # two layers may share one weight
                    weight.mul_(unit)
                scaled.add(id(weight))
                layer.register_forward_pre_hook(WithoutUnit(accumulate=False))
        for name, unit in self.readers.items():
            neuron = model.get_submodule(name)
            assert isinstance(neuron, Neuron)
            if unit != 1.0:
                neuron.rescale(1.0 / unit)
            neuron.register_forward_pre_hook(WithoutUnit(accumulate=True), prepend=True)


def _owns_its_weight(node: Node) -> bool:
    weight = node.weight("weight")
    return weight is not None and bool(node.module) and weight.name == f"{node.module}.weight"


def _counting_neurons(model: nn.Module) -> tuple[str, ...]:
    """Neurons that put out more than one spike a step. Raises InputError that names those
    without an expansion.
    """
    found, missing = [], []
    for name, neuron in neurons_of(model).items():
        if neuron.levels == 1 and neuron.unit == 1.0:
            continue
        try:
            neuron.expanded()
            found.append(name)
        except InputError as error:
            missing.append(f"  {name}: {error}")
    if missing:
        raise InputError("\n".join(["these neurons cannot be expanded:", *missing]))
    return tuple(found)


def _units_read(model: nn.Module, names: Iterable[str], x: Any) -> Units:
    units: dict[str, list[float | None]] = {}

    def see(name: str, args: tuple) -> None:
        units.setdefault(name, []).append(args[0].unit if isinstance(args[0], SubSteps) else None)

    hooks = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _m, args, name=name: see(name, args)
        )
        for name in names
    ]
    try:
        with torch.no_grad(), as_graphed(model):
            model(*as_inputs(x))
    finally:
        for hook in hooks:
            hook.remove()
    return units


def _check_units(units: Units) -> None:
    """A layer takes over one worth: every call must bring counts of it."""
    wrong = [
        f"  {name}: reads counts worth {sorted(set(map(str, worth)))}"
        for name, worth in units.items()
        if len(set(worth)) > 1
    ]
    if wrong:
        remedy = (
            "give each place a layer of its own, or the neurons in front of it the same levels and "
            "norm"
        )
        raise InputError(
            "\n".join(
                [f"these layers are called with different kinds of counts; {remedy}:", *wrong]
            )
        )


def _check_binary(graph: SpikeGraph) -> None:
    """Raise InputError with every weight layer and product that reads the accumulated count of
    a neuron.
    """
    wrong = []
    for node in graph:
        operands = graph.operands(node)
        if node.op in WEIGHT_LAYERS and _accumulated(graph, operands[:1]):
            wrong.append(node)
        if node.op in ("matmul", "multiply") and len(_accumulated(graph, operands)) == len(
            operands
        ):
            wrong.append(node)
    if wrong:
        lines = [f"  {name_of(node)}: {node.op} reads {operands_of(graph, node)}" for node in wrong]
        remedy = (
            "call weight layers as modules on what a neuron puts out, reshaped, sliced, joined or "
            "max-pooled"
        )
        raise InputError(
            "\n".join([f"these places read counts, not binary spikes; {remedy}:", *lines])
        )


def operands_of(graph: SpikeGraph, node: Node) -> str:
    return " and ".join(
        f"{operand.kind} from {made_in(operand)}" for operand in graph.operands(node)
    )


def _accumulated(graph: SpikeGraph, operands: list[Node]) -> list[Node]:
    """Those that are sums of a neuron's sub-steps."""
    return [operand for operand in operands if _is_accumulated(graph, operand)]


def _is_accumulated(graph: SpikeGraph, node: Node) -> bool:
    span = kinds.span(node.kind)
    if span is None or span.averaged or (span.low, span.high) == (0, 1):
        return False
    through = (*LAYOUT, "slice", "sum", "scale", "maxpool", "pad", "cat", "add", "select")
    return (
        node.op != "neuron" and (node.op in through) and behind(graph, node, through).op == "neuron"
    )
