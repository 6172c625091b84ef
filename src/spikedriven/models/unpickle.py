"""Files of weights, read without running what is in them: those of ``torch.save`` and safetensors.

Recognised by what they contain, not by their name: ``.pth``, ``.pt``, ``.bin`` and ``.pth.tar`` are
all the same to ``torch.save``. A file that is something else (a web page, an archive, a program)
gets one error that says what it is.
"""

import argparse
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file

from spikedriven.errors import CheckpointError

#: A file may unpack to this many times the size of the network's tensors: weights, their average
#: and an optimiser with two moments are four, in float64 they are eight.
COPIES = 8
#: And to this many bytes more, for logs and settings.
ROOM = 64 * 2**20


class Discarded:
    """Stands for a harmless record of a training script whose content no one needs here. Keeps
    nothing."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


#: What builds a number when NumPy's pickles are read. Asked of a number, because NumPy 1 names its
#: module otherwise.
_NUMPY_SCALAR = cast(Callable[..., Any], np.float64(0).__reduce__()[0])
_NUMPY_TYPES = [
    type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")
]
#: Plain values that training scripts stored beside the weights; none of them can run code. NumPy 1
#: and 2 write their numbers under different names. The last lines are the message hub of MMEngine,
#: and paths in options.
_PLAIN_VALUES: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    np.dtype,
    *_NUMPY_TYPES,
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    (Discarded, "numpy.ndarray"),
    (Discarded, "numpy.core.multiarray._reconstruct"),
    (Discarded, "numpy._core.multiarray._reconstruct"),
    (Discarded, "mmengine.logging.history_buffer.HistoryBuffer"),
    (Discarded, "pathlib.PosixPath"),
    (Discarded, "pathlib.WindowsPath"),
]


def read_file(path: Path, needed: int = 0) -> Mapping[Any, Any]:
    """What a file of weights holds: a mapping of tensors and plain values.

    needed: bytes of the network that the file is for. A compressed file may unpack to `COPIES`
    times that (or to its own size) and `ROOM`, and is refused, before anything is unpacked, if it
    holds more. Raises CheckpointError, with what is wrong and what to do.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a file of weights")
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _read_safetensors(path)
    _refuse_other_kinds(path, head)
    if head.startswith(b"PK"):
        _check_archive(path, needed)
    return _read_torch(path)


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (
        Exception
    ) as error:  # SafetensorError, and a KeyError for numbers that this PyTorch does not know
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins like this is a page, which servers give in place of a file that
    they hold back."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    """One clear error for what people download or pack by mistake."""
    if is_web_page(head):
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint: the download gave a page in place of the file"
        )
    packed = {
        b"\x1f\x8b": "gzip",
        b"7z\xbc\xaf": "7-Zip",
        b"Rar!": "RAR",
        b"BZh": "bzip2",
        b"\xfd7zXZ": "xz",
    }
    kind = next((name for magic, name in packed.items() if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        kind = "tar"
    if kind:
        raise CheckpointError(
            f"{path} is a {kind} archive, not a checkpoint: unpack it and give the file inside"
        )


def _check_archive(path: Path, needed: int) -> None:
    """What the directory of a zip file says, before anything in it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # BadZipFile, and others on hostile files
        raise CheckpointError(f"{path} is truncated or no checkpoint: {error}") from error
    names = {Path(member.filename).name for member in members}
    if "constants.pkl" in names:
        raise CheckpointError(
            f"{path} is a TorchScript program, not a checkpoint: save its state dict alone"
        )
    if "data.pkl" not in names:
        raise CheckpointError(
            f"{path} is a zip archive, and no checkpoint of torch.save: unpack it and give the "
            "file inside"
        )
    size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
    allowed = max(size, COPIES * needed + ROOM)
    if unpacked > allowed:
        raise CheckpointError(
            f"{path} was refused: its {_megabytes(size)} would unpack to {_megabytes(unpacked)}, "
            "at most "
            f"{_megabytes(allowed)} are expected here. torch.save never compresses; if you trust "
            "the file, load it "
            "with torch.load and save its state dict again"
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _read_torch(path: Path) -> Mapping[Any, Any]:
    try:
        with torch.serialization.safe_globals(_PLAIN_VALUES):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, MemoryError) as error:
        raise CheckpointError(
            f"{path} is truncated or no checkpoint: {_first_line(error)}"
        ) from error
    except Exception as error:  # torch raises pickle.UnpicklingError, and others on hostile files
        raise CheckpointError(_refusal(path, error)) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a state dict")
    return content


def _refusal(path: Path, error: Exception) -> str:
    """torch's own message advises to read the file unsafely: only what it names is passed on."""
    name = re.search(r"GLOBAL (\S+)", str(error))
    if name is None:
        return (
            f"{path} was refused: it is no checkpoint of torch.save ({type(error).__name__}: "
            f"{_first_line(error)})"
        )
    return (
        f"{path} was refused: it holds more than tensors and plain values ({name[1]}), and "
        "unpickling it could run "
        "code. Save its state dict alone, in an environment you trust"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no reason given")
