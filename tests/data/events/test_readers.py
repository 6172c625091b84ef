"""Readers give what was written byte by byte, in parts as well as whole, and name the place
where a file is damaged.
"""

import logging
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikedriven.data.events import Events, binary, read_events, save_events, stream_events
from spikedriven.data.events.events import join
from spikedriven.errors import DataError, InputError
from tests.data.events.written import (
    AEDAT2_HEADER,
    AEDAT31_HEADER,
    aedat2_event,
    aedat31_event,
    packet,
    write_aedat2,
    write_aedat31,
)


def listed(events: Events) -> list[tuple[int, int, int, bool]]:
    return list(
        zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True)
    )


def random_events(count: int = 100, side: int = 128, seed: int = 0) -> Events:
    draws = np.random.default_rng(seed)
    x, y = draws.integers(0, side, (2, count), dtype=np.int16)
    t = np.sort(draws.integers(0, 1 << 20, count))
    return Events(t=t, x=x, y=y, p=draws.random(count) < 0.5, height=side, width=side)


def test_aedat2_is_turned_as_the_users_of_cifar10_dvs_do(tmp_path: Path):
    path = write_aedat2(tmp_path / "a.aedat", [(5, 0, 1, 1), (6, 127, 2, 0), (6, 3, 127, 0)])
    assert listed(read_events(path)) == [(5, 126, 127, False), (6, 125, 0, True), (6, 0, 124, True)]


def test_aedat2_leaves_triggers_out_and_reads_signed_times(tmp_path: Path):
    path = tmp_path / "a.aedat"
    path.write_bytes(
        AEDAT2_HEADER + aedat2_event(-7, 1, 1, 1) + aedat2_event(0, 1, 1, 1, trigger=True)
    )
    assert listed(read_events(path)) == [(-7, 126, 126, False)]


def test_headers_as_long_as_jaer_writes_them(tmp_path: Path):
    """jAER writes its settings into the header, one line each; the last line says that it is the
    last."""
    settings = b"".join(
        b'# <entry key="%d" value="%s"/>\r\n' % (n, b"v" * 200) for n in range(3000)
    )
    assert len(settings) > 10 * (1 << 16)
    event, path = aedat2_event(5, 3, 4, 1), tmp_path / "a.aedat"
    path.write_bytes(AEDAT2_HEADER.replace(b"# This", settings + b"# This") + event)
    assert listed(read_events(path)) == [(5, 123, 124, False)]
    path.write_bytes(AEDAT31_HEADER.replace(b"#Format", settings + b"#Format") + packet([GOOD31]))
    assert len(read_events(path)) == 1


def test_what_follows_the_last_header_line_is_data(tmp_path: Path):
    """Address 0x23232323 begins with #: damage, named as such, and not one more line of text."""
    path = tmp_path / "a.aedat"
    path.write_bytes(AEDAT2_HEADER + b"####" + b"\x00" * 4 + aedat2_event(5, 3, 4, 1))
    with pytest.raises(DataError, match=f"byte {AT2}: .*found 0x23232323"):
        read_events(path)


def test_a_header_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(binary, "LONGEST_HEADER", 4000)
    (tmp_path / "a").write_bytes(b"#!AER-DAT2.0\r\n" + b"# line\r\n" * 1000)
    with pytest.raises(DataError, match="header lines of at most 4000 bytes in all"):
        read_events(tmp_path / "a")


def test_aedat31_fields_overflows_other_packets_and_invalid_events(tmp_path: Path):
    path = tmp_path / "a.aedat"
    special = packet([b"\x00" * 8], kind=0)
    mixed = packet(
        [
            aedat31_event(7, 3, 127, 1),
            aedat31_event(8, 99, 9, 1, valid=0),
            aedat31_event(9, 0, 5, 0),
        ]
    )
    roomy = packet([aedat31_event(1, 2, 3, 1), b"\xff" * 8], overflow=2, number=1)
    path.write_bytes(AEDAT31_HEADER + special + mixed + roomy)
    expected = [(7, 3, 127, True), (9, 0, 5, False), ((2 << 31) + 1, 2, 3, True)]
    assert listed(read_events(path)) == expected


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"#Source 1: DAVIS346", (260, 346)),
        (b"#Source 0: DAVIS240C", (180, 240)),
        (b"#Remark: none", (128, 128)),
    ],
)
def test_aedat31_of_the_camera_that_the_header_names(
    line: bytes, size: tuple[int, int], tmp_path: Path
):
    path = tmp_path / "a.aedat"
    header = AEDAT31_HEADER.replace(b"#Source 1: DVS128", line)
    path.write_bytes(header + packet([aedat31_event(1, size[1] - 1, size[0] - 1, 1)]))
    events = read_events(path)
    assert (events.height, events.width) == size and listed(events) == [
        (1, size[1] - 1, size[0] - 1, True)
    ]
    path.write_bytes(
        AEDAT31_HEADER.replace(b"DVS128", b"CAMERA9000") + packet([aedat31_event(1, 5, 5, 1)])
    )
    with pytest.raises(InputError, match="does not say how large the sensor is"):
        read_events(path)


