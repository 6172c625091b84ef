"""Recipes by name: a YAML file per published training run, our own, and those of plugins."""

from pathlib import Path
from typing import TYPE_CHECKING

from spikedriven.errors import InputError, RecipeError, did_you_mean

if TYPE_CHECKING:
    from spikedriven.recipes.types import Recipe

FOLDER = Path(__file__).parent
#: Folders of YAML files; each file is a recipe of its name.
_folders: list[Path] = [FOLDER]


def register_recipes(folder: str | Path) -> None:
    """From now on every YAML file of the folder is a recipe by its name, beside those that ship.

    A plugin calls it with a folder of its own: ``register_recipes(Path(__file__).parent)``.
    InputError for a folder without YAML files, and for a name that another recipe has.
    """
    path = Path(folder).resolve()
    if path in _folders:
        return
    found = {file.stem: file for file in path.glob("*.yaml")}
    if not found:
        raise InputError(f"register_recipes: {path} is no folder with recipes, files NAME.yaml")
    known = _files()
    for name in sorted(found.keys() & known.keys()):
        taken = f"the name {name!r} belongs to {known[name]}"
        raise InputError(f"register_recipes: {found[name]}: {taken}")
    _folders.append(path)


def list_recipes() -> list[str]:
    """Names of the recipes that ship and of those that plugins have registered."""
    return sorted(_files())


def load_recipe(name_or_path: str) -> "Recipe":
    """A recipe by name (`list_recipes`), a YAML file by path, or the recipe of a run folder."""
    from spikedriven.recipes.reading import read_recipe  # names alone do without torch

    path, known = Path(name_or_path), _files()
    if name_or_path in known:
        return read_recipe(known[name_or_path])
    if (path / "recipe.yaml").is_file():
        return read_recipe(path / "recipe.yaml")
    if path.is_file():
        return read_recipe(path)
    raise RecipeError(
        f"{name_or_path}: neither a known recipe nor a YAML file nor a run folder (those of a "
        f"plugin need --plugin MODULE); {did_you_mean(name_or_path, known)}"
    )


def _files() -> dict[str, Path]:
    return {file.stem: file for folder in _folders for file in folder.glob("*.yaml")}
