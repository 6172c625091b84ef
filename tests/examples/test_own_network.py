"""The example of a network of one's own: trained by its recipe, then all that ours get."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.plugins import load_plugins
from spikedriven.runs.checkpoint import load_run
from tests.plugins import taken_back

FOLDER = Path(__file__).parents[2] / "examples" / "own_network"
SHORT = ("--schedule.epochs", "1", "--schedule.warmup-epochs", "0", "--data.train-fraction", "0.05")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of a few steps, made from the example's folder."""
    out = tmp_path_factory.mktemp("own") / "run"
    with pytest.MonkeyPatch.context() as patch, taken_back():
        patch.chdir(FOLDER)
        command = ["--plugin", "own_network", "train", "agreement", *SHORT, "--run.out", str(out)]
        assert main(command) == 0
        yield out
    sys.modules.pop("own_network", None)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_is_audited(run: Path, capsys):
    found = said(capsys, "audit", run)
    assert found["ok"] and "blocks.0.attn.q.0.0" in json.dumps(found)


def test_fuse_folds_every_norm_and_keeps_the_function(run: Path):
    model, _ = load_run(run)
    images = torch.rand(4, 1, 28, 28, dtype=torch.float64)
    model = model.double()
    fused = sd.fuse(model)
    left = [
        name for name, module in fused.named_modules() if isinstance(module, torch.nn.BatchNorm2d)
    ]
    assert not left and type(fused) is type(model)
    torch.testing.assert_close(fused(images), model(images))


def test_compiled_it_is_the_quantized_network_bit_for_bit(run: Path, tmp_path: Path, capsys):
    model, _ = load_run(run)
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    quantized = sd.quantize(model, images)
    for native in (None, False):
        assert torch.equal(sd.compile(quantized, images, native=native)(images), quantized(images))
    said(capsys, "compile", run, "--out", tmp_path / "own.sdp")
    assert sd.load_program(tmp_path / "own.sdp")(images).shape == (4, 10)


def test_it_streams(run: Path):
    model, _ = load_run(run)
    image = torch.rand(2, 1, 28, 28, dtype=torch.float64)
    model, state = model.double(), None
    for _ in range(model.time_steps):
        _, state = model.step(image, state)
    torch.testing.assert_close(state.logits, model(image))


def test_it_is_reported_with_its_energy(run: Path, tmp_path: Path):
    page = tmp_path / "report.html"
    assert (
        main(["report", str(run), "--out", str(page), "--accuracy-images", "20", "--images", "4"])
        == 0
    )
    text = page.read_text()
    assert "blocks.0.attn.q.0.0" in text and "mJ" in text


@pytest.mark.slow
def test_its_recipe_learns(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(FOLDER)
    with taken_back():
        load_plugins(["own_network"])
        assert main(["train", "agreement", "--run.out", str(tmp_path / "run")]) == 0
    figures = [
        json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    ]
    assert max(line["top1"] for line in figures if "top1" in line) > 65
