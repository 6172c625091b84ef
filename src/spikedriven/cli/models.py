"""List the networks: parameters, time steps, input size, published accuracy and its source.

Example:
    spikedriven models "sdt*"
    spikedriven models --json
"""

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from spikedriven.models import create_model, list_models, variant_of


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
    return Row(name, parameters, steps, f"{kind} {channels}x{height}x{width}", variant.published, variant.source)


def main(
    filter: Annotated[str, tyro.conf.Positional] = "*", json_output: Annotated[bool, tyro.conf.arg(name="json")] = False
) -> int:
    """List registered networks.

    Args:
        filter: wildcard over names, such as "sdt*".
        json_output: print JSON in place of the table.
    """
    rows = [describe(name) for name in list_models(filter)]
    if json_output:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    table = Table(title=f"{len(rows)} networks")
    for column in ("name", "parameters", "T", "input", "published", "source"):
        table.add_column(column, justify="right" if column in ("parameters", "T") else "left", no_wrap=column == "name")
    for row in rows:
        table.add_row(row.name, f"{row.parameters:,}", str(row.time_steps), row.input, row.published, row.source)
    Console().print(table)
    return 0 if rows else 1


def run(argv: list[str]) -> int:
    return tyro.cli(main, args=argv, prog="spikedriven models", description=__doc__)
