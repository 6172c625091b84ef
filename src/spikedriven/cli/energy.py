"""Energy per image under a named convention, from firing rates measured on images, with the arithmetic shown.

Example:

    spikedriven energy runs/quickstart                                          (on the run's test images)
    spikedriven energy sdt_8_512.in1k --checkpoint authors.pth.tar --data imagenet --convention all
    spikedriven energy spikingformer_8_512 --convention spikingformer --json    (random weights and input: says so)

Conventions: sdt, spikingformer, sfa, all-ops; "all" prints the totals side by side. See docs/energy.md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from spikedriven.cli.arguments import parse
from spikedriven.data import build_eval_loader
from spikedriven.data.sections import described
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.graph.energy import EnergyReport, cost, measure
from spikedriven.graph.tables import text_table
from spikedriven.training.target import Loaded, Target, data_config, load_target, random_batch, wake_up


@dataclass(frozen=True)
class Arguments(Target):
    convention: Literal["sdt", "spikingformer", "sfa", "all-ops", "all"] = "sdt"
    """Rule by which operations are counted; all: the totals of every rule side by side."""
    technology: Literal["fp32", "int8"] = "fp32"
    """Prices of one operation, 45 nm."""
    data: str | None = None
    """Data set to measure firing rates on. Default: a run's own; random input for a model name."""
    root: Path | None = None
    """Data folder."""
    split: Literal["test", "val", "train"] = "test"
    """Part of the data set."""
    images: int = 256
    """How many images to measure on; 0: all of the split."""
    batch_size: int = 32
    json: bool = False
    """Print JSON instead of tables."""


def run(argv: list[str]) -> int:
    """Parse `argv`, measure, print."""
    arguments = parse(Arguments, argv, "energy", __doc__)
    loaded = load_target(arguments)
    batches, source, notes = _batches(loaded, arguments)
    measurement = measure(loaded.model, batches, progress=True)
    names = list(CONVENTIONS) if arguments.convention == "all" else [arguments.convention]
    reports = [cost(measurement, name, arguments.technology) for name in names]
    if arguments.json:
        found = {"data": source, "notes": notes, "reports": [report.to_dict() for report in reports]}
        print(json.dumps(found, indent=1))
    else:
        measured = [] if source is None else [f"measured on {arguments.split} samples of {source}"]
        print("\n".join([str(reports[0]) if len(reports) == 1 else side_by_side(reports), *measured, *notes]))
    return 0


def _batches(loaded: Loaded, arguments: Arguments) -> tuple[Any, str | None, list[str]]:
    """The images to measure on, the data set they are of, and what the reader must know about them."""
    if loaded.data is None and arguments.data is None:
        batch = random_batch(loaded.model, min(arguments.images or 8, 8))
        if loaded.trained:
            return batch, None, [f"RANDOM INPUT: {len(batch)} samples of noise"]
        wake_up(loaded.model, batch)
        note = (
            f"RANDOM WEIGHTS AND RANDOM INPUT ({len(batch)} samples of noise, batch norms set to their statistics): "
            "rates and energies say nothing about a trained network"
        )
        return batch, None, [note]
    data = data_config(loaded, arguments, arguments.data or "", arguments.root)
    loader = build_eval_loader(data, arguments.split, batch_size=arguments.batch_size)
    batches = _limited(loader, arguments.images)
    if loaded.trained:
        return batches, described(data), []
    wake_up(loaded.model, next(iter(loader))[0])
    note = "RANDOM WEIGHTS, batch norms set to the first batch: the rates are not those of a trained network"
    return batches, described(data), [note]


def _limited(loader: Any, images: int) -> Iterator[Tensor]:
    seen = 0
    for batch, _ in loader:
        taken = batch if images == 0 else batch[: images - seen]
        yield taken
        seen += len(taken)
        if seen == images:
            return


def side_by_side(reports: list[EnergyReport]) -> str:
    """The totals of several conventions over one measurement."""
    header = ("convention", "mJ", "MACs", "ACs", "counts")
    rows = [
        (r.convention.name, f"{r.total_mj:.4g}", f"{r.macs:.4g}", f"{r.acs:.4g}", r.convention.formula) for r in reports
    ]
    return f"{text_table(header, rows, right=header[1:4])}\n{reports[0].basis()}\n{reports[0].comparison}"
