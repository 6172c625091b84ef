"""Detectors: published sizes, inputs and outputs, what both modes promise."""

import pytest
import torch
from PIL import Image
from torch import nn

from spikedriven.errors import InputError
from spikedriven.models import create_model
from spikedriven.models.detection import create_detector, predict
from spikedriven.models.detection.build import DetectorOptions
from tests.models.detection.detectors import ESF, META, awake, scenes, small

#: Millions: whole detector, pyramid, region proposals, box head, mask head.
PUBLISHED = {
    "e_spikeformer_19m": ((256, 1024), (38.74, 2.57, 0.59, 14.31, 2.64)),
    "e_spikeformer_10m": ((192, 768), (21.17, 1.44, 0.33, 8.13, 1.49)),
}
NAMES = ("mask_rcnn", "cascade_mask_rcnn", "retinanet")


@pytest.mark.parametrize("backbone", PUBLISHED)
def test_released_mask_rcnn_has_the_published_number_of_parameters(backbone):
    (width, head_width), expected = PUBLISHED[backbone]
    with torch.device("meta"):
        model = create_detector(
            "mask_rcnn", backbone=backbone, mode="released", width=width, head_width=head_width
        )
    parts = ("", "backbone.neck", "rpn", "roi_heads.box", "roi_heads.mask")
    found = [
        sum(p.numel() for n, p in model.named_parameters() if n.startswith(part)) / 1e6
        for part in parts
    ]
    assert [round(millions, 2) for millions in found] == list(expected)


@pytest.mark.parametrize("mode", ["corrected", "released"])
@pytest.mark.parametrize("name", NAMES)
def test_losses_in_training_reach_every_weight(name, mode):
    model = small(name, mode=mode).train()
    losses = model(*scenes((64, 64), (50, 64)))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_images_without_objects_train_too(name):
    model = small(name).train()
    images, _ = scenes((64, 64), (64, 64))
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
             "masks": torch.zeros(0, 64, 64, dtype=torch.uint8)}  # fmt: skip
    sum(model(images, [empty, empty]).values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_a_batch_with_one_roi_trains_too():
    model = small(roi_samples=1).train()
    norms = [layer.project.project.bn for layer in model.roi_heads.box_head.shared_fcs]
    before = [norm.running_mean.clone() for norm in norms]
    losses = model(*scenes((128, 128)))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(
        torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True)
    )
    assert all(norm.training for norm in norms)
    model.roi_heads.fg_bg_sampler.batch_size_per_image = 8
    model(*scenes((128, 128)))
    assert not any(
        torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True)
    )


def test_detections_are_in_the_pixels_of_the_image_they_were_found_in():
    model = small(score_thresh=0.0)
    found = predict(model, torch.randint(0, 256, (3, 40, 80), dtype=torch.uint8))
    assert (
        found["masks"].shape == (len(found["boxes"]), 40, 80) and found["masks"].dtype == torch.bool
    )
    assert (
        found["boxes"][:, 2].max() <= 80
        and found["boxes"][:, 3].max() <= 40
        and len(found["boxes"]) > 0
    )
    assert found["boxes"][:, 2].max() > 40  # the resized image is 32 x 64
    assert (found["scores"].diff() <= 0).all()


def test_predict_takes_floats_and_refuses_batches():
    model = small()
    image = torch.randint(0, 256, (3, 40, 64), dtype=torch.uint8)
    a, b = predict(model, image), predict(model, image.float() / 255)
    assert torch.equal(a["boxes"], b["boxes"]) and not model.training
    with pytest.raises(InputError, match=r"one image \[3, H, W\], found \[1, 3, 40, 64\]"):
        predict(model, image[None])


