"""The loop on a toy task: exact resume, accumulation, averaging, the log, and losses that are
not a number.
"""

import dataclasses
import json
import signal
from pathlib import Path

import pytest
import torch

from spikedriven.data import config_for
from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.types import OptimConfig, ScheduleConfig
from spikedriven.runs.checkpoint import CheckpointStore, load_run
from spikedriven.runs.claim import LOCK
from spikedriven.training.diagnose import NonFiniteError
from spikedriven.training.loop import Trainer, exit_status
from tests.runs.holding import holding
from tests.training.toys import ALONE, BATCHES, ToyTask, toy_recipe, train


def parameters(trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.learner.net.state_dict().items()}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stop", [1, 5, BATCHES, BATCHES + 1, 3 * BATCHES - 1])
def test_a_resumed_run_ends_with_the_same_bits(stop: int, tmp_path: Path) -> None:
    """Dropout, an average with warm-up and Adam's moments all have to come back; also at the
    seam between epochs.
    """
    run = {"ema": 0.9, "ema_warmup": True}
    whole, _ = train(toy_recipe(run, dropout=0.5), tmp_path / "whole")
    first, outcome = train(toy_recipe({**run, "max_steps": stop}, dropout=0.5), tmp_path / "parts")
    assert outcome.step == stop
    second, outcome = train(toy_recipe(run, dropout=0.5), tmp_path / "parts", resume=True)
    assert outcome.step == 3 * BATCHES
    assert_equal(parameters(second), parameters(whole))
    assert_equal(second.learner.ema.module.state_dict(), whole.learner.ema.module.state_dict())
    assert any(
        not torch.equal(value, parameters(whole)[name]) for name, value in parameters(first).items()
    )


def test_the_log_of_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    train(toy_recipe({"max_steps": 8, "checkpoint_steps": 5}), tmp_path / "r")
    newest = tmp_path / "r" / "checkpoints" / "step_00000008"
    (
        newest / "manifest.json"
    ).unlink()  # as after a crash: the run goes on from step 6, the log says 8
    train(toy_recipe({"checkpoint_steps": 5}), tmp_path / "r", resume=True)
    lines = log(tmp_path / "r")
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(
        range(1, 3 * BATCHES + 1)
    )
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [
        BATCHES,
        2 * BATCHES,
        3 * BATCHES,
    ]


def test_accumulation_equals_the_joined_batch(tmp_path: Path) -> None:
    joined, _ = train(toy_recipe({"batch_size": 8}), tmp_path / "a")
    parts, _ = train(toy_recipe({"batch_size": 4, "accumulation": 2}), tmp_path / "b")
    for name, value in parameters(joined).items():
        # the same sums in another order, in float64
        torch.testing.assert_close(parameters(parts)[name], value, rtol=1e-12, atol=1e-13)


def test_the_seed_and_nothing_else_decides(tmp_path: Path) -> None:
    torch.manual_seed(1)
    a, _ = train(toy_recipe(dropout=0.5), tmp_path / "a")
    torch.manual_seed(2)
    b, _ = train(toy_recipe(dropout=0.5), tmp_path / "b")
    c, _ = train(toy_recipe({"seed": 43}, dropout=0.5), tmp_path / "c")
    assert_equal(parameters(a), parameters(b))
    assert not torch.equal(parameters(a)["0.weight"], parameters(c)["0.weight"])


def test_timms_optimisers_and_schedules_resume_to_the_same_bits(tmp_path: Path) -> None:
    def run(steps: int, folder: Path, resume: bool = False) -> Trainer:
        recipe = dataclasses.replace(
            toy_recipe({"max_steps": steps}, dropout=0.3),
            optim=OptimConfig(name="lookahead_sgd", lr=0.05, momentum=0.8),
            schedule=ScheduleConfig(kind="timm/tanh", epochs=3, warmup_epochs=1, warmup_lr=0.01),
        )
        return train(recipe, folder, resume)[0]

    whole = run(14, tmp_path / "whole")
    run(8, tmp_path / "r")
    assert_equal(parameters(run(14, tmp_path / "r", resume=True)), parameters(whole))
    rates = [line["lr"] for line in log(tmp_path / "whole") if line["kind"] == "train"]
    assert rates[:6] == [0.01] * 6 and len(set(rates)) == 3 and len(rates) == 14


