"""Data sets and loaders."""
from spikedriven.data.config import DataConfig
from spikedriven.data.loaders import TrainLoader, build_eval_loader, build_train_loader
from spikedriven.data.registry import IMAGE_SETS, create_dataset, data_folder, find_set

__all__ = [
    "IMAGE_SETS",
    "DataConfig",
    "TrainLoader",
    "build_eval_loader",
    "build_train_loader",
    "create_dataset",
    "data_folder",
    "find_set",
]
