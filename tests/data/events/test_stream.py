"""Frames of a stream: the same as those of the whole recording, however it is cut into chunks."""

import itertools

import numpy as np
import pytest

from spikedriven.data.events.events import Events
from spikedriven.data.events.framing import count, frame_borders
from spikedriven.data.events.stream import LONGEST_PAUSE, Frame, frames_by_number, frames_by_time
from spikedriven.errors import DataError, InputError


def recording(events: int = 997, seed: int = 0, longest: int = 50) -> Events:
    rng = np.random.default_rng(seed)
    t = 10_000 + np.cumsum(rng.integers(0, longest, events))
    x, y = (rng.integers(0, side, events).astype(np.int16) for side in (6, 5))
    return Events(t, x, y, rng.random(events) < 0.5, 5, 6)


def chunks(events: Events, size: int) -> list[Events]:
    empty = events[:0]
    return [empty, *(events[first : first + size] for first in range(0, len(events), size)), empty]


def counts(frames: list[Frame]) -> np.ndarray:
    return np.stack([frame.counts for frame in frames])


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
@pytest.mark.parametrize("step_us", [13, 1000, 10**6])
def test_frames_by_time_are_those_of_the_whole_recording(size: int, step_us: int) -> None:
    events = recording()
    frames = list(frames_by_time(chunks(events, size), step_us))
    assert len(frames) == (events.t[-1] - events.t[0]) // step_us + 1
    borders = frame_borders(events.t, len(frames), "time", step_us)
    assert np.array_equal(counts(frames), count(events, borders))
    assert [frame.events for frame in frames] == np.diff(borders).tolist()
    assert [frame.end_us for frame in frames] == [
        events.t[0] + (k + 1) * step_us for k in range(len(frames))
    ]


@pytest.mark.parametrize("steps", [1, 4, 30, 60])
@pytest.mark.parametrize("size", [3, 5000])
def test_a_number_of_steps_of_fixed_duration(steps: int, size: int) -> None:
    events = recording()
    frames = list(frames_by_time(chunks(events, size), 800, steps=steps))
    borders = frame_borders(events.t, steps, "time", 800)
    assert len(frames) == steps and np.array_equal(counts(frames), count(events, borders))


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_equal_time_gives_the_last_step_the_rest(steps: int) -> None:
    events = recording()
    span = int(events.t[-1] - events.t[0]) // steps
    frames = list(frames_by_time(chunks(events, 50), span, steps=steps, keep_rest=True))
    assert np.array_equal(counts(frames), count(events, frame_borders(events.t, steps, "time")))
    assert sum(frame.events for frame in frames) == len(events)


@pytest.mark.parametrize("size", [1, 7, 5000])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_frames_by_number_are_those_of_the_whole_recording(size: int, steps: int) -> None:
    events = recording()
    borders = frame_borders(events.t, steps)
    frames = list(frames_by_number(chunks(events, size), np.diff(borders).tolist()))
    assert np.array_equal(counts(frames), count(events, borders))
    assert [frame.end_us for frame in frames] == events.t[borders[1:] - 1].tolist()


def test_a_last_group_that_is_not_full_is_left_over() -> None:
    frames = list(frames_by_number(chunks(recording(997), 64), itertools.repeat(100)))
    assert [frame.events for frame in frames] == [100] * 9


def test_the_first_step_begins_where_it_is_told() -> None:
    events = recording()
    early = list(frames_by_time(chunks(events, 64), 1000, start_us=8_500))
    assert (
        early[0].events == 0
        and early[0].end_us == 9_500
        and sum(frame.events for frame in early) == len(events)
    )
    late = list(frames_by_time(chunks(events, 64), 1000, start_us=15_000))
    assert sum(frame.events for frame in late) == len(events.between(15_000, 1 << 60)) < len(events)
    assert np.array_equal(
        late[0].counts, count(events.between(15_000, 16_000), np.array([0, late[0].events]))[0]
    )


def test_a_stream_is_read_only_as_far_as_it_is_needed() -> None:
    def endless() -> itertools.chain:
        return itertools.chain(chunks(recording(), 100), (pytest.fail("read on") for _ in range(1)))

    assert len(list(frames_by_time(endless(), 1000, steps=3))) == 3
    assert len(list(frames_by_number(endless(), [10, 20]))) == 2


def test_nothing_gives_nothing() -> None:
    assert list(frames_by_time([recording()[:0]], 10)) == list(frames_by_number([], [5])) == []


def test_a_pause_that_is_none_is_refused() -> None:
    events = recording()
    t = np.concatenate([events.t[:500], events.t[500:] + LONGEST_PAUSE * 100 + 10_000])
    broken = Events(t, events.x, events.y, events.p, events.height, events.width)
    with pytest.raises(
        DataError, match="no event for 100100 steps of 100 microseconds, up to the time 10032838"
    ):
        list(frames_by_time(chunks(broken, 100), 100))
    assert len(list(frames_by_time(chunks(broken, 100), 200))) > LONGEST_PAUSE / 2


def test_a_sensor_that_changes_is_refused() -> None:
    one = recording()
    with pytest.raises(InputError, match="changed from 5 x 6 to 8 x 6"):
        list(frames_by_number([one[:10], Events(one.t, one.x, one.y, one.p, 8, 6)], [500]))


@pytest.mark.parametrize("size", [0, -5])
def test_steps_of_no_size_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="expected at least 1"):
        list(frames_by_time([recording()], size))
    with pytest.raises(InputError, match="expected at least 1"):
        list(frames_by_number([recording()], [size]))
