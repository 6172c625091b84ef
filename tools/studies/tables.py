"""docs/results.md's tables from the JSON of figures: what stands between `<!-- NAME -->` and
`<!-- end NAME -->`.
"""

import statistics
from pathlib import Path
from typing import Any

Results = dict[str, Any]
STUDY_A = {
    "study_lif_t4": "LIF, T 4",
    "study_lif_t1_to_t4": "LIF, T 1 -> 4",
    "study_sfa_1x4": "SFA, 1x4",
}
STUDY_B = {
    "study_mae_finetune": "from the spike MAE",
    "study_mae_scratch": "from scratch, equal epochs",
    "study_mae_scratch_long": "from scratch, equal compute",
}
STUDY_C = {
    "study_teacher_cnn": "the teacher, an ordinary CNN",
    "study_sfa_1x4": "no teacher",
    "study_distil_hard": "hard distillation",
    "study_distil_soft": "soft distillation",
}
STUDY_D_DIRECTION = {
    "study_events_sdt_direction": "SDT, LIF",
    "study_events_sdt_direction_shuffled": "SDT, LIF, steps shuffled (control)",
    "study_events_esf_direction_lif": "E-SpikeFormer, LIF",
    "study_events_esf_direction": "E-SpikeFormer, integer neurons (no memory)",
}
STUDY_D_GARMENT = {
    "study_events_sdt_garment": "SDT, LIF",
    "study_events_esf_garment": "E-SpikeFormer, integer neurons",
}
#: Runs whose time and steps belong to an arm besides its own.
BEFORE = {
    "study_lif_t1_to_t4": "study_lif_t1",
    "study_mae_finetune": "study_mae_pretrain",
}
NOT_RUN = "*not run yet: `python tools/run_studies.py`*"


def runs_of(results: Results, recipe: str) -> list[dict[str, Any]]:
    return sorted(
        (run for run in results["runs"].values() if run["recipe"] == recipe),
        key=lambda run: run["seed"],
    )


def spread(values: list[float], digits: int = 2) -> str:
    """Mean and standard deviation over seeds."""
    if not values:
        return "-"
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def column(results: Results, recipe: str, key: str, digits: int = 2) -> str:
    return spread([run[key] for run in runs_of(results, recipe)], digits)


def minutes(results: Results, recipe: str) -> str:
    """Training time of an arm, of both its stages where it has two: steps x the step time of a
    quiet machine.
    """
    total = 0.0
    for name in filter(None, (recipe, BEFORE.get(recipe))):
        runs = runs_of(results, name)
        if not runs or name not in results["costs"]:
            return "-"
        total += runs[0]["steps"] * results["costs"][name]["step_ms"]["median"] / 60_000
    return f"{total:.1f}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def accuracy_rows(results: Results, arms: dict[str, str]) -> list[list[str]]:
    return [
        [
            label,
            f"`{recipe}`",
            column(results, recipe, "top1"),
            column(results, recipe, "loss", 3),
            column(results, recipe, "train_loss", 3),
            minutes(results, recipe),
        ]
        for recipe, label in arms.items()
        if runs_of(results, recipe)
    ]


ACCURACY = ["arm", "recipe", "top-1, %", "test loss", "training loss", "training, minutes"]


def cost_rows(results: Results) -> list[list[str]]:
    rows = []
    for recipe, entry in results["costs"].items():
        if "peak_mib" not in entry:
            continue
        times = entry["step_ms"]
        spikes = [run["spikes"] for run in runs_of(results, recipe) if "spikes" in run]
        rates = [100 * run["rate"] for run in runs_of(results, recipe) if "rate" in run]
        rows.append(
            [
                f"`{recipe}`",
                f"{times['median']:.0f} ({times['lower']:.0f} to {times['upper']:.0f})",
                f"{entry['peak_mib']:.0f}",
                spread(rates, 1),
                spread(spikes),
            ]
        )
    return rows


COSTS = [
    "recipe",
    "ms per step: median (quartiles)",
    "memory, MiB",
    "firing rate, %",
    "spikes per neuron and image",
]


def claim(results: Results) -> str:
    """The SFA claim in this study's own figures."""
    lif, sfa = runs_of(results, "study_lif_t4"), runs_of(results, "study_sfa_1x4")
    times = {name: entry["step_ms"]["median"] for name, entry in results["costs"].items()}
    if not lif or len(lif) != len(sfa) or not {"study_lif_t4", "study_sfa_1x4"} <= times.keys():
        return NOT_RUN
    gains = [b["top1"] - a["top1"] for a, b in zip(lif, sfa, strict=True)]
    ratio = times["study_lif_t4"] / times["study_sfa_1x4"]
    return (
        f"A step of LIF at T 4 takes {ratio:.2f} times as long as one of SFA 1x4. SFA's top-1 "
        "accuracy minus LIF's, "
        f"seed by seed: {', '.join(f'{gain:+.2f}' for gain in gains)} points."
    )


def pretraining_rows(results: Results) -> list[list[str]]:
    name = "study_mae_pretrain"
    if not runs_of(results, name):
        return []
    figures = [
        column(results, name, key, digits)
        for key, digits in (("loss", 3), ("train_loss", 3), ("explained", 1))
    ]
    return [[f"`{name}`", *figures, minutes(results, name)]]


PRETRAINING = ["recipe", "test loss", "training loss", "variance explained, %", "training, minutes"]


def tables(results: Results) -> dict[str, str]:
    """Marker name -> what stands there. Anything of which there is no figure says so."""

    def table(header: list[str], rows: list[list[str]]) -> str:
        return markdown(header, rows) if rows else NOT_RUN

    return {
        "environment": results["environment"] or NOT_RUN,
        "study-a": table(ACCURACY, accuracy_rows(results, STUDY_A)),
        "study-a-costs": table(COSTS, cost_rows(results)),
        "study-a-claim": claim(results),
        "study-b-pretraining": table(PRETRAINING, pretraining_rows(results)),
        "study-b": table(ACCURACY, accuracy_rows(results, STUDY_B)),
        "study-c": table(ACCURACY, accuracy_rows(results, STUDY_C)),
        "study-d-direction": table(ACCURACY, accuracy_rows(results, STUDY_D_DIRECTION)),
        "study-d-garment": table(ACCURACY, accuracy_rows(results, STUDY_D_GARMENT)),
    }


def fill(page: Path, results: Results) -> None:
    """Write every table between its markers; ValueError names a marker that the page does not
    have.
    """
    text = page.read_text(encoding="utf-8")
    for name, content in tables(results).items():
        opening, closing = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        if text.count(opening) != 1 or text.count(closing) != 1:
            raise ValueError(
                f"{page}: expected the markers {opening.strip()} and {closing} once each"
            )
        before, rest = text.split(opening)
        text = f"{before}{opening}{content}\n{closing}{rest.split(closing)[1]}"
    page.write_text(text, encoding="utf-8")
