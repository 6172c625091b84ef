"""Chunks that Prophesee's own codec wrote, one of each way to write places, are read event by
event.
"""

import numpy as np
import pytest

from spikedriven.data.events.formats.ecf import decode_chunk
from spikedriven.errors import DataError

#: What was written: (t, x, y, p); its bytes, by the codec of github.com/prophesee-ai/hdf5_ecf.
PACKED = [(1000 + k * k, (k * 97) % 1280, (k * 61) % 720, k % 2) for k in range(9)]
ROWS = [(5 + k // 7, (k * 409) % 1280, 3 * (k // 9), int(k % 3 == 0)) for k in range(27)]
LATER = 9 + (1 << 20)
BURST = [(9, 5 + k + k // 6, 7, 1) for k in range(130)]
BURST += [(LATER, 3, 7, 0), (LATER + 15, 4, 8, 0), (LATER + 15, 6, 8, 1)]
CHUNKS = {
    "all packed": (
        PACKED,
        "26000000e803000000000000011131517191b1d1ff01c300000084a1d00347720b07cb08430f8ce4"
        "13134fb51a160010861e0000000000000000",
    ),
    "columns and polarities packed": (
        ROWS,
        "6d00000005000000000000000717171609006900c9001200643397698a2c2d5f5e920359f48c2615"
        "9a85bc18ef4702128545b6708b3e4c717e03126b149e0030",
    ),
    "runs": (
        BURST,
        "1402000009000000000000000f8200f0f0f0f0f0f101ff02ff0083000201bf009f017f025f033f04"
        "1f05ff05df06bf079f087f095f0a3f0b1f0cff0cdf0dbf0e9f0f7f105f113f121c137400ff820002"
        "81",
    ),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_what_their_codec_wrote_is_read(name: str):
    events, data = CHUNKS[name]
    t, x, y, p = decode_chunk(bytes.fromhex(data))
    assert list(zip(t.tolist(), x.tolist(), y.tolist(), p.tolist(), strict=True)) == events


@pytest.mark.parametrize("name", CHUNKS)
def test_a_damaged_chunk_is_an_error_or_other_events(name: str):
    events, data = CHUNKS[name]
    whole, draws = bytes.fromhex(data), np.random.default_rng(0)
    for length in range(len(whole) - 8):
        with pytest.raises(DataError, match="ECF does not end so"):
            decode_chunk(whole[:length])
    for _ in range(300):
        broken = bytearray(whole)
        broken[draws.integers(4, len(broken))] ^= int(draws.integers(1, 256))
        try:
            assert len(decode_chunk(bytes(broken))[0]) == len(events)
        except DataError:
            continue
