"""Events refuse what is not a sorted list of events on the sensor, and are sliced by number and
by time.
"""

import numpy as np
import pytest

from spikedriven.data.events import Events
from spikedriven.data.events.events import empty_events, join
from spikedriven.errors import InputError


def arrays(count: int = 6) -> dict[str, np.ndarray]:
    return {
        "t": np.arange(count, dtype=np.int64) * 10,
        "x": np.arange(count, dtype=np.int16),
        "y": np.full(count, 3, np.int16),
        "p": np.arange(count) % 2 == 0,
    }


def test_slices_by_number_and_by_time():
    events = Events(**arrays(), height=4, width=6)
    assert len(events) == 6
    assert events[2:4].x.tolist() == [2, 3]
    assert events[-1:].t.tolist() == [50]
    assert events.between(10, 30).t.tolist() == [10, 20], "start counts, stop does not"
    assert events.between(11, 20).x.tolist() == []
    assert join([events[:2], events[2:]]).equals(events)
    assert not events[:5].equals(events[1:])
    assert len(empty_events(4, 6)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": np.array([0, 2, 1, 3, 4, 5])}, "goes back at event 2, from 2 to 1"),
        ({"t": np.arange(6.0)}, r"t: expected int64 \[N\], found float64 \[6\]"),
        ({"x": np.arange(1, 7, dtype=np.int16)}, "x: expected 0 to 5, found 1 to 6"),
        ({"y": np.full(6, -1, np.int16)}, "y: expected 0 to 3, found -1 to -1"),
        ({"p": np.zeros(5, bool)}, r"p: expected bool \[N\], found bool \[5\]"),
        ({"p": [True] * 6}, "found list"),
        ({"height": 0}, "6 x 0"),
    ],
)
def test_what_is_no_list_of_events_is_refused(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        Events(**({**arrays(), "height": 4, "width": 6} | change))


def test_steps_are_refused():
    with pytest.raises(InputError, match="first:last"):
        Events(**arrays(), height=4, width=6)[::2]
