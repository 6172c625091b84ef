"""Times that are wrong: single ones are mended, more are refused, and never do other events
lose their times.
"""

import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikedriven.data import config_for
from spikedriven.data.events import read_events, stream_events
from spikedriven.data.events.clock import Clock
from spikedriven.data.events.events import LARGEST_TIME, Events, join
from spikedriven.data.events.framing import check_ends, to_frames
from spikedriven.errors import DataError, InputError
from tests.data.events.written import AEDAT31_HEADER, aedat31_event, packet, write_aedat2

N = 10_000
TIMES = np.sort(np.random.default_rng(0).integers(0, 1_000_000, N))


def read(t: np.ndarray, chunk: int = N) -> np.ndarray:
    clock, at = Clock(Path("file"), "event"), np.arange(len(t))
    return np.concatenate(
        [clock.forward(t[i : i + chunk], at[i : i + chunk]) for i in range(0, len(t), chunk)]
    )


@pytest.mark.parametrize("place", [0, 1, 5000, N - 20])
@pytest.mark.parametrize("ahead", [20_000, 900_000, 1_100_000, 1 << 40])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_wrong_times_ahead_leave_all_others_as_they_are(place: int, ahead: int, count: int):
    t = TIMES.copy()
    t[place : place + count] = TIMES[place] + ahead
    found, others = read(t), np.delete(np.arange(N), np.s_[place : place + count])
    assert np.array_equal(found[others], TIMES[others]) and (np.diff(found) >= 0).all()


@pytest.mark.parametrize("place", [1, 5000, N - 1])
@pytest.mark.parametrize("time", [0, -(1 << 40)])
def test_a_wrong_time_behind_leaves_all_others_as_they_are(place: int, time: int):
    t = TIMES.copy()
    t[place] = time
    expected = TIMES.copy()
    expected[place] = max(TIMES[place - 1], time)
    assert np.array_equal(read(t), expected)


def test_several_wrong_times_are_mended_each_by_itself():
    wrong = [10, 15, 4000, 9000]
    t = TIMES.copy()
    t[wrong] += 500_000
    found = read(t)
    others = np.delete(np.arange(N), wrong)
    assert np.array_equal(found[others], TIMES[others])


@pytest.mark.parametrize("chunk", [1, 7, 1000, N])
def test_small_disorder_is_held_whatever_the_parts_are(chunk: int):
    t = TIMES + np.where(np.arange(N) % 5 == 0, 100, 0)
    assert np.array_equal(read(t, chunk), np.maximum.accumulate(t))


