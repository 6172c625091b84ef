"""Frames of a recording as it comes in: one at a time, in memory that does not grow with the recording."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from spikedriven.data.events.events import Events
from spikedriven.errors import DataError, InputError

#: So many steps without an event are a broken clock, not a pause.
LONGEST_PAUSE = 100_000


@dataclass(frozen=True, eq=False)
class Frame:
    """counts: float32 [2, H, W], channel 0 of OFF, 1 of ON events. events: how many. end_us: time at its end."""

    counts: np.ndarray
    events: int
    end_us: int


def frames_by_time(chunks: Iterable[Events], step_us: int) -> Iterator[Frame]:
    """Frames of `step_us` microseconds each, from the time of the first event to the step that the last one is in.

    Steps without events are frames too; DataError for more than LONGEST_PAUSE of them in a row.
    """
    _check(step_us, "step_us")
    start, step, counter = 0, 0, None
    for chunk in _filled(chunks):
        if counter is None:
            start, counter = int(chunk.t[0]), _Counter(chunk)
        number = (chunk.t - start) // step_us
        borders = np.flatnonzero(np.diff(number)) + 1
        for first, last in zip([0, *borders], [*borders, len(chunk)], strict=True):
            if number[first] - step > LONGEST_PAUSE:
                raise DataError(
                    f"no event for {number[first] - step} steps of {step_us} microseconds, up to the time "
                    f"{chunk.t[first]}; expected at most {LONGEST_PAUSE}. Are the times in microseconds?"
                )
            while step < number[first]:
                step += 1
                yield counter.frame(start + step * step_us)
            counter.add(chunk[int(first) : int(last)])
    if counter is not None:
        yield counter.frame(start + (step + 1) * step_us)


def frames_by_number(chunks: Iterable[Events], numbers: Iterable[int]) -> Iterator[Frame]:
    """Frames of numbers[0], numbers[1], ... events; events that do not fill one are left over."""
    sizes, counter = iter(numbers), None
    wanted = next(sizes, None)
    for chunk in _filled(chunks):
        counter = counter or _Counter(chunk)
        while wanted is not None and len(chunk):
            _check(wanted, "events per step")
            taken, chunk = chunk[: wanted - counter.events], chunk[wanted - counter.events :]
            counter.add(taken)
            if counter.events == wanted:
                yield counter.frame(int(taken.t[-1]))
                wanted = next(sizes, None)


class _Counter:
    """The frame that is being filled."""

    def __init__(self, like: Events) -> None:
        self.height, self.width = like.height, like.width
        self._clear()

    def _clear(self) -> None:
        self.counts, self.events = np.zeros(2 * self.height * self.width, np.int64), 0

    def add(self, events: Events) -> None:
        if (events.height, events.width) != (self.height, self.width):
            raise InputError(
                f"the sensor changed from {self.height} x {self.width} to {events.height} x {events.width}"
            )
        pixel = (events.p * self.height + events.y.astype(np.int64)) * self.width + events.x
        self.counts += np.bincount(pixel, minlength=len(self.counts))
        self.events += len(events)

    def frame(self, end_us: int) -> Frame:
        """What was added, and start anew."""
        counts = self.counts.reshape(2, self.height, self.width).astype(np.float32)
        frame = Frame(counts, self.events, end_us)
        self._clear()
        return frame


def _filled(chunks: Iterable[Events]) -> Iterator[Events]:
    return (chunk for chunk in chunks if len(chunk))


def _check(value: int, name: str) -> None:
    if value < 1:
        raise InputError(f"{name}: expected at least 1, found {value}")
