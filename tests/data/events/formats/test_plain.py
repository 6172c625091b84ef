"""Formats without a header: five bytes an event, and text; and the table that tells formats
apart.
"""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from spikedriven.data.events import read_events, save_events, stream_events
from spikedriven.data.events.events import join
from spikedriven.data.events.files import Told
from spikedriven.data.events.formats.table import FORMATS, NOT_READ
from spikedriven.errors import DataError, InputError
from tests.data.events.formats import words
from tests.data.events.formats.words import Event, listed, unchecked

SMALL = words.random_events(600, 34, 34, 300_000)
ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_bin_of_n_mnist(chunk: int, tmp_path: Path):
    data = (
        words.write_bin40(SMALL[:100])
        + bytes([9, 240, 0, 0, 0]) * 2
        + words.write_bin40(SMALL[100:])
    )
    (tmp_path / "00001.bin").write_bytes(data)
    wanted = SMALL[:100] + [(t + 2 * 8192, x, y, p) for t, x, y, p in SMALL[100:]]
    assert unchecked(tmp_path / "00001.bin", chunk) == wanted == list(words.bin40(data))
    assert listed(read_events(tmp_path / "00001.bin", 34, 34)) == wanted
    with pytest.raises(InputError, match="34 x 34 of N-MNIST, 180 x 240 of N-Caltech101"):
        read_events(tmp_path / "00001.bin")
    (tmp_path / "00001.bin").write_bytes(data[:-1])
    with pytest.raises(
        DataError, match=f"byte {len(data) - 5}: expected events of 5 bytes up to the end, found 4"
    ):
        read_events(tmp_path / "00001.bin", 34, 34)


def lines(events: list[Event], form: str) -> str:
    return "".join(
        form.format(t=t, x=x, y=y, p=p, s=t / 1e6, q=2 * p - 1, b=bool(p)) + "\n"
        for t, x, y, p in events
    )


