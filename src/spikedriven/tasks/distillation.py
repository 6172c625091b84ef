"""Classification that also learns from a teacher: any timm model with weights, or a run of ours.

loss = (1 - alpha) * loss(logits, labels) + alpha * distillation_loss(logits of the second head,
logits of the teacher)

The teacher, in evaluation mode and without gradients, sees the images the network sees: augmented,
mixed, with the same normalisation. A network built with `distilled: true` has a second head for it;
any other network answers labels and teacher with its one head. Per-step logits meet the teacher as
their mean over time.
"""

import dataclasses
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import metaformer
from torch import Tensor, nn

from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.models.containers import Packed, read_packed
from spikedriven.models.official import bytes_of, load_packed, refuse
from spikedriven.models.prefixes import strip_wrappers
from spikedriven.models.values import why_not_plain
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.networks import TIMM, build_timm
from spikedriven.tasks.classification import ClassificationTask
from spikedriven.tasks.losses import distillation_loss

#: How the names of the CAFormer files of sail-sg/poolformer begin. timm's have no
#: downsample_layers.
POOLFORMER = ("downsample_layers.", "stages.", "norm.", "head.")


class DistillationTask(ClassificationTask):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if recipe.distill.teacher is None:
            raise RecipeError(
                "distill.teacher: the task distillation needs a teacher: timm/NAME or a run folder"
            )

    def train_loader(self, rank: int, size: int) -> Any:
        """As for classification; also loads the teacher, before the network's own weights are
        drawn.
        """
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
    """The teacher of a recipe, in evaluation mode, its weights frozen. RecipeError if it is for
    other classes, or for images of another normalisation.
    """
    source = recipe.distill.teacher
    assert source is not None  # DistillationTask demands it
    teacher = _from_timm(recipe, source) if source.startswith(TIMM) else _from_run(recipe, source)
    return teacher.eval().requires_grad_(False)


def _from_timm(recipe: Recipe, name: str) -> nn.Module:
    classes, channels = recipe.model.num_classes, recipe.data.in_chans
    checkpoint = recipe.distill.checkpoint
    if checkpoint is not None:
        teacher = build_timm(name, num_classes=classes, in_chans=channels)
        _load_file(teacher, checkpoint)
        return teacher
    published = timm.get_pretrained_cfg(name.removeprefix(TIMM))
    if published is not None and published.num_classes != classes:
        raise RecipeError(
            f"distill.teacher {name}: its pretrained weights tell {published.num_classes} classes "
            "apart, the data set "
            f"has {classes}; give distill.checkpoint, or train a teacher and name its run folder"
        )
    return build_timm(name, pretrained=True, num_classes=classes, in_chans=channels)


def _load_file(teacher: nn.Module, checkpoint: Path) -> None:
    """Load a file of timm, or a CAFormer file of its authors, whose names timm's own filter
    translates.
    """
    packed = read_packed(checkpoint, needed=bytes_of(teacher))
    if isinstance(teacher, metaformer.MetaFormer):
        theirs = strip_wrappers(packed, lambda key: key.startswith(POOLFORMER))
        if any(key.startswith(POOLFORMER[0]) for key in theirs.tensors):
            packed = dataclasses.replace(theirs, tensors=_timm_names(teacher, theirs))
    load_packed(teacher, packed)


def _timm_names(teacher: nn.Module, packed: Packed) -> dict[str, Any]:
    """Keys of sail-sg/poolformer as timm's MetaFormers have them. The filter takes one key at a
    time, keeps the order, and may give a value another shape.
    """
    refuse({key: why_not_plain(value) for key, value in packed.tensors.items()}, packed.origin)
    try:
        renamed = metaformer.checkpoint_filter_fn(packed.tensors, teacher)
    except KeyError as error:
        raise CheckpointError(
            f"{packed.origin} is not for {type(teacher).__name__} as it was built: timm's filter "
            f"makes {error} of one "
            "of its keys, and the network has no such weight. Check the name of the teacher"
        ) from error
    if len(renamed) < len(packed.tensors):
        raise CheckpointError(f"{packed.origin} holds a weight twice, under two names")
    for (key, before), after in zip(packed.tensors.items(), renamed.values(), strict=True):
        if [size for size in before.shape if size > 1] != [
            size for size in after.shape if size > 1
        ]:
            raise CheckpointError(
                f"{packed.origin}: {key} has shape {list(before.shape)}, expected "
                f"{list(after.shape)}"
            )
    return renamed


def _from_run(recipe: Recipe, path: str) -> nn.Module:
    if recipe.distill.checkpoint is not None:
        raise RecipeError(
            "distill.checkpoint: goes with a timm teacher; of a run, name the checkpoint folder "
            "itself"
        )
    teacher, theirs = load_run(path)
    ours = (recipe.model.num_classes, recipe.data.in_chans, recipe.data.normalization())
    found = (theirs.model.num_classes, theirs.data.in_chans, theirs.data.normalization())
    for what, a, b in zip(
        ("number of classes", "number of channels", "mean and std"), ours, found, strict=True
    ):
        if a != b:
            raise RecipeError(
                f"distill.teacher {path}: its {what} is {b}, this recipe's is {a}; they must be "
                "the same"
            )
    return teacher


def _mean_over_time(logits: Tensor) -> Tensor:
    """[T, B, K] or [B, K] -> [B, K]."""
    return logits.mean(0) if logits.ndim == 3 else logits
