"""Runs whose weights are integers: the record in the run folder, and files of integer weights.

RUN/quantization.json    what was done to the network (`graph.quantization`); checkpoints hold the
weights in training FILE.safetensors         a quantized module: integers, scales and biases; its
metadata holds the same record
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from spikedriven.data import build_eval_loader
from spikedriven.errors import CheckpointError, InputError
from spikedriven.files import explain_os_errors, replace_file, write_atomic
from spikedriven.graph.quantization import RECORD, Quantization, record_of

FILE = "quantization.json"
#: Calibration images that go through the network at once.
AT_ONCE = 64


def write_record(run: Path, record: Quantization) -> None:
    with explain_os_errors(run):
        write_atomic(run / FILE, record.text().encode())


def read_record(run: Path) -> Quantization:
    """CheckpointError where a run has none, or a damaged one."""
    try:
        return Quantization.parsed((run / FILE).read_text())
    except OSError as error:
        raise CheckpointError(
            f"{run / FILE}: cannot be read ({error.strerror or error}). It says how the network of "
            "this run was "
            "quantized; without it its weights mean nothing"
        ) from error


def calibration_images(data: Any, count: int) -> Iterator[Tensor]:
    """Batches of the first train samples, prepared as for evaluation."""
    left = count
    for images, *_ in build_eval_loader(data, "train", batch_size=min(count, AT_ONCE)):
        yield images[:left]
        left -= len(images)
        if left <= 0:
            return


def save_quantized(
    model: nn.Module, path: str | os.PathLike[str], about: Mapping[str, str] | None = None
) -> None:
    """Write a quantized module as one safetensors file; about: further words of its metadata.
    InputError for a model that was not quantized.
    """
    record = record_of(model)
    if record is None:
        raise InputError(
            f"{type(model).__name__} was not quantized; make the module with spikedriven.quantize"
        )
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    words = {**(about or {}), RECORD: record.text()}
    with explain_os_errors(Path(path)):
        replace_file(Path(path), safetensors.torch.save(tensors, words))


def load_quantized(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Make a fresh model of the same name and keywords, in place, the quantized module of a file;
    returns it.

    CheckpointError for a damaged file, one without a record, or one of another model.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            words = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error})") from error
    if RECORD not in words:
        raise CheckpointError(
            f"{path}: these are no weights of a quantized module; its metadata has no {RECORD!r}"
        )
    Quantization.parsed(words[RECORD]).apply(model)
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit this model: {error}") from error
    return model.eval().requires_grad_(False)
