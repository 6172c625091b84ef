"""AEDAT 2.0 files of the DVS128 camera, the format of CIFAR10-DVS.

Text lines that start with #, then events of 8 bytes, big-endian: address uint32, time int32 in
microseconds. Of the address bit 0 is the polarity, bits 1 to 7 the column and bits 8 to 14 the row,
as the sensor counts them; bit 15 marks a trigger, which is no event of a pixel. Format: jAER's
AEDAT 2.0.

Columns and rows are given as the users of CIFAR10-DVS give them (SpikingJelly, and with it the
releases): x = 127 - row, y = 127 - column, and ON where the polarity bit is 0.
"""

import re
from collections.abc import Iterator

import numpy as np

from spikedriven.data.events.binary import EventFile, Tally
from spikedriven.data.events.raw import RawPart, Source, places

MAGIC = b"#!AER-DAT2.0"
#: The last line of a header as jAER writes it (older recorders do not): what follows is data, even
#: if it begins with #.
END_OF_HEADER = re.compile(rb"#\s*end of ascii header", re.IGNORECASE)
SIDE = 128
EVENT_BYTES = 8
_TRIGGER, _ADDRESS_BITS = 0x8000, 0xFFFF


def open_aedat2(file: EventFile, chunk: int) -> Source:
    """The events of a DVS128, in file order. DataError names file, byte, expected and found."""
    _skip_header(file)
    return Source(file.path, "AEDAT 2.0", _parts(file, chunk), SIDE, SIDE)


def _skip_header(file: EventFile) -> None:
    lines = file.header_lines()
    first = next(lines, b"")
    if not first.startswith(MAGIC):
        file.refuse(0, MAGIC.decode(), repr(first[:40]))
    any(
        END_OF_HEADER.match(line) for line in lines
    )  # reads up to it, or up to the last line with a #


def _parts(file: EventFile, chunk: int) -> Iterator[RawPart]:
    found, offset = Tally(file.path), file.offset
    while data := file.records(EVENT_BYTES, chunk, "events"):
        part = _decode(file, data, offset)
        found.kept += len(part)
        found.other += len(data) // EVENT_BYTES - len(part)
        yield part
        offset = file.offset
    found.check()


def _decode(file: EventFile, data: bytes, offset: int) -> RawPart:
    raw = np.frombuffer(data, ">u4").reshape(-1, 2)
    address = raw[:, 0].astype(np.int64)
    at = places(offset, len(raw), EVENT_BYTES)
    strange = np.flatnonzero(address > _ADDRESS_BITS)
    if len(strange):
        first = int(strange[0])
        file.refuse(int(at[first]), "a DVS128 address below 0x10000", hex(address[first]))
    t = raw[:, 1].astype(np.int32).astype(np.int64)
    column, row = (address >> 1) & 127, (address >> 8) & 127
    part = RawPart(t, SIDE - 1 - row, SIDE - 1 - column, address & 1 == 0, at)
    return part.where(address & _TRIGGER == 0)
