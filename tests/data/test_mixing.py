"""Mixup and cutmix: in pixels as in targets, per batch, pair or image; smoothing; what comes
after.
"""

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from spikedriven.data import DataConfig
from tests.data.test_loaders import PLAIN, loader, pixels


def mixed_pairs(cfg: DataConfig, count: int = 200) -> Iterator[tuple[torch.Tensor, ...]]:
    """Per batch: pixels as mixed, pixels and labels before mixing, soft targets."""
    plain = loader(
        dataclasses.replace(cfg, mixup=0.0, cutmix=0.0, cutmix_minmax=None, smoothing=0.0), count
    )
    for (images, targets), (before, labels) in zip(
        loader(cfg, count).epoch(0), plain.epoch(0), strict=True
    ):
        yield pixels(images), pixels(before), labels, targets


def smoothed(labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 10).double() * (1 - smoothing) + smoothing / 10


def share_of_first(targets: torch.Tensor, labels: torch.Tensor, smoothing: float) -> float:
    """lambda, read off a row whose partner has another label."""
    row = int(torch.nonzero(labels != labels.flip(0))[0, 0])
    return (float(targets[row, labels[row]]) - smoothing / 10) / (1 - smoothing)


def test_mixup_blends_with_the_flipped_batch_and_rounds():
    for mixed, before, labels, targets in mixed_pairs(
        dataclasses.replace(PLAIN, mixup=0.5, smoothing=0.1)
    ):
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
    """How much of its own label each image has, float64 [B]; nan where the partner has the same
    one."""
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
            sides = [
                int(places.max() - places.min()) + 1 if len(places) else 0
                for places in (rows, columns)
            ]
            area = round(pasted)
            fitting = [
                (h, area // h) for h in range(8, 16) if area % h == 0 and 8 <= area // h <= 15
            ]
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
