"""Turn a published checkpoint into safetensors with this package's key names.

Example:
    spikedriven convert sdt_8_512 8_512.pth.tar sdt_8_512.safetensors
    spikedriven convert sdt_2_512_cifar cifar100.pth.tar out.safetensors --num-classes 100
"""

import json
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import tyro

from spikedriven.errors import CheckpointError
from spikedriven.models import create_model, load_official
from spikedriven.training.files import write_atomic


def main(
    model: Annotated[str, tyro.conf.Positional],
    checkpoint: Annotated[Path, tyro.conf.Positional],
    output: Annotated[Path, tyro.conf.Positional],
    num_classes: int | None = None,
    in_chans: int | None = None,
    num_heads: int | None = None,
    neuron: str | None = None,
    force: bool = False,
) -> int:
    """Read the authors' file strictly and write safetensors.

    Args:
        model: registered name, see `spikedriven models`.
        checkpoint: the authors' file.
        output: the file to write; its name ends in .safetensors.
        num_classes: classes of the checkpoint, where they differ from the variant's.
        in_chans: input channels, where they differ.
        num_heads: attention heads, where they differ.
        neuron: "lif" or "plif", where it differs.
        force: overwrite an existing output.
    """
    if output.suffix != ".safetensors":
        raise CheckpointError(f"the output {output} must be named *.safetensors")
    if output.exists() and not force:
        raise CheckpointError(f"{output} exists; give --force to overwrite it")
    given = {"num_classes": num_classes, "in_chans": in_chans, "num_heads": num_heads, "neuron": neuron}
    keywords: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    network = create_model(model, **keywords)
    report = load_official(network, checkpoint)
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    metadata = {"model": model, "keywords": json.dumps(keywords), "converted_from": checkpoint.name}
    write_atomic(output, safetensors.torch.save(tensors, metadata))
    print(f"{report}\nwritten: {output} ({output.stat().st_size / 1e6:.1f} MB)")
    return 0


def run(argv: list[str]) -> int:
    return tyro.cli(main, args=argv, prog="spikedriven convert", description=__doc__)
