"""Events to frames, against counts done by hand and against SpikingJelly's rules written out."""

import numpy as np
import pytest

from spikedriven.data.events import Events
from spikedriven.data.events.framing import count, frame_borders
from spikedriven.errors import InputError


def events_at(times: list[int], x: list[int], y: list[int], p: list[int]) -> Events:
    pixels = {"x": np.array(x, np.int16), "y": np.array(y, np.int16)}
    return Events(t=np.array(times, np.int64), p=np.array(p, bool), **pixels, height=3, width=4)


def test_counts_per_pixel_and_polarity():
    events = events_at([0, 1, 2, 3], [3, 3, 3, 0], [2, 2, 2, 1], [0, 0, 1, 1])
    frames = count(events, np.array([0, 3, 4]))
    assert frames.shape == (2, 2, 3, 4) and frames.dtype == np.float32
    assert (frames[0, 0, 2, 3], frames[0, 1, 2, 3], frames[1, 1, 1, 0]) == (2, 1, 1)
    assert frames.sum() == 4
    binary = count(events, np.array([0, 3, 4]), binary=True)
    assert binary[0, 0, 2, 3] == 1 and binary.sum() == 3


def test_only_events_between_the_borders_count():
    events = events_at([0, 1, 2, 3], [0, 1, 2, 3], [0] * 4, [1] * 4)
    assert count(events, np.array([1, 1, 3])).sum((1, 2)).tolist() == [[0, 0, 0, 0], [0, 1, 1, 0]]


@pytest.mark.parametrize(
    ("length", "steps", "expected"),
    [(10, 3, [0, 3, 6, 10]), (9, 3, [0, 3, 6, 9]), (2, 3, [0, 0, 0, 2]), (5, 1, [0, 5])],
)
def test_by_number_the_last_step_takes_the_rest(length: int, steps: int, expected: list[int]):
    assert frame_borders(np.arange(length), steps, "number").tolist() == expected


def test_by_time_in_equal_spans_from_the_first_event():
    t = np.array([100, 101, 109, 110, 119, 120, 129, 131])  # 31 // 3 = 10 microseconds a step
    assert frame_borders(t, 3, "time").tolist() == [0, 3, 5, 8]
    assert frame_borders(np.array([7, 7]), 2, "time").tolist() == [0, 0, 2]


def test_by_time_with_a_given_duration_the_rest_is_left_out():
    t = np.array([100, 104, 105, 109, 115])
    assert frame_borders(t, 2, "time", 5).tolist() == [0, 2, 4]
    assert frame_borders(t, 5, "time", 5).tolist() == [0, 2, 4, 4, 5, 5], (
        "steps without events stay empty"
    )


def test_no_events_make_no_frames():
    with pytest.raises(InputError, match="no events"):
        frame_borders(np.zeros(0, np.int64), 2)
