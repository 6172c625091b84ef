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

#: Tasks whose data section does not depend on the data set.
OF_TASK: dict[str, type] = {"detection": DetectionDataConfig, "segmentation": SegmentationDataConfig}


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


def evaluation_config(
    dataset: str, *, root: Path | None, img_size: int, in_chans: int, time_steps: int, crop_pct: float, workers: int
) -> DataConfig | EventDataConfig:
    """How a classification set is evaluated by a network of this input."""
    common: dict[str, Any] = {"dataset": dataset, "root": root, "img_size": img_size, "workers": workers}
    if data_config_type("classification", dataset) is EventDataConfig:
        return EventDataConfig(**common, time_steps=time_steps)
    return DataConfig(**common, in_chans=1 if in_chans == 1 else 3, crop_pct=crop_pct)


def described(data: Any) -> str:
    """The data set of a data section, for whoever reads a figure over it: its name, and whether it is simulated."""
    simulated = getattr(find_any_set(data.dataset), "simulated", False)
    return f"{data.dataset} (simulated, {data.labels})" if simulated else data.dataset
