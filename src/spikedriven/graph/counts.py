"""What a network would compute densely, and what its layers read: the table that energy
conventions cost.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spikedriven.graph import kinds
from spikedriven.graph.calls import Operand
from spikedriven.graph.kinds import Constant
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.padding import inner_share
from spikedriven.graph.paths import data_operand, name_of, origin
from spikedriven.graph.products import contracted_size
from spikedriven.graph.steps import calls_by_layer, leading, longest_run

WEIGHT_OPS = ("conv", "linear")
PRODUCT_OPS = ("matmul", "multiply")
OTHER_OPS = (
    "divide",
    "scale",
    "add",
    "batchnorm",
    "neuron",
    "activation",
    "maxpool",
    "avgpool",
    "mean",
    "sum",
    "interpolate",
)


@dataclass(frozen=True)
class Read:
    """A value that a layer reads or a neuron puts out.

    spiking: spikes or counts, by provenance. rate: mean whole number per element and step (the
    firing rate where ``levels`` is 1; 1.0 for real values, which are all there; nan where nobody
    gave it). levels: the largest whole number.
    """

    spiking: bool
    rate: float = 1.0
    levels: int = 1


@dataclass(frozen=True)
class AttentionShape:
    """A q k^T v product: ``steps`` x ``heads`` x (``tokens`` x ``dim`` and ``tokens`` x
    ``value_dim``).
    """

    steps: int
    heads: int
    tokens: int
    dim: int
    value_dim: int
    q: Read
    k: Read
    v: Read


@dataclass(frozen=True)
class Layer:
    """One row of the table; all figures are for one image and all time steps.

    ops: multiply-accumulates of the dense operator (weight layers and products), else one per
    output element. padding_ops: those of them that fall on zero padding. bias_ops: additions of a
    bias. elements, inputs: values written and read. window: values a pool looks at per output.
    passes: how often the operator runs (its time steps or binary sub-steps). weights, biases:
    values of the two tensors; weight_bits: of integer weights (`quantize`). output: what a neuron
    puts out. attention: on the second of the two products of an attention block whose q, k and v
    are known.
    """

    name: str
    op: str
    ops: float
    reads: tuple[Read, ...]
    bias_ops: float = 0.0
    elements: float = 0.0
    inputs: float = 0.0
    window: int = 1
    attention: AttentionShape | None = None
    padding_ops: float = 0.0
    passes: int = 1
    weights: float = 0.0
    biases: float = 0.0
    weight_bits: int | None = None
    output: Read | None = None

    @property
    def spiking(self) -> bool:
        """True where at least one operand spikes: no product of two real values."""
        return any(read.spiking for read in self.reads)

    @property
    def rate(self) -> float:
        """The rate of the sparsest spiking operand, which decides what has to be added; 1 for real
        values.

        An operand whose rate nobody gave is left out, while another one is known.
        """
        spiking = [read.rate for read in self.reads if read.spiking]
        return min(
            (rate for rate in spiking if not math.isnan(rate)), default=math.nan if spiking else 1.0
        )

    @property
    def levels(self) -> int:
        """The largest whole number of that operand."""
        spiking = [read for read in self.reads if read.spiking]
        return (
            min(spiking, key=lambda read: (math.isnan(read.rate), read.rate)).levels
            if spiking
            else 1
        )

    @property
    def dense_ops(self) -> float:
        """Multiply-accumulates of one dense pass: what an ANN of the same shape computes for an
        image.
        """
        return self.ops / self.passes

    @property
    def spikes(self) -> float:
        """Spikes that a neuron puts out for one image; a count n is n spikes. 0 for other
        layers.
        """
        return (
            self.elements * self.output.rate
            if self.output is not None and self.output.spiking
            else 0.0
        )


def operands_to_measure(graph: SpikeGraph) -> dict[str, float]:
    """Nodes whose mean the table needs -> the constant factor to divide it by."""
    found: dict[str, float] = {}
    for node in graph:
        if node.op in (*WEIGHT_OPS, *PRODUCT_OPS, *OTHER_OPS):
            for operand in graph.operands(node):
                found |= _factor(operand)
        if node.op == "neuron":
            found |= _factor(node)
    return found


def _factor(node: Node) -> dict[str, float]:
    span = kinds.span(node.kind)
    return {} if span is None else {node.id: abs(span.factor)}


def count_layers(graph: SpikeGraph, rates: Mapping[str, float]) -> list[Layer]:
    """The table in execution order. rates: node id -> mean whole number (see
    `firing.operand_rates`).
    """
    wanted = (*WEIGHT_OPS, *PRODUCT_OPS, *OTHER_OPS)
    nodes = [node for node in graph if node.op in wanted and not _weights_only(graph, node)]
    longest = longest_run(graph)
    return [
        _one_layer([_layer(graph, node, rates, longest) for node in found])
        for found in calls_by_layer(graph, nodes)
    ]


def _one_layer(calls: list[Layer]) -> Layer:
    """The layer of which these are the calls at each step, one after the other."""
    first = calls[0]
    if len(calls) == 1:
        return first
    summed = ("ops", "bias_ops", "elements", "inputs", "padding_ops", "passes")
    read = zip(
        *(call.reads for call in calls), strict=False
    )  # the first step has no membrane to read
    reads = tuple(_mean_read(found) for found in read)
    outputs = [call.output for call in calls if call.output is not None]
    return replace(
        first,
        **{name: sum(getattr(call, name) for call in calls) for name in summed},
        reads=reads,
        attention=_all_steps([call.attention for call in calls if call.attention is not None]),
        output=_mean_read(outputs) if outputs else None,
    )


def _mean_read(calls: Sequence[Read]) -> Read:
    """What is read over all steps. Not spiking as soon as one step is not."""
    spiking = all(call.spiking for call in calls)
    rate = math.fsum(call.rate for call in calls) / len(calls) if spiking else 1.0
    return Read(spiking, rate, max(call.levels for call in calls))


def _all_steps(calls: Sequence[AttentionShape]) -> AttentionShape | None:
    if not calls:
        return None
    q, k, v = (_mean_read([getattr(call, name) for call in calls]) for name in ("q", "k", "v"))
    return replace(calls[0], steps=sum(call.steps for call in calls), q=q, k=k, v=v)


def _passes(graph: SpikeGraph, node: Node, longest: int) -> int:
    """How often an operator runs: its leading axis, where that is of time: it divides the
    longest one of a neuron.
    """
    steps = leading(graph, node, longest)
    return steps if steps > 0 and longest % steps == 0 else 1


def _weights_only(graph: SpikeGraph, node: Node) -> bool:
    """What is computed from weights alone is computed once, not per image."""
    return all(isinstance(operand.kind, Constant) for operand in graph.operands(node))


def _layer(graph: SpikeGraph, node: Node, rates: Mapping[str, float], longest: int) -> Layer:
    """longest: the leading axis of the neuron with most steps."""
    elements = math.prod(node.shape) / graph.batch_size
    data = [operand for operand in graph.operands(node) if not isinstance(operand.kind, Constant)]
    ops = elements * _terms(graph, node)
    return Layer(
        name=layer_name(node),
        op=node.op,
        ops=ops,
        reads=tuple(_read(operand, rates) for operand in data),
        bias_ops=elements if node.attrs.get("bias") is not None and node.op in WEIGHT_OPS else 0.0,
        elements=elements,
        inputs=math.prod(data[0].shape) / graph.batch_size,
        window=_window(node),
        attention=_attention(graph, node, rates) if node.op == "matmul" else None,
        padding_ops=ops * (1.0 - _inner_share(graph, node)),
        passes=_passes(graph, node, longest),
        weights=_size(graph, node, "weight"),
        biases=_size(graph, node, "bias"),
        weight_bits=integer_bits(graph, node),
        output=_read(node, rates) if node.op == "neuron" else None,
    )


def layer_name(node: Node) -> str:
    """The module's path, and for operators that a module may call several times also the node's
    id.
    """
    owns_its_module = node.op in (*WEIGHT_OPS, "batchnorm", "neuron", "maxpool", "avgpool")
    return name_of(node) if owns_its_module else f"{node.module}.{node.id}".lstrip(".")


def _size(graph: SpikeGraph, node: Node, name: str) -> float:
    """Values in the weight or the bias of a weight layer, be it a parameter or computed from
    parameters.
    """
    if node.op not in WEIGHT_OPS:
        return 0.0
    shape = _weight_shape(graph, node, name)
    return float(math.prod(shape)) if shape is not None else 0.0


def is_integer_layer(node: Node) -> bool:
    """Whether it is a layer with integer weights (`layers.quantized`); the unit of what it
    reads is in its scale.
    """
    return node.op in WEIGHT_OPS and node.target.startswith("spikedriven::integer_")


def integer_bits(graph: SpikeGraph, node: Node) -> int | None:
    """Bits that the weights of a quantized layer take, two at least; None for other layers."""
    weight = node.weight("weight")
    if weight is None or not is_integer_layer(node):
        return None
    largest = int(graph.weights[weight.name].abs().max())
    return max(largest.bit_length() + 1, 2)


def _weight_shape(graph: SpikeGraph, node: Node, name: str) -> tuple[int, ...] | None:
    weight = node.weight(name)
    if (
        weight is None
        and name == "weight"
        and "weight" not in node.inputs
        and "weight" not in node.attrs
    ):
        found = [
            value for value in node.attrs.values() if isinstance(value, Weight)
        ]  # matmul with a parameter
        weight = found[0] if found else None
    if weight is not None:
        return weight.shape
    return graph[node.inputs[name]].shape if name in node.inputs else None


def _inner_share(graph: SpikeGraph, node: Node) -> float:
    shape = _weight_shape(graph, node, "weight") if node.op == "conv" else None
    if shape is None:
        return 1.0
    kernel = shape[2:]
    return inner_share(
        node, kernel, data_operand(graph, node).shape[-len(kernel) :], node.shape[-len(kernel) :]
    )


def _terms(graph: SpikeGraph, node: Node) -> float:
    """Multiply-accumulates per output element."""
    if node.op == "matmul" or (node.op == "linear" and node.target != "aten::linear"):
        return _inner_size(graph, node)
    if node.op not in WEIGHT_OPS:
        return 1.0
    shape = _weight_shape(graph, node, "weight")
    assert shape is not None
    if (
        "transpose" in node.target
    ):  # each input value is spread over the kernel: count per input, then per output
        inputs = math.prod(data_operand(graph, node).shape)
        return inputs * math.prod(shape[1:]) / math.prod(node.shape)
    return math.prod(shape[1:])


def _inner_size(graph: SpikeGraph, node: Node) -> int:
    operands = {name: Operand(graph[i].kind, graph[i].shape) for name, i in node.inputs.items()}
    return contracted_size(node.target, node.attrs, operands)


def _window(node: Node) -> int:
    kernel = node.attrs.get("kernel_size")
    return math.prod(kernel) if kernel else 1


def _read(operand: Node, rates: Mapping[str, float]) -> Read:
    span = kinds.span(operand.kind)
    if span is None or span.averaged:
        return Read(spiking=False)
    return Read(True, rates.get(operand.id, math.nan), max(span.high, -span.low))


def _attention(graph: SpikeGraph, node: Node, rates: Mapping[str, float]) -> AttentionShape | None:
    """The q k^T v chain that ends in this product, where the names of the neurons tell q, k and
    v apart.
    """
    sides = graph.operands(node)
    inner = [side for side in sides if _made_by(graph, side).op == "matmul"]
    if len(inner) != 1 or len(node.shape) < 3:
        return None
    first = _made_by(graph, inner[0])
    outer = sides[1 - sides.index(inner[0])]
    operands = [*graph.operands(first), outer]
    letters = _distinct_letters([_made_by(graph, operand).module for operand in operands])
    named = dict(zip(letters, operands, strict=False))
    if named.keys() != {"q", "k", "v"}:
        return None
    over_tokens, over_dim = _inner_size(graph, node), _inner_size(graph, first)
    if outer is named["q"]:
        over_tokens, over_dim = over_dim, over_tokens
    *steps, heads, _, _ = node.shape
    return AttentionShape(
        steps=math.prod(steps) // graph.batch_size,
        heads=heads,
        tokens=over_tokens,
        dim=over_dim,
        value_dim=math.prod(named["v"].shape[-2:]) // over_tokens,
        **{letter: _read(operand, rates) for letter, operand in named.items()},
    )


def _made_by(graph: SpikeGraph, node: Node) -> Node:
    """What made a value, behind reshapes."""
    return origin(graph, node) if node.op in ("reshape", "repeat", "identity", "slice") else node


def _distinct_letters(paths: list[str]) -> list[str]:
    """First letters of the first part in which module paths differ: q, k, v for ``attn.q_lif``,
    ``attn.k_lif`` ...
    """
    columns = zip(*(path.split(".") for path in paths), strict=False)
    return [part[:1] for part in next((column for column in columns if len(set(column)) > 1), ())]
