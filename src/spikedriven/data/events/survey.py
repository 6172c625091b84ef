"""What is in a recording and what is wrong with it, in one pass and memory that does not grow
with it.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from spikedriven.data.events.clock import Clock
from spikedriven.data.events.events import LARGEST_TIME
from spikedriven.data.events.raw import LARGEST_SIDE, RawPart, Source
from spikedriven.errors import DataError

#: Bins of the rate over time, at most; their width doubles when they do not reach far enough.
BINS, FIRST_BIN_US = 512, 128
#: A pause is told from this length on, microseconds, and a pixel from this share of all events on.
PAUSE_US, HOT_SHARE = 1_000_000, 0.02
#: Times outside of these are suspicious: microseconds of a whole recording, and events per second.
SHORTEST_US, LONGEST_US, HIGHEST_RATE = 1_000, 86_400_000_000, 2e9


@dataclass(frozen=True)
class Problem:
    """kind: one word. text: a sentence for people. count: of events. refused: whether readers
    stop there.
    """

    kind: str
    text: str
    count: int
    refused: bool = False


@dataclass
class Survey:
    """height, width: as the file or the user says; else, with `sensor_told` False, what the events
    need at least.

    start_us, stop_us: the earliest and the latest time. counts: int32 [2, height, width], OFF and
    ON events of each pixel. rate: int64 [n], events of each `bin_us` from `start_us` on. problems:
    none where nothing was found.
    """

    path: Path
    format: str
    notes: dict[str, str]
    height: int
    width: int
    sensor_told: bool
    events: int
    on: int
    start_us: int
    stop_us: int
    counts: np.ndarray
    rate: np.ndarray
    bin_us: int
    problems: list[Problem] = field(default_factory=list)

    @property
    def duration_us(self) -> int:
        return self.stop_us - self.start_us

    @property
    def per_second(self) -> float:
        """Events a second; 0 where all are at one instant."""
        return self.events / self.duration_us * 1e6 if self.duration_us else 0.0

    @property
    def refused(self) -> bool:
        """Whether a reader stops before the end of the recording."""
        return any(problem.refused for problem in self.problems)


def survey(source: Source) -> Survey:
    """Read a recording once. What is wrong with it is listed, damage that ends the reading too."""
    seen = _Seen(source)
    try:
        for part in source.parts:
            seen.add(part)
    except DataError as error:
        seen.broken = str(error)
    return seen.result()


class _Seen:
    """What the parts so far had."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.events = self.on = self.outside = self.back = self.worst_back = self.pauses = (
            self.longest
        ) = self.twice = 0
        self.low, self.high, self.latest = 1 << 62, -(1 << 62), -(1 << 62)
        self.first: dict[str, str] = {}
        self.counts = np.zeros((2, source.height or 1, source.width or 1), np.int32)
        self.rate, self.last = _Rate(), np.zeros((0, 4), np.int64)
        self.broken = self.refused_time = ""
        self.clock: Clock | None = Clock(source.path, source.unit)
        self.clock.warned = True  # what it would log stands in the list

    def add(self, part: RawPart) -> None:
        if not len(part):
            return
        self.events, self.on = self.events + len(part), self.on + int(part.p.sum())
        self._ask_clock(part)
        part = replace(
            part, t=np.clip(part.t, -LARGEST_TIME, LARGEST_TIME)
        )  # beyond, differences leave 64 bits
        self._times(part)
        self._repeats(part)
        self._pixels(part)
        self.rate.add(part.t)

    def _times(self, part: RawPart) -> None:
        before = np.concatenate(
            [[self.latest], np.maximum(np.maximum.accumulate(part.t), self.latest)]
        )
        step = part.t - before[:-1]
        if self.latest == -(1 << 62):
            step[0] = 0
        back, pause = np.flatnonzero(step < 0), np.flatnonzero(step >= PAUSE_US)
        if len(back):
            self.back, self.worst_back = (
                self.back + len(back),
                max(self.worst_back, int(-step.min())),
            )
            self._place("back", part, int(back[0]))
        if len(pause):
            self.pauses, self.longest = self.pauses + len(pause), max(self.longest, int(step.max()))
            self._place("pause", part, int(pause[0]))
        self.low, self.high = min(self.low, int(part.t.min())), max(self.high, int(part.t.max()))
        self.latest = int(before[-1])

    def _ask_clock(self, part: RawPart) -> None:
        """Whether the readers take these times; the first ones that they do not are remembered."""
        if self.clock is None:
            return
        try:
            self.clock.forward(part.t, part.at)
        except DataError as error:
            self.refused_time, self.clock = str(error), None

    def _repeats(self, part: RawPart) -> None:
        """Events that are there more than once: same instant, pixel and polarity."""
        rows = np.concatenate([self.last, np.stack([part.t, part.y, part.x, part.p], axis=1)])
        ordered = rows[np.lexsort(rows.T[::-1])]
        self.twice += int((ordered[1:] == ordered[:-1]).all(1).sum()) - _again(self.last)
        self.last = rows[rows[:, 0] == part.t[-1]]

    def _pixels(self, part: RawPart) -> None:
        height, width = self.source.height or LARGEST_SIDE, self.source.width or LARGEST_SIDE
        outside = part.outside(height, width)
        if outside.any():
            self.outside += int(outside.sum())
            self._place("outside", part, int(np.argmax(outside)))
            part = part.where(~outside)
        if not len(part):
            return
        self._grow(int(part.y.max()) + 1, int(part.x.max()) + 1)
        _two, rows, columns = self.counts.shape
        pixels, numbers = np.unique((part.p * rows + part.y) * columns + part.x, return_counts=True)
        self.counts.reshape(-1)[pixels] += numbers.astype(np.int32)

    def _grow(self, height: int, width: int) -> None:
        """Room for a sensor that nobody told the size of."""
        _two, rows, columns = self.counts.shape
        if height > rows or width > columns:
            grown = np.zeros((2, max(height, rows), max(width, columns)), np.int32)
            grown[:, :rows, :columns] = self.counts
            self.counts = grown

    def _place(self, kind: str, part: RawPart, index: int) -> None:
        self.first.setdefault(kind, f"{self.source.unit} {part.at[index]}")

    def result(self) -> Survey:
        start, stop = (self.low, self.high) if self.events else (0, 0)
        source, (_two, height, width) = self.source, self.counts.shape
        told = source.height is not None and source.width is not None
        found = Survey(
            path=source.path,
            format=source.format,
            notes=source.notes,
            height=height,
            width=width,
            sensor_told=told,
            events=self.events,
            on=self.on,
            start_us=start,
            stop_us=stop,
            counts=self.counts,
            rate=self.rate.counts,
            bin_us=self.rate.width_us,
        )
        found.problems = [*self._problems(), *_suspicions(found)]
        return found

    def _problems(self) -> list[Problem]:
        height, width = self.source.height or LARGEST_SIDE, self.source.width or LARGEST_SIDE
        found = []
        if self.broken:
            found.append(
                Problem("damaged", f"cannot be read further: {self.broken}", 0, refused=True)
            )
        if not self.events:
            found.append(Problem("empty", "no events of pixels", 0, refused=True))
        if self.outside:
            text = f"{self.outside:,} event(s) outside of {width} x {height} pixels, the first at"
            found.append(
                Problem("outside", f"{text} {self.first['outside']}", self.outside, refused=True)
            )
        if self.back:
            text = (
                f"{self.back:,} event(s) earlier than one before them, by up to "
                f"{span(self.worst_back)}"
            )
            why = f"; readers stop there: {self.refused_time}" if self.refused_time else ""
            found.append(
                Problem(
                    "unsorted",
                    f"{text}, the first at {self.first['back']}{why}",
                    self.back,
                    bool(why),
                )
            )
        elif self.refused_time:
            found.append(
                Problem(
                    "times", f"readers stop at these times: {self.refused_time}", 1, refused=True
                )
            )
        if self.pauses:
            text = f"{self.pauses:,} pause(s) of a second or more, the longest {span(self.longest)}"
            found.append(
                Problem("jump", f"{text}, the first before {self.first['pause']}", self.pauses)
            )
        if self.twice:
            found.append(
                Problem("duplicate", f"{self.twice:,} event(s) there more than once", self.twice)
            )
        return found


