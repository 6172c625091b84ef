"""Events of one recording, or of a part of it, in memory."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from spikedriven.errors import InputError

#: Microseconds, 285 years: far beyond it differences of times leave 64 bits.
LARGEST_TIME = 1 << 53
_DTYPES = {"t": np.int64, "x": np.int16, "y": np.int16, "p": np.bool_}


@dataclass(frozen=True, eq=False)
class Events:
    """N events in the order of time; InputError for arrays that are no such thing.

    t: int64 [N], microseconds, non-decreasing, at most 2^53. x, y: int16 [N], column and row, 0 <=
    x < width and 0 <= y < height.
    p: bool [N], True = ON (the pixel became brighter). height, width: of the sensor, pixels.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    height: int
    width: int

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            found = getattr(self, name)
            if (
                not isinstance(found, np.ndarray)
                or found.dtype != dtype
                or found.shape != self.t.shape[:1]
            ):
                raise InputError(
                    f"events, {name}: expected {np.dtype(dtype)} [N], found {_describe(found)}"
                )
        for name, size in (("x", self.width), ("y", self.height)):
            found = getattr(self, name)
            if not 1 <= size <= 1 << 15:
                raise InputError(
                    f"events: the sensor is {self.width} x {self.height}, expected 1 to 32768 "
                    "pixels"
                )
            if len(found) and not 0 <= found.min() <= found.max() < size:
                raise InputError(
                    f"events, {name}: expected 0 to {size - 1}, found {found.min()} to "
                    f"{found.max()}"
                )
        if len(self.t) and not -LARGEST_TIME <= self.t.min() <= self.t.max() <= LARGEST_TIME:
            raise InputError(
                f"events, t: expected at most 2^53 microseconds, found {self.t.min()} to "
                f"{self.t.max()}"
            )
        back = np.flatnonzero(self.t[1:] < self.t[:-1])
        if len(back):
            at = int(back[0]) + 1
            raise InputError(
                f"events, t: goes back at event {at}, from {self.t[at - 1]} to {self.t[at]} "
                "microseconds"
            )

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, part: slice) -> "Events":
        """Events `part.start` to `part.stop` by their number, without copying."""
        if not isinstance(part, slice) or part.step not in (None, 1):
            raise InputError(f"events are sliced as events[first:last], found [{part}]")
        arrays: dict[str, Any] = {name: getattr(self, name)[part] for name in _DTYPES}
        return Events(**arrays, height=self.height, width=self.width)

    def between(self, start: int, stop: int) -> "Events":
        """Events with start <= t < stop (microseconds), without copying."""
        first, last = np.searchsorted(self.t, (start, stop))
        return self[int(first) : int(last)]

    def equals(self, other: "Events") -> bool:
        """Whether all events and the sensor are the same."""
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        )


def empty_events(height: int, width: int) -> Events:
    """No events, on a sensor of this size."""
    arrays: dict[str, Any] = {name: np.zeros(0, dtype) for name, dtype in _DTYPES.items()}
    return Events(**arrays, height=height, width=width)


def join(parts: list[Events]) -> Events:
    """Consecutive parts of one recording as one; the first part says how large the sensor is."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _DTYPES
    }
    return Events(**arrays, height=parts[0].height, width=parts[0].width)


def _describe(value: Any) -> str:
    return (
        f"{value.dtype} {list(value.shape)}"
        if isinstance(value, np.ndarray)
        else type(value).__name__
    )
