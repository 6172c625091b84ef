"""Events as they stand in a file, before anything is checked, and the check that makes Events of
them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from spikedriven.data.events.binary import as_events
from spikedriven.data.events.clock import Clock
from spikedriven.data.events.events import Events
from spikedriven.errors import DataError, InputError

#: Of a sensor, pixels; a frame of a larger one would be gigabytes.
LARGEST_SIDE = 1 << 12
#: What a time may be before the clock looks at it; beyond, 64 bits end.
LARGEST_NUMBER = 1 << 62


@dataclass(frozen=True, eq=False)
class RawPart:
    """N events in the order of the file, whatever their values are.

    t: int64 [N], microseconds. x, y: int64 [N], column and row. p: bool [N], True = ON. at: int64
    [N], where each stands in the file, in the unit of its recording.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    at: np.ndarray

    def __len__(self) -> int:
        return len(self.t)

    def where(self, kept: np.ndarray) -> "RawPart":
        """The events that `kept` (bool [N], or their numbers) marks."""
        return RawPart(self.t[kept], self.x[kept], self.y[kept], self.p[kept], self.at[kept])

    def split(self, most: int) -> Iterator["RawPart"]:
        """The same in parts of at most `most` events, without copying."""
        for first in range(0, len(self), most):
            part = slice(first, first + most)
            yield RawPart(self.t[part], self.x[part], self.y[part], self.p[part], self.at[part])

    def outside(self, height: int, width: int) -> np.ndarray:
        """bool [N]: whether the pixel is none of the sensor's."""
        return (self.x < 0) | (self.x >= width) | (self.y < 0) | (self.y >= height)


@dataclass(frozen=True)
class Source:
    """A recording while it is read.

    parts: at most `chunk` events each. height, width: of the sensor; None where the file does not
    say. unit: what `at` counts. format: its name, for people. notes: facts that the file tells, for
    `spikedriven events`.
    """

    path: Path
    format: str
    parts: Iterable[RawPart]
    height: int | None
    width: int | None
    unit: str = "byte"
    notes: dict[str, str] = field(default_factory=dict)
    hint: str = ""
    """Which sensor the recordings of this format had, for the question where the file does not say
    it.
    """

    def with_sensor(self, height: int | None, width: int | None) -> "Source":
        """With what the user says of the sensor, where the user says it."""
        return replace(self, height=height or self.height, width=width or self.width)

    def sized(self, height: int | None, width: int | None) -> "Source":
        """The same; InputError where nobody says how large the sensor is."""
        found = self.with_sensor(height, width)
        if found.height is None or found.width is None:
            said = f" ({self.hint})" if self.hint else ""
            raise InputError(
                f"{self.path} does not say how large the sensor is: give height and width, on the "
                "command line "
                f"--height H --width W{said}"
            )
        for name, side in (("height", found.height), ("width", found.width)):
            if not 1 <= side <= LARGEST_SIDE:
                raise DataError(
                    f"{self.path}: expected a sensor of 1 to {LARGEST_SIDE} pixels, found {name} "
                    f"{side}"
                )
        return found


def joined(parts: list[RawPart]) -> RawPart:
    """Consecutive parts as one."""
    names = ("t", "x", "y", "p", "at")
    if not parts:
        return RawPart(*(np.zeros(0, np.bool_ if name == "p" else np.int64) for name in names))
    return RawPart(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def mended(source: Source, events: RawPart) -> tuple[Events, int, int]:
    """All events of a sized source that lie on the sensor, in the order of time; how many were left
    out, and how many were earlier than one before them.
    """
    height, width = source.height, source.width
    assert height is not None and width is not None, "sized() comes first"
    outside = events.outside(height, width)
    events = events.where(~outside)
    order = np.argsort(events.t, kind="stable")
    moved = int((events.t < np.maximum.accumulate(events.t)).sum()) if len(events) else 0
    arrays = {name: getattr(events, name)[order] for name in ("t", "x", "y", "p")}
    return as_events(arrays, height, width), int(outside.sum()), moved


def checked(source: Source) -> Iterator[Events]:
    """Events of a sized source: pixels on the sensor, times that do not go back. DataError names
    the place.
    """
    height, width = source.height, source.width
    assert height is not None and width is not None, "sized() comes first"
    clock = Clock(source.path, source.unit)
    for part in source.parts:
        outside = np.flatnonzero(part.outside(height, width))
        if len(outside):
            _refuse_pixel(source, part, int(outside[0]))
        arrays = {"t": clock.forward(part.t, part.at), "x": part.x, "y": part.y, "p": part.p}
        yield as_events(arrays, height, width)


def _refuse_pixel(source: Source, part: RawPart, first: int) -> NoReturn:
    name, values, side = (
        ("x", part.x, source.width)
        if not 0 <= part.x[first] < (source.width or 0)
        else ("y", part.y, source.height)
    )
    raise DataError(
        f"{source.path}, {source.unit} {part.at[first]}: expected {name} from 0 to "
        f"{(side or 0) - 1}, found "
        f"{values[first]}; `spikedriven events` counts such events, and its --repair leaves them "
        "out"
    )


def microseconds(t: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [N], bool [N]): times in units of `unit` microseconds, rounded, and which of them are
    no numbers or far too large for one.
    """
    scaled = t if unit == 1 else t * unit
    strange = ~((scaled > -LARGEST_NUMBER) & (scaled < LARGEST_NUMBER))
    kept = np.where(strange, np.zeros(1, scaled.dtype), scaled)
    return (np.rint(kept) if kept.dtype.kind == "f" else kept).astype(np.int64), strange


def places(offset: int, count: int, stride: int) -> np.ndarray:
    """int64 [count]: offset, offset + stride, ..."""
    return offset + stride * np.arange(count, dtype=np.int64)
