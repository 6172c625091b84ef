"""Masked pre-training: labels are not looked at, evaluation does not depend on batches,
resuming is exact.
"""

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from spikedriven.errors import RecipeError
from spikedriven.models.spike_mae import MaskedPrediction
from spikedriven.recipes.types import LossConfig, RunConfig
from spikedriven.tasks import create_task
from spikedriven.tasks.pretraining import evaluation_noise, measure_masked
from tests.tasks.toys import DATA, classifier, masked_autoencoder, recipe
from tests.training.toys import ALONE, train


def test_labels_do_not_matter() -> None:
    task = create_task(recipe(masked_autoencoder(), "pretraining"))
    model, images = task.build_model(), torch.randn(4, 1, 16, 16)
    losses = []
    for labels in (torch.zeros(4, dtype=torch.int64), None):
        torch.manual_seed(3)
        losses.append(task.loss(model, (images, labels)).item())
    assert losses[0] == losses[1]


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    base = recipe(masked_autoencoder(), "pretraining")
    train(base, tmp_path / "whole")
    train(
        dataclasses.replace(base, run=dataclasses.replace(base.run, max_steps=6)),
        tmp_path / "parts",
    )
    train(base, tmp_path / "parts", resume=True)
    whole, parts = (
        safetensors.torch.load_file(
            tmp_path / name / "checkpoints" / "step_00000010" / "model.safetensors"
        )
        for name in ("whole", "parts")
    )
    assert [key for key in whole if not torch.equal(whole[key], parts[key])] == []


def test_each_image_has_its_own_mask_in_evaluation() -> None:
    model = create_task(recipe(masked_autoencoder(), "pretraining")).build_model()
    together = evaluation_noise(model, 1, [0, 1, 2])
    assert together.shape == (3, 16) and torch.equal(evaluation_noise(model, 1, [2]), together[2:])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(evaluation_noise(model, 2, [0]), together[:1])


def evaluate(model: nn.Module, batch_size: int) -> dict[str, float]:
    base = recipe(
        masked_autoencoder(), "pretraining", run=RunConfig(device="cpu", batch_size=batch_size)
    )
    with torch.inference_mode():
        return create_task(base).evaluate(model.eval(), ALONE)


def test_evaluation_does_not_depend_on_the_batch_size() -> None:
    torch.manual_seed(0)
    model = create_task(recipe(masked_autoencoder(), "pretraining")).build_model()
    whole, parts = evaluate(model, 200), evaluate(model, 17)
    assert whole == pytest.approx(parts, rel=1e-5)  # float32 sums in another order


def test_a_process_without_images_adds_nothing() -> None:
    found = measure_masked(None, [], 0, ALONE)
    assert (found.error, found.variance, found.hidden, found.images) == (0, 0, 0, 0)


class Guess(nn.Module):
    """Predicts a share of the truth."""

    grid = (4, 4)

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def target(self, images: torch.Tensor) -> torch.Tensor:
        return images.unfold(2, 4, 4).unfold(3, 4, 4).flatten(1, 3).flatten(2)

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> MaskedPrediction:
        target, mask = self.target(images), noise < 0.5
        prediction = self.share * target
        return MaskedPrediction(
            (prediction - target).square().mean(-1)[mask].mean(), prediction, mask
        )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_explained_is_the_share_of_the_variance(share: float) -> None:
    figures = evaluate(Guess(share), 50)
    assert figures["explained"] == pytest.approx(100 * (1 - (1 - share) ** 2), abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": classifier()}, "no classes"),
        ({"model": dataclasses.replace(classifier(), num_classes=None)}, "is for spike_mae models"),
        ({"data": dataclasses.replace(DATA, smoothing=0.1)}, "only where the task has labels"),
        ({"loss": LossConfig(tet=True)}, "has its own loss"),
    ],
)
def test_what_pre_training_cannot_use_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_task(
            dataclasses.replace(recipe(masked_autoencoder(), "pretraining"), **changes)
        ).build_model()
