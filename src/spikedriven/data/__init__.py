"""Data sets and loaders."""

from spikedriven.data.config import DataConfig
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.loaders import TrainLoader, build_eval_loader, build_train_loader
from spikedriven.data.registry import IMAGE_SETS, create_dataset, create_event_dataset, data_folder, find_set
from spikedriven.data.sections import all_sets, data_config_type, evaluation_config, find_any_set

__all__ = [
    "IMAGE_SETS",
    "DataConfig",
    "EventDataConfig",
    "TrainLoader",
    "all_sets",
    "build_eval_loader",
    "build_train_loader",
    "create_dataset",
    "create_event_dataset",
    "data_config_type",
    "data_folder",
    "evaluation_config",
    "find_any_set",
    "find_set",
]
