"""List the data sets, and check what is in the data folder.

Example:

    spikedriven data                                       (every set: found or not, and where)
    spikedriven data --check imagenet --root /data         (opens every image; exit status 1 if any is broken)
    spikedriven data --check fashion-mnist --download      (fetches it first)
    spikedriven data --check wds --root /data/in22k        (webdataset shards; also writes their tables; hfds: see docs)

The data folder is --root, else the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven.
"""

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spikedriven.data import (
    EventDataConfig,
    all_sets,
    create_dataset,
    create_event_dataset,
    data_folder,
    find_any_set,
)
from spikedriven.data.detection.config import DETECTION_SETS, DetectionDataConfig
from spikedriven.data.detection.loaders import create_detection_dataset
from spikedriven.data.sections import data_config_type
from spikedriven.data.segmentation import SEGMENTATION_SETS, SegmentationDataConfig
from spikedriven.data.segmentation.loaders import create_maps
from spikedriven.errors import DataError, InputError

_CHUNK = (
    512  # images handed to the threads at a time: the progress bar moves, and memory stays small
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    check: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Open every sample of this set and name the broken ones."""
    root: Path | None = None
    """Data folder to look in."""
    download: bool = False
    """With --check: fetch a missing set where that is possible."""
    json: bool = False
    """Print JSON instead of a table."""


def run(argv: list[str]) -> int:
    """Parse `argv`; returns 0, or 1 when --check found broken images."""
    arguments = tyro.cli(Arguments, args=argv, prog="spikedriven data", description=__doc__)
    if arguments.check is not None:
        return _check(arguments.check, arguments)
    if arguments.download:
        raise InputError("--download fetches one set: name it with --check NAME")
    _list(data_folder(arguments.root), arguments.json)
    return 0


def _list(folder: Path, as_json: bool) -> None:
    rows = [_row(name, folder) for name in all_sets()]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(title=f"data folder: {folder}")
    for column in ("name", "classes", "train", "test", "image", "licence"):
        table.add_column(column, no_wrap=column != "licence")
    table.add_column("found in", overflow="fold")
    for row in rows:
        counts = (_shown(row[part]) for part in ("classes", "train_images", "test_images"))
        table.add_row(
            row["name"],
            *counts,
            row["image"],
            row["licence"],
            row["path"] or "[red]not found[/red]",
        )
    Console().print(table)


def _shown(count: int | None) -> str:
    return "as found" if count is None else f"{count:,}"


def _row(name: str, folder: Path) -> dict[str, Any]:
    entry = find_any_set(name)
    path = entry.locate(folder)
    return {
        "name": name,
        "found": path is not None,
        "path": str(path) if path else None,
        "classes": entry.num_classes,
        "train_images": entry.train_images,
        "test_images": entry.test_images,
        "image": entry.size,
        "licence": entry.licence,
    }


def _check(name: str, arguments: Arguments) -> int:
    entry = find_any_set(name)
    published = {"train": entry.train_images, "test": entry.test_images}
    report = [
        _check_split(_open(name, split, arguments), split, published[split]) for split in published
    ]
    if arguments.json:
        print(json.dumps({"name": name, "splits": report}, indent=1))
    else:
        _print_report(name, report)
    return int(any(part["broken"] for part in report))


def _open(name: str, split: str, arguments: Arguments) -> Any:
    if name in SEGMENTATION_SETS:
        return create_maps(SegmentationDataConfig(dataset=name, root=arguments.root), split)
    if name in DETECTION_SETS:
        return create_detection_dataset(
            DetectionDataConfig(dataset=name, root=arguments.root), split
        )
    if data_config_type("classification", name) is EventDataConfig:
        return create_event_dataset(
            EventDataConfig(dataset=name, root=arguments.root, cache=False), split
        )
    return create_dataset(name, split, arguments.root, arguments.download)


def _check_split(dataset: Any, split: str, published: int | None) -> dict[str, Any]:
    def problem(index: int) -> str | None:
        try:
            dataset[index]
        except DataError as error:
            return str(error)
        return None

    broken: list[str] = []
    with (
        Progress(console=Console(stderr=True), transient=True) as progress,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        task = progress.add_task(split, total=len(dataset))
        for begin in range(0, len(dataset), _CHUNK):
            indices = range(begin, min(begin + _CHUNK, len(dataset)))
            broken += filter(None, threads.map(problem, indices))
            progress.advance(task, len(indices))
    return {
        "split": split,
        "images": len(dataset),
        "published_images": published,
        "classes": dataset.num_classes,
        "broken": broken,
    }


def _print_report(name: str, report: list[dict[str, Any]]) -> None:
    table = Table("split", "images", "published", "classes", "broken", title=name)
    for part in report:
        counts = (part["images"], part["published_images"], part["classes"], len(part["broken"]))
        table.add_row(part["split"], *map(_shown, counts))
    console = Console()
    console.print(table)
    for message in (message for part in report for message in part["broken"]):
        console.print(f"broken: {message}", markup=False, highlight=False, soft_wrap=True)
