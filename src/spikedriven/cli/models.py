"""List the networks: parameters, time steps, input size, published accuracy and its source.

Example:
    spikedriven models "sdt*"
    spikedriven models --json
    spikedriven models --files                 (the published files of weights, by NAME.TAG)
    spikedriven models "e_spikeformer*" --files --json

A tag stands for a published file: keywords of the network, data set, order of the classes, and how
images were prepared. --json has all of it, with links, licences, sources, and what was checked
here.
"""

import json
from dataclasses import asdict
from typing import Annotated

import tyro

from spikedriven.cli.arguments import as_flags
from spikedriven.cli.index import networks
from spikedriven.cli.listing import show


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
        from spikedriven.cli.published_files import show_files  # needs torch

        return show_files(filter, json_output)
    rows = networks(filter)
    if json_output:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    cells = [
        (
            row.name,
            f"{row.parameters:,}",
            str(row.time_steps),
            row.input,
            row.published,
            row.source,
        )
        for row in rows
    ]
    header = ("name", "parameters", "T", "input", "published", "source")
    show(header, cells, right=("parameters", "T"), wraps=("published", "source"))
    print(f"{len(rows)} networks")
    return 0 if rows else 1


def run(argv: list[str]) -> int:
    """Parse `argv`, print."""
    words = as_flags(argv, {"files", "json"})
    return tyro.cli(main, args=words, prog="spikedriven models", description=__doc__)
