"""Events in HDF5 files: the layouts of DSEC and of Prophesee's Metavision, read by h5py and
hdf5plugin.

DSEC (and e2calib): the arrays x, y, t, p (or xs, ys, ts, ps) in the group `events` or at the top;
`t_offset`, where there is one, is added to the times. Whole-number times are microseconds, others
seconds. Metavision: `CD/events`, an array of records x, y, p, t, with ECF, which is decoded here
where no plugin of HDF5 does it. Formats: https://dsec.ifi.uzh.ch/data-format/,
https://docs.prophesee.ai/stable/data/file_formats/hdf5.html.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.formats.ecf import FILTER, decode_chunk
from spikedriven.data.events.formats.optional import library
from spikedriven.data.events.raw import RawPart, Source, microseconds, places
from spikedriven.errors import DataError

MAGIC = b"\x89HDF\r\n\x1a\n"
_NAMES = (("x", "y", "t", "p"), ("xs", "ys", "ts", "ps"))
_METAVISION = "CD/events"
_ECF_SPAN = 1 << 16


def open_hdf5(file: EventFile, chunk: int) -> Source:
    """The events of a file in one of the two layouts. DataError with what the file holds for
    another.
    """
    path = file.path
    with _opened(path) as archive:
        if _METAVISION in archive:
            height, width = _geometry(archive.attrs)
            return Source(
                path, "HDF5, Metavision", _metavision(path, chunk), height, width, "event"
            )
        where = _columns(path, archive)
        height, width = _resolution(archive.attrs)
    return Source(
        path,
        "HDF5, DSEC",
        _dsec(path, where, chunk),
        height,
        width,
        "event",
        hint="480 x 640 of DSEC",
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file by h5py; DataError for what is wrong with it, also while it is read."""
    h5py = library("h5py", "h5py", path, "HDF5")
    library("hdf5plugin", "hdf5plugin", path, "HDF5")  # its import makes its filters known to h5py
    try:
        with h5py.File(path, "r") as archive:
            yield archive
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error


def _columns(path: Path, archive: Any) -> tuple[str, ...]:
    """The places of x, y, t and p in the file."""
    for group in ("events/", ""):
        for names in _NAMES:
            where = tuple(group + name for name in names)
            if all(name in archive for name in where):
                return where
    found: list[str] = []
    archive.visit(found.append)
    raise DataError(
        f"{path}: expected CD/events (Metavision), or events/x, y, t, p (DSEC), found "
        f"{', '.join(found[:12]) or 'nothing'}; write the arrays t, x, y, p with "
        "numpy.savez_compressed, and read that .npz"
    )


def _dsec(path: Path, where: tuple[str, ...], chunk: int) -> Iterator[RawPart]:
    with _opened(path) as archive:
        columns = [archive[name] for name in where]
        lengths = {name: column.shape for name, column in zip(where, columns, strict=True)}
        if len(set(lengths.values())) > 1 or len(columns[0].shape) != 1:
            raise DataError(f"{path}: expected arrays of one length, found {lengths}")
        offset = int(archive["t_offset"][()]) if "t_offset" in archive else 0
        for first in range(0, len(columns[0]), chunk):
            x, y, t, p = (column[first : first + chunk] for column in columns)
            times, strange = microseconds(t, 1e6 if t.dtype.kind == "f" else 1)
            _check(path, where[2], t, strange, first, "a time")
            for name, values in ((where[0], x), (where[1], y)):
                _check(path, name, values, values % 1 != 0, first, "a whole number")
            _check(path, where[3], p, ~np.isin(p, (-1, 0, 1)), first, "0 or 1 (or -1 and 1)")
            at = places(first, len(t), 1)
            yield RawPart(times + offset, x.astype(np.int64), y.astype(np.int64), p > 0, at)


def _check(
    path: Path, name: str, values: np.ndarray, strange: np.ndarray, first: int, expected: str
) -> None:
    """DataError naming the first of the values that `strange` marks; `first`: the number of the
    first event.
    """
    if strange.any():
        at = int(np.argmax(strange))
        raise DataError(
            f"{path}, {name}, event {first + at}: expected {expected}, found {values[at]}"
        )


def _metavision(path: Path, chunk: int) -> Iterator[RawPart]:
    with _opened(path) as archive:
        events = archive[_METAVISION]
        read: Callable[[int, int], RawPart] = (
            _ecf_reader(path, events) if _needs_ecf(events) else _reader(events)
        )
        span = min(chunk, _ECF_SPAN)
        for first in range(0, events.shape[0], span):
            yield read(first, min(first + span, events.shape[0]))


def _reader(events: Any) -> Callable[[int, int], RawPart]:
    def read(first: int, stop: int) -> RawPart:
        found = events[first:stop]
        t, x, y = (found[name].astype(np.int64) for name in ("t", "x", "y"))
        return RawPart(t, x, y, found["p"] > 0, places(first, stop - first, 1))

    return read


def _needs_ecf(events: Any) -> bool:
    """Whether the events are compressed by ECF, and no plugin of HDF5 is here that knows it."""
    import h5py

    settings = events.id.get_create_plist()
    filters = {settings.get_filter(number)[0] for number in range(settings.get_nfilters())}
    return FILTER in filters and not h5py.h5z.filter_avail(FILTER)


def _ecf_reader(path: Path, events: Any) -> Callable[[int, int], RawPart]:
    """Reads chunk by chunk; the last one that was decoded is kept, since a part may end inside of
    it.
    """
    kept: dict[int, tuple[np.ndarray, ...]] = {}
    size = events.chunks[0]

    def chunk(number: int) -> tuple[np.ndarray, ...]:
        if number not in kept:
            kept.clear()
            try:
                kept[number] = decode_chunk(events.id.read_direct_chunk((number * size,))[1])
            except DataError as error:
                raise DataError(f"{path}, {_METAVISION}, event {number * size}: {error}") from error
        return kept[number]

    def read(first: int, stop: int) -> RawPart:
        pieces = []
        for number in range(first // size, -(-stop // size)):
            begin = number * size
            pieces.append(
                [column[max(first - begin, 0) : stop - begin] for column in chunk(number)]
            )
        t, x, y, p = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
        if len(t) != stop - first:
            raise DataError(
                f"{path}, {_METAVISION}: expected {stop - first} events from {first} on, found "
                f"{len(t)}"
            )
        return RawPart(t, x, y, p, places(first, stop - first, 1))

    return read


def _geometry(attributes: Any) -> tuple[int | None, int | None]:
    """(height, width) of `geometry`, as 1280x720."""
    text = attributes.get("geometry", "")
    text = text.decode("latin-1") if isinstance(text, bytes) else str(text)
    match = re.search(r"(\d+)\s*x\s*(\d+)", text)
    return (int(match[2]), int(match[1])) if match else (None, None)


def _resolution(attributes: Any) -> tuple[int | None, int | None]:
    """(height, width) of `sensor_resolution`, which e2calib's layout has."""
    found = np.ravel(attributes.get("sensor_resolution", ()))
    return (int(found[0]), int(found[1])) if len(found) == 2 else (None, None)
