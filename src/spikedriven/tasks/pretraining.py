"""Masked pre-training: a spike MAE predicts the hidden patches of images, and looks at no label.

Which patches are hidden in training is drawn from the generator that the loop seeds from (seed,
step, process); in evaluation it is a function of (seed, image), so figures of different epochs and
numbers of processes compare.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.data.seeding import derive_seed
from spikedriven.errors import RecipeError
from spikedriven.recipes.types import LossConfig, Recipe
from spikedriven.runs.distributed import World, total
from spikedriven.runs.networks import network_of
from spikedriven.tasks.classes import evaluation_loader, train_loader


class PretrainingTask:
    metric = "explained"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        if recipe.data.soft_targets:
            raise RecipeError(
                "data: masked pre-training has no labels; set mixup, cutmix and smoothing to 0"
            )
        if recipe.loss != LossConfig():
            raise RecipeError("loss: masked pre-training has its own loss; leave the section out")
        if recipe.model.num_classes is not None:
            raise RecipeError("model.num_classes: masked pre-training has no classes; leave it out")

    def train_loader(self, rank: int, size: int) -> Any:
        return train_loader(self.recipe, rank, size)

    def build_model(self) -> nn.Module:
        return network_of(self.recipe)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        images, _labels = batch
        return model(images).loss

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        """loss and explained (see `MaskedError`) over the validation part, or over the test images
        where the recipe sets none aside."""
        loader = evaluation_loader(self.recipe, world)
        found = measure_masked(model, loader, self.recipe.run.seed, world)
        return {"loss": found.loss, "explained": found.explained}


@dataclass(frozen=True)
class MaskedError:
    """How well the hidden patches of some images are predicted.

    error: sum over hidden patches of the mean squared error of their normalised pixels. variance:
    the same of predicting each patch's mean. hidden: how many patches.
    """

    error: float
    variance: float
    hidden: int
    images: int

    @property
    def loss(self) -> float:
        """Mean squared error of a hidden patch: what is trained."""
        return self.error / self.hidden

    @property
    def explained(self) -> float:
        """Share of the hidden patches' variance that is predicted, 1 - error / variance, in per
        cent; below 0 where the mean of each patch would have been the better guess; nan where the
        patches are plain areas."""
        return 100 * (1 - self.error / self.variance) if self.variance else math.nan

    @classmethod
    def of(cls, rows: Tensor, world: World) -> "MaskedError":
        """From rows of `masked_errors` at each process."""
        images = rows.new_tensor([len(rows)])
        error, variance, hidden, count = total(torch.cat([rows.sum(0), images]), world).tolist()
        return cls(error, variance, round(hidden), round(count))


def measure_masked(model: Any, batches: Iterable[Any], seed: int, world: World) -> MaskedError:
    """Over (images [B, C, H, W], labels) batches of which process r of W has images r, r + W, ...
    of the split.

    Sums over all processes. Set evaluation mode and autocast outside. seed: of the masks.
    """
    rows = [
        masked_errors(model, images.to(world.device), noise)
        for images, noise in with_masks(model, batches, seed, world.rank, world.size)
    ]
    none = torch.zeros(0, 3, dtype=torch.float64, device=world.device)  # more processes than images
    return MaskedError.of(torch.cat([none, *rows]), world)


def with_masks(
    model: Any, batches: Iterable[Any], seed: int, first: int = 0, step: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """(images, noise) for each batch of (images, labels). Image i of the loader is number
    ``first + i * step`` of its split, and its mask is that number's, whatever else is looked at."""
    position = first
    for images, _labels in batches:
        indices = [position + i * step for i in range(len(images))]
        position += len(images) * step
        yield images, evaluation_noise(model, seed, indices)


def evaluation_noise(model: Any, seed: int, indices: list[int]) -> Tensor:
    """Noise [B, N] for `SpikeMAE.forward`: each image's own, whatever batch it is in."""
    patches = model.grid[0] * model.grid[1]
    rows = [
        torch.rand(patches, generator=torch.Generator().manual_seed(derive_seed(seed, "mask", i)))
        for i in indices
    ]
    return torch.stack(rows)


def masked_errors(model: Any, images: Tensor, noise: Tensor) -> Tensor:
    """error, variance and number of hidden patches (see `MaskedError`) by image: float64 [B, 3]."""
    result, target = model(images, noise.to(images.device)), model.target(images)
    error = (result.prediction - target).square().mean(-1)
    columns = (error, target.square().mean(-1), torch.ones_like(error))
    return torch.stack([(values.double() * result.mask).sum(1) for values in columns], dim=1)