def test_the_best_checkpoint_is_the_best_evaluation(tmp_path: Path) -> None:
    train(toy_recipe({"keep": 1}), tmp_path / "r")
    evaluations = [line for line in log(tmp_path / "r") if line["kind"] == "eval"]
    best = max(evaluations, key=lambda line: line["top1"])  # the first of equals
    record = json.loads((tmp_path / "r" / "checkpoints" / "best.json").read_text())
    assert (record["step"], record["value"]) == (best["step"], best["top1"])


def test_load_run_gives_the_trained_model_and_its_average(tmp_path: Path) -> None:
    trainer, _ = train(toy_recipe({"ema": 0.9}), tmp_path / "r")
    averaged, recipe = load_run(tmp_path / "r")
    assert recipe == trainer.recipe and not averaged.training
    assert_equal(averaged.state_dict(), trainer.learner.ema.module.state_dict())
    assert_equal(load_run(tmp_path / "r", ema=False)[0].state_dict(), parameters(trainer))
    best, _ = load_run(tmp_path / "r" / "best")
    assert best.state_dict().keys() == averaged.state_dict().keys()


def test_load_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a run folder"):
        load_run(tmp_path)
    train(toy_recipe(), tmp_path / "r")
    with pytest.raises(CheckpointError, match="no averaged weights"):
        load_run(tmp_path / "r", ema=True)


@pytest.mark.parametrize(
    "change",
    [{"counters": {"steps": 1}}, {"counters": None}, {"optimizer": {}}, {"processes": None}],
)
def test_a_state_of_another_version_is_one_clear_error(change: dict, tmp_path: Path) -> None:
    train(toy_recipe({"max_steps": 2}), tmp_path / "r")
    store = CheckpointStore(tmp_path / "r")
    found = store.newest()
    assert found is not None
    store.save(2, dataclasses.replace(found[1], state={**found[1].state, **change}))
    with pytest.raises(CheckpointError, match="step_00000002: its state does not fit"):
        train(toy_recipe(), tmp_path / "r", resume=True)


def test_a_run_folder_is_not_overwritten(tmp_path: Path) -> None:
    train(toy_recipe({"max_steps": 1}), tmp_path / "r")
    before = (tmp_path / "r" / "log.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"holds a run already.*--resume"):
        train(toy_recipe(), tmp_path / "r")
    assert (tmp_path / "r" / "log.jsonl").read_bytes() == before


def test_a_run_that_ended_before_its_first_checkpoint_blocks_nothing(tmp_path: Path) -> None:
    """Neither the same recipe nor another, with --resume or without; its log is no part of the
    new one.
    """
    for resume, changes in ((False, {}), (True, {}), (True, {"batch_size": 4})):
        run = tmp_path / f"{resume} {changes}"
        with pytest.raises(NonFiniteError):
            train(toy_recipe(broken=True), run)
        assert (run / "recipe.yaml").is_file()
        train(toy_recipe(changes), run, resume=resume)
        log = (run / "log.jsonl").read_text().splitlines()
        assert sum(json.loads(line)["kind"] == "start" for line in log) == 1
        assert len(CheckpointStore(run).paths()) >= 1


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_of_another_process_is_left_alone(resume: bool, tmp_path: Path) -> None:
    run = tmp_path / "r"
    train(toy_recipe({"max_steps": 2}), run)
    before = {
        path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != LOCK
    }
    with holding(run), pytest.raises(CheckpointError, match="is training in this folder"):
        train(toy_recipe(), run, resume=resume)
    assert before == {
        path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != LOCK
    }


def test_a_run_whose_folder_is_moved_writes_nothing_where_it_was(tmp_path: Path) -> None:
    trainer = Trainer(toy_recipe(), tmp_path / "r", ALONE)
    (tmp_path / "r").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="r: this run's folder was moved or removed"):
        trainer.fit()
    assert not (tmp_path / "r").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "r")
    assert train(toy_recipe(), tmp_path / "r", resume=True)[1].step == 3 * BATCHES


def test_the_data_of_a_run_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = toy_recipe({"max_steps": 1})
    recipe = dataclasses.replace(recipe, data=config_for("cifar10", root=Path("my_data")))
    train(recipe, Path("r"))
    assert read_recipe(Path("r/recipe.yaml")).data.root == tmp_path / "my_data"
    train(recipe, Path("r"), resume=True)


