"""The programs of a compiled detector or segmenter as a folder of files.

Such a model is PyTorch's control flow around programs, one for each part and size of image. The
folder holds the programs and a list of them, programs.json; the model itself is built again from
its recipe or its keywords, and its checkpoint. The list says which weights the programs were made
of, so that no other model takes them.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.engine.parts import CompiledPart
from spikedriven.engine.running import load_program
from spikedriven.errors import CheckpointError, InputError
from spikedriven.files import replace_file

LIST, FORMAT = "programs.json", "spikedriven programs 1"
#: Shapes of a program's inputs without the batch.
Sizes = tuple[torch.Size, ...]


def save_programs(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write every program that a compiled model has made so far; `load_programs` reads them.

    InputError for a model without compiled parts, or whose programs are still to be made.
    """
    parts, folder = _parts(model), Path(folder)
    if not any(part.programs for part in parts.values()):
        raise InputError(
            "this model has made no program yet: call it once, or compile it with images"
        )
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {}
    for name, part in parts.items():
        for number, program in enumerate(part.programs.values()):
            program.save(folder / _file(name, number))
        sizes = [[list(shape) for shape in shapes] for shapes in part.programs]
        described[name] = {"weights": _fingerprint(part.original), "sizes": sizes}
    text = json.dumps({"format": FORMAT, "parts": described}, indent=1)
    replace_file(folder / LIST, text.encode())


def load_programs(
    model: nn.Module, folder: str | os.PathLike[str], native: bool | None = None
) -> None:
    """Give a compiled model, such as ``compile(detector)``, the programs of a folder, in place of
    its own.

    The model must have the weights that the programs were made of; sizes that the folder lacks are
    compiled when they are first seen, as always. native: see `Program`. CheckpointError for a
    folder that is missing, damaged, or of another model.
    """
    parts, folder = _parts(model), Path(folder)
    found = _read(folder / LIST)
    if found.keys() != parts.keys():
        raise CheckpointError(
            f"{folder}: has programs of {sorted(found)}, but the model has {sorted(parts)}"
        )
    made = {}
    for name, part in parts.items():
        weights, sizes = found[name]
        if weights != _fingerprint(part.original):
            raise CheckpointError(
                f"{folder}: the programs of {name} were made of other weights; load the checkpoint "
                "that they were "
                "made of into the model first, or compile it again"
            )
        files = [folder / _file(name, number) for number in range(len(sizes))]
        made[name] = {
            size: load_program(file, native) for size, file in zip(sizes, files, strict=True)
        }
    for name, part in parts.items():
        part.programs = made[name]


def _parts(model: nn.Module) -> dict[str, CompiledPart]:
    """By qualified name; some stand in the place of a method and are no child modules."""
    found = [(f"{path}.{name}".lstrip("."), value)
             for path, module in model.named_modules()
             for name, value in {**module._modules, **vars(module)}.items()]  # fmt: skip
    parts = {name: value for name, value in found if isinstance(value, CompiledPart)}
    if not parts:
        raise InputError(
            "this model has no compiled parts: give what spikedriven.compile made of a detector or "
            "segmenter"
        )
    return parts


def _file(part: str, number: int) -> str:
    return f"{part}.{number}.sdp"


def _fingerprint(module: nn.Module) -> str:
    """SHA-256 of names, types, shapes and values of a module's tensors."""
    total = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        total.update(_bytes(tensor))
    return total.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _read(path: Path) -> dict[str, tuple[str, list[Sizes]]]:
    """Of each part, the fingerprint of its weights and the sizes of its programs."""
    try:
        described = json.loads(path.read_text())
    except OSError as error:
        reason = error.strerror or error
        told = f"{path}: cannot be read ({reason}); name a folder that save_programs wrote"
        raise CheckpointError(told) from error
    except ValueError as error:
        raise CheckpointError(f"{path}: no list of programs, or a damaged one ({error})") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: no list of programs of this version; write it again with save_programs"
        )
    try:
        return dict(_listed(described["parts"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def _listed(parts: dict[str, Any]) -> Iterator[tuple[str, tuple[str, list[Sizes]]]]:
    for name, part in parts.items():
        yield (
            name,
            (
                str(part["weights"]),
                [tuple(torch.Size(shape) for shape in shapes) for shapes in part["sizes"]],
            ),
        )
