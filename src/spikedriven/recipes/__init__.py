"""The recipes that ship with the package: one YAML file per published training run, and our own."""

import difflib
from pathlib import Path

from spikedriven.errors import RecipeError
from spikedriven.training.config import Recipe
from spikedriven.training.recipe_io import read_recipe

FOLDER = Path(__file__).parent


def list_recipes() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by name, a YAML file by path, or the stored recipe of a run folder."""
    path = Path(name_or_path)
    if name_or_path in list_recipes():
        return read_recipe(FOLDER / f"{name_or_path}.yaml")
    if (path / "recipe.yaml").is_file():
        return read_recipe(path / "recipe.yaml")
    if path.is_file():
        return read_recipe(path)
    near = difflib.get_close_matches(name_or_path, list_recipes(), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise RecipeError(
        f"{name_or_path}: neither a shipped recipe nor a YAML file nor a run folder. {hint}"
        "`spikedriven train --list` shows the shipped recipes"
    )
