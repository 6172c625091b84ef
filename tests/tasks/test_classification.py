"""Accuracy figures against hand-made logits, and the contract between recipe, data and model."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikedriven.data import DataConfig
from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes.types import LossConfig, ModelConfig, OptimConfig, Recipe
from spikedriven.runs.distributed import World
from spikedriven.tasks import create_task
from spikedriven.tasks.classification import ClassificationTask, measure_accuracy

ALONE = World(0, 1, torch.device("cpu"))
SMALL = {"embed_dim": 16, "depth": 1, "num_heads": 2, "stem_pools": "1111"}


def recipe(**changes) -> Recipe:
    base = Recipe(
        model=ModelConfig(name="sdt_2_256_cifar", time_steps=2, args=SMALL),
        data=DataConfig(dataset="fashion-mini", img_size=16, workers=0),
        optim=OptimConfig(lr=0.1),
    )
    return dataclasses.replace(base, **changes)


class Lookup(nn.Module):
    """Takes row numbers for images."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, rows: Tensor) -> Tensor:
        return self.logits[..., rows.long(), :]


def batches(labels: list[int], size: int) -> list[tuple[Tensor, Tensor]]:
    rows, targets = torch.arange(len(labels)), torch.tensor(labels)
    return list(zip(rows.split(size), targets.split(size), strict=True))


def test_accuracy_counts_every_image_once() -> None:
    # predictions 0, 1, 1, 2, 6; class 6's label is fifth best in row 4, and last in row 2
    logits = torch.tensor(
        [
            [9, 0, 0, 0, 0, 0, 0],
            [0, 9, 0, 0, 0, 0, 0],
            [1, 9, 2, 3, 4, 5, 0],
            [0, 0, 9, 0, 0, 0, 0],
            [8, 7, 6, 5, 0, 1, 9],
        ],
        dtype=torch.float64,
    )
    result = measure_accuracy(Lookup(logits), batches([0, 1, 6, 2, 3], 2), 7, ALONE)
    assert (result.count, result.top1, result.top5) == (5, 60.0, 80.0)
    assert result.confusion.nonzero().tolist() == [[0, 0], [1, 1], [2, 2], [3, 6], [6, 1]]
    assert (
        result.per_class()[[0, 3, 6]].tolist() == [100.0, 0.0, 0.0]
        and result.per_class()[4].isnan()
    )
    expected = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 6, 2, 3])).item()
    assert result.loss == pytest.approx(expected, rel=1e-12)


def test_per_step_logits_are_averaged_first() -> None:
    steps = torch.tensor(
        [[[3.0, 0.0]], [[0.0, 2.0]]]
    )  # the mean prefers class 0, the last step class 1
    assert measure_accuracy(Lookup(steps), batches([0], 1), 2, ALONE).top1 == 100.0


def test_a_head_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="3 classes apart, the data set has 2"):
        measure_accuracy(Lookup(torch.zeros(1, 3)), batches([0], 1), 2, ALONE)


def test_the_number_of_classes_comes_from_the_data() -> None:
    task = create_task(recipe())
    task.train_loader(0, 1)
    assert task.recipe.model.num_classes == 10
    model = task.build_model()
    assert (model.num_classes, model.in_chans, model.img_size, model.time_steps) == (
        10,
        1,
        (16, 16),
        2,
    )


def test_a_wrong_number_of_classes_is_a_recipe_error() -> None:
    wrong = recipe(model=ModelConfig(name="sdt_2_256_cifar", num_classes=7))
    with pytest.raises(RecipeError, match=r"num_classes=7.*10"):
        ClassificationTask(wrong).train_loader(0, 1)


def test_balanced_class_weights_come_from_the_train_samples() -> None:
    task = ClassificationTask(recipe(loss=LossConfig(class_weights="balanced")))
    loader = task.train_loader(0, 1)
    counts = np.bincount(loader.targets, minlength=10)
    assert task.recipe.loss.class_weights == pytest.approx(len(loader.targets) / (10 * counts))
    output, labels = torch.randn(4, 10), torch.tensor([3, 3, 9, 0])
    terms = nn.functional.cross_entropy(output, labels, reduction="none")
    expected = (terms * torch.tensor(task.recipe.loss.class_weights)[labels]).mean()
    assert task.loss(lambda _: output, (torch.zeros(4, 1), labels)).item() == pytest.approx(
        float(expected), rel=1e-5
    )


def test_a_wrong_number_of_class_weights_is_a_recipe_error() -> None:
    wrong = recipe(loss=LossConfig(class_weights=(1.0, 2.0)))
    with pytest.raises(
        RecipeError, match=r"class_weights: expected 10 numbers, .*fashion-mini, found 2"
    ):
        ClassificationTask(wrong).train_loader(0, 1)


def test_tet_trains_per_step_logits() -> None:
    task = ClassificationTask(recipe(loss=LossConfig(tet=True), model=ModelConfig(
        name="sdt_2_256_cifar", time_steps=2, num_classes=10, args=SMALL)))  # fmt: skip
    model = task.build_model()
    images, labels = torch.rand(2, 1, 16, 16), torch.tensor([1, 2])
    assert model(images).shape == (2, 2, 10)
    loss = task.loss(model, (images, labels))
    logits = model(images)
    terms = [nn.functional.cross_entropy(step, labels) for step in logits]
    expected = (1 - 1e-3) * sum(terms) / 2 + 1e-3 * (logits - 1).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(
        RecipeError,
        match="one of classification, detection, distillation, pretraining, segmentation, found "
        "'sculpture'",
    ):
        create_task(recipe(task="sculpture"))


def test_validation_uses_the_part_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    import spikedriven.tasks.classes as module

    asked = []
    original = module.build_eval_loader

    def spy(data, split, **options):
        asked.append(split)
        return original(data, split, **options)

    monkeypatch.setattr(module, "build_eval_loader", spy)
    held_out = recipe(
        data=DataConfig(dataset="fashion-mini", img_size=16, workers=0, val_fraction=0.01)
    )
    for given in (recipe(), held_out):
        task = ClassificationTask(given)
        task.train_loader(0, 1)
        with torch.inference_mode():
            figures = task.evaluate(task.build_model().eval(), ALONE)
        assert set(figures) == {"top1", "top5", "loss"}
    assert asked == ["test", "val"]