def test_retinanet_counts_labels_from_one():
    model = small("retinanet", score_thresh=0.0)
    nn.init.zeros_(model.head.classification_head.branch.out.project.bias)
    images, _ = scenes((64, 64), (64, 64))
    labels = {int(label) for found in model(images) for label in found["labels"]}
    assert labels and labels <= {1, 2, 3, 4}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            0,
            r"labels must be 1\.\.4 \(0 is the background\), found 0 to 0; are they counted from "
            r"0\? Then add 1",
        ),
        (5, r"labels must be 1\.\.4 \(0 is the background\), found 5 to 5$"),
        (-1, "found -1 to -1"),
    ],
)
def test_labels_that_are_no_class_are_refused(name, label, message):
    model = small(name).train()
    images, targets = scenes((64, 64), (64, 64))
    for target in targets:
        target["labels"][:] = label
    with pytest.raises(InputError, match=message):
        model(images, targets)


def test_labels_are_whole_numbers():
    images, targets = scenes((64, 64))
    targets[0]["labels"] = targets[0]["labels"].float()
    with pytest.raises(
        InputError, match=r"labels must be whole numbers from 1 to 4, found torch.float32"
    ):
        small().train()(images, targets)


@pytest.mark.parametrize("name", ["mask_rcnn", "retinanet"])
def test_a_detector_of_grey_images(name):
    """Built, trained, and asked with what it was trained on."""
    model = small(name, backbone_args={**ESF["backbone_args"], "in_chans": 1})
    images, targets = scenes((64, 64))
    grey = images[0][:1]
    assert all(loss.isfinite() for loss in model.train()([grey], targets).values())
    pixels = (grey * 255).round().to(torch.uint8)
    a, b = predict(model, pixels), predict(model, Image.fromarray(pixels[0].numpy()))
    assert torch.equal(a["boxes"], b["boxes"])
    with pytest.raises(InputError, match=r"one image \[1, H, W\], found \[3, 64, 64\]"):
        predict(model, images[0])


def test_statistics_belong_to_the_channels():
    with pytest.raises(
        InputError, match=r"images of 2 channels, but image_mean and .* have 0 and 0 values: give 2"
    ):
        small(backbone_args={**ESF["backbone_args"], "in_chans": 2})
    with pytest.raises(InputError, match=r"divide those of values in 0\.\.255 by 255"):
        small(image_mean=(123.675, 116.28, 103.53))


@pytest.mark.parametrize("scales", [((8,), (16,)), [[8], [16]], (), (0.0,), "8", (float("inf"),)])
def test_anchors_are_the_same_on_all_levels(scales):
    with pytest.raises(
        InputError, match=r"anchor_scales: expected (several of a number|numbers above 0).*, found"
    ):
        small(anchor_scales=scales)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_classes", "3"),
        ("num_classes", 2.5),
        ("num_classes", True),
        ("num_classes", 10**12),
        ("width", "8"),
        ("out_indices", 1),
        ("out_indices", [1.5]),
        ("extra_levels", 1.5),
        ("roi_size", 1.5),
        ("image_mean", 0.5),
        ("backbone", 5),
        ("proposals", 1.5),
        ("convs", 1.5),
        ("keep_time", "yes"),
        ("tau", float("nan")),
    ],
)
@pytest.mark.parametrize("kind", ["mask_rcnn", "retinanet"])
def test_values_of_another_type_are_refused_by_name(kind, name, value):
    with pytest.raises(InputError, match=f"^{name}: expected .*, found"):
        small(kind, **{name: value})