def test_resuming_with_another_recipe_is_refused_by_name(tmp_path: Path) -> None:
    train(toy_recipe({"max_steps": 1}), tmp_path / "r")
    with pytest.raises(RecipeError, match=r"run\.batch_size"):
        train(toy_recipe({"batch_size": 4}), tmp_path / "r", resume=True)
    train(
        toy_recipe({"log_steps": 7, "keep": 5}), tmp_path / "r", resume=True
    )  # what is told and kept may change


def test_resume_without_a_run_starts_one(tmp_path: Path) -> None:
    assert train(toy_recipe(), tmp_path / "r", resume=True)[1].step == 3 * BATCHES


def test_a_non_finite_loss_stops_with_step_rate_checkpoint_and_module(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError) as caught:
        train(toy_recipe(broken=True), tmp_path / "r")
    message = str(caught.value)
    assert "step 0" in message and "learning rate" in message
    assert "output of module 1 is the first" in message and "none yet" in message


def test_a_parameter_that_went_bad_is_named_with_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._finish_epoch

    def poison(self: Trainer) -> bool:
        going_on = original(self)
        self.learner.net[3].weight.data[0, 0] = float("nan")
        return going_on

    monkeypatch.setattr(Trainer, "_finish_epoch", poison)
    with pytest.raises(
        NonFiniteError, match=rf"step {BATCHES} .*3\.weight is already.*step_0000000{BATCHES}"
    ):
        train(toy_recipe(), tmp_path / "r")


def test_clipping_bounds_the_step(tmp_path: Path) -> None:
    trainer, _ = train(toy_recipe({"clip_grad": 1e-3, "max_steps": 1}), tmp_path / "r")
    norm = torch.nn.utils.get_total_norm([p.grad for p in trainer.learner.net.parameters()]).item()
    recorded = next(line for line in log(tmp_path / "r") if line["kind"] == "train")["grad_norm"]
    assert norm == pytest.approx(1e-3, rel=1e-2) and recorded > 1e-2


def test_too_much_accumulation_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"fewer than run.accumulation=7"):
        train(toy_recipe({"accumulation": 7}), tmp_path / "r")


def test_the_stored_recipe_is_complete_and_runs_again(tmp_path: Path) -> None:
    from spikedriven.recipes.reading import read_recipe

    a, _ = train(toy_recipe(dropout=0.5), tmp_path / "a")
    b, _ = train(read_recipe(tmp_path / "a" / "recipe.yaml"), tmp_path / "b")
    assert_equal(parameters(a), parameters(b))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(
    number: signal.Signals, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ToyTask.loss

    def interrupted(self: ToyTask, model, batch):
        if trained[-1].at.step == 8:
            signal.raise_signal(number)
        return original(self, model, batch)

    trained: list[Trainer] = [Trainer(toy_recipe(), tmp_path / "r", ALONE)]
    monkeypatch.setattr(ToyTask, "loss", interrupted)
    outcome = trained[-1].fit()
    assert (outcome.step, exit_status(outcome)) == (9, status)
    assert (tmp_path / "r" / "checkpoints" / "step_00000009" / "manifest.json").is_file()


def test_fp16_skips_steps_whose_gradients_overflow_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(toy_recipe({"amp": "fp16", "max_steps": 3}), tmp_path / "r", ALONE)
    learner, scales = trainer.learner, []

    def overflow_once(gradient):
        scales.append(learner.scaler.get_scale())
        return gradient.fill_(float("inf")) if len(scales) == 1 else gradient

    learner.net[0].weight.register_hook(overflow_once)
    before = {name: value.clone() for name, value in trainer.learner.net.state_dict().items()}
    first = Trainer._train_step

    def check(self: Trainer, batches):
        stop = first(self, batches)
        if len(scales) == 1:
            assert_equal(before, parameters(self))
        return stop

    monkeypatch.setattr(Trainer, "_train_step", check)
    assert trainer.fit().step == 3
    assert scales == [scales[0], scales[0] / 2, scales[0] / 2]
    assert not torch.equal(before["0.weight"], trainer.learner.net[0].weight)


def test_tensorboard_files_appear_when_asked_for(tmp_path: Path) -> None:
    train(toy_recipe({"tensorboard": True, "max_steps": 2}), tmp_path / "r")
    assert list((tmp_path / "r" / "tensorboard").glob("events.*"))
