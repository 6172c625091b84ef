"""The train command: which recipe, which overrides, which folder."""

import json
from pathlib import Path

import pytest

from spikedriven.cli import main
from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.recipes.reading import read_recipe

TINY = str(Path(__file__).parents[1] / "end_to_end" / "tiny.yaml")


def shown(words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["train", *words, "--show"]) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out)
    return read_recipe(tmp_path / "shown.yaml")


def test_a_recipe_without_overrides_is_itself(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in list_recipes():
        assert shown([name], capsys, tmp_path) == load_recipe(name)


def test_overrides_of_every_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "quickstart",
        "--optim.lr",
        "0.25",
        "--schedule.epochs",
        "7",
        "--data.scale",
        "0.5",
        "1",
        "--run.ema",
        "0.99",
    ]
    words += [
        "--run.tensorboard",
        "--model.args.embed_dim",
        "96",
        "--model.args.neuron=plif",
        "--loss.tet",
        "--data.dataset",
        "fashion-mnist",
        "--data.root",
        "x",
    ]
    recipe = shown(words, capsys, tmp_path)
    assert (recipe.optim.lr, recipe.schedule.epochs, recipe.data.scale) == (0.25, 7, (0.5, 1.0))
    assert (recipe.run.ema, recipe.run.tensorboard, recipe.loss.tet, recipe.data.root) == (
        0.99,
        True,
        True,
        Path("x").absolute(),
    )
    own = load_recipe("quickstart").model.args
    assert recipe.model.args == {**own, "embed_dim": 96, "neuron": "plif"}


def test_options_of_timm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["quickstart", "--model.freeze", "*", "!head", "--loss.class-weights", "balanced"]
    words += [
        "--optim.name",
        "lookahead_sgd",
        "--optim.momentum",
        "0.8",
        "--optim.args.nesterov",
        "false",
    ]
    words += [
        "--schedule.kind",
        "timm/step",
        "--schedule.args.decay_epochs=4",
        "--data.mixup-mode",
        "elem",
    ]
    words += [
        "--data.cutmix-minmax",
        "0.2",
        "0.8",
        "--data.sampling",
        "balanced",
        "--data.aug-repeats",
        "3",
    ]
    recipe = shown(words, capsys, tmp_path)
    assert recipe.model.freeze == ("*", "!head") and recipe.loss.class_weights == "balanced"
    assert (recipe.optim.name, recipe.optim.momentum, recipe.optim.args) == (
        "lookahead_sgd",
        0.8,
        {"nesterov": False},
    )
    assert (recipe.schedule.kind, recipe.schedule.args) == ("timm/step", {"decay_epochs": 4})
    assert (recipe.data.cutmix_minmax, recipe.data.mixup_mode) == ((0.2, 0.8), "elem")
    assert (recipe.data.sampling, recipe.data.aug_repeats) == ("balanced", 3.0)
    weighted = shown(["quickstart", "--loss.class-weights", "1", "0.5"], capsys, tmp_path)
    assert weighted.loss.class_weights == (1.0, 0.5)


def test_a_field_that_does_not_exist_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "quickstart", "--optim.learning_rate", "1"]) == 2
    assert "learning" in capsys.readouterr().err


def test_a_value_that_cannot_be_used_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "quickstart", "--run.batch-size", "0", "--show"]) == 2
    assert "run.batch_size: found 0, expected a whole number" in capsys.readouterr().err


def test_list_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(list_recipes())
    assert main(["train", "--list"]) == 0
    assert "quickstart" in capsys.readouterr().out


def test_without_a_recipe_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "spikedriven train quickstart" in capsys.readouterr().out


def test_a_run_its_resumption_and_its_own_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", TINY, "--run.max-steps", "2"]) == 0
    assert "run saved in runs/tiny (step 2)" in capsys.readouterr().out
    assert main(["train", TINY, "--run.max-steps", "2"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "runs/tiny", "--resume", "--run.max-steps", "4"]) == 0
    assert "(step 4)" in capsys.readouterr().out
    assert read_recipe(Path("runs/tiny/recipe.yaml")).model.num_classes == 10
