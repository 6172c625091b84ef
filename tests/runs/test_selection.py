"""On which images the best checkpoint was chosen: stored, told by `eval` and `report`, in words
and as JSON.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from spikedriven.cli import main
from spikedriven.data.detection import DetectionDataConfig
from spikedriven.recipes.types import ScheduleConfig
from spikedriven.report.sections.overview import chosen_on_these_images
from spikedriven.report.subject import Request, open_subject
from spikedriven.runs.checkpoint import CheckpointStore, read_checkpoint
from spikedriven.runs.selection import Selection, evaluation_split, selection_of
from tests.tasks.toys import DATA, classifier, recipe
from tests.training.toys import BATCHES, toy_recipe, train


def test_the_split_is_the_one_that_the_recipe_sets_aside() -> None:
    assert evaluation_split(DATA) == "val"
    assert evaluation_split(dataclasses.replace(DATA, val_fraction=0.0)) == "test"
    assert evaluation_split(DetectionDataConfig()) == "test"


def test_a_run_stores_how_its_best_was_chosen(tmp_path: Path) -> None:
    train(toy_recipe({"keep": 5}), tmp_path / "r")
    store = CheckpointStore(tmp_path / "r")
    mark = store.mark()
    assert (mark["dataset"], mark["split"], mark["evaluations"]) == ("fashion-mini", "test", 3)
    for path in store.paths():
        assert read_checkpoint(path).state["evaluated_on"] == {
            "dataset": "fashion-mini",
            "split": "test",
        }
    best = selection_of(tmp_path / "r" / "best")
    assert best == Selection(mark["step"], "best", "top1", "fashion-mini", "test", 3)
    assert selection_of(store.best()) == best, "named by its folder it is the same checkpoint"
    assert selection_of(tmp_path / "r") == Selection(3 * BATCHES, "newest")
    other = next(path for path in reversed(store.paths()) if path != store.best())
    assert selection_of(other).how == "named"


def test_a_copied_checkpoint_has_no_step(tmp_path: Path) -> None:
    train(toy_recipe({"max_steps": 1}), tmp_path / "r")
    copy = tmp_path / "r" / "checkpoints" / "kept"
    shutil.copytree(CheckpointStore(tmp_path / "r").paths()[0], copy)
    assert str(selection_of(copy)).startswith("This checkpoint, one of the run's")


def test_evaluations_are_counted_over_a_resumed_run(tmp_path: Path) -> None:
    train(toy_recipe({"max_steps": 2 * BATCHES}), tmp_path / "r")
    train(toy_recipe(), tmp_path / "r", resume=True)
    assert CheckpointStore(tmp_path / "r").mark()["evaluations"] == 3


def test_a_run_of_an_earlier_version_is_read_from_its_recipe(tmp_path: Path) -> None:
    train(toy_recipe(), tmp_path / "r")
    store = CheckpointStore(tmp_path / "r")
    mark = store.mark()
    store.mark_best(mark["step"], "top1", mark["value"])
    found = selection_of(tmp_path / "r" / "best")
    assert (found.split, found.dataset, found.evaluations) == ("test", "fashion-mini", None)
    assert "of several evaluations" in str(found)


def test_what_is_said() -> None:
    best = Selection(400, "best", "top1", "cifar10", "test", 13)
    assert (
        str(best)
        == "Step 400, chosen on the test images of cifar10: the highest top1 of 13 evaluations"
    )
    assert best.optimistic_on("cifar10", "test")
    assert not best.optimistic_on("cifar10", "train") and not best.optimistic_on("cifar100", "test")
    single = dataclasses.replace(best, evaluations=1)
    assert not single.optimistic_on("cifar10", "test") and str(single).endswith("of 1 evaluation")
    held_out = dataclasses.replace(best, split="val")
    assert "that data.val_fraction sets aside from training" in str(held_out)
    newest = Selection(400, "newest")
    assert "not chosen by any figure" in str(newest) and not newest.optimistic_on("cifar10", "test")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of two epochs: one chosen on images set aside, one on the test images."""
    folder = tmp_path_factory.mktemp("runs")
    base = recipe(classifier(), schedule=ScheduleConfig(kind="constant", epochs=2))
    data = dataclasses.replace(DATA, val_fraction=0.0, train_fraction=0.002)
    train(base, folder / "val")
    train(dataclasses.replace(base, data=data), folder / "test")
    return {name: folder / name for name in ("val", "test")}


@pytest.mark.parametrize("name", ["val", "test"])
def test_eval_says_it_first_and_in_json(
    name: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(runs[name] / "best")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert ("chosen on the test images of fashion-mini" in first) == (name == "test")
    assert ("optimistic" in first) == (name == "test")
    assert main(["eval", str(runs[name] / "best"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["checkpoint"]
    assert (told["split"], told["how"], told["evaluations"]) == (name, "best", 2)
    assert told["optimistic"] == (name == "test")
    assert main(["eval", str(runs[name]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["checkpoint"]
    assert told["how"] == "newest" and not told["optimistic"]


def test_the_report_warns_where_the_same_images_are_measured(runs: dict[str, Path]) -> None:
    def notes(name: str, **request: str) -> list[str]:
        return chosen_on_these_images(open_subject(Request(str(runs[name] / "best"), **request)))

    (note,) = notes("test")
    assert "chosen on the test images of fashion-mini" in note and "optimistic" in note
    assert (
        notes("test", split="train") == notes("val") == [] and len(notes("val", split="val")) == 1
    )