TEXTS = {
    "names": ("t,x,y,p\n", "{t},{x},{y},{p}"),
    "names in another order, and another column": (
        "index;polarity;y;x;timestamp\n",
        "7;{q};{y};{x};{t}",
    ),
    "names behind a sign": ("# x y p t\n\n# recorded\n", "{x} {y} {p} {t}"),
    "metavision": ("%geometry:34,34\n", "{x},{y},{p},{t}"),
    "seconds": ("", "{s:.6f} {x} {y} {p}"),
    "seconds and a size": ("34 34\n", "{s:.6f} {x} {y} {p}"),
    "words and tabs": ("t\tx\ty\ton\r\n", "{t}\t{x}\t{y}\t{b}\r"),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("chunk", [7, 1 << 16])
def test_text(name: str, chunk: int, tmp_path: Path):
    header, form = TEXTS[name]
    path = tmp_path / ("a.txt" if "{s" in form else "a.csv")
    path.write_text(header + lines(SMALL, form), newline="")
    parts = list(stream_events(path, chunk, 34, 34))
    assert listed(join(parts)) == SMALL and max(map(len, parts)) <= chunk
    if "34" in header:
        assert read_events(path).height == 34
    path.write_text((header + lines(SMALL, form)).rstrip("\n"), newline="")
    assert listed(read_events(path, 34, 34)) == SMALL, "the last line needs no end"


def test_text_whose_columns_nobody_names_is_asked_for(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(lines(SMALL, "{t},{x},{y},{p}"))
    with pytest.raises(
        InputError,
        match=r"line 1: which number is time, column, row and polarity.* --columns t,x,y,p",
    ):
        read_events(path, 34, 34)
    assert listed(read_events(path, told=Told(height=34, width=34, columns="t,x,y,p"))) == SMALL
    path.write_text(lines(SMALL, "{s:.9f} {x:.1f} {y:.1f} {p:.1f}"))
    told = Told(height=34, width=34, columns="t x y p")
    with pytest.raises(
        InputError, match=r"all numbers have a decimal point, .* --time-unit, one of us, ms, s, ns"
    ):
        read_events(path, told=told)
    told = Told(height=34, width=34, columns="t x y p", time_unit="s")
    assert listed(read_events(path, told=told)) == SMALL


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            "t,x,y,p\n1,2,3,1\n2,2,3\n",
            DataError,
            "line 3: expected t, x, y, p as numbers, found '2 2 3'",
        ),
        (
            "t,x,y,p\n1,2,3,1\n\n2,2.5,3,1\n",
            DataError,
            "line 4: expected t, x, y, p as numbers, found '2 2.5 3 1'",
        ),
        ("t,x,y,p\n1,2.5,3,1\n", DataError, "line 2: expected x as a whole number, found 2.5"),
        ("t,x,y,p\n1,2,3,1\n1,2,3,2\n", DataError, "line 3: expected p as 0 or 1"),
        ("t,x,y,p\n0.5,2,3,1\nnan,2,3,1\n", DataError, "line 3: expected t as a time, found nan"),
        ("t,x,y,p\n0.5,2,3,1\n1e300,2,3,1\n", DataError, "line 3: expected t as a time, found 1e"),
        ("t,x,y,p\n1,nan,3,1\n", DataError, "line 2: expected t, x, y, p as numbers"),
        ("t,x,y,p\n1,2,3,1,4\n", DataError, "line 2: expected 4 numbers"),
        ("t,x,y,p\n1,99,3,1\n", DataError, "line 2: expected x from 0 to 33, found 99"),
        ("t,x,y,p\n" + "1" * 5000, DataError, "line 2: expected"),
        ("hello world\n", InputError, "line 1: which number is time"),
    ],
)
def test_text_that_cannot_be_read_is_named(content: str, error: type, message: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(error, match=message) as caught:
        read_events(tmp_path / "a.csv", 34, 34)
    assert str(tmp_path / "a.csv") in str(caught.value)


@pytest.mark.parametrize(
    "said", [{"columns": "t,x,y"}, {"columns": "t,x,y,p,q"}, {"time_unit": "hours"}]
)
def test_what_a_user_says_wrong_is_named(said: dict, tmp_path: Path):
    (tmp_path / "a.csv").write_text("1 2 3 1\n")
    with pytest.raises(InputError, match=next(iter(said.values()))):
        read_events(
            tmp_path / "a.csv", told=Told(height=9, width=9, **{"columns": "t,x,y,p", **said})
        )


def test_columns_are_of_texts(tmp_path: Path):
    save_events(tmp_path / "a.npz", read_events(text(tmp_path), 34, 34))
    with pytest.raises(InputError, match="leave --columns and --time-unit out"):
        read_events(tmp_path / "a.npz", told=Told(columns="t,x,y,p"))


def text(folder: Path) -> Path:
    (folder / "a.csv").write_text("t,x,y,p\n" + lines(SMALL, "{t},{x},{y},{p}"))
    return folder / "a.csv"


@pytest.mark.parametrize("sign", NOT_READ)
def test_what_is_not_read_is_named_with_a_way_to_convert_it(sign: bytes | str, tmp_path: Path):
    path = tmp_path / (f"a{sign}" if isinstance(sign, str) else "a.any")
    path.write_bytes((sign if isinstance(sign, bytes) else b"\x01\x02") + b"\x00" * 20)
    name, remedy = NOT_READ[sign]
    with pytest.raises(DataError) as caught:
        read_events(path)
    assert f"{path} is {name}, which is not read: {remedy}" in str(caught.value)
    assert all(format.name in str(caught.value) for format in FORMATS)


def test_a_file_that_nobody_knows(tmp_path: Path):
    (tmp_path / "a.xyz").write_bytes(b"\x01\x02 not known")
    with pytest.raises(
        DataError,
        match=r"byte 0: expected an AEDAT 2.0, .* or text file, .* Of another format, write",
    ):
        read_events(tmp_path / "a.xyz")


def test_a_text_is_told_by_its_numbers_where_its_name_has_no_ending(tmp_path: Path):
    (tmp_path / "events").write_text(lines(SMALL, "{s:.6f} {x} {y} {p}"))
    assert listed(read_events(tmp_path / "events", 34, 34)) == SMALL
    (tmp_path / "named").write_text("# timestamp_us x y p\n" + lines(SMALL, "{t} {x} {y} {p}"))
    assert listed(read_events(tmp_path / "named", 34, 34)) == SMALL


def test_the_page_lists_every_format_with_its_definition():
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for format in FORMATS:
        row = next(
            (line for line in page.splitlines() if line.startswith(f"| {format.name}")), None
        )
        assert row is not None, format.name
        assert all(f"`{suffix}`" in row for suffix in format.suffixes), row
        assert format.source.removesuffix(".html") in row and format.sensor in row, row
        assert all(name in row for name in format.library.split(", ")), row


@pytest.mark.parametrize("follow", [None, 0.3])
def test_a_pipe_and_a_file_that_grows(follow: float | None, tmp_path: Path):
    """Half of the bytes, a pause, then the other half: those of the first half come before the
    pause.
    """
    path = tmp_path / "a.bin"
    data = words.write_bin40(SMALL)
    half = len(data) // 2 + 2  # within an event
    (tmp_path / "data").write_bytes(data)
    write = f"import time; d = open({str(tmp_path / 'data')!r}, 'rb').read(); "
    write += f"f = open({str(path)!r}, 'wb', buffering=0); "
    write += f"f.write(d[:{half}]); time.sleep(0.15); f.write(d[{half}:])"
    if follow is None:
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
    with subprocess.Popen([sys.executable, "-c", write]):
        parts = list(stream_events(path, told=Told(height=34, width=34, follow=follow)))
    assert listed(join(parts)) == SMALL
    assert len(parts) >= 2 and len(parts[0]) == half // 5


def test_formats_that_need_the_whole_file_say_so(tmp_path: Path):
    save_events(tmp_path / "a.npz", read_events(text(tmp_path), 34, 34))
    with pytest.raises(
        InputError, match=r"\.npz is read from a finished file, .* may be AEDAT 2\.0, AEDAT 3\.1,"
    ):
        read_events(tmp_path / "a.npz", told=Told(follow=0.1))


@pytest.mark.parametrize("name", ["a.raw", "b.raw", "c.raw", "d.dat", "e.bin", "f.csv"])
def test_no_damage_leads_to_anything_but_events_or_an_error_of_ours(name: str, tmp_path: Path):
    """Flipped bytes, cut files and pieces that are repeated."""
    path, draws = tmp_path / name, np.random.default_rng(5)
    path.write_bytes(b"")
    written = {
        "a.raw": lambda: words.raw_file(path, "EVT3", words.write_evt3(SMALL), (34, 34)),
        "b.raw": lambda: words.raw_file(path, "EVT2", words.write_evt2(SMALL), (34, 34)),
        "c.raw": lambda: words.raw_file(path, "EVT21", words.write_evt21(SMALL), (34, 34)),
        "d.dat": lambda: words.dat_file(path, words.write_dat(SMALL)),
        "e.bin": lambda: path.write_bytes(words.write_bin40(SMALL)),
        "f.csv": lambda: text(tmp_path).rename(path),
    }
    written[name]()
    whole = path.read_bytes()
    for number in range(150):
        broken = bytearray(whole)
        if number % 3 == 0:
            broken = broken[: int(draws.integers(1, len(broken)))]
        elif number % 3 == 1:
            for _ in range(4):
                broken[draws.integers(len(broken))] = int(draws.integers(256))
        else:
            first = int(draws.integers(len(broken)))
            broken[first:first] = broken[: int(draws.integers(60))]
        path.write_bytes(broken)
        try:
            read_events(path, 34, 34)
        except (DataError, InputError) as error:
            assert str(path) in str(error)


def test_memory_does_not_grow_with_a_text(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("t,x,y,p\n" + "5,1,1,1\n" * 60_000)
    tracemalloc.start()
    total = sum(map(len, stream_events(path, 10_000, 9, 9)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 60_000 and peak < 12_000_000


def test_events_are_numbers_of_64_bits(tmp_path: Path):
    (tmp_path / "a.csv").write_text("t,x,y,p\n1668939802123457,1,1,1\n")
    events = read_events(tmp_path / "a.csv", told=Told(height=9, width=9, time_unit="us"))
    assert events.t.tolist() == [1668939802123457] and events.t.dtype == np.int64
