"""Write the tables of every registered network into docs/audit.md and docs/energy.md, between their
markers.

    python tools/model_tables.py            (about ten minutes: every network is traced in three
    forms)

Nothing is measured: networks are built without memory for weights, and energy is that of one stated
firing rate.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

import spikedriven as sd
from spikedriven.claims.counted import at_one_rate
from spikedriven.graph.audit import AuditReport, audit
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.graph.energy import cost
from spikedriven.graph.fuse import fuse
from spikedriven.graph.measurement import Measurement
from spikedriven.graph.trace import trace

#: spikingformer-log differs from spikingformer for one network only.
ARITHMETIC = [
    n for n, rule in CONVENTIONS.items() if rule.memory is None and n != "spikingformer-log"
]
WITH_MEMORY = [name for name, rule in CONVENTIONS.items() if rule.memory is not None]
DOCS = Path(__file__).parents[1] / "docs"
#: Share of ones among the spikes that every layer is given.
RATE = 0.15


def networks() -> Iterator[tuple[str, nn.Module]]:
    for name in sd.list_models():
        print(name, flush=True)
        with torch.device("meta"):
            model = sd.create_model(name).eval()
        yield name, model


def write(file: str, header: str, rows: list[str]) -> None:
    """Replace what stands between ``<!-- table -->`` and ``<!-- end -->``."""
    path = DOCS / file
    before, rest = path.read_text().split("<!-- table -->\n")
    after = rest.split("<!-- end -->")[1]
    line = "|" + "---|" * header.count(" | ") + "---|"
    table = "\n".join([f"| {header} |", line, *(f"| {row} |" for row in rows)])
    path.write_text(f"{before}<!-- table -->\n{table}\n<!-- end -->{after}")


def audit_row(name: str, released: AuditReport, folded: AuditReport) -> str:
    def verdict(ok: bool, report: AuditReport) -> str:
        return (
            "yes"
            if ok
            else f"no: {', '.join(row.module for row in report.findings)}"
            if report.findings
            else "no"
        )

    needed = [f"{n} {op}" for op, n in released.folds_by_operator().items() if op != "batchnorm"]
    encoding = ", ".join(row.module for row in released.encoding)
    return " | ".join(
        [
            f"`{name}`",
            verdict(released.ok_as_released, released),
            ", ".join(needed) or "none",
            verdict(folded.ok, folded),
            f"`{encoding}`",
        ]
    )


def energy_row(name: str, measurement: Measurement) -> str:
    """Conventions that count memory stand beside the ANN at their own prices, bit-matched
    beside its own partner.
    """
    arithmetic = [cost(measurement, name) for name in ARITHMETIC]
    found = arithmetic[0].comparison
    dense = [
        f"{found.dense_macs / 1e9:.2f}",
        f"{found.ann_mj:.1f}",
        f"{found.quantised_ann_mj:.2f}",
    ]
    cells = [f"{report.total_mj:.2f}" for report in arithmetic]
    for convention in WITH_MEMORY:
        report = cost(measurement, convention)
        partners = report.comparison.partners
        partner = partners[-1] if report.convention.matched else partners[0]
        cells.append(f"{report.total_mj:.1f} / {partner.ann_mj:.1f}")
    return " | ".join([f"`{name}`", str(found.steps), *dense, *cells])


def main() -> None:
    audits, energies = [], []
    for name, model in networks():
        released = audit(model, model.example_input())
        folded = trace(fuse(model, check=False), model.example_input())
        audits.append(audit_row(name, released, audit(folded)))
        energies.append(energy_row(name, at_one_rate(folded, RATE)))
    folding = "addition-only as released | to fold besides batch norm | after folding"
    write("audit.md", f"network | {folding} | encoding layer", audits)
    dense = "GMACs, one pass | equal ANN | equal ANN, int8"
    header = " | ".join([*ARITHMETIC, *(f"{name} / its ANN" for name in WITH_MEMORY)])
    write("energy.md", f"network | T x D | {dense} | {header}", energies)


if __name__ == "__main__":
    main()
