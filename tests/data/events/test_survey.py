"""What `survey` says of recordings that were made to have it."""

from pathlib import Path

import numpy as np
import pytest

from spikedriven.data.events.raw import RawPart, Source
from spikedriven.data.events.survey import BINS, survey
from spikedriven.errors import DataError

SIDE = 20


def recording(
    t: list[int] | np.ndarray,
    x: object = None,
    y: object = None,
    p: object = None,
    chunk: int = 7,
    told: bool = True,
) -> Source:
    """Events at pixels of their own, unless x and y say which."""
    t = np.asarray(t, np.int64)
    count = np.arange(len(t))
    x = np.asarray(count % SIDE if x is None else x, np.int64)
    y = np.asarray(count // SIDE % SIDE if y is None else y, np.int64)
    p = np.asarray(count % 3 == 0 if p is None else p, np.bool_)
    whole = RawPart(t, x, y, p, count)
    parts = [whole.where(np.arange(k, min(k + chunk, len(t)))) for k in range(0, len(t), chunk)]
    return Source(Path("a"), "test", parts, SIDE if told else None, SIDE if told else None, "event")


def kinds(source: Source) -> dict[str, int]:
    return {problem.kind: problem.count for problem in survey(source).problems}


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_figures_of_a_recording_without_faults(chunk: int):
    t = np.arange(300) * 1000 + 50
    found = survey(recording(t, chunk=chunk))
    assert found.problems == [] and not found.refused
    assert (found.events, found.on, found.start_us, found.stop_us) == (300, 100, 50, 299_050)
    assert found.duration_us == 299_000 and found.per_second == pytest.approx(300 / 0.299)
    assert found.counts.shape == (2, SIDE, SIDE) and found.counts.sum((1, 2)).tolist() == [200, 100]
    assert found.counts[1, 0, 0] == 1 and found.counts[0, 0, 1] == 1
    assert found.rate.sum() == 300 and len(found.rate) <= BINS
    edges = 50 + found.bin_us * np.arange(len(found.rate) + 1)
    assert found.rate.tolist() == np.histogram(t, edges)[0].tolist()


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_each_fault_is_counted(chunk: int):
    t = np.arange(300) * 1000
    swapped = t.copy()
    swapped[[100, 200]] -= 3000
    assert kinds(recording(swapped, chunk=chunk)) == {"unsorted": 2}
    paused = t + np.where(np.arange(300) >= 150, 4_000_000, 0)
    assert kinds(recording(paused, chunk=chunk)) == {"jump": 1}
    x = np.arange(300) % SIDE
    x[[5, 6, 70]] = (SIDE, -1, 5000)
    assert kinds(recording(t, x=x, chunk=chunk)) == {"outside": 3}
    assert kinds(recording(t, p=np.ones(300), chunk=chunk)) == {"polarity": 300}
    assert (
        kinds(
            recording(np.repeat(t, 3), np.repeat(x % SIDE, 3), np.zeros(900), np.zeros(900), chunk)
        )["duplicate"]
        == 600
    )
    hot = np.where(np.arange(3000) % 10 == 0, 7, np.arange(3000) % (SIDE * SIDE))
    assert (
        kinds(recording(np.arange(3000) * 1000, x=hot % SIDE, y=hot // SIDE, chunk=chunk * 10))[
            "hot"
        ]
        >= 300
    )


def test_where_a_fault_is_stands_in_its_text():
    swapped = np.arange(300) * 1000
    swapped[100] -= 3000
    (problem,) = survey(recording(swapped)).problems
    assert (
        problem.text
        == "1 event(s) earlier than one before them, by up to 2 ms, the first at event 100"
    )
    assert not problem.refused


def test_times_that_readers_refuse_say_so():
    """Half of the recording is ten minutes earlier."""
    t = np.arange(300) * 1000 + np.where(np.arange(300) >= 150, 0, 600_000_000)
    found = survey(recording(t))
    assert found.refused and "readers stop there: a, event 15" in found.problems[0].text


@pytest.mark.parametrize(
    ("scale", "shown"), [(0.001, "lasts 299 microseconds"), (10**9, "days: are the times in micro")]
)
def test_times_in_another_unit_are_suspicious(scale: float, shown: str):
    found = survey(recording((np.arange(300) * 1000 * scale).astype(np.int64)))
    assert any(shown in problem.text for problem in found.problems)


def test_times_at_the_ends_of_64_bits_are_refused_and_break_nothing():
    found = survey(
        recording([-(1 << 62), 5, 1 << 62], x=[0, 1, 1 << 40], y=[0, 0, -3], p=[0, 1, 1])
    )
    assert found.refused and found.duration_us == 1 << 54 and found.rate.sum() == 3
    assert {"outside", "times", "jump", "duration"} <= {problem.kind for problem in found.problems}


def test_a_sensor_that_nobody_told_is_as_large_as_its_events_need():
    found = survey(
        recording([1000, 2000, 3000], x=[3, 11, 5], y=[0, 2, 8], p=[1, 0, 1], chunk=1, told=False)
    )
    assert (found.height, found.width, found.sensor_told) == (9, 12, False)
    assert found.counts.sum() == 3 and found.counts[1, 8, 5] == 1


def test_damage_ends_the_survey_and_is_listed():
    def parts():
        yield from recording(np.arange(10) * 1000).parts
        raise DataError("a, byte 8: the file is cut off")

    found = survey(Source(Path("a"), "test", parts(), SIDE, SIDE))
    assert found.events == 10 and found.refused
    assert found.problems[0].text == "cannot be read further: a, byte 8: the file is cut off"


def test_nothing_is_said_to_be_nothing():
    found = survey(recording([]))
    assert [problem.kind for problem in found.problems] == ["empty"] and found.refused
    assert found.events == found.duration_us == 0 and found.per_second == 0


def test_bins_double_until_they_reach():
    t = np.concatenate([np.arange(100) * 10, [10_000_000, 10_000_001]])
    found = survey(recording(t, chunk=3))
    edges = found.bin_us * np.arange(len(found.rate) + 1)
    assert (
        BINS // 2 < len(found.rate) <= BINS
        and found.rate.tolist() == np.histogram(t, edges)[0].tolist()
    )
