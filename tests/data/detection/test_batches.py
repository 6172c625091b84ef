"""Augmentation and loaders: boxes follow masks, draws are functions of (seed, epoch, index)."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.data import build_eval_loader, build_train_loader, create_dataset
from spikedriven.data.detection import DetectionDataConfig, transforms
from spikedriven.data.detection.transforms import train_sample
from spikedriven.data.scenes import FashionScenes
from spikedriven.errors import DataError, RecipeError
from tests.data.detection.coco_files import write

SCENES = DetectionDataConfig(
    dataset="fashion-scenes",
    sizes=(96, 128),
    test_size=128,
    max_size=160,
    train_images=12,
    test_images=5,
    workers=0,
)


def rectangle(height=100, width=160):
    """An image that is bright exactly where the one object is."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[:, 20:60, 30:90] = 255
    masks = (image[:1] > 0).to(torch.uint8)
    return image, {
        "boxes": torch.tensor([[30.0, 20.0, 90.0, 60.0]]),
        "labels": torch.tensor([3]),
        "masks": masks,
    }


@pytest.mark.parametrize("seed", range(8))
def test_boxes_and_masks_follow_the_image(seed):
    torch.manual_seed(seed)
    cfg = dataclasses.replace(
        SCENES,
        sizes=(80, 100),
        max_size=200,
        crop=True,
        crop_resize=(90, 120),
        crop_range=(60, 90),
        shrink=(150, 100),
    )
    image, target = train_sample(*rectangle(), cfg)
    assert image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1
    assert min(image.shape[1:]) in (80, 100) or max(image.shape[1:]) == 200
    if not len(target["boxes"]):
        assert image.max() < 0.6  # cropped away, up to a pixel's edge
        return
    x0, y0, x1, y1 = target["boxes"][0].round().int().tolist()
    inside = image[0, y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
    assert inside.numel() == 0 or inside.min() > 0.8
    outside = image[0].clone()
    outside[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = 0
    assert outside.max() < 0.1
    assert target["masks"].shape == (1, *image.shape[1:])
    assert (target["masks"][0].bool() == (image[0] > 0.5)).float().mean() > 0.97


def test_one_resize_keeps_ratio_and_limit():
    torch.manual_seed(0)
    cfg = dataclasses.replace(SCENES, hflip=0.0, sizes=(200,), test_size=100, max_size=240)
    image, target = train_sample(*rectangle(), cfg)
    assert image.shape == (3, 150, 240)  # 200 x 320 would be too long
    torch.testing.assert_close(target["boxes"], torch.tensor([[45.0, 30.0, 135.0, 90.0]]))


def test_flip():
    cfg = dataclasses.replace(SCENES, hflip=1.0, sizes=(100,), test_size=100)
    image, target = train_sample(*rectangle(), cfg)
    assert (
        target["boxes"].tolist() == [[70.0, 20.0, 130.0, 60.0]]
        and image[0, 30, 75] == 1
        and image[0, 30, 65] == 0
    )


def test_a_crop_is_drawn_from_what_fits_into_the_image():
    """Not clamped afterwards: with sides of 60 to 200 in a height of 100, most crops would be
    as high as it.
    """
    torch.manual_seed(0)
    parts = transforms._typed(*rectangle(height=100, width=160))
    sizes = torch.tensor(
        [transforms._crop(parts, (60, 200))["image"].shape[-2:] for _ in range(400)]
    )
    assert sizes.min(0).values.tolist() == [60, 60] and sizes.max(0).values.tolist() == [100, 160]
    assert (sizes[:, 0] == 100).sum() < 40 and (
        sizes[:, 1] == 160
    ).sum() < 20  # of 400; about 10 and 4
    assert transforms._crop(parts, (384, 600))["image"].shape[-2:] == (100, 160)


def _all(loader, epoch, start=0):
    return list(loader.epoch(epoch, start))


def test_batches_depend_on_seed_epoch_and_index_only():
    def load(seed=1, workers=0, rank=0, size=1, batch=4):
        cfg = dataclasses.replace(SCENES, workers=workers)
        return build_train_loader(cfg, batch_size=batch, seed=seed, rank=rank, world_size=size)

    whole = _all(load(), 1)
    assert len(whole) == 3 and [len(images) for images, _ in whole] == [4, 4, 4]
    state = torch.get_rng_state()
    again = _all(load(workers=1), 1, start=2)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(whole[2][0], again[0][0], strict=True):
        assert torch.equal(a, b)
    assert all(
        torch.equal(a["boxes"], b["boxes"]) for a, b in zip(whole[2][1], again[0][1], strict=True)
    )
    halves = [_all(load(rank=rank, size=2, batch=2), 1) for rank in range(2)]
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole[0][0], [*halves[0][0][0], *halves[1][0][0]], strict=True)
    )
    other = _all(load(), 2)
    assert any(
        a.shape != b.shape or not torch.equal(a, b)
        for a, b in zip(whole[0][0], other[0][0], strict=True)
    )


