"""One measurement under several conventions, beside ANNs of the same shape, as text."""

from spikedriven.graph.compare import Partner
from spikedriven.graph.energy import EnergyReport, EnergyRow
from spikedriven.graph.tables import text_table

HEADER = (
    "convention",
    "prices",
    "mJ",
    "arithmetic",
    "memory",
    "ANN fp32",
    "ANN int8",
    "spiking pays",
)


def side_by_side(reports: list[EnergyReport]) -> str:
    """The totals of several conventions over one measurement, the layers where spiking costs most,
    and the sources."""
    first = reports[0]
    doubtful = bool(first.measurement.doubts)
    rows = [_cells(report, doubtful) for report in reports]
    dense = first.comparison.dense_macs
    parts = [
        first.measurement.warning(),
        text_table(HEADER, rows, right=HEADER[2:7], width=200, whole=("convention",)),
        first.measurement.basis(),
        f"ANN: the same shapes, one dense pass, {dense:.4g} multiply-accumulates, under the same "
        "rules of memory; in "
        "brackets what this network needs at those prices",
        "" if doubtful else _where(reports),
        "" if doubtful else str(first.comparison).splitlines()[-1],
        *(
            f"{report.convention.name}: {report.convention.formula}. {report.convention.source}"
            for report in reports
        ),
    ]
    return "\n".join(part for part in parts if part)


def _cells(report: EnergyReport, doubtful: bool) -> tuple[str, ...]:
    memory = "not counted" if report.memory is None else f"{report.memory_mj:.4g}"
    fp32, int8 = report.comparison.partner("fp32"), report.comparison.partner("int8")
    return (
        report.convention.name,
        report.technology.name,
        f"{report.total_mj:.4g}",
        f"{report.arithmetic_mj:.4g}",
        memory,
        _beside(fp32),
        _beside(int8),
        "no verdict" if doubtful else _pays(report.comparison.partners),
    )


def _beside(partner: Partner) -> str:
    return f"{partner.ann_mj:.4g} ({partner.spiking_mj:.4g})"


def _pays(partners: tuple[Partner, ...]) -> str:
    """Against which partners, and where not."""
    wins, loses = ([p.name for p in partners if p.pays is paid] for paid in (True, False))
    against = f"against {' and '.join(wins)}" if wins else "nowhere"
    return f"{against}; not against {' and '.join(loses)}" if wins and loses else against


def _where(reports: list[EnergyReport]) -> str:
    """Layers that cost more than the same layer of the ANN, per convention."""
    return "\n".join(f"{report.convention.name}: {where_it_pays(report)}" for report in reports)


def where_it_pays(report: EnergyReport) -> str:
    """In how many layers the spiking one costs less than the ANN's at the same prices, and the
    worst others."""
    compared = [row for row in report.rows if sum(row.partner_pj)]
    dearer = (row for row in compared if row.picojoule > sum(row.partner_pj) * (1 + 1e-9))
    worse = sorted(dearer, key=_excess, reverse=True)
    said = f"no more than the ANN's layer in {len(compared) - len(worse)} of {len(compared)} layers"
    names = ", ".join(
        f"{row.name} ({row.picojoule / sum(row.partner_pj):.1f} times)" for row in worse[:3]
    )
    more = f" and {len(worse) - 3} more" if len(worse) > 3 else ""
    return f"{said}; not in {names}{more}" if worse else said


def _excess(row: EnergyRow) -> float:
    return row.picojoule - sum(row.partner_pj)
