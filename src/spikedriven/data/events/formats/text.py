"""Events as text (.csv, .txt): a line an event, four numbers in it, split by commas, semicolons or
white space.

Which number is what is told by a line of names (`t,x,y,p`), by `%geometry:WIDTH,HEIGHT`
(Metavision's CSV: x, y, p, t in microseconds), by times with a decimal point in the first column
(the `events.txt` of the Robotics and Perception Group: t in seconds, x, y, p), or by the user;
nothing is guessed. A first line of two numbers is the sensor's width and height. Formats:
https://docs.prophesee.ai/stable/samples/modules/stream/file_to_csv.html,
https://rpg.ifi.uzh.ch/davis_data.html.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.raw import RawPart, Source, microseconds
from spikedriven.errors import DataError, InputError

ORDER = ("t", "x", "y", "p")
#: Microseconds of each unit that a user may name.
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "ns": 1e-3}
#: Names of columns, small letters, and what they are.
COLUMN_NAMES = {
    **dict.fromkeys(
        ("t", "ts", "time", "timestamp", "timestamps", "t_us", "time_us", "timestamp_us"), "t"
    ),
    **dict.fromkeys(("x", "xs"), "x"),
    **dict.fromkeys(("y", "ys"), "y"),
    **dict.fromkeys(("p", "ps", "pol", "polarity", "on"), "p"),
}
_GEOMETRY = re.compile(rb"%\s*geometry[: ]+(\d+)\s*[,x]\s*(\d+)", re.IGNORECASE)
_BLOCK = 1 << 18
_LONGEST_LINE = 1 << 12
_SPLIT = re.compile(r"[,;\s]+")
_WORDS = {"true": "1", "false": "0"}
_LETTERS = re.compile("[a-df-zA-DF-Z]")  # but e, which numbers may have
_TO_SPACE = bytes.maketrans(b",;\t\r", b"    ")


@dataclass(frozen=True)
class Layout:
    """columns: name of each number of a line. decimal: which of them have a decimal point. unit:
    microseconds of a time of 1.
    """

    columns: tuple[str, ...]
    decimal: tuple[bool, ...]
    unit: float

    @property
    def dtype(self) -> np.dtype:
        """A record of one line; columns of other names are read and left out."""
        kinds = (
            np.float64 if decimal or name not in ORDER else np.int64
            for name, decimal in self._pairs()
        )
        names = (
            name if name in ORDER else f"_{number}" for number, name in enumerate(self.columns)
        )
        return np.dtype(list(zip(names, kinds, strict=True)))

    def _pairs(self) -> Iterator[tuple[str, bool]]:
        return zip(self.columns, self.decimal, strict=True)


def open_text(
    file: EventFile, chunk: int, columns: str | None = None, time_unit: str | None = None
) -> Source:
    """The events, in file order. InputError where nothing tells which number is what."""
    height = width = None
    names: tuple[str, ...] | None = None
    line, number = b"", 0
    while raw := file.line(_LONGEST_LINE):
        line, number = raw.strip(), number + 1
        size, titles = _GEOMETRY.match(line), _titles(line)
        if size:
            width, height = int(size[1]), int(size[2])
            names = names or ("x", "y", "p", "t")
        elif titles:
            names = titles
        elif _is_size(line):
            width, height = (int(value) for value in line.split())
        elif line and not line.startswith((b"#", b"%")):
            break
    else:
        line = b""
    layout = _layout(file.path, number, line.decode("latin-1"), _named(columns) or names, time_unit)
    parts = _parts(file, layout, line, number, chunk)
    return Source(file.path, "text", parts, height, width, unit="line")


def _titles(line: bytes) -> tuple[str, ...] | None:
    """The names of the columns, if the line has all four."""
    found = tuple(
        COLUMN_NAMES.get(word.lower(), word)
        for word in _SPLIT.split(line.decode("latin-1").lstrip("#% "))
    )
    return found if set(ORDER) <= set(found) else None


def _is_size(line: bytes) -> bool:
    return re.fullmatch(rb"\d+\s+\d+", line) is not None


def _named(columns: str | None) -> tuple[str, ...] | None:
    if columns is None:
        return None
    found = tuple(_SPLIT.split(columns.strip()))
    if sorted(name for name in found if name != "_") != sorted(ORDER):
        raise InputError(
            f"--columns {columns}: expected t, x, y and p in their order, as t,x,y,p (_ passes one "
            "over)"
        )
    return found


def _layout(
    path: Path, number: int, line: str, names: tuple[str, ...] | None, unit: str | None
) -> Layout:
    values = _plain(line).split() if line else ["0"] * len(names or ORDER)
    decimal = tuple(bool(re.search("[.eE]", value)) for value in values)
    if names is None:
        if len(values) != 4 or decimal != (True, False, False, False):
            raise InputError(
                f"{path}, line {number}: which number is time, column, row and polarity? Name them "
                "in their order, on "
                f"the command line --columns t,x,y,p; found {line[:60]!r}"
            )
        names = ORDER
    if len(values) != len(names):
        expected = f"{len(names)} numbers ({', '.join(names)})"
        raise DataError(f"{path}, line {number}: expected {expected}, found {line[:60]!r}")
    return Layout(names, decimal, _unit(path, dict(zip(names, decimal, strict=True)), unit))


def _unit(path: Path, decimal: dict[str, bool], unit: str | None) -> float:
    """Microseconds of a time of 1: of whole numbers 1, of decimals a million, unless the user says
    it.
    """
    if unit is not None:
        if unit not in UNITS:
            raise InputError(f"--time-unit {unit}: expected one of {', '.join(UNITS)}")
        return UNITS[unit]
    if decimal["t"] and decimal["x"]:
        raise InputError(
            f"{path}: all numbers have a decimal point, so that it does not tell the unit of the "
            "times: give it, on "
            f"the command line --time-unit, one of {', '.join(UNITS)}"
        )
    return UNITS["s"] if decimal["t"] else UNITS["us"]


def _parts(
    file: EventFile, layout: Layout, first: bytes, number: int, chunk: int
) -> Iterator[RawPart]:
    """Parts of whole lines; what is behind the last line end of a block waits for the next one."""
    rest, number = first + b"\n" if first else b"", number if first else number + 1
    while (block := file.records(1, _BLOCK, "text")) or rest:
        lines = (rest + block).split(b"\n")
        rest = lines.pop() if block else b""
        if len(rest) > _LONGEST_LINE:
            at = number + len(lines)
            raise DataError(
                f"{file.path}, line {at}: expected a line of at most {_LONGEST_LINE} bytes"
            )
        numbered = [(n, line) for n, line in enumerate(lines, number) if line.strip()]
        number += len(lines)
        for begin in range(0, len(numbered), chunk):
            yield _parsed(file.path, layout, numbered[begin : begin + chunk])


def _parsed(path: Path, layout: Layout, numbered: list[tuple[int, bytes]]) -> RawPart:
    at = np.array([number for number, _line in numbered], np.int64)
    lines = [line.translate(_TO_SPACE).decode("latin-1") for _number, line in numbered]
    if any(map(_LETTERS.search, lines)):
        lines = [_plain(line) for line in lines]
    try:
        found = np.loadtxt(lines, layout.dtype, ndmin=1, comments=None)
    except ValueError as error:
        bad = next(k for k, line in enumerate(lines) if not _fits(line, layout))
        expected = f"expected {', '.join(layout.columns)} as numbers, found {lines[bad][:60]!r}"
        raise DataError(f"{path}, line {at[bad]}: {expected} ({str(error)[:80]})") from error
    t, strange = microseconds(found["t"], layout.unit)
    _check(path, at, found["t"], strange, "t as a time")
    for name in ("x", "y"):
        _check(path, at, found[name], found[name] % 1 != 0, f"{name} as a whole number")
    _check(path, at, found["p"], ~np.isin(found["p"], (-1, 0, 1)), "p as 0 or 1 (or -1 and 1)")
    x, y = found["x"].astype(np.int64), found["y"].astype(np.int64)
    return RawPart(t, x, y, found["p"] > 0, at)


def _check(
    path: Path, at: np.ndarray, values: np.ndarray, strange: np.ndarray, expected: str
) -> None:
    if strange.any():
        first = int(np.argmax(strange))
        raise DataError(f"{path}, line {at[first]}: expected {expected}, found {values[first]}")


def _plain(line: str) -> str:
    """The numbers of a line, split by one space each."""
    return " ".join(_WORDS.get(word.lower(), word) for word in _SPLIT.split(line) if word)


def _fits(line: str, layout: Layout) -> bool:
    try:
        np.loadtxt([line], layout.dtype, ndmin=1, comments=None)
    except ValueError:
        return False
    return True
