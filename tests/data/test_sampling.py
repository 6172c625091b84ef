"""Repeated augmentation against timm's sampler, balanced classes by counting, and both in
batches."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data.distributed_sampler import RepeatAugSampler

from spikedriven.data import DataConfig, build_train_loader, config_for
from spikedriven.data.loaders import TrainLoader, _EpochOrder
from spikedriven.data.order import epoch_order
from spikedriven.data.sampling import Sampling, balanced_order, earlier
from spikedriven.errors import RecipeError
from tests.data.test_loaders import EVERYTHING, PLAIN, assert_equal, loader, mini


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(0, 5), max_size=30))
def test_earlier_counts(values: list[int]):
    order = torch.tensor(values, dtype=torch.int64)
    assert earlier(order).tolist() == [values[:i].count(value) for i, value in enumerate(values)]


# repeated augmentation ----------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [3, 1.5])
@pytest.mark.parametrize(
    ("length", "processes", "batch"), [(1100, 4, 8), (1100, 1, 16), (700, 2, 16), (100, 2, 5)]
)
def test_each_process_has_the_samples_of_timms_sampler(
    repeats: float, length: int, processes: int, batch: int
):
    """Up to the shuffle itself, which is a permutation of ours there."""
    theirs = torch.randperm(length, generator=torch.Generator().manual_seed(2))
    renamed = {int(a): int(b) for a, b in zip(theirs, epoch_order(length, 0, 2), strict=True)}
    for rank in range(processes):
        timms = RepeatAugSampler(range(length), processes, rank, num_repeats=repeats)
        timms.set_epoch(2)
        expected = [renamed[index] for index in timms]
        if not expected:
            pytest.skip(
                "this timm gives no samples of a set below 256 images; newer versions give all"
            )
        order = _EpochOrder(Sampling(length, repeats), 0, batch, rank, processes)
        order.start(2, 0)
        found = [index for key in order for index in key.indices]
        assert found == expected[: len(found)]
        assert len(expected) - len(found) < batch, "an incomplete last batch is left out"


def test_copies_are_numbered_and_an_epoch_is_as_long_as_without():
    sampling = Sampling(600, 3)
    order, copies = sampling.epoch(1, 0)
    assert len(order) == sampling.selected == 512
    assert copies.tolist() == [n % 3 for n in range(512)]
    assert order[0] == order[1] == order[2] != order[3] and len(set(order.tolist())) == 171
    assert not torch.equal(order, sampling.epoch(1, 1)[0]) and Sampling(100, 2).selected == 100


def test_copies_of_an_image_are_augmented_each_in_its_own_way():
    cfg = dataclasses.replace(
        EVERYTHING, mixup=0.0, cutmix=0.0, smoothing=0.0, random_erasing=0.9, aug_repeats=4
    )
    images, labels = next(loader(cfg, batch_size=20).epoch(0))
    for first in range(0, 20, 4):
        copies = images[first : first + 4]
        assert len(set(labels[first : first + 4].tolist())) == 1
        assert len({copy.numpy().tobytes() for copy in copies}) == 4
    once = dict(_by_bytes(dataclasses.replace(cfg, aug_repeats=1)))
    found = [images[first].numpy().tobytes() in once for first in range(0, 20, 4)]
    assert all(found), "the first copy is what the image is without repeats"


def _by_bytes(cfg: DataConfig) -> list[tuple[bytes, int]]:
    return [
        (image.numpy().tobytes(), int(label))
        for images, labels in loader(cfg, batch_size=20).epoch(0)
        for image, label in zip(images, labels, strict=True)
    ]


def test_processes_share_the_copies_of_an_image():
    cfg = dataclasses.replace(PLAIN, aug_repeats=2)
    parts = [
        next(loader(cfg, batch_size=10, rank=rank, world_size=2).epoch(0))[0] for rank in range(2)
    ]
    assert torch.equal(*parts), "PLAIN augments nothing, so both have the same ten images"
    assert len({image.numpy().tobytes() for image in parts[0]}) == 10


# balanced classes ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_every_class_comes_equally_often(counts: list[int], seed: int, epoch: int):
    targets = np.repeat(np.arange(len(counts)), counts)
    if not len(targets):
        return
    order = balanced_order(targets, seed, epoch)
    assert len(order) == len(targets) and torch.equal(order, balanced_order(targets, seed, epoch))
    present = [label for label, count in enumerate(counts) if count]
    drawn = np.bincount(targets[order.numpy()], minlength=len(counts))[present]
    assert drawn.max() - drawn.min() <= 1
    for label in present:
        own = np.bincount(order.numpy(), minlength=len(targets))[targets == label]
        assert own.max() - own.min() <= 1, "as often as the others of its class, or once more"


def test_a_large_class_is_seen_whole_over_the_epochs():
    targets = np.repeat([0, 1], [90, 10])
    seen = [set(balanced_order(targets, 0, epoch).tolist()) for epoch in range(8)]
    assert all(set(range(90, 100)) <= indices for indices in seen)
    assert seen[0] != seen[1] and len(set().union(*seen)) == 100


def skewed() -> TrainLoader:
    return skewed_loader(dataclasses.replace(PLAIN, sampling="balanced"))


def skewed_loader(cfg: DataConfig, **shard: int) -> TrainLoader:
    """120 images: 100 of the first two classes, 20 of three others."""
    targets = mini(2000).targets
    chosen = [
        *np.flatnonzero(targets < 2)[:100],
        *np.flatnonzero((targets >= 2) & (targets < 5))[:20],
    ]
    return TrainLoader(cfg, mini(2000).subset(np.array(chosen)), 20, 7, **shard)


def test_batches_of_balanced_classes():
    labels = torch.cat([labels for _, labels in skewed().epoch(0)])
    assert torch.bincount(labels).tolist() == [24] * 5
    plain = torch.cat([labels for _, labels in skewed_loader(PLAIN).epoch(0)])
    assert torch.bincount(plain)[:2].sum() == 100


@pytest.mark.parametrize(
    "changes",
    [{"sampling": "balanced"}, {"aug_repeats": 3}, {"sampling": "balanced", "aug_repeats": 2}],
)
def test_an_epoch_goes_on_where_it_was_stopped(changes: dict):
    cfg = dataclasses.replace(EVERYTHING, **changes)
    whole = list(skewed_loader(cfg).epoch(3))
    assert_equal(list(skewed_loader(cfg).epoch(3, start_batch=2)), whole[2:])
    with_workers = list(skewed_loader(dataclasses.replace(cfg, workers=2)).epoch(3))
    assert_equal(with_workers, whole)


@pytest.mark.parametrize(
    "kind", [DataConfig, lambda **values: config_for("fashion-events", **values)]
)
def test_values_that_are_refused(kind):
    with pytest.raises(
        RecipeError, match="sampling: found 'even', expected one of shuffle, balanced"
    ):
        kind(sampling="even")
    for repeats in (0.5, float("nan")):
        with pytest.raises(RecipeError, match=r"aug_repeats: .*a number in \[1, 100\]"):
            kind(aug_repeats=repeats)


def test_clips_of_an_event_set():
    cfg = config_for(
        "fashion-events",
        time_steps=4,
        split_by="time",
        img_size=34,
        workers=0,
        roll=3,
        cache=False,
        aug_repeats=2,
        train_fraction=0.02,
    )

    clips, labels = next(build_train_loader(cfg, batch_size=4, seed=0).epoch(0))
    assert labels[0] == labels[1] and labels[2] == labels[3]
    assert torch.equal(clips[0].sum((-1, -2)), clips[1].sum((-1, -2))) and not torch.equal(
        clips[0], clips[1]
    )
