import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchmetrics
from torch import nn

from spikedriven.data.segmentation import SegmentationDataConfig
from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes import load_recipe
from spikedriven.recipes.types import LossConfig, ModelConfig
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.distributed import World
from spikedriven.runs.networks import build_segmenter
from spikedriven.tasks import create_task
from spikedriven.tasks.segmentation import Overlap, SegmentationTask, measure_overlap, pixel_loss
from tests.training.toys import ALONE, train

TOY = load_recipe(str(Path(__file__).parent / "toy_segmentation.yaml"))


def overlap(rows):
    return Overlap(torch.tensor(rows), 1, 0.0)


def test_iou_of_a_known_confusion():
    found = overlap([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    assert found.iou()[:2].tolist() == pytest.approx([100 * 6 / 9, 100 * 3 / 6])
    assert found.iou()[2].isnan() and found.miou == pytest.approx((600 / 9 + 50) / 2)
    assert found.pixel_accuracy == pytest.approx(75.0)
    assert found.recall()[:2].tolist() == pytest.approx([75.0, 75.0])


def test_miou_is_torchmetrics():
    metric = torchmetrics.JaccardIndex(
        "multiclass", num_classes=4, ignore_index=255, average="none"
    )
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (5, 8, 9), generator=generator)
    labels[:, 0] = 255
    logits = torch.randn(5, 4, 8, 9, generator=generator)
    batches = [(logits[i : i + 2], labels[i : i + 2]) for i in range(0, 5, 2)]
    found = measure_overlap(nn.Identity(), batches, 4, ALONE)
    assert torch.allclose(found.iou().float() / 100, metric(logits.argmax(1), labels))
    assert found.images == 5 and found.loss == pytest.approx(
        F.cross_entropy(logits, labels, ignore_index=255).item()
    )


def test_logits_are_enlarged_to_the_labels():
    logits = torch.tensor([[[[9.0, 0.0]], [[0.0, 9.0]]]])  # left class 0, right class 1
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 255]]])
    found = measure_overlap(nn.Identity(), [(logits, labels)], 2, ALONE)
    assert found.confusion.tolist() == [[4, 0], [0, 3]]


def test_a_model_of_other_classes_is_refused():
    with pytest.raises(InputError, match=r"expected logits \[B, 4, H, W\]"):
        measure_overlap(
            nn.Identity(), [(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2).long())], 4, ALONE
        )


def test_outputs_that_are_no_class_of_the_set_are_wrong():
    """As MMSegmentation counts a network for ADE20K's 150 classes on VOC's 21."""
    model = nn.Identity()
    model.num_classes = 4
    logits = torch.eye(4)[torch.tensor([[[0, 1, 3, 3]]])].movedim(-1, 1) * 9
    found = measure_overlap(model, [(logits, torch.tensor([[[0, 0, 1, 255]]]))], 2, ALONE)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert found.iou().tolist() == [50.0, 0.0] and found.pixel_accuracy == pytest.approx(100 / 3)
    assert found.recall().tolist() == [50.0, 0.0]


def test_loss_leaves_255_out_and_divides_by_all_pixels():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    full = pixel_loss(logits, labels)
    assert full.item() == pytest.approx(F.cross_entropy(logits, labels).item())
    half = labels.clone()
    half[:, :2] = 255
    expected = F.cross_entropy(logits[:, :, 2:], labels[:, 2:]).item() / 2
    assert pixel_loss(logits, half).item() == pytest.approx(expected)
    assert pixel_loss(logits, torch.full_like(labels, 255)).item() == 0.0
    small = torch.randn(2, 3, 2, 2)
    grown = F.interpolate(small, size=(4, 4), mode="bilinear", align_corners=False)
    assert torch.equal(pixel_loss(small, labels), pixel_loss(grown, labels))


def test_class_weights_scale_the_loss_of_their_pixels():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    weights = torch.tensor([0.25, 1.0, 2.0])
    each = F.cross_entropy(logits, labels, reduction="none")
    assert pixel_loss(logits, labels, weights).item() == pytest.approx(
        (each * weights[labels]).mean().item()
    )


