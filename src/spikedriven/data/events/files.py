"""Event files of any known format, whole or in parts."""

from collections.abc import Iterator
from pathlib import Path

from spikedriven.data.events.aedat2 import MAGIC as AEDAT2
from spikedriven.data.events.aedat2 import SIDE, stream_aedat2
from spikedriven.data.events.aedat31 import MAGIC as AEDAT31
from spikedriven.data.events.aedat31 import stream_aedat31
from spikedriven.data.events.binary import open_file
from spikedriven.data.events.events import Events, empty_events, join
from spikedriven.data.events.npz import stream_npz
from spikedriven.errors import DataError


def stream_events(
    path: str | Path, chunk: int = 1 << 16, height: int | None = None, width: int | None = None
) -> Iterator[Events]:
    """Parts of at most `chunk` events of a long recording, in memory that does not grow with it.

    The format is told by the file's first bytes: AEDAT 2.0 (DVS128), AEDAT 3.1, or .npz.
    height, width: of the sensor where the file does not say it; default 128 for AEDAT 3.1. DataError for a bad file.
    """
    path = Path(path)
    with open_file(path) as file:
        start = file.file.read(len(AEDAT2))
    if start == AEDAT2:
        return stream_aedat2(path, chunk)
    if start == AEDAT31:
        return stream_aedat31(path, chunk, height or SIDE, width or SIDE)
    if start[:2] == b"PK":
        return stream_npz(path, chunk, height, width)
    raise DataError(
        f"{path}, byte 0: expected an AEDAT 2.0, AEDAT 3.1 or .npz file, found {start!r}"
    )


def read_events(path: str | Path, height: int | None = None, width: int | None = None) -> Events:
    """A whole recording; see `stream_events`."""
    parts = list(stream_events(path, 1 << 20, height, width))
    return join(parts) if parts else empty_events(height or SIDE, width or SIDE)
