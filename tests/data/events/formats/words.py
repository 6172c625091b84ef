"""Slow decoders of event files, written word by word from the definitions of their formats, and
random files for them.

They share no line with the readers under test.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikedriven.data.events.events import Events
from spikedriven.data.events.files import open_recording

Event = tuple[int, int, int, int]  # t, x, y, p


def listed(events: Events) -> list[Event]:
    return list(
        zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True)
    )


def unchecked(path: Path, chunk: int = 1 << 16) -> list[Event]:
    """The events as they stand in the file, in whatever order."""
    with open_recording(path, chunk) as source:
        parts = list(source.parts)
    assert all(len(part) <= max(chunk, 32) for part in parts)
    columns = [
        np.concatenate([getattr(part, name) for part in parts]).tolist()
        for name in ("t", "x", "y", "p")
    ]
    return list(zip(*columns, strict=True))


def random_events(count: int, height: int, width: int, span_us: int, seed: int = 0) -> list[Event]:
    """Sorted by time; a part of them are neighbours in one row at one instant."""
    draws = np.random.default_rng(seed)
    found: list[Event] = []
    for t in np.sort(draws.integers(0, span_us, count)).tolist():
        row, polarity = int(draws.integers(height)), int(draws.integers(2))
        first, length = (
            int(draws.integers(width)),
            int(draws.integers(1, 40)) if draws.random() < 0.2 else 1,
        )
        columns = [
            x
            for x in range(first, min(first + length, width))
            if x == first or draws.random() < 0.6
        ]
        found += [(t, x, row, polarity) for x in columns]
    return found


def evt2(data: bytes) -> Iterator[Event]:
    high = turns = last = None
    for (word,) in struct.iter_unpack("<I", data):
        kind = word >> 28
        if kind == 8:
            value = word & 0xFFFFFFF
            turns = 0 if last is None else turns + (last - value >= 1 << 27)
            last, high = value, (turns << 28 | value) << 6
        elif kind in (0, 1) and high is not None:
            yield high | (word >> 22 & 63), word >> 11 & 2047, word & 2047, kind


def evt21(data: bytes) -> Iterator[Event]:
    high = turns = last = None
    for (word,) in struct.iter_unpack("<Q", data):
        kind = word >> 60
        if kind == 8:
            value = word >> 32 & 0xFFFFFFF
            turns = 0 if last is None else turns + (last - value >= 1 << 27)
            last, high = value, (turns << 28 | value) << 6
        elif kind in (0, 1) and high is not None:
            for bit in range(32):
                if word >> bit & 1:
                    yield (
                        high | (word >> 54 & 63),
                        (word >> 43 & 2047) + bit,
                        word >> 32 & 2047,
                        kind,
                    )


def evt3(data: bytes) -> Iterator[Event]:
    high = last = None
    turns = low = row = base = polarity = 0
    is_pixel = True
    for (word,) in struct.iter_unpack("<H", data):
        kind, value = word >> 12, word & 0xFFF
        if kind == 0:
            row, is_pixel = value & 2047, True
        elif kind == 1:
            is_pixel = False
        elif kind == 2 and high is not None and is_pixel:
            yield high << 12 | low, value & 2047, row, value >> 11
        elif kind == 3:
            base, polarity = value & 2047, value >> 11
        elif kind in (4, 5):
            width = 12 if kind == 4 else 8
            for bit in range(width):
                if value >> bit & 1 and high is not None and is_pixel:
                    yield high << 12 | low, base + bit, row, polarity
            base += width
        elif kind == 6:
            low = value
        elif kind == 8:
            turns += last is not None and last - value >= 1 << 11
            low = low if last == value else 0
            last, high = value, turns << 12 | value


def write_evt2(events: list[Event]) -> bytes:
    words, last = [], None
    for t, x, y, p in events:
        if t >> 6 != last:
            last = t >> 6
            words.append(8 << 28 | last & 0xFFFFFFF)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    return struct.pack(f"<{len(words)}I", *words)


def write_evt21(events: list[Event], legacy: bool = False) -> bytes:
    words: list[int] = []
    last, group = None, None
    for t, x, y, p in events:
        if t >> 6 != last:
            last = t >> 6
            words.append(8 << 60 | last << 32)
            group = None
        if group is not None and group[0] == (t, y, p) and group[1] < x < group[1] + 32:
            words[-1] |= 1 << (x - group[1])
            continue
        group = ((t, y, p), x)
        words.append(p << 60 | (t & 63) << 54 | x << 43 | y << 32 | 1)
    if legacy:
        words = [word >> 32 | (word & 0xFFFFFFFF) << 32 for word in words]
    return struct.pack(f"<{len(words)}Q", *words)


def write_evt3(events: list[Event]) -> bytes:
    """Neighbours as vectors of 12, 12 and 8, as the sensors send them."""
    words: list[int] = []
    high = low = row = None
    at = 0
    while at < len(events):
        t, x, y, p = events[at]
        if t >> 12 != high:
            high, low = t >> 12, None
            words.append(8 << 12 | high & 0xFFF)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(6 << 12 | low)
        if y != row:
            row = y
            words.append(row)
        together = [
            e for e in events[at : at + 32] if e[0] == t and e[2:] == (y, p) and x <= e[1] < x + 32
        ]
        if len(together) == 1:
            words.append(2 << 12 | p << 11 | x)
        else:
            mask = sum(1 << (e[1] - x) for e in together)
            words += [
                3 << 12 | p << 11 | x,
                4 << 12 | mask & 0xFFF,
                4 << 12 | mask >> 12 & 0xFFF,
                5 << 12 | mask >> 24,
            ]
        at += len(together)
    return struct.pack(f"<{len(words)}H", *words)


def raw_file(
    path: Path, evt: str, data: bytes, size: tuple[int, int] | None = (720, 1280), more: str = ""
) -> Path:
    """A RAW file with the header of today's cameras. size: height, width."""
    sensor = "" if size is None else f";height={size[0]};width={size[1]}"
    lines = [f"% format {evt}{more}{sensor}", "% plugin_name hal_plugin_imx636_evk4", "% end"]
    path.write_bytes("".join(line + "\n" for line in lines).encode() + data)
    return path


