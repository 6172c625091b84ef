"""Batches depend on (seed, epoch, index) only: not on workers, processes, where an epoch starts, or other draws."""

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
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
    workers=0, fit="pad", pad=2, auto_augment="rand-m9-n1-mstd0.4-inc1", random_erasing=0.5,
    random_erasing_mode="pixel", mixup=0.5, cutmix=1.0, mixup_prob=0.8, smoothing=0.1, scale=(0.5, 1.0),
)  # fmt: skip
UNMIXED = dataclasses.replace(EVERYTHING, mixup=0.0, cutmix=0.0)
PLAIN = DataConfig(workers=0, fit="pad", hflip=0.0, mean=(0.0,), std=(1.0,))  # outputs are uint8 / 255, up to rounding
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def mini(count: int) -> ArrayImages:
    return create_dataset("fashion-mini", "train").subset(np.arange(count))


def loader(cfg: DataConfig, count: int = 200, batch_size: int = 20, seed: int = 7, **shard: int) -> TrainLoader:
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
    assert (len(train), train.num_classes, train.classes[0], train.broken_count) == (200, 10, "T-shirt/top", 0)
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
    assert len(list(islice(train.epoch(2), 3))) == 3  # left half-way, its batches must not turn up in the next
    assert_equal(list(train.epoch(3, start_batch=4)), whole[4:])
    assert list(train.epoch(3, start_batch=len(train))) == []
    train.close()


def test_processes_share_the_global_batch():
    whole = list(loader(UNMIXED, batch_size=20).epoch(1))
    parts = [list(loader(UNMIXED, batch_size=5, rank=rank, world_size=4).epoch(1)) for rank in range(4)]
    joined = [tuple(map(torch.cat, zip(*shards, strict=True))) for shards in zip(*parts, strict=True)]
    assert_equal(joined, whole)


def test_processes_draw_the_same_mixing():
    cfg = dataclasses.replace(PLAIN, mixup=1.0)
    parts = [next(loader(cfg, batch_size=10, rank=rank, world_size=2).epoch(0))[1] for rank in range(2)]
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
    per_rank = [_EpochOrder(Sampling(length), 0, batch_size, rank, world_size) for rank in range(world_size)]
    for order in per_rank:
        order.start(epoch, start)
        assert len(order) == len(expected)
    for keys, whole in zip(zip(*per_rank, strict=True), expected, strict=True):
        assert [index for key in keys for index in key.indices] == whole.indices
        assert {(key.epoch, key.global_batch) for key in keys} == {(epoch, whole.global_batch)}
    seen = [index for key in expected for index in key.indices]
    assert len(set(seen)) == len(seen)


def test_order_and_augmentation_change_with_epoch_and_seed():
    batches = [list(loader(UNMIXED, seed=seed).epoch(epoch)) for seed, epoch in ((7, 0), (7, 1), (8, 0))]
    assert not torch.equal(batches[0][0][1], batches[1][0][1])
    assert not torch.equal(batches[0][0][1], batches[2][0][1])
    for drawn_by in ({"random_erasing": 0.0}, {"auto_augment": None, "hflip": 0.0, "pad": 0, "scale": (1.0, 1.0)}):
        cfg = dataclasses.replace(UNMIXED, **{"random_erasing": 1.0, **drawn_by})
        images = [next(loader(cfg, count=1, batch_size=1, seed=s).epoch(e))[0] for s, e in ((7, 0), (7, 1), (8, 0))]
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


def mixed_pairs(cfg: DataConfig, count: int = 200) -> Iterator[tuple[torch.Tensor, ...]]:
    """Per batch: pixels as mixed, pixels and labels before mixing, soft targets."""
    plain = loader(dataclasses.replace(cfg, mixup=0.0, cutmix=0.0, cutmix_minmax=None, smoothing=0.0), count)
    for (images, targets), (before, labels) in zip(loader(cfg, count).epoch(0), plain.epoch(0), strict=True):
        yield pixels(images), pixels(before), labels, targets


def smoothed(labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 10).double() * (1 - smoothing) + smoothing / 10