def _again(rows: np.ndarray) -> int:
    """How many of the rows that are kept from the last part were counted there."""
    return len(rows) - len(np.unique(rows, axis=0)) if len(rows) else 0


def _suspicions(found: Survey) -> list[Problem]:
    """What looks as if it were meant otherwise."""
    problems = []
    if found.events > 1 and not SHORTEST_US <= found.duration_us <= LONGEST_US:
        text = f"lasts {span(found.duration_us)}: are the times in microseconds?"
        problems.append(Problem("duration", text, found.events))
    elif found.per_second > HIGHEST_RATE:
        text = f"{found.per_second:.3g} events a second: are the times in microseconds?"
        problems.append(Problem("rate", text, found.events))
    if found.events > 1 and found.on in (0, found.events):
        problems.append(
            Problem("polarity", f"all events are {'ON' if found.on else 'OFF'}", found.events)
        )
    total = found.counts.sum(0)
    hot = total > max(HOT_SHARE * found.events, 100)
    if hot.any() and (total > 0).sum() > 2 / HOT_SHARE:
        y, x = np.unravel_index(int(total.argmax()), total.shape)
        share = total[hot].sum() / found.events
        text = (
            f"{int(hot.sum())} pixel(s) with {share:.0%} of the events, the most at column {x}, "
            f"row {y}"
        )
        problems.append(Problem("hot", text, int(total[hot].sum())))
    return problems


class _Rate:
    """A histogram of times whose end is not known: as soon as one does not fit, every two bins
    become one.
    """

    def __init__(self) -> None:
        self.width_us, self.start = FIRST_BIN_US, 0
        self._counts, self._used = np.zeros(BINS, np.int64), 0

    @property
    def counts(self) -> np.ndarray:
        return self._counts[: self._used]

    def add(self, t: np.ndarray) -> None:
        if not self._used:
            self.start = int(t.min())
        number = np.maximum(t - self.start, 0) // self.width_us
        while number.max() >= BINS:
            self._counts = np.concatenate(
                [self._counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)]
            )
            self.width_us, number = self.width_us * 2, number // 2
            self._used = -(-self._used // 2)
        self._counts += np.bincount(number, minlength=BINS)
        self._used = max(self._used, int(number.max()) + 1)


def span(microseconds: int) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("days", 86_400_000_000), ("s", 1_000_000), ("ms", 1_000)):
        if microseconds >= 2 * size or (unit == "s" and microseconds >= size):
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds} microseconds"
