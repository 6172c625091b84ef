"""Which operator does what: the one table from operator name to operator class and value kind.

A model with an operator of its own registers a rule for it::

    from spikedriven.graph import Call, Kind, Spike, register_rule

    @register_rule("mylib::my_neuron", op="neuron")
    def _(call: Call) -> Kind:
        return Spike()
"""

import math
from collections.abc import Callable

from spikedriven.graph import kinds
from spikedriven.graph.calls import Call, neuron_or_membrane, register_rule
from spikedriven.graph.kinds import Analog, Constant, Count, Input, Kind, Membrane, Span, Spike
from spikedriven.graph.nodes import Weight
from spikedriven.graph.products import contracted_size, einsum_shapes


def _aten(names: str) -> list[str]:
    return [f"aten::{name}" for name in names.split()]


def _same(call: Call) -> Kind:
    return call.kind_of("self") if "self" in call.attrs else call.data.kind


for _op, _names in {
    "reshape": "reshape view _unsafe_view view_as reshape_as flatten unflatten ravel permute "
    "transpose t T mT H mH"
    " numpy_T adjoint swapaxes swapdims movedim moveaxis squeeze unsqueeze pixel_shuffle "
    "pixel_unshuffle unfold im2col"
    " channel_shuffle native_channel_shuffle atleast_1d atleast_2d atleast_3d",
    "repeat": "repeat tile expand expand_as repeat_interleave broadcast_to upsample_nearest1d "
    "upsample_nearest2d"
    " upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d",
    "slice": "slice select narrow index_select gather take_along_dim index unbind split "
    "split_with_sizes chunk"
    " tensor_split hsplit vsplit dsplit unsafe_split unsafe_chunk flip fliplr flipud roll rot90 "
    "diagonal",
    "identity": "clone contiguous alias detach lift_fresh_copy lift_fresh to _to_copy type_as "
    "dropout feature_dropout"
    " alpha_dropout feature_alpha_dropout copy resolve_conj resolve_neg real",
    "maxpool": "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices adaptive_max_pool1d "
    "adaptive_max_pool2d"
    " adaptive_max_pool3d amax amin",
}.items():
    register_rule(_aten(_names), _op)(_same)


def _weight_op(name: str) -> Callable[[Call], str]:
    """Weight layers carry ``name`` while their weight is a constant; a computed kernel makes
    them a product of data.
    """
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


def _einsum_op(call: Call) -> str:
    """One operand alone is moved or summed; with a weight it is a layer, with data a product."""
    if len(einsum_shapes(call.attrs, call.operands)) > 1:
        data = sum(not isinstance(operand.kind, Constant) for operand in call.operands.values())
        return "matmul" if data > 1 else "linear"
    return "reshape" if contracted_size(call.target, call.attrs, call.operands) == 1 else "sum"


@register_rule("aten::einsum", _einsum_op)
def _einsum(call: Call) -> Kind:
    found = [operand.kind for operand in call.operands.values()]
    terms = contracted_size(call.target, call.attrs, call.operands)
    if len(einsum_shapes(call.attrs, call.operands)) == 1:
        return kinds.total(found[0], terms)
    return kinds.multiply(found[0], found[1], terms) if len(found) == 2 else Analog()


def _two_sided(with_constant: str, with_data: str) -> Callable[[Call], str]:
    """Operator class by whether one side of an elementwise operator is constant; times 1 is
    nothing at all.
    """

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


def _add_op(call: Call) -> str:
    """Adding 0 is nothing: the first round of ``total = total + x``."""
    plain = call.target != "aten::rsub" and isinstance(call.attrs.get("other"), int | float)
    return "identity" if plain and call.attrs["other"] == 0 else "add"


@register_rule(_aten("add sub rsub"), _add_op)
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
    """Counts plus or minus a whole number (``1 - spike`` is a spike again); None for anything
    else.
    """
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
    terms, divisor = math.prod(call.attrs["kernel_size"]), call.attrs.get("divisor_override")
    if divisor == 1:
        return kinds.total(call.data.kind, terms)
    return kinds.average(call.data.kind, terms)


@register_rule(_aten("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"), "avgpool")
def _adaptive_avgpool(call: Call) -> Kind:
    """Windows may differ by one position: sizes that do not divide are averages too."""
    same = call.data.shape == call.shape
    return call.data.kind if same else kinds.average(call.data.kind, max(_reduced(call), 2))


