"""The eval command on a run, on a model name, and on what does not fit."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from spikedriven import create_model
from spikedriven.cli import eval as cli_eval
from spikedriven.cli import main
from spikedriven.data import DataConfig, build_eval_loader
from spikedriven.runs.checkpoint import load_run
from tests.built import build_run

WIDER = ["--model.args.embed_dim", "32", "--model.args.stem_pools", "'0011'"]
TINY = str(Path(__file__).parents[1] / "end_to_end" / "tiny.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval") / "run"
    assert main(["train", TINY, "--run.out", str(folder), "--run.max-steps", "1", *WIDER]) == 0
    return build_run(folder)


def evaluate(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(["eval", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def by_hand(model: torch.nn.Module, data: DataConfig, split: str) -> list[list[int]]:
    """The confusion matrix, image by image."""
    matrix = [[0] * 10 for _ in range(10)]
    with torch.inference_mode():
        for images, labels in build_eval_loader(data, split, batch_size=50):
            for label, row in zip(labels.tolist(), model(images), strict=True):
                matrix[label][int(row.argmax())] += 1
    return matrix


def test_a_run_is_evaluated_with_its_average(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, recipe = load_run(run)
    found = evaluate([str(run), "--split", "train"], capsys)
    assert found["confusion"] == by_hand(model, recipe.data, "train")
    assert found["count"] == sum(map(sum, found["confusion"])) == 200
    assert found["top1"] == pytest.approx(
        100 * sum(found["confusion"][i][i] for i in range(10)) / 200
    )
    trained = evaluate([str(run), "--split", "train", "--weights", "trained"], capsys)
    assert trained["confusion"] == by_hand(load_run(run, ema=False)[0], recipe.data, "train")
    assert trained["confusion"] != found["confusion"]
    for result in (found, trained):
        answers = [sum(row[k] for row in result["confusion"]) for k in range(10)]
        assert sum(count > 0 for count in answers) > 5, "the network tells images apart"


def test_size_and_crop_reach_the_images(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _ = load_run(run)
    data = DataConfig(
        dataset="fashion-mini", img_size=32, crop_pct=0.8, val_fraction=0.98, workers=0
    )
    words = [str(run), "--split", "train", "--img-size", "32", "--crop", "0.8"]
    assert evaluate(words, capsys)["confusion"] == by_hand(model, data, "train")


def test_a_normalisation_of_ones_own(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, recipe = load_run(run)
    words = [str(run), "--split", "train", "--mean", "0.9", "--std", "0.1"]
    found = evaluate(words, capsys)["confusion"]
    assert found == by_hand(
        model, dataclasses.replace(recipe.data, mean=(0.9,), std=(0.1,)), "train"
    )
    assert found != by_hand(model, recipe.data, "train")


def test_tables_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run), "--split", "train"]) == 0
    shown = capsys.readouterr().out
    assert "top-1" in shown and "recall per class" in shown and "predicted class" in shown


class TwoBatches:
    """The first two batches of a loader."""

    def __init__(self, loader) -> None:
        self.loader, self.dataset = loader, loader.dataset

    def __len__(self) -> int:
        return 2

    def __iter__(self):
        return itertools.islice(self.loader, 2)


def test_a_model_name_with_a_safetensors_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cli_eval, "build_eval_loader", lambda *a, **k: TwoBatches(build_eval_loader(*a, **k))
    )
    model = create_model("sdt_2_256_cifar", num_classes=10, time_steps=1)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "w.safetensors")
    words = [
        "sdt_2_256_cifar",
        "--checkpoint",
        str(tmp_path / "w.safetensors"),
        "--data",
        "fashion-mini",
    ]
    found = evaluate(
        [*words, "--time-steps", "1", "--img-size", "16", "--batch-size", "20", "--workers", "0"],
        capsys,
    )
    assert found["count"] == 40


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sdt_2_256_cifa"], "sdt_2_256_cifar"),
        (["sdt_2_256_cifar"], "needs --checkpoint FILE and --data NAME"),
        (["./nowhere"], "not a run folder"),
        (
            ["sdt_2_256_cifar", "--data", "fashion-mini", "--checkpoint", "none.safetensors"],
            "none.safetensors",
        ),
    ],
)
def test_what_does_not_fit_is_one_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *words]) == 2
    assert message in capsys.readouterr().err


def test_options_of_the_other_kind_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(run), "--checkpoint", "x.safetensors"]) == 2
    assert main(["eval", str(run), "--time-steps", "1"]) == 2
    assert capsys.readouterr().err.count("goes with a model name") == 2


# Folders
# --------------------------------------------------------------------------------------------------


def test_a_folder_of_runs_is_a_table_and_a_broken_one_a_row(
    run: Path, tmp_path: Path, capsys
) -> None:
    runs = tmp_path / "runs"
    for name in ("b", "a", "damaged"):
        shutil.copytree(run, runs / name)
    (runs / "notes").mkdir()
    for weights in (runs / "damaged").glob("checkpoints/*/model.safetensors"):
        weights.write_bytes(b"x")
    words = ["eval", str(runs), "--split", "train", "--workers", "0"]
    assert main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    one = evaluate([str(run), "--split", "train"], capsys)
    assert list(found) == ["a", "b", "damaged"]
    assert found["a"] == found["b"] == one
    assert "model.safetensors: damaged" in found["damaged"]["error"]
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "top1" in shown and f"{one['top1']:.4f}" in shown and "damaged: not evaluated: " in shown


def test_the_checkpoints_of_a_run(tmp_path: Path, capsys) -> None:
    steps = ("--run.checkpoint-steps", "5", "--run.max-steps", "10", "--run.keep", "5")
    assert main(["train", TINY, "--run.out", str(tmp_path / "run"), *steps]) == 0
    (tmp_path / "run" / "checkpoints" / ".step_00000099.tmp").mkdir()
    capsys.readouterr()
    found = evaluate(
        [str(tmp_path / "run" / "checkpoints"), "--split", "train", "--workers", "0"], capsys
    )
    assert list(found) == ["step_00000005", "step_00000010"]
    assert [row["count"] for row in found.values()] == [200, 200]
    assert found["step_00000005"]["loss"] != found["step_00000010"]["loss"]
    assert found["step_00000010"] == evaluate([str(tmp_path / "run"), "--split", "train"], capsys)


def test_a_folder_of_weights_files(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cli_eval, "build_eval_loader", lambda *a, **k: TwoBatches(build_eval_loader(*a, **k))
    )
    words = [
        "sdt_2_256_cifar",
        "--checkpoint",
        str(tmp_path),
        "--data",
        "fashion-mini",
        "--workers",
        "0",
    ]
    words += ["--time-steps", "1", "--img-size", "16", "--batch-size", "20"]
    assert main(["eval", *words]) == 2
    assert "no file in this folder ends in .safetensors" in capsys.readouterr().err
    model = create_model("sdt_2_256_cifar", num_classes=10, time_steps=1)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "w.safetensors")
    (tmp_path / "other.pth").write_bytes(b"no checkpoint")
    (tmp_path / "readme.txt").write_text("")
    assert main(["eval", *words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["other.pth", "w.safetensors"]
    assert found["w.safetensors"]["count"] == 40 and "other.pth" in found["other.pth"]["error"]
