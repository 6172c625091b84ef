"""Data sets and loaders: images, recordings, images with boxes, images with label maps."""

import spikedriven.data.catalogue
import spikedriven.data.detection.batches
import spikedriven.data.events.batches
import spikedriven.data.segmentation.batches  # noqa: F401  # they register sets, and what makes batches
from spikedriven.data.config import DataConfig
from spikedriven.data.contract import (
    DataSection,
    DataSet,
    Facts,
    all_sets,
    config_for,
    data_folder,
    find_set,
    register_data_set,
    sets_named,
)
from spikedriven.data.detection.config import DetectionDataConfig
from spikedriven.data.events.config import EventDataConfig, FramedEventConfig
from spikedriven.data.loaders import TrainLoader, build_eval_loader, build_train_loader
from spikedriven.data.parts import create_dataset
from spikedriven.data.sections import (
    chosen_labels,
    data_config_type,
    evaluation_config,
    with_dataset,
)
from spikedriven.data.segmentation.config import SegmentationDataConfig

__all__ = [
    "DataConfig",
    "DataSection",
    "DataSet",
    "DetectionDataConfig",
    "EventDataConfig",
    "Facts",
    "FramedEventConfig",
    "SegmentationDataConfig",
    "TrainLoader",
    "all_sets",
    "build_eval_loader",
    "build_train_loader",
    "chosen_labels",
    "config_for",
    "create_dataset",
    "data_config_type",
    "data_folder",
    "evaluation_config",
    "find_set",
    "register_data_set",
    "sets_named",
    "with_dataset",
]
