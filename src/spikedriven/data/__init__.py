"""Data sets and loaders."""

from spikedriven.data.config import DataConfig
from spikedriven.data.detection.loaders import fitted_images_loader
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.loaders import TrainLoader, build_eval_loader, build_train_loader
from spikedriven.data.registry import (
    IMAGE_SETS,
    create_dataset,
    create_event_dataset,
    data_folder,
    find_set,
)
from spikedriven.data.sections import (
    all_sets,
    chosen_labels,
    data_config_type,
    evaluation_config,
    find_any_set,
)
from spikedriven.data.segmentation.loaders import eval_maps_loader, train_maps_loader

__all__ = [
    "IMAGE_SETS",
    "DataConfig",
    "EventDataConfig",
    "TrainLoader",
    "all_sets",
    "build_eval_loader",
    "build_train_loader",
    "chosen_labels",
    "create_dataset",
    "create_event_dataset",
    "data_config_type",
    "data_folder",
    "eval_maps_loader",
    "evaluation_config",
    "find_any_set",
    "find_set",
    "fitted_images_loader",
    "train_maps_loader",
]
