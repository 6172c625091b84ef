"""What is written about a file of weights beside its tensors: by `spikedriven convert`, or by the
run it belongs to.

A converted file holds it in its header (`models.header`).
"""

from pathlib import Path

from spikedriven.data import EventDataConfig
from spikedriven.models.header import Provenance, read_header
from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import MANIFEST


def read_provenance(path: Path) -> Provenance | None:
    """What is known of a file; None: nothing beside its tensors. CheckpointError where it is
    damaged.
    """
    recipe = path.parent.parent.parent / "recipe.yaml"
    if (path.parent / MANIFEST).is_file() and recipe.is_file():
        return of_recipe(read_recipe(recipe), f"the recipe of its run, {recipe},")
    return read_header(path) if path.suffix == ".safetensors" else None


def of_recipe(recipe: Recipe, where: str) -> Provenance:
    """The keywords that a recipe builds its network with, as far as the tensors do not tell them.
    where: what it is called in messages.
    """
    args = dict(recipe.model.args)
    if recipe.model.time_steps is not None:
        args["time_steps"] = recipe.model.time_steps
    if isinstance(recipe.data, EventDataConfig):
        args["time_steps"] = recipe.data.time_steps
    return Provenance(recipe.model.name, args=args, where=where)
