"""What is written about a file of weights beside its tensors: by `spikedriven convert`, or by the run it belongs to.

A converted file holds it in the header of the safetensors format, under the key "spikedriven", as JSON: the registered
name, the tag, the keywords, the authors' file.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from spikedriven.data import EventDataConfig
from spikedriven.errors import CheckpointError
from spikedriven.training.checkpoint import MANIFEST
from spikedriven.training.config import Recipe
from spikedriven.training.recipe_io import read_recipe

HEADER_KEY = "spikedriven"


@dataclass(frozen=True)
class Provenance:
    """name: registered name. tag: of the published file, "": none. args: keywords of `create_model`.
    converted_from: name of the authors' file. where: where this is written, for messages."""

    name: str
    tag: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    converted_from: str = ""
    where: str = ""


def header(found: Provenance) -> dict[str, str]:
    """The metadata of a safetensors file, which `read_provenance` reads back."""
    content = {"name": found.name, "tag": found.tag, "args": found.args, "converted_from": found.converted_from}
    return {"format": "pt", HEADER_KEY: json.dumps(content)}


def read_provenance(path: Path) -> Provenance | None:
    """What is known of a file; None: nothing beside its tensors. CheckpointError where it is damaged."""
    recipe = path.parent.parent.parent / "recipe.yaml"
    if (path.parent / MANIFEST).is_file() and recipe.is_file():
        return _of_recipe(read_recipe(recipe), recipe)
    return _of_header(path) if path.suffix == ".safetensors" else None


def _of_recipe(recipe: Recipe, path: Path) -> Provenance:
    """The keywords that the run built its network with, as far as the tensors do not tell them."""
    args = dict(recipe.model.args)
    if recipe.model.time_steps is not None:
        args["time_steps"] = recipe.model.time_steps
    if isinstance(recipe.data, EventDataConfig):
        args["time_steps"] = recipe.data.time_steps
    return Provenance(recipe.model.name, args=args, where=f"the recipe of its run, {path},")


def _of_header(path: Path) -> Provenance | None:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
    if text is None:
        return None
    try:
        content = json.loads(text)
        name, tag, args = content["name"], content["tag"], content["args"]
        if not isinstance(name, str) or not isinstance(tag, str) or not isinstance(args, dict):
            raise TypeError(f"name, tag and args: {name!r}, {tag!r}, {args!r}")
        return Provenance(name, tag, args, str(content["converted_from"]), "its header")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: what its header says of the network cannot be read ({type(error).__name__}: {error}). Convert "
            "the authors' file again"
        ) from error
