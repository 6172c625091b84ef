"""How a batch is shared when a run goes on with another number of processes."""

from pathlib import Path

import pytest

from spikedriven.errors import CheckpointError
from spikedriven.recipes.reading import read_recipe
from spikedriven.runs.checkpoint import Checkpoint
from spikedriven.runs.processes import for_processes, what_changed
from spikedriven.tasks import TASKS
from tests.training.toys import ToyTask, toy_recipe, train


def found(**state: int) -> tuple[Path, Checkpoint]:
    return Path("run/step_00000007"), Checkpoint({}, None, state)


@pytest.mark.parametrize(
    ("before", "after", "each"), [((4, 6), 4, 6), ((4, 6), 1, 24), ((4, 6), 3, 8), ((2, 1), 1, 2)]
)
def test_the_samples_of_a_step_stay(before: tuple[int, int], after: int, each: int) -> None:
    checkpoint = found(processes=before[0], batch_size=before[1])
    recipe = for_processes(toy_recipe({"batch_size": 6}), checkpoint, after)
    assert recipe.run.batch_size == each and recipe.run.batch_size * after == before[0] * before[1]
    assert (what_changed(checkpoint, recipe, after) is None) == (before[0] == after)


def test_what_cannot_be_shared_evenly() -> None:
    with pytest.raises(
        CheckpointError,
        match=r"has 24 samples .* which 5 processes cannot share evenly\. "
        r"Resume with 1, 2, 3, 4, 6",
    ):
        for_processes(toy_recipe(), found(processes=4, batch_size=6), 5)


def test_a_checkpoint_without_a_batch_size_has_that_of_the_recipe() -> None:
    assert for_processes(toy_recipe({"batch_size": 8}), found(processes=2), 1).run.batch_size == 16
    assert for_processes(toy_recipe({"batch_size": 8}), None, 3).run.batch_size == 8


def test_twice_resumed_the_recipe_stays_and_so_do_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of one process with 8 samples, made to be of two with 4 each."""
    monkeypatch.setitem(TASKS, "toy", ToyTask)
    train(toy_recipe({"batch_size": 8}), tmp_path / "whole")
    trainer, _ = train(toy_recipe({"batch_size": 4, "max_steps": 2}), tmp_path / "r")
    for steps in (3, 6):
        step, checkpoint = trainer.store.newest() or pytest.fail("no checkpoint")
        state = {**checkpoint.state, "processes": 2 if steps == 3 else 1}
        trainer.store.save(int(step.name[-8:]), Checkpoint(checkpoint.model, checkpoint.ema, state))
        trainer, _ = train(
            toy_recipe({"batch_size": 4, "max_steps": steps}), tmp_path / "r", resume=True
        )
        assert trainer.recipe.run.batch_size == 8
    assert read_recipe(tmp_path / "r" / "recipe.yaml").run.batch_size == 4
