"""Event lists in .npz archives: arrays t, x, y, p of one length, and optionally the numbers height
and width.

t: microseconds. p: 0 or False OFF, 1 or True ON. Any integer type that holds the values; no Python
objects, which would have to be unpickled.
"""

import io
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from spikedriven.data.archives import check_members, read_header
from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.events import Events
from spikedriven.data.events.raw import LARGEST_SIDE, RawPart, Source, places
from spikedriven.errors import DataError, SpikedrivenError

ARRAYS = ("t", "x", "y", "p")
_LARGEST_TIME = _LARGEST_PLACE = (
    1 << 62
)  # what does not fit 64 bits; the clock has a limit of its own
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
    """Write what `open_npz` reads, compressed; whole or not at all. DataError when it cannot be
    written.
    """
    from spikedriven.files import (
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


def open_npz(file: EventFile, chunk: int) -> Source:
    """The events of an archive, in memory that does not grow with it, whatever its headers claim.

    DataError names file, array, expected and found.
    """
    path = file.path
    with _explained(path), zipfile.ZipFile(path) as archive, ExitStack() as stack:
        check_members(archive)
        columns = [_open_column(path, archive, stack, name) for name in ARRAYS]
        _same_length(path, columns)
        height, width = (_sensor_side(path, archive, stack, name) for name in ("height", "width"))
    return Source(path, ".npz", _parts(path, chunk), height, width, unit="event")


def _parts(path: Path, chunk: int) -> Iterator[RawPart]:
    largest = {"x": _LARGEST_PLACE, "y": _LARGEST_PLACE, "p": 1, "t": _LARGEST_TIME}
    with _explained(path), zipfile.ZipFile(path) as archive, ExitStack() as stack:
        columns = [_open_column(path, archive, stack, name) for name in ARRAYS]
        for at in range(0, columns[0].length, chunk):
            count = min(chunk, columns[0].length - at)
            t, x, y, p = (_values(path, column, count, at, largest) for column in columns)
            yield RawPart(t, x, y, p == 1, places(at, count, 1))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except SpikedrivenError:
        raise
    except (
        Exception
    ) as error:  # zipfile and the decompressors raise nearly anything on damaged files
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
        shape, _fortran, dtype = read_header(stream)
    except BAD_HEADER as error:
        raise DataError(f"{path}, array {name}: not a .npy header: {error}") from error
    return shape, dtype


def _same_length(path: Path, columns: list[Column]) -> None:
    lengths = {column.name: column.length for column in columns}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: expected arrays of one length, found {lengths}")


def _sensor_side(path: Path, archive: zipfile.ZipFile, stack: ExitStack, name: str) -> int | None:
    """Rows or columns of the sensor; None where the archive does not say it."""
    if f"{name}.npy" not in archive.namelist():
        return None
    column = _open_column(path, archive, stack, name)
    if column.length != 1:
        _refuse(path, name, "one number", f"{column.length}")
    side = int(_values(path, column, 1, 0, {name: LARGEST_SIDE})[0])
    if side == 0:
        _refuse(path, name, "at least one pixel", side)
    return side


def _values(path: Path, column: Column, count: int, at: int, largest: dict[str, int]) -> np.ndarray:
    """Values `at` to `at + count` of the array, int64, checked; with the last one also the
    checksum of the whole.
    """
    data = column.stream.read(count * column.dtype.itemsize)
    if len(data) != count * column.dtype.itemsize:
        found = at + len(data) // column.dtype.itemsize
        _refuse(path, column.name, f"{column.length} values", f"{found}; the array is cut off")
    if at + count == column.length and column.stream.read(1):
        _refuse(path, column.name, f"{column.length} values", "bytes after them")
    raw = np.frombuffer(data, column.dtype)
    top, lowest = (
        largest[column.name],
        0 if column.name in ("p", "height", "width") else -_LARGEST_TIME,
    )
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
