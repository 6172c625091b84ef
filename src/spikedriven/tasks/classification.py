"""Image and event classification: model with a linear head, cross entropy or TET, accuracy."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.data import build_eval_loader, build_train_loader
from spikedriven.errors import InputError, RecipeError
from spikedriven.tasks.networks import TIMM, build_network
from spikedriven.training.config import Recipe
from spikedriven.training.distributed import World, total
from spikedriven.training.losses import balanced_weights, create_loss, evaluation_loss
from spikedriven.training.selection import evaluation_split


@dataclass(frozen=True)
class Accuracy:
    """Counts over a data set. `confusion[i, j]`: how many images of class i were taken for class j (int64 [K, K])."""

    confusion: Tensor
    top5_hits: int
    loss_sum: float

    @property
    def count(self) -> int:
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Per cent."""
        return 100 * int(self.confusion.trace()) / self.count

    @property
    def top5(self) -> float:
        """Per cent; with five classes or fewer it is 100 by definition."""
        return 100 * self.top5_hits / self.count

    @property
    def loss(self) -> float:
        return self.loss_sum / self.count

    def per_class(self) -> Tensor:
        """Recall of each class in per cent, float64 [K]; nan for a class without images."""
        return 100 * self.confusion.diagonal().double() / self.confusion.sum(1)


class ClassificationTask:
    metric = "top1"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        if recipe.loss.class_weights != "balanced":  # those come with the data
            self.criterion = create_loss(recipe.loss)

    def train_loader(self, rank: int, size: int) -> Any:
        """Training batches (images, targets); also takes the number of classes from the data where the recipe
        leaves it open."""
        run = self.recipe.run
        loader = build_train_loader(
            self.recipe.data, batch_size=run.batch_size, seed=run.seed, rank=rank, world_size=size
        )
        classes = self.recipe.model.num_classes
        if classes is None:
            model = dataclasses.replace(self.recipe.model, num_classes=loader.num_classes)
            self.recipe = dataclasses.replace(self.recipe, model=model)
        elif classes != loader.num_classes:
            raise RecipeError(
                f"model.num_classes={classes}, but data set {self.recipe.data.dataset!r} has {loader.num_classes} "
                "classes; leave num_classes out, or name another data set"
            )
        self._weigh_classes(loader)
        return loader

    def _weigh_classes(self, loader: Any) -> None:
        """Balanced class weights as numbers, and the loss with them."""
        loss, classes = self.recipe.loss, loader.classes
        if loss.class_weights == "balanced":
            loss = dataclasses.replace(
                loss, class_weights=balanced_weights(loader.targets, classes)
            )
            self.recipe = dataclasses.replace(self.recipe, loss=loss)
            self.criterion = create_loss(loss)
        elif loss.class_weights is not None and len(loss.class_weights) != len(classes):
            raise RecipeError(
                f"loss.class_weights: expected {len(classes)} numbers, one for each class of "
                f"{self.recipe.data.dataset}, found {len(loss.class_weights)}"
            )

    def build_model(self) -> nn.Module:
        """The recipe's model; `in_chans` and `img_size` are those of the data."""
        tet, name = self.recipe.loss.tet, self.recipe.model.name
        ours = (
            {} if name.startswith(TIMM) and not tet else {"output": "per_step" if tet else "mean"}
        )
        return build_network(self.recipe.model, self.recipe.data, **ours)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        images, targets = batch
        output = model(images)
        if isinstance(output, tuple):
            raise RecipeError(
                "model.args.distilled: the second head learns from a teacher; use task: distillation"
            )
        return self.criterion(output, targets)

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        """top1 and top5 in per cent and the mean cross entropy over the validation part where the recipe sets one
        aside, else over the test set (which the releases use for selection too)."""
        data = self.recipe.data
        loader: Any = build_eval_loader(
            data,
            evaluation_split(data),
            batch_size=self.recipe.run.batch_size,
            rank=world.rank,
            world_size=world.size,
        )
        result = measure_accuracy(model, loader, loader.dataset.num_classes, world)
        return {"top1": result.top1, "top5": result.top5, "loss": result.loss}


def measure_accuracy(
    model: nn.Module, loader: Iterable[Any], num_classes: int, world: World
) -> Accuracy:
    """Run `model` (as it is: set eval mode and autocast outside) over (images [B, ...], labels int64 [B]) batches,
    summed over all processes. Per-step logits [T, B, K] are averaged over T first."""
    device = world.device
    confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=device)
    hits_and_loss = torch.zeros(2, dtype=torch.float64, device=device)
    for images, labels in loader:
        logits = _logits(model(images.to(device, non_blocking=True)), num_classes)
        labels = labels.to(device)
        confusion += torch.bincount(
            labels * num_classes + logits.argmax(1), minlength=num_classes**2
        )
        top5 = logits.topk(min(5, num_classes), dim=1).indices
        hits_and_loss[0] += (top5 == labels[:, None]).any(1).sum()
        hits_and_loss[1] += evaluation_loss(logits, labels)
    hits, loss = total(hits_and_loss, world).tolist()
    return Accuracy(total(confusion, world).view(num_classes, num_classes).cpu(), int(hits), loss)


def _logits(output: Tensor, num_classes: int) -> Tensor:
    """[B, K] in float32 at least."""
    logits = output.mean(0) if output.ndim == 3 else output
    if logits.shape[1] != num_classes:
        raise InputError(
            f"the model tells {logits.shape[1]} classes apart, the data set has {num_classes}"
        )
    return logits if logits.dtype == torch.float64 else logits.float()
