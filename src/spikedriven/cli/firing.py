"""Measure how every layer of neurons fires, time step by time step, as a table, JSON or CSV.

Example:

    spikedriven firing runs/quickstart                         (on the run's test images)
    spikedriven firing runs/quickstart --out firing.csv        (one row a layer and time step)
    spikedriven firing sdt_8_512.in1k --checkpoint authors --data imagenet --out firing.json
    spikedriven firing meta_spikeformer_15m                    (random weights and input, with a
    note)

Shown are the spikes per neuron and time step (a count n of an integer neuron is n spikes), the
share of neurons with a spike in an image, and the share without a spike on all of the images. A
neuron is one channel at one position. In the files each time step also has the mean output, and the
share of neurons that fire.

Of a network for masked pre-training: the encoder, on whole images.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from torch import Tensor

from spikedriven.cli.arguments import parse
from spikedriven.data.sections import described
from spikedriven.errors import InputError
from spikedriven.files import write_whole
from spikedriven.graph.layer_firing import LayerFiring, LayerFirings, rows
from spikedriven.graph.tables import text_table
from spikedriven.neurons.watch import neuron_outputs, neurons_of
from spikedriven.report.subject import Measured, Subject, batches, logits, open_subject


@dataclass(frozen=True)
class Arguments(Measured):
    out: Path | None = None
    """File for the figures of every layer and time step: .json, or .csv."""
    json: bool = False
    """Print the JSON instead of the table."""


def run(argv: list[str]) -> int:
    """Parse `argv`, measure, print, write the file."""
    arguments = parse(Arguments, argv, "firing", __doc__)
    if arguments.out is not None and arguments.out.suffix not in (".json", ".csv"):
        raise InputError(f"--out {arguments.out}: the name must end in .json or .csv")
    subject = open_subject(arguments)
    layers, images = measure(subject)
    record = to_record(subject, layers, images)
    if arguments.out is not None:
        text = json.dumps(record, indent=1) if arguments.out.suffix == ".json" else to_csv(layers)
        write_whole(arguments.out, text.encode())
    if arguments.json:
        print(json.dumps(record, indent=1))
    else:
        print("\n".join([table(layers), f"measured on {record['source']}", *subject.notes]))
        if arguments.out is not None:
            print(f"written to {arguments.out}")
    return 0


def measure(subject: Subject[Any]) -> tuple[list[LayerFiring], int]:
    """How each layer fires, in the order of the calls, and the number of images.

    Raises InputError for a network without neurons of this package.
    """
    if not neurons_of(subject.model):
        raise InputError(
            f"{subject.name} has no neuron of this package: there is nothing that fires"
        )
    found, images = LayerFirings(), 0
    with neuron_outputs(subject.model, found.see):
        for batch, _ in track(
            batches(subject), "firing", console=Console(stderr=True), transient=True
        ):
            assert isinstance(batch, Tensor)  # registered networks take one input
            logits(subject.model, batch)
            images += len(batch)
    return list(found.result().values()), images


def to_record(subject: Subject[Any], layers: list[LayerFiring], images: int) -> dict[str, Any]:
    """Plain values for JSON. "neurons": mean outputs by name, as `sd.firing_rates` gives them."""
    source = f"{images} samples of noise"
    if subject.data is not None:
        source = f"{images} images of split {subject.request.split} of {described(subject.data)}"
    return {
        "network": subject.network,
        "time_steps": max(len(layer.spikes) for layer in layers),
        "images": images,
        "source": source,
        "notes": list(subject.notes),
        "neurons": {layer.name: float(layer.mean_output.mean()) for layer in layers},
        "firing": [layer.to_dict() for layer in layers],
    }


def to_csv(layers: list[LayerFiring]) -> str:
    """One row a layer and time step; figures of the whole layer stand in each of its rows."""
    found = rows(layers)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return buffer.getvalue()


def table(layers: list[LayerFiring]) -> str:
    """For people: spikes per neuron at each time step and on average, and the two shares."""
    steps = max(len(layer.spikes) for layer in layers)
    header = (
        "neurons",
        *(f"step {i + 1}" for i in range(steps)),
        "mean",
        "fire in an image",
        "never fire",
        "",
    )
    found = [_row(layer, steps) for layer in layers]
    return text_table(header, found, right=header[1:-1])


def _row(layer: LayerFiring, steps: int) -> tuple[str, ...]:
    values = [f"{value:.4f}" for value in layer.spikes.tolist()]
    never = "" if layer.never_fires is None else f"{layer.never_fires:.1%}"
    state = "dead" if layer.dead else "saturated" if layer.saturated else ""
    shares = (f"{layer.fires_in_an_image:.1%}", never, state)
    return (
        layer.name,
        *values,
        *[""] * (steps - len(values)),
        f"{float(layer.spikes.mean()):.4f}",
        *shares,
    )
