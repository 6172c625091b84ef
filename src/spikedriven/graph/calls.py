"""What a rule is: operator classes, one call as rules see it, and the registry of rules (see
`rules`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spikedriven.errors import InputError
from spikedriven.graph.kinds import Constant, Kind
from spikedriven.graph.nodes import Weight

OPS: dict[str, str] = {
    "input": "what the caller hands to the model",
    "conv": "convolution with a weight tensor",
    "linear": "matrix product with a weight tensor",
    "matmul": "matrix product of two activations",
    "multiply": "elementwise product of two activations",
    "divide": "elementwise quotient of two activations",
    "scale": "elementwise product with, or quotient by, a constant or a weight tensor",
    "add": "elementwise sum or difference; one side may be a constant or a weight tensor",
    "batchnorm": "normalisation by running statistics: one factor and one shift per channel",
    "neuron": "spiking neuron; attrs are its options, or what it says of itself (levels, unit, "
    "spec)",
    "membrane": "the last membrane of a neuron, as a second output",
    "activation": "a non-linear function that is not a spiking neuron (relu, softmax, layer norm "
    "...)",
    "compare": "comparison or logical operator: its output is 0 or 1",
    "maxpool": "maximum over a window or an axis",
    "avgpool": "mean over a window",
    "mean": "mean over whole axes",
    "interpolate": "values of another grid size as weighted means of neighbours (bilinear)",
    "sum": "sum over whole axes",
    "reshape": "the same values in another shape or order of axes",
    "repeat": "the same values several times",
    "slice": "a part of the values, or the values in another order",
    "cat": "several values side by side",
    "select": "elementwise choice between two values",
    "pad": "values with a constant border",
    "identity": "the same values (cast, copy, dropout in evaluation)",
    "constant": "computed from weights alone, or a filled tensor",
}


@dataclass(frozen=True)
class Operand:
    """An argument that a node produced: its kind and shape."""

    kind: Kind
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One operator call, as rules see it: operands by argument name, other arguments, output shape.

    Arguments that are weights stand in ``attrs`` as `Weight`. Numbers in tensors are never
    available to a rule.
    """

    target: str
    operands: Mapping[str, Operand]
    attrs: Mapping[str, Any]
    shape: tuple[int, ...]

    @property
    def data(self) -> Operand:
        return next(iter(self.operands.values()))

    def kind_of(self, name: str) -> Kind:
        """The kind of an argument, be it an operand, a number or a weight."""
        if name in self.operands:
            return self.operands[name].kind
        value = self.attrs[name]
        return Constant(float(value)) if isinstance(value, int | float) else Constant()


@dataclass(frozen=True)
class Rule:
    """The operator class of a call and the kind of its output."""

    op: str | Callable[[Call], str]
    kind: Callable[[Call], Kind]

    def op_of(self, call: Call) -> str:
        return self.op if isinstance(self.op, str) else self.op(call)


RULES: dict[str, Rule] = {}


def register_rule(
    targets: str | Iterable[str], op: str | Callable[[Call], str]
) -> Callable[[Callable[[Call], Kind]], Callable[[Call], Kind]]:
    """Decorator: the rule for one or several operators, named ``"namespace::name"`` without
    overload.

    op: operator class, a key of `OPS`, or a function of the call that returns one.
    """
    if isinstance(op, str) and op not in OPS:
        raise InputError(f"operator class {op!r} is not known; choose one of {', '.join(OPS)}")

    def register(kind: Callable[[Call], Kind]) -> Callable[[Call], Kind]:
        for target in [targets] if isinstance(targets, str) else targets:
            RULES[target] = Rule(op, kind)
        return kind

    return register


def target_name(target: Any) -> str:
    """``"aten::add"`` for ``aten.add_.Tensor``: without overload, and in-place operators under
    their plain name.
    """
    namespace, name = target._schema.name.split("::")
    return f"{namespace}::{name if name.startswith('__') else name.rstrip('_')}"


def is_neuron_operator(target: str) -> bool:
    """Whether a rule says that this operator is a spiking neuron."""
    rule = RULES.get(target)
    return rule is not None and rule.op in ("neuron", neuron_or_membrane)


def neuron_or_membrane(call: Call) -> str:
    """The class of an operator with two outputs: spikes, and the last membrane."""
    return "membrane" if call.attrs.get("output") else "neuron"


def apply_rule(call: Call, module: str) -> tuple[str, Kind]:
    """Operator class and output kind of a call made in ``module``. Raises InputError for an
    operator without a rule.
    """
    rule = RULES.get(call.target)
    constant = all(isinstance(operand.kind, Constant) for operand in call.operands.values())
    computed = call.operands or any(isinstance(value, Weight) for value in call.attrs.values())
    if rule is None and constant and computed:
        return "constant", Constant()
    if rule is None:
        raise InputError(
            f"the spike graph has no rule for operator {call.target}, called in "
            f"{module or 'the model itself'}; "
            "use operators it knows, or say what this one does: "
            f"spikedriven.graph.register_rule({call.target!r}, op=...)(lambda call: <kind of its "
            "output>)"
        )
    if not constant:
        return rule.op_of(call), rule.kind(call)
    keeps_its_value = rule.op == "constant" or (
        call.operands and rule.op in ("reshape", "repeat", "identity")
    )
    return "constant", rule.kind(call) if keeps_its_value else Constant()
