"""Prophesee's RAW files: EVT 2.0, EVT 2.1 and EVT 3.0, decoded with arrays.

All are streams of words whose highest four bits say what a word is; the clock's high bits come in
words of their own. EVT 2.0, 32 bits: events with 6 bits of time, 11 of column, 11 of row. EVT 2.1,
64 bits: the same, of up to 32 neighbours at once. EVT 3.0, 16 bits: row, column, and time are told
when they change; 8 or 12 neighbours at once. Events before the first word of high time have no
time, and are left out, as Prophesee's own decoder does. Format:
https://docs.prophesee.ai/stable/data/encoding_formats/index.html.
"""

from collections.abc import Callable, Iterator

import numpy as np

from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.formats.prophesee import Header, WrappingClock, read_header
from spikedriven.data.events.raw import RawPart, Source, places
from spikedriven.errors import DataError

_TIME_HIGH = 8
_LOW_11 = 0x7FF
#: Types of words of EVT 3.0: events of neighbours, and how many of them, which is how far their
#: base moves.
_VECTORS = {4: 12, 5: 8}


def open_raw(file: EventFile, chunk: int) -> Source:
    """The pixel events of a RAW file. DataError where its header names another encoding, or
    none.
    """
    header = read_header(file)
    name = _encoding(file, header)
    height, width = header.size
    return Source(
        file.path,
        f"Prophesee RAW, {name}",
        _some(file, _DECODERS[name](file, chunk, header)),
        height,
        width,
        notes=header.notes,
        hint="720 x 1280 of an IMX636, 320 x 320 of a GenX320",
    )


def _some(file: EventFile, parts: Iterator[RawPart]) -> Iterator[RawPart]:
    """The parts; DataError at the end of a file that has words and no event of a pixel."""
    begin, kept = file.offset, 0
    for part in parts:
        kept += len(part)
        yield part
    if file.offset > begin and not kept:
        raise DataError(
            f"{file.path}: {file.offset - begin} bytes of words (times, triggers), and no event of "
            "a pixel; record it "
            "again, or take it out of the set"
        )


def _encoding(file: EventFile, header: Header) -> str:
    found = header.words.get("format", "").partition(";")[0] or header.words.get("evt", "")
    name = found.upper().replace("EVT", "").strip().replace(".", "").rstrip("0") or found
    names = {"2": "EVT 2.0", "21": "EVT 2.1", "3": "EVT 3.0"}
    if name not in names:
        raise DataError(
            f"{file.path}: expected a RAW file of EVT 2.0, 2.1 or 3.0, found "
            f"{found or 'none named in its header'}; "
            "Prophesee's metavision_file_to_hdf5 makes an HDF5 file of it, which is read"
        )
    if header.options.get("endianness", "little") not in ("little", "legacy"):
        raise DataError(
            f"{file.path}: expected little or legacy endianness, found "
            f"{header.options['endianness']}"
        )
    return names[name]


def _evt2(file: EventFile, chunk: int, _header: Header) -> Iterator[RawPart]:
    high = _HighTime(28, 6)
    for words, at in _words(file, "<u4", chunk):
        kind = words >> 28
        time, known = high.of(kind == _TIME_HIGH, words & 0xFFFFFFF)
        kept = (kind <= 1) & known
        t = time + ((words >> 22) & 63)
        yield RawPart(t, (words >> 11) & _LOW_11, words & _LOW_11, kind == 1, at).where(kept)


