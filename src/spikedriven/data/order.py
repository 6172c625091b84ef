"""The order in which an epoch reads its samples: a function of (seed, epoch) and of how the set
is cut into shards.
"""

from collections.abc import Sequence

import numpy as np
import torch

from spikedriven.data.seeding import permutation

#: Shards whose samples are shuffled among each other: what one reads in a while stays within so
#: many files.
SHUFFLED_TOGETHER = 16


def epoch_order(
    length: int, seed: int, epoch: int, shards: Sequence[int] | np.ndarray | None = None
) -> torch.Tensor:
    """Every index 0..length-1 once, int64 `[length]`.

    shards: how many consecutive samples each shard holds, in the set's order. The shards are
    shuffled, then the samples within each window of `SHUFFLED_TOGETHER` of them, so that a disk
    reads a few files at a time instead of all. None: one shuffle over everything.
    """
    if shards is None:
        return permutation(length, "order", seed, epoch)
    ends = np.cumsum(shards)
    order = permutation(len(ends), "shards", seed, epoch).tolist()
    windows = []
    for number, begin in enumerate(range(0, len(order), SHUFFLED_TOGETHER)):
        chosen = order[begin : begin + SHUFFLED_TOGETHER]
        indices = torch.cat([torch.arange(ends[i] - shards[i], ends[i]) for i in chosen])
        windows.append(indices[permutation(len(indices), "window", seed, epoch, number)])
    return torch.cat(windows)


def run_lengths(values: np.ndarray) -> np.ndarray:
    """Lengths of the runs of equal neighbours in an array `[N]`; int64, their sum is N."""
    starts = (
        np.flatnonzero(np.diff(values, prepend=values[0] - 1))
        if len(values)
        else np.zeros(0, dtype=np.int64)
    )
    return np.diff(starts, append=len(values))
