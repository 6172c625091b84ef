"""What a task takes from its data: the loaders, and the number of classes where a recipe leaves it
open."""

import dataclasses
from typing import Any

from spikedriven.data import build_eval_loader, build_train_loader
from spikedriven.errors import RecipeError
from spikedriven.recipes.types import Recipe
from spikedriven.runs.distributed import World
from spikedriven.runs.selection import evaluation_split


def train_loader(recipe: Recipe, rank: int, size: int) -> Any:
    """Training batches for one of `size` processes."""
    run = recipe.run
    return build_train_loader(
        recipe.data, batch_size=run.batch_size, seed=run.seed, rank=rank, world_size=size
    )


def evaluation_loader(recipe: Recipe, world: World) -> Any:
    """The samples that a run evaluates while it trains: the validation part where the recipe sets
    one aside, else the test part (which the releases use for selection too)."""
    return build_eval_loader(
        recipe.data,
        evaluation_split(recipe.data),
        batch_size=recipe.run.batch_size,
        rank=world.rank,
        world_size=world.size,
        as_evaluated=True,
    )


def with_classes(recipe: Recipe, loader: Any) -> Recipe:
    """The recipe with a head for the classes of its data. RecipeError where it says another
    number."""
    classes = recipe.model.num_classes
    if classes not in (None, loader.num_classes):
        raise RecipeError(
            f"model.num_classes={classes}, but data set {recipe.data.dataset!r} has "
            f"{loader.num_classes} classes; leave num_classes out, or name another data set"
        )
    model = dataclasses.replace(recipe.model, num_classes=loader.num_classes)
    return dataclasses.replace(recipe, model=model)
