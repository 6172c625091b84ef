"""Image and event classification: model with a linear head, cross entropy or TET, accuracy."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes.types import Recipe
from spikedriven.runs.distributed import World, total
from spikedriven.runs.networks import network_of
from spikedriven.tasks.classes import evaluation_loader, train_loader, with_classes
from spikedriven.tasks.losses import balanced_weights, create_loss, evaluation_loss
from spikedriven.tasks.tags import measure_tags


@dataclass(frozen=True)
class Accuracy:
    """Counts over a data set. `confusion[i, j]`: how many images of class i were taken for
    class j (int64 [K, K]).
    """

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
        """Training batches (images, targets); also takes the number of classes from the data where
        the recipe leaves it open.
        """
        loader = train_loader(self.recipe, rank, size)
        self.recipe = with_classes(self.recipe, loader)
        if getattr(loader.dataset, "several_labels", False):
            self._take_tags()
        self._weigh_classes(loader)
        return loader

    def _take_tags(self) -> None:
        """Several labels per picture. RecipeError for a loss of one label."""
        if self.recipe.loss.kind != "binary_cross_entropy":
            raise RecipeError(
                f"loss.kind: found {self.recipe.loss.kind!r}, but pictures of "
                f"{self.recipe.data.dataset} "
                "have several labels; expected binary_cross_entropy"
            )
        self.metric = "map"

    def _weigh_classes(self, loader: Any) -> None:
        """Balanced class weights as numbers, and the loss with them."""
        loss, classes = self.recipe.loss, loader.classes
        if loss.class_weights == "balanced":
            if loader.targets is None:
                raise RecipeError(
                    "loss.class_weights balanced: samples have no label each; give numbers"
                )
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
        return network_of(self.recipe)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        images, targets = batch
        output = model(images)
        if isinstance(output, tuple):
            raise RecipeError(
                "model.args.distilled: the second head learns from a teacher; use task: "
                "distillation"
            )
        return self.criterion(output, targets)

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        """top1 and top5 in per cent and the mean cross entropy; where pictures have several labels
        what `Tags.figures` says. Over the validation part where the recipe sets one aside, else the
        test set (which the releases use for selection too)."""
        loader = evaluation_loader(self.recipe, world)
        if loader.dataset.several_labels:
            return measure_tags(model, loader, loader.dataset.num_classes, world).figures()
        result = measure_accuracy(model, loader, loader.dataset.num_classes, world)
        return {"top1": result.top1, "top5": result.top5, "loss": result.loss}


def measure_accuracy(
    model: nn.Module, loader: Iterable[Any], num_classes: int, world: World
) -> Accuracy:
    """Run `model` (as it is: set eval mode and autocast outside) over (images [B, ...], labels
    int64 [B]) batches, summed over all processes. Per-step logits [T, B, K] are averaged over T
    first.
    """
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
