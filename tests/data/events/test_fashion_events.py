"""fashion-events: what its clips are functions of, and that direction is in nothing but the
order of steps.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from spikedriven.data import (
    EventDataConfig,
    build_eval_loader,
    build_train_loader,
    config_for,
    create_dataset,
)
from spikedriven.data.events import fashion_events
from spikedriven.data.events.fashion_events import (
    COMPASS,
    DIRECTIONS,
    DURATION_US,
    FashionEvents,
    hop_order,
    show,
)
from spikedriven.data.fashion import load_embedded
from spikedriven.errors import DataError, RecipeError
from spikedriven.graph.calibrate import calibrate
from spikedriven.recipes import load_recipe
from spikedriven.runs.networks import build_network

GARMENT = config_for("fashion-events", split_by="time", time_steps=6, img_size=34, workers=0)
DIRECTION = dataclasses.replace(GARMENT, labels="direction", time_steps=8)


def clips(cfg: EventDataConfig, split: str = "test") -> FashionEvents:
    found = create_dataset(cfg, split)
    assert isinstance(found, FashionEvents)
    return found


def turned(dataset: FashionEvents, by: int) -> FashionEvents:
    """The same clips in other directions."""
    other = clips(dataset.cfg, dataset.split)
    other.targets = (dataset.targets + by) % 8
    return other


@pytest.mark.parametrize("cfg", [GARMENT, DIRECTION], ids=["garment", "direction"])
def test_frames_are_those_of_the_events(cfg: EventDataConfig) -> None:
    dataset = clips(cfg)
    for index in range(10):
        events, frames = dataset.events(index), dataset.frames(index)
        wanted = torch.zeros(cfg.time_steps, 2, 34, 34)
        step = torch.from_numpy(events.t * cfg.time_steps // DURATION_US)
        pixels = (torch.from_numpy(array).long() for array in (events.p, events.y, events.x))
        wanted.index_put_((step, *pixels), torch.ones(len(events)), accumulate=True)
        assert torch.equal(frames, wanted) and frames.sum() > 2000
        assert events.t[0] >= 0 and events.t[-1] < DURATION_US
        assert 0.45 < events.p.mean() < 0.55


@pytest.mark.parametrize(
    "change",
    [
        {"time_steps": 7},
        {"split_by": "number"},
        {"step_us": 20_000},
        {"split_by": "number", "values": "binary"},
    ],
)
def test_frames_that_are_no_equal_spans_come_from_the_events(change: dict) -> None:
    dataset = clips(dataclasses.replace(GARMENT, **change))
    cfg, events, frames = dataset.cfg, dataset.events(3), dataset.frames(3)
    assert frames.shape == (cfg.time_steps, 2, 34, 34)
    parts = [
        events[k * (len(events) // 6) : (k + 1) * (len(events) // 6) if k < 5 else len(events)]
        for k in range(6)
    ]
    if cfg.split_by == "time":
        span = cfg.step_us or DURATION_US // cfg.time_steps
        parts = [events.between(k * span, (k + 1) * span) for k in range(cfg.time_steps)]
    for part, frame in zip(parts, frames, strict=True):
        wanted = np.zeros((2, 34, 34))
        np.add.at(wanted, (part.p.astype(int), part.y, part.x), 1)
        assert np.array_equal(frame, np.minimum(wanted, 1) if cfg.values == "binary" else wanted)


def test_binary_frames_without_the_events() -> None:
    binary = clips(dataclasses.replace(GARMENT, values="binary")).frames(0)
    assert torch.equal(binary, clips(GARMENT).frames(0).clamp(max=1))


@pytest.mark.parametrize("cfg", [GARMENT, DIRECTION], ids=["garment", "direction"])
def test_a_clip_is_a_function_of_seed_split_and_index(cfg: EventDataConfig) -> None:
    one, two = clips(cfg), clips(cfg)
    assert two.events(5).equals(one.events(5)), "whatever was simulated before"
    assert one.events(6).equals(two.events(6)) and torch.equal(one.frames(5), two.frames(5))
    assert np.array_equal(one.targets, two.targets)
    other = clips(dataclasses.replace(cfg, simulation_seed=1))
    assert not other.events(5).equals(one.events(5)) and not np.array_equal(
        other.sensor.thresholds, one.sensor.thresholds
    )
    part = one.subset(np.array([9, 5]))
    assert (
        part.events(1).equals(one.events(5))
        and part.targets.tolist() == one.targets[[9, 5]].tolist()
    )
    same_picture = FashionEvents(cfg, load_embedded("test"), "train")
    assert not same_picture.events(5).equals(one.events(5))


def test_kept_frames_are_the_same_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = clips(GARMENT)
    first = dataset.frames(0)
    monkeypatch.setattr(dataset, "_watch", lambda index: pytest.fail("simulated again"))
    assert torch.equal(dataset.frames(0), first)
    monkeypatch.setattr(fashion_events, "KEPT_BYTES", first.numel())
    bounded, unkept = clips(GARMENT), clips(dataclasses.replace(GARMENT, cache=False))
    for index in range(3):
        assert torch.equal(bounded.frames(index), unkept.frames(index))
    assert len(bounded._kept) == 1 and not unkept._kept


def test_directions_differ_in_the_order_of_steps_only() -> None:
    """Hence frames in a random order, any sum over time, and each frame with the polarity
    flipped, know nothing.
    """
    dataset = clips(DIRECTION)

    def as_set(frames: torch.Tensor) -> list[bytes]:
        return sorted(frame.numpy().tobytes() for frame in frames)

    for by in range(1, 8):
        other = turned(dataset, by)
        for index in range(6):
            here, there = dataset.frames(index), other.frames(index)
            assert as_set(here) == as_set(there) and torch.equal(here.sum(0), there.sum(0))
            assert not torch.equal(here, there)


@pytest.mark.parametrize(
    ("arm", "knows_order"),
    [("sdt_direction", True), ("esf_direction_lif", True), ("esf_direction", False)],
)
def test_who_can_know_the_order(arm: str, knows_order: bool) -> None:
    """The published E-SpikeFormer's integer neurons have no memory: its answer is that of a set
    of frames.
    """
    recipe = load_recipe(f"study_events_{arm}")
    torch.manual_seed(0)
    args = dict(recipe.model.args)
    if "esf" in arm:
        args["head_input"] = "mean"  # the neuron in front of an untrained classifier stays silent
    model = build_network(
        dataclasses.replace(recipe.model, num_classes=8, args=args), recipe.data
    ).double()
    frames = torch.stack([clips(recipe.data).frames(index) for index in range(4)]).double()
    calibrate(model.eval(), frames)
    with torch.no_grad():
        answers = [model(frames[:, order]) for order in (list(range(8)), [3, 1, 0, 7, 5, 2, 4, 6])]
    assert torch.allclose(*answers, rtol=0, atol=1e-12) != knows_order
    assert (answers[0][0] - answers[0][1]).abs().max() > 1e-6, "the answer depends on the clip"


@pytest.mark.parametrize("direction", range(8))
def test_hops_follow_the_direction(direction: int) -> None:
    orders = [hop_order(direction, np.random.default_rng(seed)) for seed in range(200)]
    ahead, unrolled = COMPASS @ COMPASS[direction], set()
    for order in orders:
        back = np.flatnonzero(np.diff(ahead[order], append=ahead[order[0]]) < 0)
        assert sorted(order) == list(range(8)) and len(back) == 1, (
            "only one hop, counted round, leads back"
        )
        unrolled.add(tuple(np.roll(order, -1 - back[0]).tolist()))
    assert len(unrolled) == 8 if direction % 2 else len(unrolled) > 50, (
        "ties are drawn: 1, 2, 2, 2, 1 places or 3, 2, 3"
    )
    for step in range(8):
        assert np.bincount([order[step] for order in orders], minlength=8).min() > 10, (
            "any place at any step"
        )


def test_the_garment_is_where_the_order_says() -> None:
    """Centres of the events of each step, against the places."""
    dataset, found = clips(DIRECTION), []
    grid = torch.arange(34.0)
    for index in range(40):
        mass = dataset.frames(index).sum(1)
        x, y = ((mass.sum(axis) * grid).sum(1) / mass.sum((1, 2)) for axis in (1, 2))
        drift = torch.stack([x, y], 1) @ torch.tensor(
            COMPASS[dataset.targets[index]], dtype=torch.float
        )
        hops = torch.diff(drift, append=drift[:1])
        found.append(
            (hops < -10).sum() == 1 and hops.sort().values[1] > -6
        )  # one leads back by far, counted round
    assert all(found)


def test_labels_are_balanced_named_and_independent_of_how_many_there_are() -> None:
    train = clips(DIRECTION, "train")
    assert train.classes == DIRECTIONS and train.num_classes == 8 and len(train) == 10_000
    assert np.bincount(train.targets).min() > 1100
    images = load_embedded("train")
    fewer = FashionEvents(DIRECTION, images.subset(np.arange(100)), "train")
    assert np.array_equal(fewer.targets, train.targets[:100])
    assert (
        clips(GARMENT).classes == images.classes
        and np.bincount(clips(GARMENT).targets).tolist() == [200] * 10
    )
    shared = np.corrcoef(np.eye(8)[train.targets].T, np.eye(10)[images.targets].T)[:8, 8:]
    assert np.abs(shared).max() < 0.04, "the garment says nothing of the direction"


def test_the_picture_is_moved_without_loss() -> None:
    picture = np.random.default_rng(0).random((5, 7))
    shown = show(picture, np.array([[[3.0, 10.0]], [[3.25, 10.5]]]))
    assert np.allclose(shown[0, 0, 10:15, 3:10], picture) and np.allclose(
        shown.sum((2, 3)), picture.sum()
    )
    assert np.isclose(shown[1, 0, 10, 3], 0.75 * 0.5 * picture[0, 0])


def test_shuffled_steps_are_new_in_each_epoch_and_fixed_in_evaluation() -> None:
    shuffled = dataclasses.replace(DIRECTION, shuffle_steps=True)

    def first(cfg: EventDataConfig, epoch: int) -> torch.Tensor:
        return next(build_train_loader(cfg, batch_size=8, seed=0).epoch(epoch))[0]

    assert torch.equal(first(shuffled, 1), first(shuffled, 1))
    assert not torch.equal(first(shuffled, 1), first(DIRECTION, 1))
    assert torch.equal(first(shuffled, 1).sum(1), first(DIRECTION, 1).sum(1))
    tests = [
        next(iter(build_eval_loader(cfg, batch_size=50)))[0]
        for cfg in (DIRECTION, shuffled, shuffled)
    ]
    assert torch.equal(tests[1], tests[2]) and not torch.equal(tests[0], tests[1])
    moved = (tests[0] != tests[1]).flatten(2).any(2).float().mean()
    assert 0.8 < moved < 0.95, "seven of eight steps are elsewhere"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split_by": "number"}, "for labels direction: time"),
        ({"time_steps": 10}, "for labels direction: time"),
        ({"step_us": 30_000}, "for labels direction: time"),
        ({"hflip": 0.5}, "hflip"),
        ({"rotation": 15.0}, "rotation"),
        ({"snn_augment": True}, "snn_augment"),
        ({"labels": "speed"}, "one of garment, direction"),
        ({"pictures": "cifar10"}, "one of fashion-mini"),
        ({"simulation_seed": -1}, "at least 0"),
    ],
)
def test_what_would_spoil_the_directions_is_refused(change: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        dataclasses.replace(DIRECTION, **change)


def test_the_full_set_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikedriven.data.fashion.DEBIAN_FOLDER", tmp_path / "nowhere")
    with pytest.raises(DataError, match="fashion-mnist was not found"):
        create_dataset(
            dataclasses.replace(GARMENT, pictures="fashion-mnist", root=tmp_path), "test"
        )