def dat(data: bytes) -> Iterator[Event]:
    turns = last = 0
    for t, place in struct.iter_unpack("<II", data):
        turns += last - t >= 1 << 31
        last = t
        yield turns << 32 | t, place & 0x3FFF, place >> 14 & 0x3FFF, place >> 28 & 1


def write_dat(events: list[Event]) -> bytes:
    return b"".join(
        struct.pack("<II", t & 0xFFFFFFFF, p << 28 | y << 14 | x) for t, x, y, p in events
    )


def dat_file(path: Path, data: bytes, size: str = "% Width 304\n% Height 240\n") -> Path:
    header = f"% Data file containing CD events.\n% Version 2\n{size}".encode()
    path.write_bytes(header + bytes([12, 8]) + data)
    return path


def bin40(data: bytes) -> Iterator[Event]:
    extra = 0
    for k in range(0, len(data), 5):
        x, y, upper, middle, low = data[k : k + 5]
        if y == 240:
            extra += 8192
        else:
            yield extra + ((upper & 127) * 65536 + middle * 256 + low), x, y, upper >> 7


def write_bin40(events: list[Event]) -> bytes:
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in events)


def es_dvs(data: bytes) -> Iterator[Event]:
    """Version 2 of Event Stream: a byte of 7 bits of time and the polarity, then column and row;
    0xFE begins anew, 0xFF is 127 microseconds more.
    """
    t, at = 0, 20
    while at < len(data):
        byte = data[at]
        if byte in (0xFE, 0xFF):
            t, at = t + 127 * (byte == 0xFF), at + 1
            continue
        t += byte >> 1
        x, y = struct.unpack_from("<HH", data, at + 1)
        yield t, x, y, byte & 1
        at += 5


def write_es_dvs(events: list[Event], width: int, height: int) -> bytes:
    data, last = bytearray(b"Event Stream\x02\x00\x00\x01" + struct.pack("<HH", width, height)), 0
    for t, x, y, p in events:
        pauses, step = divmod(t - last, 127)
        data += b"\xff" * pauses + bytes([step << 1 | p]) + struct.pack("<HH", x, y)
        last = t
    return bytes(data)
