"""Two and four processes under torchrun against one process with the joined batch.

The toy network has no BN: batch statistics are taken per process, so a network with BN differs by
design (docs/training.md). Everything is float64; what remains is that the mean over the batch is
summed in two halves.
"""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from spikedriven.tasks import TASKS
from tests.end_to_end.processes import TORCHRUN, TORCHRUN_4, finish, start
from tests.training.toys import ToyTask, toy_recipe, train


def weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    (newest,) = run.glob("checkpoints/step_00000018")
    return safetensors.torch.load_file(newest / name)


@pytest.mark.parametrize(
    ("launcher", "accumulation"),
    [(TORCHRUN, 2), pytest.param(TORCHRUN_4, 1, marks=pytest.mark.slow)],
)
def test_processes_equal_one_with_the_joined_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: list[str], accumulation: int
) -> None:
    """Two processes with two batches of 2 a step each, or four with one, against one process
    with one batch of 8.
    """
    monkeypatch.setitem(TASKS, "toy", ToyTask)
    train(toy_recipe({"batch_size": 8, "ema": 0.9}), tmp_path / "one")
    output = finish(
        start(*launcher, "-m", "tests.end_to_end.toy_run", tmp_path / "two", 2, accumulation)
    )
    assert output.count("epoch 3/3: top1") == 1, "only the first process talks"
    for name in ("model.safetensors", "ema.safetensors"):
        one, two = weights(tmp_path / "one", name), weights(tmp_path / "two", name)
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_with_one_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The samples of each step stay, so it ends as one process with the joined batch does."""
    monkeypatch.setitem(TASKS, "toy", ToyTask)
    train(toy_recipe({"batch_size": 8, "ema": 0.9}), tmp_path / "one")
    program = ("-m", "tests.end_to_end.toy_run", tmp_path / "two", 4, 1)
    finish(start(*TORCHRUN, *program, 7))
    output = finish(start(*program, 11))
    assert "continued with 1 process instead of 2: each now takes 8 samples" in output
    output = finish(start(*TORCHRUN, *program))
    assert "continued with 2 processes instead of 1: each now takes 4 samples" in output
    for name in ("model.safetensors", "ema.safetensors"):
        one, two = weights(tmp_path / "one", name), weights(tmp_path / "two", name)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-11, atol=1e-12)
    log = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    starts = [(line["processes"], line["batch_size"]) for line in log if line["kind"] == "start"]
    assert starts == [(2, 4), (1, 8), (2, 4)]


@pytest.mark.slow
def test_the_train_command_runs_under_torchrun(tmp_path: Path) -> None:
    recipe = Path(__file__).parent / "tiny.yaml"
    words = (
        "train",
        recipe,
        "--run.out",
        tmp_path / "r",
        "--run.max-steps",
        "3",
        "--run.log-steps",
        "1",
    )
    output = finish(start(*TORCHRUN, "-m", "spikedriven", *words))
    assert output.count("step 3/") == 1 and output.count("run saved in") == 1
    assert (tmp_path / "r" / "checkpoints" / "step_00000003" / "manifest.json").is_file()
