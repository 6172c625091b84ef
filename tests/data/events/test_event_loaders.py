"""Batches of event sets: functions of (seed, epoch, index) whatever the workers, processes and
restarts.
"""

from pathlib import Path

import pytest
import torch

from spikedriven.data import (
    EventDataConfig,
    build_eval_loader,
    build_train_loader,
    config_for,
    create_dataset,
)
from spikedriven.errors import DataError, RecipeError
from tests.data.events.sets import write_cifar10_dvs, write_har

EVERYTHING = {
    "hflip": 0.5,
    "roll": 3,
    "rotation": 10.0,
    "shear": 0.1,
    "cutout": 8,
    "snn_augment": True,
    "mixup": 0.5,
    "event_mix": 1.0,
    "event_mix_prob": 0.3,
    "smoothing": 0.1,
}
Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    write_cifar10_dvs(folder, per_class=4, events=300)
    write_har(folder, frames=6)
    return folder


def config(root: Path, dataset: str = "cifar10-dvs", **changes) -> EventDataConfig:
    plain = {"time_steps": 3, "img_size": 32, "workers": 0}
    plain |= {"split": "authors"} if dataset == "cifar10-dvs" else {}
    return config_for(dataset, root=root, **plain | changes)


def batches(
    cfg: EventDataConfig, epoch: int = 0, start: int = 0, size: int = 8, seed: int = 1, **shard
) -> Batches:
    loader = build_train_loader(cfg, batch_size=size, seed=seed, **shard)
    found = list(loader.epoch(epoch, start_batch=start))
    loader.close()
    return found


def equal(a: Batches, b: Batches) -> bool:
    same = [
        torch.equal(x, y)
        for one, other in zip(a, b, strict=True)
        for x, y in zip(one, other, strict=True)
    ]
    return all(same)


@pytest.mark.parametrize("dataset", ["cifar10-dvs", "har-dvs"])
def test_draws_depend_on_seed_epoch_and_index_only(root: Path, dataset: str):
    cfg = config(root, dataset, **EVERYTHING)
    torch.manual_seed(0)
    first = batches(cfg, size=4)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert equal(first, batches(cfg, size=4))
    torch.manual_seed(0)
    batches(cfg, size=4)
    assert torch.equal(torch.get_rng_state(), state), "the loop's generator is left alone"
    assert equal(first[1:], batches(cfg, start=1, size=4)), "a resumed epoch goes on where it was"
    assert equal(first, batches(config(root, dataset, workers=2, **EVERYTHING), size=4))
    assert not equal(first, batches(cfg, epoch=1, size=4)) and not equal(
        first, batches(cfg, seed=2, size=4)
    )


def test_each_epoch_augments_a_recording_anew_and_each_batch_is_mixed_anew(root: Path):
    one_of_each_class = config(root, roll=8, train_fraction=0.25)
    first, second = (batches(one_of_each_class, epoch=epoch, size=10)[0] for epoch in (0, 1))
    a, b = (frames[labels.argsort()] for frames, labels in (first, second))
    assert sum(torch.equal(x, y) for x, y in zip(a, b, strict=True)) <= 2
    shares = {
        round(float(targets[targets < 1].max()), 6)
        for _, targets in batches(config(root, mixup=1.0), size=4)
    }
    assert len(shares) > 5, "a share for each batch of the epoch"


def test_processes_share_the_global_batch(root: Path):
    cfg = config(root, hflip=0.5, roll=3)
    alone = batches(cfg, size=8)
    parts = [batches(cfg, size=4, rank=rank, world_size=2) for rank in (0, 1)]
    joined = [tuple(map(torch.cat, zip(a, b, strict=True))) for a, b in zip(*parts, strict=True)]
    assert equal(alone, joined)


