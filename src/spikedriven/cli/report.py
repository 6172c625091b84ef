"""Write one HTML page about a run or a network: curves, accuracy, firing rates, energy, audit,
attention maps.

Example:

    spikedriven report runs/quickstart
    spikedriven report meta_spikeformer_15m        # random weights and input, labelled as such
    spikedriven report sdt_8_768.in1k_288 --checkpoint authors.pth.tar --data imagenet

The page needs no network and no script. Accuracy, rates and energy are measured anew, on the CPU: a
small network takes seconds, one for ImageNet minutes (lower --accuracy-images and --images).
"""

import json
from dataclasses import dataclass
from pathlib import Path

from spikedriven.cli.arguments import parse
from spikedriven.report import write_report
from spikedriven.report.subject import Request


@dataclass(frozen=True)
class Arguments(Request):
    out: Path = Path("report.html")
    """File for the page."""
    json: bool = False
    """Print the page's path as JSON."""


def run(argv: list[str]) -> int:
    """Parse `argv`, measure, write the page, print its path."""
    arguments = parse(Arguments, argv, "report", __doc__)
    path = write_report(arguments, arguments.out)
    print(json.dumps({"page": str(path)}) if arguments.json else f"report written to {path}")
    return 0
