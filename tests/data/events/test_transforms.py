"""Augmentation and mixing of clips: what each does, one draw for all steps, nothing but the
draw.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as F

from spikedriven.data import config_for
from spikedriven.data.events import transforms
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.transforms import augment, event_mix, mix, resize, snn_augment

PLAIN = config_for("cifar10-dvs", img_size=32, time_steps=3)


def config(**changes) -> EventDataConfig:
    return dataclasses.replace(PLAIN, **changes)


def clip(seed: int = 0, steps: int = 3, side: int = 32) -> torch.Tensor:
    draws = np.random.default_rng(seed)
    return torch.from_numpy(draws.integers(0, 4, (steps, 2, side, side)).astype(np.float32))


def same_frames(steps: int = 3, side: int = 32) -> torch.Tensor:
    """A clip whose steps are all the same, so that it stays so under a transform of the whole
    clip.
    """
    return clip(side=side)[:1].expand(steps, -1, -1, -1).clone()


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


EACH = [
    {"hflip": 1.0},
    {"roll": 5},
    {"rotation": 30.0},
    {"shear": 0.3},
    {"cutout": 9},
    {"snn_augment": True},
]


@pytest.mark.parametrize("change", EACH)
def test_one_draw_holds_for_the_whole_clip_and_decides_everything(change: dict):
    changed = 0
    for seed in range(12):
        result = augment(same_frames(), config(**change), draws(seed))
        assert result.shape == (3, 2, 32, 32)
        assert torch.equal(result, result[:1].expand(3, -1, -1, -1)), (
            "every step is transformed alike"
        )
        assert torch.equal(result, augment(same_frames(), config(**change), draws(seed)))
        changed += not torch.equal(result, same_frames())
    assert changed >= 6, "it does something"


def test_without_options_a_clip_stays_as_it_is():
    assert torch.equal(augment(clip(), PLAIN, draws()), clip())


def test_flip_and_roll_move_pixels_and_lose_none():
    assert torch.equal(augment(clip(), config(hflip=1.0), draws()), clip().flip(-1))
    seen = set()
    for seed in range(200):
        rolled = augment(clip(side=16), config(roll=2), draws(seed))
        match = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(rolled, clip(side=16).roll((dy, dx), (-2, -1)))
        ]
        assert len(match) == 1
        seen.add(match[0])
    assert len(seen) == 25, "every shift from -2 to 2 along both axes"


def test_cutout_empties_one_square():
    ones = torch.ones(2, 2, 32, 32)
    holes = {
        int((augment(ones, config(cutout=8), draws(seed)) == 0).sum()) // 4 for seed in range(100)
    }
    assert max(holes) == 64 and min(holes) >= 16, "a square of 8 x 8, cut off at the border"
    assert ones.min() == 1, "the clip that came in is left alone"


def test_each_frame_flips_for_itself_only_if_asked():
    flipped = augment(
        same_frames(64), config_for("har-dvs", hflip=0.5, flip_each_frame=True), draws()
    )
    turned = [torch.equal(frame, same_frames()[0].flip(-1)) for frame in flipped]
    assert 16 < sum(turned) < 48
    straight = [torch.equal(frame, same_frames()[0]) for frame in flipped]
    assert all(a != b for a, b in zip(turned, straight, strict=True))


def test_the_snn_augment_draws_all_six_operations():
    point = torch.zeros(1, 2, 33, 33)
    point[..., 16, 24] = 1
    seen = {"identity": 0, "x": 0, "y": 0, "gone": 0, "turned": 0}
    for seed in range(300):
        where = snn_augment(point, draws(seed))[0, 0].nonzero().tolist()
        if not where:
            seen["gone"] += 1
        elif where == [[16, 24]]:
            seen["identity"] += (
                1  # also operations of magnitude zero, a shear along this row, and holes elsewhere
            )
        elif [y for y, _ in where] == [16]:
            assert abs(where[0][1] - 24) <= 5
            seen["x"] += 1
        elif [x for _, x in where] == [24]:
            assert abs(where[0][0] - 16) <= 5
            seen["y"] += 1
        else:
            seen["turned"] += 1
    assert all(count >= 3 for count in seen.values()), seen
    assert 30 < seen["x"] < 75 and seen["y"] > 30, seen


def test_the_shear_is_that_of_the_releases(monkeypatch: pytest.MonkeyPatch):
    """0.3 is an angle in radians there: 17.19 degrees, while 0.3 as a tangent is 16.70."""
    monkeypatch.setattr(transforms, "SNN_OPERATIONS", ("shear",))
    frames = clip(side=64)
    published = [
        F.affine(frames, 0.0, [0, 0], 1.0, [math.degrees(m), 0.0])
        for m in torch.linspace(-0.3, 0.3, 31)
    ]
    found = {_index_of(snn_augment(frames, draws(seed)), published) for seed in range(200)}
    assert found == set(range(31))
    tangent = F.affine(frames, 0.0, [0, 0], 1.0, [math.degrees(math.atan(0.3)), 0.0])
    assert not torch.equal(tangent, published[-1])


def _index_of(frames: torch.Tensor, among: list[torch.Tensor]) -> int | None:
    return next((i for i, other in enumerate(among) if torch.equal(frames, other)), None)


def test_the_shear_of_a_recipe_is_a_tangent():
    frames = torch.zeros(1, 2, 65, 65)
    frames[..., 2, 32] = 1
    sheared = {
        int(augment(frames, config(shear=1.0), draws(seed))[0, 0, 2].argmax()) - 32
        for seed in range(100)
    }
    assert -30 <= min(sheared) < -25 and 25 < max(sheared) <= 30, (
        "30 rows off the centre, at most 30 columns"
    )


def test_the_erased_square_is_as_large_as_published(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transforms, "SNN_OPERATIONS", ("erase",))
    shares = [
        float((snn_augment(torch.ones(1, 2, 64, 64), draws(seed)) == 0).float().mean())
        for seed in range(200)
    ]
    assert 0.0 <= min(shares) < 0.01 and 0.09 < max(shares) <= 0.115


def test_resize_without_antialias_averages_pairs_and_with_it_does_not():
    frames = clip(side=64)
    halved = frames.unflatten(-1, (32, 2)).unflatten(-3, (32, 2)).mean((-1, -3))
    assert torch.allclose(resize(frames, config()), halved, atol=1e-6)
    assert not torch.allclose(resize(frames, config(antialias=True)), halved, atol=1e-2)
    assert resize(halved, config()) is halved


def batch(count: int = 4) -> torch.Tensor:
    return torch.stack([clip(seed) for seed in range(count)])


def test_mixup_mixes_with_the_batch_in_reverse_order():
    mixed, share = mix(batch(), config(mixup=0.5), 0, draws(3))
    assert isinstance(share, float) and 0 < share < 1
    assert torch.allclose(mixed, batch() * share + batch().flip(0) * (1 - share))
    off = config(mixup=0.5, mixup_off_epoch=2)
    assert mix(batch(), off, 1, draws(3))[1] == share
    unmixed, whole = mix(batch(), off, 2, draws(3))
    assert whole == 1.0 and torch.equal(unmixed, batch())
    often = sum(
        mix(batch(), config(mixup=0.5, mixup_prob=0.25), 0, draws(seed))[1] != 1.0
        for seed in range(200)
    )
    assert 30 < often < 70


def test_event_mix_takes_each_voxel_from_one_of_two_clips_and_labels_by_their_events():
    for seed in range(10):
        mixed, share = event_mix(batch(), 0.6, draws(seed))
        mine, theirs = mixed == batch(), mixed == batch().flip(0)
        assert (mine | theirs).all()
        assert share.shape == (4, 1)
        decided = batch() != batch().flip(0)
        foreign = (theirs & decided).float().sum() / decided.float().sum()
        assert foreign == pytest.approx(0.4, abs=0.03), "the share of the volume"
        assert torch.allclose(share, torch.full((4, 1), 0.6), atol=0.05), (
            "these clips have events everywhere"
        )
    sparse = batch()
    sparse[1:] = 0
    _, share = event_mix(sparse, 0.5, draws(1))
    assert share[0, 0] == 1.0, "nothing came from the empty partner"
    assert share[3, 0] == 0.0, "everything came from the full one"
    assert share[1, 0] == 0.5, "no events at all: the share of the volume"
    for edge in (0.0, 1.0):
        mixed, share = event_mix(batch(), edge, draws(2))
        assert torch.equal(mixed, batch() if edge == 1.0 else batch().flip(0))
        assert share.flatten().tolist() == [edge] * 4


def test_event_mix_comes_before_mixup_and_as_often_as_asked():
    both = config(event_mix=1.0, event_mix_prob=0.5, mixup=1.0)
    kinds = [torch.is_tensor(mix(batch(), both, 0, draws(seed))[1]) for seed in range(100)]
    assert 30 < sum(kinds) < 70
