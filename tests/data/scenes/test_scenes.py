import hashlib

import numpy as np
import pytest
import torch

from spikedriven.data.scenes import SCENE_CLASSES, FashionScenes, textures
from spikedriven.data.scenes.dataset import Instance, _target
from spikedriven.data.scenes.garments import load_garments, silhouettes
from spikedriven.data.scenes.textures import load_textures
from spikedriven.errors import DataError, InputError


def digest(sample):
    image, target = sample
    parts = [image, *(target[name] for name in sorted(target))]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("split", ["train", "test"])
def test_boxes_masks_and_label_map_describe_the_same_pixels(split):
    scenes = FashionScenes(split, length=40)
    for image, target in scenes:
        assert image.dtype == torch.uint8 and image.shape == (3, 128, 128)
        count = len(target["labels"])
        assert (
            1 <= count <= 4
            and target["boxes"].shape == (count, 4)
            and target["masks"].shape == (count, 128, 128)
        )
        assert target["masks"].sum(0).max() <= 1, "visible parts overlap"
        expected = torch.zeros(128, 128, dtype=torch.uint8)
        for mask, label, box in zip(
            target["masks"], target["labels"], target["boxes"], strict=True
        ):
            expected[mask] = label.to(torch.uint8)
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert torch.equal(target["label_map"], expected)


def test_labels_are_one_to_ten_and_balanced():
    counts = torch.bincount(
        torch.cat([FashionScenes("train")[i][1]["labels"] for i in range(300)]), minlength=11
    )
    assert counts[0] == 0 and (counts[1:] > 30).all(), "classes must be balanced"
    assert SCENE_CLASSES[1] == "T-shirt/top" and SCENE_CLASSES[10] == "Ankle boot"


def test_a_scene_depends_on_seed_split_and_index_only():
    scenes = FashionScenes("train", seed=3)
    torch.manual_seed(1)
    first = digest(scenes[5])
    np.random.seed(9)
    torch.manual_seed(2)
    scenes[6]
    assert digest(scenes[5]) == first == digest(FashionScenes("train", seed=3, length=6)[5])
    others = [scenes[6], FashionScenes("train", seed=4)[5], FashionScenes("test", seed=3)[5]]
    assert len({first, *map(digest, others)}) == 4


def test_the_scenes_are_those_of_the_first_release():
    """Published figures name scenes by number: a change here makes every one of them
    incomparable.
    """
    found = {
        f"{split} {i}": digest(FashionScenes(split)[i])[:16]
        for split in ("train", "test")
        for i in (0, 7)
    }
    assert found == FROZEN


def test_no_pixel_belongs_to_two_garments():
    drawn = FashionScenes("train")
    for i in range(60):
        occupied = np.zeros((128, 128), dtype=bool)
        for instance in drawn._instances(np.random.default_rng(i)):
            assert not (occupied & instance.visible).any()
            assert instance.visible.sum() == len(instance.grey)
            occupied |= instance.visible


def test_a_garment_that_is_mostly_covered_is_not_painted(monkeypatch):
    scenes = FashionScenes("train")
    monkeypatch.setattr("spikedriven.data.scenes.dataset.GARMENT_SIDES", (64, 64))
    monkeypatch.setattr(scenes, "size", 64)  # every garment has one and the same place
    counts = [len(scenes._instances(np.random.default_rng(i))) for i in range(40)]
    assert max(counts) <= 3 and counts.count(1) > 20


def test_target_of_a_known_scene():
    top, below = np.zeros((5, 5), dtype=bool), np.zeros((5, 5), dtype=bool)
    top[1:3, 0:2], below[3, 4] = True, True
    target = _target([Instance(top, np.zeros(4), 2), Instance(below, np.zeros(1), 9)], 5)
    assert target["boxes"].tolist() == [[0, 1, 2, 3], [4, 3, 5, 4]]
    assert target["labels"].tolist() == [2, 9]
    assert (
        target["label_map"][1, 1] == 2
        and target["label_map"][3, 4] == 9
        and target["label_map"].sum() == 4 * 2 + 9
    )


def test_silhouettes_fill_what_is_enclosed_and_nothing_else():
    ring = np.zeros((1, 5, 5), dtype=np.uint8)
    ring[0, 1:4, 1:4] = 100
    ring[0, 2, 2] = 0
    assert silhouettes(ring)[0, 2, 2] and silhouettes(ring).sum() == 9
    ring[0, 3, 2] = 0  # open below, as between two trouser legs
    assert not silhouettes(ring)[0, 2, 2]
    assert not silhouettes(np.full((1, 5, 5), 8, dtype=np.uint8)).any()


def test_splits_share_neither_garments_nor_textures():
    train, test = load_textures("train"), load_textures("test")
    assert train.shape == test.shape == (3, 256, 256)
    assert not any((a == b).mean() > 0.5 for a in train for b in test)
    assert (
        len(load_garments("train").labels) == 10_000 and len(load_garments("test").labels) == 2_000
    )


def test_sizes_and_lengths():
    assert FashionScenes("test", size=64)[0][0].shape == (3, 64, 64)
    assert FashionScenes("test", size=256)[0][1]["label_map"].shape == (256, 256)
    assert len(FashionScenes("train")) == 4000 and len(FashionScenes("test", length=7)) == 7
    assert len(list(FashionScenes("test", length=3))) == 3
    with pytest.raises(InputError, match="64 to 256"):
        FashionScenes("train", size=300)
    with pytest.raises(InputError, match="expected one of train, test"):
        FashionScenes("val")
    with pytest.raises(InputError, match="at least 1"):
        FashionScenes("train", length=0)


def test_a_damaged_texture_file_is_named(tmp_path, monkeypatch):
    broken = tmp_path / "textures.npz"
    broken.write_bytes(textures.EMBEDDED_FILE.read_bytes()[:-1])
    monkeypatch.setattr(textures, "EMBEDDED_FILE", broken)
    load = textures.load_textures.__wrapped__
    with pytest.raises(DataError, match=r"textures\.npz is damaged"):
        load("train")
    monkeypatch.setattr(textures, "EMBEDDED_FILE", tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"none\.npz is missing"):
        load("train")


FROZEN = {
    "train 0": "3839753725c7aed1",
    "train 7": "07cfe0fdfb0b2e0d",
    "test 0": "b0f7c4433632ac29",
    "test 7": "1f1fb353d592451a",
}
