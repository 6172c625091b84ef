"""Compile a network for the event-driven CPU engine, write it as one file, and check the file
against the network.

Example:

    spikedriven compile runs/quickstart --out quickstart.sdp    # on the run's test images
    spikedriven compile sdt_8_512.in1k --checkpoint authors.pth.tar --image cat.jpg --out sdt.sdp
    spikedriven compile spikingformer_8_384 --out net.sdp --json    # random weights, said so

How often neurons fire on the inputs decides which layers add rows and which multiply; results are
the same. The file is read back: it must give, bit for bit, what the quantized network gives, and is
compared with the network itself. In Python: spikedriven.load_program(FILE)(images).
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor

from spikedriven.cli.arguments import parse
from spikedriven.data import build_eval_loader
from spikedriven.data.sections import described
from spikedriven.engine import Program, compile, load_program
from spikedriven.engine.scales import DEFAULT_BITS
from spikedriven.errors import InputError
from spikedriven.graph.calibrate import calibrate
from spikedriven.graph.quantization import record_of
from spikedriven.graph.quantize import quantized_copy
from spikedriven.kernels.extension import instruction_sets
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.report.images import read_frames, read_image
from spikedriven.runs.target import (
    Loaded,
    Target,
    data_config,
    load_target,
    preprocessing,
    random_batch,
)

#: Relative to the largest output: well above what integer weights change, far below what one spike
#: changes.
ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True)
class Arguments(Target):
    out: Path
    """The file to write."""
    image: tuple[Path, ...] = ()
    """Pictures to compile on and to check with, or .npy files of event frames."""
    data: str | None = None
    """Data set to take inputs from. Default: a run's own; random input for a model name."""
    root: Path | None = None
    """Data folder."""
    split: Literal["test", "val", "train"] = "test"
    """Part of the data set."""
    images: int = 8
    """Number of inputs, where no pictures are named."""
    weight_bits: Literal[2, 3, 4, 5, 6, 7, 8, 16] | None = None
    """Bits of the weights of layers that read spikes or counts. None: 8."""
    force: bool = False
    """Overwrite an existing file."""
    json: bool = False
    """Print JSON instead of text."""


def run(argv: list[str]) -> int:
    """Parse `argv`, compile, write, read back, compare, print."""
    arguments = parse(Arguments, argv, "compile", __doc__)
    if arguments.out.exists() and not arguments.force:
        raise InputError(f"{arguments.out} exists; give --force to overwrite it")
    if arguments.images < 1:
        raise InputError(f"--images {arguments.images}: at least 1 is needed")
    loaded = load_target(arguments)
    if not isinstance(loaded.model, SpikeDrivenModel):
        raise InputError(
            f"{arguments.target}: the engine compiles classifiers, found "
            f"{type(loaded.model).__name__}"
        )
    batch, source = _inputs(loaded, arguments)
    if not loaded.trained:
        calibrate(loaded.model, batch)
    with Console(stderr=True).status("compiling, writing, checking"):
        small = _quantized(loaded.model, batch, arguments.weight_bits)
        compile(small, batch).save(arguments.out)
        program = load_program(arguments.out)
        _check_same(program, small, batch, arguments.out)
        found = {
            "file": str(arguments.out),
            "bytes": arguments.out.stat().st_size,
            "trained": loaded.trained,
        }
        found |= _contents(program, batch) | {
            "inputs": source,
            **_compared(program, loaded.model, batch),
        }
    print(json.dumps(found, indent=1) if arguments.json else _told(found))
    return 0


def _quantized(model: Any, batch: Tensor, bits: int | None) -> Any:
    """The quantized module that the program computes."""
    if record_of(model) is None:
        return quantized_copy(model, batch, bits or DEFAULT_BITS)
    if bits is not None:
        raise InputError("the weights of this run have their bits already: leave --weight-bits out")
    return model


