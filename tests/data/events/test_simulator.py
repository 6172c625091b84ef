"""The simulated sensor: held against a plain pixel-by-pixel version, and its frames against its
events.
"""

import numpy as np
import pytest

from spikedriven.data.events.events import Events
from spikedriven.data.events.simulator import LEAST_THRESHOLD, LIGHT_FLOOR, Sensor
from spikedriven.errors import InputError

STEP_US = 1000


def plain(
    light: np.ndarray, thresholds: np.ndarray, step_us: int
) -> list[tuple[int, int, int, int, bool]]:
    """(scene, time, row, column, ON) of every crossing, pixel by pixel and event by event."""
    found = []
    for g, y, x in np.ndindex(light.shape[1:]):
        level = np.log(light[:, g, y, x] + LIGHT_FLOOR)
        remembered, threshold = level[0], thresholds[y, x]
        for s in range(len(level) - 1):
            change = level[s + 1] - level[s]
            sign = 1 if level[s + 1] > remembered else -1
            while sign * (level[s + 1] - remembered) >= threshold * (1 - 1e-12):
                remembered += sign * threshold
                within = min(int((remembered - level[s]) / change * step_us), step_us - 1)
                found.append((g, s * step_us + within, y, x, sign > 0))
    return sorted(found)


def moving_light(
    seed: int, steps: int = 12, scenes: int = 2, height: int = 4, width: int = 5
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(
        rng.random((1, scenes, height, width))
        + 0.2 * rng.normal(size=(steps + 1, scenes, height, width)),
        0,
        1,
    )


def counted(events: Events, spans: int, duration: int) -> np.ndarray:
    frames = np.zeros((spans, 2, events.height, events.width), np.float32)
    np.add.at(frames, (events.t * spans // duration, events.p.astype(int), events.y, events.x), 1)
    return frames


@pytest.mark.parametrize("seed", range(3))
def test_events_are_those_of_the_plain_version(seed: int) -> None:
    light = moving_light(seed)
    sensor = Sensor.manufacture(4, 5, np.random.default_rng(seed), noise=0.0)
    events = sensor.watch(light, STEP_US, np.random.default_rng(0)).events()
    wanted = plain(light, sensor.thresholds, STEP_US)
    assert len(wanted) > 200
    duration = STEP_US * (len(light) - 1)
    found = zip(
        events.t // duration, events.t % duration, events.y, events.x, events.p, strict=True
    )
    found = sorted(tuple(int(value) for value in event) for event in found)
    assert len(found) == len(wanted)
    # a crossing on the border of a microsecond may fall on either side of it
    assert all(a[0] == b[0] and abs(a[1] - b[1]) <= 1 for a, b in zip(found, wanted, strict=True))
    assert sorted(e[:1] + e[2:] for e in found) == sorted(
        (e[0], *e[2:4], int(e[4])) for e in wanted
    )


def test_brighter_is_on_and_darker_is_off() -> None:
    light = np.zeros((3, 1, 1, 2))
    light[:, 0, 0, 0], light[:, 0, 0, 1] = [0.0, 0.5, 1.0], [1.0, 0.5, 0.0]
    sensor = Sensor(np.full((1, 2), 0.2), noise=0.0)
    events = sensor.watch(light, STEP_US, np.random.default_rng(0)).events()
    each = int(np.log((1 + LIGHT_FLOOR) / LIGHT_FLOOR) / 0.2)
    assert (
        events.p[events.x == 0].tolist() == [True] * each
        and events.p[events.x == 1].tolist() == [False] * each
    )


def test_constant_light_gives_noise_only_at_its_rate() -> None:
    light = np.full((51, 4, 30, 40), 0.5)
    sensor = Sensor.manufacture(30, 40, np.random.default_rng(0), noise=1e-2)
    events = sensor.watch(light, STEP_US, np.random.default_rng(1)).events()
    expected = 1e-2 * 50 * 4 * 30 * 40
    assert abs(len(events) - expected) < 5 * expected**0.5
    assert abs(events.p.mean() - 0.5) < 0.06 and events.x.max() == 39 and events.y.max() == 29
    assert events.t.min() < 2 * STEP_US and events.t.max() >= 198 * STEP_US


@pytest.mark.parametrize("order", [None, [1, 2, 0]])
@pytest.mark.parametrize("spans", [1, 3, 6, 36])
def test_frames_are_those_of_the_events(order: list[int] | None, spans: int) -> None:
    light = moving_light(0, scenes=3)
    recording = Sensor.manufacture(4, 5, np.random.default_rng(0), noise=0.05).watch(
        light, STEP_US, np.random.default_rng(1)
    )
    places = None if order is None else np.array(order)
    frames = recording.frames(spans, places)
    assert frames.dtype == np.float32 and frames.sum() == len(recording.events())
    assert np.array_equal(frames, counted(recording.events(places), spans, 36 * STEP_US))


def test_order_moves_whole_scenes() -> None:
    recording = Sensor.manufacture(4, 5, np.random.default_rng(0)).watch(
        moving_light(3, scenes=3), STEP_US, np.random.default_rng(1)
    )
    usual = recording.frames(3)
    assert np.array_equal(recording.frames(3, np.array([2, 0, 1])), usual[[2, 0, 1]])


def test_pixels_differ_by_the_stated_spread() -> None:
    thresholds = Sensor.manufacture(100, 100, np.random.default_rng(0)).thresholds
    assert abs(thresholds.mean() - 0.2) < 0.002 and abs(thresholds.std() - 0.03) < 0.002
    assert thresholds.min() >= LEAST_THRESHOLD


@pytest.mark.parametrize(
    ("shape", "step_us"),
    [((3, 1, 4, 4), 10), ((3, 4, 5), 10), ((1, 1, 4, 5), 10), ((3, 1, 4, 5), 0)],
)
def test_light_of_another_shape_is_refused(shape: tuple[int, ...], step_us: int) -> None:
    sensor = Sensor.manufacture(4, 5, np.random.default_rng(0))
    with pytest.raises(InputError, match=r"expected light \[S \+ 1, G, 4, 5\]"):
        sensor.watch(np.zeros(shape), step_us, np.random.default_rng(0))


def test_spans_that_cut_a_sub_step_are_refused() -> None:
    recording = Sensor.manufacture(4, 5, np.random.default_rng(0)).watch(
        moving_light(0), STEP_US, np.random.default_rng(0)
    )
    with pytest.raises(InputError, match="must divide the 24 sub-steps, found 5"):
        recording.frames(5)


def test_no_light_no_noise_no_events() -> None:
    recording = Sensor(np.full((4, 5), 0.2), noise=0.0).watch(
        np.zeros((3, 1, 4, 5)), 10, np.random.default_rng(0)
    )
    assert len(recording.events()) == 0 and not recording.frames(2).any()
