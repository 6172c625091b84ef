"""Is the network addition-only: as it is, and after folding."""

from spikedriven.graph.audit import ADDITION, BROKEN, FOLDS, VERDICTS, AuditReport, AuditRow
from spikedriven.report.findings import Findings
from spikedriven.report.html import Html, details, join, section, table, tag

HEADER = ("module", "op", "operands", "class", "verdict", "why")


def audit(found: Findings) -> Html:
    return section(
        "audit", "Addition-only?",
        tag("p", "Kinds of values follow from where they come from in the exported program; no number decides."),
        _report("As released", found.released), _report("After folding", found.folded),
    )  # fmt: skip


def _report(title: str, report: AuditReport) -> Html:
    rows = [row for row in report.rows if _to_act_on(row)]
    counts = [(name, text, str(sum(row.verdict == name for row in report.rows))) for name, text in VERDICTS.items()]
    parts = [
        tag("h3", title),
        tag("p", report.verdict() if title == "As released" else _folded_verdict(report)),
        table(f"{title}: products by verdict", ("verdict", "meaning", "products"), counts, (2,)),
    ]
    if rows:
        parts.append(table(f"{title}: rows to act on", HEADER, map(_cells, rows)))
    full = table(f"{title}: every product", HEADER, map(_cells, report.rows))
    return join([*parts, details(f"{title}: all {len(report.rows)} products", full)])


def _to_act_on(row: AuditRow) -> bool:
    return row.verdict != ADDITION and not (row.verdict == FOLDS and row.op == "batchnorm")


def _folded_verdict(report: AuditReport) -> str:
    what = "addition-only" if report.ok_as_released else "not addition-only"
    return (
        f"The network with every linear chain folded and integer neurons made binary is {what}. It was run beside the "
        "released one in float64 and gave the same outputs (relative difference below 1e-9)."
    )


def _cells(row: AuditRow) -> tuple:
    verdict = tag("strong", row.verdict, class_="wrong") if row.verdict == BROKEN else row.verdict
    return row.module or row.node, row.op, ", ".join(row.operands), row.classed, verdict, row.why
