"""Energy of a network under a named convention, from measured firing rates, with the arithmetic shown."""

from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from torch import nn

from spikedriven.graph.compare import Comparison, compare
from spikedriven.graph.conventions import Convention, Cost, Technology, find_convention, find_technology
from spikedriven.graph.counts import Layer, count_layers, operands_to_measure
from spikedriven.graph.firing import Batches, each_batch, operand_rates
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.tables import text_table
from spikedriven.graph.trace import trace


@dataclass(frozen=True)
class Measurement:
    """The table of layers with measured rates. images: how many were averaged; time_steps: T."""

    layers: tuple[Layer, ...]
    images: int
    time_steps: int


@dataclass(frozen=True)
class EnergyRow:
    """One layer that the convention counts. rate: mean whole number per input element and step (None: real input);
    flops: dense operations; sops: additions that spikes cause; per image, all steps."""

    name: str
    op: str
    rate: float | None
    flops: float
    sops: float
    macs: float
    acs: float
    picojoule: float
    formula: str


@dataclass(frozen=True)
class EnergyReport:
    """Per image. rows: layers in the convention's energy. comparison: what an equal ANN would need."""

    convention: Convention
    technology: Technology
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
    def total_mj(self) -> float:
        """Millijoule per image."""
        return sum(row.picojoule for row in self.rows) * 1e-9

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "convention": {k: v for k, v in asdict(self.convention).items() if k != "cost"},
            "technology": asdict(self.technology),
            "images": self.measurement.images,
            "time_steps": self.measurement.time_steps,
            "total_mj": self.total_mj,
            "macs": self.macs,
            "acs": self.acs,
            "silent": list(self.silent),
            "comparison": asdict(self.comparison),
            "layers": [asdict(row) for row in self.rows],
        }

    @property
    def silent(self) -> tuple[str, ...]:
        """Layers whose input never spiked: untrained or badly loaded weights, and figures that say nothing."""
        return tuple(row.name for row in self.rows if row.rate == 0.0)

    def formula(self) -> str:
        """The total with its numbers."""
        prices = self.technology
        return (
            f"{self.total_mj:.6g} mJ = {prices.mac_pj} pJ x {self.macs:.6g} MACs + {prices.ac_pj} pJ x "
            f"{self.acs:.6g} ACs, per image, T = {self.measurement.time_steps}"
        )

    def __str__(self) -> str:
        header = ("layer", "op", "rate", "FLOPs", "SOPs", "MACs", "ACs", "pJ", "formula")
        table = text_table(header, [_cells(row) for row in self.rows], right=header[2:8], width=200)
        return (
            f"convention {self.convention.name}: {self.convention.formula}\nsource: {self.convention.source}\n"
            f"{self.basis()}\n{table}\n{self.formula()}\n{self.comparison}{self._warning()}"
        )

    def basis(self) -> str:
        """What the figures rest on: prices, images, steps."""
        return (
            f"per image, mean over {self.measurement.images} images, T = {self.measurement.time_steps}; prices "
            f"{self.technology.name}, {self.technology.source}"
        )

    def _warning(self) -> str:
        if not self.silent:
            return ""
        return (
            f"\nWARNING: {len(self.silent)} of {len(self.rows)} layers read no spike at all (first: {self.silent[0]}); "
            "with untrained weights these figures say nothing about the network"
        )


def _cells(row: EnergyRow) -> tuple[str, ...]:
    rate = "real" if row.rate is None else f"{row.rate:.4f}"
    figures = (f"{value:.4g}" for value in (row.flops, row.sops, row.macs, row.acs, row.picojoule))
    return row.name, row.op, rate, *figures, row.formula


def energy(
    model: nn.Module | SpikeGraph, batches: Batches, convention: str = "sdt", technology: str = "fp32",
    progress: bool = False,
) -> EnergyReport:  # fmt: skip
    """Energy per image, from the rates measured on a batch or a loader.

    model: a module or its graph. batches: one batch as the model takes it, or an iterable of batches or of
    (batch, labels). convention: a key of `CONVENTIONS`; technology: of `TECHNOLOGIES`.
    """
    return cost(measure(model, batches, progress), convention, technology)


def measure(model: nn.Module | SpikeGraph, batches: Batches, progress: bool = False) -> Measurement:
    """The table of layers with the rates of every operand, to be costed under any number of conventions."""
    stream = each_batch(batches, progress)
    first = next(stream)
    graph = model if isinstance(model, SpikeGraph) else trace(model, first)
    rates, images = operand_rates(graph, operands_to_measure(graph), chain([first], stream))
    return Measurement(tuple(count_layers(graph, rates)), images, time_steps(graph))


def time_steps(graph: SpikeGraph) -> int:
    """T: the leading axis of the neurons (time steps, or time steps times a batch of one)."""
    lif = [node.shape[0] for node in graph.find("neuron") if node.target == "spikedriven::lif"]
    return max(lif or [node.shape[0] // graph.batch_size for node in graph.find("neuron")], default=1)


def cost(measurement: Measurement, convention: str = "sdt", technology: str = "fp32") -> EnergyReport:
    """The same measurement under one convention and one technology."""
    rule, prices = find_convention(convention), find_technology(technology)
    costs = [(layer, rule.cost(layer)) for layer in measurement.layers]
    rows = tuple(_row(layer, priced, prices) for layer, priced in costs if priced.counted)
    macs, acs = sum(row.macs for row in rows), sum(row.acs for row in rows)
    comparison = compare(measurement.layers, measurement.time_steps, macs, acs)
    return EnergyReport(rule, prices, measurement, rows, comparison)


def _row(layer: Layer, priced: Cost, prices: Technology) -> EnergyRow:
    return EnergyRow(
        name=layer.name,
        op=layer.op,
        rate=layer.rate if layer.spiking else None,
        flops=layer.ops,
        sops=priced.acs if layer.spiking else 0.0,
        macs=priced.macs,
        acs=priced.acs,
        picojoule=priced.macs * prices.mac_pj + priced.acs * prices.ac_pj,
        formula=priced.formula,
    )
