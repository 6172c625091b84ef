"""Frames of a recording as it comes in: one at a time, in memory that does not grow with the
recording.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spikedriven.data.events.events import Events
from spikedriven.errors import DataError, InputError

#: So many steps without an event are a broken clock, not a pause.
LONGEST_PAUSE = 100_000
_EVER = 1 << 62


@dataclass(frozen=True, eq=False)
class Frame:
    """counts: float32 [2, H, W], channel 0 of OFF, 1 of ON events. events: how many. end_us:
    time at its end.
    """

    counts: np.ndarray
    events: int
    end_us: int


def frames_by_time(
    chunks: Iterable[Events],
    step_us: int,
    start_us: int | None = None,
    steps: int | None = None,
    keep_rest: bool = False,
) -> Iterator[Frame]:
    """Frames of `step_us` microseconds each; steps without events are frames too.

    start_us: where the first step begins, what is before it being left out; default: at the first
    event. steps: how many frames; default: up to the one that the last event is in. keep_rest: the
    last of `steps` frames has what comes later too, which is left out otherwise. DataError for more
    than LONGEST_PAUSE empty steps in a row.
    """
    _check(step_us, "step_us")
    step, counter, start, stop = 0, None, start_us, _EVER
    for chunk in _filled(chunks):
        counter = counter or _Counter(chunk)
        start = int(chunk.t[0]) if start is None else start
        if steps is not None and not keep_rest:
            stop = start + steps * step_us
        for number, events in _by_step(chunk.between(start, stop), start, step_us, steps):
            _check_pause(number - step, step_us, events)
            while step < number:
                step += 1
                yield counter.frame(start + step * step_us)
            counter.add(events)
        if chunk.t[-1] >= stop:
            break
    if counter is not None and start is not None:
        for number in range(step, step + 1 if steps is None else steps):
            yield counter.frame(start + (number + 1) * step_us)


def _by_step(
    events: Events, start: int, step_us: int, steps: int | None
) -> Iterator[tuple[int, Events]]:
    """(number of the step, its events) of a chunk; with `steps`, what comes later is in the
    last one.
    """
    number = (events.t - start) // step_us
    if steps is not None:
        number = np.minimum(number, steps - 1)
    borders = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(events)]
    for first, last in pairwise(borders):
        if first < last:
            yield int(number[first]), events[first:last]


def _check_pause(empty: int, step_us: int, events: Events) -> None:
    if empty > LONGEST_PAUSE:
        raise DataError(
            f"no event for {empty} steps of {step_us} microseconds, up to the time {events.t[0]}; "
            "expected at most "
            f"{LONGEST_PAUSE}. Are the times in microseconds, and does the first step begin where "
            "the events do?"
        )


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
        if wanted is None:
            return


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
                f"the sensor changed from {self.height} x {self.width} to {events.height} x "
                f"{events.width}"
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