@register_rule(
    _aten(
        "upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d"
        " _upsample_bicubic2d_aa upsample_trilinear3d"
    ),
    "interpolate",
)
def _interpolate(call: Call) -> Kind:
    return Input() if call.data.kind == Input() else Analog()


@register_rule("torchvision::roi_align", "avgpool")
def _roi_align(call: Call) -> Kind:
    """Weighted means of neighbours, with weights that depend on where the boxes lie."""
    return Analog()


@register_rule(_aten("cat stack concat"), "cat")
@register_rule(_aten("maximum minimum max min"), "select")
def _join(call: Call) -> Kind:
    weights = [Constant() for value in call.attrs.values() if isinstance(value, Weight)]
    return kinds.join([*(operand.kind for operand in call.operands.values()), *weights])


@register_rule(_aten("select_scatter slice_scatter diagonal_scatter"), "cat")
def _written(call: Call) -> Kind:
    """A tensor of which a part was written: ``out[t] = spikes``."""
    return kinds.join(call.kind_of(name) for name in ("self", "src"))


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


@register_rule(
    _aten(
        "ge gt le lt eq ne logical_and logical_or logical_not logical_xor bitwise_and bitwise_or "
        "__and__"
        " __or__ bitwise_not bitwise_xor"
    ),
    "compare",
)
def _compare(call: Call) -> Kind:
    return Spike()


def _bounds(call: Call) -> tuple[float, float]:
    """Between which numbers the operator cuts its operand off."""
    given = call.attrs
    low, high = given.get("min", given.get("min_val")), given.get("max", given.get("max_val"))
    if call.target.startswith("aten::relu"):
        low, high = 0, 6 if call.target == "aten::relu6" else None
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _cut(call: Call) -> Span | None:
    """Whole numbers cut off at whole numbers (``clamp(a + b, max=1)``, a logical OR); None for
    all else.
    """
    found = kinds.span(call.data.kind)
    if found is None or len(call.operands) > 1:
        return None
    low, high = (bound / found.factor for bound in _bounds(call))
    if any(bound not in (-math.inf, math.inf) and bound != int(bound) for bound in (low, high)):
        return None
    least, largest = (int(max(min(value, high), low)) for value in (found.low, found.high))
    return Span(least, largest, found.factor, found.averaged)


@register_rule(_aten("relu relu6 clamp clamp_min clamp_max hardtanh"),
               lambda call: "select" if _cut(call) else "activation")  # fmt: skip
def _bounded(call: Call) -> Kind:
    found = _cut(call)
    return Analog() if found is None else found.kind


@register_rule(
    _aten(
        "leaky_relu elu gelu silu mish sigmoid tanh hardswish hardsigmoid softplus"
        " prelu softmax _softmax log_softmax layer_norm native_layer_norm"
        " group_norm rms_norm instance_norm scaled_dot_product_attention exp log sqrt rsqrt pow "
        "square"
        " abs sin cos reciprocal var std linalg_vector_norm cosine_similarity"
    ),
    "activation",
)
def _activation(call: Call) -> Kind:
    return Analog()


@register_rule(_aten("zeros zeros_like new_zeros empty empty_like new_empty"), "constant")
def _zeros(call: Call) -> Kind:
    """Of ``empty`` only what was written later is ever read."""
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


@register_rule("spikedriven::lif", neuron_or_membrane)
def _lif(call: Call) -> Kind:
    return Membrane() if call.attrs.get("output") else Spike()


@register_rule("spikedriven::expand_spike", "neuron")
def _expand_spike(call: Call) -> Kind:
    return Spike()


@register_rule("spikedriven::integer_spike", "neuron")
def _integer_spike(call: Call) -> Kind:
    return kinds.scale(Count(call.attrs["levels"]), 1.0 / call.attrs["norm"])


@register_rule(["spikedriven::integer_conv", "spikedriven::integer_conv_transpose"], "conv")
@register_rule("spikedriven::integer_linear", "linear")
def _integer_layer(call: Call) -> Kind:
    return Analog()


@register_rule("spikedriven::ordered_mean", "mean")
def _ordered_mean(call: Call) -> Kind:
    return kinds.average(call.data.kind, _reduced(call))
