"""AEDAT 3.1 files, the format of DVS128 Gesture.

Text lines that start with #, the last of them #!END-HEADER, then packets, little-endian. A packet is a header of 28
bytes (type uint16, source uint16, event size, offset of the time in an event, overflows of the clock, capacity, number
of events, number of valid events: uint32 each) and `capacity` events of `event size` bytes. A polarity event (type 1)
has 8 bytes: data uint32 (bit 0 valid, bit 1 polarity, bits 2 to 16 row, bits 17 to 31 column), time uint32 in
microseconds, to which 2^31 is added for every overflow. Packets of other types are passed over, as are events that
are marked invalid. Format: iniVation's AEDAT 3.1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikedriven.data.events.binary import Clock, EventFile, check_chunk, on_sensor, open_file
from spikedriven.data.events.events import Events

MAGIC = b"#!AER-DAT3.1"
END_OF_HEADER = b"#!END-HEADER"
POLARITY, EVENT_BYTES = 1, 8
_PACKET = struct.Struct("<HHIIIIII")


@dataclass(frozen=True)
class Packet:
    """Header of one packet; `offset` is where its events start."""

    kind: int
    event_bytes: int
    overflows: int
    capacity: int
    number: int
    offset: int


def stream_aedat31(
    path: str | Path, chunk: int = 1 << 16, height: int = 128, width: int = 128
) -> Iterator[Events]:
    """Parts of at most `chunk` events, in file order. DataError names file, byte, expected and found."""
    check_chunk(chunk)
    with open_file(Path(path)) as file:
        _skip_header(file)
        clock = Clock(file.path)
        while file.left:
            packet = _read_packet(file)
            if packet.kind == POLARITY:
                yield from _polarity_events(file, packet, chunk, clock, height, width)
            file.file.seek(packet.offset + packet.capacity * packet.event_bytes)


def _skip_header(file: EventFile) -> None:
    lines = file.header_lines()
    first = next(lines, b"")
    if not first.startswith(MAGIC):
        file.refuse(0, MAGIC.decode(), repr(first[:40]))
    if END_OF_HEADER not in lines:
        file.refuse(file.offset, END_OF_HEADER.decode(), "the end of the header lines")


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
    if capacity * size > file.left:
        file.refuse(
            at,
            f"{capacity} events of {size} bytes",
            f"{file.left} bytes up to the end; the file is cut off",
        )
    if overflows > 1 << 30:
        file.refuse(at, "a number of clock overflows below 2^30", overflows)
    return Packet(kind, size, overflows, capacity, number, file.offset)


def _polarity_events(
    file: EventFile, packet: Packet, chunk: int, clock: Clock, height: int, width: int
) -> Iterator[Events]:
    for first in range(0, packet.number, chunk):
        count = min(chunk, packet.number - first)
        offset = file.offset
        raw = np.frombuffer(file.read(count * EVENT_BYTES, "events"), "<u4").reshape(-1, 2)
        data = raw[:, 0].astype(np.int64)
        t = clock.forward(
            raw[:, 1].astype(np.int64) + (packet.overflows << 31), offset, EVENT_BYTES
        )
        arrays = {"t": t, "x": data >> 17, "y": (data >> 2) & 0x7FFF, "p": (data >> 1) & 1}
        yield on_sensor(file, arrays, data & 1 == 1, (height, width), offset, EVENT_BYTES)
