"""The published files of weights, as `spikedriven models --files` lists them."""

import json
from dataclasses import asdict

from spikedriven import models as _families  # noqa: F401  # registers the files
from spikedriven.models.tags import TASKS, PublishedFile, list_files


def show_files(filter: str, as_json: bool) -> int:
    """Print the files whose NAME.TAG matches a wildcard; 1 where there is none."""
    files = sorted(list_files(filter), key=lambda file: TASKS.index(file.task))
    if as_json:
        print(
            json.dumps([{"full_name": file.full_name, **asdict(file)} for file in files], indent=2)
        )
        return 0
    for file in files:
        print(lines(file))
    print(f"{len(files)} published files")
    return 0 if files else 1


def lines(file: PublishedFile) -> str:
    """Three lines, which no terminal is too narrow for."""
    public = "" if file.url else " (no public link)"
    network = f"{keywords(file) or 'no keywords'}; {file.task} on {data(file)}"
    published = f"{images(file)}; published: {file.published or 'no figure'}{public}"
    return f"{file.full_name}\n    {network}\n    {published}"


def keywords(file: PublishedFile) -> str:
    """What the tag states of the network."""
    flat = {key: value for key, value in file.args.items() if not isinstance(value, dict)}
    for nested in (value for value in file.args.values() if isinstance(value, dict)):
        flat |= {key: value for key, value in nested.items() if key not in flat}
    return ", ".join(f"{key} {value}" for key, value in flat.items())


def data(file: PublishedFile) -> str:
    """Data set, and which split and order of classes where it has several."""
    split = [f"split {file.split}"] if file.split else []
    order = [f"classes {file.class_order}"] if file.class_order else []
    return ", ".join([file.dataset, *split, *order])


def images(file: PublishedFile) -> str:
    """Size and preparation of the input."""
    channels, height, width = file.input_size
    return f"{channels}x{height}x{width}, crop {file.crop_pct:.3g}, {file.interpolation}"
