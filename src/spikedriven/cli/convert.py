"""Turn a published checkpoint into safetensors with this package's key names.

Example:
    spikedriven convert sdt_8_512.in1k 8_512.pth.tar sdt_8_512.safetensors
    spikedriven convert e_spikeformer_19m own.pth out.safetensors --model.args.levels 4

Settings that the tensors of a file do not show (levels, time steps, heads) come from the tag or the
options. They are written into the header of the new file, so other commands find them there.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import tyro

from spikedriven.cli.arguments import parse
from spikedriven.errors import CheckpointError
from spikedriven.files import explain_os_errors, replace_file
from spikedriven.models.containers import Weights
from spikedriven.models.header import Provenance, header
from spikedriven.runs.target import Loaded, Target, given_keywords, load_checkpoint


@dataclass(frozen=True)
class Arguments:
    model: Annotated[str, tyro.conf.Positional]
    """Registered name or NAME.TAG, see `spikedriven models` and `spikedriven models --files`."""
    checkpoint: Annotated[Path, tyro.conf.Positional]
    """The authors' file."""
    output: Annotated[Path, tyro.conf.Positional]
    """The file to write; its name ends in .safetensors."""
    num_classes: int | None = None
    """Classes of the checkpoint. Default: as many as its head has."""
    time_steps: int | None = None
    """Time steps, where no tag says them."""
    model_args: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Keywords of the network; on the command line --model.args.KEY VALUE."""
    weights: Weights = "auto"
    """Trained or averaged weights (EMA), where the file holds both. auto: the trained ones."""
    force: bool = False
    """Overwrite an existing output."""


def run(argv: list[str]) -> int:
    """Parse `argv`, read the authors' file strictly, write, print what was found."""
    arguments = parse(Arguments, argv, "convert", __doc__)
    if arguments.output.suffix != ".safetensors":
        raise CheckpointError(f"the output {arguments.output} must be named *.safetensors")
    if arguments.output.exists() and not arguments.force:
        raise CheckpointError(f"{arguments.output} exists; give --force to overwrite it")
    given = given_keywords(
        Target(
            arguments.model, num_classes=arguments.num_classes, time_steps=arguments.time_steps,
            model_args=arguments.model_args,
        )
    )  # fmt: skip
    loaded = load_checkpoint(arguments.model, arguments.checkpoint, given, arguments.weights)
    with explain_os_errors(arguments.output):
        write_converted(loaded, arguments.checkpoint, arguments.output)
    print(told(loaded, arguments.output))
    return 0


def write_converted(loaded: Loaded, checkpoint: Path, output: Path, **facts: str) -> None:
    """Write a network that was read from a checkpoint as safetensors. facts: further entries of
    its header.
    """
    name, _, tag = loaded.full_name.partition(".")
    tensors = {key: value.contiguous() for key, value in loaded.model.state_dict().items()}
    metadata = header(Provenance(name, tag, loaded.keywords, checkpoint.name)) | facts
    replace_file(output, safetensors.torch.save(tensors, metadata))


def told(loaded: Loaded, output: Path) -> str:
    """What was found in a checkpoint, who said what its tensors do not tell, and what was
    written.
    """
    said = [f"  {key} {value} ({loaded.origins[key]})" for key, value in loaded.keywords.items()]
    size = output.stat().st_size / 1e6
    network = f"{loaded.full_name}, with"
    return "\n".join([str(loaded.report), network, *said, f"written: {output} ({size:.1f} MB)"])
