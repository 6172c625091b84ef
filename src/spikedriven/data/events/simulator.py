"""A simulated event camera: light per pixel and sub-step in, events out. Nothing here was recorded
by a sensor.

Each pixel remembers the log light at its last event. When the log light has moved away from it by
the pixel's threshold, an ON (brighter) or OFF (darker) event is due; within a sub-step the log
light moves linearly, which gives each event its time. On top come noise events. (The principle:
Lichtsteiner et al., JSSC 2008; simulation by interpolated crossings: Rebecq et al., CoRL 2018.)
"""

from dataclasses import dataclass

import numpy as np

from spikedriven.data.events.events import Events
from spikedriven.errors import InputError

LIGHT_FLOOR = 0.06
THRESHOLD, THRESHOLD_SPREAD, LEAST_THRESHOLD = 0.2, 0.03, 0.05
NOISE_RATE = 2e-4  # events per pixel and sub-step


@dataclass(frozen=True, eq=False)
class Sensor:
    """thresholds: float64 [H, W], in log light. noise: events per pixel and sub-step."""

    thresholds: np.ndarray
    noise: float = NOISE_RATE

    @classmethod
    def manufacture(
        cls, height: int, width: int, rng: np.random.Generator, noise: float = NOISE_RATE
    ) -> "Sensor":
        """A sensor whose pixels differ: thresholds 0.2 +- 0.03."""
        thresholds = rng.normal(THRESHOLD, THRESHOLD_SPREAD, (height, width))
        return cls(np.maximum(thresholds, LEAST_THRESHOLD), noise)

    def watch(self, light: np.ndarray, step_us: int, rng: np.random.Generator) -> "Recording":
        """What the sensor reports of G scenes, each seen after a reset of all pixels.

        light: float [S + 1, G, H, W], >= 0 (1: white), at the S + 1 borders of S sub-steps of
        `step_us` microseconds. rng: for the noise; what is drawn does not depend on the light.
        """
        height, width = self.thresholds.shape
        if light.ndim != 4 or len(light) < 2 or light.shape[2:] != (height, width) or step_us < 1:
            raise InputError(
                f"expected light [S + 1, G, {height}, {width}] with S >= 1 and step_us >= 1, "
                f"found {list(light.shape)} and {step_us}"
            )
        level = np.log(light + LIGHT_FLOOR) / self.thresholds
        counts, memory = _crossings(level)
        return Recording(
            level, counts, memory, _noise(counts.shape, self.noise, step_us, rng), step_us
        )


def _crossings(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels [S + 1, G, H, W] in units of the threshold -> signed whole numbers of events [S, G, H,
    W], and what each pixel remembered before each sub-step, of the same shape.
    """
    memory, counts = np.empty_like(level), np.empty_like(level[1:])
    memory[0] = level[0]
    for s, count in enumerate(counts):
        np.subtract(level[s + 1], memory[s], out=count)
        np.trunc(count, out=count)
        np.add(memory[s], count, out=memory[s + 1])
    return counts, memory[:-1]


def _noise(
    shape: tuple[int, ...], rate: float, step_us: int, rng: np.random.Generator
) -> np.ndarray:
    """Noise events int64 [5, N]: scene, time in it, row, column, ON. Scene by scene the same,
    whatever their order.
    """
    steps, scenes, height, width = shape
    numbers = rng.poisson(rate * steps * height * width, scenes)
    largest = np.array([steps * step_us, height, width, 2])[:, None]
    drawn = rng.integers(0, largest, (4, int(numbers.sum())))
    return np.concatenate([np.repeat(np.arange(scenes), numbers)[None], drawn])


@dataclass(frozen=True, eq=False)
class Recording:
    """What `Sensor.watch` saw: S sub-steps of G scenes. The fields are its working; use the
    methods.
    """

    level: np.ndarray
    counts: np.ndarray
    memory: np.ndarray
    noise: np.ndarray
    step_us: int

    def events(self, order: np.ndarray | None = None) -> Events:
        """All events; scene order[0] comes first (default: scene 0). Each scene lasts S *
        step_us microseconds.
        """
        steps, scenes, height, width = self.counts.shape
        scene, t, y, x, on = np.concatenate([self._signal(), self.noise], axis=1)
        rank = np.argsort(np.arange(scenes) if order is None else order)
        t += rank[scene] * (steps * self.step_us)
        number = np.arange(len(t))
        t_and_number = np.sort(t * len(t) + number)  # much faster than a stable argsort
        t, number = np.divmod(t_and_number, len(t)) if len(t) else (t, number)
        return Events(
            t,
            x[number].astype(np.int16),
            y[number].astype(np.int16),
            on[number] == 1,
            height,
            width,
        )

    def frames(self, time_steps: int, order: np.ndarray | None = None) -> np.ndarray:
        """Event counts float32 [T, 2, H, W] (0: OFF, 1: ON): T equal spans of `events(order)`,
        without making those.

        InputError unless the borders of the spans are borders of sub-steps.
        """
        steps, scenes, height, width = self.counts.shape
        if time_steps < 1 or (scenes * steps) % time_steps:
            raise InputError(
                f"time_steps must divide the {scenes * steps} sub-steps, found {time_steps}"
            )
        each = np.stack([np.maximum(-self.counts, 0), np.maximum(self.counts, 0)], axis=2).swapaxes(
            0, 1
        )
        scene, t, y, x, on = self.noise
        np.add.at(each, (scene, t // self.step_us, on, y, x), 1)
        spans = (each if order is None else each[order]).reshape(time_steps, -1, 2, height, width)
        return spans.sum(axis=1).astype(np.float32)

    def _signal(self) -> np.ndarray:
        """The crossings, int64 [5, N]: scene, time in it, row, column, ON."""
        flat = np.flatnonzero(self.counts)
        number, memory, start = (
            array.ravel()[flat] for array in (self.counts, self.memory, self.level[:-1])
        )
        change = self.level[1:].ravel()[flat] - start
        step, scene, y, x = np.unravel_index(flat, self.counts.shape)
        repeats = np.abs(number).astype(np.int64)
        nth = 1 + np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        # the n-th event is due when the level has moved n thresholds away from what the pixel
        # remembered
        part = np.repeat((memory - start) / change, repeats) + nth * np.repeat(
            np.sign(number) / change, repeats
        )
        within = np.minimum(part * self.step_us, self.step_us - 1).astype(np.int64)
        found = np.repeat(np.stack([scene, step * self.step_us, y, x, number > 0]), repeats, axis=1)
        found[1] += within
        return found
