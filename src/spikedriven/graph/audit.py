"""Is this network addition-only? One row per product, classed by what its operands are, never
by their values.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

from spikedriven import figures
from spikedriven.errors import InputError
from spikedriven.graph import kinds
from spikedriven.graph.counts import WEIGHT_OPS, integer_bits, is_integer_layer
from spikedriven.graph.fold_ends import factor_target
from spikedriven.graph.folding import Plan
from spikedriven.graph.inputs import Inputs
from spikedriven.graph.kinds import Input, Scaled
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.paths import data_operand, made_in, name_of, origin
from spikedriven.graph.tables import text_table
from spikedriven.graph.trace import trace
from spikedriven.tabular import Tabular

#: What a row can conclude.
ADDITION, FOLDS, ENCODING, BROKEN = (
    "addition only",
    "after folding",
    "encoding layer",
    "multiplies reals",
)

NO_NEURON = (
    "the network has no spiking neuron that this package knows (one of your own needs "
    "register_rule)"
)

VERDICTS = {
    ADDITION: "needs no multiplication as released",
    FOLDS: "needs none once a constant is folded into a neighbour",
    ENCODING: "reads the network's input; every family allows this one",
    BROKEN: "multiplies real values, and no folding removes that",
}


@dataclass(frozen=True)
class AuditRow:
    """One conv, linear, matmul, product, normalisation, interpolation or foreign activation.

    module: qualified module path; node: id in the graph; op: operator class; classed: "spike x
    weight", "spike x spike", "spike x real", "real x weight", "real x real" or "activation";
    operands: their kinds; verdict: a key of `VERDICTS`; why: the reason, with the neighbour that
    takes a folded factor.
    """

    module: str
    node: str
    op: str
    classed: str
    operands: tuple[str, ...]
    verdict: str
    why: str


@dataclass(frozen=True)
class AuditReport(Tabular):
    """All rows of a network in the order they run. ``str(report)`` is a table with the verdicts
    above it.

    neurons: spiking neurons in the graph. Without one there is no verdict, and neither ``ok``
    holds. weight_bits: bits of integer weights -> how many layers have such.
    """

    rows: tuple[AuditRow, ...]
    neurons: int
    weight_bits: Mapping[int, int] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[AuditRow, ...]:
        """The rows that break the promise even after folding."""
        return tuple(row for row in self.rows if row.verdict == BROKEN)

    @property
    def folded(self) -> tuple[AuditRow, ...]:
        """The rows that multiply real values as released, and no longer after folding."""
        return tuple(row for row in self.rows if row.verdict == FOLDS)

    @property
    def encoding(self) -> tuple[AuditRow, ...]:
        """The layers that read the network's input."""
        return tuple(row for row in self.rows if row.verdict == ENCODING)

    @property
    def ok(self) -> bool:
        """Addition-only after folding, apart from the encoding layer."""
        return self.neurons > 0 and not self.findings

    @property
    def ok_as_released(self) -> bool:
        """Addition-only without any folding but that of batch norms into the layer before, as
        every paper assumes.
        """
        return self.ok and all(row.op == "batchnorm" for row in self.folded)

    def told_bits(self) -> str:
        """One line for a quantized network, else nothing."""
        found = ", ".join(f"{count} of {bits} bits" for bits, count in self.weight_bits.items())
        return f"Layers with integer weights: {found}.\n" if found else ""

    def folds_by_operator(self) -> dict[str, int]:
        """How many rows of each operator class need folding."""
        return dict(Counter(row.op for row in self.folded))

    def verdict(self) -> str:
        """Two sentences: as released, and after folding. One, where there is nothing to judge."""
        if self.neurons == 0:
            return f"No verdict: {NO_NEURON}."
        folds = (
            ", ".join(f"{count} {op}" for op, count in self.folds_by_operator().items())
            or "nothing"
        )
        encoding = ", ".join(row.module for row in self.encoding) or "none"
        broken = _some(
            dict.fromkeys(f"{row.module or row.node} ({row.op})" for row in self.findings)
        )
        return (
            f"As released: {'addition-only' if self.ok_as_released else 'NOT addition-only'}"
            f" (to fold: {folds}; batch norms count as folded).\n"
            "After folding: "
            f"{'addition-only' if self.ok else 'NOT addition-only, because of ' + broken}"
            f" (encoding layer: {encoding})."
        )

    def brief(self) -> str:
        """As ``str()``, with only the rows to act on: findings, encoding layers, foldings beyond
        batch norm.

        Rows that differ in nothing but their module are one.
        """
        groups: dict[tuple, list[AuditRow]] = {}
        for row in self.rows:
            if row.verdict != ADDITION and (row.verdict != FOLDS or row.op != "batchnorm"):
                groups.setdefault((row.op, row.operands, row.verdict, row.why), []).append(row)
        return (
            f"{self.verdict()}\n"
            f"{self.told_bits()}{_table(_as_one(rows) for rows in groups.values())}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ok": self.ok,
            "ok_as_released": self.ok_as_released,
            "neurons": self.neurons,
            "verdict": self.verdict(),
            "weight_bits": {str(bits): count for bits, count in self.weight_bits.items()},
            "rows": [asdict(row) for row in self.rows],
        }

    def records(self) -> list[dict[str, Any]]:
        """One row a product, as `rows`; operands as text."""
        return [asdict(row) | {"operands": ", ".join(row.operands)} for row in self.rows]

    def headline(self) -> str:
        """The verdict."""
        return self.verdict() + "\n" + self.told_bits()

    def plot(self) -> Any:
        """How many products of each class need no multiplication, and how many do: a figure."""
        classes = list(dict.fromkeys(row.classed for row in self.rows))
        parts = {
            verdict: [
                sum((row.classed, row.verdict) == (one, verdict) for row in self.rows)
                for one in classes
            ]
            for verdict in VERDICTS
            if any(row.verdict == verdict for row in self.rows)
        }
        return figures.bars(
            classes, parts, "products and normalisations", self.verdict().split("\n")[-1]
        )

    def __str__(self) -> str:
        return f"{self.verdict()}\n{self.told_bits()}{_table(self.rows)}"


