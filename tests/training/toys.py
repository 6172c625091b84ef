"""A task of microseconds a step: with dropout, so that generators matter; without BN, so that
batches can be split.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.data import DataConfig
from spikedriven.recipes.types import ModelConfig, OptimConfig, Recipe, RunConfig, ScheduleConfig
from spikedriven.runs.distributed import World, total
from spikedriven.runs.networks import NETWORKS
from spikedriven.training.loop import Outcome, Trainer

BATCHES, FEATURES = 6, 5
ALONE = World(0, 1, torch.device("cpu"))


class ToyLoader:
    broken_count = 0

    def __init__(self, seed: int, batch_size: int, rank: int, size: int) -> None:
        self.seed, self.batch_size, self.rank, self.size = seed, batch_size, rank, size

    def usage(self):
        return ""

    def __len__(self) -> int:
        return BATCHES * 8 // (self.batch_size * self.size)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed * 1000 + epoch)
        inputs = torch.randn(BATCHES * 8, FEATURES, generator=generator, dtype=torch.float64)
        labels = (inputs.sum(1) > 0).long()
        step = self.batch_size * self.size
        for index in range(start_batch, len(self)):
            part = slice(
                index * step + self.rank * self.batch_size,
                index * step + (self.rank + 1) * self.batch_size,
            )
            yield inputs[part], labels[part]


class ToyTask:
    metric = "top1"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def train_loader(self, rank: int, size: int) -> ToyLoader:
        return ToyLoader(self.recipe.run.seed, self.recipe.run.batch_size, rank, size)

    def build_model(self) -> nn.Module:
        rate = self.recipe.model.args.get("dropout", 0.0)
        model = nn.Sequential(
            nn.Linear(FEATURES, 7), nn.Tanh(), nn.Dropout(rate), nn.Linear(7, 2)
        ).double()
        if self.recipe.model.args.get("broken"):
            model[1] = Divide()
        return model

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        inputs, labels = next(ToyLoader(99, 48, 0, 1).epoch(0))
        hits = total((model(inputs).argmax(1) == labels).sum().double(), world)
        return {"top1": 100 * float(hits) / (48 * world.size)}


class Divide(nn.Module):
    """Divides by zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.new_zeros(())


def toy_recipe(run: dict[str, Any] | None = None, **model_args: Any) -> Recipe:
    return Recipe(
        task="toy",
        model=ModelConfig(name="toy", args=model_args),
        data=DataConfig(),
        optim=OptimConfig(lr=0.01),
        schedule=ScheduleConfig(kind="cosine_iter", epochs=3, warmup_epochs=1),
        run=RunConfig(**{"batch_size": 8, "device": "cpu", "log_steps": 1, **(run or {})}),
    )


def train(recipe: Recipe, folder: Path, resume: bool = False) -> tuple[Trainer, Outcome]:
    trainer = Trainer(recipe, folder, ALONE, resume=resume)
    return trainer, trainer.fit()


NETWORKS["toy"] = lambda recipe: ToyTask(recipe).build_model()
