"""List the networks: parameters, time steps, input size, published accuracy and its source.

Example:
    spikedriven models "sdt*"
    spikedriven models --json
    spikedriven models --files                 (the published files of weights, by NAME.TAG)
    spikedriven models "e_spikeformer*" --files --json

A tag is what a command needs to know of a published file: keywords of the network, data set and order of its classes,
and how images were prepared. --json has all of it, with links, licences, sources, and what was checked here.
"""

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from spikedriven.models import create_model, list_models, variant_of
from spikedriven.models.tags import TASKS, PublishedFile, list_files


@dataclass(frozen=True)
class Row:
    """One registered network. parameters: of the released form, unused ones included."""

    name: str
    parameters: int
    time_steps: int
    input: str
    published: str
    source: str


def describe(name: str) -> Row:
    """Build the network without memory for its weights, and read its figures."""
    with torch.device("meta"):
        model: Any = create_model(name)
    steps = model.example_input().shape[1] if model.input_layout == "events" else model.time_steps
    channels, height, width = variant_of(name).input_size
    kind = "event frames" if model.input_layout == "events" else "image"
    parameters = sum(p.numel() for p in model.parameters())
    variant = variant_of(name)
    return Row(
        name,
        parameters,
        steps,
        f"{kind} {channels}x{height}x{width}",
        variant.published,
        variant.source,
    )


def main(
    filter: Annotated[str, tyro.conf.Positional] = "*",
    files: bool = False,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """List registered networks, or published files.

    Args:
        filter: wildcard over names, such as "sdt*".
        files: list the published files of these networks instead.
        json_output: print JSON in place of the table.
    """
    if files:
        return _files(
            sorted(list_files(filter), key=lambda file: TASKS.index(file.task)), json_output
        )
    rows = [describe(name) for name in list_models(filter)]
    if json_output:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    table = Table(title=f"{len(rows)} networks")
    for column in ("name", "parameters", "T", "input", "published", "source"):
        table.add_column(
            column,
            justify="right" if column in ("parameters", "T") else "left",
            no_wrap=column == "name",
        )
    for row in rows:
        table.add_row(
            row.name,
            f"{row.parameters:,}",
            str(row.time_steps),
            row.input,
            row.published,
            row.source,
        )
    Console().print(table)
    return 0 if rows else 1


def _files(files: list[PublishedFile], as_json: bool) -> int:
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


def run(argv: list[str]) -> int:
    return tyro.cli(main, args=argv, prog="spikedriven models", description=__doc__)