def _as_one(rows: list[AuditRow]) -> AuditRow:
    first, *others = rows
    return (
        replace(first, module=f"{first.module or first.node} and {len(others)} more")
        if others
        else first
    )


def _some(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _table(rows: Iterable[AuditRow]) -> str:
    return text_table(
        ("module", "op", "operands", "class", "verdict", "why"),
        [
            (r.module or r.node, r.op, ", ".join(r.operands), r.classed, r.verdict, r.why)
            for r in rows
        ],
        whole=("module",),
    )


def audit(model: nn.Module | SpikeGraph, example: Inputs | None = None) -> AuditReport:
    """Class every product of a network. model: a module with an example input (see `trace`), or its
    graph.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> report = sd.audit(model, images)
        >>> report.ok, report.findings
        (True, ())
        >>> [row.module for row in report.encoding]
        ['stem.0.project.conv']
    """
    if isinstance(model, SpikeGraph):
        graph = model
    elif example is None:
        raise InputError(
            "an audit of a module needs an example input, such as model.example_input()"
        )
    else:
        graph = trace(model, example)
    plan = Plan(graph)
    rows = tuple(_CLASSIFY[node.op](plan, node) for node in graph if node.op in _CLASSIFY)
    bits = Counter(integer_bits(graph, node) for node in graph if node.op in WEIGHT_OPS)
    neurons = sum(kinds.span(node.kind) is not None for node in graph.find("neuron"))
    found = {size: bits[size] for size in sorted(size for size in bits if size is not None)}
    return AuditReport(rows, neurons, found)


def _row(node: Node, operands: list[Node], classed: str, verdict: str, why: str) -> AuditRow:
    shown = tuple(str(operand.kind) for operand in operands)
    return AuditRow(node.module, node.id, node.op, classed, shown, verdict, why)


def _weight_layer(plan: Plan, node: Node) -> AuditRow:
    source = data_operand(plan.graph, node)
    found = kinds.span(source.kind)
    if isinstance(source.kind, Input):
        return _row(node, [source], "real x weight", ENCODING, "reads the network's input")
    if found is None or found.averaged:
        return _real_weight_layer(plan, node, source)
    adds = "each spike adds one row of weights"
    if (found.low, found.high) != (0, 1):
        adds = f"a count n adds its row n times (n up to {max(found.high, -found.low)})"
    if isinstance(source.kind, Scaled) and not is_integer_layer(node):
        why = f"{adds}, once the factor {found.factor:g} is folded into these weights"
        return _row(node, [source], "spike x weight", FOLDS, why)
    return _row(node, [source], "spike x weight", ADDITION, adds)


def _real_weight_layer(plan: Plan, node: Node, source: Node) -> AuditRow:
    first = plan.first_layer(node)
    if first is not None:
        why = f"no neuron since {name_of(first)}: the chain is one linear map once fused"
        return _row(node, [source], "real x weight", FOLDS, why)
    norm = plan.normalised_spikes(node)
    if norm is not None:
        why = f"reads spikes once {name_of(norm)} is folded into these weights"
        return _row(node, [source], "spike x weight", FOLDS, why)
    made_by = origin(plan.graph, node)
    what = "averages of spikes" if kinds.span(source.kind) else "real values"
    why = f"reads {what} from {made_in(made_by)}, no neuron between"
    return _row(node, [source], "real x weight", BROKEN, why)


def _product(plan: Plan, node: Node) -> AuditRow:
    operands = plan.graph.operands(node)
    real = [operand for operand in operands if kinds.is_real(operand.kind)]
    if len(real) == len(operands):
        names = " and ".join(made_in(operand) for operand in real)
        return _row(node, operands, "real x real", BROKEN, f"both operands are real: {names}")
    classed = "spike x real" if real else "spike x spike"
    if not any(isinstance(operand.kind, Scaled) for operand in operands):
        return _row(node, operands, classed, ADDITION, _product_reason(operands, bool(real)))
    target = factor_target(plan.graph, node)
    if target is None:
        return _row(
            node,
            operands,
            classed,
            BROKEN,
            "a constant factor on an operand folds into nothing downstream",
        )
    return _row(node, operands, classed, FOLDS, f"constant factors fold into {target}")


def _product_reason(operands: list[Node], with_real: bool) -> str:
    if with_real:
        return "spikes select which real values are added"
    if all(kinds.span(operand.kind) == kinds.Span(0, 1) for operand in operands):
        return "a mask: logical AND"
    return "products of whole numbers are repeated additions"


def _divide(plan: Plan, node: Node) -> AuditRow:
    return _row(
        node,
        plan.graph.operands(node),
        "real x real",
        BROKEN,
        "divides by a value that depends on the input",
    )


def _foldable(plan: Plan, node: Node) -> AuditRow:
    source = data_operand(plan.graph, node)
    if isinstance(source.kind, Input):
        return _row(node, [source], "real x weight", ENCODING, "prepares the network's input")
    target = plan.target(node)
    if target is None:
        return _row(
            node,
            [source],
            "real x weight",
            BROKEN,
            "neither a weight layer nor a neuron next to it takes it",
        )
    return _row(node, [source], "real x weight", FOLDS, f"folds into {target}")


def _activation(plan: Plan, node: Node) -> AuditRow:
    name = node.target.split("::")[-1]
    why = f"{name} is not a spiking neuron: it hands real values on"
    return _row(node, plan.graph.operands(node), "activation", BROKEN, why)


def _interpolate(plan: Plan, node: Node) -> AuditRow:
    source = data_operand(plan.graph, node)
    if isinstance(source.kind, Input):
        return _row(node, [source], "real x weight", ENCODING, "prepares the network's input")
    why = "weighs neighbours by fractions; nearest-neighbour upsampling only repeats values"
    return _row(node, [source], "real x weight", BROKEN, why)


_CLASSIFY: dict[str, Callable[[Plan, Node], AuditRow]] = {
    "conv": _weight_layer,
    "linear": _weight_layer,
    "matmul": _product,
    "multiply": _product,
    "divide": _divide,
    "batchnorm": _foldable,
    "scale": _foldable,
    "activation": _activation,
    "interpolate": _interpolate,
}
