"""Events to frames: which events are in which step, and how many fall on each pixel."""

import numpy as np

from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.events import Events
from spikedriven.errors import InputError


def to_frames(events: Events, cfg: EventDataConfig) -> np.ndarray:
    """float32 [T, 2, H, W] in the sensor's size, as the configuration says; events must not be empty."""
    borders = frame_borders(events.t, cfg.time_steps, cfg.split_by, cfg.step_us)
    return count(events, borders, cfg.values == "binary")


def frame_borders(
    t: np.ndarray, steps: int, split_by: str = "number", step_us: int | None = None
) -> np.ndarray:
    """Step k has the events borders[k] to borders[k + 1]: int64 [steps + 1] of sorted times t [N], microseconds.

    "number": floor(N / steps) events each, the last step the rest too. "time": floor(duration / steps) microseconds
    each, counted from the first event, the last step the rest too; with `step_us` so many microseconds each, and what
    comes later is left out. The first two are SpikingJelly's rules, which the releases use.
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
    """float32 [T, 2, H, W]: events borders[k] to borders[k + 1] per pixel, OFF in channel 0 and ON in channel 1.

    binary: 1 where there is any.
    """
    part = events[int(borders[0]) : int(borders[-1])]
    step = np.repeat(np.arange(len(borders) - 1), np.diff(borders))
    shape = (len(borders) - 1, 2, events.height, events.width)
    places = np.ravel_multi_index((step, part.p.astype(int), part.y, part.x), shape)
    counts = np.bincount(places, minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)
    return np.minimum(counts, 1) if binary else counts