def share_of_first(targets: torch.Tensor, labels: torch.Tensor, smoothing: float) -> float:
    """lambda, read off a row whose partner has another label."""
    row = int(torch.nonzero(labels != labels.flip(0))[0, 0])
    return (float(targets[row, labels[row]]) - smoothing / 10) / (1 - smoothing)


def test_mixup_blends_with_the_flipped_batch_and_rounds():
    for mixed, before, labels, targets in mixed_pairs(dataclasses.replace(PLAIN, mixup=0.5, smoothing=0.1)):
        share = share_of_first(targets, labels, 0.1)
        blend = share * before + (1 - share) * before.flip(0)
        assert (mixed - blend).abs().max() < 0.51
        expected = share * smoothed(labels, 0.1) + (1 - share) * smoothed(labels.flip(0), 0.1)
        assert (targets.double() - expected).abs().max() < 1e-6


def test_cutmix_pastes_a_box_of_the_area_it_states():
    for mixed, before, labels, targets in mixed_pairs(dataclasses.replace(PLAIN, cutmix=1.0)):
        share = share_of_first(targets, labels, 0.0)
        other = mixed != before
        assert torch.equal(mixed[other], before.flip(0)[other])
        box = torch.nonzero(other.any(0)[0])
        if len(box):
            size = (box.max(0).values - box.min(0).values + 1).prod() / 1024
            assert size <= 1 - share + 1e-6


def test_mixing_probability_and_switch():
    cfg = dataclasses.replace(PLAIN, mixup=0.5, cutmix=1.0, mixup_prob=0.6, switch_prob=0.3)
    kinds = {"none": 0, "cutmix": 0, "mixup": 0}
    for mixed, before, _, targets in mixed_pairs(cfg, count=4000):
        if torch.equal(mixed, before) and set(targets.unique().tolist()) == {0.0, 1.0}:
            kinds["none"] += 1
        else:
            from_either = ((mixed == before) | (mixed == before.flip(0))).all()
            kinds["cutmix" if from_either else "mixup"] += 1
    assert 60 <= kinds["none"] <= 100  # 80 expected of 200
    assert 20 <= kinds["cutmix"] <= 55  # 36
    assert 60 <= kinds["mixup"] <= 110  # 84


