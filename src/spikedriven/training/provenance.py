"""What is written about a file of weights beside its tensors: by `spikedriven convert`, or by the run it belongs to.

A converted file holds it in its header (`models.header`).
"""

from pathlib import Path

from spikedriven.data import EventDataConfig
from spikedriven.models.header import Provenance, read_header
from spikedriven.training.checkpoint import MANIFEST
from spikedriven.training.config import Recipe
from spikedriven.training.recipe_io import read_recipe


def read_provenance(path: Path) -> Provenance | None:
    """What is known of a file; None: nothing beside its tensors. CheckpointError where it is damaged."""
    recipe = path.parent.parent.parent / "recipe.yaml"
    if (path.parent / MANIFEST).is_file() and recipe.is_file():
        return _of_recipe(read_recipe(recipe), recipe)
    return read_header(path) if path.suffix == ".safetensors" else None


def _of_recipe(recipe: Recipe, path: Path) -> Provenance:
    """The keywords that the run built its network with, as far as the tensors do not tell them."""
    args = dict(recipe.model.args)
    if recipe.model.time_steps is not None:
        args["time_steps"] = recipe.model.time_steps
    if isinstance(recipe.data, EventDataConfig):
        args["time_steps"] = recipe.data.time_steps
    return Provenance(recipe.model.name, args=args, where=f"the recipe of its run, {path},")
