"""Formats that a library reads: equal to a slow decoder from the format's definition; damage and
absence are named.
"""

import importlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikedriven.data.events import read_events, stream_events
from spikedriven.data.events.events import join
from spikedriven.errors import DataError, InputError
from tests.data.events.formats import test_ecf, words
from tests.data.events.formats.words import Event, listed, unchecked

#: Written by dv-processing 2.0.4: 60 events of a camera of 346 x 260 in three packets, and a stream
#: of triggers.
AEDAT4 = Path(__file__).parent / "files"
T0 = 1_700_000_000_000_000
IN_AEDAT4 = [(T0 + i * i * 37, (i * 97) % 346, (i * 61) % 260, int(i % 3 == 0)) for i in range(60)]
EVENTS = words.random_events(900, 200, 300, 3_000_000)


def aedat4_packets(data: bytes) -> Iterator[Event]:
    """Of an uncompressed file: packets of a stream's number, a size, and a FlatBuffer of its own
    with the file identifier EVTS, in which the first field of the table is a vector of structures
    of 16 bytes.
    """
    assert data.startswith(b"#!AER-DAT4.0\r\n")
    at = 18 + struct.unpack_from("<I", data, 14)[0]
    while at + 8 <= len(data):
        _stream, size = struct.unpack_from("<ii", data, at)
        packet, at = data[at + 12 : at + 8 + size], at + 8 + size
        if packet[4:8] == b"EVTS":
            table = struct.unpack_from("<I", packet)[0]
            fields = table - struct.unpack_from("<i", packet, table)[0]
            field = table + struct.unpack_from("<H", packet, fields + 4)[0]
            vector = field + struct.unpack_from("<I", packet, field)[0]
            for number in range(struct.unpack_from("<I", packet, vector)[0]):
                yield struct.unpack_from("<qhh?", packet, vector + 4 + 16 * number)


@pytest.mark.parametrize("name", ["plain", "zstd"])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_aedat4(name: str, chunk: int):
    pytest.importorskip("aedat")
    parts = list(stream_events(AEDAT4 / f"{name}.aedat4", chunk))
    events = join(parts)
    assert (
        listed(events) == IN_AEDAT4 == list(aedat4_packets((AEDAT4 / "plain.aedat4").read_bytes()))
    )
    assert (events.height, events.width) == (260, 346) and max(map(len, parts)) <= chunk


def test_damaged_aedat4_is_an_error_or_other_events(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """The library, alone, ends the process for some of these."""
    pytest.importorskip("aedat")
    whole, draws, path = (
        (AEDAT4 / "zstd.aedat4").read_bytes(),
        np.random.default_rng(0),
        tmp_path / "a.aedat4",
    )
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        read_or_refused(path)
    for place in draws.integers(14, len(whole), 200):
        broken = bytearray(whole)
        broken[place] ^= int(draws.integers(1, 256))
        path.write_bytes(broken)
        read_or_refused(path)
    path.write_bytes(whole.replace(b"source", b"sour\xffe", 1))
    with pytest.raises(DataError, match="byte 18: expected a header in UTF-8"):
        read_events(path)
    capfd.readouterr()  # what Rust prints of its panics


def read_or_refused(path: Path) -> None:
    try:
        read_events(path)
    except (DataError, InputError) as error:
        assert str(path) in str(error)


#: Written by event_stream 1.6.3, sensor 300 x 200. (Its Encoder is not called here: it changes the
#: byte order of NumPy's bool for the whole process.)
ATIS = "4576656e742053747265616d020000022c01c800160100020005010002000c03000400fffffffffe2607000400"
COLOR = "4576656e742053747265616d020000042c01c8000501000200030405"


def es_file(path: Path, data: bytes) -> Path:
    pytest.importorskip("event_stream")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("chunk", [7, 1 << 16])
def test_es(chunk: int, tmp_path: Path):
    path = es_file(tmp_path / "a.es", words.write_es_dvs(EVENTS, 300, 200))
    events = join(list(stream_events(path, chunk)))
    assert listed(events) == EVENTS == list(words.es_dvs(path.read_bytes()))
    assert (events.height, events.width) == (200, 300)


def test_es_of_an_atis_leaves_the_measures_of_light_out(tmp_path: Path):
    path = es_file(tmp_path / "a.es", bytes.fromhex(ATIS))
    assert listed(read_events(path)) == [(5, 1, 2, 1), (9, 3, 4, 0), (900, 7, 4, 1)]
    assert np.zeros(1, np.bool_).__array_interface__["typestr"] == "|b1", "NumPy is as it was"


def test_es_of_another_kind_or_damaged_is_refused(tmp_path: Path):
    path = es_file(tmp_path / "a.es", bytes.fromhex(COLOR))
    with pytest.raises(DataError, match="expected a stream of dvs or atis events, found color"):
        read_events(path)
    path.write_bytes(words.write_es_dvs([], 300, 200) + b"\x02\xff\xff\xff\xff")
    with pytest.raises(DataError, match="cannot be read as an Event Stream file"):
        read_events(path)


def columns() -> dict[str, np.ndarray]:
    t, x, y, p = np.array(EVENTS).T
    return {
        "t": t.astype(np.uint32),
        "x": x.astype(np.uint16),
        "y": y.astype(np.uint16),
        "p": p.astype(np.uint8),
    }


def h5(path: Path) -> Any:
    pytest.importorskip("hdf5plugin")
    return pytest.importorskip("h5py").File(path, "w")


@pytest.mark.parametrize("chunk", [7, 1 << 16])
def test_hdf5_of_dsec(chunk: int, tmp_path: Path):
    """Compressed as theirs (Blosc), with the offset of the times."""
    with h5(tmp_path / "events.h5") as file:
        import hdf5plugin

        for name, values in columns().items():
            blosc = hdf5plugin.Blosc(cname="zstd")
            file.create_dataset(f"events/{name}", data=values, chunks=(100,), compression=blosc)
        file["ms_to_idx"], file["t_offset"] = np.zeros(4, np.uint64), np.int64(49_599_300_523)
    path = tmp_path / "events.h5"
    events = join(list(stream_events(path, chunk, 480, 640)))
    assert listed(events) == [(t + 49_599_300_523, x, y, p) for t, x, y, p in EVENTS]
    with pytest.raises(InputError, match=r"give height and width, .*480 x 640 of DSEC"):
        read_events(path)


def test_hdf5_of_e2calib_has_seconds_and_a_resolution(tmp_path: Path):
    with h5(tmp_path / "a.h5") as file:
        found = columns()
        file["events/ts"] = found["t"] / 1e6
        for name in "xyp":
            file[f"events/{name}s"] = found[name]
        file.attrs["sensor_resolution"] = (200, 300)
    events = read_events(tmp_path / "a.h5")
    assert listed(events) == EVENTS and (events.height, events.width) == (200, 300)


RECORD = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])


