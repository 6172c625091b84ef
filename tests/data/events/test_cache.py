"""The frame cache: what it gives back, and when it does not."""

import logging
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikedriven.data.events.cache import FrameCache, file_stamp
from spikedriven.errors import DataError

SETTINGS = {"time_steps": 4}


def tracked_peak(call: Callable[[], object]) -> int:
    """Bytes that Python and NumPy had at most while it ran."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    path.write_bytes(b"abc")
    return path


@pytest.mark.parametrize("largest", [0, 1, 255, 256, 65536])
def test_frames_come_back_whatever_they_count(largest: int, source: Path, tmp_path: Path):
    frames = np.zeros((2, 2, 3, 3), np.float32)
    frames[1, 0, 2, 1] = largest
    cache = FrameCache((tmp_path / "cache",), SETTINGS)
    assert cache.load(source) is None
    cache.store(source, file_stamp(source), frames)
    found = cache.load(source)
    assert found is not None and found.dtype == np.float32 and np.array_equal(found, frames)
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".npz"]


def test_other_settings_parts_and_sources_are_other_entries(source: Path, tmp_path: Path):
    cache = FrameCache((tmp_path / "cache",), SETTINGS)
    cache.store(source, file_stamp(source), np.ones((1, 2, 3, 3), np.float32), "0-5")
    assert cache.load(source) is None
    assert FrameCache((tmp_path / "cache",), {"time_steps": 5}).load(source, "0-5") is None
    other = source.with_name("other")
    other.write_bytes(b"abc")
    assert cache.load(other, "0-5") is None
    assert cache.load(source, "0-5") is not None


def test_a_changed_source_makes_its_entry_void_and_replaces_it(source: Path, tmp_path: Path):
    cache = FrameCache((tmp_path / "cache",), SETTINGS)

    def replace() -> None:
        """By a file of the same size and time."""
        other, state = source.with_name("other"), source.stat()
        other.write_bytes(b"x" * state.st_size)
        os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
        other.replace(source)

    for change in (
        lambda: source.write_bytes(b"abcd"),
        lambda: os.utime(source, ns=(1, 1)),
        replace,
    ):
        cache.store(source, file_stamp(source), np.ones((1, 2, 3, 3), np.float32))
        change()
        assert cache.load(source) is None
    stamp = file_stamp(source)
    source.write_bytes(b"changed while it was read")
    cache.store(source, stamp, np.ones((1, 2, 3, 3), np.float32))
    assert cache.load(source) is None
    cache.store(source, file_stamp(source), np.zeros((1, 2, 3, 3), np.float32))
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1


def test_a_source_that_is_gone_is_a_data_error(source: Path, tmp_path: Path):
    cache = FrameCache((tmp_path / "cache",), SETTINGS)
    cache.store(source, file_stamp(source), np.ones((1, 2, 3, 3), np.float32))
    source.unlink()
    with pytest.raises(DataError, match="recording cannot be read: No such file"):
        cache.load(source)


def test_no_bit_of_an_entry_ends_in_a_raw_error(source: Path, tmp_path: Path):
    frames = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3)
    cache = FrameCache((tmp_path / "cache",), SETTINGS)
    cache.store(source, file_stamp(source), frames)
    (entry,) = (tmp_path / "cache").rglob("*.npz")
    content = entry.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        entry.write_bytes(damaged)
        found = cache.load(source)
        assert found is None or np.array_equal(found, frames)


def test_an_entry_that_would_unpack_to_gigabytes_is_not_unpacked(source: Path, tmp_path: Path):
    cache = FrameCache((tmp_path / "cache",), SETTINGS)
    cache.store(source, file_stamp(source), np.zeros((1, 2, 3, 3), np.float32))
    (entry,) = (tmp_path / "cache").rglob("*.npz")
    header = np.lib.format.header_data_from_array_1_0(np.zeros(0, np.uint8)) | {"shape": (1 << 36,)}
    with zipfile.ZipFile(entry, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("stamp", "frames"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
    assert cache.load(source) is None
    assert tracked_peak(lambda: cache.load(source)) < 10_000_000


def test_where_the_first_place_cannot_be_written_the_next_is_taken(source: Path, tmp_path: Path):
    frames, closed = np.ones((1, 2, 3, 3), np.float32), tmp_path / "no folder"
    closed.write_bytes(b"")
    places = (closed, tmp_path / "cache")
    FrameCache(places, SETTINGS).store(source, file_stamp(source), frames)
    assert np.array_equal(FrameCache(places, SETTINGS).load(source), frames)
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1


def test_where_no_place_can_be_written_that_is_told_once(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    closed = tmp_path / "no folder"
    closed.write_bytes(b"")
    cache = FrameCache((closed / "a", closed / "b"), SETTINGS)
    for _ in range(2):
        cache.store(source, file_stamp(source), np.ones((1, 2, 3, 3), np.float32))
        assert cache.load(source) is None
    (message,) = caplog.messages
    assert "Every epoch decodes the recordings again" in message and "--data.cache false" in message


def test_a_damaged_entry_is_told_and_made_again(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    cache = FrameCache((tmp_path / "cache",), SETTINGS)
    frames = np.random.default_rng(0).integers(0, 9, (4, 2, 16, 16)).astype(np.float32)
    cache.store(source, file_stamp(source), frames)
    (entry,) = (tmp_path / "cache").rglob("*.npz")
    whole = entry.read_bytes()
    damaged = [whole[:length] for length in (0, 10, len(whole) // 2, len(whole) - 1)]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
        for at in range(len(whole) // 3, len(whole), 97)
    ]
    for content in damaged:
        entry.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = cache.load(source)
        assert np.array_equal(found, frames) if found is not None else str(entry) in caplog.text
    entry.write_bytes(whole[: len(whole) // 2])
    assert cache.load(source) is None
    cache.store(source, file_stamp(source), frames)
    assert np.array_equal(cache.load(source), frames)


def test_a_cache_that_cannot_be_written_says_what_to_do(source: Path, tmp_path: Path):
    (tmp_path / "cache").write_bytes(b"a file, not a folder")
    with pytest.raises(DataError, match=r"--data\.cache-dir"):
        FrameCache((tmp_path / "cache",), SETTINGS).store(
            source, file_stamp(source), np.ones((1, 2, 3, 3), np.float32)
        )
