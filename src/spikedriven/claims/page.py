"""docs/claims.md, written from the table."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from spikedriven.claims.claim import STATUSES

_HEADER = """# Every figure of the six publications

Written by `spikedriven claims --markdown`; a test holds the two equal.
One row for each figure of the READMEs and their abstracts.
What takes no weights is computed when the command runs: parameters, operations, energies at logged
rates, audits.
`authors` stands for the file that `spikedriven fetch NAME.TAG` stores, `FILE` for one of yours.
"""


def markdown(rows: Iterable[Mapping[str, str]]) -> str:
    """rows: of `Claim.to_dict`, grouped by publication."""
    rows = list(rows)
    lines = [_HEADER, "| status | meaning | figures |", "|---|---|---|"]
    for status, meaning in STATUSES.items():
        lines.append(f"| {status} | {meaning} | {sum(row['status'] == status for row in rows)} |")
    for publication, group in groupby(rows, key=lambda row: row["publication"]):
        lines += [
            "",
            f"## {publication}",
            "",
            "| figure | published | ours | status | command | note |",
        ]
        lines.append("|---|---|---|---|---|---|")
        lines += map(_line, group)
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, str]) -> str:
    ours = row["ours"] or "-"
    return (
        f"| {row['figure']} | {row['published']} | {ours} | {row['status']} | `{row['command']}` | "
        f"{row['why']} |"
    )
