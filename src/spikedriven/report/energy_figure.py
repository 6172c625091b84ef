"""The figure of energy by layer: arithmetic and memory stacked, this network beside the ANN of the
same shape."""

import io
import textwrap
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spikedriven.errors import InputError
from spikedriven.files import write_whole
from spikedriven.graph.energy import EnergyReport, EnergyRow

#: Arithmetic and memory of this network, then of the ANN.
COLOURS = ("#1f5fa8", "#8fbbe8", "#a85a1f", "#e8bd8f")
UNITS: tuple[tuple[str, float], ...] = (("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3))
FORMATS = (".png", ".svg", ".pdf")
#: Layers that are named; in a network with more only every second or third is.
NAMED = 60


def write_energy_figure(report: EnergyReport, name: str, path: Path) -> Path:
    """Draw into a file whose ending says the format. InputError for another ending."""
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the name of a figure must end in {', '.join(FORMATS)}")
    return write_whole(path, energy_figure(report, name, path.suffix[1:]))


def energy_figure(report: EnergyReport, name: str, format: str = "png") -> bytes:
    """Left bars: this network; right bars: one dense pass of the ANN at the same prices; neurons
    are added to the layer in front of them."""
    layers = _layers(report.rows)
    figure = Figure(
        figsize=(min(max(8.0, 2.5 + 0.17 * len(layers)), 26.0), 5.2), dpi=110, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    width, places = 0.42, range(len(layers))
    unit, size = _unit(layers)
    for i, (side, label) in enumerate(((-1, "this network"), (1, "ANN, one pass"))):
        at = [place + side * width / 2 for place in places]
        arithmetic, memory = ([layer[1][2 * i + j] / size for layer in layers] for j in (0, 1))
        axis.bar(at, arithmetic, width, color=COLOURS[2 * i], label=f"{label}: arithmetic")
        if report.memory is not None:
            axis.bar(
                at, memory, width, arithmetic, color=COLOURS[2 * i + 1], label=f"{label}: memory"
            )
    every = -(-len(layers) // NAMED)
    axis.set_xticks(
        list(places)[::every],
        [layer[0] for layer in layers][::every],
        rotation=90,
        fontsize=6,
        parse_math=False,
    )
    axis.set_xlim(-0.8, len(layers) - 0.2)
    axis.set_ylabel(f"{unit} per image")
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(report, name, figure.get_figwidth()), fontsize=9, parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format)
    return buffer.getvalue()


#: Name of a layer, and picojoule: arithmetic and memory of this network, then of the ANN.
_Bars = tuple[str, tuple[float, ...]]


def _unit(layers: list[_Bars]) -> tuple[str, float]:
    """The unit in which the tallest bar has few digits, and how many picojoule it is."""
    tallest = max((max(sum(bars[:2]), sum(bars[2:])) for _, bars in layers), default=0.0)
    return next((found for found in UNITS if tallest >= found[1]), UNITS[-1])


def _layers(rows: tuple[EnergyRow, ...]) -> list[_Bars]:
    found: list[_Bars] = []
    for row in rows:
        bars = (row.arithmetic_pj, row.memory_pj, *row.partner_pj)
        if not sum(row.partner_pj) and found:  # a neuron, a norm: the ANN has nothing of the kind
            name, before = found.pop()
            found.append((name, tuple(map(sum, zip(before, bars, strict=True)))))
        else:
            found.append((row.name, bars))
    return found


def _title(report: EnergyReport, name: str, inches: float) -> str:
    ann = next(p for p in report.comparison.partners if p.name == report.technology.name)
    title = (
        f"{name} ({report.measurement.form}), convention {report.convention.name}, "
        f"{report.technology.name}: "
        f"{report.total_mj:.4g} mJ per image; ANN of the same shape {ann.ann_mj:.4g} mJ"
    )
    warning = report.measurement.warning()
    return "\n".join(textwrap.wrap(f"{title}. {warning}" if warning else title, round(13 * inches)))
