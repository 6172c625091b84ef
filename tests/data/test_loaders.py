"""Batches depend on (seed, epoch, index) only: not on workers, processes, where an epoch
starts, or other draws.
"""

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikedriven.data import DataConfig, build_eval_loader, build_train_loader, create_dataset
from spikedriven.data.images import ArrayImages
from spikedriven.data.loaders import TrainLoader, _EpochOrder
from spikedriven.data.sampling import Sampling
from spikedriven.errors import InputError, RecipeError

# Python >= 3.12 says this of every forked loading process.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

EVERYTHING = DataConfig(
    workers=0,
    fit="pad",
    pad=2,
    auto_augment="rand-m9-n1-mstd0.4-inc1",
    random_erasing=0.5,
    random_erasing_mode="pixel",
    mixup=0.5,
    cutmix=1.0,
    mixup_prob=0.8,
    smoothing=0.1,
    scale=(0.5, 1.0),
)
UNMIXED = dataclasses.replace(EVERYTHING, mixup=0.0, cutmix=0.0)
PLAIN = DataConfig(
    workers=0, fit="pad", hflip=0.0, mean=(0.0,), std=(1.0,)
)  # outputs are uint8 / 255, up to rounding
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def mini(count: int) -> ArrayImages:
    return create_dataset("fashion-mini", "train").subset(np.arange(count))


def loader(
    cfg: DataConfig, count: int = 200, batch_size: int = 20, seed: int = 7, **shard: int
) -> TrainLoader:
    return TrainLoader(cfg, mini(count), batch_size, seed, **shard)


def pixels(images: torch.Tensor) -> torch.Tensor:
    return (images.double() * 255).round()


def assert_equal(found: Batches, expected: Batches) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def test_shapes_and_targets():
    train = build_train_loader(EVERYTHING, batch_size=50, seed=1)
    assert (len(train), train.num_classes, train.classes[0], train.broken_count) == (
        200,
        10,
        "T-shirt/top",
        0,
    )
    images, targets = next(train.epoch(0))
    assert (images.shape, images.dtype) == ((50, 1, 32, 32), torch.float32)
    assert (targets.shape, targets.dtype) == ((50, 10), torch.float32)
    images, targets = next(build_train_loader(PLAIN, batch_size=50, seed=1).epoch(0))
    assert (targets.shape, targets.dtype) == ((50,), torch.int64)


def test_without_augmentation_an_epoch_is_the_set():
    batches = list(loader(PLAIN, count=60).epoch(0))
    expected = {(np.pad(np.asarray(image), 2).tobytes(), label) for image, label in mini(60)}
    found = {
        (image[0].byte().numpy().tobytes(), int(label))
        for images, labels in batches
        for image, label in zip(pixels(images), labels, strict=True)
    }
    assert found == expected


def test_workers_change_nothing():
    alone, with_two = loader(EVERYTHING), loader(dataclasses.replace(EVERYTHING, workers=2))
    for epoch in (0, 1):
        assert_equal(list(with_two.epoch(epoch)), list(alone.epoch(epoch)))
    with_two.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_late_equals_skipping(workers: int):
    train = loader(dataclasses.replace(EVERYTHING, workers=workers))
    whole = list(train.epoch(3))
    assert (
        len(list(islice(train.epoch(2), 3))) == 3
    )  # left half-way, its batches must not turn up in the next
    assert_equal(list(train.epoch(3, start_batch=4)), whole[4:])
    assert list(train.epoch(3, start_batch=len(train))) == []
    train.close()


def test_processes_share_the_global_batch():
    whole = list(loader(UNMIXED, batch_size=20).epoch(1))
    parts = [
        list(loader(UNMIXED, batch_size=5, rank=rank, world_size=4).epoch(1)) for rank in range(4)
    ]
    joined = [
        tuple(map(torch.cat, zip(*shards, strict=True))) for shards in zip(*parts, strict=True)
    ]
    assert_equal(joined, whole)


def test_processes_draw_the_same_mixing():
    cfg = dataclasses.replace(PLAIN, mixup=1.0)
    parts = [
        next(loader(cfg, batch_size=10, rank=rank, world_size=2).epoch(0))[1] for rank in range(2)
    ]
    shares = [{round(float(v), 5) for v in targets.flatten()} - {0.0, 1.0} for targets in parts]
    assert shares[0] == shares[1] != set()


@given(
    length=st.integers(1, 400),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 5),
    epoch=st.integers(0, 3),
    data=st.data(),
)
def test_order_partitions_each_global_batch(length, batch_size, world_size, epoch, data):
    if length < batch_size * world_size:
        with pytest.raises(RecipeError, match=f"batch_size: found {batch_size} .* {length} images"):
            _EpochOrder(Sampling(length), 0, batch_size, 0, world_size)
        return
    one = _EpochOrder(Sampling(length), 0, batch_size * world_size, 0, 1)
    start = data.draw(st.integers(0, one.batches_per_epoch))
    one.start(epoch, 0)
    expected = list(one)[start:]
    per_rank = [
        _EpochOrder(Sampling(length), 0, batch_size, rank, world_size) for rank in range(world_size)
    ]
    for order in per_rank:
        order.start(epoch, start)
        assert len(order) == len(expected)
    for keys, whole in zip(zip(*per_rank, strict=True), expected, strict=True):
        assert [index for key in keys for index in key.indices] == whole.indices
        assert {(key.epoch, key.global_batch) for key in keys} == {(epoch, whole.global_batch)}
    seen = [index for key in expected for index in key.indices]
    assert len(set(seen)) == len(seen)