def _check_same(program: Program, small: Any, batch: Tensor, path: Path) -> None:
    """InputError unless the file gives the bits of the quantized module."""
    with torch.no_grad():
        expected = getattr(small, getattr(small, "graph_method", "forward"))(batch)
    if not torch.equal(program(batch), expected):
        left = "; ".join(record.left) if (record := record_of(small)) is not None else ""
        raise InputError(
            f"{path}: the program does not have the bits of the quantized network {left}".rstrip()
        )


def _inputs(loaded: Loaded, arguments: Arguments) -> tuple[Tensor, str]:
    """A batch, and where it is from."""
    model = loaded.model
    if arguments.image and model.input_layout == "events":
        return torch.cat(
            [read_frames(path, model.in_chans) for path in arguments.image]
        ), "the files given"
    if arguments.image:
        prepared = loaded.data or preprocessing(model)
        return torch.cat(
            [read_image(path, prepared) for path in arguments.image]
        ), "the pictures given"
    if loaded.data is None and arguments.data is None:
        return random_batch(model, arguments.images), "RANDOM INPUT"
    data = data_config(loaded, arguments, arguments.data or "", arguments.root)
    loader = build_eval_loader(data, arguments.split, batch_size=arguments.images)
    return next(iter(loader))[0], f"{arguments.split} samples of {described(data)}"


def _contents(program: Program, batch: Tensor) -> dict[str, Any]:
    """Operations by kind and mode, how often neurons fire, and what will compute."""
    kinds = Counter(
        " ".join([type(operation).__name__, getattr(operation, "mode", "")]).strip()
        for operation in program.plan.operations
    )
    spikes = [value for m, value in program.maps(batch[:1]) if m.kind == "spikes"]
    fired = sum(int((value > 0).sum()) for value in spikes)
    return {
        "operations": dict(kinds.most_common()),
        "density": fired / max(sum(value.numel() for value in spikes), 1),
        "engine": f"native, {program.isa or instruction_sets()[0]}"
        if program.is_native
        else "twin (not compiled)",
    }


def _compared(program: Program, model: SpikeDrivenModel, batch: Tensor) -> dict[str, Any]:
    """How far the program is from the network on these inputs. same_top1, within_rounding: shares
    of the inputs with the same best class, and with an output that differs only by rounding;
    elsewhere a spike came out differently.
    """
    with torch.no_grad():
        expected = getattr(model, getattr(model, "graph_method", "forward"))(batch)
    found = program(batch)
    classes = found.ndim < 4 and found.shape[-1] > 0
    best = [x.mean(0) if x.ndim == 3 else x for x in (expected, found)]
    top1 = float((best[0].argmax(-1) == best[1].argmax(-1)).float().mean()) if classes else None
    largest = float(expected.abs().max())
    differences = (
        (found - expected).abs().movedim(1 if found.ndim == 3 else 0, 0).flatten(1).amax(1)
    )
    return {
        "checked": len(batch),
        "same_top1": top1,
        "within_rounding": float((differences <= ROUNDING * largest).float().mean()),
        "largest_difference": float(differences.max()),
        "largest_output": largest,
    }


def _told(found: dict[str, Any]) -> str:
    operations = ", ".join(f"{count} {kind}" for kind, count in found["operations"].items())
    top1 = "" if found["same_top1"] is None else f"same top-1 {found['same_top1']:.1%}, "
    same = f"{top1}same up to rounding {found['within_rounding']:.1%}"
    outputs = (
        f"largest difference {found['largest_difference']:.3g} in outputs up to "
        f"{found['largest_output']:.3g}"
    )
    lines = [
        f"{found['file']}: {found['bytes'] / 1e6:.2f} MB",
        f"operations: {operations}",
        f"neurons that fire: {found['density']:.1%}; computed by: {found['engine']}",
        f"file against network on {found['checked']} inputs ({found['inputs']}): {same}, {outputs}",
    ]
    return "\n".join(
        lines if found["trained"] else [*lines, "RANDOM WEIGHTS: no checkpoint was given"]
    )