def test_background_has_no_weights_and_stands_first():
    model = small()
    predictor = model.roi_heads.box_predictor
    assert predictor.fc_cls.weight.shape[0] == 5 and predictor.fc_reg.weight.shape[0] == 16
    features = torch.randn(1, 3, 32)
    with torch.no_grad():
        predictor.fc_cls.bias[:] = torch.tensor(
            [1.0, 2.0, 3.0, 4.0, 50.0]
        )  # the background is the last one
        predictor.fc_cls.weight.zero_()
        logits, deltas = predictor(features)
    assert logits[0].tolist() == [50.0, 1.0, 2.0, 3.0, 4.0]
    assert deltas.shape == (3, 20) and (deltas[:, :4] == 0).all()
    masks = model.roi_heads.mask_predictor(torch.randn(1, 3, 16, 14, 14))
    assert masks.shape == (3, 5, 28, 28) and (masks[:, 0] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_same_image_same_outputs_whatever_else_is_in_the_batch(name):
    x = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    model = awake(small(name).double(), x)
    with torch.no_grad():
        together = model.dense(x)
        for i in range(3):
            torch.testing.assert_close(model.dense(x[i : i + 1])[0], together[i], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_keeping_time_changes_nothing_where_steps_are_equal(name):
    """Integer neurons do not couple time steps, so T copies of an image are T times the same
    work.
    """
    args = {**ESF["backbone_args"], "time_steps": 3}
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    merged, kept = (
        small(name, backbone_args=args, keep_time=keep).double() for keep in (False, True)
    )
    kept.load_state_dict(awake(merged, x).state_dict())
    with torch.no_grad():
        torch.testing.assert_close(kept.dense(x), merged.dense(x), rtol=0, atol=1e-9)


def test_lif_heads_see_every_time_step():
    model = small(**META, neuron="lif", keep_time=True)
    seen = []
    model.roi_heads.box_predictor.neuron.register_forward_hook(
        lambda m, inputs, out: seen.append(out.shape)
    )
    model(scenes((64, 64))[0])
    assert seen[0][0] == 2 and model.time_steps == 2


def test_classifier_weights_start_the_encoder():
    args = ESF["backbone_args"]
    classifier = create_model(ESF["backbone"], num_classes=7, **args)
    model = small()
    wanted = {k: v for k, v in classifier.state_dict().items() if not k.startswith("head")}
    assert set(model.encoder.state_dict()) == set(wanted)
    model.encoder.load_state_dict(wanted)


def test_frozen_norms_stay_still_in_training():
    model = small(frozen_norms=True).train()
    before = {n: b.clone() for n, b in model.encoder.named_buffers()}
    sum(model(*scenes((64, 64), (64, 64))).values()).backward()
    assert all(torch.equal(b, before[n]) for n, b in model.encoder.named_buffers())
    norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(p.requires_grad for m in norms for p in m.parameters())
    assert any(m.training for m in model.roi_heads.modules() if isinstance(m, nn.BatchNorm2d))


def test_options_are_checked():
    with pytest.raises(InputError, match="no keyword 'widht'; did you mean width"):
        create_detector("mask_rcnn", widht=64)
    names = "mask_rcnn, cascade_mask_rcnn, retinanet"
    with pytest.raises(InputError, match=f"no detector is called 'yolo'; there are {names}"):
        create_detector("yolo")
    with pytest.raises(InputError, match="mode must be one of"):
        DetectorOptions(mode="fixed")
    with pytest.raises(
        InputError, match=r"out_indices must rise and lie in 0\.\.4 \(strides \[2, 4, 8, 16, 16\]\)"
    ):
        small(out_indices=(1, 7))
    with pytest.raises(InputError, match="max_size must be at least min_size=800"):
        DetectorOptions(max_size=700)
    with pytest.raises(InputError, match="roi_samples must be at least 1, found 0"):
        DetectorOptions(roi_samples=0)


@pytest.mark.parametrize(
    "backbone",
    [
        "sdt_8_384",
        "spikformer_8_384",
        "spikingformer_8_384",
        "qkformer_10_384",
        "meta_spikeformer_15m",
        "e_spikeformer_83m",
    ],
)
def test_every_family_carries_a_detector(backbone):
    with torch.device("meta"):
        model = create_detector("mask_rcnn", backbone=backbone, width=32, num_classes=3)
    strides = [tap["reduction"] for tap in model.encoder.feature_info if tap["reduction"] >= 4]
    assert model.rpn.anchor_generator.strides[: len(set(strides))] == tuple(sorted(set(strides)))
    assert model.rpn.anchor_generator.strides[-1] == 64
