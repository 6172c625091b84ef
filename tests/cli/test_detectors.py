"""Every command that takes a run takes a detection run."""

import json
from pathlib import Path

import pytest
from PIL import Image

from spikedriven.cli import main
from spikedriven.data.scenes import FashionScenes

TOY = str(Path(__file__).parents[1] / "tasks" / "toy_detection.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("detector") / "run"
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
    for name in ("box_map", "box_map50", "segm_map", "segm_map50"):
        assert record[name] == pytest.approx(figures[name])
    scenes = FashionScenes("test", 64, 0, 6)
    names = {scenes.classes[label] for _, target in scenes for label in target["labels"].tolist()}
    assert record["map_per_class"].keys() == names and all(
        row.keys() == {"box", "segm"} for row in record["map_per_class"].values()
    )


def test_eval_as_a_table(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "eval", run)
    assert "box_map 0." in text and "average precision per class" in text


def test_energy_on_its_own_images(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(told(capsys, "energy", run, "--images", "4", "--json"))
    assert record["data"] == "fashion-scenes" and record["reports"][0]["images"] == 4


def test_audit_in_every_form(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("released", "expanded"):
        report = json.loads(told(capsys, "audit", run, "--form", form, "--json"))
        assert report["ok"] and [
            row["module"] for row in report["rows"] if row["verdict"] == "encoding layer"
        ] == ["backbone.body.stages.0.down.conv"]
    assert report["ok_as_released"], "binary spikes only, once expanded"


@pytest.mark.slow  # the exporter takes its time on two heads with RoIAlign
def test_onnx(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(told(capsys, "export", run, str(tmp_path / "net.onnx"), "--json"))
    assert record["same_top1"] == 1.0 and record["largest_difference"] < 1e-4


def test_predict_and_report(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, _ = FashionScenes("test", 64)[0]
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "scene.png")
    (record,) = json.loads(
        told(
            capsys,
            "predict",
            run,
            str(tmp_path / "scene.png"),
            "--score",
            "0",
            "--out",
            str(tmp_path),
            "--json",
        )
    )
    assert record["task"] == "detection" and all(len(row["box"]) == 4 for row in record["objects"])
    page = tmp_path / "page.html"
    told(capsys, "report", run, "--images", "4", "--samples", "2", "--out", str(page))
    text = page.read_text()
    assert "box mAP at IoU 0.5" in text and "all 6 images of split test of fashion-scenes" in text
    assert (
        "Average precision per class" in text
        and "fashion-scenes test 0 (seed 0): score 0.5 or more" in text
    )
