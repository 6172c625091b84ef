"""RAW and DAT files: equal to a slow decoder word by word, whatever the parts, and to a library
where it is here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from spikedriven.data.events import read_events
from spikedriven.errors import DataError, InputError
from tests.data.events.formats import words
from tests.data.events.formats.words import Event, listed, unchecked

#: Long enough for the 24 bits of EVT 3.0's clock to begin anew twice.
EVENTS = words.random_events(3000, 720, 1280, 40_000_000)
WRITERS = {"EVT2": words.write_evt2, "EVT21": words.write_evt21, "EVT3": words.write_evt3}
DECODERS: dict[str, Callable[[bytes], Iterator[Event]]] = {
    "EVT2": words.evt2,
    "EVT21": words.evt21,
    "EVT3": words.evt3,
}


@pytest.mark.parametrize("evt", WRITERS)
def test_what_was_written_is_read(evt: str, tmp_path: Path):
    path = words.raw_file(tmp_path / "a.raw", evt, WRITERS[evt](EVENTS))
    events = read_events(path)
    assert listed(events) == EVENTS == list(DECODERS[evt](WRITERS[evt](EVENTS)))
    assert (events.height, events.width) == (720, 1280)


@pytest.mark.parametrize("evt", DECODERS)
@pytest.mark.parametrize("chunk", [1, 33, 400, 1 << 16])
def test_any_words_are_read_as_by_the_slow_decoder(evt: str, chunk: int, tmp_path: Path):
    """Random words: every kind in any order, also before the clock is known, over the borders of
    parts.
    """
    size = {"EVT2": 4, "EVT21": 8, "EVT3": 2}[evt]
    data = bytearray(np.random.default_rng(7).bytes(size * 1500))
    for k in range(size - 1, len(data), size):  # the kinds that mean something come often
        data[k] = (
            data[k] & 15
            | (0, 1, 2, 3, 4, 5, 6, 8, 8, 10, 14, 15)[data[k] >> 4 if data[k] < 0xC0 else 0] << 4
        )
    found = unchecked(words.raw_file(tmp_path / "a.raw", evt, bytes(data)), chunk)
    assert found == list(DECODERS[evt](bytes(data))) and len(found) > 200


def test_the_words_of_an_imx636_are_sent_in_halves(tmp_path: Path):
    data = words.write_evt21(EVENTS, legacy=True)
    path = words.raw_file(tmp_path / "a.raw", "EVT21", data, more=";endianness=legacy")
    assert listed(read_events(path)) == EVENTS


def test_the_clock_of_evt2_begins_anew(tmp_path: Path):
    late = (1 << 34) - 50
    events = [(late, 1, 2, 1), (late + 100, 3, 4, 0)]
    path = words.raw_file(tmp_path / "a.raw", "EVT2", words.write_evt2(events))
    assert listed(read_events(path)) == events


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("% evt 3.0\n% geometry 640x480\n", (480, 640)),
        ("% evt 3.0\n% width 320\n% height 200\n", (200, 320)),
        ("% format EVT3;height=720;width=1280\n% geometry 640x480\n% end\n", (720, 1280)),
    ],
)
def test_the_header_says_how_large_the_sensor_is(
    header: str, size: tuple[int, int], tmp_path: Path
):
    (tmp_path / "a.raw").write_bytes(header.encode() + words.write_evt3([(5, 6, 7, 1)]))
    events = read_events(tmp_path / "a.raw")
    assert (events.height, events.width) == size and listed(events) == [(5, 6, 7, 1)]


def test_a_sensor_that_nobody_names_is_asked_for(tmp_path: Path):
    path = words.raw_file(tmp_path / "a.raw", "EVT3", words.write_evt3(EVENTS), size=None)
    with pytest.raises(
        InputError, match="does not say how large the sensor is: give height and width"
    ):
        read_events(path)
    assert read_events(path, 720, 1280).height == 720
    with pytest.raises(DataError, match=r"byte \d+: expected x from 0 to 9, found \d+"):
        read_events(path, 720, 10)


def test_dat(tmp_path: Path):
    events = [(t, x % 304, y % 240, p) for t, x, y, p in EVENTS] + [((1 << 32) + 9, 303, 239, 1)]
    data = words.write_dat([*events[:-1], ((1 << 32) - 1, 0, 0, 0), events[-1]])
    found = read_events(words.dat_file(tmp_path / "a.dat", data))
    assert (
        listed(found)
        == [*events[:-1], ((1 << 32) - 1, 0, 0, 0), events[-1]]
        == list(words.dat(data))
    )
    assert (found.height, found.width) == (240, 304)
    assert unchecked(tmp_path / "a.dat", 7) == list(words.dat(data))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.raw",
            b"% evt 4.0\n% end\n",
            "expected a RAW file of EVT 2.0, 2.1 or 3.0, found 4.0; Prophesee's",
        ),
        ("a.raw", b"% date 2020\n% end\n", "found none named in its header"),
        (
            "a.raw",
            b"% format EVT21;endianness=big\n",
            "expected little or legacy endianness, found big",
        ),
        (
            "a.raw",
            b"% format EVT3;height=9;width=9\n% end\n\x00",
            "byte 37: expected words of 2 bytes up to the end",
        ),
        (
            "a.raw",
            b"% format EVT3;height=9;width=9\n% end\n\x00\x80\x00\xa0",
            "4 bytes of words .* no event of a",
        ),
        ("a.dat", b"% Version 1\n\x0c\x08", "expected a DAT file of version 2, found version 1"),
        (
            "a.dat",
            b"% Version 2\n\x01\x08",
            "byte 12: expected pixel events .* found kind 1 of 8 bytes",
        ),
        (
            "a.dat",
            b"% Version 2\n\x0c",
            "byte 12: expected 2 bytes of the kind and the size of an event, found 1",
        ),
        (
            "a.dat",
            b"% Width 9\n% Height 9\n\x0c\x08" + b"\x00" * 12,
            "events of 8 bytes up to the end, found 4",
        ),
    ],
)
def test_what_cannot_be_read_is_named(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_events(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_equal_to_expelliarmus(tmp_path: Path):
    """Where it is installed; its licence (GPL-2) keeps it out of the extras. Not EVT 3.0: it adds
    4,096 microseconds where the clock's high bits are told before the low ones.
    """
    expelliarmus = pytest.importorskip("expelliarmus")
    files = {
        "evt2": words.raw_file(tmp_path / "a.raw", "EVT2", words.write_evt2(EVENTS)),
        "dat": words.dat_file(tmp_path / "c.dat", words.write_dat(EVENTS)),
    }
    for encoding, path in files.items():
        theirs = expelliarmus.Wizard(encoding=encoding).read(path)
        assert unchecked(path) == list(
            zip(*(theirs[name].tolist() for name in "txyp"), strict=True)
        ), encoding


def test_equal_to_evt3(tmp_path: Path):
    """Where it is installed. It does not count on when the 24 bits of the clock begin anew."""
    evt3 = pytest.importorskip("evt3")
    path = words.raw_file(tmp_path / "b.raw", "EVT3", words.write_evt3(EVENTS))
    theirs = evt3.decode_file(str(path))
    found = list(zip(*(np.asarray(getattr(theirs, name)).tolist() for name in "txyp"), strict=True))
    assert found == [(t % (1 << 24), x, y, p) for t, x, y, p in unchecked(path)]
