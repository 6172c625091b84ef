"""Which operator does what: the one table from operator name to operator class and value kind.

A model with an operator of its own registers a rule for it::

    from spikedriven.graph import Call, Kind, Spike, register_rule

    @register_rule("mylib::my_neuron", op="neuron")
    def _(call: Call) -> Kind:
        return Spike()
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spikedriven.errors import InputError
from spikedriven.graph import kinds
from spikedriven.graph.kinds import Analog, Constant, Count, Input, Kind, Membrane, Span, Spike

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
    "neuron": "spiking neuron; attrs are its options",
    "membrane": "the last membrane of a neuron, as a second output",
    "activation": "a non-linear function that is not a spiking neuron (relu, softmax, layer norm ...)",
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

    Arguments that are weights stand in ``attrs`` as `Weight`. Numbers in tensors are never available to a rule.
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
    """Decorator: the rule for one or several operators, named ``"namespace::name"`` without overload.

    op: operator class, a key of `OPS`, or a function of the call that returns one.
    """
    if isinstance(op, str) and op not in OPS:
        raise InputError(f"operator class {op!r} is not known; choose one of {', '.join(OPS)}")

    def register(kind: Callable[[Call], Kind]) -> Callable[[Call], Kind]:
        for target in [targets] if isinstance(targets, str) else targets:
            RULES[target] = Rule(op, kind)
        return kind

    return register


def apply_rule(call: Call, module: str) -> tuple[str, Kind]:
    """Operator class and output kind of a call made in ``module``. Raises InputError for an operator without a rule."""
    rule = RULES.get(call.target)
    if rule is None:
        raise InputError(
            f"the spike graph has no rule for operator {call.target}, called in {module or 'the model itself'}; "
            "use operators it knows, or say what this one does: "
            f"spikedriven.graph.register_rule({call.target!r}, op=...)(lambda call: <kind of its output>)"
        )
    if not all(isinstance(operand.kind, Constant) for operand in call.operands.values()):
        return rule.op_of(call), rule.kind(call)
    keeps_its_value = rule.op == "constant" or (
        call.operands and rule.op in ("reshape", "repeat", "identity")
    )
    return "constant", rule.kind(call) if keeps_its_value else Constant()


def _aten(names: str) -> list[str]:
    return [f"aten::{name}" for name in names.split()]


def _same(call: Call) -> Kind:
    return call.kind_of("self") if "self" in call.attrs else call.data.kind


for _op, _names in {
    "reshape": "reshape view _unsafe_view view_as flatten unflatten permute transpose t swapaxes movedim squeeze"
    " unsqueeze pixel_shuffle pixel_unshuffle unfold",
    "repeat": "repeat expand expand_as repeat_interleave upsample_nearest1d upsample_nearest2d broadcast_to",
    "slice": "slice select narrow index_select gather index unbind split split_with_sizes chunk flip roll diagonal",
    "identity": "clone contiguous alias detach lift_fresh_copy to _to_copy type_as dropout feature_dropout",
    "maxpool": "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices adaptive_max_pool1d adaptive_max_pool2d amax",
}.items():
    register_rule(_aten(_names), _op)(_same)


def _weight_op(name: str) -> Callable[[Call], str]:
    """Weight layers carry ``name`` while their weight is a constant; a computed kernel makes them a product of data."""
    return lambda call: name if isinstance(call.kind_of("weight"), Constant) else "matmul"


@register_rule(
    _aten("conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d"), _weight_op("conv")
)
@register_rule("aten::linear", _weight_op("linear"))
@register_rule("aten::embedding", "linear")
def _weighted(call: Call) -> Kind:
    return Analog()


@register_rule(
    _aten("batch_norm _native_batch_norm_legit_no_training _batch_norm_no_update"), "batchnorm"
)
def _batchnorm(call: Call) -> Kind:
    return Input() if call.data.kind == Input() else Analog()


def _matmul_op(call: Call) -> str:
    return "linear" if any(isinstance(kind, Constant) for kind in _factors(call)) else "matmul"


def _factors(call: Call) -> list[Kind]:
    names = [
        name
        for name in ("self", "mat1", "other", "mat2")
        if name in call.operands or name in call.attrs
    ]
    return [call.kind_of(name) for name in names]


@register_rule(_aten("matmul bmm mm"), _matmul_op)
def _matmul(call: Call) -> Kind:
    left, right = _factors(call)
    return kinds.multiply(left, right, contracted_size(call.target, call.attrs, call.operands))


@register_rule("aten::einsum", lambda call: "linear" if len(call.operands) == 1 else "matmul")
def _einsum(call: Call) -> Kind:
    operands = list(call.operands.values())
    if len(operands) != 2:
        return Analog()
    return kinds.multiply(
        operands[0].kind, operands[1].kind, contracted_size(call.target, call.attrs, call.operands)
    )


def contracted_size(target: str, attrs: Mapping[str, Any], operands: Mapping[str, Operand]) -> int:
    """How many products a matrix product sums per output element."""
    if target != "aten::einsum":
        left = next((operands[name] for name in ("self", "mat1") if name in operands), None)
        return left.shape[-1] if left else next(iter(operands.values())).shape[-2]
    letters, _, result = attrs["equation"].replace(" ", "").partition("->")
    if "." in letters or not result or len(operands) != letters.count(",") + 1:
        raise InputError(
            f"einsum {attrs['equation']!r}: write every axis of activations as a letter, and the result"
        )
    shape = [size for operand in operands.values() for size in operand.shape]
    sizes = dict(zip(letters.replace(",", ""), shape, strict=True))
    return math.prod(size for letter, size in sizes.items() if letter not in result)


def _two_sided(with_constant: str, with_data: str) -> Callable[[Call], str]:
    """Operator class by whether one side of an elementwise operator is constant; times 1 is nothing at all."""

    def op(call: Call) -> str:
        left, right = call.kind_of("self"), call.kind_of("other")
        if right == Constant(1.0) or (left == Constant(1.0) and call.target == "aten::mul"):
            return "identity"
        return (
            with_constant
            if isinstance(left, Constant) or isinstance(right, Constant)
            else with_data
        )

    return op


@register_rule("aten::mul", _two_sided("scale", "multiply"))
def _multiply(call: Call) -> Kind:
    left, right = call.kind_of("self"), call.kind_of("other")
    for value, factor in ((left, right), (right, left)):
        if isinstance(factor, Constant) and factor.value is not None:
            return kinds.scale(value, factor.value)
    return kinds.multiply(left, right)


@register_rule("aten::div", _two_sided("scale", "divide"))
def _divide(call: Call) -> Kind:
    left, right = call.kind_of("self"), call.kind_of("other")
    if isinstance(right, Constant) and right.value and call.attrs.get("rounding_mode") is None:
        return kinds.scale(left, 1.0 / right.value)
    return Analog()


@register_rule("aten::neg", "scale")
def _negate(call: Call) -> Kind:
    return kinds.negated(call.data.kind)


@register_rule(_aten("add sub rsub"), "add")
def _add(call: Call) -> Kind:
    left, right = call.kind_of("self"), call.kind_of("other")
    if call.target == "aten::rsub":
        left, right = right, left
    if call.target != "aten::add":
        right = kinds.negated(right)
    alpha = call.attrs.get("alpha", 1)
    shifted = _shifted(left, right, -1 if call.target != "aten::add" else 1)
    return shifted if shifted is not None else kinds.add(left, kinds.scale(right, alpha))


def _shifted(left: Kind, right: Kind, sign: int) -> Kind | None:
    """Counts plus or minus a whole number (``1 - spike`` is a spike again); None for anything else."""
    for value, constant, factor in ((left, right, sign), (right, left, 1)):
        found = kinds.span(value)
        if (
            found
            and found.factor == 1.0
            and isinstance(constant, Constant)
            and constant.value is not None
        ):
            shift = factor * constant.value
            if shift == int(shift):
                return Span(
                    found.low + int(shift), found.high + int(shift), 1.0, found.averaged
                ).kind
    return None


def _reduced(call: Call) -> int:
    return math.prod(call.data.shape) // max(math.prod(call.shape), 1)


@register_rule("aten::sum", "sum")
def _sum(call: Call) -> Kind:
    return kinds.total(call.data.kind, _reduced(call))


@register_rule("aten::mean", "mean")
def _mean(call: Call) -> Kind:
    return kinds.average(call.data.kind, _reduced(call))


@register_rule(_aten("avg_pool1d avg_pool2d avg_pool3d"), "avgpool")
def _avgpool(call: Call) -> Kind:
    return kinds.average(call.data.kind, math.prod(call.attrs["kernel_size"]))


@register_rule(_aten("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"), "avgpool")
def _adaptive_avgpool(call: Call) -> Kind:
    return kinds.average(call.data.kind, _reduced(call))


@register_rule("aten::upsample_bilinear2d", "interpolate")
def _interpolate(call: Call) -> Kind:
    return Input() if call.data.kind == Input() else Analog()


@register_rule("torchvision::roi_align", "avgpool")
def _roi_align(call: Call) -> Kind:
    """Weighted means of neighbours, with weights that depend on where the boxes lie."""
    return Analog()


@register_rule(_aten("cat stack concat"), "cat")
@register_rule(_aten("maximum minimum max min"), "select")
def _join(call: Call) -> Kind:
    return kinds.join(operand.kind for operand in call.operands.values())


@register_rule("aten::where", "select")
def _where(call: Call) -> Kind:
    return kinds.join(call.kind_of(name) for name in ("self", "other"))


@register_rule("aten::masked_fill", "select")
def _masked_fill(call: Call) -> Kind:
    return kinds.join(call.kind_of(name) for name in ("self", "value"))


@register_rule(_aten("pad constant_pad_nd"), "pad")
def _pad(call: Call) -> Kind:
    if call.attrs.get("mode", "constant") != "constant":
        return call.data.kind
    return kinds.join([call.data.kind, Constant(float(call.attrs.get("value") or 0.0))])


@register_rule(_aten("ge gt le lt eq ne logical_and logical_or logical_not logical_xor bitwise_and bitwise_or __and__"
                     " __or__ bitwise_not bitwise_xor"), "compare")  # fmt: skip
def _compare(call: Call) -> Kind:
    return Spike()


@register_rule(_aten("relu relu6 leaky_relu elu gelu silu mish sigmoid tanh hardtanh hardswish hardsigmoid softplus"
                     " prelu clamp clamp_min clamp_max softmax _softmax log_softmax layer_norm native_layer_norm"
                     " group_norm rms_norm instance_norm scaled_dot_product_attention exp log sqrt rsqrt pow square"
                     " abs sin cos reciprocal var std linalg_vector_norm cosine_similarity"), "activation")  # fmt: skip
def _activation(call: Call) -> Kind:
    return Analog()


@register_rule(_aten("zeros zeros_like new_zeros"), "constant")
def _zeros(call: Call) -> Kind:
    return Constant(0.0)


@register_rule(_aten("ones ones_like new_ones"), "constant")
def _ones(call: Call) -> Kind:
    return Constant(1.0)


@register_rule(_aten("full full_like new_full scalar_tensor"), "constant")
def _full(call: Call) -> Kind:
    value = call.attrs.get("fill_value", call.attrs.get("s"))
    return Constant(float(value)) if isinstance(value, int | float) else Constant()


@register_rule(_aten("arange linspace eye tril triu"), "constant")
def _weights_only(call: Call) -> Kind:
    return Constant()


@register_rule(
    "spikedriven::lif", lambda call: "membrane" if call.attrs.get("output") else "neuron"
)
def _lif(call: Call) -> Kind:
    return Membrane() if call.attrs.get("output") else Spike()


@register_rule("spikedriven::expand_spike", "neuron")
def _expand_spike(call: Call) -> Kind:
    return Spike()


@register_rule("spikedriven::integer_spike", "neuron")
def _integer_spike(call: Call) -> Kind:
    return kinds.scale(Count(call.attrs["levels"]), 1.0 / call.attrs["norm"])
