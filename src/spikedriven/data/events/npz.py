"""Event lists in .npz archives: arrays t, x, y, p of one length, and optionally the numbers height and width.

t: microseconds. p: 0 or False OFF, 1 or True ON. Any integer type that holds the values; no Python objects, which would
have to be unpickled.
"""

import io
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from spikedriven.data.events.binary import Clock, as_events, check_chunk
from spikedriven.data.events.events import Events
from spikedriven.errors import DataError, InputError

ARRAYS = ("t", "x", "y", "p")
#: Of a sensor, pixels; a frame of a larger one would be gigabytes.
LARGEST_SIDE = 1 << 12
_LARGEST_TIME = 1 << 62
#: What NumPy raises on a damaged .npy header, which is a Python literal.
BAD_HEADER = (
    OSError,
    ValueError,
    EOFError,
    OverflowError,
    SyntaxError,
    TypeError,
    KeyError,
    tokenize.TokenError,
)


@dataclass
class Column:
    """One array of the archive while it is read: `length` values of `dtype` from `stream`."""

    name: str
    stream: IO[bytes]
    dtype: np.dtype
    length: int


def save_events(path: str | Path, events: Events) -> None:
    """Write what `stream_npz` reads, compressed; whole or not at all. DataError when it cannot be written."""
    from spikedriven.training.files import (
        replace_file,
    )  # the training package reads recipes, and they name data

    buffer = io.BytesIO()
    arrays = {name: getattr(events, name) for name in ARRAYS}
    np.savez_compressed(
        buffer, **arrays, height=np.int64(events.height), width=np.int64(events.width)
    )
    try:
        replace_file(Path(path), buffer.getvalue())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def stream_npz(
    path: str | Path, chunk: int = 1 << 16, height: int | None = None, width: int | None = None
) -> Iterator[Events]:
    """Parts of at most `chunk` events.

    height, width: of the sensor; default: what the archive says; an InputError where it does not. Memory does not grow
    with the archive, whatever its headers claim. DataError names file, array, expected and found.
    """
    check_chunk(chunk)
    path = Path(path)
    with _explained(path), zipfile.ZipFile(path) as archive, ExitStack() as stack:
        columns = [_open_column(path, archive, stack, name) for name in ARRAYS]
        height = _sensor_side(path, archive, stack, "height") if height is None else height
        width = _sensor_side(path, archive, stack, "width") if width is None else width
        _same_length(path, columns)
        largest = {"x": width - 1, "y": height - 1, "p": 1, "t": _LARGEST_TIME}
        clock, length = Clock(path, "event"), columns[0].length
        for at in range(0, length, chunk):
            count = min(chunk, length - at)
            values = {column.name: _values(path, column, count, at, largest) for column in columns}
            values["t"] = clock.forward(values["t"], at, 1)
            yield as_events(values, height, width)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DataError(f"{path} cannot be read as an .npz archive: {str(error)[:300]}") from error


def _open_column(path: Path, archive: zipfile.ZipFile, stack: ExitStack, name: str) -> Column:
    member = f"{name}.npy"
    if member not in archive.namelist():
        found = ", ".join(sorted(archive.namelist())[:8]) or "nothing"
        raise DataError(f"{path}: expected the arrays {', '.join(ARRAYS)}, found {found}")
    stream = stack.enter_context(archive.open(member))
    shape, dtype = _read_header(path, name, stream)
    if dtype.kind not in "iub" or len(shape) > 1 or min(shape, default=0) < 0:
        _refuse(path, name, "whole numbers or booleans, one dimension", f"{dtype} {list(shape)}")
    return Column(name, stream, dtype, shape[0] if shape else 1)


def _read_header(path: Path, name: str, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in reader:
            _refuse(path, name, "a .npy header of version 1 or 2", version)
        shape, _fortran, dtype = reader[version](stream)
    except BAD_HEADER as error:
        raise DataError(f"{path}, array {name}: not a .npy header: {error}") from error
    return shape, dtype


def _same_length(path: Path, columns: list[Column]) -> None:
    lengths = {column.name: column.length for column in columns}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: expected arrays of one length, found {lengths}")


def _sensor_side(path: Path, archive: zipfile.ZipFile, stack: ExitStack, name: str) -> int:
    if f"{name}.npy" not in archive.namelist():
        raise InputError(f"{path} does not say how large the sensor is: give height and width")
    column = _open_column(path, archive, stack, name)
    if column.length != 1:
        _refuse(path, name, "one number", f"{column.length}")
    side = int(_values(path, column, 1, 0, {name: LARGEST_SIDE})[0])
    if side == 0:
        _refuse(path, name, "at least one pixel", side)
    return side


def _values(path: Path, column: Column, count: int, at: int, largest: dict[str, int]) -> np.ndarray:
    """Values `at` to `at + count` of the array, int64, checked; with the last one also the checksum of the whole."""
    data = column.stream.read(count * column.dtype.itemsize)
    if len(data) != count * column.dtype.itemsize:
        found = at + len(data) // column.dtype.itemsize
        _refuse(path, column.name, f"{column.length} values", f"{found}; the array is cut off")
    if at + count == column.length and column.stream.read(1):
        _refuse(path, column.name, f"{column.length} values", "bytes after them")
    raw = np.frombuffer(data, column.dtype)
    top, lowest = largest[column.name], -_LARGEST_TIME if column.name == "t" else 0
    low, high = int(raw.min()), int(raw.max())
    if low < lowest or high > top:
        _refuse(
            path,
            column.name,
            f"values from {lowest} to {top}",
            f"{low} to {high} in events {at} to {at + count - 1}",
        )
    return raw.astype(np.int64)


def _refuse(path: Path, name: str, expected: str, found: object) -> NoReturn:
    raise DataError(f"{path}, array {name}: expected {expected}, found {found}")
