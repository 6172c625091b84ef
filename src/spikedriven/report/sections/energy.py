"""Energy per image: totals of all conventions beside ANNs of the same shape, a figure, and layer by
layer."""

from spikedriven.graph.compare import BREAK_EVEN
from spikedriven.graph.energy import EnergyReport, EnergyRow
from spikedriven.graph.side_by_side import where_it_pays
from spikedriven.report.energy_figure import energy_figure
from spikedriven.report.findings import Findings
from spikedriven.report.html import Html, bar, details, join, section, table, tag
from spikedriven.report.images import wide_picture

#: Whose layers are drawn: the first convention whose arithmetic shows beside its memory traffic.
DRAWN = "bit-matched"


def energy(found: Findings) -> Html:
    first = found.energies["sdt"]
    basis = first.measurement.basis()
    return section(
        "energy",
        "Energy",
        tag(
            "p", f"{basis[0].upper()}{basis[1:]}. No leakage of chips, no router. {_padding(first)}"
        ),
        _doubts(found),
        _silent(first),
        _totals(found),
        _comparison(found),
        _figure(found),
        tag("h3", "Layer by layer"),
        join(_layers(report) for report in found.energies.values()),
    )


def _padding(report: EnergyReport) -> str:
    share = f"{report.padding_share:.1%} of the dense operations fall on zero padding"
    return f"{share}; sdt, sfa and spikingformer count them, the others do not."


def _doubts(found: Findings) -> Html:
    warning = found.measurement.warning()
    return (
        tag("p", tag("strong", "Note. "), f"{warning}.", class_="warning") if warning else Html("")
    )


def _silent(report: EnergyReport) -> Html:
    if not report.silent:
        return Html("")
    text = (
        f"{len(report.silent)} of {len(report.rows)} layers read no spike at all (first: "
        f"{report.silent[0]})."
    )
    return tag("p", tag("strong", "Note. "), text, class_="warning")


def _totals(found: Findings) -> Html:
    rows = [
        (
            name,
            report.technology.name,
            f"{report.total_mj:.4g}",
            f"{report.arithmetic_mj:.4g}",
            "not counted" if report.memory is None else f"{report.memory_mj:.4g}",
            f"{report.macs:.4g}",
            f"{report.acs:.4g}",
        )
        for name, report in found.energies.items()
    ]
    header = ("convention", "prices", "mJ", "arithmetic", "memory", "MACs", "ACs")
    rules = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", report.convention.formula, ". Source: ", report.convention.source, "."),
        )
        for name, report in found.energies.items()
    ]
    shown = table("Energy per image under each convention", header, rows, (2, 3, 4, 5, 6))
    return join(
        [shown, details("What each convention counts", tag("dl", join(rules), class_="rules"))]
    )


def _comparison(found: Findings) -> Html:
    """The same shapes as an ANN: when spiking does not pay, the page says so."""
    doubtful = bool(found.measurement.doubts)
    rows = [
        (name, partner.name, f"{partner.ann_mj:.4g}", f"{partner.spiking_mj:.4g}",
         "no verdict" if doubtful else "yes" if partner.pays else "no")
        for name, report in found.energies.items()
        for partner in report.comparison.partners
    ]  # fmt: skip
    header = ("convention", "ANN in", "its mJ", "this network's mJ", "less?")
    shown = table(
        "The same shapes as an ANN, one dense pass at the same prices", header, rows, (2, 3)
    )
    return join(
        [shown, tag("p", _break_even(found, doubtful)), Html("") if doubtful else _where(found)]
    )


def _break_even(found: Findings, doubtful: bool) -> str:
    c, (low, high) = found.energies["sdt"].comparison, BREAK_EVEN
    text = (
        f"With memory traffic, the published break-even with a quantised ANN is {low:.1%} to "
        f"{high:.1%} spikes per "
        f"input and binary step (arXiv 2409.08290); here it is {c.mean_rate:.1%} over {c.steps} "
        "binary steps"
    )
    if doubtful:
        return f"{text}."
    pays = (
        "below it: spiking pays"
        if c.pays_quantised
        else "not below it: spiking does not pay by that measure"
    )
    return f"{text}, {pays}."


def _where(found: Findings) -> Html:
    lines = (
        tag("li", f"{name}: {where_it_pays(report)}.") for name, report in found.energies.items()
    )
    return details("Where spiking pays, layer by layer", tag("ul", join(lines)))


def _figure(found: Findings) -> Html:
    """Arithmetic and memory stacked, beside the ANN; the figures are in the tables that follow."""
    report = found.energies[DRAWN]
    alt = (
        f"Energy by layer under convention {DRAWN}, arithmetic and memory stacked, beside the ANN "
        "of the same shape; "
        "the tables that follow have the figures"
    )
    drawn = energy_figure(report, found.subject.name)
    return wide_picture(drawn, alt, "Figure of energy by layer", 960)


def _layers(report: EnergyReport) -> Html:
    name = report.convention.name
    largest = max((row.picojoule for row in report.rows), default=0.0)
    header = (
        "layer",
        "nJ",
        "of it memory",
        "ANN's nJ",
        "spikes / step",
        "FLOPs",
        "SOPs",
        "op",
        "formula",
    )
    rows = [_row(row, largest) for row in report.rows]
    shown = table(
        f"Energy per layer, convention {name}, {report.technology.name}",
        header,
        rows,
        (1, 2, 3, 4, 5, 6),
    )
    summary = f"{name}: {report.total_mj:.4g} mJ in {len(report.rows)} layers"
    return details(summary, tag("p", report.formula()), shown, open_=name == "sdt")


def _row(row: EnergyRow, largest: float) -> tuple:
    rate = "real" if row.rate is None else f"{row.rate:.4f}"
    cost = bar(row.picojoule, largest, f"{row.picojoule / 1000:.4g}")
    figures = (f"{row.memory_pj / 1000:.4g}", f"{sum(row.partner_pj) / 1000:.4g}", rate)
    return row.name, cost, *figures, f"{row.flops:.4g}", f"{row.sops:.4g}", row.op, row.formula
