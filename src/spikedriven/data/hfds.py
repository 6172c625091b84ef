"""Labelled images in Hugging Face's Arrow and parquet files, read by the `datasets` package from a
local folder.

A folder that `DatasetDict.save_to_disk` wrote, or parquet files as the hub stores them
(`data/train-00000-of-00010. parquet`), which `datasets` copies to Arrow files in its own cache
once. Nothing is fetched.
"""

import importlib
import io
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from spikedriven.data.images import UNREADABLE, ImageDataset, decode
from spikedriven.data.order import run_lengths
from spikedriven.data.wds import class_names, files_of
from spikedriven.errors import DataError, InputError

_log = logging.getLogger(__name__)
_NO_DOWNLOAD = " (it cannot be downloaded here: use huggingface-cli download first)"
#: Rows that are shuffled as a shard is (see `order.epoch_order`): neighbours lie in the same part
#: of a file.
ROWS_TOGETHER = 4096
_SPLITS = {"train": ("train",), "test": ("validation", "val", "test")}
_LABELS = ("label", "labels", "cls", "fine_label")


class TableImages(ImageDataset):
    """Sample i is the image in row `rows[i]` of a table of the `datasets` package; `root` holds the
    files of all splits, `name` is the table's.
    """

    def __init__(
        self, root: Path, name: str, table: Any, column: str, rows: np.ndarray, targets: np.ndarray,
        classes: Sequence[str],
    ) -> None:  # fmt: skip
        super().__init__(targets, classes)
        self.root, self.name, self.table, self.column, self.rows = root, name, table, column, rows

    @property
    def shard_lengths(self) -> np.ndarray:
        """Samples of each block of neighbouring rows."""
        return run_lengths(self.rows // ROWS_TOGETHER)

    def read_image(self, index: int) -> Image.Image:
        try:
            return decode(io.BytesIO(self._content(self.table[int(self.rows[index])][self.column])))
        except UNREADABLE as error:
            raise DataError(
                f"{self.where(index)} cannot be read as an image ({error}); write the set again"
            ) from error

    def _content(self, cell: dict[str, Any] | None) -> bytes:
        """A table may hold an image, or a path to one: followed only within the set's own
        folder.
        """
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise ValueError("the cell is empty")
        if cell["bytes"] is not None:
            return cell["bytes"]
        path = (self.root / cell["path"]).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise ValueError(f"refused: the path {cell['path']!r} leads out of {self.root}")
        return path.read_bytes()

    def where(self, index: int) -> str:
        return f"{self.root}, split {self.name}, row {self.rows[index]}"

    def subset(self, indices: np.ndarray) -> Self:
        return type(self)(
            self.root,
            self.name,
            self.table,
            self.column,
            self.rows[indices],
            self.targets[indices],
            self.classes,
        )


def locate(data_folder: Path) -> Path | None:
    """The data folder, or hfds/ in it, when a saved DatasetDict or train parquet files are
    there.
    """
    for folder in (data_folder, data_folder / "hfds"):
        if (folder / "dataset_dict.json").is_file() or files_of(folder, "train", ".parquet"):
            return folder
    return None


def load(data_folder: Path, split: str, download: bool) -> TableImages:
    """The split `"train"`, or for `"test"` the one named validation, val or test. Raises DataError
    for a set without an image column or without labels.
    """
    root = locate(data_folder)
    if root is None:
        raise DataError(
            "hfds: no set was found: expected what DatasetDict.save_to_disk writes, or "
            "train-*.parquet, in "
            f"{data_folder} or {data_folder / 'hfds'}; give the folder with root or the variable "
            "SPIKEDRIVEN_DATA"
            f"{_NO_DOWNLOAD if download else ''}"
        )
    parts = _parts(root)
    found = [name for name in _SPLITS[split] if name in parts]
    if not found:
        raise DataError(
            f"{root} has the splits {', '.join(parts)}; expected one named "
            f"{' or '.join(_SPLITS[split])}"
        )
    return _images(root, parts, found[0])


def _parts(root: Path) -> dict[str, Any]:
    """Every split by name, as tables of `datasets`."""
    datasets = _package()
    try:
        if (root / "dataset_dict.json").is_file():
            return dict(datasets.load_from_disk(str(root)))
        files = {name: [str(path) for path in files_of(root, name, ".parquet")] for name in _SPLITS}
        return dict(
            datasets.load_dataset("parquet", data_files={k: v for k, v in files.items() if v})
        )
    except (OSError, ValueError, KeyError, TypeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{root}: the `datasets` package cannot read it: {error}") from error


def _package() -> Any:
    try:
        return importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise InputError(
            "hfds is read by the package `datasets`: pip install 'spikedriven[hfds]'"
        ) from error


def _images(root: Path, parts: dict[str, Any], name: str) -> TableImages:
    datasets, table = _package(), parts[name]
    features = table.features
    column = _only(
        root, "image", [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    )
    named = [key for key, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    label = _only(root, "label", named or [key for key in _LABELS if key in features])
    if column is None or label is None:
        what = (
            "image column"
            if column is None
            else f"label column (a ClassLabel, or one of {', '.join(_LABELS)})"
        )
        raise DataError(f"{root}, split {name}: no {what} among {', '.join(features)}")
    targets = _labels(root, name, table, label)
    if isinstance(features[label], datasets.ClassLabel):
        classes = tuple(features[label].names)
    else:
        classes = class_names(root, targets, lambda: _all_labels(root, parts, label))
    if targets.max(initial=-1) >= len(classes):
        raise DataError(
            f"{root}, split {name}: label {targets.max()} found, but there are {len(classes)} "
            "classes"
        )
    table = table.cast_column(column, datasets.Image(decode=False))
    return TableImages(root, name, table, column, np.arange(len(table)), targets, classes)


def _only(root: Path, what: str, columns: list[str]) -> str | None:
    """The first of the columns; that there are others is told, once."""
    if len(columns) > 1:
        _tell_choice(root, what, *columns)
    return columns[0] if columns else None


@cache
def _tell_choice(root: Path, what: str, taken: str, *others: str) -> None:
    _log.warning(
        "%s has several %s columns: %s is taken, not %s. To use another one, take this one out and "
        "write the set again: set.remove_columns(%r).save_to_disk(...)",
        root,
        what,
        taken,
        " or ".join(others),
        taken,
    )


def _all_labels(root: Path, parts: dict[str, Any], label: str) -> np.ndarray:
    return np.concatenate(
        [_labels(root, name, part, label) for name, part in parts.items() if label in part.features]
    )


def _labels(root: Path, name: str, table: Any, label: str) -> np.ndarray:
    values = np.asarray(table.with_format("numpy", columns=[label])[:][label])
    whole = values.dtype.kind in "iuf" and values.ndim == 1 and bool(np.isfinite(values).all())
    if not whole or values.min(initial=0) < 0 or (values != np.floor(values)).any():
        raise DataError(
            f"{root}, split {name}: column {label} must hold a class number, 0 or more, in every "
            "row"
        )
    return values.astype(np.int64)