def test_shares_of_processes_add_up(monkeypatch):
    """Whatever a process counted, the sum over processes is what one process counts alone."""
    logits, labels = torch.randn(6, 3, 4, 4), torch.randint(0, 3, (6, 4, 4))
    alone = measure_overlap(nn.Identity(), [(logits, labels)], 3, ALONE)
    parts = []

    def sum_up(values, world):
        parts.append(values.clone())
        return values

    monkeypatch.setattr("spikedriven.tasks.segmentation.total", sum_up)
    for rank in (0, 1):
        world = World(rank, 2, torch.device("cpu"))
        measure_overlap(nn.Identity(), [(logits[rank::2], labels[rank::2])], 3, world)
    sums, confusions = parts[0::2], parts[1::2]
    assert torch.equal(confusions[0] + confusions[1], alone.confusion.flatten())
    assert (sums[0] + sums[1])[1] == 6 and (sums[0] + sums[1])[0] == pytest.approx(alone.loss_sum)


def test_a_run_trains_and_comes_back(tmp_path):
    trainer, outcome = train(TOY, tmp_path / "run")
    assert outcome.step == 2 and set(outcome.figures) == {"miou", "pixel_accuracy", "loss"}
    model, recipe = load_run(tmp_path / "run")
    assert recipe.data == TOY.data and recipe.model.num_classes == 11
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(x), trainer.learner.net.eval()(x)) and model(x).shape == (
        1,
        11,
        64,
        64,
    )
    scales = {group["lr_scale"] for group in trainer.learner.optimizer.param_groups}
    assert scales == {1.0, 2.0}


def test_resume_ends_with_the_same_bits(tmp_path):
    two = dataclasses.replace(TOY, schedule=dataclasses.replace(TOY.schedule, epochs=2))
    whole, _ = train(two, tmp_path / "whole")
    stopped = dataclasses.replace(two, run=dataclasses.replace(two.run, max_steps=3))
    train(stopped, tmp_path / "halves")
    halves, _ = train(two, tmp_path / "halves", resume=True)
    for key, value in whole.learner.net.state_dict().items():
        assert torch.equal(value, halves.learner.net.state_dict()[key]), key


def test_the_gradient_leads_downhill():
    """Of the classifier alone the loss is convex, and curved by half the largest squared input at
    most: 17 / 2 for 16 channels up to 1 and the bias. Steps of 0.1 lower it each time, whatever the
    layers before it say.
    """
    recipe = dataclasses.replace(TOY, data=dataclasses.replace(TOY.data, hflip=0.0))
    task: SegmentationTask = create_task(recipe)
    batch = next(iter(task.train_loader(0, 1).epoch(0)))
    model = task.build_model()
    optimizer = torch.optim.SGD(model.head.classify.parameters(), lr=0.1)
    losses = []
    for _ in range(8):
        model.zero_grad()
        loss = task.loss(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(after < before for before, after in pairwise(losses)), losses
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_recipes_that_cannot_be_run():
    with pytest.raises(RecipeError, match="loss: segmentation has its own loss"):
        create_task(dataclasses.replace(TOY, loss=LossConfig(tet=True)))
    few = dataclasses.replace(TOY, model=dataclasses.replace(TOY.model, num_classes=3))
    with pytest.raises(
        RecipeError, match=r"model\.num_classes=3, but data set 'fashion-scenes' has 11"
    ):
        create_task(few).train_loader(0, 1)
    with pytest.raises(
        RecipeError,
        match=r"segmentation is for semantic_fpn, fcn, found 'e_spikeformer_3m'.*backbone",
    ):
        build_segmenter(ModelConfig(name="e_spikeformer_3m"), SegmentationDataConfig())


def test_time_steps_and_image_size_reach_the_backbone():
    model = ModelConfig(
        name="semantic_fpn",
        time_steps=3,
        num_classes=4,
        args={
            "backbone": "meta_spikeformer_15m",
            "width": 8,
            "backbone_args": {
                "embed_dims": [8, 8, 8, 8],
                "depths": [1, 1, 1, 1, 1],
                "num_heads": 2,
            },
        },
    )
    built = build_segmenter(model, SegmentationDataConfig(img_size=96))
    assert (
        built.time_steps == 3
        and built.img_size == (96, 96)
        and built.example_input().shape == (1, 3, 96, 96)
    )
