"""Chunks of Prophesee's ECF, the compression of Metavision's HDF5 files (HDF5 filter 0x8ECF), which
h5py does not know.

A chunk: uint32, of which bits 2 and up are the number of events, bits 1 and 0 how places are
written; then the times, then the places. All little-endian. Runs of one value are written as value
and length. Format: the codec of https://github.com/prophesee-ai/hdf5_ecf (Apache-2.0); this is a
decoder of our own, compared with it.
"""

import struct

import numpy as np

from spikedriven.errors import DataError

FILTER = 0x8ECF
#: The most events that a chunk may have.
LARGEST_CHUNK = 65_535
_ALL_PACKED, _X_AND_P_PACKED = 2, 1
_LONGEST_JUMP = 60  # bits of a pause in the times


def decode_chunk(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """t, x, y int64 [N] and p bool [N] of one chunk. DataError for one that ends too early, or
    claims too much.
    """
    try:
        return _decode(data)
    except (IndexError, struct.error, ValueError) as error:
        raise DataError(
            f"a chunk of {len(data)} bytes that ECF does not end so: {error}"
        ) from error


def _decode(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    header, origin = struct.unpack_from("<Iq", data)
    count = header >> 2
    if not 0 < count <= LARGEST_CHUNK:
        raise ValueError(f"expected 1 to {LARGEST_CHUNK} events, found {count}")
    t, at = _times(data, 12, count)
    if header & _ALL_PACKED:
        words, _ = _packed(data, at, count, "<u4", 24)
        y, x = words >> 12 & 0x7FF, words >> 1 & 0x7FF
        return origin + t, x, y, words & 1 == 1
    y, at = _runs_of_rows(data, at, count)
    if header & _X_AND_P_PACKED:
        words, _ = _packed(data, at, count, "<u2", 12)
        return origin + t, words >> 1, y, words & 1 == 1
    x, at = _columns(data, at, count)
    return origin + t, x, y, _runs_of_polarities(data, at, count) == 1


def _times(data: bytes, at: int, count: int) -> tuple[np.ndarray, int]:
    """Bytes of 4 bits of step and 4 of length; a step of 15 is 4 bits of a longer one, the lowest
    first; a length of 15 stands in the two bytes behind.
    """
    steps, lengths, done, jump, shift = [], [], 0, 0, 0
    while done < count:
        step, length = data[at] >> 4, data[at] & 15
        at += 1
        if step == 15:
            if shift >= _LONGEST_JUMP:
                raise ValueError("a pause of more than 2^60 microseconds")
            jump, shift = jump | length << shift, shift + 4
            continue
        if length == 15:
            length, at = data[at] | data[at + 1] << 8, at + 2
        steps.append(step + jump)
        lengths.append(length)
        done, jump, shift = done + length, 0, 0
    return _repeated(np.cumsum(np.array(steps, np.int64)), lengths, count), at


def _runs_of_rows(data: bytes, at: int, count: int) -> tuple[np.ndarray, int]:
    """Words of 11 bits of row and 5 of length; a length of 31 stands in the word behind."""
    rows, lengths, done = [], [], 0
    while done < count:
        (word,) = struct.unpack_from("<H", data, at)
        length, at = word & 31, at + 2
        if length == 31:
            (length,) = struct.unpack_from("<H", data, at)
            at += 2
        rows.append(word >> 5)
        lengths.append(length)
        done += length
    return _repeated(np.array(rows, np.int64), lengths, count), at


def _runs_of_polarities(data: bytes, at: int, count: int) -> np.ndarray:
    """Bytes of 1 bit of polarity and 7 of length; a length of 127 stands in the two bytes
    behind.
    """
    values, lengths, done = [], [], 0
    while done < count:
        value, length = data[at] >> 7, data[at] & 127
        at += 1
        if length == 127:
            length, at = data[at] | data[at + 1] << 8, at + 2
        values.append(value)
        lengths.append(length)
        done += length
    return _repeated(np.array(values, np.int64), lengths, count)


def _columns(data: bytes, at: int, count: int) -> tuple[np.ndarray, int]:
    """Words of 11 bits of column and 5 that say which of the next five columns have an event
    too.
    """
    words = np.frombuffer(data, "<u2", min(count, (len(data) - at) // 2), at).astype(np.int64)
    marked = np.concatenate(
        [np.ones((len(words), 1), np.int64), words[:, None] >> np.arange(4, -1, -1) & 1], axis=1
    )
    needed = int(np.searchsorted(np.cumsum(marked.sum(1)), count)) + 1
    if needed > len(words):
        raise ValueError(f"columns of {int(marked.sum())} events, expected {count}")
    word, offset = np.nonzero(marked[:needed])
    return ((words[word] >> 5) + offset)[:count], at + 2 * needed


def _packed(data: bytes, at: int, count: int, dtype: str, bits: int) -> tuple[np.ndarray, int]:
    """Values of `bits` bits, four of them in three words of 4/3 as many."""
    groups = -(-count // 4)
    a, b, c = np.frombuffer(data, dtype, 3 * groups, at).astype(np.int64).reshape(-1, 3).T
    third = bits // 3
    low, middle = (1 << third) - 1, (1 << 2 * third) - 1
    values = (
        a >> third,
        (a & low) | (b >> 2 * third) << third,
        (b & middle) | (c >> bits) << 2 * third,
        c & ((1 << bits) - 1),
    )
    return np.stack(values, axis=1).reshape(-1)[:count], at + 3 * groups * np.dtype(dtype).itemsize


def _repeated(values: np.ndarray, lengths: list[int], count: int) -> np.ndarray:
    if sum(lengths) != count:
        raise ValueError(f"runs of {sum(lengths)} events, expected {count}")
    return np.repeat(values, lengths)
