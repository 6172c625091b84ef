"""List every figure of the six publications: published, ours, whether it holds, and the command
that shows it.

Example:

    spikedriven claims
    spikedriven claims --status "does not hold"
    spikedriven claims --json

What takes no weights is computed while the command runs (about a minute): parameters, operations,
energies at the rates that the authors logged, audits. Figures of trained networks need the authors'
files; the command that gives them stands in the row. docs/claims.md is this table.
"""

import json
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.progress import track

from spikedriven.claims import all_claims, markdown
from spikedriven.cli.arguments import read
from spikedriven.graph.tables import text_table

HEADER = ("figure", "published", "ours", "status", "command", "note")


@dataclass(frozen=True)
class Arguments:
    status: Literal[
        "reproduced", "reproduced at small scale", "needs the authors' weights", "does not hold"
    ] | None = None  # fmt: skip
    """Only rows of this status."""
    json: bool = False
    """Print JSON instead of a table."""
    markdown: bool = False
    """Print the page docs/claims.md."""


def run(argv: list[str]) -> int:
    """Parse `argv`, compute, print."""
    arguments = read(Arguments, argv, "claims", __doc__)
    wanted = [claim for claim in all_claims() if arguments.status in (None, claim.status)]
    console = Console(stderr=True)
    rows = [
        claim.to_dict() for claim in track(wanted, "computing", console=console, transient=True)
    ]
    if arguments.json:
        print(json.dumps(rows, indent=1))
    elif arguments.markdown:
        print(markdown(rows), end="")
    else:
        print(_text(rows))
    return 0


def _text(rows: list[dict[str, str]]) -> str:
    parts = []
    for publication in dict.fromkeys(row["publication"] for row in rows):
        own = [row for row in rows if row["publication"] == publication]
        cells = [
            (r["figure"], r["published"], r["ours"] or "-", r["status"], r["command"], r["why"])
            for r in own
        ]
        parts.append(f"{publication}\n{text_table(HEADER, cells, width=200)}")
    return "\n".join(parts)
