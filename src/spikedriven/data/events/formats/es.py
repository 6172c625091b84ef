"""Event Stream files (.es), read by the library `event_stream` (MIT).

Streams of a DVS, and those of an ATIS without its measures of light. Format:
https://github.com/neuromorphicsystems/event_stream.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.formats.optional import library
from spikedriven.data.events.raw import RawPart, Source, places
from spikedriven.errors import DataError

MAGIC = b"Event Stream"
#: The kinds that have events of brightness, and the array of their polarity.
POLARITY = {"dvs": "on", "atis": "polarity"}


def open_es(file: EventFile, chunk: int) -> Source:
    """The events of brightness. DataError for streams of another kind."""
    event_stream = library("event_stream", "event-stream", file.path, "Event Stream")
    try:
        decoder = event_stream.Decoder(str(file.path))
    except RuntimeError as error:
        raise DataError(f"{file.path} cannot be read as an Event Stream file: {error}") from error
    if decoder.type not in POLARITY:
        raise DataError(
            f"{file.path}: expected a stream of dvs or atis events, found {decoder.type}"
        )
    parts = _parts(file, decoder, chunk)
    return Source(
        file.path,
        f"Event Stream, {decoder.type}",
        parts,
        decoder.height,
        decoder.width,
        unit="event",
    )


def _parts(file: EventFile, decoder: Any, chunk: int) -> Iterator[RawPart]:
    seen = 0
    while (found := _next(file, decoder)) is not None:
        at = places(seen, len(found), 1)
        seen += len(found)
        t, x, y = (found[name].astype(np.int64) for name in ("t", "x", "y"))
        whole = RawPart(t, x, y, found[POLARITY[decoder.type]].astype(np.bool_), at)
        if decoder.type == "atis":
            whole = whole.where(~found["exposure"])
        yield from whole.split(chunk)


def _next(file: EventFile, decoder: Any) -> np.ndarray | None:
    try:
        return next(decoder, None)
    except RuntimeError as error:
        raise DataError(f"{file.path} cannot be read as an Event Stream file: {error}") from error
