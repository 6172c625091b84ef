"""Is the network addition-only: as it is, and after folding."""

from spikedriven.graph.audit import ADDITION, BROKEN, FOLDS, VERDICTS, AuditReport, AuditRow
from spikedriven.graph.equality import CHECK_SIZE, TOLERANCE
from spikedriven.report.findings import Findings
from spikedriven.report.html import Html, details, join, section, table, tag

#: More rows than these are folded away.
FEW = 12
HEADER = ("module", "op", "operands", "class", "verdict", "why")


def audit(found: Findings) -> Html:
    return section(
        "audit",
        "Addition-only?",
        tag(
            "p",
            "Kinds of values follow from where they come from in the exported program; no number "
            "decides.",
        ),
        _report("As released", found.released, found.released.verdict().splitlines()[0]),
        _folded(found),
    )


def _folded(found: Findings) -> Html:
    if isinstance(found.folded, AuditReport):
        return _report("After folding", found.folded, _folded_verdict(found))
    why = f"Not done: {found.folded}"
    return join(
        [
            tag("h3", "After folding"),
            tag("p", why),
            tag("p", found.released.verdict().splitlines()[-1]),
        ]
    )


def _report(title: str, report: AuditReport, verdict: str) -> Html:
    rows = [row for row in report.rows if _to_act_on(row)]
    counts = [
        (name, text, str(sum(row.verdict == name for row in report.rows)))
        for name, text in VERDICTS.items()
    ]
    parts = [
        tag("h3", title),
        tag("p", verdict),
        table(f"{title}: products by verdict", ("verdict", "meaning", "products"), counts, (2,)),
    ]
    if rows:
        shown = table(f"{title}: rows to act on", HEADER, map(_cells, rows))
        parts.append(
            shown if len(rows) <= FEW else details(f"{title}: {len(rows)} rows to act on", shown)
        )
    full = table(f"{title}: every product", HEADER, map(_cells, report.rows))
    return join([*parts, details(f"{title}: all {len(report.rows)} products", full)])


def _to_act_on(row: AuditRow) -> bool:
    return row.verdict != ADDITION and not (row.verdict == FOLDS and row.op == "batchnorm")


def _folded_verdict(found: Findings) -> str:
    report = found.folded
    assert isinstance(report, AuditReport)
    if report.neurons == 0:
        return report.verdict()
    own = found.subject.given is not None
    on = "the first given examples" if own else f"random input of at most {CHECK_SIZE} pixels"
    return (
        f"{report.verdict().splitlines()[1]} This is the network with every linear chain folded "
        "and integer neurons "
        f"made binary. It was run beside the released one in float64 on {on}: "
        f"outputs differ by less than {TOLERANCE:g} of the largest."
    )


def _cells(row: AuditRow) -> tuple:
    verdict = tag("strong", row.verdict, class_="wrong") if row.verdict == BROKEN else row.verdict
    return row.module or row.node, row.op, ", ".join(row.operands), row.classed, verdict, row.why
