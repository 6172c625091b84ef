"""List the data sets, and check what is in the data folder.

Example:

    spikedriven data                                     # every set: found or not, and where
    spikedriven data --check imagenet --root /data       # opens every image; 1 if one is broken
    spikedriven data --check fashion-mnist --download    # fetches it first
    spikedriven data --check wds --root /data/in22k      # shards; also writes their tables

The data folder is --root, else the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven.
"""

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spikedriven.cli.arguments import read
from spikedriven.cli.listing import print_table
from spikedriven.data import DataSet, all_sets, config_for, create_dataset, data_folder, sets_named
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
    task: Literal["classification", "detection", "segmentation"] | None = None
    """With --check, where sets for several tasks have the name: which. Default: all that are
    found.
    """
    json: bool = False
    """Print JSON instead of a table."""


def run(argv: list[str]) -> int:
    """Parse `argv`; returns 0, or 1 when --check found broken images."""
    arguments = read(Arguments, argv, "data", __doc__)
    if arguments.check is not None:
        return _check(arguments.check, arguments)
    if arguments.download:
        raise InputError("--download fetches one set: name it with --check NAME")
    _list(data_folder(arguments.root), arguments.json)
    return 0


def _list(folder: Path, as_json: bool) -> None:
    rows = [_row(entry, folder) for entry in all_sets()]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(title=f"data folder: {folder}")
    for column in ("name", "task", "classes", "train", "test", "image", "licence"):
        table.add_column(column, no_wrap=column not in ("image", "licence"))
    table.add_column("found in", overflow="fold")
    for row in rows:
        counts = (_shown(row[part]) for part in ("classes", "train_images", "test_images"))
        found = row["path"] or "[red]not found[/red]"
        table.add_row(row["name"], row["task"], *counts, row["image"], row["licence"], found)
    print_table(table)


def _shown(count: int | None) -> str:
    return "as found" if count is None else f"{count:,}"


def _row(entry: DataSet, folder: Path) -> dict[str, Any]:
    path, facts = entry.locate(folder), entry.facts
    return {
        "name": entry.name,
        "task": entry.task,
        "found": path is not None,
        "path": str(path) if path else None,
        "classes": facts.num_classes,
        "train_images": facts.train_images,
        "test_images": facts.test_images,
        "image": facts.size,
        "licence": facts.licence,
    }


def _check(name: str, arguments: Arguments) -> int:
    report = [part for entry in _chosen(name, arguments) for part in _check_set(entry, arguments)]
    if arguments.json:
        print(json.dumps({"name": name, "splits": report}, indent=1))
    else:
        _print_report(name, report)
    return int(any(part["broken"] for part in report))


def _chosen(name: str, arguments: Arguments) -> list[DataSet]:
    """The sets of that name that are there; where none is, the first: it says what is missing."""
    named = [entry for entry in sets_named(name) if arguments.task in (None, entry.task)]
    if not named:
        raise InputError(f"--task {arguments.task}: {name} is a set for {sets_named(name)[0].task}")
    folder = data_folder(arguments.root)
    return [entry for entry in named if entry.locate(folder)] or named[:1]


def _check_set(entry: DataSet, arguments: Arguments) -> list[dict[str, Any]]:
    root = None if entry.facts.embedded else arguments.root
    cfg = config_for(entry.name, entry.task, root=root).unkept()
    if arguments.download:
        cfg = cfg.fetched()
    published = {"train": entry.facts.train_images, "test": entry.facts.test_images}
    return [
        {"task": entry.task, **_check_split(create_dataset(cfg, split), split, images)}
        for split, images in published.items()
    ]


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
    table = Table("task", "split", "images", "published", "classes", "broken", title=name)
    for part in report:
        counts = (part["images"], part["published_images"], part["classes"], len(part["broken"]))
        table.add_row(part["task"], part["split"], *map(_shown, counts))
    print_table(table)
    for message in (message for part in report for message in part["broken"]):
        Console().print(f"broken: {message}", markup=False, highlight=False, soft_wrap=True)
