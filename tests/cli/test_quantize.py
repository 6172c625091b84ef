"""The quantize command: rounded and trained runs, what reads them, and the sweep."""

import json
from pathlib import Path

import pytest
import safetensors
import torch

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.data import build_eval_loader
from spikedriven.graph.quantization import record_of
from spikedriven.layers.quantized import QuantizedLayer
from spikedriven.recipes.reading import read_recipe
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.networks import network_of
from spikedriven.runs.quantized import load_quantized
from tests.built import build_run

TINY = str(Path(__file__).parents[1] / "end_to_end" / "tiny.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantize") / "run"
    assert main(["train", TINY, "--run.out", str(folder), "--run.max-steps", "1"]) == 0
    return build_run(folder)


def quantize(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    assert main(["quantize", *words, "--json"]) == 0
    out = capsys.readouterr().out
    return json.loads(out[out.index("\n{") + 1 if "\n{" in out else 0 :])


@pytest.fixture(scope="module")
def rounded(run: Path) -> Path:
    folder = run.with_name("rounded")
    words = ["--bits", "4", "--layers.head", "6", "--calibration", "20", "--out", str(folder)]
    assert main(["quantize", str(run), *words]) == 0
    return folder


def test_a_rounded_run_is_a_run(
    run: Path, rounded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, recipe = load_run(rounded)
    images = next(iter(build_eval_loader(recipe.data, "test", batch_size=20)))[0]
    record = record_of(model)
    assert record is not None and record.layers["head"].bits == 6 and 4 in record.bits
    assert all(isinstance(model.get_submodule(name), QuantizedLayer) for name in record.layers)
    assert main(["eval", str(rounded), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    hits = sum(
        int((model(x).argmax(1) == y).sum())
        for x, y in build_eval_loader(recipe.data, "test", batch_size=50)
    )
    assert found["top1"] == pytest.approx(100 * hits / found["count"])
    assert torch.equal(sd.compile(model, images)(images), model(images))
    lost = r"quantization.json: cannot be read .*its weights mean nothing"
    with pytest.raises(sd.errors.CheckpointError, match=lost):
        (rounded / "quantization.json").rename(rounded / "away")
        try:
            load_run(rounded)
        finally:
            (rounded / "away").rename(rounded / "quantization.json")


def test_the_file_of_integers_loads_without_guessing(rounded: Path) -> None:
    model, recipe = load_run(rounded)
    path = rounded / "quantized.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["quantization"])["layers"]["head"]["bits"] == 6
        assert file.get_tensor("head.weight").dtype == torch.int8
    again = load_quantized(network_of(recipe), path)
    x = model.example_input(3).normal_()
    assert torch.equal(again(x), model(x))


def test_training_goes_on_from_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "trained"
    words = [str(run), "--bits", "3", "--epochs", "1", "--calibration", "20", "--out", str(folder)]
    found = quantize(words, capsys)
    assert found["bits"] == [3, 8] and found["run"] == str(folder)
    recipe, before = read_recipe(folder / "recipe.yaml"), read_recipe(run / "recipe.yaml")
    assert recipe.quant.bits == 3 and recipe.quant.learn_steps and recipe.schedule.epochs == 1
    assert recipe.optim.lr == pytest.approx(0.1 * before.optim.lr)
    model, _ = load_run(folder)
    start, _ = load_run(run)
    assert not torch.equal(model.head.weight.float() * model.head.scale[:, None], start.head.weight)
    assert (
        main(["train", str(folder), "--resume"]) == 0
    )  # nothing is left to do, and the record says what the net is


def test_what_is_refused(run: Path, rounded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ([str(run)], "give --bits 2..8, or --sweep"),
        ([str(rounded), "--bits", "3"], "its weights have 4 bits already"),
        (["sdt_2_256_cifar", "--bits", "3"], "is a model name: only a run can become a run"),
        ([str(run), "--bits", "9"], "weights have 2 to 8 bits, found 9"),
        ([str(run), "--bits", "3", "--layers.head", "many"], "expected --layers.PATTERN BITS"),
        ([str(run), "--sweep", "4", "--epochs", "2"], "train with --bits and --epochs"),
    ):
        assert main(["quantize", *words]) == 2
        assert said in capsys.readouterr().err


def test_the_sweep(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = quantize([str(run), "--sweep", "8", "2", "--calibration", "20"], capsys)
    rows = found["rows"]
    assert [row["weights"] for row in rows] == ["fp32", "8 bits", "2 bits"]
    assert rows[0]["weight_bytes"] > rows[1]["weight_bytes"] > rows[2]["weight_bytes"]
    assert not [path for path in run.parent.iterdir() if path.name.endswith("bit")]
