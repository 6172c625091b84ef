"""Event files of any known format, whole or in parts."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from spikedriven.data.events.aedat2 import SIDE
from spikedriven.data.events.binary import EventFile, check_chunk, is_read_once, open_file
from spikedriven.data.events.events import Events, empty_events, join
from spikedriven.data.events.formats.table import FORMATS, HEAD, find_format
from spikedriven.data.events.formats.text import open_text
from spikedriven.data.events.raw import Source, checked
from spikedriven.errors import DataError, InputError


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the user says of a recording that its file does not."""

    height: int | None = None
    width: int | None = None
    """Of the sensor, pixels."""
    columns: str | None = None
    """Of a text: which number of a line is what, as in "t,x,y,p"; _ passes one over."""
    time_unit: str | None = None
    """Of the times of a text: us, ms, s or ns."""
    follow: float | None = None
    """Wait for more at the end of a file that is still written, until nothing has come for so many
    seconds.
    """


#: Events in a byte of a file, at most (compressed recordings have about a half), where they are
#: more than `HARMLESS`.
MOST_PER_BYTE, HARMLESS = 8, 1 << 22


def stream_events(
    path: str | Path,
    chunk: int = 1 << 16,
    height: int | None = None,
    width: int | None = None,
    told: Told | None = None,
) -> Iterator[Events]:
    """Parts of at most `chunk` events of a long recording, in memory that does not grow with it.

    path: a file of any format of `formats.table`, told by its first bytes and its suffix; a pipe;
    or "-", the standard input. height, width: of the sensor, else what the file says. told: the
    same, and what else the user says. DataError for a bad file; InputError where nobody says how
    large the sensor is, or what the columns of a text are.
    """
    check_chunk(chunk)
    told = told or Told(height=height, width=width)
    stack = ExitStack()
    try:
        source = stack.enter_context(open_recording(path, chunk, told))
        return _closing(stack, checked(source.sized(told.height, told.width)))
    except BaseException:
        stack.close()
        raise


@contextmanager
def open_recording(
    path: str | Path, chunk: int = 1 << 16, told: Told | None = None
) -> Iterator[Source]:
    """What a recording says of itself, and its events as they stand in the file, unchecked; see
    `stream_events`.
    """
    path, told = Path(path), told or Told()
    with open_file(path, told.follow) as file:
        format = find_format(path, file.peek(HEAD))
        if not format.piped:
            _check_whole_file(file, format.name)
        if format.open is open_text:
            yield open_text(file, chunk, told.columns, told.time_unit)
            return
        if told.columns or told.time_unit:
            raise InputError(
                f"{path}: {format.name} says itself what its numbers are; leave --columns and "
                "--time-unit out"
            )
        yield format.open(file, chunk)


def bounded(path: Path, parts: Iterator[Events]) -> Iterator[Events]:
    """The parts of a file, for whoever keeps them all. DataError for far more events than a file of
    this size can hold: a small archive may unpack to any number of them. A pipe may bring any
    number.
    """
    if not path.is_file():
        yield from parts
        return
    most, total = max(HARMLESS, MOST_PER_BYTE * path.stat().st_size), 0
    for part in parts:
        total += len(part)
        if total > most:
            raise DataError(
                f"{path}: more than {most:,} events in a file of {path.stat().st_size:,} bytes; it "
                "was not made by a "
                "camera, and is not read whole (in parts it can be: stream_events)"
            )
        yield part


def read_events(
    path: str | Path, height: int | None = None, width: int | None = None, told: Told | None = None
) -> Events:
    """A whole recording; see `stream_events`, and `bounded`."""
    told = told or Told(height=height, width=width)
    parts = list(bounded(Path(path), stream_events(path, 1 << 20, told=told)))
    return join(parts) if parts else empty_events(told.height or SIDE, told.width or SIDE)


def _closing(stack: ExitStack, parts: Iterator[Events]) -> Iterator[Events]:
    with stack:
        yield from parts


def _check_whole_file(file: EventFile, name: str) -> None:
    if file.follow is not None or not file.is_regular or is_read_once(file.path):
        piped = ", ".join(format.name for format in FORMATS if format.piped)
        raise InputError(
            f"{file.path}: {name} is read from a finished file, not from a pipe or while it grows; "
            f"those may be {piped}"
        )
