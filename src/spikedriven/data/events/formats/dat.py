"""Prophesee's DAT files, the format of N-CARS and of their automotive sets.

The text header, one byte for the kind of event and one for its size, then 8 bytes an event,
little-endian: time uint32 in microseconds; 14 bits of column, 14 of row, 4 of polarity. The clock
begins anew after 2^32 microseconds. Format:
https://docs.prophesee.ai/stable/data/file_formats/dat.html.
"""

from collections.abc import Iterator

import numpy as np

from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.formats.prophesee import WrappingClock, read_header
from spikedriven.data.events.raw import RawPart, Source, places

EVENT_BYTES = 8
#: Kinds of a pixel's event: the general one, and that of contrast detection.
PIXEL_EVENTS = (0x00, 0x0C)
_LOW_14 = 0x3FFF


def open_dat(file: EventFile, chunk: int) -> Source:
    """The pixel events. DataError for another version, or events of another kind or size."""
    header = read_header(file)
    version = header.words.get("version", "2")
    if version.partition(".")[0] != "2":
        file.refuse(0, "a DAT file of version 2", f"version {version}")
    at = file.offset
    kind, size = file.read(2, "the kind and the size of an event")
    if kind not in PIXEL_EVENTS or size != EVENT_BYTES:
        file.refuse(at, "pixel events (kind 0 or 12) of 8 bytes", f"kind {kind} of {size} bytes")
    height, width = header.size
    return Source(
        file.path,
        "Prophesee DAT",
        _parts(file, chunk),
        height,
        width,
        notes=header.notes,
        hint="240 x 304 of the camera of N-CARS",
    )


def _parts(file: EventFile, chunk: int) -> Iterator[RawPart]:
    clock, offset = WrappingClock(32), file.offset
    while data := file.records(EVENT_BYTES, chunk, "events"):
        raw = np.frombuffer(data, "<u4").astype(np.int64).reshape(-1, 2)
        place = raw[:, 1]
        x, y, p = place & _LOW_14, (place >> 14) & _LOW_14, (place >> 28) & 1 == 1
        yield RawPart(clock.unwrap(raw[:, 0]), x, y, p, places(offset, len(raw), EVENT_BYTES))
        offset = file.offset