def test_shapes_and_targets(root: Path):
    frames, labels = batches(config(root))[0]
    assert (frames.shape, frames.dtype, labels.dtype) == (
        (8, 3, 2, 32, 32),
        torch.float32,
        torch.int64,
    )
    frames, targets = batches(config(root, mixup=0.5, smoothing=0.1, mixup_off_epoch=1))[0]
    assert targets.shape == (8, 10) and torch.allclose(targets.sum(1), torch.ones(8))
    assert targets.min() == pytest.approx(0.01) and targets.max() < 0.91
    _, smoothed = batches(config(root, mixup=0.5, smoothing=0.1, mixup_off_epoch=1), epoch=1)[0]
    assert smoothed.max() == pytest.approx(0.91)
    with pytest.raises(RecipeError, match="even number"):
        build_train_loader(config(root, mixup=0.5), batch_size=7, seed=0)


def test_evaluation_sees_each_recording_once_as_it_is(root: Path):
    cfg = config(root, split="seeded", **EVERYTHING)
    dataset = create_dataset(cfg, "train")
    loaders = [
        build_eval_loader(cfg, "train", batch_size=3, rank=rank, world_size=2) for rank in (0, 1)
    ]
    seen = [list(loader) for loader in loaders]
    labels = [torch.cat([labels for _, labels in part]) for part in seen]
    assert [part.tolist() for part in labels] == [
        dataset.targets[rank::2].tolist() for rank in (0, 1)
    ]
    frames = seen[1][0][0]
    assert frames.shape == (3, 3, 2, 32, 32)
    expected = (
        dataset[1][0].unflatten(-1, (32, 4)).unflatten(-3, (32, 4))[..., 1:3, :, 1:3].mean((-1, -3))
    )
    assert torch.allclose(frames[0], expected, atol=1e-6), (
        "bilinear from 128 to 32 without antialias"
    )


def test_a_broken_recording_is_replaced_in_training_and_stops_evaluation(tmp_path: Path):
    folder = write_cifar10_dvs(tmp_path, per_class=2)
    (folder / "cat" / "cifar10_cat_0.aedat").write_bytes(b"#!AER-DAT2.0\r\n\x00")
    loader = build_train_loader(config(tmp_path), batch_size=4, seed=0)
    for _ in loader.epoch(0):
        pass
    assert loader.broken_count == 1
    assert "cifar10_cat_0.aedat" in next(iter(loader.broken_files))
    with pytest.raises(DataError, match=r"cifar10_cat_0\.aedat"):
        batches(config(tmp_path, skip_broken=False), size=4)
    with pytest.raises(DataError, match=r"cifar10_cat_0\.aedat"):
        list(build_eval_loader(config(tmp_path), "train", batch_size=4))


def test_train_fraction(root: Path):
    loader = build_train_loader(config(root, train_fraction=0.25), batch_size=10, seed=0)
    (_, labels) = next(iter(loader.epoch(0)))
    assert sorted(labels.tolist()) == list(range(10)), "one of each class"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_steps": 0}, "time_steps: found 0"),
        ({"step_us": 5}, "step_us: found 5, expected nothing: only split_by time"),
        ({"split_by": "events"}, "split_by: found 'events'"),
        ({"hflip": 1.5}, "hflip: found 1.5"),
        ({"val_fraction": 1.0}, "val_fraction: found 1.0"),
        ({"train_fraction": 0.0}, "train_fraction"),
        ({"rotation": -1.0}, "rotation: found -1.0"),
        ({"values": "sum"}, "values: found 'sum', expected one of count, binary"),
        ({"labels": "direction"}, "labels: an option of fashion-events.*, not of cifar10-dvs"),
    ],
)
def test_values_that_cannot_be_used_are_named(root: Path, change: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        config(root, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"split_by": "time"},
        {"split_by": "time", "step_us": 9},
        {"values": "binary"},
        {"antialias": True},
        {"cache_dir": Path("frames")},
    ],
)
def test_what_pictures_have_no_use_for_is_refused(root: Path, change: dict):
    with pytest.raises(RecipeError, match=r"an option of .*, not of har-dvs"):
        config(root, "har-dvs", **change)
    assert config(root, **change)
