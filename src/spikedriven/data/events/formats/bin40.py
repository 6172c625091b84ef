"""The .bin files of N-MNIST and N-Caltech101: five bytes an event, and nothing else.

Column, row, then 24 bits, the highest byte first: polarity (1 bit) and time in microseconds (23
bits). Row 240, which no sensor of these sets has, marks that the clock went on by 2^13
microseconds. Nothing in the file says what it is or how large the sensor was. Format:
https://www.garrickorchard.com/datasets/n-mnist; the mark: eventvision.py of the same author.
"""

from collections.abc import Iterator

import numpy as np

from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.raw import RawPart, Source, places

EVENT_BYTES = 5
OVERFLOW_ROW, OVERFLOW_US = 240, 1 << 13


def open_bin40(file: EventFile, chunk: int) -> Source:
    """The events, in file order."""
    return Source(
        file.path,
        "N-MNIST .bin",
        _parts(file, chunk),
        None,
        None,
        hint="34 x 34 of N-MNIST, 180 x 240 of N-Caltech101",
    )


def _parts(file: EventFile, chunk: int) -> Iterator[RawPart]:
    turned, offset = 0, 0
    while data := file.records(EVENT_BYTES, chunk, "events"):
        raw = np.frombuffer(data, np.uint8).astype(np.int64).reshape(-1, EVENT_BYTES)
        x, y, upper, middle, low = raw.T
        turns = turned + np.cumsum(y == OVERFLOW_ROW)
        t = ((upper & 127) << 16 | middle << 8 | low) + turns * OVERFLOW_US
        yield RawPart(t, x, y, upper >> 7 == 1, places(offset, len(raw), EVENT_BYTES)).where(
            y != OVERFLOW_ROW
        )
        turned, offset = int(turns[-1]), file.offset