def test_order_and_augmentation_change_with_epoch_and_seed():
    batches = [
        list(loader(UNMIXED, seed=seed).epoch(epoch)) for seed, epoch in ((7, 0), (7, 1), (8, 0))
    ]
    assert not torch.equal(batches[0][0][1], batches[1][0][1])
    assert not torch.equal(batches[0][0][1], batches[2][0][1])
    for drawn_by in (
        {"random_erasing": 0.0},
        {"auto_augment": None, "hflip": 0.0, "pad": 0, "scale": (1.0, 1.0)},
    ):
        cfg = dataclasses.replace(UNMIXED, **{"random_erasing": 1.0, **drawn_by})
        images = [
            next(loader(cfg, count=1, batch_size=1, seed=s).epoch(e))[0]
            for s, e in ((7, 0), (7, 1), (8, 0))
        ]
        assert len({image.numpy().tobytes() for image in images}) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_global_generators_are_left_alone(workers: int):
    def state() -> tuple:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = state()
    cfg = dataclasses.replace(EVERYTHING, workers=workers)
    train = loader(cfg)
    first = list(train.epoch(0))
    assert state() == before
    list(build_eval_loader(cfg, batch_size=1000))
    assert state() == before
    torch.rand(3)
    assert_equal(list(train.epoch(0)), first)
    train.close()


def test_erasing_modes():
    for mode, distinct in (("rand", 1), ("pixel", 50)):
        cfg = dataclasses.replace(
            PLAIN, random_erasing=1.0, random_erasing_mode=mode, random_erasing_count=1
        )
        images, before = next(loader(cfg).epoch(0))[0], next(loader(PLAIN).epoch(0))[0]
        values = [
            image[image != full].unique().numel()
            for image, full in zip(images, before, strict=True)
        ]
        assert max(values) == 1 if mode == "rand" else max(values) >= distinct


def test_odd_batch_cannot_be_mixed():
    with pytest.raises(RecipeError, match=r"^batch_size: found 25; mixup and cutmix mix pairs"):
        build_train_loader(EVERYTHING, batch_size=25, seed=0)
    assert len(build_train_loader(UNMIXED, batch_size=25, seed=0)) == 400


def test_arguments_are_checked():
    for wrong in (
        {"batch_size": 0},
        {"batch_size": 4, "rank": 2, "world_size": 2},
        {"batch_size": 4, "world_size": 0},
    ):
        with pytest.raises(InputError, match="expected batch_size >= 1 and 0 <= rank < world_size"):
            build_train_loader(PLAIN, seed=0, **wrong)
        with pytest.raises(InputError, match="expected batch_size >= 1 and 0 <= rank < world_size"):
            build_eval_loader(PLAIN, **wrong)
    train = loader(PLAIN)
    for epoch, start in ((-1, 0), (0, -1), (0, len(train) + 1)):
        with pytest.raises(InputError, match="0 <= start_batch <= 10"):
            train.epoch(epoch, start)


def test_an_epoch_that_was_replaced_says_so():
    train = loader(PLAIN)
    first = train.epoch(0)
    next(first)
    second = train.epoch(1)
    with pytest.raises(InputError, match="ended by a later call"):
        next(first)
    assert len(list(second)) == 10
    train.close()
    with pytest.raises(InputError, match="closed"):
        train.epoch(2)


def living_workers() -> int:
    """Loading processes still there, after giving ending ones up to five seconds."""
    deadline = time.monotonic() + 5
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(multiprocessing.active_children())


@pytest.mark.parametrize("way", ["close", "forget", "evaluation"])
def test_no_process_is_left_behind(way: str):
    cfg = dataclasses.replace(PLAIN, workers=2)
    if way == "evaluation":
        next(iter(build_eval_loader(cfg, batch_size=100)))
    else:
        train = loader(cfg)
        batches = train.epoch(0)
        next(batches)
        assert len(multiprocessing.active_children()) == 2
        if way == "close":
            train.close()
        else:
            del train, batches
    assert living_workers() == 0


def test_workers_leave_interrupts_to_the_main_process():
    train = loader(dataclasses.replace(PLAIN, workers=1))
    batches = train.epoch(0)
    found = [next(batches)]
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)
    found += list(batches)
    assert_equal(found, list(loader(PLAIN).epoch(0)))
    train.close()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 3])
def test_evaluation_sees_each_image_once_in_order(world_size: int, workers: int):
    test = create_dataset("fashion-mini", "test")
    cfg = dataclasses.replace(PLAIN, workers=workers)
    seen = 0
    for rank in range(world_size):
        shard = build_eval_loader(cfg, batch_size=300, rank=rank, world_size=world_size)
        batches = list(shard)
        assert len(batches) == len(shard)
        images, labels = (torch.cat(column) for column in zip(*batches, strict=True))
        assert labels.dtype == torch.int64
        assert np.array_equal(labels.numpy(), test.targets[rank::world_size])
        expected = np.pad(test.images[rank::world_size], ((0, 0), (2, 2), (2, 2)))
        assert np.array_equal(pixels(images)[:, 0].numpy(), expected)
        seen += len(labels)
    assert seen == 2000
    assert shard.dataset.num_classes == 10


def test_validation_split_is_not_trained_on():
    cfg = dataclasses.replace(PLAIN, val_fraction=0.2)
    assert len(build_train_loader(cfg, batch_size=100, seed=0)) == 80
    val = build_eval_loader(cfg, "val", batch_size=500)
    assert sum(len(labels) for _, labels in val) == 2000