def own_shares(targets: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How much of its own label each image has, float64 [B]; nan where the partner has the same one."""
    own = targets.double().gather(1, labels[:, None])[:, 0]
    return torch.where(labels == labels.flip(0), torch.nan, own)


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_modes_of_mixup(mode: str):
    """One share for a batch, for a pair of partners, or for an image: in pixels as in targets."""
    cfg = dataclasses.replace(PLAIN, mixup=0.8, mixup_mode=mode, mixup_prob=0.7)
    spread, between_partners, untouched = [], [], 0
    for mixed, before, labels, targets in mixed_pairs(cfg, 1000):
        share = own_shares(targets, labels)
        known = ~share.isnan()
        part = share[:, None, None, None]
        blend = part * before + (1 - part) * before.flip(0)
        assert (mixed - blend)[known].abs().max() < 0.51
        spread.append(float(share[known].max() - share[known].min()))
        between_partners.append(float((share - share.flip(0))[known].abs().max()))
        untouched += int((share[known] == 1).sum())
    assert (max(spread) < 1e-6) == (mode == "batch")
    assert (max(between_partners) < 1e-6) == (mode != "elem")
    assert 100 < untouched < 500, "three in ten are not mixed"


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_cutmix_with_sides_in_a_range(mode: str):
    """Boxes have sides of 8 to 15 of 32 pixels, wherever they are; targets have their areas."""
    cfg = dataclasses.replace(PLAIN, cutmix_minmax=(0.25, 0.5), mixup_mode=mode, smoothing=0.0)
    boxes = set()
    for mixed, before, labels, targets in mixed_pairs(cfg, 400):
        share = own_shares(targets, labels)
        for i in range(len(share)):
            pasted = (1 - float(share[i])) * 32 * 32
            if pasted != pasted:
                continue
            rows, columns = [(mixed[i, 0] != before[i, 0]).any(axis).nonzero() for axis in (1, 0)]
            sides = [int(places.max() - places.min()) + 1 if len(places) else 0 for places in (rows, columns)]
            area = round(pasted)
            fitting = [(h, area // h) for h in range(8, 16) if area % h == 0 and 8 <= area // h <= 15]
            assert pasted == pytest.approx(area, abs=1e-3)
            assert any(h >= sides[0] and w >= sides[1] for h, w in fitting), (area, sides)
            other = mixed[i] != before[i]
            assert torch.equal(mixed[i][other], before.flip(0)[i][other])
            boxes.add(area)
    assert len(boxes) > 10


def test_mixup_and_cutmix_side_by_side_in_one_batch():
    cfg = dataclasses.replace(PLAIN, mixup=0.5, cutmix=1.0, mixup_mode="elem", switch_prob=0.5)
    kinds = {True: 0, False: 0}
    for mixed, before, _, _ in mixed_pairs(cfg, 400):
        from_either = ((mixed == before) | (mixed == before.flip(0))).flatten(1).all(1)
        for kind in from_either.tolist():
            kinds[kind] += 1
    assert min(kinds.values()) > 100


def test_mixing_stops_at_its_epoch_and_targets_stay_smoothed():
    train = loader(dataclasses.replace(PLAIN, mixup=0.5, smoothing=0.1, mixup_off_epoch=2))
    plain = loader(PLAIN)
    for epoch, mixes in ((1, True), (2, False), (5, False)):
        pairs = list(zip(train.epoch(epoch), plain.epoch(epoch), strict=True))
        assert any(not torch.equal(a[0], b[0]) for a, b in pairs) == mixes
        if not mixes:
            assert all(torch.equal(a[0], b[0]) for a, b in pairs)
            assert all((a[1].double() - smoothed(b[1], 0.1)).abs().max() < 1e-6 for a, b in pairs)


def test_smoothing_without_mixing_gives_soft_targets():
    _, targets = next(loader(dataclasses.replace(PLAIN, smoothing=0.2)).epoch(0))
    _, labels = next(loader(PLAIN).epoch(0))
    assert (targets.double() - smoothed(labels, 0.2)).abs().max() < 1e-6


def test_erasing_comes_after_mixing_and_normalization():
    """Erased pixels are exactly 0 where black is -0.81 and no mixture of pixels gives 0."""
    cfg = dataclasses.replace(PLAIN, mean=None, std=None, mixup=0.5, random_erasing=0.5)
    erased = whole = 0
    unerased = loader(dataclasses.replace(cfg, random_erasing=0.0)).epoch(0)
    for (images, _), (expected, _) in zip(loader(cfg).epoch(0), unerased, strict=True):
        for image, full in zip(images, expected, strict=True):
            changed = image != full
            assert (image[changed] == 0).all()
            erased += bool(changed.any())
            whole += not changed.any()
    assert 60 <= erased <= 140
    assert erased + whole == 200


def test_erasing_modes():
    for mode, distinct in (("rand", 1), ("pixel", 50)):
        cfg = dataclasses.replace(PLAIN, random_erasing=1.0, random_erasing_mode=mode, random_erasing_count=1)
        images, before = next(loader(cfg).epoch(0))[0], next(loader(PLAIN).epoch(0))[0]
        values = [image[image != full].unique().numel() for image, full in zip(images, before, strict=True)]
        assert max(values) == 1 if mode == "rand" else max(values) >= distinct


def test_odd_batch_cannot_be_mixed():
    with pytest.raises(RecipeError, match=r"^batch_size: found 25; mixup and cutmix mix pairs"):
        build_train_loader(EVERYTHING, batch_size=25, seed=0)
    assert len(build_train_loader(UNMIXED, batch_size=25, seed=0)) == 400


def test_arguments_are_checked():
    for wrong in ({"batch_size": 0}, {"batch_size": 4, "rank": 2, "world_size": 2}, {"batch_size": 4, "world_size": 0}):
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
