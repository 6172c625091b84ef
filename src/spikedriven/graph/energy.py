"""Energy of a network under a named convention, from firing rates, with the arithmetic shown."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from spikedriven import figures
from spikedriven.errors import InputError
from spikedriven.graph.compare import Comparison
from spikedriven.graph.conventions import Convention, Technology, find_convention, find_technology
from spikedriven.graph.counts import Layer
from spikedriven.graph.firing import Batches
from spikedriven.graph.forms import Form
from spikedriven.graph.measurement import Measurement, measure
from spikedriven.graph.memory import Memory
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.partners import compare, partner_cost
from spikedriven.graph.prices import Prices
from spikedriven.graph.tables import text_table
from spikedriven.tabular import Tabular


@dataclass(frozen=True)
class EnergyRow:
    """One layer that the convention counts; figures are per image, over all steps.

    rate: spikes per input element and step, of a neuron per output element; counts are mean whole
    numbers (None: real values). flops: dense operations. sops: additions that spikes cause.
    picojoule: arithmetic_pj + memory_pj. moved: kind of value -> (read, written, picojoule).
    partner_pj: (arithmetic, memory) of the same layer in a dense ANN. weight_bits: of integer
    weights.
    """

    name: str
    op: str
    rate: float | None
    flops: float
    sops: float
    macs: float
    acs: float
    arithmetic_pj: float
    memory_pj: float
    formula: str
    moved: dict[str, tuple[float, float, float]]
    partner_pj: tuple[float, float]
    weight_bits: int | None = None

    @property
    def picojoule(self) -> float:
        return self.arithmetic_pj + self.memory_pj


@dataclass(frozen=True)
class EnergyReport(Tabular):
    """Per image. rows: layers in the convention's energy. comparison: what ANNs of the same shape
    would need.

    memory: parameters of the memory traffic, None where the convention counts arithmetic only."""

    convention: Convention
    technology: Technology
    memory: Memory | None
    measurement: Measurement
    rows: tuple[EnergyRow, ...]
    comparison: Comparison

    @property
    def macs(self) -> float:
        return sum(row.macs for row in self.rows)

    @property
    def acs(self) -> float:
        return sum(row.acs for row in self.rows)

    @property
    def arithmetic_mj(self) -> float:
        return sum(row.arithmetic_pj for row in self.rows) * 1e-9

    @property
    def memory_mj(self) -> float:
        return sum(row.memory_pj for row in self.rows) * 1e-9

    @property
    def total_mj(self) -> float:
        """Millijoule per image."""
        return sum(row.picojoule for row in self.rows) * 1e-9

    @property
    def padding_share(self) -> float:
        """Share of the dense operations of weight layers and products that fall on zero padding."""
        ops = sum(layer.ops for layer in self.measurement.multiplying)
        return (
            sum(layer.padding_ops for layer in self.measurement.multiplying) / ops if ops else 0.0
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = self.measurement
        return {
            "convention": {
                name: getattr(self.convention, name)
                for name in ("name", "formula", "source", "padding")
            },
            "technology": asdict(self.technology),
            "memory": None if self.memory is None else asdict(self.memory),
            "form": found.form,
            "images": found.images,
            "time_steps": found.time_steps,
            "binary_steps": found.steps,
            "spikes": found.spikes,
            "doubts": list(found.doubts),
            "total_mj": self.total_mj,
            "arithmetic_mj": self.arithmetic_mj,
            "memory_mj": self.memory_mj,
            "macs": self.macs,
            "acs": self.acs,
            "padding_share": self.padding_share,
            "silent": list(self.silent),
            "comparison": asdict(self.comparison),
            "layers": [asdict(row) | {"picojoule": row.picojoule} for row in self.rows],
        }

    def records(self) -> list[dict[str, Any]]:
        """One row a layer; figures per image. ann_pj: of the same layer in a dense ANN."""
        left_out = ("moved", "partner_pj")
        return [
            {key: value for key, value in asdict(row).items() if key not in left_out}
            | {"picojoule": row.picojoule, "ann_pj": sum(row.partner_pj)}
            for row in self.rows
        ]

    def headline(self) -> str:
        """The total with its numbers, the comparison, and what there is to doubt."""
        return "\n".join(
            part for part in (self.measurement.warning(), self.formula(), self.verdict()) if part
        )

    def plot(self) -> Any:
        """How the energy adds up, layer by layer, beside ANNs of the same shape in fp32 and
        int8: a figure.
        """
        layers = [row for row in self.rows if row.picojoule]
        totals = {
            f"ANN {name}": self.comparison.partner(name).ann_mj * 1e9 for name in ("fp32", "int8")
        }
        title = (
            f"convention {self.convention.name}, {self.technology.name}. "
            f"{self.measurement.warning()}"
        ).rstrip()
        return figures.waterfall(
            [row.name for row in layers], [row.picojoule for row in layers], totals, title
        )

    @property
    def silent(self) -> tuple[str, ...]:
        """Layers whose input never spiked: untrained or badly loaded weights, and figures that say
        nothing."""
        return tuple(row.name for row in self.rows if row.rate == 0.0 and row.op != "neuron")

    def formula(self) -> str:
        """The total with its numbers."""
        prices = self.technology
        memory = "" if self.memory is None else f" + {self.memory_mj:.6g} mJ memory traffic"
        if prices.by_weights:
            sums = f"{self.macs:.6g} MACs and {self.acs:.6g} ACs at the prices of each layer's bits"
            return (
                f"{self.total_mj:.6g} mJ = {sums}{memory}, per image, T = "
                f"{self.measurement.time_steps}"
            )
        return (
            f"{self.total_mj:.6g} mJ = {prices.mac_pj} pJ x {self.macs:.6g} MACs + {prices.ac_pj} "
            "pJ x "
            f"{self.acs:.6g} ACs{memory}, per image, T = {self.measurement.time_steps}"
        )

    def basis(self) -> str:
        """What the figures rest on: form, prices, images, steps, padding."""
        found = self.measurement
        padding = "counted, as in the source's FLOPs" if self.convention.padding else "not counted"
        return (
            f"{found.basis()}; prices {self.technology.name}, {self.technology.source}; operations "
            "on zero padding "
            f"({self.padding_share:.1%} of all) are {padding}"
        )

    def verdict(self) -> str:
        """The comparison; figures only where the measurement gives no grounds for a verdict."""
        return self.comparison.figures() if self.measurement.doubts else str(self.comparison)

    def __str__(self) -> str:
        header = (
            "layer",
            "op",
            "spikes / step",
            "FLOPs",
            "SOPs",
            "MACs",
            "ACs",
            "pJ",
            "memory pJ",
            "formula",
        )
        table = text_table(header, [_cells(row) for row in self.rows], right=header[2:9], width=220)
        parts = [
            self.measurement.warning(),
            f"convention {self.convention.name}: {self.convention.formula}\nsource: "
            f"{self.convention.source}",
            self.basis(),
            table,
            self.formula(),
            self.verdict(),
            self._silence(),
        ]
        return "\n".join(part for part in parts if part)

    def _silence(self) -> str:
        if not self.silent:
            return ""
        return (
            f"WARNING: {len(self.silent)} of {len(self.rows)} layers read no spike at all (first: "
            f"{self.silent[0]}); "
            "with untrained weights these figures say nothing about the network"
        )


def _cells(row: EnergyRow) -> tuple[str, ...]:
    rate = "real" if row.rate is None else f"{row.rate:.4f}"
    values = (row.flops, row.sops, row.macs, row.acs, row.picojoule, row.memory_pj)
    return row.name, row.op, rate, *(f"{value:.4g}" for value in values), row.formula


def energy(
    model: nn.Module | SpikeGraph,
    batches: Batches,
    convention: str = "sdt",
    technology: str | None = None,
    progress: bool = False,
    form: Form | None = None,
) -> EnergyReport:
    """Energy per image, from the rates measured on a batch or a loader.

    model: a module or its graph. batches: one batch as the model takes it, or an iterable of
    batches or of (batch, labels). convention: a key of `CONVENTIONS`; technology: of
    `TECHNOLOGIES`, None: the convention's own, for a quantized network "weights", by the bits of
    each layer. form: of the network that is counted (see `forms`);
    None: folded where that changes a weight layer, else released.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> _ = sd.calibrate(model, images)
        >>> report = sd.energy(model, images, convention="sdt")
        >>> report.total_mj < report.comparison.ann_mj
        True
        >>> report.rows[0].name, report.rows[0].formula
        ('stem.0.project.conv', 'E_MAC x ...')
    """
    return cost(measure(model, batches, progress, form), convention, technology)


def cost(
    measurement: Measurement,
    convention: str = "sdt",
    technology: str | None = None,
    memory: Memory | None = None,
) -> EnergyReport:
    """The same measurement under one convention. memory: parameters of the traffic; None: the
    convention's own.

    Raises InputError where the convention needs a rate that was not given, or takes no memory."""
    rule = find_convention(convention)
    quantized = any(layer.weight_bits is not None for layer in measurement.layers)
    own = "weights" if quantized else rule.technology
    prices = Prices.of(rule, find_technology(technology or own), memory)
    rows = tuple(row for layer in measurement.layers if (row := _row(layer, prices)) is not None)
    missing = [row.name for row in rows if not row.picojoule >= 0.0]
    if missing:
        some = ", ".join(missing[:4]) + (
            f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        )
        raise InputError(
            f"convention {convention} needs firing rates that were not given, for {some}"
        )
    return EnergyReport(
        rule, prices.technology, prices.memory, measurement, rows, compare(measurement, prices)
    )


def _row(layer: Layer, prices: Prices) -> EnergyRow | None:
    found = prices.convention.cost(layer, prices.memory)
    if not found.counted:
        return None
    partner = partner_cost(layer, prices)
    return EnergyRow(
        name=layer.name,
        op=layer.op,
        rate=_shown_rate(layer),
        flops=prices.convention.counted(layer).ops,
        sops=found.acs if layer.spiking else 0.0,
        macs=found.macs,
        acs=found.acs,
        arithmetic_pj=prices.arithmetic(found),
        memory_pj=prices.traffic(found),
        formula=found.formula,
        moved=prices.moved(found),
        partner_pj=(prices.arithmetic(partner), prices.traffic(partner)),
        weight_bits=layer.weight_bits,
    )


def _shown_rate(layer: Layer) -> float | None:
    shown = layer.output if layer.output is not None else layer
    return shown.rate if shown.spiking else None
