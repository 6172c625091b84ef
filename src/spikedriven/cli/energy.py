"""Compute the energy per image under a named convention, from firing rates, and show the
arithmetic.

Example:

    spikedriven energy runs/quickstart             # on the run's test images
    spikedriven energy sdt_8_512.in1k --checkpoint authors --data imagenet --convention all
    spikedriven energy runs/quickstart --convention lemaire --figure energy.png
    spikedriven energy spikingformer_8_512 --rates mine.json --json
    spikedriven energy spikingformer_8_512 --rates published --convention spikingformer

"all" compares one network with the ANN of the same shape under every convention, and says where
spiking pays. What each convention counts, and the format of a rates file: docs/energy.md.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from spikedriven.cli.arguments import parse
from spikedriven.data import build_eval_loader
from spikedriven.data.sections import described
from spikedriven.errors import InputError
from spikedriven.graph.calibrate import calibrate
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.graph.energy import EnergyReport, cost
from spikedriven.graph.forms import Form
from spikedriven.graph.given_rates import read_rates
from spikedriven.graph.measurement import Measurement, measure, measurement_of
from spikedriven.graph.memory import Memory, Place
from spikedriven.graph.side_by_side import side_by_side
from spikedriven.models.logged_rates import logged_rates
from spikedriven.report.energy_figure import write_energy_figure
from spikedriven.runs.target import (
    Loaded,
    Target,
    data_config,
    is_model_name,
    load_target,
    random_batch,
)


@dataclass(frozen=True)
class MemoryOptions:
    """Memory traffic of the conventions that count it; left out: the convention's own value."""

    weight_bits: int | None = None
    """Bits of one weight."""
    membrane_bits: int | None = None
    """Bits of one membrane or partial sum."""
    activation_bits: int | None = None
    """Bits of one activation of the ANN."""
    weights: Place | None = None
    """Where weights are kept."""
    membranes: Place | None = None
    """Where membranes are kept."""
    spikes: Place | None = None
    """Where spikes are kept."""
    on_chip_pj: float | None = None
    """Picojoule per bit on chip, whatever the size of the memory."""
    off_chip_pj: float | None = None
    """Picojoule per bit off chip."""
    zeros: float | None = None
    """Share of the ANN's activations that are 0, and skipped."""

    def over(self, memory: Memory | None) -> Memory | None:
        """A convention's memory with what was given in its place."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return None if memory is None else dataclasses.replace(memory, **given)


@dataclass(frozen=True)
class Arguments(Target):
    convention: Literal[
        "sdt",
        "spikingformer",
        "spikingformer-log",
        "sfa",
        "all-ops",
        "lemaire",
        "lemaire-packed",
        "bit-matched",
        "step",
        "all",
    ] = "sdt"
    """Rule by which operations and accesses are counted; all: every rule side by side."""
    technology: Literal["fp32", "int32", "int8"] | None = None
    """Prices of one operation, 45 nm. Default: those that the convention is defined with."""
    form: Form | None = None
    """The network that is counted: as released, folded (`fuse`), or as binary spikes (`expand`).
    Default: folded where that changes a weight layer, else released."""
    rates: str | None = None
    """Compute from given firing rates: a JSON file, or "published" for those that the authors
    logged."""
    data: str | None = None
    """Data set to measure firing rates on. Default: a run's own; random input for a model name."""
    root: Path | None = None
    """Data folder."""
    split: Literal["test", "val", "train"] = "test"
    """Part of the data set."""
    images: int = 256
    """Number of images to measure on; 0: all of the split."""
    batch_size: int = 32
    memory: MemoryOptions = field(default_factory=MemoryOptions)
    figure: Path | None = None
    """Also draw energy by layer, arithmetic and memory stacked, beside the ANN (.png, .svg or
    .pdf)."""
    json: bool = False
    """Print JSON instead of tables."""


