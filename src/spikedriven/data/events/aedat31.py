"""AEDAT 3.1 files, the format of DVS128 Gesture.

Text lines that start with #, the last of them #!END-HEADER, then packets, little-endian. A packet
is a header of 28 bytes (type uint16, source uint16, event size, offset of the time in an event,
overflows of the clock, capacity, number of events, number of valid events: uint32 each) and
`capacity` events of `event size` bytes. A polarity event (type 1) has 8 bytes: data uint32 (bit 0
valid, bit 1 polarity, bits 2 to 16 row, bits 17 to 31 column), time uint32 in microseconds, to
which 2^31 is added for every overflow. Packets of other types are passed over, as are events that
are marked invalid. Format: iniVation's AEDAT 3.1.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spikedriven.data.events.binary import EventFile, Tally
from spikedriven.data.events.events import LARGEST_TIME
from spikedriven.data.events.raw import RawPart, Source, places

MAGIC = b"#!AER-DAT3.1"
END_OF_HEADER = b"#!END-HEADER"
POLARITY, EVENT_BYTES = 1, 8
_PACKET = struct.Struct("<HHIIIIII")
_SOURCE = re.compile(rb"#\s*Source\s+\d+:\s*([A-Za-z]+\d+)", re.IGNORECASE)
#: (height, width) of the cameras that the header may name, and of one that it does not name.
CAMERAS = {
    "DVS128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS208": (192, 208),
    "DAVIS240": (180, 240),
    "DAVIS346": (260, 346),
    "DAVIS640": (480, 640),
}
UNNAMED = (128, 128)


@dataclass(frozen=True)
class Packet:
    """Header of one packet."""

    kind: int
    event_bytes: int
    overflows: int
    capacity: int
    number: int


def open_aedat31(file: EventFile, chunk: int) -> Source:
    """The polarity events, in file order. DataError names file, byte, expected and found."""
    camera = _read_header(file)
    height, width = UNNAMED if camera is None else CAMERAS.get(camera, (None, None))
    notes = {} if camera is None else {"camera": camera}
    return Source(file.path, "AEDAT 3.1", _parts(file, chunk), height, width, notes=notes)


def _read_header(file: EventFile) -> str | None:
    """The camera that the header names; None where it names none. Reads up to the first packet."""
    lines = file.header_lines()
    first, camera = next(lines, b""), None
    if not first.startswith(MAGIC):
        file.refuse(0, MAGIC.decode(), repr(first[:40]))
    for line in lines:
        if named := _SOURCE.match(line):
            camera = named[1].decode().upper()
        if line == END_OF_HEADER:
            break
    else:
        file.refuse(file.offset, END_OF_HEADER.decode(), "the end of the header lines")
    return camera


def _parts(file: EventFile, chunk: int) -> Iterator[RawPart]:
    found = Tally(file.path)
    while file.peek(1):
        packet = _read_packet(file)
        events = packet.number if packet.kind == POLARITY else 0
        for first in range(0, events, chunk):
            part = _polarity_events(file, packet, min(chunk, events - first))
            found.kept += len(part)
            yield part
        found.dropped += events
        found.other += packet.number - events
        file.skip(packet.capacity * packet.event_bytes - events * EVENT_BYTES, "a packet")
    found.dropped -= found.kept
    found.check("are marked invalid")


def _read_packet(file: EventFile) -> Packet:
    at = file.offset
    kind, _source, size, time_at, overflows, capacity, number, _valid = _PACKET.unpack(
        file.read(_PACKET.size, "a packet's header")
    )
    if number > capacity:
        file.refuse(at, f"at most {capacity} events, the packet's capacity", number)
    if kind == POLARITY and (size, time_at) != (EVENT_BYTES, 4):
        file.refuse(
            at,
            "polarity events of 8 bytes with the time at byte 4",
            f"{size} bytes, time at {time_at}",
        )
    if not file.left_at_most(capacity * size):
        left = (file.size or 0) - file.offset
        file.refuse(
            at,
            f"{capacity} events of {size} bytes",
            f"{left} bytes up to the end; the file is cut off",
        )
    if overflows > LARGEST_TIME >> 31:
        file.refuse(at, f"a number of clock overflows up to {LARGEST_TIME >> 31}", overflows)
    return Packet(kind, size, overflows, capacity, number)


def _polarity_events(file: EventFile, packet: Packet, count: int) -> RawPart:
    """The next `count` events of a packet, those that are marked valid."""
    at = places(file.offset, count, EVENT_BYTES)
    raw = np.frombuffer(file.read(count * EVENT_BYTES, "events"), "<u4").reshape(-1, 2)
    data = raw[:, 0].astype(np.int64)
    t = raw[:, 1].astype(np.int64) + (packet.overflows << 31)
    part = RawPart(t, data >> 17, (data >> 2) & 0x7FFF, (data >> 1) & 1 == 1, at)
    return part.where(data & 1 == 1)
