"""Event files written byte by byte from the definitions of their formats, without the code
under test.
"""

import struct
from collections.abc import Iterable
from pathlib import Path

AEDAT2_HEADER = (
    b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n#End Of ASCII Header\r\n"
)
AEDAT31_HEADER = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-04-20 10:00:00\r\n"
    b"#!END-HEADER\r\n"
)


def aedat2_event(t: int, column: int, row: int, bit: int, trigger: bool = False) -> bytes:
    """column, row, bit: as in the address; t: microseconds, signed."""
    return struct.pack(">Ii", row << 8 | column << 1 | bit | trigger << 15, t)


def write_aedat2(path: Path, events: Iterable[tuple[int, int, int, int]]) -> Path:
    """events: (t, column, row, bit)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(AEDAT2_HEADER + b"".join(aedat2_event(*event) for event in events))
    return path


def aedat31_event(t: int, x: int, y: int, p: int, valid: int = 1) -> bytes:
    return struct.pack("<II", x << 17 | y << 2 | p << 1 | valid, t)


def packet(
    events: list[bytes],
    *,
    kind: int = 1,
    size: int = 8,
    overflow: int = 0,
    capacity: int | None = None,
    number: int | None = None,
    time_at: int = 4,
) -> bytes:
    count = len(events)
    capacity, number = count if capacity is None else capacity, count if number is None else number
    return struct.pack(
        "<HHIIIIII", kind, 1, size, time_at, overflow, capacity, number, number
    ) + b"".join(events)


def write_aedat31(path: Path, events: list[tuple[int, int, int, int]], per_packet: int = 5) -> Path:
    """events: (t, x, y, p)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [aedat31_event(*event) for event in events]
    packets = [packet(encoded[i : i + per_packet]) for i in range(0, len(encoded), per_packet)]
    path.write_bytes(AEDAT31_HEADER + b"".join(packets))
    return path
