"""Classification that also learns from a teacher: any timm model with weights, or a run of ours.

loss = (1 - alpha) * loss(logits, labels) + alpha * distillation_loss(logits of the second head, logits of the teacher)

The teacher, in evaluation mode and without gradients, sees the images the network sees: augmented, mixed, with the
same normalisation. A network built with `distilled: true` has a second head for it; any other network answers labels
and teacher with its one head. Per-step logits meet the teacher as their mean over time.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from spikedriven.errors import RecipeError
from spikedriven.models.official import read_state_dict
from spikedriven.tasks.classification import ClassificationTask
from spikedriven.tasks.networks import TIMM, build_timm
from spikedriven.training.checkpoint import load_run, load_weights
from spikedriven.training.config import Recipe
from spikedriven.training.losses import distillation_loss


class DistillationTask(ClassificationTask):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if recipe.distill.teacher is None:
            raise RecipeError("distill.teacher: the task distillation needs a teacher: timm/NAME or a run folder")

    def train_loader(self, rank: int, size: int) -> Any:
        """As for classification; also loads the teacher, before the network's own weights are drawn."""
        loader = super().train_loader(rank, size)
        self.teacher = load_teacher(self.recipe)
        return loader

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        images, targets = batch
        distill = self.recipe.distill
        output = model(images)
        logits, logits_kd = output if isinstance(output, tuple) else (output, output)
        with torch.no_grad():
            wanted = _mean_over_time(self.teacher.to(images.device)(images))
        taught = distillation_loss(_mean_over_time(logits_kd), wanted, distill.kind, distill.tau)
        return (1 - distill.alpha) * self.criterion(logits, targets) + distill.alpha * taught


def load_teacher(recipe: Recipe) -> nn.Module:
    """The teacher of a recipe, in evaluation mode, its weights frozen. RecipeError if it is for other classes, or for
    images of another normalisation."""
    source = recipe.distill.teacher
    assert source is not None  # DistillationTask demands it
    teacher = _from_timm(recipe, source) if source.startswith(TIMM) else _from_run(recipe, source)
    return teacher.eval().requires_grad_(False)


def _from_timm(recipe: Recipe, name: str) -> nn.Module:
    classes, channels = recipe.model.num_classes, recipe.data.in_chans
    checkpoint = recipe.distill.checkpoint
    if checkpoint is not None:
        teacher = build_timm(name, num_classes=classes, in_chans=channels)
        weights, container = read_state_dict(checkpoint)
        load_weights(teacher, weights, Path(container))
        return teacher
    published = timm.get_pretrained_cfg(name.removeprefix(TIMM))
    if published is not None and published.num_classes != classes:
        raise RecipeError(
            f"distill.teacher {name}: its pretrained weights tell {published.num_classes} classes apart, the data set "
            f"has {classes}; give distill.checkpoint, or train a teacher and name its run folder"
        )
    return build_timm(name, pretrained=True, num_classes=classes, in_chans=channels)


def _from_run(recipe: Recipe, path: str) -> nn.Module:
    if recipe.distill.checkpoint is not None:
        raise RecipeError("distill.checkpoint: goes with a timm teacher; of a run, name the checkpoint folder itself")
    teacher, theirs = load_run(path)
    ours = (recipe.model.num_classes, recipe.data.in_chans, recipe.data.normalization())
    found = (theirs.model.num_classes, theirs.data.in_chans, theirs.data.normalization())
    for what, a, b in zip(("number of classes", "number of channels", "mean and std"), ours, found, strict=True):
        if a != b:
            raise RecipeError(f"distill.teacher {path}: its {what} is {b}, this recipe's is {a}; they must be the same")
    return teacher


def _mean_over_time(logits: Tensor) -> Tensor:
    """[T, B, K] or [B, K] -> [B, K]."""
    return logits.mean(0) if logits.ndim == 3 else logits
