"""Continuing a run with another number of processes: the batch of each is adapted, so that an
optimiser step is still over as many samples, and over the same ones."""

import dataclasses
from pathlib import Path

from spikedriven.errors import CheckpointError
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import Checkpoint


def with_batch_size(recipe: Recipe, batch_size: int) -> Recipe:
    """The recipe with another `run.batch_size`."""
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, batch_size=batch_size))


def for_processes(recipe: Recipe, found: tuple[Path, Checkpoint] | None, processes: int) -> Recipe:
    """The recipe as `processes` processes compute it when they continue the checkpoint `found`.

    Its `run.batch_size` is that of one process. CheckpointError where the samples of a step cannot
    be dealt out evenly.
    """
    if found is None:
        return recipe
    path, state = found[0], found[1].state
    try:
        # older checkpoints do not say it: their run had the recipe's batch size all the time
        joined = state["processes"] * state.get("batch_size", recipe.run.batch_size)
    except (LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its state does not fit this run ({error})") from error
    if joined % processes:
        fitting = [n for n in range(1, 4 * processes) if joined % n == 0]
        raise CheckpointError(
            f"{path}: the run has {joined} samples in each forward pass of all processes together, "
            f"which {processes} processes cannot share evenly. Resume with "
            f"{', '.join(map(str, fitting))} "
            "of them"
        )
    return with_batch_size(recipe, joined // processes)


def what_changed(
    found: tuple[Path, Checkpoint] | None, recipe: Recipe, processes: int
) -> str | None:
    """What to say where a checkpoint is continued with another number of processes.

    recipe: what `for_processes` returned.
    """
    before = processes if found is None else found[1].state["processes"]
    if before == processes:
        return None
    return (
        f"continued with {processes} process{'es' * (processes > 1)} instead of {before}: each now "
        "takes "
        f"{recipe.run.batch_size} samples, so that a step is over the same ones as before. Batch "
        "norms, "
        "dropout and the pairs of mixup and cutmix are those of each process's own samples, and "
        "change"
    )
