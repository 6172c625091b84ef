import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from spikedriven.data.segmentation import SegmentationDataConfig
from spikedriven.data.segmentation.transforms import (
    EvalTransform,
    TrainTransform,
    distort,
    dominated,
    fitted_size,
    normalize,
)

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "hflip": 0.0}


def labelled(height, width):
    """An image whose every pixel says its label: image value = label."""
    labels = torch.from_numpy(np.arange(height * width, dtype=np.uint8).reshape(height, width) % 7)
    return labels.expand(3, height, width).clone(), labels


def cfg(**keywords):
    return SegmentationDataConfig(**{**PLAIN, **keywords})


def assert_moved_together(image, labels):
    """Wherever the label counts, the image still shows it."""
    counted = labels != 255
    assert torch.equal((255 * image[0]).round()[counted].long(), labels[counted])
    assert image[:, ~counted].abs().max() == 0 if (~counted).any() else True


@pytest.mark.parametrize("seed", range(6))
def test_image_and_labels_move_together(seed):
    torch.manual_seed(seed)
    transform = TrainTransform(cfg(img_size=20, hflip=0.5))
    image, labels = transform(*labelled(33, 15))  # cropped in height, padded in width
    assert image.shape == (3, 20, 20) and labels.shape == (20, 20)
    assert_moved_together(image, labels)
    assert (labels == 255).sum() == 20 * 5


def test_flips_are_drawn():
    transform = TrainTransform(cfg(img_size=8, hflip=0.5))
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        seen.add(transform(*labelled(8, 8))[1].numpy().tobytes())
    assert len(seen) == 2


def test_crops_reach_every_place():
    transform = TrainTransform(cfg(img_size=2))
    image, labels = labelled(3, 4)
    corners = set()
    for seed in range(60):
        torch.manual_seed(seed)
        corners.add(tuple(transform(image, labels)[1][0].tolist()))
    assert len(corners) == 2 * 3


def test_a_crop_with_a_dominating_class_is_drawn_again():
    labels = torch.zeros(40, 40, dtype=torch.uint8)
    labels[:20, :20] = torch.randint(1, 7, (20, 20), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    shares = {1.0: [], 0.75: []}
    for share, found in shares.items():
        transform = TrainTransform(cfg(img_size=12, max_class_share=share))
        for seed in range(40):
            torch.manual_seed(seed)
            crop = transform(labels.expand(3, 40, 40), labels)[1]
            found.append(float((crop == 0).double().mean()))
    assert np.mean(np.array(shares[1.0]) >= 0.75) > 0.4
    assert np.mean(np.array(shares[0.75]) >= 0.75) < 0.2


def test_what_dominates():
    assert not dominated(torch.tensor([0, 0, 0, 1]), 1.0)
    assert dominated(torch.tensor([0, 0, 0, 1]), 0.75) and not dominated(
        torch.tensor([0, 0, 1, 1]), 0.75
    )
    assert dominated(torch.tensor([0, 0, 255, 255, 255]), 0.75), (
        "pixels that do not count are left out"
    )
    assert dominated(torch.tensor([255, 255]), 0.75)


def test_sizes_fit_into_long_and_short_side():
    assert fitted_size(torch.Size((512, 683)), (2048, 512), 1.0) == [512, 683]
    assert fitted_size(torch.Size((683, 512)), (2048, 512), 0.5) == [342, 256]
    assert fitted_size(torch.Size((100, 1000)), (2048, 512), 1.0) == [205, 2048]


def test_resized_training_images_and_labels_agree():
    labels = torch.zeros(16, 32, dtype=torch.uint8)
    labels[:, 16:] = 200
    torch.manual_seed(0)
    transform = TrainTransform(cfg(img_size=64, resize=(64, 32), resize_range=(2.0, 2.0)))
    image, found = transform(labels.expand(3, 16, 32), labels)
    assert (
        found.shape == (64, 64)
        and (found != 255).all()
        and set(found.unique().tolist()) == {0, 200}
    )
    assert (found[:, 0] == 0).all() or (found[:, -1] == 200).all()
    agree = ((255 * image[0] > 100) == (found == 200)).double().mean()
    assert agree > 0.95


def test_evaluation_resizes_the_image_and_never_the_labels():
    transform = EvalTransform(cfg(resize=(64, 32)))
    image, labels = transform(*labelled(16, 20))
    assert image.shape == (3, 32, 40) and labels.shape == (16, 20) and labels.dtype == torch.int64
    assert EvalTransform(cfg()).image(labelled(16, 20)[0]).shape == (3, 16, 20)


def test_normalisation():
    image = torch.full((3, 2, 2), 255, dtype=torch.uint8)
    found = normalize(image, SegmentationDataConfig(mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25)))
    assert found[:, 0, 0].tolist() == [1.0, 1.0, 0.0]


def test_distortion_stays_in_range_and_changes_half_of_the_time_each():
    grey = tv_tensors.Image(torch.full((3, 4, 4), 100, dtype=torch.uint8))
    values = []
    for seed in range(200):
        torch.manual_seed(seed)
        found = distort(grey)
        assert found.dtype == torch.uint8 and found.shape == (3, 4, 4)
        values.append(int(found[0, 0, 0]))
    values = np.array(values)
    assert 0.15 < np.mean(values == 100) < 0.35  # neither brightness nor contrast: one in four
    assert values.min() >= int((100 - 32) * 0.5) and values.max() <= int((100 + 32) * 1.5)
    assert values.min() < 60 and values.max() > 150


def test_distortion_moves_colours():
    colour = tv_tensors.Image(
        torch.tensor([200, 100, 50], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 4)
    )
    ratios = set()
    for seed in range(60):
        torch.manual_seed(seed)
        r, g, b = distort(colour)[:, 0, 0].tolist()
        ratios.add((round(r / max(g, 1), 1), round(g / max(b, 1), 1)))
    assert len(ratios) > 10
