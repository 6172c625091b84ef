"""`run.amp: auto`, and types that a machine emulates. How fast this one is decides nothing here."""

import json
from pathlib import Path

import pytest
import torch

from spikedriven.bench.training import CONTESTANTS, reference_of, without_emulated
from spikedriven.recipes.reading import read_recipe
from spikedriven.training import amp
from tests.training.toys import toy_recipe, train

CPU = torch.device("cpu")


@pytest.fixture
def ratio(monkeypatch):
    """Sets how many times as long every type takes as float32."""

    def set_to(value: float) -> None:
        monkeypatch.setattr(amp, "time_ratio", lambda *_: value)
        monkeypatch.setattr("spikedriven.bench.training.time_ratio", lambda *_: value)

    return set_to


def test_a_ratio_is_measured() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert 0.01 < amp.time_ratio("bf16", CPU, rounds=1) < 1000
    assert torch.equal(torch.rand(2), expected)  # draws of the run are as without it


@pytest.mark.parametrize(("value", "chosen"), [(0.4, "bf16"), (0.95, "none"), (3.0, "none")])
def test_auto_takes_what_saves_time_and_the_run_keeps_it(value, chosen, ratio, tmp_path: Path):
    ratio(value)
    trainer, _ = train(toy_recipe({"amp": "auto", "max_steps": 2}), tmp_path / "r")
    assert trainer.recipe.run.amp == chosen
    assert read_recipe(tmp_path / "r" / "recipe.yaml").run.amp == chosen
    assert f"run.amp auto: {chosen}" in trainer.precision and f"{value:.2f} times" in (
        trainer.precision
    )
    ratio(1 / value)  # on another machine
    trainer, _ = train(toy_recipe({"amp": "auto"}), tmp_path / "r", resume=True)
    assert trainer.recipe.run.amp == chosen
    lines = (tmp_path / "r" / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["kind"] == "end"


@pytest.mark.parametrize(("value", "warned"), [(1.05, False), (2.34, True)])
def test_a_type_that_is_emulated_is_warned_of(value, warned, ratio, tmp_path: Path):
    ratio(value)
    trainer, _ = train(toy_recipe({"amp": "bf16", "max_steps": 1}), tmp_path / "r")
    assert ("takes 2.34 times as long as in float32" in trainer.precision) is warned
    assert trainer.recipe.run.amp == "bf16"


def test_bench_train_leaves_emulated_contestants_out(ratio):
    ratio(0.5)
    assert without_emulated(CONTESTANTS, "cpu") == (CONTESTANTS, "")
    ratio(2.5)
    kept, told = without_emulated(CONTESTANTS, "cpu")
    assert list(kept) == ["ours", "released", "spikingjelly"]
    assert "bf16 takes 2.5 times as long" in told and "ours-recompute" in told
    assert (reference_of(CONTESTANTS), reference_of(kept)) == ("ours-bf16", "ours")
