"""What the page is about, in one screen: notes a reader must know first, the main figures, the
network's parts.
"""

from collections import Counter

import torch
from torch import nn

from spikedriven import figures
from spikedriven.graph.audit import AuditReport
from spikedriven.graph.energy import EnergyReport
from spikedriven.graph.quantization import record_of
from spikedriven.layers.quantized import QuantizedLayer
from spikedriven.report.findings import Findings
from spikedriven.report.html import Html, join, section, table, tag
from spikedriven.report.subject import Request, Subject
from spikedriven.runs.selection import OPTIMISTIC


def overview(found: Findings) -> Html:
    return section("overview", "Overview", notes(found), key_figures(found), parts(found))


def notes(found: Findings) -> Html:
    """What a reader must know first: random weights or input, what else leaves no grounds for a
    verdict, and images that were chosen on.
    """
    measured = [doubt for doubt in found.measurement.doubts if doubt not in found.subject.doubts]
    lines = [*found.subject.notes, *(f"No verdict: {doubt}." for doubt in measured)]
    lines += chosen_on_these_images(found.subject)
    return join(tag("p", tag("strong", "Note. "), line, class_="warning") for line in lines)


def chosen_on_these_images(subject: Subject[Request]) -> list[str]:
    """Of a run's best checkpoint that is measured on the images that chose it; else nothing."""
    selection, split = subject.selection, subject.request.split
    if selection is None or not selection.optimistic_on(subject.data.dataset, split):
        return []
    return [f"{selection}. {OPTIMISTIC}"]


def key_figures(found: Findings) -> Html:
    """Name and value of what is asked first."""
    report = found.energies["sdt"]
    quality = (
        "top-1 accuracy",
        f"{found.accuracy.top1:.2f} %" if found.accuracy else "not measured",
    )
    name, value = found.dense.headline if found.dense else quality
    shown = {
        name: value,
        "energy, convention sdt": f"{_energy(report)} per image ({found.measurement.form})",
        "latency in PyTorch, here": _latency(found),
        "spikes per image": f"{found.measurement.spikes:,.0f}",
        "as released": _adds(found.released.ok_as_released, found),
        "after folding": _adds(found.folded.ok, found)
        if isinstance(found.folded, AuditReport)
        else "not folded",
        "mean input rate": f"{report.comparison.mean_rate:.1%} per binary step",
        "parameters": f"{_count(found.subject.model):,}",
        **_integers(found.subject.model),
    }
    return tag(
        "dl",
        join(tag("div", tag("dt", k), tag("dd", v)) for k, v in shown.items()),
        class_="figures",
    )


def _energy(report: EnergyReport) -> str:
    """In the largest unit in which it is at least 1."""
    unit, size = figures.unit_of(1e9 * report.total_mj)
    return f"{1e9 * report.total_mj / size:.4g} {unit}"


def _latency(found: Findings) -> str:
    threads = torch.get_num_threads()
    many = f"{threads} thread{'s' if threads != 1 else ''}"
    return f"{1000 * found.latency:.3g} ms per image ({many})"


def _integers(model: nn.Module) -> dict[str, str]:
    """Bits and size of integer weights, where there are such."""
    record = record_of(model)
    if record is None:
        return {}
    counts = Counter(layer.bits for layer in record.layers.values())
    bits = ", ".join(f"{bits} bits in {count} layers" for bits, count in sorted(counts.items()))
    return {"integer weights": f"{bits}; {record.weight_bytes() / 1e6:.3g} MB"}


def _adds(ok: bool, found: Findings) -> str:
    if found.released.neurons == 0:
        return "no verdict: no spiking neuron"
    return "addition-only" if ok else "not addition-only"


def parts(found: Findings) -> Html:
    """Parameters of each top-level module."""
    model = found.subject.model
    rows = [
        (name, type(module).__name__, f"{_count(module):,}", f"{_count(module, trained=True):,}")
        for name, module in model.named_children()
    ]
    rows.append(
        ("all", type(model).__name__, f"{_count(model):,}", f"{_count(model, trained=True):,}")
    )
    shapes = " and ".join(" x ".join(map(str, shape)) for shape in found.inputs)
    steps = found.measurement.time_steps
    known = None if found.subject.given is not None else model.num_classes
    classes = f", {known} classes" if known else ""
    text = f"{found.subject.network}{_changes(found)}, {steps} time steps, input {shapes}{classes}."
    header = ("part", "class", "parameters", "trainable")
    return join([tag("p", text), table("Parameters by part", header, rows, (2, 3))])


def _changes(found: Findings) -> str:
    """The recipe's own keywords, without which the registered name would mislead."""
    recipe = found.subject.recipe
    if recipe is None or not recipe.model.args:
        return ""
    return f" with {', '.join(f'{name} {value}' for name, value in recipe.model.args.items())}"


def _count(module: nn.Module, trained: bool = False) -> int:
    integers = (
        0
        if trained
        else sum(m.weight.numel() for m in module.modules() if isinstance(m, QuantizedLayer))
    )
    return integers + sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)
