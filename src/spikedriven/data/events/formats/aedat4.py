"""AEDAT 4 files, of iniVation's DV software, read by the library `aedat` (MIT).

Only streams of events are read; frames, inertia and triggers are passed over. Format:
https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.formats.optional import library
from spikedriven.data.events.raw import RawPart, Source, places
from spikedriven.errors import DataError

MAGIC = b"#!AER-DAT4.0"
_FIRST_LINE = len(b"#!AER-DAT4.0\r\n")
_LARGEST_HEADER = 1 << 22


def open_aedat4(file: EventFile, chunk: int) -> Source:
    """The events of the file's one camera. DataError for none, or for several, of which one must be
    chosen.
    """
    path = file.path
    _check_header(file)
    aedat = library("aedat", "aedat", path, "AEDAT 4")
    decoder = _asked(path, lambda: aedat.Decoder(str(path)))
    streams = {
        number: one for number, one in decoder.id_to_stream().items() if one["type"] == "events"
    }
    if len(streams) != 1:
        raise DataError(
            f"{path}: expected one stream of events, found {len(streams)}; iniVation's DV writes "
            "one camera a file"
        )
    ((number, stream),) = streams.items()
    return Source(
        path,
        "AEDAT 4",
        _parts(path, decoder, number, chunk),
        stream["height"],
        stream["width"],
        unit="event",
    )


def _check_header(file: EventFile) -> None:
    """The header says in XML what the streams are. The library ends the process at letters that are
    no UTF-8.
    """
    size = int.from_bytes(file.peek(_FIRST_LINE + 4)[_FIRST_LINE:], "little")
    if size > _LARGEST_HEADER:
        file.refuse(_FIRST_LINE, f"a header of at most {_LARGEST_HEADER} bytes", size)
    header = file.peek(_FIRST_LINE + 4 + size)
    try:
        header[header.find(b"<dv") :].rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        file.refuse(_FIRST_LINE + 4, "a header in UTF-8", error.reason)


def _parts(path: Path, decoder: Any, number: int, chunk: int) -> Iterator[RawPart]:
    seen = 0
    while (packet := _asked(path, lambda: next(decoder, None))) is not None:
        if packet["stream_id"] != number:
            continue
        for first in range(0, len(packet["events"]), chunk):
            events = packet["events"][first : first + chunk]
            t, x, y = (events[name].astype(np.int64) for name in ("t", "x", "y"))
            yield RawPart(t, x, y, events["on"].astype(np.bool_), places(seen, len(events), 1))
            seen += len(events)


def _asked(path: Path, call: Callable[[], Any]) -> Any:
    """What the library answers; DataError with its words where it cannot."""
    try:
        return call()
    except BaseException as error:
        if (
            not isinstance(error, RuntimeError) and type(error).__name__ != "PanicException"
        ):  # Rust's, no Exception
            raise
        raise DataError(f"{path} cannot be read as AEDAT 4: {error}") from error
