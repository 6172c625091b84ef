"""Write a network as ONNX (whole) or NIR (what that format can express), and check the file by
running it.

Example:

    spikedriven export runs/quickstart model.onnx
    spikedriven export sdt_8_512.in1k sdt.onnx --checkpoint authors.pth.tar
    spikedriven export spikingformer_8_512 spikingformer.nir --img-size 224

The ending of the file name decides the format. The exit status is 1 if onnxruntime predicts another
class than torch for a trained network, or if a spike of the NIR file differs. With random weights
the logits lie so close together that a different order means nothing; it is shown only. Needs the
extra: pip install 'spikedriven[export]'.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from spikedriven.cli.arguments import parse
from spikedriven.errors import InputError
from spikedriven.export import export_nir, export_onnx
from spikedriven.graph.calibrate import calibrate
from spikedriven.runs.target import Target, load_target, random_batch


@dataclass(frozen=True)
class Arguments(Target):
    output: Annotated[Path, tyro.conf.Positional] = Path("model.onnx")
    """The file to write: *.onnx or *.nir."""
    images: int = 4
    """Number of random inputs to check the file with."""
    force: bool = False
    """Overwrite an existing file."""
    json: bool = False
    """Print JSON instead of text."""


def run(argv: list[str]) -> int:
    """Parse `argv`, write, check, print; 1 where the check found a difference."""
    arguments = parse(Arguments, argv, "export", __doc__)
    formats: dict[str, Any] = {".onnx": export_onnx, ".nir": export_nir}
    if arguments.output.suffix not in formats:
        raise InputError(f"{arguments.output}: the name must end in {' or '.join(formats)}")
    if arguments.output.exists() and not arguments.force:
        raise InputError(f"{arguments.output} exists; give --force to overwrite it")
    loaded = load_target(arguments)
    batch = random_batch(loaded.model, arguments.images)
    if not loaded.trained:
        calibrate(loaded.model, batch)
    with Console(stderr=True).status("tracing, writing, checking"):
        report = formats[arguments.output.suffix](loaded.model, batch, arguments.output)
    if arguments.json:
        print(
            json.dumps(
                dataclasses.asdict(report) | {"trained": loaded.trained}, indent=1, default=str
            )
        )
    else:
        print(report if loaded.trained else f"{report}\nRANDOM WEIGHTS: no checkpoint was given")
    judged = loaded.trained or arguments.output.suffix == ".nir"
    return int(judged and not report.ok)