def test_evaluation_sees_each_image_once_and_unchanged():
    scenes = FashionScenes("test", 128, 0, 5)
    parts = [
        [
            pair
            for images, targets in build_eval_loader(
                SCENES, batch_size=2, rank=rank, world_size=2, as_evaluated=True
            )
            for pair in zip(images, targets, strict=True)
        ]
        for rank in range(2)
    ]
    assert [len(part) for part in parts] == [3, 2]
    for index in range(5):
        image, target = parts[index % 2][index // 2]
        expected, labels = scenes[index]
        torch.testing.assert_close(image, expected / 255)
        assert torch.equal(target["boxes"], labels["boxes"]) and torch.equal(
            target["masks"], labels["masks"]
        )
        assert "label_map" not in target
    assert create_dataset(SCENES, "test").classes == scenes.classes[1:]


def test_broken_images_are_replaced_in_training_and_stop_evaluation(tmp_path, two_classes):
    root = write(tmp_path)
    for part in ("train2017", "val2017"):
        (root / "coco" / part / "0.png").write_bytes(b"no image")
    cfg = DetectionDataConfig(root=root, workers=0, sizes=(40,), test_size=40, max_size=80)
    loader = build_train_loader(cfg, batch_size=2, seed=0)
    ((images, _targets),) = _all(loader, 0)
    assert len(images) == 2 and loader.broken_count == 1
    with pytest.raises(DataError, match=r"0\.png cannot be decoded"):
        list(build_eval_loader(cfg, batch_size=1, as_evaluated=True))
    with pytest.raises(DataError, match=r"0\.png cannot be decoded"):
        _all(
            build_train_loader(dataclasses.replace(cfg, skip_broken=False), batch_size=2, seed=0), 0
        )


def test_grey_pictures_have_three_channels(tmp_path, two_classes):
    root = write(tmp_path)
    path = root / "coco" / "val2017" / "0.png"
    Image.fromarray(np.asarray(Image.open(path).convert("L"))).save(path)
    cfg = DetectionDataConfig(root=root, workers=0)
    images, _ = next(iter(build_eval_loader(cfg, batch_size=1, as_evaluated=True)))
    assert images[0].shape == (3, 40, 60)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "coco2071"}, "unknown data set 'coco2071'; did you mean coco2017"),
        ({"std": (0.2, 0.0, 0.2)}, "std above 0"),
        ({"hflip": 1.5}, "hflip: found 1.5, expected a number"),
        ({"sizes": ()}, r"sizes: found \(\), expected sizes of at least 1 pixel"),
        ({"crop_range": (600, 384)}, "crop_range: found .*, expected the smaller size first"),
        ({"max_size": 700}, "max_size: found 700, expected at least the sizes"),
        ({"train_images": 0}, "train_images: found 0, expected a whole number"),
    ],
)
def test_wrong_configurations(values, message):
    with pytest.raises(RecipeError, match=message):
        DetectionDataConfig(**values)
