"""The folder of a run: nothing in it is overwritten, and what is continued is what was begun.

RUN/recipe.yaml   the effective recipe; `spikedriven train RUN/recipe.yaml` runs it again
RUN/log.jsonl     one JSON object a line
RUN/checkpoints/  see `checkpoint`
"""

from pathlib import Path

from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.training.checkpoint import CheckpointStore
from spikedriven.training.config import Recipe
from spikedriven.training.files import explain_os_errors, write_atomic
from spikedriven.training.recipe_io import differing_fields, read_recipe, recipe_to_yaml

# Fields that may change when a run is continued: they decide what is told and kept, not what is computed.
CHANGEABLE = {
    "description", "data.workers", "data.root", "data.download", "run.out", "run.device", "run.compile",
    "run.eval_epochs", "run.checkpoint_epochs", "run.checkpoint_steps", "run.keep", "run.log_steps", "run.tensorboard",
    "run.max_steps", "run.timeout_s",
}  # fmt: skip


def prepare_folder(run: Path, recipe: Recipe, resume: bool) -> None:
    """Make the folder and write the recipe into it. CheckpointError if it holds a run that is not to be continued,
    RecipeError if the run that is to be continued was computing something else."""
    stored = run / "recipe.yaml"
    if stored.exists() and not resume:
        raise CheckpointError(
            f"{run}: holds a run already. Continue it with --resume, or name another folder with --run.out"
        )
    if stored.exists():
        _check_same(stored, recipe)
    with explain_os_errors(run):
        run.mkdir(parents=True, exist_ok=True)
        write_atomic(stored, recipe_to_yaml(recipe).encode())
        CheckpointStore(run).tidy()


def _check_same(stored: Path, recipe: Recipe) -> None:
    changed = [
        path for path in differing_fields(read_recipe(stored), recipe) if path not in CHANGEABLE
    ]
    if changed:
        raise RecipeError(
            f"{stored}: the run was started with other values of {', '.join(changed)}; a resumed run must compute the "
            f"same. Resume with `spikedriven train {stored.parent} --resume`, or start another run with --run.out"
        )
