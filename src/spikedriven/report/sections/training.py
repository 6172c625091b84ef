"""Training curves from the run's log."""

from spikedriven.report.charts import Series, line_chart
from spikedriven.report.findings import Findings
from spikedriven.report.history import History
from spikedriven.report.html import Html, details, join, section, table, tag

#: Title, and (kind, field, name) of each curve. A chart without any point is left out.
CHARTS = (
    ("Loss", (("train", "loss", "training"), ("evaluated", "loss", "evaluation"))),
    ("Top-1 accuracy, per cent", (("evaluated", "top1", "top-1"),)),
    ("Top-5 accuracy, per cent", (("evaluated", "top5", "top-5"),)),
    ("Explained variance of hidden patches, per cent", (("evaluated", "explained", "evaluation"),)),
    (
        "Overlap, per cent",
        (("evaluated", "miou", "mean IoU"), ("evaluated", "pixel_accuracy", "pixel accuracy")),
    ),
    (
        "Average precision",
        (
            ("evaluated", "box_map", "boxes"),
            ("evaluated", "box_map50", "boxes, IoU 0.5"),
            ("evaluated", "segm_map", "masks"),
        ),
    ),
    ("Learning rate", (("train", "lr", "learning rate"),)),
    ("Training speed, images per second", (("train", "samples_per_s", "speed"),)),
)

#: Columns of the table of evaluations, where present.
EVALUATED = (
    "top1",
    "top5",
    "explained",
    "miou",
    "pixel_accuracy",
    "box_map",
    "box_map50",
    "segm_map",
    "segm_map50",
    "loss",
)


def training(found: Findings) -> Html:
    history = found.history
    if history is None:
        return section(
            "training", "Training", tag("p", "There is no run behind this page, so no curves.")
        )
    charts = [_chart(history, i, title, curves) for i, (title, curves) in enumerate(CHARTS)]
    curves = tag("div", join(charts), class_="charts")
    return section(
        "training",
        "Training",
        _summary(history),
        curves,
        dead_or_saturated(history),
        _logs(history),
    )


def _chart(
    history: History, index: int, title: str, curves: tuple[tuple[str, str, str], ...]
) -> Html:
    series = [history.curve(*curve) for curve in curves]
    shown: list[Series] = [one for one in series if one.points]
    if not shown:
        return Html("")
    caption = tag("figcaption", title)
    return tag("figure", caption, line_chart(f"chart-{index}", title, "step", shown))


def _summary(history: History) -> Html:
    parts = [f"{len(history.starts)} start{'s' if len(history.starts) != 1 else ''} on record"]
    seconds = history.seconds()
    if seconds is not None:
        parts.append(f"{seconds / 60:.1f} minutes from the first to the last logged step")
    if history.starts:
        last = history.starts[-1]
        parts.append(f"processes: {last.get('processes', '?')}, device: {last.get('device', '?')}")
    return tag("p", ", ".join(parts) + ".")


def dead_or_saturated(history: History) -> Html:
    """Layers that carried nothing at an evaluation, and when; nothing of runs that did not look."""
    looks = history.firing
    if not looks:
        return Html("")
    basis = f"On the first batch of each evaluation ({len(looks)} on record)"
    rows = [
        _span(name, state, [look["step"] for look in looks if name in look[state]])
        for state in ("dead", "saturated")
        for name in dict.fromkeys(name for look in looks for name in look[state])
    ]
    if not rows:
        return tag(
            "p",
            f"{basis}, no layer of neurons was dead (no neuron fired) or saturated (all fired "
            "always).",
        )
    text = (
        f"{basis}, these layers of neurons were dead (no neuron fired) or saturated (all fired "
        "always)."
    )
    header = ("layer", "state", "evaluations", "first at step", "last at step")
    return join([tag("p", text), table("Dead and saturated layers", header, rows, (2, 3, 4))])


def _span(name: str, state: str, steps: list[int]) -> tuple[str, ...]:
    return name, state, str(len(steps)), str(steps[0]), str(steps[-1])


def _logs(history: History) -> Html:
    return join(
        [
            _log("Training log", history.train, ("loss", "lr", "grad_norm", "samples_per_s")),
            _log("Evaluations", history.evaluated, EVALUATED),
        ]
    )


def _log(title: str, records: tuple[dict, ...], fields: tuple[str, ...]) -> Html:
    present = [field for field in fields if any(field in record for record in records)]
    rows = [
        (
            record["step"],
            record.get("epoch", ""),
            *(_figure(record.get(field)) for field in present),
        )
        for record in records
    ]
    header = ("step", "epoch", *present)
    shown = (
        table(title, header, rows, range(1, len(header)))
        if rows
        else tag("p", "Nothing was logged.")
    )
    return details(f"{title} as a table ({len(rows)} rows)", shown)


def _figure(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, int | float) else "–"
