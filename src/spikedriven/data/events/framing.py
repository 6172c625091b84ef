"""Events to frames: which events are in which step, and how many fall on each pixel."""

import numpy as np

from spikedriven.data.events.config import FramedEventConfig
from spikedriven.data.events.events import Events
from spikedriven.errors import DataError, InputError

#: Values of a sample, 1 GiB in float32; some three times as much is needed while it is made.
LARGEST_FRAMES = 1 << 28
#: So many events at each end may be alone, and by so many times the span of all others.
ENDS, LONGEST_GAP = 8, 10


def to_frames(events: Events, cfg: FramedEventConfig) -> np.ndarray:
    """float32 [T, 2, H, W] in the sensor's size, as the configuration says; events must not be
    empty.

    DataError for frames of more than `LARGEST_FRAMES` values, and where frames of time would hold
    nothing but a wrong time (see `check_ends`).
    """
    values = cfg.time_steps * 2 * events.height * events.width
    if values > LARGEST_FRAMES:
        raise DataError(
            f"{cfg.time_steps} frames of {events.height} x {events.width} pixels are {values:,} "
            "values, expected at "
            f"most {LARGEST_FRAMES:,}; is the sensor that large? Use fewer time_steps, or crop the "
            "recording"
        )
    if cfg.split_by == "time":
        check_ends(events.t, last=cfg.step_us is None)
    borders = frame_borders(events.t, cfg.time_steps, cfg.split_by, cfg.step_us)
    return count(events, borders, cfg.values == "binary")


def check_ends(t: np.ndarray, last: bool = True) -> None:
    """DataError where a few events at an end of the recording lie so far from all others that these
    would share one frame: a time left over from before, or a wrong one, not a pause. last: whether
    the last event counts.
    """
    if len(t) < 100:
        return
    span = int(t[-ENDS - 1] - t[ENDS])
    for name, gap, counts in (
        ("first", t[ENDS] - t[0], True),
        ("last", t[-1] - t[-ENDS - 1], last),
    ):
        if counts and int(gap) > LONGEST_GAP * max(span, 1):
            raise DataError(
                f"its {name} events lie {int(gap)} microseconds apart from the others, which span "
                f"{span}: in frames of "
                "equal time all of these would share one; is that a wrong time? Cut those events "
                "off, or use "
                "data.split_by number"
            )


def frame_borders(
    t: np.ndarray, steps: int, split_by: str = "number", step_us: int | None = None
) -> np.ndarray:
    """Step k has the events borders[k] to borders[k + 1]: int64 [steps + 1] of sorted times t [N],
    microseconds.

    "number": floor(N / steps) events each, the last step the rest too. "time": floor(duration /
    steps) microseconds each, counted from the first event, the last step the rest too; with
    `step_us` so many microseconds each, and what comes later is left out. The first two are
    SpikingJelly's rules, which the releases use.
    """
    if not len(t):
        raise InputError("no events: a recording needs at least one to be made into frames")
    if split_by == "number":
        return np.array([*(len(t) // steps * np.arange(steps)), len(t)])
    starts = int(t[0]) + np.arange(steps + 1) * (step_us or int(t[-1] - t[0]) // steps)
    borders = np.searchsorted(t, starts)
    if step_us is None:
        borders[-1] = len(t)
    return borders


def count(events: Events, borders: np.ndarray, binary: bool = False) -> np.ndarray:
    """float32 [T, 2, H, W]: events borders[k] to borders[k + 1] per pixel, OFF in channel 0 and ON
    in channel 1.

    binary: 1 where there is any.
    """
    part = events[int(borders[0]) : int(borders[-1])]
    step = np.repeat(np.arange(len(borders) - 1), np.diff(borders))
    shape = (len(borders) - 1, 2, events.height, events.width)
    places = np.ravel_multi_index((step, part.p.astype(int), part.y, part.x), shape)
    if (
        len(part) < np.prod(shape) // 8
    ):  # few events on a large sensor: no array of counts beside the frames
        counts = np.zeros(shape, np.float32)
        found, numbers = np.unique(places, return_counts=True)
        counts.reshape(-1)[found] = numbers
    else:
        counts = (
            np.bincount(places, minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)
        )
    return np.minimum(counts, 1, out=counts) if binary else counts


def coverage(seen_s: float, whole_s: float, seen: int, whole: int) -> str:
    """How much of a recording is used, in words: of its seconds and of its events."""
    share = seen / whole if whole else 0.0
    return f"{seen_s:.1f} of {whole_s:.1f} s: {share:.0%} of events".replace("%", " %")
