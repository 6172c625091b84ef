"""Masked pre-training: a spike MAE predicts the hidden patches of images; labels are never looked at.

Which patches are hidden in training is drawn from the generator that the loop seeds from (seed, step, process); in
evaluation it is a function of (seed, image), so figures of different epochs and numbers of processes compare.
"""

from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.data import build_eval_loader, build_train_loader
from spikedriven.data.seeding import derive_seed
from spikedriven.errors import RecipeError
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.tasks.networks import build_network
from spikedriven.training.config import LossConfig, Recipe
from spikedriven.training.distributed import World, total


class PretrainingTask:
    metric = "explained"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        if recipe.data.soft_targets:
            raise RecipeError("data: masked pre-training has no labels; set mixup, cutmix and smoothing to 0")
        if recipe.loss != LossConfig():
            raise RecipeError("loss: masked pre-training has its own loss; leave the section out")
        if recipe.model.num_classes is not None:
            raise RecipeError("model.num_classes: masked pre-training has no classes; leave it out")

    def train_loader(self, rank: int, size: int) -> Any:
        run = self.recipe.run
        return build_train_loader(
            self.recipe.data, batch_size=run.batch_size, seed=run.seed, rank=rank, world_size=size
        )

    def build_model(self) -> nn.Module:
        model = build_network(self.recipe.model, self.recipe.data)
        if not isinstance(model, SpikeMAE):
            raise RecipeError(f"model.name: pre-training is for spike_mae models, found {self.recipe.model.name}")
        return model

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        images, _labels = batch
        return model(images).loss

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        """loss: mean squared error over the hidden patches of the validation part, or of the test images where the
        recipe sets none aside. explained: 100 (1 - loss / loss of predicting each patch's mean), per cent."""
        data, seed = self.recipe.data, self.recipe.run.seed
        loader: Any = build_eval_loader(
            data,
            "val" if data.val_fraction else "test",
            batch_size=self.recipe.run.batch_size,
            rank=world.rank,
            world_size=world.size,
        )
        sums = torch.zeros(3, dtype=torch.float64, device=world.device)
        position = world.rank
        for images, _labels in loader:
            indices = [position + i * world.size for i in range(len(images))]
            position += len(images) * world.size
            sums += _error_sums(model, images.to(world.device), evaluation_noise(model, seed, indices))
        error, baseline, count = total(sums, world).tolist()
        return {"loss": error / count, "explained": 100 * (1 - error / baseline)}


def evaluation_noise(model: Any, seed: int, indices: list[int]) -> Tensor:
    """Noise [B, N] for `SpikeMAE.forward`: each image's own, whatever batch it is in."""
    patches = model.grid[0] * model.grid[1]
    rows = [torch.rand(patches, generator=torch.Generator().manual_seed(derive_seed(seed, "mask", i))) for i in indices]
    return torch.stack(rows)


def _error_sums(model: Any, images: Tensor, noise: Tensor) -> Tensor:
    """Sums over hidden patches, float64 [3]: their mean squared errors, those of predicting zero, their number."""
    result = model(images, noise.to(images.device))
    hidden = int(result.mask.sum())
    baseline = model.target(images)[result.mask].square().mean(-1).sum()
    return torch.stack([result.loss.double() * hidden, baseline.double(), baseline.new_tensor(hidden).double()])