def _evt21(file: EventFile, chunk: int, header: Header) -> Iterator[RawPart]:
    high = _HighTime(28, 6)
    order = [1, 0] if header.options.get("endianness") == "legacy" else [0, 1]  # of the two halves
    for halves, at in _words(file, "<u4", max(chunk // 4, 1), halves=2):
        low, upper = halves.reshape(-1, 2)[:, order].T
        kind = upper >> 28
        time, known = high.of(kind == _TIME_HIGH, upper & 0xFFFFFFF)
        kept = (kind <= 1) & known
        t = time + ((upper >> 22) & 63)
        groups = RawPart(t, (upper >> 11) & _LOW_11, upper & _LOW_11, kind == 1, at[::2]).where(
            kept
        )
        yield from _spread(groups, low[kept], 32).split(chunk)


def _evt3(file: EventFile, chunk: int, _header: Header) -> Iterator[RawPart]:
    state = _Evt3()
    for words, at in _words(file, "<u2", chunk):
        yield from state.decode(words, at).split(chunk)


def _words(
    file: EventFile, dtype: str, most: int, halves: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(words int64 [N], the byte of each), at most `most`, or so many pairs of halves; DataError
    for a part of one.
    """
    size, offset = np.dtype(dtype).itemsize, file.offset
    while data := file.records(size * halves, most, "words"):
        words = np.frombuffer(data, dtype).astype(np.int64)
        yield words, places(offset, len(words), size)
        offset = file.offset


class _HighTime:
    """The clock's high bits: what the last word that told them said, over any number of parts."""

    def __init__(self, bits: int, shift: int) -> None:
        self.clock, self.shift = WrappingClock(bits), shift
        self.last = -1

    def of(self, told: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(microseconds int64 [N], whether they are known) at each word; `told` marks the words
        that tell them.
        """
        whole = np.full(len(values), -1, np.int64)
        whole[told] = self.clock.unwrap(values[told])
        found = _held(told, whole, self.last)
        self.last = int(found[-1])
        return found << self.shift, found >= 0


class _Evt3:
    """What the words of EVT 3.0 so far have said, over any number of parts."""

    def __init__(self) -> None:
        self.high, self.low, self.row, self.is_pixel, self.base, self.polarity = (
            _HighTime(12, 12),
            0,
            0,
            1,
            0,
            0,
        )

    def decode(self, words: np.ndarray, at: np.ndarray) -> RawPart:
        """The events of the next words."""
        kind, value = words >> 12, words & 0xFFF
        t, known = self._time(kind, value)
        rows = (
            kind <= 1
        )  # 0 of a pixel; 1 of what older sensors measured besides, which is no event
        row = _held(rows, value & _LOW_11, self.row)
        is_pixel = _held(rows, (kind == 0).astype(np.int64), self.is_pixel)
        moved, polarity = self._base(kind, value)
        self.row, self.is_pixel = int(row[-1]), int(is_pixel[-1])
        single = kind == 2
        vector = (kind == 4) | (kind == 5)
        x = np.where(single, value & _LOW_11, moved)
        p = np.where(single, value >> 11, polarity) == 1
        mask = np.where(single, 1, np.where(kind == 5, value & 0xFF, value))
        kept = (single | vector) & known & (is_pixel == 1)
        return _spread(RawPart(t, x, row, p, at).where(kept), mask[kept], 12)

    def _time(self, kind: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The low bits are 0 from a change of the high ones on, until they are told."""
        before = self.high.last << 12
        high, known = self.high.of(kind == _TIME_HIGH, value)
        changed = high != np.concatenate([[before], high[:-1]])
        low = _held(changed | (kind == 6), np.where(kind == 6, value, 0), self.low)
        self.low = int(low[-1])
        return high + low, known

    def _base(self, kind: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(column, polarity) of a vector at each word: the last base, moved by the vectors
        since.
        """
        step = np.zeros_like(kind)
        for number, width in _VECTORS.items():
            step[kind == number] = width
        moved = np.cumsum(step) - step
        based = kind == 3
        start = _held(based, (value & _LOW_11) - moved, self.base)
        polarity = _held(based, value >> 11, self.polarity)
        self.base = int(start[-1] + moved[-1] + step[-1])
        self.polarity = int(polarity[-1])
        return start + moved, polarity


def _held(told: np.ndarray, values: np.ndarray, before: int) -> np.ndarray:
    """At each word the value of the last word that `told` marks; `before` where none did yet."""
    last = np.maximum.accumulate(np.where(told, np.arange(1, len(values) + 1), 0))
    return np.concatenate([[before], values])[last]


def _spread(groups: RawPart, mask: np.ndarray, width: int) -> RawPart:
    """An event for every bit that is set in a group's mask: bit k is the pixel k columns on."""
    several = np.flatnonzero(mask != 1)
    marked = (mask[several, None] >> np.arange(width)) & 1
    numbers = np.ones(len(mask), np.int64)
    numbers[several] = marked.sum(1)
    group = np.repeat(np.arange(len(mask)), numbers)
    offset = np.zeros(len(group), np.int64)
    offset[np.repeat(mask != 1, numbers)] = np.nonzero(marked)[1]
    events = groups.where(group)
    return RawPart(events.t, events.x + offset, events.y, events.p, events.at)


_DECODERS: dict[str, Callable[[EventFile, int, Header], Iterator[RawPart]]] = {
    "EVT 2.0": _evt2,
    "EVT 2.1": _evt21,
    "EVT 3.0": _evt3,
}