def test_what_is_done_is_told_once(caplog: pytest.LogCaptureFixture):
    t = TIMES.copy()
    t[[5, 7000]] += 900_000
    with caplog.at_level(logging.WARNING):
        read(t)
    (message,) = caplog.messages
    assert (
        "the event at event 5 is 89" in message
        and "ahead of those behind it and gets their time" in message
    )


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (
            np.random.default_rng(1).permutation(TIMES),
            "are in no order of time. Sort them: order = numpy.argsort",
        ),
        (
            np.random.default_rng(1).permutation(1000),
            "are in no order of time",
        ),  # within the small disorder
        (np.array([30, 10, 20]), "are in no order of time"),
        (np.concatenate([TIMES, TIMES]), "and so are those behind it; is this a second recording"),
        (
            np.concatenate([TIMES[:3000], TIMES[:20], TIMES[3000:]]),
            "event 3000: the time .* and so are those behind",
        ),
        (
            TIMES * np.where(np.arange(N) % 20 == 0, 0, 1),
            "nothing tells which times are wrong; the file is damaged",
        ),
        (np.array([3_000_000, 1]), "event 1: the time 1 is more than 10000 microseconds earlier"),
        (TIMES + LARGEST_TIME, "are the times in nanoseconds"),
        (TIMES - 2 * LARGEST_TIME, "event 0: the time .* is outside of"),
    ],
)
def test_more_is_refused(t: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        read(t)


def test_a_jump_at_the_end_of_a_part_is_refused_not_spread():
    """What was given out cannot be taken back; all behind it would share one time."""
    t = TIMES.copy()
    t[999] += 900_000
    with pytest.raises(DataError, match="and so are those behind it"):
        read(t, 1000)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("time", [1 << 62, -(1 << 62), (1 << 63) - 1, -(1 << 63)])
def test_times_near_the_end_of_64_bits_are_refused_without_overflow(tmp_path: Path, time: int):
    np.savez(
        tmp_path / "a.npz", t=np.array([0, time]), x=[0, 0], y=[0, 0], p=[0, 0], height=4, width=4
    )
    with pytest.raises(DataError):
        read_events(tmp_path / "a.npz")
    pixels = np.zeros(1, np.int16)
    with pytest.raises(InputError, match=r"at most 2\^53"):
        Events(np.array([time]), pixels, pixels, np.zeros(1, bool), 4, 4)


def test_frames_of_equal_time_keep_their_counts(tmp_path: Path):
    t, zero = TIMES.copy(), np.zeros(N, int)
    t[0] = 900_000
    np.savez(tmp_path / "a.npz", t=t, x=zero, y=zero, p=zero, height=4, width=4)
    cfg = config_for("cifar10-dvs", time_steps=10, split_by="time")
    counts = to_frames(read_events(tmp_path / "a.npz"), cfg).sum((1, 2, 3))
    assert counts.sum() == N and counts.min() > 900


@pytest.mark.parametrize(("place", "time"), [(0, -(1 << 40)), (-1, 1 << 40)])
def test_one_time_that_would_put_all_others_into_one_frame_is_named(place: int, time: int):
    t = TIMES.copy()
    t[place] = time
    with pytest.raises(
        DataError, match=r"lie .* microseconds apart from the others, which span 99"
    ):
        check_ends(t)
    check_ends(TIMES)
    if place:
        check_ends(t, last=False)


def test_a_small_archive_of_very_many_events_is_not_read_whole(tmp_path: Path):
    many = np.zeros(6_000_000, np.uint8)
    np.savez_compressed(tmp_path / "a.npz", t=many, x=many, y=many, p=many, height=4, width=4)
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(
        DataError,
        match=r"more than 4,194,304 events in a file of .* bytes; it was not made by a camera",
    ):
        read_events(tmp_path / "a.npz")
    assert sum(map(len, stream_events(tmp_path / "a.npz"))) == len(many)


def test_a_name_that_is_twice_in_an_archive_is_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", t=[0], x=[0], y=[0], p=[0], height=4, width=4)
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(tmp_path / "a.npz", "a") as archive,
        archive.open("t.npy", "w") as member,
    ):
        np.save(member, np.array([7]))
    with pytest.raises(DataError, match=r"'t\.npy' is in it twice"):
        read_events(tmp_path / "a.npz")


def test_a_sample_larger_than_memory_is_refused():
    zero = np.zeros(1, np.int16)
    events = Events(np.zeros(1, np.int64), zero, zero, np.zeros(1, bool), 4096, 4096)
    with pytest.raises(DataError, match=r"16 frames of 4096 x 4096 pixels are 536,870,912 values"):
        to_frames(events, config_for("cifar10-dvs", time_steps=16))


# what is no event of a pixel
# -----------------------------------------------------------------------------------------


def invalid(t: int) -> bytes:
    return aedat31_event(t, 1, 1, 1, valid=0)


def test_a_recording_of_invalid_events_is_no_empty_recording(tmp_path: Path):
    path = tmp_path / "a.aedat"
    path.write_bytes(AEDAT31_HEADER + packet([invalid(5), invalid(9)]))
    with pytest.raises(
        DataError, match="2 of 2 events of its pixels are marked invalid, and 0 are of other kinds"
    ):
        read_events(path)


def test_a_recording_of_other_packets_is_no_empty_recording(tmp_path: Path):
    path = tmp_path / "a.aedat"
    path.write_bytes(AEDAT31_HEADER + packet([invalid(5)] * 3, kind=3))
    with pytest.raises(DataError, match="and 3 are of other kinds"):
        read_events(path)


def test_invalid_events_are_counted_and_move_no_clock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "a.aedat"
    good = [aedat31_event(t, 1, 1, 1) for t in range(30)]
    path.write_bytes(AEDAT31_HEADER + packet([good[0], invalid(900_000), *good[1:]]))
    with caplog.at_level(logging.WARNING):
        assert join(list(stream_events(path))).t.tolist() == list(range(30))
    assert caplog.messages == [
        f"{path}: 1 of 31 events of its pixels are marked invalid and are left out"
    ]


def test_triggers_alone_are_no_recording(tmp_path: Path):
    path = write_aedat2(tmp_path / "a.aedat", [])
    path.write_bytes(path.read_bytes() + (0x8000).to_bytes(4, "big") + (7).to_bytes(4, "big"))
    with pytest.raises(DataError, match="and 1 are of other kinds"):
        read_events(path)
