"""The folder of a run: nothing in it is overwritten, and what is continued is what was begun.

RUN/recipe.yaml   the effective recipe; `spikedriven train RUN/recipe.yaml` runs it again
RUN/data.json     what it was trained on, see `data`
RUN/log.jsonl     one JSON object a line
RUN/checkpoints/  see `checkpoint`
"""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from spikedriven.data.record import DataRecord
from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.files import explain_os_errors, write_atomic
from spikedriven.recipes.reading import differing_fields, read_recipe, recipe_to_yaml
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import CheckpointStore
from spikedriven.runs.data import check_data, write_data

# Fields that may change when a run is continued: they decide what is told and kept, not what is
# computed.
CHANGEABLE = {
    "description",
    "plugins",
    "data.workers",
    "data.root",
    "data.download",
    "run.out",
    "run.device",
    "run.compile",
    "run.eval_epochs",
    "run.checkpoint_epochs",
    "run.checkpoint_steps",
    "run.keep",
    "run.log_steps",
    "run.tensorboard",
    "run.max_steps",
    "run.timeout_s",
}


def prepare_folder(run: Path, recipe: Recipe, resume: bool, data: DataRecord | None = None) -> None:
    """Make the folder and write the recipe into it. CheckpointError if it holds a run that is not
    to be continued, RecipeError if the run that is to be continued was computing something else, or
    on other data.

    A run that ended before its first checkpoint has nothing that could be lost or continued: it is
    begun anew.
    """
    stored = run / "recipe.yaml"
    begun = stored.exists() and CheckpointStore(run).begun
    if begun and not resume:
        raise CheckpointError(
            f"{run}: holds a run already. Continue it with --resume, or name another folder with "
            "--run.out"
        )
    if begun:
        _check_same(stored, recipe)
        if data is not None:
            check_data(run, data)
    with explain_os_errors(run):
        run.mkdir(parents=True, exist_ok=True)
        write_atomic(stored, recipe_to_yaml(recipe).encode())
        CheckpointStore(run).tidy()
    if data is not None:
        write_data(run, data)


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with paths that mean the same from any working directory: those of the data
    and of a teacher.
    """
    parts = {name: _absolute(getattr(recipe, name)) for name in ("data", "distill")}
    return dataclasses.replace(recipe, **parts)


def _absolute(section: Any) -> Any:
    values = {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}
    paths = {
        name: value.expanduser().absolute()
        for name, value in values.items()
        if isinstance(value, Path)
    }
    return dataclasses.replace(section, **paths) if paths else section


def _check_same(stored: Path, recipe: Recipe) -> None:
    before = with_absolute_paths(read_recipe(stored))
    changed = [path for path in differing_fields(before, recipe) if path not in CHANGEABLE]
    if changed:
        again = f"spikedriven train {shlex.quote(str(stored.parent))} --resume"
        raise RecipeError(
            f"{stored}: the run was started with other values of {', '.join(changed)}; a resumed "
            "run must compute the "
            f"same. Resume with `{again}`, or start another run with --run.out"
        )