def test_npz_of_any_whole_number_types(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(
        path,
        t=np.array([1, 2], ">u4"),
        x=np.array([0, 9], np.uint8),
        y=np.array([1, 4]),
        p=np.array([1, 0]),
    )
    assert listed(read_events(path, height=5, width=10)) == [(1, 0, 1, True), (2, 9, 4, False)]
    with pytest.raises(InputError, match="give height and width"):
        read_events(path)


def test_npz_written_by_us_comes_back(tmp_path: Path):
    events = random_events(side=40)
    save_events(tmp_path / "a.npz", events)
    assert read_events(tmp_path / "a.npz").equals(events)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def files(folder: Path) -> list[Path]:
    events = random_events(23)
    raw = [(t, x, y, int(p)) for t, x, y, p in listed(events)]
    save_events(folder / "c.npz", events)
    return [
        write_aedat2(folder / "a.aedat", raw),
        write_aedat31(folder / "b.aedat", raw),
        folder / "c.npz",
    ]


@pytest.mark.parametrize("chunk", [1, 4, 5, 23, 100])
def test_parts_are_the_whole(chunk: int, tmp_path: Path):
    for path in files(tmp_path):
        parts = list(stream_events(path, chunk))
        assert max(map(len, parts)) <= chunk
        assert join(parts).equals(read_events(path)), path


def test_every_truncation_is_an_error_or_a_shorter_recording(tmp_path: Path):
    """Cut between header lines or events of AEDAT 2.0, or between packets, a file is a shorter
    recording.
    """
    for path in files(tmp_path):
        whole, full = path.read_bytes(), read_events(path)
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            try:
                shorter = read_events(path)
            except DataError as error:
                assert str(path) in str(error)
                continue
            assert path.suffix == ".aedat" and shorter.equals(full[: len(shorter)])
            header = len(AEDAT2_HEADER) if path.name == "a.aedat" else len(AEDAT31_HEADER)
            stride = {"a.aedat": 8, "b.aedat": 28 + 5 * 8}[path.name]
            in_header = (
                path.name == "a.aedat" and length < header and whole[:length].endswith(b"\n")
            )
            assert in_header or (length - header) % stride == 0, (path, length)


def test_no_flipped_byte_leads_to_anything_but_events_or_a_data_error(tmp_path: Path):
    draws = np.random.default_rng(1)
    for path in files(tmp_path):
        whole = path.read_bytes()
        for place in draws.integers(0, len(whole), 150):
            broken = bytearray(whole)
            broken[place] ^= int(draws.integers(1, 256))
            path.write_bytes(broken)
            try:
                read_events(path)
            except (DataError, InputError) as error:
                assert str(path) in str(error)


AT2, AT31 = len(AEDAT2_HEADER), len(AEDAT31_HEADER)
GOOD31 = aedat31_event(0, 0, 0, 0)
LONG = b"#!AER-DAT2.0\r\n#" + b"a" * (1 << 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0: expected an AEDAT 2.0, AEDAT 3.1, .* or text file, found b''"),
        (b"#!AER-DAT1.0\r\n", "is AEDAT 1.0, which is not read: jAER writes it as AEDAT 2.0"),
        (
            AEDAT2_HEADER + b"\x00" * 13,
            f"byte {AT2 + 8}: expected events of 8 bytes up to the end, found 5 bytes",
        ),
        (
            AEDAT2_HEADER + b"\x00" * 8 + b"\x01" + b"\x00" * 7,
            f"byte {AT2 + 8}: .*below 0x10000, found 0x1000000",
        ),
        (
            AEDAT2_HEADER + aedat2_event(2_000_000, 0, 0, 0) + aedat2_event(0, 0, 0, 0),
            "the time 0 is more",
        ),
        (
            LONG,
            "byte 14: expected a header line of at most 1048576 bytes, found one that does not end",
        ),
        (AEDAT31_HEADER[:-2], "a header line"),
        (AEDAT31_HEADER.replace(b"#!END-HEADER\r\n", b""), "expected #!END-HEADER"),
        (
            AEDAT31_HEADER + b"\x00" * 27,
            f"byte {AT31}: expected 28 bytes of a packet's header, found 27",
        ),
        (
            AEDAT31_HEADER + packet([GOOD31], capacity=9),
            f"byte {AT31}: expected 9 events of 8 bytes, found 8 bytes",
        ),
        (
            AEDAT31_HEADER + packet([GOOD31], number=2),
            "expected at most 1 events, the packet's capacity, found 2",
        ),
        (AEDAT31_HEADER + packet([GOOD31], size=4), "expected polarity events of 8 bytes"),
        (AEDAT31_HEADER + packet([GOOD31], overflow=1 << 31), "overflows up to 4194304"),
        (AEDAT31_HEADER + packet([], capacity=1 << 31, number=0), "cut off"),
        (
            AEDAT31_HEADER + packet([GOOD31, aedat31_event(1, 128, 0, 0)]),
            f"byte {AT31 + 28 + 8}: expected x from 0 to 127, found 128",
        ),
        (b"PK\x03\x04 and no archive", "cannot be read as an .npz archive"),
    ],
)
def test_damage_is_named_with_its_place(content: bytes, message: str, tmp_path: Path):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_events(tmp_path / "bad")
    assert str(tmp_path / "bad") in str(caught.value)