def test_hdf5_of_metavision_without_compression(tmp_path: Path):
    with h5(tmp_path / "a.hdf5") as file:
        file["CD/events"] = np.array([(x, y, p, t) for t, x, y, p in EVENTS], RECORD)
        file.attrs["geometry"] = "300x200"
    assert listed(read_events(tmp_path / "a.hdf5")) == EVENTS
    assert join(list(stream_events(tmp_path / "a.hdf5", 7))).equals(
        read_events(tmp_path / "a.hdf5")
    )


@pytest.mark.parametrize("chunk", [5, 130, 1 << 16])
def test_hdf5_of_metavision_with_ecf(chunk: int, tmp_path: Path):
    """Chunks that Prophesee's codec wrote; the last one is not full."""
    burst, data = test_ecf.CHUNKS["runs"]
    with h5(tmp_path / "a.hdf5") as file:
        file.create_dataset(
            "CD/events",
            (2 * len(burst) - 3,),
            RECORD,
            chunks=(len(burst),),
            compression=0x8ECF,
            allow_unknown_filter=True,
        )
        for number in range(2):
            file["CD/events"].id.write_direct_chunk((number * len(burst),), bytes.fromhex(data))
        file.attrs["geometry"] = "1280x720"
    assert unchecked(tmp_path / "a.hdf5", chunk) == [*burst, *burst[:-3]]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("t", np.float64("nan"), "events/t, event 5: expected a time, found nan"),
        (
            "t",
            np.uint64((1 << 64) - 1),
            "events/t, event 5: expected a time, found 18446744073709551615",
        ),
        ("x", np.float32(2.5), "events/x, event 5: expected a whole number, found 2.5"),
        ("p", np.int8(3), "events/p, event 5: expected 0 or 1"),
    ],
)
def test_hdf5_of_numbers_that_are_no_events(
    name: str, value: np.generic, message: str, tmp_path: Path
):
    with h5(tmp_path / "a.h5") as file:
        for one, values in columns().items():
            values = values.astype(value.dtype) if one == name else values
            values[5] = value if one == name else values[5]
            file[f"events/{one}"] = values
    with pytest.raises(DataError, match=message):
        read_events(tmp_path / "a.h5", 200, 300)


def test_hdf5_of_another_layout_says_what_it_holds(tmp_path: Path):
    with h5(tmp_path / "a.h5") as file:
        file["data"] = np.zeros((4, 2, 5, 5))
    with pytest.raises(
        DataError,
        match=r"expected CD/events .* or events/x, y, t, p .*, found data; write the arrays",
    ):
        read_events(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\x00" * 100)
    with pytest.raises(DataError, match=r"b\.h5 cannot be read as HDF5"):
        read_events(tmp_path / "b.h5")


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("aedat", None),
        ("event_stream", words.write_es_dvs([], 5, 5)),
        ("h5py", b"\x89HDF\r\n\x1a\n"),
    ],
)
def test_an_absent_library_is_named_with_its_extra(
    module: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def absent(name: str, *_rest: Any) -> Any:
        raise ImportError(f"No module named {name!r}")

    path = tmp_path / "a"
    path.write_bytes((AEDAT4 / "plain.aedat4").read_bytes() if content is None else content)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        DataError, match=r"is read by the package .*; pip install 'spikedriven\[events\]'"
    ):
        read_events(path)
