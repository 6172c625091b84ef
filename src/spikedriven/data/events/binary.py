"""What the readers of event files share: reading with named places in the file."""

import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from spikedriven.data.events.events import Events
from spikedriven.errors import DataError, InputError

_log = logging.getLogger(__name__)
#: Longest text header of an AEDAT file, and longest line of one, bytes. Recorders write about a
#: thousand; jAER can be told to write all its settings too, hundreds of thousands.
LONGEST_HEADER, LONGEST_LINE = 1 << 26, 1 << 20
#: The name of the standard input, as of most commands.
STDIN = "-"
#: Bytes that are asked of the operating system at a time, and seconds between two looks at a file
#: that grows.
PIECE, POLL_S = 1 << 18, 0.05


class EventFile:
    """A binary file, or a pipe, whose reads either give what was asked for or say what is missing
    where.

    Read forwards only, in memory that does not grow with it. `size` is None where nothing tells it:
    a pipe, or a file that is followed while it grows.
    """

    def __init__(self, path: Path, file: RawIOBase, follow: float | None = None) -> None:
        """follow: at the end of the file, wait for more until nothing has come for so many
        seconds.
        """
        status = os.fstat(file.fileno())
        self.path, self.file, self.follow = path, file, follow
        self.is_regular = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self.is_regular and follow is None else None
        self._ahead, self._at = bytearray(), 0

    @property
    def offset(self) -> int:
        """The byte that comes next."""
        return self._at

    def left_at_most(self, count: int) -> bool:
        """Whether `count` more bytes can come, as far as is known."""
        return self.size is None or count <= self.size - self._at

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or those up to the end, which stay to be read."""
        self._fill(count)
        return bytes(self._ahead[:count])

    def read(self, count: int, what: str) -> bytes:
        """Exactly `count` bytes of `what`."""
        left = count if self.size is None else min(count, self.size - self._at)
        if left < count or not self._fill(count):
            found = left if left < count else len(self._ahead)
            self.refuse(
                self._at,
                f"{count} bytes of {what}",
                f"{found} before the end of the file; it is cut off",
            )
        return self._take(count)

    def records(self, size: int, most: int, what: str) -> bytes:
        """Up to `most` records of `size` bytes, those that are there; none at the end.
        DataError for a part of one.
        """
        if not self._fill(size):
            if self._ahead:
                found = f"{len(self._ahead)} bytes; the file is cut off"
                self.refuse(self._at, f"{what} of {size} bytes up to the end", found)
            return b""
        return self._take(min(len(self._ahead) // size, most) * size)

    def skip(self, count: int, what: str) -> None:
        """Pass over `count` bytes."""
        while count:
            piece = min(count, PIECE)
            self.read(piece, what)
            count -= piece

    def line(self, most: int) -> bytes:
        """The next line with its end, or what is left without one, `most` bytes of it at most."""
        known = 0
        while (found := self._ahead.find(b"\n", known)) < 0 and known < most:
            known = len(self._ahead)
            if not self._fill(known + 1):
                break
        return self._take(min(found + 1 if found >= 0 else len(self._ahead), most))

    def header_lines(self, sign: bytes = b"#") -> Iterator[bytes]:
        """Text lines that start with `sign`, up to the first that does not."""
        begin = self._at
        while self.peek(len(sign)) == sign:
            at, line = self._at, self.line(LONGEST_LINE)
            if not line.endswith(b"\n"):
                self.refuse(
                    at,
                    f"a header line of at most {LONGEST_LINE} bytes",
                    "one that does not end there",
                )
            if self._at - begin > LONGEST_HEADER:
                self.refuse(
                    at, f"header lines of at most {LONGEST_HEADER} bytes in all", "more of them"
                )
            yield line.rstrip(b"\r\n")

    def refuse(self, offset: int, expected: str, found: Any) -> NoReturn:
        """DataError naming file and byte."""
        raise DataError(f"{self.path}, byte {offset}: expected {expected}, found {found}")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._ahead[:count])
        del self._ahead[:count]
        self._at += count
        return taken

    def _fill(self, least: int) -> bool:
        """Whether `least` bytes lie ahead; waits for them."""
        while len(self._ahead) < least:
            piece = self._more()
            if not piece:
                return False
            self._ahead += piece
        return True

    def _more(self) -> bytes:
        """What comes next, at most PIECE bytes, without waiting for more than some; nothing at
        the end.
        """
        began = time.monotonic()
        while not (piece := self.file.read(PIECE)):
            if (
                self.follow is None
                or not self.is_regular
                or time.monotonic() - began >= self.follow
            ):
                return b""
            time.sleep(POLL_S)
        return piece


@dataclass
class Tally:
    """What a recording held: events of pixels, those that are not used, and what are none."""

    path: Path
    kept: int = 0
    dropped: int = 0
    other: int = 0

    def check(self, dropped: str = "are not used") -> None:
        """At the end of the file. DataError where it has events and none of a pixel; a warning
        where some are left out. dropped: why.
        """
        if self.dropped or (self.other and not self.kept):
            said = f"{self.dropped} of {self.dropped + self.kept} events of its pixels {dropped}"
            if not self.kept:
                raise DataError(
                    f"{self.path}: {said}, and {self.other} are of other kinds (triggers, frames, "
                    "motion), so that "
                    "nothing is left; record it again, or take it out of the set"
                )
            _log.warning("%s: %s and are left out", self.path, said)


@contextmanager
def open_file(path: Path, follow: float | None = None) -> Iterator[EventFile]:
    """An EventFile; `-` is the standard input. DataError where the operating system cannot give
    it.
    """
    try:
        with _raw(path) as file:
            yield EventFile(path, file, follow)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def is_read_once(path: Path) -> bool:
    """Whether it is the standard input, or another pipe."""
    return str(path) == STDIN or (path.exists() and not path.is_file() and not path.is_dir())


def _raw(path: Path) -> RawIOBase:
    if str(path) == STDIN:
        return FileIO(sys.stdin.fileno(), closefd=False)
    return FileIO(path)


def as_events(arrays: dict[str, np.ndarray], height: int, width: int) -> Events:
    """Events of whole-number arrays t, x, y, p that are known to fit."""
    x, y = arrays["x"].astype(np.int16), arrays["y"].astype(np.int16)
    return Events(
        t=arrays["t"], x=x, y=y, p=arrays["p"].astype(np.bool_), height=height, width=width
    )


def check_chunk(chunk: int) -> None:
    if chunk < 1:
        raise InputError(f"chunk: expected at least one event, found {chunk}")
