"""The order of an epoch: every sample once, a function of seed, epoch and shards."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikedriven.data.order import SHUFFLED_TOGETHER, epoch_order, run_lengths
from spikedriven.data.seeding import permutation


@given(
    shards=st.lists(st.integers(0, 9), max_size=60), seed=st.integers(0, 3), epoch=st.integers(0, 3)
)
def test_every_sample_comes_once(shards: list[int], seed: int, epoch: int):
    shards = [*shards, 1]
    order = epoch_order(sum(shards), seed, epoch, shards)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(sum(shards)))
    assert torch.equal(order, epoch_order(sum(shards), seed, epoch, shards))


def test_a_window_holds_few_shards_and_mixes_them():
    count = 3 * SHUFFLED_TOGETHER
    shard_of = np.repeat(np.arange(count), 10)
    order = epoch_order(len(shard_of), 1, 0, [10] * count)
    windows = shard_of[order].reshape(3, -1)
    assert [len(set(window.tolist())) for window in windows] == [SHUFFLED_TOGETHER] * 3
    assert len(set(windows[0, :20].tolist())) > 8, "neighbours come from several shards"
    others = [
        epoch_order(len(shard_of), seed, epoch, [10] * count) for seed, epoch in ((1, 1), (2, 0))
    ]
    for other in others:
        assert set(shard_of[other].reshape(3, -1)[0].tolist()) != set(windows[0].tolist()), (
            "other shards come first"
        )


def test_the_samples_of_a_shard_come_in_another_order_each_time():
    orders = [epoch_order(100, seed, epoch, [100]) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert len({tuple(order.tolist()) for order in orders}) == 3
    twice = epoch_order(2 * SHUFFLED_TOGETHER * 5, 1, 0, [5] * (2 * SHUFFLED_TOGETHER))
    first, second = (np.argsort(half) for half in np.split(twice.numpy(), 2))
    assert not np.array_equal(first, second), "windows are not shuffled alike"


def test_without_shards_it_is_one_shuffle():
    assert torch.equal(epoch_order(50, 3, 2), permutation(50, "order", 3, 2))


@pytest.mark.parametrize(
    ("values", "lengths"),
    [([], []), ([4], [1]), ([0, 0, 2, 2, 2, 1], [2, 3, 1]), ([-1, 0, 0, -1], [1, 2, 1])],
)
def test_run_lengths(values: list[int], lengths: list[int]):
    assert run_lengths(np.array(values, dtype=np.int32)).tolist() == lengths
