"""Times of a recording that only go forward: small disorder is held, single wrong times are
mended, more is refused.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from spikedriven.data.events.events import LARGEST_TIME
from spikedriven.errors import DataError

_log = logging.getLogger(__name__)
#: A time may be so much earlier than one before it: recorders do that when they merge several
#: sources.
DISORDER_US = 10_000
#: So many events in a row may have a wrong time; more are another recording, or another order.
MOST_WRONG = 8
#: ... and of all events this share, beside the first few.
WRONG_SHARE = 0.01
#: Where more than this share of the events is earlier than one before it, they are in no order of
#: time.
MOST_HELD = 0.5
_BEFORE = -2 * LARGEST_TIME


class Clock:
    """Times of consecutive parts of one recording, made non-decreasing; the order of the file is
    kept.

    An event that is a little earlier than one before it gets that one's time. Up to `MOST_WRONG`
    events in a row that are far ahead of all around them get the time behind them, so that the
    others keep theirs. What is done is logged when it happens first. unit: what places count, for
    messages.
    """

    def __init__(self, path: Path, unit: str = "byte") -> None:
        self.path, self.unit, self.latest, self.warned = path, unit, _BEFORE, False
        self.total = self.held = self.wrong = self.run = 0

    def forward(self, t: np.ndarray, at: np.ndarray) -> np.ndarray:
        """int64 [N] of events that stand at the places `at` of the file, int64 [N]. DataError for
        times that cannot be told from those of another recording, and for events in no order of
        time.
        """
        if not len(t):
            return t
        low, high = int(t.min()), int(t.max())
        if not -LARGEST_TIME <= low <= high <= LARGEST_TIME:
            self._refuse(t, at, int(t.argmin() if low < -LARGEST_TIME else t.argmax()), _TOO_LARGE)
        self.total += len(t)
        t = self._without_spikes(t, at)
        before = np.concatenate([[self.latest], np.maximum(np.maximum.accumulate(t), self.latest)])
        back = before[:-1] - t
        if back.max() > 0:
            self._check(t, at, back)
        else:
            self.run = 0
        self.latest = int(before[-1])
        return before[1:]

    def of_kept(self, t: np.ndarray, kept: np.ndarray, offset: int, stride: int) -> np.ndarray:
        """The same for those of N events, `stride` apart from `offset` on, that `kept` (bool [N])
        marks: no other one moves the clock.
        """
        if kept.all():
            return self.forward(t, offset + stride * np.arange(len(t)))
        found = t.copy()
        found[kept] = self.forward(t[kept], offset + stride * np.flatnonzero(kept))
        return found

    def _without_spikes(self, t: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The times, with those that are far ahead of all around them lowered to the one behind
        them.
        """
        drops = np.flatnonzero(t[:-1] - t[1:] > DISORDER_US)
        if not len(drops) or len(drops) > self._allowed():
            return t
        mended = t.copy()
        for first, last in _spikes(t, drops.tolist(), self.latest):
            self.wrong += last + 1 - first
            ahead = int(t[first] - t[last + 1])
            self._warn(
                f"is {ahead} microseconds ahead of those behind it and gets their time",
                int(at[first]),
            )
            mended[first : last + 1] = max(
                int(t[last + 1]), self.latest if first == 0 else int(mended[first - 1])
            )
        return mended

    def _check(self, t: np.ndarray, at: np.ndarray, back: np.ndarray) -> None:
        """DataError where holding times would collapse more than a few of them; `back`: by how
        much each is held.
        """
        first = int(np.argmax(back > 0))
        far = np.concatenate([np.full(self.run, True), back > DISORDER_US])
        lengths = _running(far)
        self.held += int((back > 0).sum())
        self.wrong += int((back > DISORDER_US).sum())
        if self.held > MOST_HELD * self.total:
            self._refuse(t, at, first, _NO_ORDER.format(self.held, self.total))
        if lengths.max() > MOST_WRONG:
            wrong = max(int(np.argmax(lengths > MOST_WRONG)) - self.run - MOST_WRONG, 0)
            self._refuse(t, at, wrong, _STAYS.format(int(back[wrong])))
        if self.wrong > self._allowed():
            self._refuse(
                t, at, int(np.argmax(back > DISORDER_US)), _OFTEN.format(DISORDER_US, self.wrong)
            )
        self.run = int(lengths[-1])
        self._warn(
            f"is {int(back[first])} microseconds earlier than one before it and gets that one's "
            "time",
            int(at[first]),
        )

    def _allowed(self) -> float:
        """Wrong times; none where there are too few events to tell which ones they are."""
        return 0 if self.total < 2 * MOST_WRONG else MOST_WRONG + WRONG_SHARE * self.total

    def _warn(self, what: str, place: int) -> None:
        if not self.warned:
            self.warned = True
            _log.warning(
                "%s: timestamps go back: the event at %s %d %s; the order of the file is kept "
                "(told once a file)",
                self.path,
                self.unit,
                place,
                what,
            )

    def _refuse(self, t: np.ndarray, at: np.ndarray, index: int, what: str) -> NoReturn:
        raise DataError(f"{self.path}, {self.unit} {at[index]}: the time {t[index]} {what}")


_TOO_LARGE = (
    f"is outside of -{LARGEST_TIME} to {LARGEST_TIME} microseconds (285 years); are the times in "
    "nanoseconds? Divide "
    "them by 1000"
)
_STAYS = (
    "is {} microseconds earlier than one before it, and so are those behind it; is this a second "
    "recording, or a clock "
    "that began anew? Cut the file there"
)
_OFTEN = (
    "is more than {} microseconds earlier than one before it, {} event(s) so far, and nothing "
    "tells which times are "
    "wrong; the file is damaged"
)
_NO_ORDER = (
    "is earlier than one before it, as {} of {} events are: they are in no order of time. Sort "
    "them: "
    "order = numpy.argsort(t, kind='stable'), then t[order], x[order], y[order], p[order]"
)


def _spikes(t: np.ndarray, drops: list[int], latest: int) -> Iterator[tuple[int, int]]:
    """(first, last) of runs of at most `MOST_WRONG` events that are far ahead of what stands before
    and behind them.

    drops: events that are far ahead of the next one. latest: the time before the first event.
    """
    for last in drops:
        floor = int(t[last + 1])
        first = last
        while first > 0 and last - first < MOST_WRONG and t[first - 1] > floor + DISORDER_US:
            first -= 1
        before = latest if first == 0 else int(t[first - 1])
        behind = t[last + 1 : last + 1 + max(MOST_WRONG, last + 1 - first)]
        agree = np.median(behind) + DISORDER_US < t[first : last + 1].min()
        if (
            last - first < MOST_WRONG
            and before <= floor + DISORDER_US
            and agree
            and len(behind) > max(last - first, 2)
        ):
            yield first, last


def _running(marks: np.ndarray) -> np.ndarray:
    """int64 [N]: how many marks in a row end here."""
    count = np.cumsum(marks)
    return count - np.maximum.accumulate(np.where(marks, 0, count))
