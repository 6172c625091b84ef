"""AEDAT 2.0 files of the DVS128 camera, the format of CIFAR10-DVS.

Text lines that start with #, then events of 8 bytes, big-endian: address uint32, time int32 in microseconds. Of the
address bit 0 is the polarity, bits 1 to 7 the column and bits 8 to 14 the row, as the sensor counts them; bit 15
marks a trigger, which is no event of a pixel. Format: jAER's AEDAT 2.0.

Columns and rows are given as the users of CIFAR10-DVS give them (SpikingJelly, and with it the releases):
x = 127 - row, y = 127 - column, and ON where the polarity bit is 0.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikedriven.data.events.binary import Clock, EventFile, check_chunk, on_sensor, open_file
from spikedriven.data.events.events import Events

MAGIC = b"#!AER-DAT2.0"
#: The last line of a header as jAER writes it (older recorders do not): what follows is data, even
#: if it begins with #.
END_OF_HEADER = re.compile(rb"#\s*end of ascii header", re.IGNORECASE)
SIDE = 128
EVENT_BYTES = 8
_TRIGGER, _ADDRESS_BITS = 0x8000, 0xFFFF


def stream_aedat2(path: str | Path, chunk: int = 1 << 16) -> Iterator[Events]:
    """Parts of at most `chunk` events, in file order. DataError names file, byte, expected and found."""
    check_chunk(chunk)
    with open_file(Path(path)) as file:
        _skip_header(file)
        clock = Clock(file.path)
        while file.left:
            offset, count = file.offset, min(chunk, file.left // EVENT_BYTES)
            yield _decode(file, file.read(count * EVENT_BYTES, "events"), offset, clock)


def _skip_header(file: EventFile) -> None:
    lines = file.header_lines()
    first = next(lines, b"")
    if not first.startswith(MAGIC):
        file.refuse(0, MAGIC.decode(), repr(first[:40]))
    any(
        END_OF_HEADER.match(line) for line in lines
    )  # reads up to it, or up to the last line with a #
    if file.left % EVENT_BYTES:
        whole = file.size - file.left % EVENT_BYTES
        file.refuse(
            whole,
            "events of 8 bytes up to the end",
            f"{file.left % EVENT_BYTES} bytes; the file is cut off",
        )


def _decode(file: EventFile, data: bytes, offset: int, clock: Clock) -> Events:
    raw = np.frombuffer(data, ">u4").reshape(-1, 2)
    address = raw[:, 0].astype(np.int64)
    strange = np.flatnonzero(address > _ADDRESS_BITS)
    if len(strange):
        first = int(strange[0])
        file.refuse(
            offset + EVENT_BYTES * first, "a DVS128 address below 0x10000", hex(address[first])
        )
    t = clock.forward(raw[:, 1].astype(np.int32).astype(np.int64), offset, EVENT_BYTES)
    kept = address & _TRIGGER == 0
    column, row = (address >> 1) & 127, (address >> 8) & 127
    arrays = {"t": t, "x": SIDE - 1 - row, "y": SIDE - 1 - column, "p": address & 1 == 0}
    return on_sensor(file, arrays, kept, (SIDE, SIDE), offset, EVENT_BYTES)
