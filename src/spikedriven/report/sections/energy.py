"""Energy per image: totals of all conventions, comparison with equal ANNs, and layer by layer with formulas."""

from spikedriven.graph.compare import BREAK_EVEN
from spikedriven.graph.energy import EnergyReport, EnergyRow
from spikedriven.report.findings import Findings
from spikedriven.report.html import Html, bar, details, join, section, table, tag


def energy(found: Findings) -> Html:
    first = found.energies["sdt"]["fp32"]
    return section(
        "energy", "Energy",
        tag("p", f"{first.basis()[0].upper()}{first.basis()[1:]}. Arithmetic only: no memory traffic, no leakage."),
        _silent(first), _totals(found), _comparison(first), tag("h3", "Layer by layer"),
        join(_layers(found, name) for name in found.energies),
    )  # fmt: skip


def _silent(report: EnergyReport) -> Html:
    if not report.silent:
        return Html("")
    text = f"{len(report.silent)} of {len(report.rows)} layers read no spike at all (first: {report.silent[0]})."
    return tag("p", tag("strong", "Note. "), text, class_="warning")


def _totals(found: Findings) -> Html:
    largest = max(report["fp32"].total_mj for report in found.energies.values())
    rows = []
    for name, prices in found.energies.items():
        fp32, int8 = prices["fp32"], prices["int8"]
        millijoule = (bar(fp32.total_mj, largest, f"{fp32.total_mj:.4g}"), f"{int8.total_mj:.4g}")
        rows.append((name, *millijoule, f"{fp32.macs:.4g}", f"{fp32.acs:.4g}"))
    header = ("convention", "mJ, fp32", "mJ, int8", "MACs", "ACs")
    rules = [
        tag("div", tag("dt", name), tag("dd", prices["fp32"].convention.formula, ". Source: ",
                                        prices["fp32"].convention.source, "."))
        for name, prices in found.energies.items()
    ]  # fmt: skip
    shown = table("Energy per image under each convention", header, rows, (1, 2, 3, 4))
    return join([shown, details("What each convention counts", tag("dl", join(rules), class_="rules"))])


def _comparison(report: EnergyReport) -> Html:
    """The same shapes as an ANN: when spiking does not pay, the page says so."""
    c = report.comparison
    rows = [
        ("equal ANN, fp32", f"{c.ann_mj:.4g}", f"{c.spiking_mj:.4g}", "yes" if c.pays else "no"),
        ("quantised ANN, int8", f"{c.quantised_ann_mj:.4g}", f"{c.spiking_int8_mj:.4g}",
         "yes" if c.spiking_int8_mj < c.quantised_ann_mj else "no"),
    ]  # fmt: skip
    header = ("compared with", "its mJ", "this network's mJ", "less?")
    low, high = BREAK_EVEN
    pays = "below it: spiking pays" if c.pays_quantised else "not below it: spiking does not pay by that measure"
    text = (
        f"With memory traffic, the published break-even with a quantised ANN is {low:.1%} to {high:.1%} spikes per "
        f"input and binary step (arXiv 2409.08290); here it is {c.mean_rate:.1%} over {c.steps} binary steps, {pays}."
    )
    return join([table("The same shapes as an ANN, convention sdt", header, rows, (1, 2)), tag("p", text)])


def _layers(found: Findings, name: str) -> Html:
    report = found.energies[name]["fp32"]
    largest = max((row.picojoule for row in report.rows), default=0.0)
    header = ("layer", "nJ", "rate", "FLOPs", "SOPs", "op", "formula")
    shown = table(
        f"Energy per layer, convention {name}, fp32", header, [_row(row, largest) for row in report.rows], (1, 2, 3, 4)
    )
    summary = f"{name}: {report.total_mj:.4g} mJ in {len(report.rows)} layers"
    return details(summary, tag("p", report.formula()), shown, open_=name == "sdt")


def _row(row: EnergyRow, largest: float) -> tuple:
    rate = "real" if row.rate is None else f"{row.rate:.4f}"
    cost = bar(row.picojoule, largest, f"{row.picojoule / 1000:.4g}")
    return row.name, cost, rate, f"{row.flops:.4g}", f"{row.sops:.4g}", row.op, row.formula
