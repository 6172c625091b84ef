"""Semantic segmentation: a class for every pixel; cross entropy, mean intersection over union."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.sets import IGNORE
from spikedriven.errors import InputError, RecipeError
from spikedriven.models.segmentation.inference import Inference, Network
from spikedriven.models.segmentation.semantic_fpn import resize
from spikedriven.recipes.types import LossConfig, Recipe
from spikedriven.runs.distributed import World, total
from spikedriven.runs.networks import network_of
from spikedriven.tasks.classes import evaluation_loader, train_loader, with_classes


@dataclass(frozen=True)
class Overlap:
    """Counts over a data set. `confusion[i, j]`: how many pixels of class i were taken for class j,
    int64 [K, K]. With a column more for a network with more outputs than the set has classes.
    Pixels labelled 255 are left out.
    """

    confusion: Tensor
    images: int
    loss_sum: float

    def iou(self) -> Tensor:
        """Intersection over union of each class in per cent, float64 [K]; nan for a class that is
        neither there nor ever predicted.
        """
        hits = self.confusion.diagonal().double()
        return 100 * hits / (self.confusion.sum(0)[: len(hits)] + self.confusion.sum(1) - hits)

    @property
    def miou(self) -> float:
        """Mean over the classes that have an IoU, per cent."""
        return float(self.iou().nanmean())

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels that were right, per cent."""
        return 100 * float(self.confusion.trace()) / float(self.confusion.sum())

    def recall(self) -> Tensor:
        """Of each class the share of its pixels that were found, per cent, float64 [K]; nan for
        a class without any.
        """
        return 100 * self.confusion.diagonal().double() / self.confusion.sum(1)

    @property
    def loss(self) -> float:
        """Mean cross entropy per labelled pixel."""
        return self.loss_sum / float(self.confusion.sum())


class SegmentationTask:
    metric = "miou"

    def __init__(self, recipe: Recipe[SegmentationDataConfig]) -> None:
        self.recipe = recipe
        weights = recipe.loss.class_weights
        if recipe.loss != LossConfig(class_weights=weights):
            raise RecipeError(
                "loss: segmentation has its own loss, cross entropy per pixel; only class_weights "
                "is read"
            )
        if weights == "balanced":
            raise RecipeError(
                "loss.class_weights balanced: segmentation counts no pixels; give numbers"
            )
        if weights is not None and (min(weights, default=0) < 0 or sum(weights) == 0):
            raise RecipeError(
                f"loss.class_weights: expected numbers of at least 0, not all 0, found {weights}"
            )
        self.weights = None if weights is None else torch.tensor(weights)

    def train_loader(self, rank: int, size: int) -> Any:
        """Training batches (images, label maps); takes the number of classes from the data
        where it is left open.
        """
        loader = train_loader(self.recipe, rank, size)
        self.recipe = with_classes(self.recipe, loader)
        if self.weights is not None and len(self.weights) != loader.num_classes:
            raise RecipeError(
                f"loss.class_weights: expected {loader.num_classes} numbers, found "
                f"{len(self.weights)}"
            )
        return loader

    def build_model(self) -> nn.Module:
        return network_of(self.recipe)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        images, labels = batch
        return pixel_loss(model(images), labels, self.weights)

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        """miou, pixel_accuracy (per cent) and cross entropy over the validation or the test part,
        as the recipe has it.
        """
        loader = evaluation_loader(self.recipe, world)
        classes = self.recipe.model.num_classes
        assert classes is not None  # the recipe is complete
        result = measure_overlap(model, loader, classes, world, inference_of(self.recipe.data))
        return {"miou": result.miou, "pixel_accuracy": result.pixel_accuracy, "loss": result.loss}


def pixel_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross entropy of logits [B, K, h, w], enlarged to the labels [B, H, W], summed over labelled
    pixels and divided by the number of all pixels, those labelled 255 included (MMSegmentation's
    default). weights: per class, [K].
    """
    logits = resize(logits, (labels.shape[-2], labels.shape[-1]))
    weights = None if weights is None else weights.to(logits)
    return (
        F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
        / labels.numel()
    )


def inference_of(data: SegmentationDataConfig) -> Inference:
    """How a data section says that whole images are evaluated."""
    return Inference(data.slide, data.test_flip)


def measure_overlap(
    model: nn.Module,
    loader: Iterable[Any],
    num_classes: int,
    world: World,
    inference: Inference | None = None,
) -> Overlap:
    """Run `model` (as it is: set eval mode and autocast outside) over (images [B, 3, h, w], labels
    [B, H, W]) batches, summed over all processes. images: or a list of the same images in several
    sizes. num_classes: of the labels; where ``model.num_classes`` is more, pixels taken for one of
    the other outputs are wrong.
    """
    device, inference = world.device, inference or Inference()
    outputs = getattr(model, "num_classes", num_classes)
    columns = num_classes + int(outputs > num_classes)
    confusion = torch.zeros(num_classes * columns, dtype=torch.int64, device=device)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for images, labels in loader:
        views = [
            view.to(device, non_blocking=True)
            for view in ([images] if isinstance(images, Tensor) else images)
        ]
        labels = labels.to(device)
        logits = inference.scores(
            _checked(model, outputs), views, (labels.shape[-2], labels.shape[-1])
        )
        counted = labels != IGNORE
        found = logits.argmax(1)[counted].clamp(max=columns - 1)
        confusion += torch.bincount(labels[counted] * columns + found, minlength=len(confusion))
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        sums += torch.stack([loss.double(), loss.new_tensor(len(labels)).double()])
    loss_sum, images = total(sums, world).tolist()
    return Overlap(total(confusion, world).view(num_classes, columns).cpu(), int(images), loss_sum)


def _checked(model: nn.Module, outputs: int) -> Network:
    """The model; InputError where it does not give so many logits a pixel."""

    def run(images: Tensor) -> Tensor:
        output = model(images)
        if output.ndim != 4 or output.shape[1] != outputs:
            raise InputError(
                f"expected logits [B, {outputs}, H, W] from a segmenter, found {list(output.shape)}"
            )
        return output

    return run