def run(argv: list[str]) -> int:
    """Parse `argv`, measure or read the rates, print."""
    arguments = parse(Arguments, argv, "energy", __doc__)
    measurement, data = (_given(arguments), None) if arguments.rates else _measured(arguments)
    reports, refused = _reports(measurement, arguments)
    if arguments.figure is not None:
        write_energy_figure(_shown_in_figure(reports), arguments.target, arguments.figure)
    if arguments.json:
        found = {
            "data": data,
            "refused": refused,
            "reports": [report.to_dict() for report in reports],
        }
        print(json.dumps(found, indent=1))
    else:
        shown = side_by_side(reports) if arguments.convention == "all" else str(reports[0])
        notes = [f"measured on {arguments.split} samples of {data}"] if data else []
        if arguments.figure is not None:
            notes.append(f"figure written to {arguments.figure}")
        print("\n".join([shown, *refused, *notes]))
    return 0


def _reports(
    measurement: Measurement, arguments: Arguments
) -> tuple[list[EnergyReport], list[str]]:
    """One report per convention, and why others could not be computed."""
    memory, technology = arguments.memory, arguments.technology
    if arguments.convention != "all":
        rule = CONVENTIONS[arguments.convention]
        if rule.memory is None and memory != MemoryOptions():
            raise InputError(f"--memory.*: convention {rule.name} counts no memory traffic")
        return [cost(measurement, rule.name, technology, memory.over(rule.memory))], []
    reports, refused = [], []
    for name, rule in CONVENTIONS.items():
        try:
            reports.append(cost(measurement, name, technology, memory.over(rule.memory)))
        except InputError as error:
            refused.append(str(error))
    if not reports:
        raise InputError("; ".join(refused))
    return reports, refused


def _shown_in_figure(reports: list[EnergyReport]) -> EnergyReport:
    """The report of the one convention; of all of them the first that counts memory."""
    return next((report for report in reports if report.memory is not None), reports[0])


def _given(arguments: Arguments) -> Measurement:
    """The table with the rates of a file: shapes only, so the network has no memory for its
    weights."""
    assert arguments.rates is not None
    if arguments.data is not None or arguments.checkpoint is not None:
        raise InputError(
            "--rates takes the place of a measurement: leave out --data and --checkpoint"
        )
    published = arguments.rates == "published"
    name = arguments.target.partition(".")[0]  # of NAME.TAG
    given = read_rates(logged_rates(name) if published else Path(arguments.rates))
    if given.network not in ("", name) and is_model_name(arguments.target):
        raise InputError(f"{given.path}: rates of {given.network}, not of {name}")
    model = load_target(arguments, device="meta").model
    return measurement_of(model, model.example_input(), given, arguments.form)


def _measured(arguments: Arguments) -> tuple[Measurement, str | None]:
    """The table with measured rates, and the data set that the images are of; None: noise."""
    loaded = load_target(arguments)
    batches, doubt, data = _batches(loaded, arguments)
    measurement = measure(loaded.model, batches, progress=True, form=arguments.form)
    if doubt:
        measurement = dataclasses.replace(measurement, doubts=(doubt, *measurement.doubts))
    return measurement, data


def _batches(loaded: Loaded, arguments: Arguments) -> tuple[Any, str, str | None]:
    """The images to measure on; why they give no grounds for a verdict ("": they do); their data
    set."""
    if loaded.data is None and arguments.data is None:
        batch = random_batch(loaded.model, min(arguments.images or 8, 8))
        if loaded.trained:
            return batch, f"RANDOM INPUT: {len(batch)} samples of noise", None
        calibrate(loaded.model, batch)
        doubt = (
            f"RANDOM WEIGHTS AND RANDOM INPUT ({len(batch)} samples of noise, batch norms set to "
            "their statistics): "
            "rates and energies say nothing about a trained network"
        )
        return batch, doubt, None
    data = data_config(loaded, arguments, arguments.data or "", arguments.root)
    loader = build_eval_loader(data, arguments.split, batch_size=arguments.batch_size)
    batches = _limited(loader, arguments.images)
    if loaded.trained:
        return batches, "", described(data)
    calibrate(loaded.model, next(iter(loader))[0])
    doubt = (
        "RANDOM WEIGHTS, batch norms set to the first batch: the rates are not those of a trained "
        "network"
    )
    return batches, doubt, described(data)


def _limited(loader: Any, images: int) -> Iterator[Tensor]:
    seen = 0
    for batch, _ in loader:
        taken = batch if images == 0 else batch[: images - seen]
        yield taken
        seen += len(taken)
        if seen == images:
            return
