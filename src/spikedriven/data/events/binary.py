"""What the readers of event files share: reading with named places in the file, and clocks that only go forward."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from spikedriven.data.events.events import Events
from spikedriven.errors import DataError, InputError

_log = logging.getLogger(__name__)
#: Longest text header of an AEDAT file, and longest line of one, bytes. Recorders write about a
#: thousand; jAER can be told to write all its settings too, hundreds of thousands.
LONGEST_HEADER, LONGEST_LINE = 1 << 26, 1 << 20
#: A timestamp may go back by so much (recorders do that when several sources are merged); more is damage.
LARGEST_STEP_BACK_US = 1_000_000


class EventFile:
    """A binary file whose reads either give what was asked for or say what is missing where."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size

    @property
    def offset(self) -> int:
        return self.file.tell()

    @property
    def left(self) -> int:
        """Bytes from here to the end."""
        return self.size - self.offset

    def read(self, count: int, what: str) -> bytes:
        """Exactly `count` bytes of `what`."""
        at, data = self.offset, self.file.read(count)
        if len(data) != count:
            self.refuse(
                at,
                f"{count} bytes of {what}",
                f"{len(data)} before the end of the file; it is cut off",
            )
        return data

    def header_lines(self) -> Iterator[bytes]:
        """Text lines that start with #, up to the first that does not."""
        while True:
            at, line = self.offset, self.file.readline(LONGEST_LINE)
            if not line.startswith(b"#"):
                self.file.seek(at)
                return
            if not line.endswith(b"\n"):
                self.refuse(
                    at,
                    f"a header line of at most {LONGEST_LINE} bytes",
                    "one that does not end there",
                )
            if self.offset > LONGEST_HEADER:
                self.refuse(
                    at, f"header lines of at most {LONGEST_HEADER} bytes in all", "more of them"
                )
            yield line.rstrip(b"\r\n")

    def refuse(self, offset: int, expected: str, found: Any) -> NoReturn:
        """DataError naming file and byte."""
        raise DataError(f"{self.path}, byte {offset}: expected {expected}, found {found}")


@contextmanager
def open_file(path: Path) -> Iterator[EventFile]:
    """An EventFile; DataError where the operating system cannot give it."""
    try:
        with path.open("rb") as file:
            yield EventFile(path, file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


class Clock:
    """Timestamps of consecutive chunks, non-decreasing: the order of the file is kept, and an event that is earlier
    than the one before it gets that one's time. The first time this happens is logged."""

    def __init__(self, path: Path, unit: str = "byte") -> None:
        self.path, self.unit, self.latest, self.warned = path, unit, -(1 << 62), False

    def forward(self, t: np.ndarray, offset: int, stride: int) -> np.ndarray:
        """int64 [N] of events that start at place `offset` of the file, `stride` apart, counted in `unit`."""
        if not len(t):
            return t
        before = np.concatenate([[self.latest], np.maximum(np.maximum.accumulate(t), self.latest)])
        back = before[:-1] - t
        worst = int(back.argmax())
        if back[worst] > LARGEST_STEP_BACK_US:
            self._refuse(offset + stride * worst, int(before[worst]), int(t[worst]))
        if back[worst] > 0 and not self.warned:
            self.warned = True
            _log.warning(
                "%s: timestamps go back (by %d microseconds at %s %d); file order is kept, times are held",
                self.path,
                back[worst],
                self.unit,
                offset + stride * worst,
            )
        self.latest = int(before[-1])
        return before[1:]

    def _refuse(self, offset: int, before: int, found: int) -> NoReturn:
        raise DataError(
            f"{self.path}, {self.unit} {offset}: expected a time at most {LARGEST_STEP_BACK_US} microseconds before "
            f"{before}, found {found}"
        )


def on_sensor(
    file: EventFile,
    arrays: dict[str, np.ndarray],
    kept: np.ndarray,
    size: tuple[int, int],
    offset: int,
    stride: int,
) -> Events:
    """Those events of a chunk that `kept` (bool [N]) marks; a pixel outside the sensor is named with its place.

    arrays: t, x, y, p. size: height and width. The chunk starts at byte `offset`, its events `stride` bytes apart.
    """
    height, width = size
    for name, side in (("x", width), ("y", height)):
        outside = np.flatnonzero(kept & ((arrays[name] < 0) | (arrays[name] >= side)))
        if len(outside):
            first = int(outside[0])
            file.refuse(
                offset + stride * first, f"{name} from 0 to {side - 1}", int(arrays[name][first])
            )
    return as_events({name: values[kept] for name, values in arrays.items()}, height, width)


def as_events(arrays: dict[str, np.ndarray], height: int, width: int) -> Events:
    """Events of whole-number arrays t, x, y, p that are known to fit."""
    x, y = arrays["x"].astype(np.int16), arrays["y"].astype(np.int16)
    return Events(
        t=arrays["t"], x=x, y=y, p=arrays["p"].astype(np.bool_), height=height, width=width
    )


def check_chunk(chunk: int) -> None:
    if chunk < 1:
        raise InputError(f"chunk: expected at least one event, found {chunk}")
