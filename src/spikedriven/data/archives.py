"""Small .npz archives that this package wrote once, and anybody may have changed since."""

import io
import math
import stat
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

#: What an archive needs beside its arrays: names, headers, checksums.
_OVERHEAD = 1 << 16


def read_archive(path: Path, most_bytes: int) -> dict[str, np.ndarray]:
    """The arrays by name. OSError where the file cannot be read; ValueError for whatever else is
    wrong with it, and for arrays of more than `most_bytes` in all, found before memory is taken for
    them.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode) or state.st_size > most_bytes + _OVERHEAD:
        raise ValueError(f"no file of at most {most_bytes + _OVERHEAD:,} bytes")
    content = io.BytesIO(path.read_bytes())
    try:
        return _arrays(content, most_bytes)
    except Exception as error:  # NumPy and zipfile raise nearly anything, whichever bit is wrong
        raise ValueError(f"{type(error).__name__}: {error}") from error


def check_members(archive: zipfile.ZipFile) -> None:
    """ValueError for an archive that has a name twice: readers differ in which one they take."""
    names = archive.namelist()
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is in it twice")


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type of an array in NumPy's format. ValueError
    for another version than 1 or 2; what a damaged header makes NumPy raise is in
    `events.npz.BAD_HEADER`.
    """
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"expected a .npy header of version 1 or 2, found {version}")


def _arrays(content: io.BytesIO, most_bytes: int) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(content) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
        if claimed > most_bytes + _OVERHEAD:
            raise ValueError(f"arrays of {claimed:,} bytes, expected at most {most_bytes:,}")
        return {
            member.filename.removesuffix(".npy"): _array(archive, member)
            for member in archive.infolist()
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read as bytes: NumPy itself takes the memory that a header asks for before it looks at
    what is there.
    """
    with archive.open(member) as stream:
        shape, fortran, dtype = read_header(stream)
        size = math.prod(shape) * dtype.itemsize
        data = stream.read(min(size, member.file_size) + 1)
    if dtype.hasobject or min(shape, default=0) < 0 or len(data) != size:
        raise ValueError(f"{member.filename}: {len(data)} bytes for {dtype} {list(shape)}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
