"""The data section of a recipe: which dataclass it is, and what all data sets have in common.

A new kind of data adds its configuration to `data_config_type` and its registry to `all_sets`.
"""

from pathlib import Path
from typing import Any

from spikedriven.data.config import DataConfig
from spikedriven.data.detection.config import DETECTION_SETS, DetectionDataConfig
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.registry import EVENT_SETS
from spikedriven.data.lookup import find_entry
from spikedriven.data.registry import IMAGE_SETS
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.registry import SEGMENTATION_SETS
from spikedriven.errors import InputError

#: Tasks whose data section does not depend on the data set.
OF_TASK: dict[str, type] = {
    "detection": DetectionDataConfig,
    "segmentation": SegmentationDataConfig,
}


def all_sets() -> dict[str, Any]:
    """Every data set by name: entries with name, num_classes, train_images, test_images, size, licence, locate."""
    return {**IMAGE_SETS, **EVENT_SETS, **DETECTION_SETS, **SEGMENTATION_SETS}


def find_any_set(name: str) -> Any:
    """The entry of any data set; InputError with the closest names when there is none."""
    return find_entry(all_sets(), name, "data")


def data_config_type(task: str, dataset: str | None) -> type:
    """The dataclass of a recipe's data section. dataset: its field `dataset`, None where the recipe leaves it out.
    Raises InputError, with the closest names, for a data set that nobody knows."""
    if task in OF_TASK:
        return OF_TASK[task]
    if dataset is not None:
        find_any_set(dataset)
    return EventDataConfig if dataset in EVENT_SETS else DataConfig


def chosen_labels(dataset: str, split: str | None, class_order: str | None) -> dict[str, str]:
    """The fields `split` and `class_order` of a data section, as a user or a published file says
    them.

    A figure depends on them, and no weights tell them: InputError where the set has several and
    none is given (None or ""), and where the set has one and something is given.
    """
    entry, given = find_any_set(dataset), {"split": split, "class_order": class_order}
    for field, value in given.items():
        known = getattr(entry, f"{field}s", ())
        if known and not value:
            raise InputError(f"{dataset} {_ASKED_FOR[field]}")
        if value and not known:
            raise InputError(f"{field} {value}: {dataset} has only one")
    return {field: value for field, value in given.items() if value}


_ASKED_FOR = {
    "split": "has no official split, and on another split than its own a network is tested on recordings it was "
    "trained on. Give --data-split authors (that of the releases), --data-split seeded (that of this package), or a "
    "text file with the names of the test recordings",
    "class_order": "is used with two orders of its classes, and with the wrong one right answers count as wrong. Give "
    "--class-order as_text (files of the releases: 0, 1, 10, 2, ...) or --class-order by_number (trained here)",
}


def evaluation_config(
    dataset: str,
    *,
    root: Path | None,
    img_size: int,
    in_chans: int,
    time_steps: int,
    crop_pct: float,
    workers: int,
    chosen: dict[str, str] | None = None,
) -> DataConfig | EventDataConfig:
    """How a classification set is evaluated by a network of this input. chosen: what
    `chosen_labels` returned."""
    common: dict[str, Any] = {
        "dataset": dataset,
        "root": root,
        "img_size": img_size,
        "workers": workers,
    }
    common |= chosen or {}
    if data_config_type("classification", dataset) is EventDataConfig:
        return EventDataConfig(**common, time_steps=time_steps)
    return DataConfig(**common, in_chans=1 if in_chans == 1 else 3, crop_pct=crop_pct)


def described(data: Any) -> str:
    """The data set of a data section, for whoever reads a figure over it: its name, whether it is
    simulated, and which split and order of classes it is read with where it has several."""
    entry = find_any_set(data.dataset)
    said = ["simulated", data.labels] if getattr(entry, "simulated", False) else []
    if getattr(entry, "splits", ()):
        said.append(f"split {data.split}")
    if getattr(entry, "class_orders", ()):
        said.append(f"classes {data.class_order}")
    return f"{data.dataset} ({', '.join(said)})" if said else data.dataset
