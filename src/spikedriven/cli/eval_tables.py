"""What `spikedriven eval` found, as tables for people and as JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spikedriven.cli.listing import print_table
from spikedriven.runs.selection import OPTIMISTIC, Selection
from spikedriven.tasks.classification import Accuracy
from spikedriven.tasks.pretraining import MaskedError
from spikedriven.tasks.segmentation import Overlap
from spikedriven.tasks.tags import Tags

LARGEST_MATRIX = 20


@dataclass(frozen=True)
class Evaluation:
    """figures: the few numbers that a row of a sweep shows. record: everything, for JSON.
    tables: for people.
    """

    figures: dict[str, float]
    record: dict[str, Any]
    tables: tuple[RenderableType, ...]

    def chosen(self, selection: Selection, dataset: str, split: str) -> "Evaluation":
        """With why this checkpoint of a run was taken, and whether that makes the figures
        optimistic.
        """
        optimistic = selection.optimistic_on(dataset, split)
        record = {**self.record, "checkpoint": {**selection.to_dict(), "optimistic": optimistic}}
        said = f"checkpoint: {selection}" + (f". {OPTIMISTIC}" if optimistic else "")
        return dataclasses.replace(self, record=record, tables=(Text(said), *self.tables))

    def warned(self, said: str) -> "Evaluation":
        """With something to be known about the weights, where there is anything."""
        if not said:
            return self
        return dataclasses.replace(
            self, record={**self.record, "warning": said}, tables=(Text(said), *self.tables)
        )

    def show(self, as_json: bool) -> None:
        if as_json:
            print(json.dumps(self.record, indent=1))
            return
        for table in self.tables:
            print_table(table)


def show_sweep(rows: Mapping[str, Evaluation | str], as_json: bool) -> None:
    """One row for each name: its figures, or why there are none."""
    if as_json:
        records = {
            name: {"error": row} if isinstance(row, str) else row.record
            for name, row in rows.items()
        }
        print(json.dumps(records, indent=1))
        return
    found = {name: row.figures for name, row in rows.items() if isinstance(row, Evaluation)}
    columns = list(dict.fromkeys(column for figures in found.values() for column in figures))
    table = Table("name", *columns)
    for name, figures in found.items():
        table.add_row(name, *(_number(figures.get(column)) for column in columns))
    console = Console()
    if found:
        print_table(table)
    for name, row in rows.items():
        if isinstance(row, str):
            console.print(
                f"{name}: not evaluated: {row}", markup=False, highlight=False, soft_wrap=True
            )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


# Classification
# --------------------------------------------------------------------------------------------------


def of_classifier(result: Accuracy, classes: Sequence[str], origin: str) -> Evaluation:
    """origin: what the samples are."""
    recall = _known(classes, result.per_class().tolist())
    figures = {"top1": result.top1, "top5": result.top5, "loss": result.loss, "count": result.count}
    record = {"data": origin, **figures, "recall": recall, "confusion": result.confusion.tolist()}
    lines = (
        f"data: {origin}, {result.count} samples",
        f"top-1 {result.top1:.2f} %   top-5 {result.top5:.2f} %   cross entropy {result.loss:.4f}",
    )
    matrix = (_matrix(result, classes),) if len(classes) <= LARGEST_MATRIX else ()
    return Evaluation(figures, record, (*lines, _per_class(result, classes), *matrix))


def _per_class(result: Accuracy, classes: Sequence[str]) -> Table:
    table = Table("class", "images", "recall %", title="recall per class")
    for name, count, recall in zip(
        classes, result.confusion.sum(1).tolist(), result.per_class().tolist(), strict=True
    ):
        table.add_row(name, str(count), f"{recall:.1f}")
    return table


def _matrix(result: Accuracy, classes: Sequence[str]) -> Table:
    table = Table(
        "",
        *(str(i) for i in range(len(classes))),
        title="rows: true class, columns: predicted class",
    )
    for index, (name, row) in enumerate(zip(classes, result.confusion.tolist(), strict=True)):
        table.add_row(f"{index} {name}", *(str(count) if count else "." for count in row))
    return table


# Several labels per picture
# ---------------------------------------------------------------------------------------


def of_tags(result: Tags, classes: Sequence[str], origin: str) -> Evaluation:
    """origin: what the samples are."""
    figures = {**result.figures(), "count": result.count}
    precision, f1 = result.precision().tolist(), result.f1().tolist()
    table = Table("class", "pictures", "AP %", "F1 %", title="average precision and F1 per class")
    for i, (name, pictures) in enumerate(zip(classes, result.labels.sum(0).tolist(), strict=True)):
        table.add_row(name, str(pictures), f"{precision[i]:.1f}", f"{f1[i]:.1f}")
    lines = (
        f"data: {origin}, {result.count} samples with several labels",
        f"mAP {figures['map']:.2f} %   F1 {figures['f1']:.2f} % (all labels together: "
        f"{figures['micro_f1']:.2f} %)   binary cross entropy {figures['loss']:.4f}",
    )
    per_class = {"ap": _known(classes, precision), "f1_per_class": _known(classes, f1)}
    return Evaluation(figures, {"data": origin, **figures, **per_class}, (*lines, table))


# Masked pre-training
# ----------------------------------------------------------------------------------------------


def of_masked(result: MaskedError, origin: str, seed: int) -> Evaluation:
    """origin: what the samples are. seed: of the masks."""
    explained = None if result.explained != result.explained else result.explained
    figures = {"loss": result.loss, "explained": result.explained, "images": result.images}
    record = {
        "data": origin,
        "mask_seed": seed,
        **figures,
        "explained": explained,
        "hidden": result.hidden,
    }
    lines = (
        f"data: {origin}, {result.images} images, {result.hidden} hidden patches (masks of seed "
        f"{seed})",
        f"masked loss {result.loss:.4f}   explained variance {result.explained:.2f} %",
    )
    return Evaluation(figures, record, lines)


# Segmentation
# --------------------------------------------------------------------------------------------------


def of_segmenter(result: Overlap, classes: Sequence[str]) -> Evaluation:
    figures = {"miou": result.miou, "pixel_accuracy": result.pixel_accuracy, "loss": result.loss}
    ious, recalls = result.iou().tolist(), result.recall().tolist()
    table = Table("class", "pixels", "IoU %", "recall %", title="intersection over union per class")
    for name, pixels, iou, recall in zip(
        classes, result.confusion.sum(1).tolist(), ious, recalls, strict=True
    ):
        table.add_row(name, f"{pixels:,}", f"{iou:.1f}", f"{recall:.1f}")
    line = (
        f"mIoU {result.miou:.2f} %   pixel accuracy {result.pixel_accuracy:.2f} %   cross entropy "
        f"{result.loss:.4f}   "
        f"{result.images} images"
    )
    counted = {**figures, "images": result.images}
    return Evaluation(counted, {**counted, "iou": _known(classes, ious)}, (line, table))


# Detection
# --------------------------------------------------------------------------------------------------


def of_detector(found: Mapping[str, Any], classes: Sequence[str]) -> Evaluation:
    """found: what `measure_map` returns with per_class; labels count from 1. A class without
    objects has no precision, which torchmetrics writes as -1.
    """
    figures = {name: value for name, value in found.items() if isinstance(value, float)}
    kinds = [kind for kind in ("box", "segm") if f"{kind}_map" in found]
    columns = [found[f"{kind}_map_per_class"] for kind in kinds]
    rows = {classes[label - 1]: row for label, *row in zip(found["classes"], *columns, strict=True)}
    table = Table(
        "class",
        *(f"{kind} mAP" for kind in kinds),
        title="average precision per class, IoU 0.5 to 0.95",
    )
    if any(value < 0 for row in rows.values() for value in row):
        table.caption = "–: no object of the class in these images"
    for name, row in rows.items():
        table.add_row(name, *("–" if value < 0 else f"{value:.3f}" for value in row))
    line = "   ".join(f"{name} {value:.4f}" for name, value in figures.items())
    known = {name: [None if value < 0 else value for value in row] for name, row in rows.items()}
    per_class = {name: dict(zip(kinds, row, strict=True)) for name, row in known.items()}
    return Evaluation(figures, {**figures, "map_per_class": per_class}, (line, table))


def _known(classes: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    """By class; JSON has no nan."""
    return {
        name: None if value != value else value for name, value in zip(classes, values, strict=True)
    }