GOOD = {"t": [0, 1], "x": [0, 1], "y": [0, 1], "p": [0, 1], "height": 4, "width": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"t": np.array([0, 1], object)},
            "array t: expected whole numbers or booleans, one dimension, found object",
        ),
        ({"x": np.array([0.0, 1.0])}, "array x: .*found float64"),
        ({"x": [0, 4]}, "event 1: expected x from 0 to 3, found 4"),
        ({"y": [-1, 0]}, "event 0: expected y from 0 to 3, found -1"),
        ({"p": [0, 2]}, "array p: expected values from 0 to 1"),
        ({"p": [0]}, r"expected arrays of one length, found \{'t': 2, 'x': 2, 'y': 2, 'p': 1\}"),
        ({"t": [3_000_000, 1]}, "event 1: the time 1 is more than 10000 microseconds earlier"),
        ({"t": np.array([0, 1 << 63], np.uint64)}, "array t: expected values"),
        ({"height": 1 << 20}, "array height: expected values from 0 to 4096"),
        ({"height": 0}, "at least one pixel"),
        ({"width": [4, 4]}, "array width: expected one number, found 2"),
    ],
)
def test_arrays_that_are_no_events_are_refused(change: dict, message: str, tmp_path: Path):
    np.savez(tmp_path / "a.npz", **(GOOD | change))
    with pytest.raises(DataError, match=message):
        read_events(tmp_path / "a.npz")


def npz_with_header(path: Path, header: str, data: bytes) -> Path:
    """An archive whose t.npy has this header, whatever its data are."""
    text = header.encode().ljust(64) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "txyp":
            archive.writestr(
                f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data
            )
    return path


@pytest.mark.parametrize(
    ("shape", "message"),
    [("(99,)", "99 values, found 16"), ("(3,)", "bytes after"), ("(-1,)", "found int64")],
)
def test_headers_that_lie_are_refused(shape: str, message: str, tmp_path: Path):
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}"
    path = npz_with_header(tmp_path / "a.npz", header, b"\x00" * 128)
    with pytest.raises(DataError, match=message):
        read_events(path, height=4, width=4)


def test_memory_does_not_grow_with_the_archive(tmp_path: Path):
    header = "{'descr': '<i8', 'fortran_order': False, 'shape': (4000000,), }"
    path = npz_with_header(tmp_path / "a.npz", header, b"\x00" * 32_000_000)
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    total = sum(map(len, stream_events(path, 10_000, height=4, width=4)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 4_000_000
    assert peak < 8_000_000


@pytest.mark.parametrize(
    "content",
    [AEDAT2_HEADER + aedat2_event(5, 1, 1, 1) * 1_000_000,
     AEDAT31_HEADER + packet([aedat31_event(5, 1, 1, 1)] * 1000) * 1000],
    ids=["aedat 2.0", "aedat 3.1"],
)  # fmt: skip
def test_memory_does_not_grow_with_the_recording(content: bytes, tmp_path: Path):
    path = tmp_path / "a.aedat"
    path.write_bytes(content)
    assert path.stat().st_size > 8_000_000
    tracemalloc.start()
    total = sum(map(len, stream_events(path, 10_000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 1_000_000
    assert peak < 2_000_000


def test_missing_file_and_missing_array_and_bad_chunk(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        read_events(tmp_path / "none")
    np.savez(tmp_path / "a.npz", t=[1], x=[1])
    with pytest.raises(DataError, match=r"expected the arrays t, x, y, p, found t\.npy, x\.npy"):
        read_events(tmp_path / "a.npz")
    with pytest.raises(InputError, match="at least one event"):
        list(stream_events(tmp_path / "a.npz", 0))


def test_small_steps_back_keep_the_order_and_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_aedat2(
        tmp_path / "a.aedat", [(50, 0, 0, 0), (40, 1, 0, 0), (60, 2, 0, 0), (55, 3, 0, 0)]
    )
    with caplog.at_level(logging.WARNING):
        events = join(list(stream_events(path, 1)))
    assert events.t.tolist() == [50, 50, 60, 60]
    assert events.y.tolist() == [127, 126, 125, 124], "file order"
    assert len(caplog.records) == 1 and f"byte {AT2 + 8}" in caplog.text


def test_an_empty_recording_is_empty(tmp_path: Path):
    assert len(read_events(write_aedat2(tmp_path / "a.aedat", []))) == 0
    assert len(read_events(write_aedat31(tmp_path / "b.aedat", []))) == 0
    np.savez(tmp_path / "c.npz", **{name: np.zeros(0, np.int64) for name in "txyp"})
    assert len(read_events(tmp_path / "c.npz", 4, 4)) == 0
