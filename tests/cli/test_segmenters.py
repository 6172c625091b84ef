"""Every command that takes a run takes a segmentation run."""

import json
from pathlib import Path

import pytest
from PIL import Image

from spikedriven.cli import main
from spikedriven.data.scenes import SCENE_CLASSES, FashionScenes
from spikedriven.models.segmentation import inference

TOY = str(Path(__file__).parents[1] / "tasks" / "toy_segmentation.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("segmenter") / "run"
    assert main(["train", TOY, "--run.out", str(folder)]) == 0
    return str(folder)


def told(capsys: pytest.CaptureFixture[str], *words: str):
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_eval(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(told(capsys, "eval", run, "--json"))
    logged = [json.loads(line) for line in Path(run, "log.jsonl").read_text().splitlines()]
    figures = next(line for line in logged if line["kind"] == "eval")
    assert record["miou"] == pytest.approx(figures["miou"]) and record["images"] == 6
    assert list(record["iou"]) == list(SCENE_CLASSES)
    text = told(capsys, "eval", run)
    assert f"mIoU {record['miou']:.2f} %" in text and "Ankle boot" in text


def test_eval_in_windows_sizes_and_mirrored(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    original = inference.slid
    monkeypatch.setattr(
        inference,
        "slid",
        lambda *words: (seen.append((words[1].shape[-1], *words[2:])), original(*words))[1],
    )
    views = ("--test-scales", "0.5", "1", "--test-flip", "True", "--slide", "32", "16")
    samples = json.loads(told(capsys, "eval", run, *views, "--batch-size", "6", "--json"))[
        "settings"
    ]["samples"]
    assert (samples["slide"], samples["test_scales"], samples["test_flip"]) == (
        [32, 16],
        [0.5, 1.0],
        True,
    )
    assert seen == [(32, 32, 16), (32, 32, 16), (64, 32, 16), (64, 32, 16)], (
        "two sizes, each mirrored too"
    )
    samples = json.loads(told(capsys, "eval", run, "--json"))["settings"]["samples"]
    assert (samples["slide"], samples["test_scales"], samples["test_flip"]) == (None, [1.0], False)
    assert len(seen) == 4
    assert main(["eval", run, "--slide", "32", "33"]) == 2
    assert "1 <= stride <= side" in capsys.readouterr().err


def test_energy_on_its_own_images(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(told(capsys, "energy", run, "--images", "4", "--json"))
    assert record["data"] == "fashion-scenes" and record["reports"][0]["images"] == 4


@pytest.mark.slow  # detectors are audited in every form by default
def test_audit_in_every_form(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("released", "folded", "expanded"):
        report = json.loads(told(capsys, "audit", run, "--form", form, "--json"))
        assert report["ok"] and [
            row["module"] for row in report["rows"] if row["verdict"] == "encoding layer"
        ] == ["backbone.stages.0.down.conv" if form == "released" else "backbone.stages.0.down"]
    assert report["ok_as_released"], "binary spikes only, once expanded"


def test_attention(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(FashionScenes("test", 64)[0][0].permute(1, 2, 0).numpy()).save(
        tmp_path / "scene.png"
    )
    told(capsys, "attention", run, str(tmp_path / "scene.png"), "--out", str(tmp_path / "maps.png"))
    assert (tmp_path / "maps.png").stat().st_size > 1000
